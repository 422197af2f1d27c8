#!/usr/bin/env python3
"""terminal.py FOLDER CMD...: CMD as a login session has it: leader of its session, on a terminal
of its own. What it shows is added to FOLDER/screen; what somebody at the terminal does comes as
lines through the named pipe FOLDER/keys, which whoever writes to finds when FOLDER/ready exists:

    type TEXT       types TEXT         key C       presses Ctrl-C (key \\ presses Ctrl-\\)
    enter TEXT      and presses Enter  size R C    the window has R rows and C columns now
    hangup          the terminal goes away
    end             the same, and whatever CMD left is killed: then terminal.py ends

FOLDER/foreground holds the process group in the foreground and FOLDER/settings the terminal's
settings, one word for all of them, each after the line `look N`, which FOLDER/looked answers with
N. FOLDER/ended: how CMD ended. Orphans come here, so that nothing gets away."""
import ctypes
import errno
import fcntl
import os
import select
import signal
import struct
import sys
import termios

PR_SET_CHILD_SUBREAPER = 36


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text + "\n")
    os.rename(path + ".new", path)


def set_size(master, rows, columns):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def start(command, slave):
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in range(3):
        os.dup2(slave, fd)
    os.closerange(3, 64)
    for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):  # ignored until here
        signal.signal(number, signal.SIG_DFL)
    os.execvp(command[0], command)


def children_of(pid):
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found.append(int(entry))
    return found


class Terminal:
    def __init__(self, folder, command):
        self.folder = folder
        self.master, slave = os.openpty()
        os.set_inheritable(self.master, False)
        set_size(self.master, 24, 80)
        self.screen = open(os.path.join(folder, "screen"), "ab", buffering=0)
        os.mkfifo(os.path.join(folder, "keys"))
        self.keys = os.open(os.path.join(folder, "keys"), os.O_RDWR)  # never at its end
        self.leader = start(command, slave)
        os.close(slave)
        write(folder, "leader", str(self.leader))
        write(folder, "ready", "")

    def press(self, data):
        while data and self.master >= 0:
            data = data[os.write(self.master, data) :]

    def hang_up(self):
        if self.master >= 0:
            os.close(self.master)
        self.master = -1

    def look(self, number):
        try:
            group = os.tcgetpgrp(self.master)
        except OSError:
            group = struct.unpack("i", fcntl.ioctl(self.master, termios.TIOCGPGRP, b"1234"))[0]
        write(self.folder, "foreground", str(group))
        settings = repr(termios.tcgetattr(self.master)).replace(" ", "")
        write(self.folder, "settings", settings)
        write(self.folder, "looked", number)

    def obey(self, line):
        verb, _, rest = line.partition(" ")
        if verb in ("type", "enter"):
            self.press(rest.encode() + (b"\r" if verb == "enter" else b""))
        elif verb == "key":
            self.press(bytes([ord(rest) & 0x1F]))
        elif verb == "size":
            set_size(self.master, *map(int, rest.split()))
        elif verb == "look":
            self.look(rest)
        elif verb == "hangup":
            self.hang_up()
        else:
            sys.exit(f"no such order: {line}")

    def show(self):
        try:
            data = os.read(self.master, 65536)
        except OSError as error:  # nobody has it open just now, or ever again
            if error.errno != errno.EIO:
                raise
            data = b""
        self.screen.write(data)
        return data

    def reap(self):
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
            while pid:
                if pid == self.leader:
                    code = os.waitstatus_to_exitcode(status)
                    write(self.folder, "ended", f"signal {-code}" if code < 0 else f"exit {code}")
                    self.leader = 0
                pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            pass

    def kill_all(self):
        while True:
            left = children_of(os.getpid())
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            if not left:
                return
            os.waitpid(-1, 0)

    def serve(self):
        text = b""
        while True:
            silent = self.master < 0 or not self.leader
            watched = [self.keys] + ([] if silent else [self.master])
            readable = select.select(watched, [], [], 0.02)[0]
            if self.master in readable:
                self.show()
            self.reap()
            if self.keys not in readable:
                continue
            text += os.read(self.keys, 4096)
            *lines, text = text.split(b"\n")
            for line in lines:
                if line == b"end":
                    self.hang_up()
                    return self.kill_all()
                self.obey(line.decode())


def main():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    Terminal(sys.argv[1], sys.argv[2:]).serve()


main()
