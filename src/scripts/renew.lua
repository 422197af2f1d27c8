-- #!lua flags=allow-oom
-- keys 2, with note
-- Set what is left to ms unless more is left: a renewal never shortens what an extend gave. A lease
-- that somebody made endless (PERSIST) is a lease again, so that it ends if its holder dies; and a
-- lock without expiry (ARGV 4: 'endless') has none again, whoever set one.
-- (Another one may have been given the same token.)
if not ours or (id ~= '' and granted and granted ~= id) then return answer(NO) end
local left = call('PTTL', lock)
if ARGV[4] == 'endless' then
  if left >= 0 then call('PERSIST', lock) end
elseif left < ms then
  call('PEXPIRE', lock, ARGV[3])
end
if claim then try('HDEL', fences, 'claim') end -- the first renewal confirms what was handed over
redis.pcall('PEXPIRE', fences, MONTH)
return answer(YES)
