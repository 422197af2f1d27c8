#!/usr/bin/env python3
"""Prints what this process has inherited: limits, masks, files and so on, one a line. What
differs from process to process anyway (ids, the parent) is left out."""
import ctypes
import os
import resource
import signal

libc = ctypes.CDLL(None, use_errno=True)
PR_GET_KEEPCAPS, PR_GET_TIMERSLACK, PR_GET_CHILD_SUBREAPER, PR_GET_THP_DISABLE = 7, 30, 37, 42
SYS_IOPRIO_GET = {"x86_64": 252, "aarch64": 31}.get(os.uname().machine)

umask = os.umask(0)
os.umask(umask)
print(f"umask {umask:03o}")
print("cwd", os.getcwd(), "root", os.readlink("/proc/self/root"))
print("session", os.getsid(0), "users", os.getresuid(), os.getresgid())
for name in sorted(n for n in dir(resource) if n.startswith("RLIMIT_")):
    print(name, *resource.getrlimit(getattr(resource, name)))
print("nice", os.nice(0), "policy", os.sched_getscheduler(0), os.sched_getparam(0).sched_priority)
print("processors", sorted(os.sched_getaffinity(0)))
if SYS_IOPRIO_GET:
    print("ioprio", libc.syscall(SYS_IOPRIO_GET, 1, 0))
for what in "oom_score_adj", "coredump_filter", "personality", "cgroup", "timerslack_ns":
    try:
        print(what, open(f"/proc/self/{what}").read().split())
    except OSError as error:
        print(what, error.strerror)
subreaper = ctypes.c_int(-1)
libc.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(subreaper), 0, 0, 0)
print("timerslack", libc.prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), "subreaper", subreaper.value)
print("keepcaps", libc.prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0), end=" ")
print("thp", libc.prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0))
for line in open("/proc/self/status"):
    if line.split(":")[0] in ("SigBlk", "SigIgn", "SigPnd", "ShdPnd", "Groups", "CapInh", "CapPrm",
                              "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "TracerPid"):
        print(*line.split())
print("wakeup", signal.getitimer(signal.ITIMER_REAL), signal.getitimer(signal.ITIMER_PROF))
for number in sorted(map(int, os.listdir("/proc/self/fd"))):
    try:
        flags = open(f"/proc/self/fdinfo/{number}").read().split()
        print("file", number, os.readlink(f"/proc/self/fd/{number}"), flags[2:4])
    except OSError:  # the one that lists them
        pass
