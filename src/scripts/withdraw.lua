-- #!lua flags=allow-oom
-- keys 5, with note queue
-- Undo the acquire with this id: leave a mark that refuses it should it still be on its way, give
-- up its place, and give the lock back if that got it.
try('SET', mark, '9007199254740991', 'PX', MARK_MS) -- out of memory: freeing is still possible
local place = try('ZRANK', queue, id)
if place then forget(id) end
if ours and granted == id then
  claim = nil
  let_go()
elseif place == 0 then
  ring_first(math.max(call('PTTL', lock), 0))
end
return answer(YES)
