-- Those who wait.
-- A ticket is the time of arrival in microseconds (more than the last one in the queue). A
-- waiter's kind is b: it has a bell, a sharded channel that its connection listens to for as long
-- as it lives, or p: it polls (no RESP3, no such channels) and lives if it was seen a moment ago.
-- Its line says which bell: a connection has one for all that it waits for. LIMIT is how many may
-- hold the lock at once as far as this waiter is concerned: 1.
-- Messages on a bell: 'granted ID' (the lock was handed to you), 'first ID MS' (nobody is before
-- you now, and the lock, if nobody gives it back, is free in MS), 'near ID PLACE MS' (the same, but
-- PLACE others are before you); on the one of all who wait in this database: 'come NAME' (the queue
-- of that lock was lost).
local POLLED_MS, LOOKED_MS, QUEUE_MS = 1000, 90000, 90000
-- After the queue was lost, longer than the COME_MS of store_valkey_wait.c.
local LOST_MS = 300
local now_us, now_ms
do
  local time = call('TIME')
  now_us = time[1] * 1000000 + time[2]
  now_ms = math.floor(now_us / 1000)
end

local function ring(it, what, text)
  return try('SPUBLISH', 'vlock:bell:' .. it.bell, what .. ' ' .. it.id .. text)
end

-- Channels know no database, so it is in the name.
local function call_all()
  try('SPUBLISH', 'vlock:come:' .. (ARGV[5] ~= '' and ARGV[5] or '0'), 'come ' .. lock)
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
  local kind, seen, ttl, bell, to = string.match(line, '^(%a) (%d+) (%d+) (%S+) %d+ (.+)$')
  return kind and {id = of, kind = kind, seen = tonumber(seen), ms = tonumber(ttl), bell = bell,
                   token = to, line = line}
end

-- A user who may not ask who listens goes by when the waiter was last seen.
local function lives(it)
  if it.kind == 'p' then return now_ms - it.seen < POLLED_MS end
  local listening = try('PUBSUB', 'SHARDNUMSUB', 'vlock:bell:' .. it.bell)
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

-- Tells the waiter that is first now. It asks a moment later, unless it is handed the lock before.
local function ring_first(left)
  local it = first()
  if lost then call_all() end
  if it and it.kind == 'b' then ring(it, 'first', string.format(' %.0f', left)) end
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
      if it.kind == 'b' then ring(it, 'near', string.format(' %d %.0f', place, left)) end
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
      if it.kind == 'p' or ring(it, 'granted', '') then return true end
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
  if lost and rest(LOST_MS) then call_all() end
  -- What was given back is not recovered. (First, as it takes no memory: a script that has written
  -- something is not refused the rest when the server's memory is full.)
  try('HDEL', fences, 'grant', 'claim', 'handing')
  call('DEL', lock)
  return false
end
