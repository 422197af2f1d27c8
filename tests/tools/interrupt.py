#!/usr/bin/env python3
"""interrupt.py N CMD...: N times, CMD is started as leader of a session on a terminal of its own,
and Ctrl-C pressed there at another moment of its first 12 ms. Shows how those that did not die of
SIGINT ended, and fails, at the first of them: a Ctrl-C that nobody heard."""
import fcntl
import os
import signal
import sys
import termios
import time

SPREAD_S = 0.012


def start(command, slave, executed):
    pid = os.fork()
    if pid:
        return pid
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in range(3):
        os.dup2(slave, fd)
    os.set_inheritable(executed, False)
    os.execvp(command[0], command)


def interrupted(command, after_s):
    master, slave = os.openpty()
    gate = os.pipe()
    pid = start(command, slave, gate[1])
    os.close(slave)
    os.close(gate[1])
    os.read(gate[0], 1)  # its end: CMD was executed
    os.close(gate[0])
    time.sleep(after_s)
    os.write(master, b"\x03")
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(master)
    return code


def main():
    times = int(sys.argv[1])
    for n in range(times):
        after_s = SPREAD_S * n / times
        code = interrupted(sys.argv[2:], after_s)
        if code != -signal.SIGINT:
            sys.exit(f"Ctrl-C after {after_s * 1000:.2f} ms: ended with {code}")


main()
