-- Take the lock if it is free. ARGV 4: 'again' for a re-send, 'endless' for a lock that will be
-- confirmed without expiry (with a comma between if both).
-- A re-send of the acquire that got the lock (same id) succeeds again, so a lost reply neither
-- loses the lock nor takes it twice; the id and not the token decides, because two processes may
-- have been given one token. It never shortens: it may be a copy that comes late.
if ours and note[2] == id then
  local left = call('PTTL', lock)
  if left >= 0 and left < ms then call('PEXPIRE', lock, ARGV[3]) end
  return answer(YES)
end
-- A withdrawal, or a later copy, has overtaken this request: it waited in the buffer of a server
-- that had stopped, or on a network that was cut. Nobody waits for its answer any more.
local withdrawn = call('GET', mark)
-- Behind a re-send the earlier copies must do nothing, should they still arrive.
if string.find(ARGV[4], 'again', 1, true) then call('SET', mark, '1', 'PX', MARK_MS) end
if withdrawn then return answer(WITHDRAWN) end
if held then return answer(NO) end
-- The wall clock in microseconds makes the fence grow even if the hash was lost.
local time = call('TIME')
local fence = math.max((tonumber(note[1]) or 0) + 1, time[1] * 1000000 + time[2])
note[1] = string.format('%.0f', fence)
call('HSET', fences, 'grant', id, 'fence', note[1])
call('PEXPIRE', fences, MONTH)
-- Asked while nothing depends on it: may the user run what the lock will need later? (After the
-- first write that takes memory: a script that has written anything is not refused that any more.)
call('PTTL', lock)
if string.find(ARGV[4], 'endless', 1, true) then call('PERSIST', lock) end
call('DEL', lock)
call('SET', lock, token, 'PX', ARGV[3])
return answer(YES)
