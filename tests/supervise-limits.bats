#!/usr/bin/env bats
# vlock run: --signal, --kill-after, --max-runtime, --hold-for, --reenter and -E. On every store:
# supervise-limits@STORE.bats.

load helpers
load queues
load trees

BATS_TEST_NAME_PREFIX="$(store_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() { start_store "$(store_of_this_file)"; }

# --- --signal and --kill-after ---------------------------------------------------------------

# Writes what it gets to `got` and ends.
TELLS='for s in TERM INT HUP QUIT USR1 USR2; do trap "echo $s >got; exit 0" $s; done
    : >there; while :; do sleep 0.02; done'

@test "--signal: CMD gets that one first, by name or by number" {
    for signal in USR1 SIGUSR2 INT sigquit 1 TERM; do
        rm -f there got
        supervised "$VLOCK_BIN" run -t 10m --signal "$signal" --kill-after 1m "$K" -- \
            sh -c "$TELLS"
        until_true 30 test -e there
        gives 0 break --yes "$K"
        ends 79 "$FRONT"
        nothing_left
        case $signal in
        *[uU]*1) [ "$(<got)" = USR1 ] ;;
        *2) [ "$(<got)" = USR2 ] ;;
        1) [ "$(<got)" = HUP ] ;;
        sigquit) [ "$(<got)" = QUIT ] ;;
        *) [ "$(<got)" = "$signal" ] ;;
        esac
    done
}

@test "--signal: all of CMD's family gets it" {
    grow -t 10m --signal HUP --kill-after 1m -- plain group session daemon stopped cleared
    gives 0 break --yes "$K"
    ends 79 "$FRONT" # within 30 s
    nothing_left
}

@test "--signal KILL asks nobody" {
    grow -t 10m --signal KILL --kill-after 1m -- polite ignorer deaf stopped
    gives 0 break --yes "$K"
    ends 79 "$FRONT"
    nothing_left
    [ ! -e family/polite.term ]
}

@test "--kill-after: who ignores the signal is killed after it" {
    for after in 1ms 500ms; do
        grow -t 10m --kill-after "$after" -- ignorer deaf
        gives 0 break --yes "$K"
        ends 79 "$FRONT"
        nothing_left
    done
}

@test "--kill-after: who ends when told is not waited for any longer" {
    grow -t 10m --kill-after 4m -- polite session stopped
    gives 0 break --yes "$K"
    ends 79 "$FRONT" # within 30 s
    nothing_left
    [ -e family/polite.term ]
}

# --- --max-runtime ---------------------------------------------------------------------------

@test "--max-runtime stops CMD after it, with 124 as timeout(1), and the lock is given back" {
    gives 124 run -t 10m --max-runtime 200ms "$K" -- sleep 300
    is_free "$K"
    gives 124 run -t 10m --max-runtime 200ms "$K" -- sh -c 'trap "exit 0" TERM
        while :; do sleep 0.02; done'
    is_free "$K"
}

@test "--max-runtime stops all of CMD's family, those that ignore the signal too" {
    # bash's own builtins: the family has to be there within the limit, however slow the machine
    supervised "$VLOCK_BIN" run -t 10m --max-runtime 1s --kill-after 200ms "$K" -- sh -c '
        trap "" TERM; setsid sleep 300 & (setsid sleep 300 &) ; sleep 300; sleep 300; sleep 300'
    ends 124 "$FRONT"
    nothing_left
    is_free "$K"
}

@test "--max-runtime begins with CMD, not with the wait" {
    take -t 10m "$K"
    supervised "$VLOCK_BIN" run -t 10m --max-runtime 12s "$K" -- sh -c 'exit 5'
    until_true 30 wait_for_it "$K" 1
    began=$SECONDS
    until ((SECONDS - began > 12)); do sleep 0.1; done
    gives 0 release --token "$TOKEN" "$K"
    ends 5 "$FRONT"
}

@test "--max-runtime that CMD does not reach changes nothing" {
    for limit in 1m 100d; do
        gives 5 run -t 10m --max-runtime $limit "$K" -- sh -c 'exit 5'
        [ -z "$stderr" ]
        is_free "$K"
    done
    gives 143 run -t 10m --max-runtime 1m "$K" -- sh -c 'kill -TERM $$'
}

@test "--max-runtime is no limit for a CMD whose lock is lost: 79" {
    grow -t 10m --max-runtime 1h --kill-after 200ms -- ignorer
    gives 0 break --yes "$K"
    ends 79 "$FRONT"
}

@test "--max-runtime begins with --signal" {
    supervised "$VLOCK_BIN" run -t 10m --signal USR1 --max-runtime 1500ms --kill-after 1m "$K" -- \
        sh -c "$TELLS"
    ends 124 "$FRONT"
    [ ! -e there ] || [ "$(<got)" = USR1 ]
}

@test "--max-runtime outlasts a renewal" {
    gives 124 run -t 9s --max-runtime 4s "$K" -- sleep 300
    is_free "$K"
}

# --- --hold-for ------------------------------------------------------------------------------

# The lock has been taken for an hour, and vlock is not there any more.
stays_taken() {
    is_held "$K"
    ttl_between "$K" 3400000 3600000
    gives 75 run -n "$K" -- true
}

@test "--hold-for: vlock returns with CMD's status, the lock stays until DUR after it was taken" {
    gives 5 run -t 20s --hold-for 1h "$K" -- sh -c 'exit 5'
    [ -z "$stderr" ]
    stays_taken
}

@test "--hold-for longer or shorter than the TTL" {
    for ttl in 2h 1s; do
        K=$K.$ttl
        gives 5 run -t "$ttl" --hold-for 1h "$K" -- sh -c 'exit 5'
        stays_taken
    done
}

@test "--hold-for ends when it ends: another one has the lock then, not at the end of the TTL" {
    gives 5 run -t 10m --hold-for 1500ms "$K" -- sh -c 'exit 5'
    gives 0 run -w 20s "$K" -- true
}

@test "--hold-for: who waits gets it then" {
    supervised "$VLOCK_BIN" run -t 10m --hold-for 3s "$K" -- \
        sh -c ': >there; until [ -e end ]; do sleep 0.1; done; exit 5'
    until_true 30 test -e there
    next_in_line
    touch end
    ends 5 "$FRONT"
    until_true 30 is_over "$NEXT"
    wait "$NEXT"
}

@test "--hold-for: a CMD that took longer gives the lock back at once" {
    gives 5 run -t 10m --hold-for 1ms "$K" -- sh -c 'sleep 0.1; exit 5'
    is_free "$K"
}

@test "--hold-for: what CMD leaves behind is stopped all the same, and what remains is held" {
    grow -t 10m --hold-for 1h --kill-after 200ms -- session deaf
    touch family/end
    ends 5 "$FRONT"
    nothing_left
    stays_taken
}

@test "--hold-for also when CMD fails, or is ended by a signal or a limit" {
    gives 1 run --hold-for 1h "$K" -- false
    stays_taken
    K=$K.signal
    gives 143 run --hold-for 1h "$K" -- sh -c 'kill -TERM $$'
    stays_taken
    K=$K.limit
    gives 124 run --hold-for 1h --max-runtime 100ms "$K" -- sleep 300
    stays_taken
}

@test "--hold-for holds also after SIGKILL of vlock, of its guard, or of both" {
    for victims in front guard both; do
        K=$K.$victims
        grow -t 10m --hold-for 1h -- plain
        case $victims in
        front) kill -KILL "$FRONT" ;;
        guard) kill -KILL "$(guard_of "$FRONT")" ;;
        both) kill -KILL "$FRONT" "$(guard_of "$FRONT")" ;;
        esac
        until_true 30 is_over "$FRONT"
        if [ $victims = both ]; then fell; fi
        until_true 30 nothing_left
        stays_taken
    done
}

@test "--hold-for: a lock that was lost is not taken again" {
    grow -t 10m --hold-for 1h --kill-after 200ms -- plain
    gives 0 break --yes "$K"
    ends 79 "$FRONT"
    is_free "$K"
    grow -t 10m --hold-for 1h --on-lost=warn -- plain
    gives 0 break --yes "$K"
    take -t 20m "$K"
    until_true 30 has err "vlock: $K: "
    touch family/end
    ends 79 "$FRONT"
    held_by "$K" "$TOKEN"
    ttl_between "$K" 600000 1200000
}

@test "--hold-for: a lock that CMD gave back itself is not taken again" {
    gives 5 run -t 10m --hold-for 1h "$K" -- sh -c '"$VLOCK_BIN" release "$VLOCK_NAME"; exit 5'
    is_free "$K"
}

@test "--hold-for: a quiet cron guard, once per tick on many hosts" {
    for _ in 1 2 3; do
        gives 0 run -n -E 0 --hold-for 1h "$K" -- sh -c 'echo ran >>ticks'
        [ -z "$stderr" ]
    done
    [ "$(wc -l <ticks)" -eq 1 ]
}

# --- --reenter and -E ------------------------------------------------------------------------

@test "--reenter runs CMD under the lock that is held already, which stays held afterwards" {
    gives 5 run -t 10m "$K" -- sh -c '
        "$VLOCK_BIN" run --reenter "$VLOCK_NAME" -- sh -c "
            \"\$VLOCK_BIN\" owned \"\$VLOCK_NAME\" && echo \"\$VLOCK_FENCE\"; exit 4" >inner
        [ $? = 4 ] && [ "$(cat inner)" = "$VLOCK_FENCE" ] || exit 41
        "$VLOCK_BIN" owned "$VLOCK_NAME" && exit 5'
    is_free "$K"
}

@test "--reenter at any depth, and by its NAME from VLOCK_NAME" {
    gives 5 run "$K" -- sh -c '"$VLOCK_BIN" run "$1-b" -- "$VLOCK_BIN" run --reenter "$1" -- \
        sh -c "\"\$VLOCK_BIN\" owned \"\$1\" || exit 41
            \"\$VLOCK_BIN\" run --reenter -- sh -c \"exit 5\"" sh "$1"' sh "$K"
    is_free "$K"
    is_free "$K-b"
}

@test "without --reenter it is 75 at once, and -E never applies to that" {
    gives 75 run "$K" -- "$VLOCK_BIN" run "$K" -- touch ran
    gives 75 run "$K" -- "$VLOCK_BIN" run -E 0 -n "$K" -- touch ran
    says "$K"
    [ ! -e ran ]
    is_free "$K"
}

@test "--reenter not under that lock takes it, waits for it, and gives it back" {
    gives 5 run --reenter "$K" -- sh -c '"$VLOCK_BIN" owned "$VLOCK_NAME" && exit 5'
    is_free "$K"
    gives 5 run "$K-other" -- "$VLOCK_BIN" run --reenter "$K" -- \
        sh -c '"$VLOCK_BIN" owned "$VLOCK_NAME" && exit 5'
    is_free "$K"
    take -t 10m "$K"
    gives 75 run --reenter -n "$K" -- touch ran
    gives 9 run --reenter -n -E 9 "$K" -- touch ran
    [ ! -e ran ]
    held_by "$K" "$TOKEN"
}

@test "--reenter under a lock that was lost meanwhile does not run CMD" {
    gives 79 run -t 10m --on-lost=warn "$K" -- sh -c '"$VLOCK_BIN" break --yes "$VLOCK_NAME"
        "$VLOCK_BIN" run --reenter -n "$VLOCK_NAME" -- touch ran; echo $? >inner'
    cat inner
    [ ! -e ran ]
    [ "$(<inner)" -ne 0 ]
}

@test "--reenter: what its CMD leaves behind is gone before the outer lock is given back" {
    mkdir family
    supervised "$VLOCK_BIN" run -t 10m --kill-after 200ms "$K" -- sh -c '
        "$VLOCK_BIN" run --reenter "$VLOCK_NAME" -- sh -c "
            (trap \"\" TERM; exec setsid flock family/stray.lock sleep 300) &
            while flock -n family/stray.lock true; do sleep 0.01; done; exit 4"
        [ $? = 4 ] && until [ -e end ]; do sleep 0.1; done; exit 5'
    until_true 30 lives stray
    next_in_line
    touch end
    ends 5 "$FRONT"
    next_found_nothing
    nothing_left
}

@test "--reenter: SIGKILL of the inner one leaves the outer lock alone" {
    supervised "$VLOCK_BIN" run -t 10m "$K" -- sh -c '
        "$VLOCK_BIN" run --reenter "$VLOCK_NAME" -- sh -c ": >there; setsid sleep 300 & sleep 300" &
        until [ -e there ]; do sleep 0.01; done
        kill -KILL $!; wait $!
        "$VLOCK_BIN" owned "$VLOCK_NAME" && exit 5'
    ends 5 "$FRONT"
    nothing_left
    is_free "$K"
}

@test "-E as ever: its N instead of 75, and nothing said with 0" {
    take -t 10m "$K"
    gives 3 run -n -E 3 "$K" -- touch ran
    says "$K"
    gives 0 run -n -E 0 "$K" -- touch ran
    [ -z "$stderr" ]
    for _ in {1..5}; do # 69: a server that did not answer in that time
        vlock run -w 100ms -E 0 "$K" -- touch ran
        [ "$status" -eq 69 ] || break
    done
    [ "$status" -eq 0 ]
    [ ! -e ran ]
    gives 0 release --token "$TOKEN" "$K"
    gives 75 run -E 3 "$K" -- sh -c 'exit 75'
}
