-- A lock without expiry is acquired with one, and loses it here, once the acquire has been
-- answered: an acquire that nobody waits for any more then leaves no lock behind for ever.
if not ours or granted ~= id then return answer(NO) end
call('PERSIST', lock)
return answer(YES)
