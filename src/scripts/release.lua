-- Compare and delete in one step: between a GET and a DEL the lock may expire and become
-- somebody else's. ARGV 4 is 'tell' when the holder is a live process other than the caller:
-- its next renewal then finds out that this was done on purpose.
if not ours then return answer(NO) end
-- What was given back is not recovered. (First, as it takes no memory: a script that has written
-- something is not refused the rest when the server's memory is full.)
redis.pcall('HDEL', fences, 'grant')
if ARGV[4] == 'tell' and note[2] then
  redis.pcall('HSET', fences, 'freed', string.sub(note[2] .. (note[4] or ''), 1, 1024))
end
call('DEL', lock)
return answer(YES)
