#!/usr/bin/env python3
"""A proxy in front of a real server that counts requests and breaks connections at one of them.

    proxy.py LISTEN UPSTREAM DIR

LISTEN and UPSTREAM are `unix:PATH` or `HOST:PORT` (LISTEN port 0: any; the port is written to
DIR/port when the proxy is ready). One line of DIR/log for each request that arrives:

    CONNECTION WRITE NAME      e.g. `1 1 HELLO`, `1 1 EVALSHA`: first connection, first write

DIR/rule, if it stands there when a request arrives, is read and removed, and holds for the
requests from then on, counted from 1, over all connections, until it has fired once:

    cut N rst|fin       the server has EXECUTED request N and its reply was read: the connection
                        is closed (RST, or FIN) and the reply not passed on
    all N rst|fin       the same, but what came in the same write after N is executed too
    before N rst|fin    closed before request N is sent on
    middle N rst|fin K  closed after K bytes of N's reply
    late N              request N and what follows on its connection is held, and sent on when
                        DIR/go exists, even if the client has gone by then
    delay MS            each reply is held for MS (never used up)
    hold N              the reply to request N is held until DIR/go exists
When a rule has fired, `fired` is added to the log.
"""
import os
import selectors
import socket
import struct
import sys
import threading
import time

LOCK = threading.Lock()


def frame_end(data, at=0):
    """Index after the complete RESP2/RESP3 frame at `at`, or 0 if it is not complete yet."""
    line = data.find(b"\r\n", at)
    if line < 0:
        return 0
    kind, rest, at = data[at:at + 1], data[at + 1:line], line + 2
    if kind in b"$=!":
        length = int(rest)
        end = at if length < 0 else at + length + 2
        return end if end <= len(data) else 0
    if kind in b"*~>%|":
        count = max(int(rest), 0) * (2 if kind in b"%|" else 1) + (1 if kind == b"|" else 0)
        for _ in range(count):
            at = frame_end(data, at)
            if not at:
                return 0
    return at


def request_name(frame):
    words = frame.split(b"\r\n")[2::2]
    name = words[0].upper().decode("ascii", "replace") if words else "?"
    if name in ("CLIENT", "SCRIPT", "PUBSUB", "CONFIG", "FUNCTION") and len(words) > 1:
        name += "|" + words[1].upper().decode("ascii", "replace")
    return name


def connect(where):
    if where.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX)
        s.connect(where[5:])
        return s
    host, port = where.rsplit(":", 1)
    s = socket.create_connection((host, int(port)))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


class Proxy:
    def __init__(self, upstream, folder):
        self.upstream, self.folder = upstream, folder
        self.rule, self.count, self.connections = None, 0, 0

    def log(self, text):
        with open(self.folder + "/log", "a") as f:
            f.write(text + "\n")

    def number_of_next(self):
        """Arms a waiting rule; the number of the request that has just arrived."""
        with LOCK:
            path = self.folder + "/rule"
            if os.path.exists(path):
                with open(path) as f:
                    self.rule = f.read().split()
                os.unlink(path)
                self.count = 0
            self.count += 1
            return self.count

    def fires(self, number, *kinds):
        """The rule, used up, if it is one of `kinds` and meant for request `number`."""
        with LOCK:
            rule = self.rule
            if rule and rule[0] in kinds and int(rule[1]) == number:
                self.rule = None
                self.log("fired")
                return rule
        return None

    def serve(self, client):
        try:
            with LOCK:
                self.connections += 1
                mine = self.connections
            Connection(self, client, connect(self.upstream), mine).pump()
        except (OSError, ValueError) as e:
            self.log(f"error {e}")
        finally:
            client.close()


class Connection:
    def __init__(self, proxy, client, server, number):
        self.proxy, self.client, self.server, self.number = proxy, client, server, number
        self.pending = []  # numbers and names of the requests whose reply has not come
        self.held = None   # bytes that wait for DIR/go
        self.writes = 0

    def end(self, how="fin"):
        if how == "rst" and self.client.family != socket.AF_UNIX:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()
        self.server.close()
        return False

    def pump(self):
        with selectors.DefaultSelector() as wait:
            wait.register(self.client, selectors.EVENT_READ, self.from_client)
            wait.register(self.server, selectors.EVENT_READ, self.from_server)
            self.up, self.down = b"", b""
            while True:
                for key, _ in wait.select():
                    data = key.fileobj.recv(1 << 16)
                    if not data and key.data == self.from_client and self.held is not None:
                        return self.go_late()
                    if not data:
                        return self.end()
                    if not key.data(data):
                        return None
                if self.held is not None and os.path.exists(self.proxy.folder + "/go"):
                    self.go_late()

    def go_late(self):
        while not os.path.exists(self.proxy.folder + "/go"):
            time.sleep(0.01)
        self.server.sendall(self.held)
        self.server.shutdown(socket.SHUT_WR)
        while self.server.recv(1 << 16):
            pass
        self.proxy.log("late request was executed")
        return self.end()

    def from_client(self, data):
        self.up += data
        self.writes += 1
        while end := frame_end(self.up):
            frame, self.up = self.up[:end], self.up[end:]
            number, name = self.proxy.number_of_next(), request_name(frame)
            self.proxy.log(f"{self.number} {self.writes} {name}")
            if self.held is not None or self.proxy.fires(number, "late"):
                self.held = (self.held or b"") + frame
                continue
            if rule := self.proxy.fires(number, "before"):
                self.drain()
                return self.end(rule[2])
            rule = self.proxy.rule
            self.server.sendall(frame)
            self.pending.append((number, name))
            if rule and rule[0] in ("cut", "middle") and int(rule[1]) == number:
                self.up = b""  # what follows never reaches the server
                return True
        return True

    def drain(self):
        """Passes on the replies to the requests that were sent."""
        while self.pending and (data := self.server.recv(1 << 16)):
            self.from_server(data)

    def answers(self, frame):
        """True if this is the reply to the oldest request; SUBSCRIBE is answered by a push."""
        if not frame.startswith(b">"):
            return True
        answers = {"SUBSCRIBE": b"subscribe", "SSUBSCRIBE": b"ssubscribe"}
        said = frame.split(b"\r\n")[2:3]
        return bool(self.pending) and said == [answers.get(self.pending[0][1])]

    def from_server(self, data):
        self.down += data
        while end := frame_end(self.down):
            frame, self.down = self.down[:end], self.down[end:]
            rule = self.proxy.rule
            if rule and rule[0] == "delay":
                time.sleep(int(rule[1]) / 1000)
            if self.answers(frame):
                number = self.pending.pop(0)[0]
                if self.proxy.fires(number, "hold"):
                    while not os.path.exists(self.proxy.folder + "/go"):
                        time.sleep(0.01)
                if rule := self.proxy.fires(number, "cut", "all", "middle"):
                    if rule[0] == "all":
                        self.settle()
                    if rule[0] == "middle":
                        self.client.sendall(frame[:int(rule[3])])
                    return self.end(rule[2])
            self.client.sendall(frame)
        return True

    def settle(self):
        """Waits until everything that was sent on has been executed."""
        while self.pending:
            while not (end := frame_end(self.down)):
                data = self.server.recv(1 << 16)
                if not data:
                    return
                self.down += data
            if self.answers(self.down[:end]):
                self.pending.pop(0)
            self.down = self.down[end:]


def main():
    listen, upstream, folder = sys.argv[1:]
    if listen.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX)
        s.bind(listen[5:])
    else:
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((listen.rsplit(":", 1)[0], int(listen.rsplit(":", 1)[1])))
    s.listen(64)
    proxy = Proxy(upstream, folder)
    with open(folder + "/port.new", "w") as f:
        f.write(str(s.getsockname()[1]) if not listen.startswith("unix:") else "unix")
    os.rename(folder + "/port.new", folder + "/port")
    while True:
        client, _ = s.accept()
        if client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=proxy.serve, args=(client,), daemon=True).start()


main()
