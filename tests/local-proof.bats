#!/usr/bin/env bats
# The local store: a holder that lives keeps its lock when the lock's file cannot be reached by name
# for a while, and knows at once that the lock is lost when the name leads elsewhere. A lease is
# judged by one clock in all time namespaces.

load helpers

setup() {
    clean_environment
    K=name
    DIR=$(mktemp -d)
    chmod 755 "$DIR"
    cd "$DIR" || return 1
    mkdir -m 0700 above above/d
    export VLOCK_URL=local:$DIR/above/d
}

teardown() {
    chmod -R u+rwx "$DIR" # what a test has closed
    rm -rf "$DIR"
}

# What another user than root runs begins with this.
as_another=(setpriv --reuid 54378 --regid 54378 --clear-groups)

needs_another() {
    [ "$(id -u)" = 0 ] || skip 'needs root'
    "${as_another[@]}" "$VLOCK_BIN" --version >/dev/null || skip 'vlock is not open to all'
    chmod 755 above
    chmod 1777 above/d
    chmod 777 .
}

# holds [CMD...]: `run` with a lease of half a second holds $K until `end` is there; in $HOLDER
holds() {
    background "$@" "$VLOCK_BIN" run -t 500ms "$K" -- \
        sh -c 'echo >ready; until [ -e end ]; do sleep 0.02; done'
    HOLDER=$!
    until_true 20 test -s ready
}

uptime_ms() { sed 's/ .*//; s/\.//; s/$/0/' /proc/uptime; }
has_come() { (($(uptime_ms) >= $1)); }

# outlasts_its_lease: so long that only the proof of life can have kept the lock
outlasts_its_lease() { until_true 5 has_come $(($(uptime_ms) + 1200)); }

# keeps_it: nobody else can have the lock, and the holder ends well.
keeps_it() {
    outlasts_its_lease
    gives 75 run -n "$K" -- true
    : >end
    ends 0 "$HOLDER"
    gives 0 run -n "$K" -- true
}

# loses_it: the holder stops its command and says so.
loses_it() {
    ends 79 "$HOLDER"
    has err 'the lock was lost'
}

@test "a second name of its file takes nothing from the holder, and shuts nobody out" {
    holds
    ln "above/d/$K" backup
    keeps_it
    gives 0 acquire -q -t 1s "$K"
}

@test "a directory closed to the holder takes nothing from it" {
    needs_another
    holds "${as_another[@]}"
    chmod 1700 above/d
    outlasts_its_lease
    gives 75 run -n "$K" -- true
    "${as_another[@]}" touch end
    ends 0 "$HOLDER" # released through the descriptor that it has
    not test -s err
    gives 0 run -n "$K" -- true
}

@test "nor does a directory above, or a file whose mode was changed" {
    needs_another
    holds "${as_another[@]}"
    chmod 0700 above
    chmod 0000 "above/d/$K"
    keeps_it
}

@test "nor is anything taken from a keeper" {
    needs_another
    "${as_another[@]}" sleep 600 3>&- &
    kept=$!
    "${as_another[@]}" "$VLOCK_BIN" -q acquire -t 500ms --keep-alive=$kept "$K" >token
    chmod 1700 above/d
    outlasts_its_lease
    gives 75 run -n "$K" -- true
    kill $kept
    gives 0 run -w 30s "$K" -- true
}

@test "those who come by name are told that it is closed to them" {
    needs_another
    gives 0 acquire -q -t 1h --token-file token "$K"
    chmod 644 token
    token=$(sed -n 's/^token=//p' token)
    chmod 1700 above/d
    for verb in owned release 'reacquire -t 1s'; do
        # shellcheck disable=SC2086
        observe "${as_another[@]}" "$VLOCK_BIN" ${verb%% *} --token "$token" ${verb#"${verb%% *}"} "$K"
        [ "$status" -eq 77 ]
        says 'closed to us'
    done
    gives 0 owned --token "$token" "$K"
}

@test "a file that lost its name is a lost lock, also while the directory is closed" {
    needs_another
    holds "${as_another[@]}"
    chmod 1700 above/d
    rm "above/d/$K"
    loses_it
}

@test "a name that leads to what cannot be opened is a lost lock" {
    needs_another
    for other in 'mkdir' 'ln -s nowhere' 'install -m 0600 /dev/null'; do
        rm -f end ready
        holds "${as_another[@]}"
        mv "above/d/$K" away
        $other "above/d/$K"
        loses_it
        rm -r "above/d/$K" away
    done
}

@test "a directory that was renamed has taken the lock with it, at once" {
    K=long
    background "$VLOCK_BIN" run -t 1h "$K" -- sh -c 'echo >ready; exec sleep 600'
    HOLDER=$!
    until_true 20 test -s ready
    mv above/d above/e
    loses_it
    gives 0 run -n "$K" -- true
}

@test "so has one above it, when the lease is next renewed" {
    holds
    mv above elsewhere
    mkdir above
    loses_it
}

@test "a waiter goes where its directory's path leads" {
    gives 0 acquire -q -t 1h "$K"
    background "$VLOCK_BIN" run -w 600s "$K" -- echo got it
    waiter=$!
    until_true 20 eval '"$VLOCK_BIN" status --json "$K" | grep -q "\"waiters\": *\[ *{"'
    mv above/d above/e
    ends 0 $waiter
    has out 'got it'
}

# --- time namespaces ---------------------------------------------------------------------------

# What runs in a time namespace begins with this and the seconds that its boot clock is ahead.
shifted=(unshare --time --fork --boottime)

needs_time_namespaces() {
    "${shifted[@]}" 1000 true 2>/dev/null || skip 'no time namespaces here'
}

@test "a lease is judged by one clock in all time namespaces" {
    needs_time_namespaces
    for from in 0 100000 -5; do
        for to in 100000 0 -5; do
            K=name.$from.$to
            "${shifted[@]}" $from "$VLOCK_BIN" -q acquire -t 1h "$K" >token
            observe "${shifted[@]}" $to "$VLOCK_BIN" run -n "$K" -- true
            [ "$status" -eq 75 ]
            gives 0 owned --token "$(<token)" "$K"
            gives 0 release --token "$(<token)" "$K"
            "${shifted[@]}" $from "$VLOCK_BIN" -q acquire -t 1ms "$K" >token
            observe "${shifted[@]}" $to "$VLOCK_BIN" run -w 60s "$K" -- true
            [ "$status" -eq 0 ]
        done
    done
}

@test "a waiter in another time namespace takes a lease that ran out" {
    needs_time_namespaces
    gives 0 acquire -q -t 700ms "$K"
    observe "${shifted[@]}" 100000 "$VLOCK_BIN" run -w 60s "$K" -- true
    [ "$status" -eq 0 ]
}
