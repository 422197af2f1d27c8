#!/usr/bin/env python3
"""duel.py N VLOCK: N times, two `VLOCK acquire -n` of one name start at the same instant: both
are forked first and wait at a gate (a pipe that is closed). Each name is new; a duel that does not
end with one 0 and one 75 is shown and fails."""
import os
import sys


def contender(gate, name, out):
    pid = os.fork()
    if pid:
        return pid
    os.close(gate[1])
    os.dup2(out, 1)
    os.read(gate[0], 1)  # returns when every writer has closed
    os.execv(sys.argv[2], [sys.argv[2], "-q", "acquire", "-n", "-t", "60s", name])


def main():
    rounds = int(sys.argv[1])
    quiet = os.open("/dev/null", os.O_WRONLY)
    bad = 0
    for n in range(rounds):
        gate = os.pipe()
        pids = [contender(gate, f"duel-{n}", quiet) for _ in range(2)]
        os.close(gate[0])
        os.close(gate[1])
        statuses = sorted(os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in pids)
        if statuses != [0, 75]:
            bad += 1
            print(f"duel {n}: statuses {statuses}")
    if not bad:
        print(f"{rounds} duels: one winner and one 75 in each")


main()
