-- What every script begins with. Joined in front of each at build time: first the '#!lua' line
-- that the script's own first line names, then this, then the parts that its second line names.
-- That line has the server refuse a script that may write before it begins: on a replica, without
-- a disk, with too few replicas. 'allow-oom': it runs when the server's memory is full, as what it
-- frees or keeps is worth more than what it takes. Servers before Redis 7.0 do not know the line:
-- they get the script without it, and with the code of the lines that begin with '-- OLD: '.
-- KEYS  1 the lock   2 its fence hash   3 the mark of an acquire that was withdrawn or sent again
--       4 the queue: request ids of those who wait, score = ticket
--       5 the waiters: id -> 'KIND SEEN MS BELL LIMIT TOKEN'
--       A script declares as many of them as its second line says: on a cluster whose slots are
--       being moved, a script runs only if all that it declares are in one place.
-- ARGV  1 token   2 request id   3 milliseconds   5 database, empty for 0
--       4, 6 and more: see the script
-- Verdicts: the enum of the same names in store_valkey_part.h.
-- The fence hash: fence (the last one given), grant (id of the acquire that got it), extend (id of
-- the last extend), freed (ids of grants given back on purpose by another process than the
-- holder), holder (SHA1 of the token that got it), claim (how many hand-overs in a row, the last
-- one included, were not confirmed yet), handing (since when, in ms, the lock passes from waiter to
-- waiter without being free), pause (until when, in ms, no vlock takes the lock although it is
-- free), boot (the server's run that the last pause for a restart was made in).
-- Harmless writes come first and the lock itself last: a command that an ACL forbids in the
-- middle of a script then leaves the lock as it was. What may be missing is asked with pcall.
local lock, fences, mark, queue, waiters = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local token, id, ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local MONTH, MARK_MS = 2592000000, 120000 -- a mark outlives what TCP still tries to deliver
local MOST_CLAIM_MS, LEAST_CLAIM_MS = 2000, 100 -- of a lock that was handed over
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

-- redis.call, but nil for what is refused: no permission, no memory, a key of another type.
local function try(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) == 'table' and reply.err then return nil end
  return reply
end

-- Here and not in a command of its own in front: if there is no such database, nothing else
-- happens, and nothing is locked in database 0.
if ARGV[5] ~= '' then call('SELECT', ARGV[5]) end
-- A write that changes nothing: refused where nothing may be written.
-- OLD: redis.call('PEXPIRE', fences, MONTH)
local held = call('GET', lock)
local ours = held == token
-- The fields of the fence hash, as far as the script has read them.
local last, granted, extended, freed, holder, claim, handing, pause, boot
