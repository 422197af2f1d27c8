#!/usr/bin/env bats
# What `run` cannot be asked for: each is 64 with a sentence that says what to do instead, before
# anything is locked or run. tests/unit/wishes_test.c has every value.

load helpers

setup_file() { start_store local; }

# refuses SENTENCE OPTION...: `run` with these is 64, says SENTENCE, takes nothing, runs nothing.
refuses() {
    local sentence=$1
    shift
    gives 64 run -n "$@" "$K" -- touch ran
    [ "$stderr" = "vlock: $K: $sentence" ] || [ "$stderr" = "vlock: $sentence" ] || {
        echo "wanted: $sentence"
        return 1
    }
    [ ! -e ran ]
    gives 1 locked "$K"
}

@test "a signal that is none, or that would only freeze the command, is refused" {
    local use='use a name or number, as in TERM, INT or 15'
    for signal in '' 0 TREM -TERM 65 32 SIGRTMIN-1; do
        refuses "unknown signal '$signal' in --signal: $use" --signal "$signal"
    done
    for signal in STOP SIGTSTP ttin TTOU; do
        refuses "--signal $signal would freeze the command, not end it: use TERM, INT or another" \
            --signal=$signal
    done
}

@test "a DUR of nothing, or that is none, is refused" {
    local use='use a number with ms, s, m, h or d, as in 1.5s or 1h30m'
    for option in kill-after max-runtime hold-for; do
        for duration in '' 0 0ms -1 1e3 5x none; do
            refuses "bad DUR '$duration' in --$option: $use" --$option "$duration"
        done
    done
}

@test "a --kill-after that leaves the lease no time for renewals is refused, the longest is named" {
    too_long() {
        echo "--kill-after $1 leaves too little of a lease of $2 to renew it: use $3 at most," \
            "or use a longer -t"
    }
    refuses "$(too_long 60s 60s 29.148s)" --kill-after 60
    gives 0 run --kill-after 29.148s "$K" -- true
    VLOCK_TTL=10s refuses "$(too_long 5s 10s 4.648s)" --kill-after 5s
    refuses '--kill-after 1ms does not fit into a lease of 5ms: leave it out, or use a longer -t' \
        -t 5ms --kill-after 1ms
    gives 0 run -t none --kill-after 1h "$K" -- true
}

@test "--hold-for of a lock that is another's, or that never ends, is refused" {
    local never='it would never end, give it a time to live with -t'
    refuses "--hold-for and --reenter together: a lock that is another's is not ours to keep, use \
one of them" --hold-for 1s --reenter
    refuses "--hold-for with a lock that never expires: $never" --hold-for 1s -t none
    VLOCK_TTL=none refuses "--hold-for with a lock that never expires: $never" --hold-for 1s
}

@test "--on-lost that is nothing vlock knows, or without a command to execute, is refused" {
    for value in '' Stop kill exec 'stop '; do
        refuses "bad value '$value' in --on-lost: use stop, warn or exec:CMD" --on-lost "$value"
    done
    for value in exec: 'exec: '; do
        refuses 'no command in --on-lost=exec: write --on-lost=exec:CMD' "--on-lost=$value"
    done
}

@test "what is refused is refused although the lock is held, or the server out of reach" {
    take -t 60s "$K"
    gives 64 run -n --signal TREM "$K" -- touch ran
    gives 64 run -n -E 0 --kill-after 1h "$K" -- touch ran
    gives 64 -u "unix://$PWD/nobody" run --on-lost=exec: "$K" -- touch ran
    [ ! -e ran ]
    gives 0 release --token "$TOKEN" "$K"
}

@test "a value that comes twice is refused, whichever it would have been" {
    for twice in 'signal TERM' 'kill-after 1s' 'max-runtime 1s' 'hold-for 1s' 'on-lost stop'; do
        # shellcheck disable=SC2086
        refuses "--${twice% *} given twice: give it once" --$twice --$twice
    done
    gives 64 acquire -n --keep-alive $$ --keep-alive $$ "$K"
    says '--keep-alive given twice: give it once'
    gives 1 locked "$K"
}

@test "what belongs to another command, or takes no value, is refused" {
    refuses "'run' takes no option '--keep-alive'" --keep-alive $$
    refuses "option '--leave-children' takes no value" --leave-children=no
    refuses "option '--reenter' takes no value" --reenter=no
    for option in signal kill-after max-runtime hold-for on-lost; do
        gives 64 acquire -n --$option=1 "$K"
        says "'acquire' takes no option '--$option'"
    done
    gives 1 locked "$K"
}

@test "what timeout(1) calls things gets a hint" {
    hinted() {
        gives 64 run "$1" "$K" -- touch ran
        says "unknown option '$1'" "$2"
    }
    hinted -s '--signal SIG'
    hinted -k '--kill-after DUR'
    hinted --timeout '--max-runtime DUR'
    hinted --preserve-status 'leave it out'
    hinted --foreground 'leave it out'
    hinted -f 'leave it out'
    [ ! -e ran ]
}
