-- The second step of those who have the lock only for a while: a waiter that it was handed to, and
-- an acquire without expiry (ARGV 4: 'endless'), which got it with one. So an acquire that nobody
-- waits for any more leaves no lock behind. Never shortens: it may be a copy that comes late.
-- Between one holder and the next stands this script: it does no more than it needs.
if not ours then return {NO, '0', -2, '', 0, '', -1, ''} end
local left = ms
granted, last, claim = unpack(call('HMGET', fences, 'grant', 'fence', 'claim'))
if granted ~= id then return {NO, '0', -2, '', 0, '', -1, ''} end
if string.find(ARGV[4], 'endless', 1, true) then
  call('PERSIST', lock)
  left = -1
else
  left = call('PTTL', lock)
  if left >= 0 and left < ms then
    call('PEXPIRE', lock, ARGV[3])
    left = ms
  end
end
if claim then try('HDEL', fences, 'claim') end
return {YES, last, left, token, 2, '', -1, ''}
