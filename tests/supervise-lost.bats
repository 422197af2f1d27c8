#!/usr/bin/env bats
# vlock run, whose lock is lost while CMD runs: noticed at once, long before a renewal, and all of
# CMD's family is stopped. On every store: supervise-lost@STORE.bats.

load helpers
load queues
load trees

BATS_TEST_NAME_PREFIX="$(store_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() { start_store "$(store_of_this_file)"; }

broken() { gives 0 break --yes "$K"; }

# The ways to lose a lock. A server has some more.
ways() {
    echo broken
    ! on_server || printf '%s\n' deleted unlinked taken_over flushed renamed
}
deleted() { cli del "$K"; }
unlinked() { cli unlink "$K"; }
taken_over() { cli set "$K" stranger px 600000; }
flushed() { cli flushall; }
renamed() { cli rename "$K" "$K-elsewhere"; }

# --- stop ------------------------------------------------------------------------------------
# bats file_tags=asan

@test "a lost lock stops all of CMD's family at once, whatever way it was lost: 79, and a line" {
    for way in $(ways); do
        echo "way: $way"
        grow -t 10m --kill-after 200ms -- session daemon ignorer deaf stopped polite
        "$way"
        ends 79 "$FRONT"
        nothing_left
        cat err
        has err "vlock: $K: "
        [ "$way" != taken_over ] || held_by "$K" stranger
        ! on_server || cli del "$K"
        until_true 30 is_free "$K"
    done
}

@test "a lost lock stops CMD with a lock that never expires" {
    for way in $(ways); do
        supervised "$VLOCK_BIN" run --ttl none "$K" -- sh -c ': >there; sleep 300'
        until_true 30 test -e there
        rm there
        "$way"
        ends 79 "$FRONT"
        nothing_left
        ! on_server || cli del "$K"
        until_true 30 is_free "$K"
    done
}

@test "a lost lock is 79 also when CMD ends with 0 on being told" {
    supervised "$VLOCK_BIN" run -t 10m "$K" -- sh -c 'trap "exit 0" TERM; : >there
        while :; do sleep 0.05; done'
    until_true 30 test -e there
    broken
    ends 79 "$FRONT"
}

@test "a lock that was broken and taken by another stays his" {
    grow -t 10m --kill-after 200ms -- ignorer
    broken
    take -n -t 10m "$K"
    ends 79 "$FRONT"
    nothing_left
    held_by "$K" "$TOKEN"
}

@test "another lock's loss is nothing to this one" {
    grow -t 10m -- plain
    take -t 10m "$K-other"
    gives 0 break --yes "$K-other"
    take -t 10m "$K.other"
    gives 0 release --token "$TOKEN" "$K.other"
    touch family/end
    ends 5 "$FRONT"
    is_free "$K"
}

@test "a lease that a foreign hand cuts short is renewed at once, and nobody notices" {
    on_server || skip 'no foreign client on the local store'
    grow -t 10m --
    cli pexpire "$K" 5000
    until_true 4 renewed
    touch family/end
    ends 5 "$FRONT"
    cat err
    [ ! -s err ]
}

renewed() { (($(cli pttl "$K") > 500000)); }

@test "--signal is what a lost lock begins with" {
    supervised "$VLOCK_BIN" run -t 10m --signal USR1 --kill-after 1m "$K" -- sh -c '
        trap "echo usr1 >got; exit 0" USR1; trap "echo term >got; exit 0" TERM; : >there
        while :; do sleep 0.05; done'
    until_true 30 test -e there
    broken
    ends 79 "$FRONT"
    [ "$(<got)" = usr1 ]
}

@test "a connection that is cut is not a lost lock, but a loss meanwhile is noticed" {
    on_server || skip 'there is no connection'
    grow -t 10m --kill-after 200ms -- ignorer
    cli client kill type normal skipme yes
    cli client kill type pubsub
    taken_over
    ends 79 "$FRONT"
    nothing_left
    held_by "$K" stranger
}

@test "a server that is gone for good: CMD's family is stopped before the lease ends, 79" {
    on_server || skip 'there is no server'
    own_server
    grow -t 9s -- "${ALL_KINDS[@]}"
    stop_server
    ends 79 "$FRONT"
    nothing_left
    has err "vlock: $K: "
}

@test "a server that comes back empty: the lock is lost" {
    on_server || skip 'there is no server'
    own_server
    grow -t 10m --kill-after 200ms -- session deaf
    stop_server
    start_again
    ends 79 "$FRONT"
    nothing_left
}

@test "a server that comes back with its append-only file: nobody notices" {
    on_server || skip 'there is no server'
    own_server --appendonly yes --appendfsync always
    grow -t 20s -- session
    stop_server
    start_again --appendonly yes --appendfsync always
    until_true 30 is_held "$K"
    touch family/end
    ends 5 "$FRONT"
    until_true 30 is_free "$K"
    nothing_left
}

# --- warn and exec ---------------------------------------------------------------------------
# bats file_tags=

@test "--on-lost=warn: it is said at once, while CMD runs on" {
    supervised "$VLOCK_BIN" run -t 10m --on-lost=warn "$K" -- \
        sh -c ': >there; until [ -e end ]; do sleep 0.1; done; exit 5'
    until_true 30 test -e there
    gives 0 break --yes "$K"
    until_true 30 has err 'goes on without it'
    touch end
    ends 79 "$FRONT"
}

@test "--on-lost=warn: CMD is not stopped, it is told, and 79 at its end" {
    for way in $(ways); do
        grow -t 10m --kill-after 200ms --on-lost=warn -- session ignorer
        "$way"
        until_true 30 has err "vlock: $K: "
        lives root && lives session && lives ignorer
        ! on_server || cli del "$K"
        touch family/end
        ends 79 "$FRONT"
        cat err
        nothing_left # what CMD leaves behind is stopped as ever
        [ ! -s out ]
    done
}

@test "--on-lost=warn when the lease cannot be renewed: CMD goes on past its end, 79" {
    on_server || skip 'there is no server'
    own_server
    grow -t 9s --on-lost=warn -- session
    stop_server
    until_true 30 has err 'the command goes on'
    lives root && lives session
    touch family/end
    ends 79 "$FRONT"
    nothing_left
}

@test "--on-lost=warn leaves the lock of whoever took it over alone" {
    on_server || skip 'no foreign client on the local store'
    grow -t 9s --on-lost=warn -- plain
    taken_over
    until_true 30 has err "vlock: $K: "
    touch family/end
    ends 79 "$FRONT"
    held_by "$K" stranger
}

@test "--on-lost=exec:CMD runs the hook, with VLOCK_NAME, VLOCK_LOST and VLOCK_PID, and stops CMD" {
    cat >hook <<'HOOK'
#!/bin/sh
echo "$VLOCK_NAME/$VLOCK_PID" >hooked
echo "$VLOCK_LOST" >why
HOOK
    chmod +x hook
    for way in $(ways); do
        grow -t 10m --kill-after 200ms --on-lost="exec:./hook" -- session deaf
        "$way"
        ends 79 "$FRONT"
        all_gone
        until_true 30 nothing_left # the hook is not waited for
        until_true 30 test -s why
        cat hooked why
        case $(<hooked) in
        "$K/$FRONT" | "$K/$(<family/root.pid)") ;;
        *) return 1 ;;
        esac
        rm hooked why
        ! on_server || cli del "$K"
    done
}

@test "--on-lost=exec: a hook that cannot be run, that fails or that hangs does not save CMD" {
    printf '#!/bin/sh\nexit 3\n' >fails
    printf '#!/bin/sh\necho $$ >hook.pid\nexec sleep 300\n' >hangs
    chmod +x fails hangs
    for hook in ./none ./fails ./hangs; do
        grow -t 10m --kill-after 200ms --on-lost="exec:$hook" -- session ignorer
        broken
        ends 79 "$FRONT"
        all_gone
    done
    # it is not waited for, nor stopped: it may have more to do than vlock
    until_true 30 test -s hook.pid
    kill -0 "$(<hook.pid)"
}

@test "the hook inherits no descriptor of vlock's" {
    echo '#!/bin/sh
        ls -l /proc/$$/fd >fds.new; mv fds.new fds' >hook
    chmod +x hook
    supervised "$VLOCK_BIN" run -t 10m --on-lost=exec:./hook "$K" -- \
        sh -c ': >there; exec sleep 300'
    until_true 30 test -e there
    broken
    ends 79 "$FRONT"
    until_true 30 test -e fds
    cat fds
    not grep -e memfd: -e anon_inode: fds
}

@test "the hook is not run unless the lock is lost" {
    gives 5 run --on-lost='exec:touch hooked' "$K" -- sh -c 'exit 5'
    gives 5 run --on-lost='exec:touch hooked' "$K" -- \
        sh -c '"$VLOCK_BIN" release "$VLOCK_NAME"; exit 5'
    gives 124 run --on-lost='exec:touch hooked' --max-runtime 100ms "$K" -- sleep 300
    [ ! -e hooked ]
}

# --- given back by CMD -----------------------------------------------------------------------

@test "a lock that CMD gave back itself is not lost: CMD goes on, no 79, no line" {
    supervised "$VLOCK_BIN" run -t 10m "$K" -- sh -c '"$VLOCK_BIN" release "$VLOCK_NAME" || exit 40
        : >there; until [ -e end ]; do sleep 0.1; done; exit 5'
    until_true 30 test -e there
    is_free "$K"
    take -t 10m "$K"
    gives 0 release --token "$TOKEN" "$K"
    take -t 10m "$K"
    touch end
    ends 5 "$FRONT"
    [ ! -s err ]
    held_by "$K" "$TOKEN"
}

@test "SIGKILL after CMD gave the lock back itself: the next one's lock is not touched" {
    supervised "$VLOCK_BIN" run -t 10m "$K" -- sh -c '"$VLOCK_BIN" release "$VLOCK_NAME" || exit 40
        : >there; setsid sleep 300 & sleep 300'
    until_true 30 test -e there
    take -t 10m "$K"
    kill -KILL "$FRONT"
    until_true 30 nothing_left
    held_by "$K" "$TOKEN"
}

# --- told to stop itself ---------------------------------------------------------------------

# Seconds of a lease that is to be outlasted. One on a server must not lapse because the machine is
# slow for a moment.
short_lease() { if on_server; then LEASE=9; else LEASE=1; fi; }

@test "vlock that was stopped (its front) goes on holding the lock, and nobody notices" {
    short_lease
    grow -t "${LEASE}s" -- plain
    kill -STOP "$FRONT"
    began=$SECONDS
    until ((SECONDS - began > LEASE)); do is_held "$K" && sleep 0.1; done
    is_held "$K"
    lives root
    kill -CONT "$FRONT"
    touch family/end
    ends 5 "$FRONT"
    is_free "$K"
}

@test "a guard that was stopped looks first on waking: a lock that was lost meanwhile stops CMD" {
    grow -t 10m --kill-after 200ms -- session deaf
    kill -STOP "$(guard_of "$FRONT")"
    broken
    take -t 10m "$K"
    lives root && lives deaf
    kill -CONT "$(guard_of "$FRONT")"
    ends 79 "$FRONT"
    nothing_left
    held_by "$K" "$TOKEN"
}

@test "a guard that was stopped past the lease: vlock stops CMD without it, 79" {
    on_server || skip 'a lock of this machine that somebody holds does not end by time'
    grow -t 6s -- "${ALL_KINDS[@]}"
    kill -STOP "$(guard_of "$FRONT")"
    ends 79 "$FRONT"
    nothing_left
    has err 'its guard did not do in time what was due (was it stopped, or the machine busy?), and was killed'
    until_true 30 is_free "$K"
}

@test "a guard that is stopped while it gives the lock back: vlock ends all the same, with CMD's status" {
    on_server || skip 'there is no server that could keep it waiting'
    own_server
    supervised "$VLOCK_BIN" run -t 10m "$K" -- \
        sh -c 'sleep 0.1; kill -STOP "$1"; : >frozen; exit 5' sh "$SERVER_PID"
    until_true 30 test -e frozen
    guard=$(guard_of "$FRONT")
    until_true 30 has_no_child "$guard"
    kill -STOP "$guard"
    ends 5 "$FRONT"
    has err 'its guard did not do in time what was due'
    kill -CONT "$SERVER_PID"
}

has_no_child() { ! pgrep -P "$1" >/dev/null; }

@test "a guard that was stopped past the lease: a local lock is not lost, and CMD goes on" {
    on_server && skip 'a lock on a server ends by time'
    short_lease
    grow -t "${LEASE}s" -- session deaf
    kill -STOP "$(guard_of "$FRONT")"
    began=$SECONDS
    until ((SECONDS - began > LEASE)); do is_held "$K" && sleep 0.1; done
    gives 75 acquire -n "$K"
    kill -CONT "$(guard_of "$FRONT")"
    touch family/end
    ends 5 "$FRONT"
    is_free "$K"
}

@test "a guard that was stopped past the lease, --on-lost=warn: CMD goes on" {
    on_server || skip 'a lock of this machine that somebody holds does not end by time'
    grow -t 3s --on-lost=warn -- session deaf
    kill -STOP "$(guard_of "$FRONT")"
    until_true 30 is_free "$K"
    lives root && lives session && lives deaf
    kill -CONT "$(guard_of "$FRONT")"
    until_true 30 has err 'the command goes on without it'
    lives root
    touch family/end
    ends 79 "$FRONT"
    nothing_left
}

@test "a guard that was stopped while CMD had its grace after a lost lock: CMD is killed all the same" {
    grow -t 10m --kill-after 10s -- session deaf
    guard=$(guard_of "$FRONT")
    broken
    until_true 30 has err 'stopping the command'
    kill -STOP "$guard"
    lives deaf
    ends 79 "$FRONT"
    nothing_left
    is_free "$K"
}

@test "a guard that was stopped for less than the lease: nobody notices" {
    grow -t 9s -- plain
    kill -STOP "$(guard_of "$FRONT")"
    began=$SECONDS
    until ((SECONDS - began > 2)); do sleep 0.1; done
    kill -CONT "$(guard_of "$FRONT")"
    began=$SECONDS
    until ((SECONDS - began > 10)); do is_held "$K" && sleep 0.1; done
    lives root
    touch family/end
    ends 5 "$FRONT"
    is_free "$K"
}
