-- #!lua
-- keys 5, with note queue
-- Take the lock if it is free and nobody waits for it who came earlier.
-- ARGV 4: words with a comma between: 'again' (a re-send), 'endless' (it will be confirmed without
--   expiry), 'fenced' (see 10), 'here' (nobody can have dropped the ticket: the connection that it
--   was given over is still there, and the lock has not been handed to it since), 'bell' or 'poll'
--   (if held, wait: join the queue as such a waiter, or stay in it)
-- ARGV 6 attempt: how often this acquire was sent before without an answer   7 ticket of an earlier
--   answer, or empty   8 ms to leave the lock alone if the server was started anew and has lost
--   it, or 0   9 the server's run as the caller knows it, '?' to be told, or empty   10 the last
--   fence as the caller knows it ('fenced' among the words: that of the holder), or 0   11 the
--   bell of one who waits with 'bell', else '-'
-- Adds to the answer: ticket, place in the queue (0: first; -1: not in it; at most 2 for who has
-- handed on a lock that lay free), run.
local function has(word) return string.find(ARGV[4], word, 1, true) end
local attempt, ticket, run = tonumber(ARGV[6]), ARGV[7], ''
if ARGV[9] ~= '' then
  run = string.match(try('INFO', 'server') or '', 'run_id:(%x+)') or ''
end

-- Behind a re-send the earlier copies must do nothing, should they still arrive: they waited in the
-- buffer of a server that had stopped, or on a network that was cut. Before anything is answered:
-- also behind one that finds the lock its own, as that may be given back before they come.
local spent = tonumber(call('GET', mark) or '')
if has('again') and not (spent and spent > attempt) then
  try('SET', mark, ARGV[6], 'PX', MARK_MS)
end
-- A re-send of the acquire that got the lock (same id) succeeds again, so a lost reply neither
-- loses the lock nor takes it twice; and a waiter that the lock was handed to confirms it so. The
-- id and not the token decides, because two processes may have been given one token. It never
-- shortens: it may be a copy that comes late.
if ours and granted == id then
  local left = call('PTTL', lock)
  if left >= 0 and left < ms then call('PEXPIRE', lock, ARGV[3]) end
  if claim then try('HDEL', fences, 'claim') end
  return answer(YES, '', -1, run)
end
-- A withdrawal, or a later copy, has overtaken this request. Nobody waits for its answer any more.
if spent and spent > attempt then return answer(WITHDRAWN, '', -1, run) end

-- The server was started anew and does not know the lock: if it has lost it, the holder goes on
-- under a lease that is good. Once for each run of the server, and for all who wait. It has not
-- lost it if it knows that it was given back: the last grant noted is the holder's, or a later one,
-- and not open any more. Then it rests only until those who came earlier are connected again.
local known = tonumber(last) or 0
if not held and run ~= '' and ARGV[9] ~= '?' and run ~= ARGV[9] and run ~= boot then
  local heard = tonumber(ARGV[10])
  if granted or known < heard or (known == heard and not has('fenced')) then
    rest(tonumber(ARGV[8]), 'boot', run)
  else
    rest(LOST_MS, 'boot', run)
  end
end
-- The queue was lost (FLUSHALL, DEL), or those in it were taken for dead, as their connections were
-- broken when the lock became free: all come back, each at a moment of his own, and none takes the
-- lock before those who came earlier are there again.
if not held and ticket ~= '' and not is_paused() and try('ZRANK', queue, id) == false then
  local line = try('HGET', waiters, id) -- nil: nobody can join, so it would rest for ever
  if line or (line == false and (has('here') or known < tonumber(ARGV[10]) or
      (has('bell') and granted ~= id))) then
    rest(LOST_MS)
    call_all()
  end
end
local paused, handed = not held and is_paused(), false
local it = not held and not paused and first() or nil
-- Who comes back over a new connection finds others before him whose connections are broken: they
-- may be about to come back, too.
if not held and not paused and dropped and ticket ~= '' and has('bell') and not has('here') and
  (not it or it.id == id) then
  paused = rest(LOST_MS)
end
if not held and not paused then
  if not it or it.id == id then
    local stale = claim or handing or pause
    handing = nil
    note_grant(id, token)
    if stale then try('HDEL', fences, 'claim', 'handing', 'pause') end
    -- Asked while nothing depends on it: may the user run what the lock will need later? (After
    -- the first write that takes memory: a script that has written anything is not refused that
    -- any more.)
    call('PTTL', lock)
    if has('endless') then call('PERSIST', lock) end
    call('DEL', lock)
    if it then forget(id) end
    call('SET', lock, token, 'PX', ARGV[3])
    if it then ring_first(ms) end
    return answer(YES, '', -1, run)
  end
  -- Nobody who comes later is served first.
  handed = hand_over()
end

local place = -1
local kind = has('bell') and 'b' or has('poll') and 'p'
if kind then
  local line = try('ZRANGE', queue, '-1', '-1', 'WITHSCORES')
  if line and ticket ~= '' and not line[1] then call_all() end
  -- A re-send of the first question finds its ticket there.
  local at = line and ticket == '' and try('ZRANK', queue, id)
  if at then
    local found = try('ZRANGE', queue, at, at, 'WITHSCORES')
    ticket = found and found[2] or ''
  elseif line and ticket == '' then
    ticket = string.format('%.0f', math.max(now_us, (tonumber(line[2]) or 0) + 1))
  end
  local is = string.format('%s %.0f %s %s 1 %s', kind, now_ms, ARGV[3], ARGV[11], token)
  if line and try('HSET', waiters, id, is) and not try('ZADD', queue, 'NX', ticket, id) then
    try('HDEL', waiters, id)
    ticket = '' -- it stands for no place
  elseif line then
    place = try('ZRANK', queue, id) or -1
    try('PEXPIRE', waiters, QUEUE_MS)
    try('PEXPIRE', queue, QUEUE_MS)
  end
end
local busy = answer(NO, ticket, place, run)
if paused then busy[3] = math.max(1, tonumber(pause) - now_ms) end
if busy[3] == -2 or paused then busy[5] = busy[5] + 4 end
-- Free, and nobody could be told (no permission): the first will see it for himself.
if busy[3] == -2 then busy[3] = 20 end
if place == 0 and busy[3] >= 0 then ring_near(busy[3]) end
-- It lay free, so those who were to look did not: perhaps all of them stand on one host that lost
-- its power. Who found it so looks again when this claim ends, as one of the first three does.
if handed and place > 2 then busy[7] = 2 end
return busy
