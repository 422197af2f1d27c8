-- Those who wait, for the scripts whose first line says '-- with queue.lua'.
-- A ticket is the time of arrival in microseconds (more than the last one in the queue). A
-- waiter's kind is b: it has a bell, a channel that it listens to for as long as it lives, or p:
-- it polls (no RESP3, no pub/sub for its user) and lives if it was seen a moment ago.
-- Messages on a bell: 'granted' (come and confirm), 'first MS' (nobody is before you now, and the
-- lock, if nobody gives it back, is free in MS); on the bell of all: 'come' (the queue was lost).
local POLLED_MS, LOOKED_MS, QUEUE_MS = 1000, 90000, 90000
local MOST_CLAIM_MS, LEAST_CLAIM_MS = 2000, 100
local now_us, now_ms
do
  local time = call('TIME')
  now_us = time[1] * 1000000 + time[2]
  now_ms = math.floor(now_us / 1000)
end

-- The channel: the database is in it, as channels know none.
local function bell(of)
  return string.sub(fences, 1, -6) .. (ARGV[5] ~= '' and ARGV[5] or '0') .. ':' .. of
end

local function waiter(of)
  local line = try('HGET', waiters, of)
  if not line then return nil end
  local kind, seen, ttl, to = string.match(line, '^(%a) (%d+) (%d+) (.+)$')
  return kind and {id = of, kind = kind, seen = tonumber(seen), ms = tonumber(ttl), token = to}
end

-- NUMSUB counts who listens to this very channel; PUBLISH would count a PSUBSCRIBE * as well.
-- A user who may not ask goes by when the waiter was last seen.
local function lives(it)
  if it.kind == 'p' then return now_ms - it.seen < POLLED_MS end
  local listening = try('PUBSUB', 'NUMSUB', bell(it.id))
  if listening then return listening[2] > 0 end
  return now_ms - it.seen < LOOKED_MS
end

local function forget(of)
  try('HDEL', waiters, of)
  return try('ZREM', queue, of)
end

-- The first who waits and lives, or nil. The dead before it are dropped: they cost their
-- successors nothing but this.
local function first()
  while true do
    local line = try('ZRANGE', queue, '0', '0')
    if not line or not line[1] then return nil end
    local it = waiter(line[1])
    if it and lives(it) then return it end
    if not forget(line[1]) then return nil end
  end
end

-- Tells who is first now. He has a while to find out more: see store_valkey_wait.c.
local function ring_first(left)
  local it = first()
  if it and it.kind == 'b' then
    try('PUBLISH', bell(it.id), string.format('first %.0f', left))
  end
end

-- Gives the lock to the acquire `of`, for `left` ms, under the next fence. The wall clock makes the
-- fence grow even if the hash was lost.
local function give(of, to, left, claims)
  last = string.format('%.0f', math.max((tonumber(last) or 0) + 1, now_us))
  if claims > 0 then
    call('HSET', fences, 'grant', of, 'fence', last, 'holder', redis.sha1hex(to), 'claim', claims)
  else
    call('HSET', fences, 'grant', of, 'fence', last, 'holder', redis.sha1hex(to))
  end
  call('PEXPIRE', fences, MONTH)
end

-- Hands the lock to the first in the queue; false if there is nobody, or nobody who can be told.
-- What he gets is a claim: short, until he confirms it, and shorter with every claim in a row that
-- nobody confirmed (the waiters of one host that lost its power must not cost one whole claim each).
local function hand_over()
  local it = first()
  if not it then return false end
  if it.kind == 'b' and not try('PUBLISH', bell(it.id), 'granted') then return false end
  local claims = tonumber(claim) or 0
  local left = math.max(LEAST_CLAIM_MS, math.floor(math.min(it.ms, MOST_CLAIM_MS) / 2 ^ claims))
  forget(it.id)
  give(it.id, it.token, left, claims + 1)
  call('SET', lock, it.token, 'PX', string.format('%.0f', left))
  ring_first(left)
  return true
end

-- The holder gives the lock up. True if somebody has it now.
local function let_go()
  if hand_over() then return true end
  if claim or handing then try('HDEL', fences, 'claim', 'handing') end
  call('DEL', lock)
  return false
end
