#!/usr/bin/env python3
"""compatible.py [--poll] [--scripts DIR] SOCKET DB NAME TOKEN TTL_MS: another client of the locks
of vlock, written from vlock-protocol(7) alone: takes the lock, waiting in the queue if it is held,
and keeps it until a line comes on stdin. Says on stdout what happens:

    place N       in the queue, N before us
    bell TEXT     our bell said TEXT
    changed       the key was changed by somebody
    held FENCE    the lock is ours
    released      ... and given back
    withdrawn     SIGTERM ended the wait
    refused N     another verdict than was to be expected

It sends scripts of its own, or, with --scripts, those of the source, joined as the page says."""
import argparse
import os
import secrets
import select
import signal
import socket
import sys
import time

# What the page calls lives, first, given, rung, handed over and let go.
COMMON = r"""
local name, fence, mark, queue, waiters = unpack(KEYS)
local token, id, ttl, words, db = unpack(ARGV)
local R = redis.call
if db ~= '' then R('SELECT', db) end
local t = R('TIME')
local us, ms = t[1] * 1e6 + t[2], t[1] * 1e3 + math.floor(t[2] / 1e3)
local function int(n) return string.format('%.0f', n) end
local function bell(who) return 'vlock:bell:' .. who end
local function come() R('SPUBLISH', 'vlock:come:' .. (db == '' and '0' or db), 'come ' .. name) end
local function line(who)
  local kind, seen, want, its, tok =
    string.match(R('HGET', waiters, who) or '', '(%a) (%d+) (%d+) (%S+) 1 (.*)')
  local lives = kind == 'b' and R('PUBSUB', 'SHARDNUMSUB', bell(its))[2] > 0
    or kind == 'p' and ms - seen < POLLED_MS
  return lives, kind, tonumber(want), its, tok
end
local function first()
  local who = R('ZRANGE', queue, 0, 0)[1]
  if not who then return end
  local lives, kind, want, its, tok = line(who)
  if lives then return who, kind, want, its, tok end
  R('ZREM', queue, who)
  R('HDEL', waiters, who)
  return first()
end
local function give(who, tok)
  local n = int(math.max(us, (tonumber(R('HGET', fence, 'fence') or '') or 0) + 1))
  R('HSET', fence, 'fence', n, 'grant', who, 'holder', redis.sha1hex(tok))
  R('PEXPIRE', fence, MONTH)
end
local function ring(left)
  local who, kind, _, its = first()
  if kind == 'b' then R('SPUBLISH', bell(its), 'first ' .. who .. ' ' .. int(left)) end
end
local function let_go()
  local who, kind, want, its, tok = first()
  if not who then
    R('HDEL', fence, 'claim', 'handing')
    R('DEL', name)
    return false
  end
  if kind == 'b' then R('SPUBLISH', bell(its), 'granted ' .. who) end
  R('ZREM', queue, who)
  R('HDEL', waiters, who)
  give(who, tok)
  local claims = R('HINCRBY', fence, 'claim', 1) - 1
  local left = math.max(LEAST_CLAIM_MS, math.floor(math.min(want, MOST_CLAIM_MS) / 2 ^ claims))
  R('SET', name, tok, 'PX', int(left))
  ring(left)
  return true
end
local function near(left)
  local place = 0
  for _, who in ipairs(R('ZRANGE', queue, 1, -1)) do
    local lives, _, _, its = line(who)
    if lives then
      place = place + 1
      if its ~= '-' then
        R('SPUBLISH', bell(its), 'near ' .. who .. ' ' .. place .. ' ' .. int(left))
      end
      if place == 2 then return end
    end
  end
end
local now = R('GET', name)
local function answer(verdict, ...)
  return {verdict, R('HGET', fence, 'fence') or '0', R('PTTL', name), R('GET', name) or '', 0, ...}
end
"""
OWN = {
    "acquire": r"""
local attempt, ticket = tonumber(ARGV[6]), ARGV[7]
if now == token and R('HGET', fence, 'grant') == id then
  if R('PTTL', name) < tonumber(ttl) then R('PEXPIRE', name, ttl) end
  R('HDEL', fence, 'claim')
  return answer(1, '', -1, '')
end
if (tonumber(R('GET', mark) or '') or 0) > attempt then return answer(4, '', -1, '') end
if string.find(words, 'again') then R('SET', mark, attempt, 'PX', MARK_MS) end
local pause = (tonumber(R('HGET', fence, 'pause') or '') or 0) - ms
if not now and pause <= 0 then
  local who = first()
  if not who or who == id then
    give(id, token)
    R('HDEL', fence, 'claim', 'handing', 'pause')
    R('ZREM', queue, id)
    R('HDEL', waiters, id)
    R('SET', name, token, 'PX', ttl)
    if who then ring(ttl) end
    return answer(1, '', -1, '')
  end
  let_go()
end
local kind = string.match(words, 'bell') and 'b' or string.match(words, 'poll') and 'p'
if not kind then return answer(0, ticket, -1, '') end
local last = R('ZRANGE', queue, -1, -1, 'WITHSCORES')
if not last[1] and ticket ~= '' then come() end
if ticket == '' then ticket = int(math.max(us, (tonumber(last[2]) or 0) + 1)) end
R('HSET', waiters, id, kind .. ' ' .. int(ms) .. ' ' .. ttl .. ' ' .. ARGV[11] .. ' 1 ' .. token)
R('ZADD', queue, 'NX', ticket, id)
R('PEXPIRE', waiters, QUEUE_MS)
R('PEXPIRE', queue, QUEUE_MS)
local busy = answer(0, ticket, R('ZRANK', queue, id), '')
if not now and pause > 0 then busy[3] = pause end
if busy[7] == 0 and busy[3] >= 0 then near(busy[3]) end
return busy
""",
    "release": r"""
if now ~= token then return answer(0) end
R('HDEL', fence, 'grant')
local handing = tonumber(R('HGET', fence, 'handing') or '')
if handing and ms - handing > UNBROKEN_MS and first() then
  R('HDEL', fence, 'handing', 'claim')
  R('HSET', fence, 'pause', int(ms + PAUSE_MS))
  R('DEL', name)
  ring(PAUSE_MS)
elseif let_go() and not handing then
  R('HSET', fence, 'handing', int(ms))
end
return answer(1)
""",
    "withdraw": r"""
R('SET', mark, '9007199254740991', 'PX', MARK_MS)
local place = R('ZRANK', queue, id)
R('ZREM', queue, id)
R('HDEL', waiters, id)
if now == token and R('HGET', fence, 'grant') == id then
  R('HDEL', fence, 'grant', 'claim')
  let_go()
elseif place == 0 then
  ring(math.max(0, R('PTTL', name)))
end
return answer(1)
""",
}
TIMES = {"MONTH": 2592000000, "MARK_MS": 120000, "QUEUE_MS": 90000, "POLLED_MS": 1000,
         "MOST_CLAIM_MS": 2000, "LEAST_CLAIM_MS": 100, "UNBROKEN_MS": 1000, "PAUSE_MS": 150}
LAZY, RANK, RANKS, LATE, SLOW, SLOW_STEP, POLL = 0.005, 0.020, 3, 0.002, 30, 3, 0.2


def script(name, directory):
    if not directory:
        times = "".join(f"local {name} = {value}\n" for name, value in TIMES.items())
        return ("#!lua\n" + times + COMMON + OWN[name]).encode()

    def text(of):
        with open(os.path.join(directory, of + ".lua"), "rb") as file:
            return file.read()

    first, second = text(name).split(b"\n")[:2]
    line = first[3:] + b"\n" if first.startswith(b"-- #!lua") else b""
    parts = [part for part in ("note", "swift", "queue") if part.encode() in second]
    return line + b"".join(text(part) for part in ["head", *parts, name])


class Connection:
    """RESP3 over a unix socket; pushes and answers come out of receive()."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.heard = b""
        self.expected = []
        self.pushes = []
        self.ask("HELLO", "3", "SETNAME", "compatible")

    def send(self, kind, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(words) +
                            b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        if kind:
            self.expected.append(kind)

    def more(self):
        more = self.socket.recv(65536)
        if not more:
            sys.exit("the server hung up")
        self.heard += more

    def bytes(self, count):
        while len(self.heard) < count:
            self.more()
        out, self.heard = self.heard[:count], self.heard[count:]
        return out

    def read(self):
        while b"\n" not in self.heard:
            self.more()
        line = self.bytes(self.heard.index(b"\n") + 1)
        kind, rest = line[:1], line[1:-2]
        if kind in b"+-(,":
            return (kind == b"-" and Exception or str)(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"_":
            return None
        if kind in b"$=":
            return self.bytes(int(rest) + 2)[:-2]
        if kind in b"*~>%":
            items = [self.read() for _ in range(int(rest) * (2 if kind == b"%" else 1))]
            if kind != b">":
                return items
            self.pushes.append(items)
            return self  # no answer
        sys.exit(f"the server said {line!r}")

    def answer(self):
        """The answer to the last command that wants one; pushes are kept."""
        while True:
            reply = self.read()
            if reply is self:
                continue
            if isinstance(reply, Exception):
                sys.exit(f"{self.expected.pop(0)}: {reply}")
            if self.expected.pop(0) == "asked" and not self.expected:
                return reply

    def ask(self, *words):
        self.send("asked", *words)
        return self.answer()

    def listen(self, until):
        """The next push, or None at `until`."""
        while not self.pushes:
            left = until - time.monotonic()
            if not self.heard and (left <= 0 or not self.readable(left)):
                return None
            self.read()
        return self.pushes.pop(0)

    def readable(self, seconds):
        return bool(select.select([self.socket], [], [], seconds)[0])


class Lock:
    def __init__(self, options):
        self.options, self.id = options, secrets.token_hex(16)
        self.connection = Connection(options.socket)
        name, db = options.name, options.db
        opening = name.find("{")
        tagged = opening >= 0 and name.find("}", opening) > opening + 1
        self.beside = f"{name}:vlock2:" if tagged else f"{{{name}}}:vlock:"
        self.bell = secrets.token_hex(8)
        self.everybody = f"vlock:come:{db}"
        self.ticket, self.place, self.tracked = "", -1, False

    def call(self, name, *more):
        o, beside = self.options, self.beside
        return self.connection.ask(
            "EVAL", script(name, o.scripts), 5, o.name, beside + "fence",
            f"{beside}gone:{self.id}", beside + "queue", beside + "waiters",
            o.token, self.id, o.ttl,
            more[0] if more else "", "" if o.db == 0 else o.db, *more[1:])

    def acquire(self, word):
        return self.call("acquire", word, 0, self.ticket, 0, "", 0,
                         self.bell if word == "bell" else "-")

    def subscribe(self):
        for channel in ("vlock:bell:" + self.bell, self.everybody):
            self.connection.send(None, "SSUBSCRIBE", channel)
        self.connection.send("aside", "CLIENT", "TRACKING", "ON", "OPTIN", "NOLOOP")

    def wait(self):
        """Until the lock is ours: the answer."""
        poll = self.options.poll
        if not poll:
            self.subscribe()
        while True:
            if self.place == 0 and not self.tracked and not poll:
                self.connection.send("aside", "CLIENT", "CACHING", "YES")
                self.connection.send("aside", "GET", self.options.name)
                self.tracked = True
            answer = self.acquire("poll" if poll else "bell")
            if answer[0]:
                return answer
            say("place", answer[6])
            self.ticket = answer[5].decode()
            became_first = answer[6] == 0 and not self.tracked and not poll
            self.place = answer[6]
            if not became_first:
                self.sleep(answer[2])

    def look_at(self, left):
        """When to ask if nothing is heard."""
        slow = min(SLOW, (self.place + 1) * SLOW_STEP) if self.place > 0 else SLOW
        until = POLL if self.options.poll else slow
        if left >= 0 and 0 <= self.place < RANKS:
            until = min(until, left / 1000 + LATE + self.place * RANK)
        return time.monotonic() + until

    def sleep(self, left):
        """Until it is worth asking again."""
        until = self.look_at(left)
        while True:
            push = self.connection.listen(until)
            if push is None:
                return
            if push[0] == b"invalidate":
                say("changed")
                self.tracked = False
                until = 0  # at once, when what came with it was read
            if push[0] == b"smessage":
                what, of, *more = push[2].decode().split(" ", 3)
                say("bell", what, *more)
                if (what, of) in (("granted", self.id), ("come", self.options.name)):
                    until = 0
                if (what, of) == ("first", self.id):
                    self.place = 0
                    until = min(until, time.monotonic() + LAZY)
                if (what, of) == ("near", self.id) and until:
                    self.place = int(more[0])
                    until = self.look_at(int(more[1]))


def say(*words):
    print(*words, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--poll", action="store_true")
    parser.add_argument("--scripts")
    parser.add_argument("socket")
    parser.add_argument("db", type=int)
    parser.add_argument("name")
    parser.add_argument("token")
    parser.add_argument("ttl", type=int)
    options = parser.parse_args()
    lock = Lock(options)

    def stop(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        answer = lock.acquire("")
        if answer[0] == 0:
            answer = lock.wait()
    except KeyboardInterrupt:
        # The answer to what was asked may still be under way: over another connection.
        lock.connection = Connection(options.socket)
        say("withdrawn" if lock.call("withdraw")[0] == 1 else "refused")
        return
    if answer[0] != 1:
        say("refused", answer[0])
        return
    again = lock.acquire("again")  # a copy of it changes nothing
    if again[:2] == answer[:2]:
        say("held", answer[1].decode())
    else:
        say("refused", again[0])
    sys.stdin.readline()
    verdict = lock.call("release")[0]
    say("released" if verdict == 1 else f"refused {verdict}")


main()
