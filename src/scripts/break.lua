-- with queue.lua
-- As release, by an operator who holds nothing: only if the lock still holds the token that he was
-- shown, and, unless ARGV 4 is empty, still under that fence.
if not ours or (ARGV[4] ~= '' and ARGV[4] ~= last) then return answer(NO) end
try('HDEL', fences, 'grant')
let_go()
return answer(YES)
