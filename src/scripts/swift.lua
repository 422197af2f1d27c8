-- The release that most of them are: the holder itself gives back what it was granted, somebody
-- waits who listens, and so does the one behind him, if there is one. Everybody waits for this
-- script, so it is release.lua in as few calls as there can be, and makes no function first. What
-- is not so, release.lua does: nothing has been changed then.
last, handing, granted, freed = unpack(call('HMGET', fences, 'fence', 'handing', 'grant', 'freed'))
local since = handing
handing = tonumber(handing)
local UNBROKEN_MS, MOST_CLAIM_MS, LEAST_CLAIM_MS = 1000, 2000, 100
local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now_ms = math.floor(now_us / 1000)
local unbroken_ms = handing and now_ms - handing or 0
if ours and granted == id and ARGV[4] == '' and unbroken_ms <= UNBROKEN_MS then
  local two = try('ZRANGE', queue, '0', '1')
  local line = two and two[1] and try('HGET', waiters, two[1])
  local wants, to = string.match(line or '', '^b %d+ (%d+) (.+)$')
  if to then
    local bells = string.sub(fences, 1, -6) .. (ARGV[5] ~= '' and ARGV[5] or '0') .. ':'
    local its = bells .. string.sub(two[1], 1, 16)
    local next = two[2] and bells .. string.sub(two[2], 1, 16)
    local listening = try('PUBSUB', 'NUMSUB', its, next or its) -- a nil would be refused
    if listening and listening[2] > 0 and (not next or listening[4] > 0) then
      local left = string.format('%d', math.max(LEAST_CLAIM_MS, math.min(wants, MOST_CLAIM_MS)))
      if next then try('PUBLISH', next, 'first ' .. left) end
      local fence = string.format('%.0f', math.max((tonumber(last) or 0) + 1, now_us))
      local text = 'granted ' .. fence .. ' ' .. left .. ' ' .. string.sub(two[1], 17)
      if try('PUBLISH', its, text) then
        last = fence
        try('ZREM', queue, two[1])
        try('HDEL', waiters, two[1])
        call('HSET', fences, 'grant', two[1], 'fence', last, 'holder', redis.sha1hex(to), 'claim',
             '1', 'handing', handing and since or string.format('%.0f', now_ms))
        if not handing then call('PEXPIRE', fences, MONTH) end
        call('SET', lock, to, 'PX', left)
        return {YES, last, -2, '', 0}
      end
    end
  end
end
