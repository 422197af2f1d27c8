-- with note
-- Set what is left to ms unless more is left: a renewal never shortens what an extend gave, and
-- a lock that somebody made endless stays so.
-- (Another one may have been given the same token.)
if not ours or (id ~= '' and granted and granted ~= id) then return answer(NO) end
local left = call('PTTL', lock)
if left >= 0 and left < ms then call('PEXPIRE', lock, ARGV[3]) end
if claim then try('HDEL', fences, 'claim') end -- the first renewal confirms what was handed over
redis.pcall('PEXPIRE', fences, MONTH)
return answer(YES)
