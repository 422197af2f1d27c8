#!/usr/bin/env python3
"""tree.py DIR KIND...: a command with a family.

Starts a process of each KIND and, once all are there, writes DIR/ready; then waits for DIR/end
and exits with 5. Each process, itself (root) too, holds a kernel lock on DIR/KIND.lock while it
lives, whatever becomes of it, and has its pid in DIR/KIND.pid. None lives longer than 5 minutes.

plain    a child                      session  in a session of its own, with a child (nested)
group    in a group of its own        daemon   double-forked, in a session of its own
ignorer  ignores TERM INT HUP QUIT    deaf     a daemon that ignores them and has closed its files
stopped  has stopped itself           cleared  a program without environment (sleep)
polite   writes DIR/polite.term and ends when told to
hydra    whenever it is told to end, a new one of it starts, in a session of its own
"""
import fcntl
import os
import signal
import sys
import time

DEAF = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
DIR = sys.argv[1]
root = os.getpid()


def write(name, text):
    with open(f"{DIR}/{name}.new.{os.getpid()}", "w") as file:
        file.write(text)
    os.rename(file.name, f"{DIR}/{name}")


def hold(kind):
    """The lock is let go when the process has ended, and by nothing else."""
    lock = os.open(f"{DIR}/{kind}.lock", os.O_RDWR | os.O_CREAT, 0o666)
    fcntl.flock(lock, fcntl.LOCK_EX)
    write(f"{kind}.pid", f"{os.getpid()}\n")
    return lock


def stay():
    end = time.monotonic() + 300
    while time.monotonic() < end:
        time.sleep(end - time.monotonic())
    os._exit(0)


def polite(*_):
    write("polite.term", "")
    os._exit(0)


def hydra(*_):
    if os.fork() == 0:
        os.setsid()
        open(f"{DIR}/hydra.heads", "a").write(".")
    else:
        os._exit(0)


def become(kind):
    if kind in ("daemon", "deaf", "session"):
        os.setsid()
    if kind in ("daemon", "deaf") and os.fork():
        os._exit(0)
    if kind == "deaf":
        os.closerange(0, 1024)
    if kind in ("ignorer", "deaf"):
        for one in DEAF:
            signal.signal(one, signal.SIG_IGN)
    if kind == "group":
        os.setpgid(0, 0)
    if kind == "session" and os.fork() == 0:
        hold("nested")
        stay()
    if kind == "polite":
        signal.signal(signal.SIGTERM, polite)
    if kind == "hydra":
        signal.signal(signal.SIGTERM, hydra)
    lock = hold(kind)
    if kind == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    if kind == "cleared":
        os.set_inheritable(lock, True)
        os.execve("/bin/sleep", ["sleep", "300"], {})
    stay()


kinds = sys.argv[2:]
hold("root")
for name in kinds:
    if os.fork() == 0:
        become(name)
for name in kinds + ["nested"] * ("session" in kinds):
    while not os.path.exists(f"{DIR}/{name}.pid"):
        time.sleep(0.005)
write("ready", "")
while not os.path.exists(f"{DIR}/end") and os.getpid() == root:
    time.sleep(0.01)
os._exit(5)
