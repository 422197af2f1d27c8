-- As reset; but a lock that lapsed is taken again with its old fence (ARGV 4), if that is
-- still the last one given and was not given back: no vlock has held the lock in between.
if ours then
  if call('PTTL', lock) == -1 then return answer(ENDLESS) end
  call('PEXPIRE', lock, ARGV[3])
  return answer(YES)
end
if held or not granted or last ~= ARGV[4] then return answer(NO) end
call('SET', lock, token, 'PX', ARGV[3])
return answer(YES)
