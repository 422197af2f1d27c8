-- Set what is left to ms.
if not ours then return answer(NO) end
if call('PTTL', lock) == -1 then return answer(ENDLESS) end
call('PEXPIRE', lock, ARGV[3])
return answer(YES)
