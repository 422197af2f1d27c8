#!/usr/bin/env bats
# vlock run: a signal reaches CMD whichever way it was sent: to the process group, where CMD may
# have one of its own, and to vlock's processes one by one, as pidof(1) and service managers do.
# Twice at worst, never zero times. On every store: signals@STORE.bats.

load helpers
load queues
load trees
load terminal

# bats file_tags=asan

BATS_TEST_NAME_PREFIX="$(store_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() { start_store "$(store_of_this_file)"; }
teardown() {
    close_terminal || :
    fell
}

# times SIGNO: how often CMD got it so far
times() { tr ' ' '\n' <got | grep -cx "$1"; }
came() { [ "$(times "$1")" -ge 1 ]; }

# lead [CMD...]: vlock run over ./cmd (terminal.bash), under CMD, as leader of a process group.
lead() {
    write_starters
    cat >leader.py <<'PY'
import os, sys
os.setpgid(0, 0)
os.execvp(sys.argv[1], sys.argv[1:])
PY
    supervised "$PYTHON" leader.py "$VLOCK_BIN" run -t 10m "$K" -- "$@"
    until_true 30 test -e id
}

# has_ear: from now on a signal to the group is told from one to vlock alone
has_ear() { EAR=$(pgrep -P "$FRONT" -x lock-ear); }

# reached SIGNO: CMD got it once or twice, and vlock ends as CMD does
reached() {
    until_true 30 came "$1"
    touch end
    ends 5 "$FRONT"
    [ "$(times "$1")" -le 2 ] || { echo "CMD got: $(<got)" && return 1; }
    is_free "$K"
}

@test "a signal to the group reaches a CMD that has a group, or a session, of its own" {
    for own in 'os.setpgid(0, 0)' 'os.setsid()'; do
        for signo in 1 2 15; do
            lead ./cmd "$own"
            until_true 30 has_ear
            kill "-$signo" -- "-$FRONT"
            reached $signo
        done
    done
}

@test "a signal to the group reaches a CMD in a group of its own while there is no ear yet" {
    lead ./cmd 'group = os.getpgrp()' 'os.setpgid(0, 0)' 'os.killpg(group, 12)'
    reached 12
}

@test "timeout(1) around vlock and in it: the command ends, and the lock is free" {
    supervised timeout 1 "$VLOCK_BIN" run -t 10m "$K" -- timeout 300 sleep 300
    ends 124 "$FRONT"
    until_true 30 nothing_left
    is_free "$K"
}

@test "Ctrl-C at a terminal reaches a CMD in a group of its own" {
    open_terminal
    enter "./locked timeout 300 sleep 300"
    until_true 30 test -s front
    until_true 30 is_guarded "$(<front)"
    until_true 30 pgrep -s "$(ps -o sid= -p "$(<front)" | tr -d ' ')" -x sleep
    press key C
    prompt_is 124 || prompt_is 130
    is_free "$K"
}

# all_of PID: as start-stop-daemon --exec and killall find them, by their executable
all_of() {
    local pid
    for pid in "$1" $(pgrep -P "$1"); do
        [ ! "/proc/$pid/exe" -ef "/proc/$1/exe" ] || echo "$pid"
    done
}

@test "a signal to each of vlock's processes reaches CMD, in whatever order they get it" {
    for signo in 1 2 15 28; do
        for order in 'sort -n' 'sort -rn'; do
            lead ./cmd
            until_true 30 has_ear
            mapfile -t pids < <(all_of "$FRONT" | $order)
            [ ${#pids[@]} -eq 3 ]
            kill "-$signo" "${pids[@]}"
            reached $signo
        done
    done
}

@test "a signal to the guard first, and to vlock behind it, is not swallowed" {
    for turn in {1..10}; do
        lead ./cmd
        [ $((turn % 2)) = 0 ] || until_true 30 has_ear
        kill -TERM "$(guard_of "$FRONT")" "$FRONT"
        reached 15
    done
}

@test "two signals one after the other, to the group and to vlock alone, are two" {
    lead ./cmd
    until_true 30 has_ear
    kill -USR1 -- "-$FRONT"
    until_true 30 came 10
    kill -USR2 "$FRONT" # behind it: once this has come, the first has come as often as it will
    until_true 30 came 12
    kill -USR1 "$FRONT"
    until_true 30 times_are 10 2
    touch end
    ends 5 "$FRONT"
    times_are 10 2
    times_are 12 1
}

times_are() { [ "$(times "$1")" -eq "$2" ]; }

@test "vlock's helpers do not answer to its name and arguments" {
    lead ./cmd
    until_true 30 has_ear
    [ "$(pgrep -f -- "run -t 10m $K")" = "$FRONT" ]
    for helper in "$EAR" "$(guard_of "$FRONT")"; do
        ! tr '\0' ' ' <"/proc/$helper/cmdline" | grep -q -e vlock -e "$K"
        ! grep -q vlock "/proc/$helper/comm"
    done
    touch end
    ends 5 "$FRONT"
}

@test "a stream of signals to vlock alone ends it as one signal does, and its lease is renewed" {
    cat >stream.py <<'PY'
import os, signal, subprocess, sys, time
vlock = subprocess.Popen(sys.argv[1:])
while not os.path.exists("there"):
    time.sleep(0.01)
end = time.time() + 200
while vlock.poll() is None and time.time() < end:
    vlock.send_signal(signal.SIGTERM)
sys.exit(vlock.poll() if vlock.poll() is not None else 99)
PY
    find_python
    for _ in 1 2 3; do
        rm -f there
        observe "$PYTHON" stream.py "$VLOCK_BIN" run -t 10s "$K" -- sh -c ': >there; exec sleep 300'
        [ "$status" -eq 143 ]
        is_free "$K"
    done
}
