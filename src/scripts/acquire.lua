-- Take the lock if it is free. A re-send of the acquire that got it (same id) succeeds again,
-- so a lost reply neither loses the lock nor takes it twice; the id and not the token decides,
-- because two processes may have been given one token.
if ours and note[2] == id then
  redis.call('PEXPIRE', lock, ARGV[3])
  return answer(YES)
end
if held then return answer(NO) end
-- Our withdrawal overtook this request: it waited in the buffer of a server that had stopped.
if redis.call('GET', mark) then return answer(WITHDRAWN) end
-- The wall clock in microseconds makes the fence grow even if the hash was lost.
local time = redis.call('TIME')
local fence = math.max((tonumber(note[1]) or 0) + 1, time[1] * 1000000 + time[2])
note[1] = string.format('%.0f', fence)
keep('grant', id)
keep('fence', note[1])
redis.call('SET', lock, token, 'PX', ARGV[3])
return answer(YES)
