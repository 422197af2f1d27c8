#!/usr/bin/env bats
# A holder on a server learns at once that its lock was broken, deleted or taken over, and is not
# woken by anything else. watch@redis.bats is a link to this file; of the local store
# unit/local_watch_test.c says the same.

load helpers
load queues

BATS_TEST_NAME_PREFIX="$(server_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() {
    start_store "$(server_of_this_file)"
}

# watcher TTL_MS [WORD...]: tools/watcher.c holds $K with token T. Its pid is in $PID, its output
# in `seen` and `wire`.
watcher() {
    local ttl=$1
    shift
    rm -f seen wire # those of the last one say what this one has not said yet
    setpriv --pdeathsig KILL env --default-signal "${VLOCK_BIN%/*}/tests/unit/watcher" \
        "$VLOCK_URL" "$K" T "$ttl" "$@" >seen 2>wire 3>&- &
    PID=$!
    until_true 20 has seen held
}

HOUR=3600000

# watches [N]: it has sent what begins to watch, N times.
watches() { (($(grep -c '> CLIENT CACHING' wire) >= ${1:-1})); }

# is_tracked: for somebody; on a server that nobody else has used.
is_tracked() { cli info stats | grep -q '^tracking_total_keys:[1-9]'; }

saw() { grep -cx "$1" seen || true; }
saw_at_least() { (($(saw "$1") >= $2)); }

# hears_of_it: the watcher, that the lock was lost; it ends.
hears_of_it() {
    ends 79 "$PID" || { tail -n 30 seen wire && return 1; }
    printf '%s\n' held suspect lost | diff - seen
}

# loses COMMAND...: the lock is taken from a holder whose next renewal is in 20 minutes.
loses() {
    K=$K.$((RANDOM))
    watcher $HOUR "${GATE[@]}"
    [ "${#GATE[@]}" -gt 0 ] || until_true 20 watches 1
    "$@" >/dev/null
    [ "${#GATE[@]}" -eq 0 ] || kill -USR1 "$PID"
    hears_of_it
}

# loses_it_all: in every way that somebody else can take it.
loses_it_all() {
    loses eval 'cli del "$K"'
    loses eval 'cli unlink "$K"'
    loses eval 'cli getdel "$K"'
    loses eval 'cli rename "$K" elsewhere'
    loses eval 'cli set "$K" foreign'
    loses eval 'cli set "$K" foreign keepttl'
    loses eval 'cli eval "redis.call(\"del\", KEYS[1]) redis.call(\"set\", KEYS[1], 1)" 1 "$K"'
    loses eval 'cli append "$K" x'
    loses eval 'cli del "$K"; cli lpush "$K" another type'
    loses eval 'cli eval "redis.call(\"del\", KEYS[1]) redis.call(\"hset\", KEYS[1], 1, 1)" 1 "$K"'
    loses eval '"$VLOCK_BIN" break --yes --foreign "$K" 2>/dev/null'
}

@test "whatever takes a lock away is heard at once" {
    GATE=()
    loses_it_all
}

@test "also between the last answer and the watch" {
    GATE=(gate)
    loses_it_all
}

@test "a lock that went to another acquire with the same token is lost" {
    passes_to_another() {
        cli del "$K"
        "$VLOCK_BIN" -q acquire -n --token T -t 2h "$K"
    }
    GATE=()
    loses passes_to_another
    GATE=(gate)
    loses passes_to_another
}

@test "a lock that somebody with its token gave back is freed, on purpose" {
    watcher $HOUR
    until_true 20 watches 1
    gives 0 release --token T "$K"
    ends 79 "$PID"
    has seen suspect
    not has seen time
}

@test "FLUSHALL and FLUSHDB are heard" {
    own_server
    GATE=()
    loses eval 'cli flushall'
    loses eval 'cli flushdb'
    GATE=(gate)
    loses eval 'cli flushall'
}

@test "a lease that lapses is heard" {
    watcher 300 still
    hears_of_it
}

@test "a lease that a foreign hand cuts short is renewed at once, and one that it lengthens is not" {
    own_server
    watcher $HOUR
    until_true 20 is_tracked
    cli pexpire "$K" 300000
    until_true 20 has seen ours
    ttl_between "$K" 300001 $HOUR
    for ms in 4000000 5000000 6000000; do
        until_true 20 is_tracked
        cli pexpire "$K" $ms
    done
    until_true 20 is_tracked
    printf '%s\n' held suspect ours | diff - seen
    cli del "$K"
    ends 79 "$PID"
}

@test "a lock without expiry is watched, too" {
    watcher none
    cli pexpire "$K" 20000
    until_true 20 has seen ours
    until_true 20 eval '[ "$(pttl_of "$K")" = -1 ]'
    cli del "$K"
    ends 79 "$PID"
    printf '%s\n' held suspect ours suspect lost | diff - seen
}

@test "a holder's own renewals do not wake it" {
    watcher 9000
    until_true 60 saw_at_least ours 4
    kill -TERM "$PID"
    ends 0 "$PID"
    [ "$(saw suspect)" -eq 0 ]
    has seen stopped
    is_free "$K"
}

@test "an extend by somebody who has the token costs no renewal, and the watch goes on" {
    own_server
    watcher $HOUR
    for n in {1..10}; do
        until_true 20 is_tracked
        gives 0 extend --token T "$K" 10s
    done
    cli del "$K"
    hears_of_it
}

@test "other locks, and the same name in another database, do not matter" {
    own_server
    VLOCK_URL="unix://$SOCK?db=3"
    watcher $HOUR
    for n in {1..10}; do
        until_true 20 is_tracked
        cli set "$K" "other $n"
        cli set "$K-$n" other
        cli del "$K-$n"
        cli -n 3 del "$K-$n" "$K$n"
    done
    cli del "$K"
    until_true 20 is_tracked
    [ "$(saw suspect)" -eq 0 ]
    [ "$(cli -n 3 get "$K")" = T ]
    cli -n 3 del "$K"
    hears_of_it
}

@test "a queue in front of the lock does not matter" {
    watcher $HOUR
    until_true 20 watches 1
    : >hold.a
    for n in a b c; do stand $n; done
    [ "$(saw suspect)" -eq 0 ]
    [ "$(grep -c '> CLIENT CACHING' wire)" -eq 1 ]
    rm hold.a
    kill -TERM "$PID"
    ends 0 "$PID"
    all_served a b c
}

@test "a connection that breaks is one more renewal, and the watch goes on over the next" {
    watcher $HOUR
    for n in 1 2 3; do
        until_true 20 watches "$n"
        cli client kill type normal skipme yes
        until_true 20 saw_at_least ours "$n"
    done
    until_true 20 watches 4
    cli del "$K"
    ends 79 "$PID"
    [ "$(saw suspect)" -eq 4 ]
    not has seen time
}

@test "connections that break again and again are not a loop of renewals" {
    watcher $HOUR
    begun=${EPOCHREALTIME/./}
    for n in {1..200}; do cli client kill type normal skipme yes; done
    until_true 20 saw_at_least ours 1
    # The pauses double, up to 200 ms.
    (($(saw suspect) <= 10 + (${EPOCHREALTIME/./} - begun) / 150000))
    cli del "$K"
    ends 79 "$PID"
}

@test "a server that has gone is no busy loop, and the lease ends" {
    own_server
    watcher 9000
    until_true 20 watches 1
    stop_server
    ends 79 "$PID"
    has seen over
    [ "$(saw suspect)" -eq 1 ]
    [ "$(wc -l <seen)" -lt 40 ]
}

@test "a server that was frozen, and thawed, is watched as before" {
    own_server
    watcher $HOUR
    kill -STOP "$SERVER_PID"
    until_true 20 has wire 'CLIENT CACHING'
    kill -CONT "$SERVER_PID"
    cli del "$K"
    hears_of_it
}

# unheard: nothing tells; the next renewal does, and -v says so, once.
unheard() {
    watcher 9000
    until_true 60 saw_at_least ours 2
    cli del "$K"
    ends 79 "$PID"
    [ "$(saw suspect)" -eq 0 ]
    [ "$(saw time)" -ge 3 ]
    [ "$(grep -c 'a lost lock is noticed at the next renewal' wire)" -eq 1 ]
}

@test "without RESP3 the next renewal notices" {
    own_server --rename-command HELLO ''
    unheard
    has wire 'does not push'
}

@test "a user who may have nothing tracked notices with the next renewal" {
    own_server
    for what in tracking caching; do
        K=$K.$what
        cli acl setuser "no-$what" on '>pw' '~*' '&*' +@all "-client|$what"
        VLOCK_URL=redis://no-$what:pw@127.0.0.1:$PORT unheard
        has wire 'nothing is tracked'
    done
}

@test "nothing is sent for it before the first call" {
    start_proxy
    VLOCK_URL=$PROXY_URL watcher $HOUR gate
    not has wire CACHING
    [ "$(cli client list type normal | grep -c 'flags=[A-Za-z]*t')" -eq 0 ]
    kill -USR1 "$PID"
    until_true 20 eval '[ "$(cli client list | grep -c "flags=[A-Za-z]*t")" -eq 1 ]'
    kill -TERM "$PID"
    ends 0 "$PID"
}

@test "what a proxy cuts off is no loss" {
    start_proxy
    VLOCK_URL=$PROXY_URL watcher $HOUR gate
    rule 'cut 1 rst'
    kill -USR1 "$PID"
    until_true 20 has seen ours
    cli del "$K"
    ends 79 "$PID"
    not has seen time
}
