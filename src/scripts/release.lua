-- #!lua flags=allow-oom
-- keys 5, with swift queue
-- Compare and delete, or hand over, in one step: between a GET and a DEL the lock may expire and
-- become somebody else's. ARGV 4 is 'tell' when the holder is a live process other than the
-- caller: its next renewal then finds out that this was done on purpose.
-- Between one holder and the next stands this script: it reads and answers no more than it needs.
-- The holder itself comes with its id: a copy of its release that comes late, or again, must not
-- hit another one who was given the same token.
if not ours or (id ~= '' and granted and granted ~= id) then
  local bits = id ~= '' and freed and string.find(freed, id, 1, true) and 1 or 0
  return {NO, last or '0', call('PTTL', lock), held and string.sub(held, 1, 512) or '', bits}
end
if ARGV[4] == 'tell' and granted then
  -- First something that takes no memory: a script that has written is not refused the rest when
  -- the server's memory is full.
  try('HDEL', fences, 'grant')
  try('HSET', fences, 'freed', string.sub(granted .. (freed or ''), 1, 1024))
end
-- A hand-over never frees the lock, so a foreign client that only polls would starve under a queue
-- that never ends. After UNBROKEN_MS of that the lock stays free for PAUSE_MS.
local PAUSE_MS = 150
if handing and now_ms - handing > UNBROKEN_MS and first() then
  try('HDEL', fences, 'grant', 'handing')
  if rest(PAUSE_MS) then
    call('DEL', lock)
    ring_first(PAUSE_MS)
    ring_near(PAUSE_MS)
    return {YES, last or '0', -2, '', 0}
  end
end
if let_go() and not handing then
  try('HSET', fences, 'handing', string.format('%.0f', now_ms))
end
return {YES, last or '0', -2, '', 0}
