#!/usr/bin/env bats
# vlock run, and SIGKILL: whichever of its processes is hit, at whatever instant, nothing of CMD is
# left, and the lock is not left behind. On every store: supervise-kill@STORE.bats.

load helpers
load queues
load trees

BATS_TEST_NAME_PREFIX="$(store_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() { start_store "$(store_of_this_file)"; }

# A command with a child in another session that does not listen, both for ever.
DEAF_PAIR='setsid sh -c "trap \"\" TERM; sleep 300" & : >there; sleep 300; exit 5'

pause_ms() { sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"; }

# Collects a vlock that was killed, or whose guard was: it does not say that all went well.
has_failed() {
    until_true 30 is_over "$1" || kill -KILL "$1"
    status=0
    wait "$1" || status=$?
    [ "$status" -ne 0 ] || { echo 'status 0' && return 1; }
}

# --- the process that was started ------------------------------------------------------------

@test "SIGKILL of vlock: all of CMD's family dies, and the next one has the lock at once" {
    grow -t 10m -- "${ALL_KINDS[@]}"
    next_in_line
    kill -KILL "$FRONT"
    next_found_nothing
    until_true 30 nothing_left
    has_failed "$FRONT"
}

@test "SIGKILL of vlock with a lock that never expires" {
    grow --ttl none -- session deaf
    next_in_line
    kill -KILL "$FRONT"
    next_found_nothing
    until_true 30 nothing_left
    has_failed "$FRONT"
}

@test "SIGKILL of vlock at any instant leaves neither a process nor a lock" {
    for ((delay = 0; delay <= 60; delay += $(rounds 12 3))); do
        supervised "$VLOCK_BIN" run -t 10m "$K" -- sh -c "$DEAF_PAIR"
        pause_ms "$delay"
        kill -KILL "$FRONT"
        until_true 30 nothing_left
        until_true 30 is_free "$K"
        has_failed "$FRONT"
    done
}

@test "SIGKILL of vlock as soon as it has the lock" {
    for ((n = $(rounds 2 5); n > 0; n--)); do
        supervised "$VLOCK_BIN" run -t 10m "$K" -- sh -c "$DEAF_PAIR"
        until is_held "$K"; do :; done
        kill -KILL "$FRONT"
        until_true 30 nothing_left
        until_true 30 is_free "$K"
        has_failed "$FRONT"
    done
}

# CMD's father is the guard, whose father is the vlock that was started.
@test "SIGKILL of vlock by CMD itself, which is its first deed" {
    for ((n = $(rounds 2 5); n > 0; n--)); do
        supervised "$VLOCK_BIN" run -t 10m "$K" -- \
            sh -c 'kill -KILL "$(ps -o ppid= -p $PPID)"; setsid sleep 300 & sleep 300'
        until_true 30 nothing_left
        until_true 30 is_free "$K"
        has_failed "$FRONT"
    done
}

@test "SIGKILL of vlock while CMD ends by itself" {
    for ((delay = 0; delay <= 30; delay += $(rounds 10 3))); do
        rm -f there
        supervised "$VLOCK_BIN" run -t 10m "$K" -- \
            sh -c 'setsid sleep 300 & : >there; sleep "$1"; exit 5' sh "0.0$((delay / 10 + 1))"
        until_true 30 test -e there
        pause_ms "$delay"
        kill -KILL "$FRONT" 2>/dev/null || : # it may have ended
        until_true 30 nothing_left
        until_true 30 is_free "$K"
        wait "$FRONT" || :
    done
}

@test "SIGKILL of a vlock that waits: its place is given up" {
    take -t 10m "$K"
    supervised "$VLOCK_BIN" run -t 10m "$K" -- touch ran
    until_true 30 wait_for_it "$K" 1
    kill -KILL "$FRONT"
    until_true 30 nothing_left
    until_true 30 wait_for_it "$K" 0
    has_failed "$FRONT"
    held_by "$K" "$TOKEN"
    [ ! -e ran ]
}

@test "SIGKILL of vlock while it stops what CMD left behind" {
    grow -t 10m --kill-after 1m -- deaf polite
    next_in_line
    touch family/end
    until_true 30 test -e family/polite.term
    kill -KILL "$FRONT"
    next_found_nothing
    until_true 30 nothing_left
    has_failed "$FRONT"
}

@test "SIGKILL of vlock while its server is gone: CMD's family dies all the same" {
    on_server || skip 'there is no server'
    start_server valkey
    VLOCK_URL=redis://127.0.0.1:$PORT grow -t 10m -- session deaf
    stop_server
    kill -KILL "$FRONT"
    until_true 30 nothing_left
    has_failed "$FRONT"
}

# --- its guard -------------------------------------------------------------------------------

@test "SIGKILL of the guard: all of CMD's family dies, the lock is given back, and vlock fails" {
    grow -t 10m -- "${ALL_KINDS[@]}"
    next_in_line
    kill -KILL "$(guard_of "$FRONT")"
    next_found_nothing
    has_failed "$FRONT"
    [ -s err ]
    until_true 30 nothing_left
}

@test "SIGKILL of the guard at any instant leaves neither a process nor a lock" {
    for ((delay = 0; delay <= 40; delay += $(rounds 10 4))); do
        supervised "$VLOCK_BIN" run -t 10m "$K" -- sh -c "$DEAF_PAIR"
        until_true 30 is_guarded "$FRONT"
        pause_ms "$delay"
        kill -KILL "$(guard_of "$FRONT")"
        has_failed "$FRONT"
        until_true 30 nothing_left
        until_true 30 is_free "$K"
    done
}

@test "SIGKILL of the guard of a vlock that waits: it fails, and is not waited for" {
    take -t 10m "$K"
    supervised "$VLOCK_BIN" run -t 10m "$K" -- touch ran
    until_true 30 wait_for_it "$K" 1
    kill -KILL "$(guard_of "$FRONT")"
    has_failed "$FRONT"
    until_true 30 nothing_left
    held_by "$K" "$TOKEN"
    gives 0 release --token "$TOKEN" "$K"
    gives 0 run -w 20s "$K" -- true
    [ ! -e ran ]
}

@test "SIGKILL of the guard does not touch what vlock had inherited from a shell" {
    supervised bash -c 'sleep 300 9>&- & echo $! >inherited.pid
        exec "$VLOCK_BIN" run -t 10m "$K" -- sh -c ": >there; sleep 300"'
    until_true 30 test -e there
    kill -KILL "$(guard_of "$FRONT")"
    has_failed "$FRONT"
    until_true 30 is_free "$K"
    kill -0 "$(<inherited.pid)"
}

# --- both ------------------------------------------------------------------------------------

@test "SIGKILL of both: CMD itself dies, and the lock lapses" {
    for delay in 0 5 10 20 40 80; do
        export ALIVE=alive.$delay
        rm -f there
        # no shorter: the guard must not have ended because its lease has
        supervised "$VLOCK_BIN" run -t 6s "$K-$delay" -- sh -c ': >there; exec sleep 300'
        if ((delay == 80)); then until_true 30 test -e there; fi
        until_true 30 is_guarded "$FRONT"
        pause_ms "$delay"
        kill -KILL "$FRONT" "$(guard_of "$FRONT")"
        until_true 30 nothing_left
        has_failed "$FRONT"
    done
    for delay in 0 5 10 20 40 80; do until_true 30 is_free "$K-$delay"; done
}

@test "SIGKILL of both while one waits: the next one gets the lock all the same" {
    take -t 10m "$K"
    supervised "$VLOCK_BIN" run -t 10m "$K" -- touch ran
    until_true 30 wait_for_it "$K" 1
    kill -KILL "$FRONT" "$(guard_of "$FRONT")"
    until_true 30 nothing_left
    gives 0 release --token "$TOKEN" "$K"
    gives 0 run -w 20s "$K" -- true
    [ ! -e ran ]
}

# --- by group, and by timeout(1) -------------------------------------------------------------

@test "SIGKILL of vlock's whole process group" {
    mkdir family
    find_python
    supervised setsid "$VLOCK_BIN" run -t 10m "$K" -- \
        "$PYTHON" "$TESTS/tools/tree.py" family "${ALL_KINDS[@]}"
    until_true 30 test -e family/ready
    next_in_line
    until_true 30 pgrep -P "$FRONT" -x lock-ear # the guard is not of that group any more
    kill -KILL -- "-$FRONT"
    next_found_nothing
    until_true 30 nothing_left
    has_failed "$FRONT"
}

@test "timeout -s KILL and timeout: nothing is left, and the lock is given back" {
    find_python
    for signal in KILL TERM; do
        rm -rf family && mkdir family
        supervised timeout -s "$signal" 1.5 "$VLOCK_BIN" run -t 10m --kill-after 300ms "$K" -- \
            "$PYTHON" "$TESTS/tools/tree.py" family "${ALL_KINDS[@]}"
        has_failed "$FRONT"
        case $signal in KILL) [ "$status" -eq 137 ] ;; TERM) [ "$status" -eq 124 ] ;; esac
        until_true 30 nothing_left
        until_true 30 is_free "$K"
    done
}

@test "a pipeline whose vlock is killed: its reader sees the end at once" {
    mkfifo pipe
    cat <pipe >read 3>&- &
    reader=$!
    setpriv --pdeathsig KILL "$VLOCK_BIN" run -t 10m "$K" -- \
        sh -c 'setsid sleep 300 & echo x; sleep 300' >pipe 2>err 3>&- &
    FRONT=$!
    until_true 30 test -s read
    kill -KILL "$FRONT"
    ends 0 "$reader"
    until_true 30 is_free "$K"
    has_failed "$FRONT"
}
