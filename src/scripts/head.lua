-- What every script begins with (joined in front of each at build time).
-- KEYS  1 the lock   2 its fence hash   3 the mark of a withdrawn acquire
-- ARGV  1 token   2 request id   3 milliseconds   4 depends   5 database, empty for 0
-- Verdicts: the enum of the same names in store_valkey.c.
-- The fence hash: fence (the last one given), grant (id of the acquire that got it),
-- extend (id of the last extend), freed (ids of grants given back on purpose by another
-- process than the holder).
-- Harmless writes come first and the lock itself last: a command that an ACL forbids in the
-- middle of a script then leaves the lock as it was. What may be missing is asked with pcall.
local lock, fences, mark = KEYS[1], KEYS[2], KEYS[3]
local token, id, ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local MONTH, MARK_MS = 2592000000, 120000 -- a mark outlives what TCP still tries to deliver
local NO, YES, ENDLESS, TOO_LONG, WITHDRAWN = 0, 1, 2, 3, 4

-- redis.call, but an ACL's refusal names the command (Redis 7.0 does not by itself).
local function call(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if string.find(reply.err, "user executing the script can't run", 1, true) then
    error({err = "NOPERM no permission to run the '" .. string.lower(command) .. "' command"})
  end
  return redis.call(command, ...)
end

-- Here and not in a command of its own in front: if there is no such database, nothing else
-- happens, and nothing is locked in database 0.
if ARGV[5] ~= '' then call('SELECT', ARGV[5]) end
local held = call('GET', lock)
local note = call('HMGET', fences, 'fence', 'grant', 'extend', 'freed')
local ours = held == token

local function keep(field, value)
  call('HSET', fences, field, value)
  call('PEXPIRE', fences, MONTH)
end

-- verdict, last fence, ms left (-1 no expiry, -2 free), what the lock holds, given back on
-- purpose (1 or 0)
local function answer(verdict)
  local now = call('GET', lock)
  local freed = id ~= '' and note[4] and string.find(note[4], id, 1, true)
  return {verdict, note[1] or '0', call('PTTL', lock),
          now and string.sub(now, 1, 512) or '', freed and 1 or 0}
end
