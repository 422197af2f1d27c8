-- Set what is left to ms unless more is left: a renewal never shortens what an extend gave.
if not ours then return answer(NO) end
local left = redis.call('PTTL', lock)
if left == -1 then return answer(ENDLESS) end
if left < ms then redis.call('PEXPIRE', lock, ARGV[3]) end
return answer(YES)
