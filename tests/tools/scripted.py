#!/usr/bin/env python3
"""A server that says what it is told: for the faults that no real server can be brought to.

    scripted.py DIR [STEP...]         every connection goes through the same steps
    scripted.py DIR STEP... THEN STEP... [THEN STEP...]
                                      the first connection through those before the first THEN, the
                                      second through the next ones; those that follow as the last

Listens on a loopback port, written to DIR/port. TEXT knows \\r \\n \\t \\0 \\\\ \\xHH.

    EXPECT TEXT     waits until TEXT has arrived (case does not matter)
    SEND TEXT
    REPEAT N TEXT   TEXT, N times
    ENDLESS TEXT    TEXT until the client has had enough
    SLEEP MS
    CLOSE | RST     ends the connection (the end of the steps closes it too)
    NEVER           keeps the connection open and says nothing more
    ON NAME TEXT    from now on, TEXT is the answer to each request NAME (`*`: any other)
    SERVE           answers requests as the ONs say until the client goes
    SERVE NAME      the same until a request NAME comes, which is not answered
DIR/log gets a line for each connection and for each request that SERVE reads; DIR/requests a line
with the connection's number and all words of each such request, as Python writes bytes.
"""
import os
import re
import socket
import struct
import sys
import threading
import time


def text(words):
    return re.sub(rb"\\(x[0-9a-fA-F]{2}|.)",
                  lambda m: {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0"}.get(
                      m[1], bytes([int(m[1][1:], 16)]) if m[1][:1] == b"x" else m[1]),
                  words.encode())


def log(folder, line):
    with open(folder + "/log", "a") as f:
        f.write(line + "\n")


def requests(data):
    """Splits complete requests (arrays of bulk strings) off `data`: their words, and the rest."""
    found = []
    while m := re.match(rb"\*(\d+)\r\n", data):
        at, words = m.end(), []
        for _ in range(int(m[1])):
            m = re.compile(rb"\$(\d+)\r\n").match(data, at)
            if not m or m.end() + int(m[1]) + 2 > len(data):
                return found, data
            words.append(data[m.end():m.end() + int(m[1])])
            at = m.end() + int(m[1]) + 2
        found.append(words)
        data = data[at:]
    return found, data


def answer_until(client, folder, number, got, answers, last):
    """SERVE: what was read beyond the request `last`; None if the client went."""
    while True:
        found, got = requests(got)
        for words in found:
            name = words[0].decode("ascii", "replace").upper()
            with open(folder + "/requests", "a") as f:
                f.write(f"{number} {words}\n")
            log(folder, name)
            if name == last:
                return got
            client.sendall(answers.get(name, answers.get("*", b"-ERR no answer\r\n")))
        data = client.recv(1 << 16)
        if not data:
            return None
        got += data


def serve(client, folder, number, steps):
    got, answers = b"", {}
    for step in steps:
        verb, _, rest = step.partition(" ")
        if verb == "EXPECT":
            while text(rest).lower() not in got.lower():
                data = client.recv(1 << 16)
                if not data:
                    return
                got += data
        elif verb == "SEND":
            client.sendall(text(rest))
        elif verb == "REPEAT":
            count, _, rest = rest.partition(" ")
            client.sendall(text(rest) * int(count))
        elif verb == "ENDLESS":
            while True:
                client.sendall(text(rest) * 1000)
        elif verb == "SLEEP":
            time.sleep(int(rest) / 1000)
        elif verb == "RST":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        elif verb == "CLOSE":
            return
        elif verb == "NEVER":
            while client.recv(1 << 16):
                pass
        elif verb == "ON":
            name, _, rest = rest.partition(" ")
            answers[name.upper()] = text(rest)
        elif verb == "SERVE":
            got = answer_until(client, folder, number, got, answers, rest.upper())
            if got is None:
                return
        else:
            raise SystemExit(f"unknown step: {step}")


def connection(client, folder, number, steps):
    log(folder, "connection")
    try:
        serve(client, folder, number, steps)
    except OSError:
        pass
    client.close()


def main():
    folder, scripts, count = sys.argv[1], [[]], 0
    for word in sys.argv[2:]:
        if word == "THEN":
            scripts.append([])
        else:
            scripts[-1].append(word)
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(64)
    with open(folder + "/port.new", "w") as f:
        f.write(str(s.getsockname()[1]))
    os.rename(folder + "/port.new", folder + "/port")
    while True:
        client, _ = s.accept()
        count += 1
        threading.Thread(target=connection, daemon=True,
                         args=(client, folder, count, scripts[min(count, len(scripts)) - 1])).start()


main()
