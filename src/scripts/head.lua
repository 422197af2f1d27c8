-- What every script begins with (joined in front of each at build time).
-- KEYS  1 the lock   2 its fence hash   3 the mark of a withdrawn acquire
-- ARGV  1 token   2 request id   3 milliseconds   4 depends   5 database, empty for 0
-- The fence hash: fence (the last one given), grant (id of the acquire that got it),
-- extend (id of the last extend), freed (ids of grants given back on purpose by another
-- process than the holder).
-- Harmless writes come first and the lock itself last: a command that an ACL forbids in the
-- middle of a script then leaves the lock as it was.
local lock, fences, mark = KEYS[1], KEYS[2], KEYS[3]
local token, id, ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
-- Here and not in a command of its own in front: if there is no such database, nothing else
-- happens, and nothing is locked in database 0.
if ARGV[5] ~= '' then redis.call('SELECT', ARGV[5]) end
local held = redis.call('GET', lock)
local note = redis.call('HMGET', fences, 'fence', 'grant', 'extend', 'freed')
local ours = held == token
local MONTH = 2592000000
local NO, YES, ENDLESS, TOO_LONG, WITHDRAWN = 0, 1, 2, 3, 4

local function keep(field, value)
  redis.call('HSET', fences, field, value)
  redis.call('PEXPIRE', fences, MONTH)
end

-- verdict, last fence, ms left (-1 no expiry, -2 free), what the lock holds, given back on
-- purpose (1 or 0)
local function answer(verdict)
  local now = redis.call('GET', lock)
  local freed = id ~= '' and note[4] and string.find(note[4], id, 1, true)
  return {verdict, note[1] or '0', redis.call('PTTL', lock),
          now and string.sub(now, 1, 512) or '', freed and 1 or 0}
end
