#!/usr/bin/env bats
# The local store takes room for the locks in use, not for every name that was ever used. The
# directory is a tmpfs with room for 30 files; unit/local_space_test.c has 5,000 names in 1 MiB.

load helpers

NAMES=100

setup() {
    clean_environment
    export K=name
    DIR=$(mktemp -d)
    chmod 755 "$DIR"
    export VLOCK_URL=local:$DIR/locks
    cd "$DIR" || return 1
    [ "$(id -u)" = 0 ] || skip 'needs root'
    mkdir locks
    mount -t tmpfs -o size=256k,mode=1777 tmpfs locks || skip 'nothing can be mounted here'
}

teardown() {
    cd /
    ! mountpoint -q "$DIR/locks" || umount -l "$DIR/locks"
    rm -rf "$DIR"
}

# fence_of NAME: that of an acquire, which is given back
fence_of() {
    (
        eval "$("$VLOCK_BIN" -q acquire --format shell -t 1m "$1")" &&
            echo "$VLOCK_FENCE" && "$VLOCK_BIN" -q release "$1"
    )
}

names() { seq -f "$K.%g" "$NAMES"; }

@test "many names, one after the other, and again" {
    for name in $(names); do
        gives 0 -q run -n "$name" -- true
    done
    for name in $(names); do
        gives 0 -q run -n "$name" -- true
    done
}

@test "many names, by many at the same time" {
    observe xargs -P 20 -I NAME "$VLOCK_BIN" -q run NAME -- true < <(names && names)
    [ "$status" -eq 0 ]
    [ "$stderr" = '' ]
}

@test "many names of a user in a shared directory that another one releases" {
    users=(54321 54322)
    setpriv --reuid 54321 --clear-groups "$VLOCK_BIN" --version || skip 'vlock is not open to all'
    for name in $(names); do
        token=$(setpriv --reuid "${users[0]}" --clear-groups \
            "$VLOCK_BIN" -q acquire -n -t 1m "$name")
        setpriv --reuid "${users[1]}" --clear-groups "$VLOCK_BIN" -q release --token "$token" "$name"
        users=("${users[1]}" "${users[0]}")
    done
}

@test "a fence grows although its file was removed" {
    first=$(fence_of "$K")
    for name in $(names); do
        gives 0 -q run -n "$name" -- true
    done
    [ ! -e "locks/$K" ]
    second=$(fence_of "$K")
    ((second > first))
    gives 0 status "$K"
}

@test "what is held, waited for or lapsed stays" {
    take -t 1h held
    held=$TOKEN
    take -t 1h waited
    waited=$TOKEN
    background "$VLOCK_BIN" -q run -w 600s waited -- echo got it
    waiter=$!
    until_true 20 eval '"$VLOCK_BIN" status --json waited | grep -q "\"waiters\": *\[ *{"'
    gives 0 -q acquire -t 1ms --token-file lapsed.token lapsed
    for name in $(names); do
        gives 0 -q run -n "$name" -- true
    done
    gives 0 owned --token "$held" held
    gives 0 release --token "$waited" waited
    ends 0 $waiter
    has out 'got it'
    gives 0 reacquire --recover --token-file lapsed.token -t 1m lapsed
}

@test "a command that gives its lock back is not stopped, whatever is removed meanwhile" {
    background "$VLOCK_BIN" run -t 1h "$K" -- bash -c '
        "$VLOCK_BIN" -q release "$K" && echo >released
        until [ -e end ]; do sleep 0.02; done' # VLOCK_TOKEN is there
    until_true 20 test -e released
    for name in $(names); do
        gives 0 -q run -n "$name" -- true
    done
    : >end
    ends 0 $!
    not test -s err
}
