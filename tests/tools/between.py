#!/usr/bin/env python3
"""What stands between vlock and a server: a load balancer, or a proxy that knows fewer commands.

    between.py DIR lead            each new connection is led to the port that the file DIR/primary
                                   names by then; those that are there stay where they are
    between.py DIR words|close     to the port in DIR/primary; commands that such proxies do not
                                   know are refused in words of its own, or by closing the
                                   connection
    between.py DIR shut            closes every connection without a word

Listens on a free port of the loopback, which it writes to DIR/port. DIR/log has a line for each
connection."""
import os
import socket
import sys
import threading

UNKNOWN = {"HELLO", "CLIENT", "SELECT", "SUBSCRIBE", "SSUBSCRIBE", "PUBSUB", "SPUBLISH", "INFO",
           "ROLE"}
DIR, MODE = sys.argv[1:]


def primary():
    with open(os.path.join(DIR, "primary"), encoding="ascii") as file:
        return socket.create_connection(("127.0.0.1", int(file.read())))


def close(*sockets):
    for one in sockets:
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        one.close()


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    close(source, target)


def lead(client):
    server = primary()
    threading.Thread(target=pump, args=(server, client), daemon=True).start()
    pump(client, server)


def reply_from(server):
    line = server.readline()
    out = line
    if line[:1] == b"$" and int(line[1:]) >= 0:
        out += server.read(int(line[1:]) + 2)
    if line[:1] == b"*":
        for _ in range(max(0, int(line[1:]))):
            out += reply_from(server)
    return out


def request_from(client):
    """The bytes of the next request, and its first word; b"" at the end."""
    raw = line = client.readline()
    words = []
    for _ in range(int(line[1:]) if line else 0):
        head = client.readline()
        word = client.read(int(head[1:]) + 2)
        raw += head + word
        words.append(word[:-2].decode("latin-1"))
    return raw, words[0].upper() if words else ""


def filtered(client):
    server = primary()
    asked, answered = client.makefile("rb"), server.makefile("rb")
    while True:
        raw, word = request_from(asked)
        if not raw or (word in UNKNOWN and MODE == "close"):
            break
        if word in UNKNOWN:
            client.sendall(b"-ERR handle request, command '%s' is not allowed\r\n" % word.encode())
            continue
        server.sendall(raw)
        client.sendall(reply_from(answered))
    asked.close()
    answered.close()
    close(client, server)


def serve(client):
    try:
        {"lead": lead, "shut": close}.get(MODE, filtered)(client)
    except OSError:
        close(client)


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    port = os.path.join(DIR, "port")
    with open(port + ".new", "w", encoding="ascii") as file:
        file.write(str(listener.getsockname()[1]))
    with open(os.path.join(DIR, "log"), "w", encoding="ascii") as log:
        os.rename(port + ".new", port)
        while True:
            client, _ = listener.accept()
            print("connection", file=log, flush=True)
            threading.Thread(target=serve, args=(client,), daemon=True).start()


main()
