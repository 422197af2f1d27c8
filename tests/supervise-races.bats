#!/usr/bin/env bats
# vlock run at its worst instants: killed just as it is its turn, or while its server is silent, and
# families that grow faster than they are stopped. On every store: supervise-races@STORE.bats.

load helpers
load queues
load trees

BATS_TEST_NAME_PREFIX="$(store_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() { start_store "$(store_of_this_file)"; }

# killed_in_turn VICTIM: $VICTIM of one that waits is killed just when it is its turn. No process
# of it is left, and the next one gets the lock.
killed_in_turn() {
    local delay victims
    for delay in $(rounds "000 004 016" "000 001 002 004 008 016"); do
        take -t 10m "$K"
        supervised "$VLOCK_BIN" run -t 10m "$K" -- sh -c 'setsid sleep 300 & sleep 300'
        until_true 30 wait_for_it "$K" 1
        victims=$FRONT
        [ "$1" != guard ] || victims=$(guard_of "$FRONT")
        "$VLOCK_BIN" -q release --token "$TOKEN" "$K" &
        sleep "0.$delay"
        kill -KILL "$victims"
        wait $!
        until_true 30 nothing_left
        gives 0 run -w 20s "$K" -- true
        wait "$FRONT" || :
    done
}

@test "SIGKILL of a vlock just when it is its turn" { killed_in_turn front; }
@test "SIGKILL of a guard just when it is its turn" { killed_in_turn guard; }

@test "SIGKILL of vlock while it asks a silent server: nothing is left, and it takes nothing" {
    on_server || skip 'there is no server'
    own_server
    for victim in front guard; do
        kill -STOP "$SERVER_PID"
        supervised "$VLOCK_BIN" run -t 10m "$K" -- touch ran
        until_true 30 is_guarded "$FRONT"
        until_true 30 sleeps "$(guard_of "$FRONT")"
        case $victim in
        front) kill -KILL "$FRONT" ;;
        guard) kill -KILL "$(guard_of "$FRONT")" ;;
        esac
        until_true 30 nothing_left
        kill -CONT "$SERVER_PID"
        gives 0 run -w 20s "$K" -- true
        wait "$FRONT" || :
    done
    [ ! -e ran ]
}

sleeps() { grep -q '^State:.*sleeping' "/proc/$1/status"; }

# FRONT is held up for as long in the call that makes GUARD (a fork, or a clone of some C libraries).
@test "a guard that is well under way before its front is" {
    strace -o /dev/null true || skip 'nothing can be traced here'
    supervised strace -o calls -e trace=fork,clone -e inject=fork,clone:delay_exit=300000:when=1 \
        "$VLOCK_BIN" run -t 10m "$K" -- sh -c 'trap "exit 6" TERM; : >there
        while :; do sleep 0.05; done'
    until_true 30 test -e there
    until_true 30 has calls DELAYED
    kill -TERM "$(pgrep -P "$FRONT")"
    ends 6 "$FRONT"
    is_free "$K"
}

# Two that go on starting others, in sessions of their own, until there is no file `grow`, or one
# of them has started 1200, which is the file `outgrown`. They are `there` with one's 300th.
GROWS='grows() {
        count=0
        while [ -e grow ]; do
            (setsid sh -c "trap \"\" TERM; exec sleep 300" &)
            count=$((count + 1))
            case $count in
            300) [ -e there ] || : >there ;;
            1200) : >outgrown; rm -f grow ;;
            esac
        done
    }
    grows & grows; sleep 300'

# note_delay: sets DELAY, how long after `there` this is, in ms
note_delay() { DELAY=$(($(date +%s%3N) - 10#$(stat -c %.3Y there | tr -d .))); }

# stayed_small: what was to stop the family was there before it could outgrow that. On a machine
# that was too slow for it, nothing is shown.
stayed_small() { [ ! -e outgrown ] || { echo "after $DELAY ms" && ((DELAY > 1000)); }; }

@test "a family that grows all the time is stopped when the lock is lost" {
    : >grow
    supervised "$VLOCK_BIN" run -t 10m --kill-after 100ms "$K" -- sh -c "$GROWS"
    until_true 60 test -e there
    gives 0 break --yes "$K"
    note_delay
    ends 79 "$FRONT"
    until_true 30 nothing_left
    stayed_small
    rm -f grow
}

@test "a family that grows all the time is stopped when vlock or its guard is killed" {
    for victim in front guard; do
        : >grow
        rm -f there outgrown
        supervised "$VLOCK_BIN" run -t 10m "$K" -- sh -c "$GROWS"
        until_true 60 test -e there
        case $victim in
        front) kill -KILL "$FRONT" ;;
        guard) kill -KILL "$(guard_of "$FRONT")" ;;
        esac
        note_delay
        until_true 30 nothing_left
        stayed_small
        until_true 30 is_free "$K"
        wait "$FRONT" || :
        rm -f grow
    done
}

@test "a large family is stopped, all of it" {
    supervised "$VLOCK_BIN" run -t 10m --kill-after 200ms "$K" -- sh -c 'trap "" TERM
        for i in $(seq "$1"); do sleep 300 & done; : >there; sleep 300' sh "$(rounds 300 700)"
    until_true 60 test -e there
    next_in_line
    gives 0 break --yes "$K"
    ends 79 "$FRONT"
    nothing_left
    until_true 30 is_over "$NEXT"
}

@test "a family in namespaces of its own is stopped" {
    unshare --pid --fork true 2>/dev/null || skip 'no namespaces here'
    for way in leave killed; do
        rm -f there
        supervised "$VLOCK_BIN" run -t 10m --kill-after 200ms "$K" -- sh -c '
            unshare --pid --fork sh -c "trap \"\" TERM; setsid sleep 300 & : >there; sleep 300" &
            until [ -e there ]; do sleep 0.01; done; [ "$1" = leave ] || sleep 300; exit 5' sh $way
        until_true 30 test -e there
        case $way in
        leave) ends 5 "$FRONT" ;;
        killed) kill -KILL "$FRONT" ;;
        esac
        until_true 30 nothing_left
        until_true 30 is_free "$K"
    done
}

@test "a CMD whose father would be another subreaper of its own family is stopped with all of it" {
    cat >reaper.py <<'PY'
import ctypes, os, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) # PR_SET_CHILD_SUBREAPER
os.system("(setsid sleep 300 &) ; (setsid sh -c 'trap \"\" TERM; sleep 300' &)")
open("there", "w").close()
time.sleep(300)
PY
    find_python
    supervised "$VLOCK_BIN" run -t 10m --kill-after 200ms "$K" -- "$PYTHON" reaper.py
    until_true 30 test -e there
    kill -TERM "$FRONT"
    ends 143 "$FRONT"
    nothing_left
    is_free "$K"
}
