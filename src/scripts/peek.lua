-- with queue.lua
-- Who holds the lock, and for how long; with a token: whether it is the holder's. ARGV 6: how many
-- of those who wait to list, or nothing. Adds to the answer then: how many wait, and 'TICKET TOKEN'
-- of the first of them.
local verdict = (token == '' or ours) and YES or NO
if not ARGV[6] then return answer(verdict) end
local count, list = 0, {}
local ids = try('ZRANGE', queue, '0', '-1', 'WITHSCORES') or {}
for at = 1, #ids, 2 do
  local it = waiter(ids[at])
  if it and lives(it) then
    count = count + 1
    if count <= tonumber(ARGV[6]) then
      list[count] = string.format('%.0f', ids[at + 1]) .. ' ' .. it.token
    end
  end
end
return answer(verdict, count, list)
