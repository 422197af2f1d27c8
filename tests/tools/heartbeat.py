#!/usr/bin/env python3
"""heartbeat.py FILE [deaf|on N]: writes the time, CLOCK_REALTIME in ms, into FILE every 10 ms, beside
the longest pause there was between two beats (the machine was busy elsewhere). deaf: it does not
listen to TERM, and leaves another one like it, in a session of its own, that writes FILE.deaf. on:
runs on the Nth (from 0) of the processors that it may use, alone."""
import os
import signal
import sys
import time

path = sys.argv[1]
if "deaf" in sys.argv[2:]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
        path += ".deaf"
if "on" in sys.argv[2:]:
    usable = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {usable[int(sys.argv[3]) % len(usable)]})
out = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
longest = 0
before = began = time.time()
while before - began < 300:
    now = time.time()
    longest = max(longest, now - before)
    os.pwrite(out, b"%.3f %9.3f\n" % (now * 1000, longest * 1000), 0)
    before = now
    time.sleep(0.01)
