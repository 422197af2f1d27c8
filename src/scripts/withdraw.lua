-- Undo the acquire with this id: free the lock if that got it, and leave a mark (ms) that
-- refuses it should it still be on its way.
if ours and note[2] == id then redis.call('DEL', lock) end
redis.call('SET', mark, '1', 'PX', ARGV[3])
return answer(YES)
