-- with queue.lua
-- Compare and delete, or hand over, in one step: between a GET and a DEL the lock may expire and
-- become somebody else's. ARGV 4 is 'tell' when the holder is a live process other than the
-- caller: its next renewal then finds out that this was done on purpose.
if not ours then return answer(NO) end
-- What was given back is not recovered. (First, as it takes no memory: a script that has written
-- something is not refused the rest when the server's memory is full.)
try('HDEL', fences, 'grant')
if ARGV[4] == 'tell' and granted then
  try('HSET', fences, 'freed', string.sub(granted .. (freed or ''), 1, 1024))
end
-- A hand-over never frees the lock, so a foreign client that only polls would starve under a queue
-- that never ends. After UNBROKEN_MS of that the lock stays free for PAUSE_MS.
local UNBROKEN_MS, PAUSE_MS = 1000, 150
if handing and now_ms - handing > UNBROKEN_MS and first() then
  try('HDEL', fences, 'handing', 'claim')
  if try('HSET', fences, 'pause', string.format('%.0f', now_ms + PAUSE_MS)) then
    call('DEL', lock)
    ring_first(PAUSE_MS)
    return answer(YES)
  end
end
if let_go() and not handing then
  try('HSET', fences, 'handing', string.format('%.0f', now_ms))
end
return answer(YES)
