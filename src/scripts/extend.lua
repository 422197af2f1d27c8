-- Add ms to what is left; once, however often the request arrives.
if not ours then return answer(NO) end
local left = call('PTTL', lock)
if left == -1 then return answer(ENDLESS) end
if extended ~= id then
  if left + ms > 9007199254740992 then return answer(TOO_LONG) end
  keep('extend', id)
  call('PEXPIRE', lock, string.format('%.0f', left + ms))
end
return answer(YES)
