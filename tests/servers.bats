#!/usr/bin/env bats
# Servers that change under a connection, or are not what the URL says: a primary that was demoted,
# a replica, proxies that know fewer commands, a cluster's slots. servers@redis.bats is a link to
# this file.

load helpers
load queues

BATS_TEST_NAME_PREFIX="$(server_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() {
    start_store "$(server_of_this_file)"
}

# between MODE: tools/between.py; sets BETWEEN, a directory with its files, and points VLOCK_URL at
# it.
between() {
    BETWEEN=$BATS_TEST_TMPDIR/between.$1
    mkdir "$BETWEEN"
    echo "$PORT" >"$BETWEEN/primary"
    setpriv --pdeathsig KILL python3 "$TESTS/tools/between.py" "$BETWEEN" "$1" 3>&- &
    until_true 20 test -s "$BETWEEN/port"
    export VLOCK_URL=redis://127.0.0.1:$(<"$BETWEEN/port")
}

# at PORT WORD...: one command to that server.
at() {
    local port=$1
    shift
    "$SERVER_KIND-cli" -p "$port" "$@"
}
linked() { at "$NEW" info replication | grep -q '^master_link_status:up'; }

# two_servers: OLD and NEW, ports of a primary and its replica.
two_servers() {
    start_server "$SERVER_KIND"
    OLD=$PORT
    start_server "$SERVER_KIND" --replicaof 127.0.0.1 "$OLD" --repl-diskless-sync-delay 0
    NEW=$PORT
    until_true 20 linked
    PORT=$OLD
}

# fail_over: the replica is the primary from now on, and new connections are led there. Those to
# the old one stay.
fail_over() {
    [ "$(at "$OLD" wait 1 0)" = 1 ]
    echo "$NEW" >"$BETWEEN/primary"
    at "$NEW" replicaof no one
    at "$OLD" replicaof 127.0.0.1 "$NEW"
}

connections() { wc -l <"$BETWEEN/log"; }
renewed_at() { at "$1" info commandstats | grep -q '^cmdstat_pexpire:'; }

@test "a primary that was demoted: who holds, waits and keeps goes on at the new one" {
    two_servers
    between lead
    take -t 5s --keep-alive=$BASHPID "$K-kept"
    background "$VLOCK_BIN" run -t 5s "$K" -- sh -c 'until [ -e end ]; do sleep 0.1; done; echo 1 >>order'
    holder=$!
    until_true 20 eval '[ -n "$(at "$OLD" get "$K")" ]'
    setpriv --pdeathsig KILL "$VLOCK_BIN" run -w 10m "$K" -- sh -c 'echo 2 >>order' 2>waiter.err 3>&- &
    waiter=$!
    until_true 20 eval '[ "$(at "$OLD" zcard "$(beside "$K" queue)")" = 1 ]'
    at "$NEW" config resetstat
    fail_over
    until_true 30 renewed_at "$NEW"
    sleep 6 # every lease of before is over
    [ "$(at "$NEW" get "$K-kept")" = "$TOKEN" ]
    ! is_over "$holder" && ! is_over "$waiter"
    touch end
    ends 0 "$holder"
    until_true 60 is_over "$waiter"
    wait "$waiter"
    printf '%s\n' 1 2 | diff - order
    gives 0 release --token "$TOKEN" "$K-kept"
    [ "$(at "$NEW" exists "$K" "$K-kept")" = 0 ]
}

@test "... and the address leads nowhere else: CMD is stopped while the lock is still its own, 79" {
    two_servers
    export VLOCK_URL=redis://127.0.0.1:$OLD
    background "$VLOCK_BIN" run -t 3s "$K" -- sh -c 'trap "echo stopped >>told; exit 9" TERM
        echo begun; while :; do sleep 0.05; done'
    holder=$!
    until_true 20 has out begun
    BETWEEN=.
    fail_over
    ends 79 "$holder"
    has err 'has become a replica'
    has told stopped
    until_true 20 eval 'at "$OLD" info replication | grep -q "^master_link_status:up"'
    gives 77 run -w 1h "$K" -- true
}

@test "who waits for a primary that is none any more, and for nothing else, is told so: 69" {
    two_servers
    export VLOCK_URL=redis://127.0.0.1:$OLD
    at "$OLD" set "$K" foreign px 4000
    background "$VLOCK_BIN" run -w 8s "$K" -- true
    waiter=$!
    until_true 20 eval '[ "$(at "$OLD" zcard "$(beside "$K" queue)")" = 1 ]'
    BETWEEN=.
    fail_over
    ends 69 "$waiter"
    has err 'has become a replica'
}

@test "a replica is refused by every verb, with 77" {
    two_servers
    take -u "redis://127.0.0.1:$OLD" -t 10m "$K"
    [ "$(at "$OLD" wait 1 0)" = 1 ]
    export VLOCK_URL=redis://127.0.0.1:$NEW
    token=(--token "$TOKEN")
    for words in 'acquire -n' 'acquire -w 1h' 'run -n' 'status' 'status --json' 'locked' 'wait -w 1h'; do
        # shellcheck disable=SC2086 # words
        gives 77 $words "$K" $([[ $words != run* ]] || echo true)
        says 'is a replica: name the primary'
    done
    for words in release owned 'release --if-held' 'reacquire -t 1h'; do
        # shellcheck disable=SC2086 # words
        gives 77 $words "${token[@]}" "$K"
        says 'is a replica: name the primary'
    done
    gives 77 extend "${token[@]}" "$K" 1h
    gives 77 extend --replace "${token[@]}" "$K" 1h
    gives 77 break --yes "$K"
    VLOCK_NAME=$K VLOCK_TOKEN=$TOKEN VLOCK_FENCE=1 gives 77 reacquire --recover -t 1h "$K"
    [ "$(at "$OLD" get "$K")" = "$TOKEN" ]
}

@test "a replica that may be written to is refused, too, and nothing is left there" {
    two_servers
    at "$NEW" config set replica-read-only no
    export VLOCK_URL=redis://127.0.0.1:$NEW
    for words in 'acquire -n' 'acquire -n -t none' 'run -n' status locked; do
        # shellcheck disable=SC2086 # words
        gives 77 $words "$K" $([[ $words != run* ]] || echo true)
        says 'is a replica: name the primary'
        [ "$(at "$NEW" exists "$K")" = 0 ]
    done
    take -u "redis://127.0.0.1:$OLD" -t 10m "$K"
    [ "$(at "$OLD" wait 1 0)" = 1 ]
    gives 77 owned --token "$TOKEN" "$K"
    gives 77 reacquire -t 1h --token "$TOKEN" "$K"
}

# As it stands on a connection that is open: what a script would answer YES without a write is as
# dangerous as a NO from stale data.
@test "a replica carries out, and confirms, nothing that vlock sends" {
    two_servers
    export VLOCK_URL=redis://127.0.0.1:$OLD
    take -t 10m "$K"
    id=$(at "$OLD" hget "$(beside "$K" fence)" grant)
    [ "$(at "$OLD" wait 1 0)" = 1 ]
    for name in acquire confirm withdraw release break extend reset renew recover; do
        for token in "$TOKEN" another; do
            said=$(at "$NEW" eval "$(joined $name)" 5 "$K" "$(beside "$K" fence)" \
                "$(beside "$K" "gone:$id")" "$(beside "$K" queue)" "$(beside "$K" waiters)" \
                "$token" "$id" 1000 '' '' 0 '' 0 '' 0 - 2>&1)
            echo "$name: $said"
            [[ $said == *READONLY* ]]
        done
    done
}

@test "vlock wait notices that its server is a replica, and looks where the address leads now" {
    two_servers
    between lead
    take -t 10m "$K"
    background "$VLOCK_BIN" -v wait "$K"
    waiter=$!
    until_true 20 has err '> CLIENT CACHING'
    fail_over
    gives 0 release --token "$TOKEN" "$K"
    ends 0 "$waiter"
}

@test "a value of another type in the place of the lock: 79 at once, and that is what is said" {
    background "$VLOCK_BIN" run -t 1h "$K" -- sh -c 'echo ready; sleep 600'
    pid=$!
    until_true 20 has out ready
    cli eval 'redis.call("del", KEYS[1]) redis.call("rpush", KEYS[1], 1)' 1 "$K"
    ends 79 "$pid"
    has err 'the lock was lost: the key holds a value of another type'
    [ "$(cli lrange "$K" 0 -1)" = 1 ]
    gives 76 run -n "$K" -- true
}

@test "SWAPDB takes the lock away: the next renewal tells, 79" {
    own_server
    background "$VLOCK_BIN" run -t 3s "$K" -- sh -c 'echo ready; until [ -e end ]; do sleep 0.1; done'
    pid=$!
    until_true 20 has out ready
    cli swapdb 0 1
    ends 79 "$pid"
    has err 'the lock was lost'
}

# --- proxies ---------------------------------------------------------------------------------

@test "a proxy that refuses HELLO in words of its own, or by closing, is used all the same" {
    for mode in words close; do
        between $mode
        gives 0 run -w 1m "$K" -- true
        take -w 1m -t 10m "$K"
        gives 0 owned --token "$TOKEN" "$K"
        gives 75 acquire -n "$K"
        background "$VLOCK_BIN" run -w 10m "$K" -- true
        waiter=$!
        until_true 20 eval '[ "$(cli zcard "$(beside "$K" queue)")" = 1 ]'
        gives 0 release --token "$TOKEN" "$K"
        ends 0 "$waiter"
    done
}

@test "... also where a password is wanted" {
    own_server --requirepass 'pass word'
    export SERVER_PASSWORD='pass word'
    for mode in words close; do
        between $mode
        VLOCK_PASSWORD='pass word' gives 0 run -w 1m "$K" -- true
        VLOCK_PASSWORD=wrong gives 77 run -n "$K" -- true
        gives 77 run -n "$K" -- true
        [ "$(cli exists "$K")" = 0 ]
    done
}

@test "a port that closes every connection is given up after a few" {
    between shut
    gives 69 acquire -n "$K"
    (($(connections) <= 12))
    gives 69 release --token t "$K"
    gives 69 owned --token t "$K"
    (($(connections) <= 36))
}

@test "a waiters key of another type keeps nobody from a free lock" {
    cli rpush "$(beside "$K" waiters)" a
    cli set "$K" foreign px 500
    gives 0 run -w 1m "$K" -- true
    cli set "$K" foreign px 3000
    background "$VLOCK_BIN" run -w 1m "$K" -- true
    waiter=$!
    until_true 20 eval '! is_free "$K" || is_over "$waiter"'
    ends 0 "$waiter"
    gives 0 run -n "$K" -- true
    cli del "$(beside "$K" waiters)"
}

# --- names and slots -------------------------------------------------------------------------

@test "every key that vlock writes for a name is in the slot of that name" {
    own_server --cluster-enabled yes
    cli cluster addslotsrange 0 16383
    until_true 20 eval 'cli cluster info | grep -q "^cluster_state:ok"'
    for name in a '{a}' 'a{b}c' '{}' '}' '{' '{}x' 'x}' '}{' 'a}b' 'a{}b' 'a{}{b}' 'a{{b}}' '{{}' '{}}' \
        '}}' '{a' 'a{' '{a}{b}' 'a}{b}' '}a{b}c' '{{' '{{a}' '{a}}' 'x{}y}' '}{}' '{ }' ' }' '}:vlock:' \
        '{1}' '1}' '{}{}' '{}{}}' '{}{a}' 'a b}' 'ä}' 'a}'"'" 'a}"' 'a}\' 'a}*' 'a}?[' '}:{' 'a:}b:c'; do
        cli flushall >/dev/null
        gives 0 acquire -t 10m --token T -- "$name"
        setpriv --pdeathsig KILL env --default-signal "$VLOCK_BIN" -q acquire -w 10m --token W \
            -- "$name" >waiter.out 2>waiter.err 3>&- &
        waiter=$!
        until_true 30 eval '[ "$(cli zcard "$(beside "$name" queue)")" = 1 ]'
        { cli --raw keys '*'; } >keys
        [ "$(wc -l <keys)" = 4 ] # the lock, fence, queue, waiters
        kill -TERM "$waiter"
        ends 143 "$waiter"
        cli --raw keys '*' >>keys # now with the mark of the acquire that was withdrawn
        grep -qF gone: keys
        while IFS= read -r key; do cli cluster keyslot "$key"; done <keys | sort -u >slots
        cat keys slots
        [ "$(cat slots)" = "$(cli cluster keyslot "$name")" ]
        gives 0 release --token T -- "$name"
    done
}
