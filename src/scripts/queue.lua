-- Those who wait.
-- A ticket is the time of arrival in microseconds (more than the last one in the queue). A
-- waiter's kind is b: it has a bell, a channel that it listens to for as long as it lives, or p:
-- it polls (no RESP3, no pub/sub for its user) and lives if it was seen a moment ago.
-- Messages on a bell: 'granted FENCE MS PROOF' (it is yours for MS: see store_valkey_claim.c),
-- 'first MS' (nobody is before you now, and the lock, if nobody gives it back, is free in MS),
-- 'near PLACE MS' (the same, but PLACE others are before you); on the bell of all: 'come' (the
-- queue was lost).
local POLLED_MS, LOOKED_MS, QUEUE_MS = 1000, 90000, 90000
-- After the queue was lost, longer than the COME_MS of store_valkey_wait.c.
local LOST_MS = 300
local MOST_CLAIM_MS, LEAST_CLAIM_MS = 2000, 100
local now_us, now_ms
do
  local time = call('TIME')
  now_us = time[1] * 1000000 + time[2]
  now_ms = math.floor(now_us / 1000)
end

-- The channel: the database is in it, as channels know none, and half of the id.
local function bell(of)
  return string.sub(fences, 1, -6) .. (ARGV[5] ~= '' and ARGV[5] or '0') .. ':' ..
    string.sub(of, 1, 16)
end

-- No vlock takes the lock for `left` ms, free as it is.
local function rest(left, ...)
  pause = string.format('%.0f', now_ms + left)
  if not try('HSET', fences, 'pause', pause, ...) then return false end
  try('PEXPIRE', fences, MONTH)
  return true
end

local function is_paused() return (tonumber(pause) or 0) > now_ms end

-- An id without its entry: the entries were lost (evicted, deleted). Nobody is dead because of
-- that, but nobody can be told by name.
local lost = false

local function waiter(of)
  local line = try('HGET', waiters, of)
  if not line then
    lost = true
    return nil
  end
  local kind, seen, ttl, to = string.match(line, '^(%a) (%d+) (%d+) (.+)$')
  return kind and {id = of, kind = kind, seen = tonumber(seen), ms = tonumber(ttl), token = to,
                   line = line}
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
local dropped = false
local function first()
  while true do
    local line = try('ZRANGE', queue, '0', '0')
    if not line or not line[1] then return nil end
    local it = waiter(line[1])
    if it and lives(it) then return it end
    if not forget(line[1]) then return nil end
    dropped = true
  end
end

-- Tells who is first now. He has a while to find out more: see store_valkey_wait.c.
local function ring_first(left)
  local next = try('ZRANGE', queue, '0', '0')
  if not next or not next[1] then return end
  local listening = try('PUBSUB', 'NUMSUB', bell(next[1]))
  if listening and listening[2] == 0 then -- dead, or one who polls
    local it = first()
    if not it then return end
    next[1] = it.id
  end
  try('PUBLISH', bell(next[1]), string.format('first %.0f', left))
end

-- The first has looked, as the lock is held for longer than a moment: tells the two behind him when
-- it must be free, should he and its holder be gone by then.
local function ring_near(left)
  local place = 1
  while place <= 2 do
    local line = try('ZRANGE', queue, place, place)
    local it = line and line[1] and waiter(line[1])
    if not line or not line[1] then return end
    if it and lives(it) then
      if it.kind == 'b' then
        try('PUBLISH', bell(it.id), string.format('near %d %.0f', place, left))
      end
      place = place + 1
    elseif not forget(line[1]) then
      return
    end
  end
end

-- Notes that the acquire `of` has the lock, under the next fence. The wall clock makes the fence
-- grow even if the hash was lost.
local function note_grant(of, to, ...)
  last = string.format('%.0f', math.max((tonumber(last) or 0) + 1, now_us))
  call('HSET', fences, 'grant', of, 'fence', last, 'holder', redis.sha1hex(to), ...)
  if not handing then call('PEXPIRE', fences, MONTH) end
end

-- Hands the lock to the first in the queue; false if there is nobody, or nobody who can be told.
-- What he gets is a claim: short, until he confirms it, and shorter with every claim in a row that
-- nobody confirmed (the waiters of a host that lost its power must not cost one whole claim each).
-- Who is to start comes last: the server writes to the one who was told last first.
local function hand_over()
  while true do
    local top = try('ZPOPMIN', queue)
    if not top or not top[1] then return false end
    local it = waiter(top[1])
    if it then try('HDEL', waiters, it.id) end
    if it and lives(it) then
      local claims = tonumber(claim) or 0
      local left = math.max(LEAST_CLAIM_MS, math.floor(math.min(it.ms, MOST_CLAIM_MS) / 2 ^ claims))
      note_grant(it.id, it.token, 'claim', claims + 1)
      call('SET', lock, it.token, 'PX', string.format('%.0f', left))
      ring_first(left)
      local text = string.format('granted %s %.0f %s', last, left, string.sub(it.id, 17))
      if it.kind == 'p' or try('PUBLISH', bell(it.id), text) then return true end
      -- No permission to tell him: he stays where he was, and will see that the lock is free.
      call('DEL', lock)
      try('ZADD', queue, top[2], it.id)
      try('HSET', waiters, it.id, it.line)
      return false
    end
  end
end

-- The holder gives the lock up. True if somebody has it now.
local function let_go()
  if hand_over() then return true end
  if lost and rest(LOST_MS) then try('PUBLISH', bell('all'), 'come') end
  -- What was given back is not recovered. (First, as it takes no memory: a script that has written
  -- something is not refused the rest when the server's memory is full.)
  try('HDEL', fences, 'grant', 'claim', 'handing')
  call('DEL', lock)
  return false
end
