-- Undo the acquire with this id: leave a mark that refuses it should it still be on its way, and
-- free the lock if that got it.
redis.pcall('SET', mark, '1', 'PX', MARK_MS) -- out of memory: freeing is still possible
if ours and note[2] == id then
  redis.pcall('HDEL', fences, 'grant')
  call('DEL', lock)
end
return answer(YES)
