#!/usr/bin/env bats
# A server that knows neither '#!lua' nor sharded channels, Redis 6.0: waiters poll, and all else is
# as ever. contract@old-redis.bats says what a lock means there.

load helpers
load queues

setup_file() {
    start_store old-redis
}

polls() { grep -q 'no channel to listen to' "$1"; }

@test "waiters are served in order, each with a whole lease, and say with -v that they poll" {
    take -t 10m "$K"
    for label in 1 2 3 4; do stand "$label" -v -t 5m; done
    : >hold.3
    gives 0 release --token "$TOKEN" "$K"
    until_true 20 was_served 3
    (($(cli pttl "$K") > 200000))
    [ "$(cli hexists "$(beside "$K" fence)" claim)" = 0 ]
    rm hold.3
    all_served 1 2 3 4
    for label in 1 2 3 4; do polls "err.$label"; done
    is_free "$K"
    [ "$(cli --raw keys "*$K*" | grep -v ':gone:')" = "$(beside "$K" fence)" ]
}

@test "a waiter that was killed delays nobody for longer than it takes to poll" {
    take -t 10m "$K"
    for label in 1 2 3; do stand "$label" -t 5m; done
    signal_both KILL 1
    wait "${WAITER[1]}" || true
    gives 0 release --token "$TOKEN" "$K"
    all_served 2 3
}

@test "a signal takes a waiter out of the queue, and -w ends in time" {
    take -t 10m "$K"
    stand 1
    kill -TERM "${WAITER[1]}"
    ends 143 "${WAITER[1]}"
    [ "$(waiting "$K")" = 0 ]
    gives 75 run -w 300ms "$K" -- true
    [ "$(waiting "$K")" = 0 ]
}

@test "locks without expiry, and what is done to a holder's lock is noticed at once" {
    background "$VLOCK_BIN" run -t none "$K" -- sh -c 'echo ready; until [ -e end ]; do sleep 0.1; done'
    pid=$!
    until_true 20 has out ready
    [ "$(pttl_of "$K")" = -1 ]
    touch end
    ends 0 "$pid"
    is_free "$K"
    background "$VLOCK_BIN" run -t 1h "$K" -- sh -c 'echo ready; sleep 600'
    pid=$!
    until_true 20 has out ready
    until_true 20 eval 'cli info stats | grep -q "^tracking_total_keys:[1-9]"'
    cli set "$K" foreign
    ends 79 "$pid"
    cli del "$K"
}

@test "a replica carries out, and confirms, nothing" {
    primary=$PORT
    own_server --replicaof 127.0.0.1 "$primary" --repl-diskless-sync-delay 0
    until_true 20 eval 'cli info replication | grep -q "^master_link_status:up"'
    VLOCK_URL=redis://127.0.0.1:$primary take -t 10m "$K"
    until_true 20 eval '[ "$(cli get "$K")" = "$TOKEN" ]'
    gives 77 acquire -n "$K"
    gives 77 acquire -n "$K-other"
    for verb in release owned 'reacquire -t 1h'; do
        # shellcheck disable=SC2086 # words
        gives 77 $verb --token "$TOKEN" "$K"
        says 'is a replica'
    done
    gives 77 status "$K"
    id=$("$SERVER_KIND-cli" -p "$primary" hget "$(beside "$K" fence)" grant)
    for name in acquire confirm withdraw release break extend reset renew recover; do
        said=$(cli eval "$(joined $name | sed '1{/^#!lua/d}; s/^-- OLD: //')" 5 \
            "$K" "$(beside "$K" fence)" "$(beside "$K" "gone:$id")" "$(beside "$K" queue)" \
            "$(beside "$K" waiters)" "$TOKEN" "$id" 1000 '' '' 0 '' 0 '' 0 - 2>&1)
        echo "$name: $said"
        [[ $said == *READONLY* ]]
    done
}

@test "a full server still takes a lock back, and hands it on" {
    own_server --maxmemory-policy noeviction
    take -t 10m "$K"
    stand 1
    cli config set maxmemory 1
    gives 0 release --token "$TOKEN" "$K"
    all_served 1
    is_free "$K"
}
