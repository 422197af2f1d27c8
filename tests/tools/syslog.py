"""syslog.py SOCKET: prints each message that comes in at SOCKET, a line each."""

import socket
import sys

listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(sys.argv[1])
while True:
    print(listener.recv(65536).decode(), flush=True)
