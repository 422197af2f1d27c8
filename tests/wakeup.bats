#!/usr/bin/env bats
# How those who wait on a server hear that it is their turn, and what that costs. wakeup@redis.bats
# is a link to this file.
# bats file_tags=long

load helpers
load queues

BATS_TEST_NAME_PREFIX="$(server_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() {
    export BATS_NO_PARALLELIZE_WITHIN_FILE=1
    start_store "$(server_of_this_file)"
}

# foreign [MS]: a foreign client takes $K, for an hour or MS.
foreign() { [ "$(cli set "$K" foreign nx px "${1:-3600000}")" = OK ]; }

# --- freed by somebody who knows nothing of us -----------------------------------------------

# wakes_one COMMAND...: the lock, foreign and good for an hour, is taken away from its holder by
# COMMAND; the first of some is served, as he was told of that, and nobody else was told to ask. If
# he is late for it another may look first, now and then, who hands the lock to him: he is told that
# too, and when he confirms it the second, who is first now, hears that the key was changed.
wakes_one() {
    local all others
    mapfile -t all < <(seq "$(rounds 4 10)")
    others=("${all[@]:1}")
    K=$K.$((RANDOM)) # that of another test may still have a fence
    rm -f served
    foreign
    for label in "${all[@]}"; do stand "$label" -v; done
    : >hold.1
    until_true 10 has err.1 'CLIENT CACHING YES'
    mark_all "${all[@]}"
    "$@" >/dev/null
    until_true 30 was_served 1
    until_true 10 eval '[ "$(told ".*verdict 1" 1)" -ge 1 ]' # -v may say so later than it was
    [ "$(told 'the key was changed' 1)" -ge 1 ]
    granted=$(told 'the bell: granted' 1)
    [ "$granted" -le 1 ]
    [ "$(told 'the key was changed' "${others[@]}")" -le "$granted" ]
    [ "$(told 'the bell: granted' "${others[@]}")" = 0 ]
    [ "$(told 'the bell: come' "${all[@]}")" = 0 ]
    # the second, first now, may look at what he is waiting for
    [ "$(told 'the bell: first' "${all[@]}")" -le 1 ]
    rm hold.1
    all_served "${all[@]}"
}

@test "DEL wakes the first who waits, at once, and nobody else" { wakes_one del_it; }
del_it() { cli del "$K"; }

@test "UNLINK, GETDEL, RENAME and a foreign script do, too" {
    wakes_one eval 'cli unlink "$K"'
    wakes_one eval 'cli getdel "$K"'
    wakes_one eval 'cli rename "$K" elsewhere'
    wakes_one eval 'cli eval "return redis.call(\"del\", KEYS[1])" 1 "$K"'
}

@test "redis-py's release does" {
    cat >release.py <<'PY'
import sys, redis
it = redis.Redis(unix_socket_path=sys.argv[1]).lock(sys.argv[2])
it.local.token = b"foreign"
it.release()
PY
    redis_py() { python release.py "$SOCK" "$K"; }
    wakes_one redis_py
}

@test "a lease that a foreign hand cuts short ends when it says" {
    wakes_one eval 'cli pexpire "$K" 400'
    wakes_one eval 'cli pexpire "$K" 0'
}

@test "a lock that passes from one foreign client to the next is waited for, and its end is heard" {
    foreign
    stand 1
    for n in 1 2 3; do
        until_quiet
        cli eval 'redis.call("del", KEYS[1]) redis.call("set", KEYS[1], ARGV[1])' 1 "$K" "f$n"
    done
    until_quiet
    wait_for_it "$K" 1
    held_by "$K" f3
    cli del "$K"
    all_served 1
}

@test "FLUSHALL while five wait: all are served, in order" {
    own_server
    foreign
    for label in 1 2 3 4 5; do stand "$label" -v; done
    until_true 10 has err.1 'CLIENT CACHING YES'
    mark_all 1 2 3 4 5
    : >hold.1 # until the others are there again: what a late one finds is another test's
    cli flushall >/dev/null
    until_true 10 was_served 1
    until_true 10 wait_for_it "$K" 4
    rm hold.1
    all_served 1 2 3 4 5
    # the first is told, and the others by what he does
    [ "$(told 'the key was changed' 1)" -ge 1 ]
    [ "$(told 'the bell: come' 2 3 4 5)" -ge 4 ]
}

@test "FLUSHALL while five wait and the first holds on: the others keep their order" {
    own_server
    foreign
    for label in 1 2 3 4 5; do stand "$label"; done
    : >hold.1
    cli flushall >/dev/null
    until_true 10 was_served 1
    until_true 10 wait_for_it "$K" 4
    stand 6
    rm hold.1
    all_served 1 2 3 4 5 6
}

# On a slow machine another one than the first may be the first to come back.
@test "the queue alone is lost: those who wait come back, in order" {
    take -t 10m "$K"
    for label in 1 2 3 4 5; do stand "$label" -v; done
    mark_all 1 2 3 4 5
    for label in 1 2 3 4 5; do : >"hold.$label"; done
    cli del "$(beside "$K" queue)" "$(beside "$K" waiters)" >/dev/null
    gives 0 release --token "$TOKEN" "$K"
    until_true 10 test -s served
    until_true 10 wait_for_it "$K" 4
    rm hold.*
    read -r first _ <served
    if [ "$first" = 1 ]; then all_served 1 2 3 4 5; else served_somehow 1 2 3 4 5; fi
    # whoever looks first, after a while, has the others told
    [ "$(told 'the bell: come' 1 2 3 4 5)" -ge 4 ]
}

# --- nobody freed it -------------------------------------------------------------------------

@test "who vanishes is succeeded by one, without the others asking" {
    lease_for 12
    foreign "$LEASE_MS"
    for label in {1..12}; do stand "$label" -v -t 10m; done
    : >hold.1
    [ "$(value_of "$K")" = foreign ] || skip 'starting twelve took too long'
    until_true 60 ends_soon
    mark_all {1..12}
    begun=$SECONDS
    until_true 30 was_served 1
    # the first three look, one after the other; of the nine others only who looks now and then
    [ "$(asked {4..12})" -le $((4 + SECONDS - begun)) ]
    order_is 1
    rm hold.1
    all_served {1..12}
}

ends_soon() { (($(pttl_of "$K") < 300)); }

@test "a redis-py holder that was killed is succeeded when its lease ends" {
    cat >hold.py <<'PY'
import sys, time, redis
it = redis.Redis(unix_socket_path=sys.argv[1]).lock(sys.argv[2], timeout=15)
assert it.acquire()
print("held", flush=True)
time.sleep(600)
PY
    find_python
    background "$PYTHON" hold.py "$SOCK" "$K"
    holder=$!
    until_true 10 has out held
    stand 1
    stand 2
    kill -KILL "$holder"
    all_served 1 2
}

@test "a lock whose vlock was killed, but not its guard, is succeeded" {
    background "$VLOCK_BIN" run -t 60s "$K" -- sh -c 'echo $$ >cmd; exec sleep 600'
    holder=$!
    until_true 10 test -s cmd
    stand 1
    stand 2
    kill -KILL "$holder"
    all_served 1 2
    kill "$(<cmd)" 2>/dev/null || true
}

@test "the holder vanished, and so did those who were first in line: the next is not forgotten" {
    lease_for 6
    gives 0 -q acquire -t ${LEASE_MS}ms "$K"
    for label in 1 2 3 4 5 6; do stand "$label" -t 10m; done
    for label in 1 2 3 4; do kill -KILL "${WAITER[$label]}"; done
    ends 0 "${WAITER[5]}"
    ends 0 "${WAITER[6]}"
    order_is 5 6
}

# --- the server starts anew ------------------------------------------------------------------

@test "the server is restarted with its append-only file: the place of each is kept" {
    own_server --appendonly yes --appendfsync always
    take -t 10m "$K"
    for label in {1..10}; do stand "$label"; done
    before=$(line_of "$K")
    stop_server
    start_again --appendonly yes --appendfsync always
    held_by "$K" "$TOKEN"
    until_true 20 all_listen "$K" 10
    line_is "$K" "$before"
    gives 0 release --token "$TOKEN" "$K"
    all_served {1..10}
}

@test "the server is restarted and remembers nothing: nobody starts before the last lease is over" {
    own_server
    lease_for 10
    begun=$(date +%s%3N)
    foreign "$LEASE_MS"
    for label in {1..10}; do stand "$label" -t 10m; done
    [ "$(value_of "$K")" = foreign ] || skip 'starting ten took too long'
    stop_server
    start_again
    until_true 20 wait_for_it "$K" 10
    # nor does one who comes only now
    vlock -q acquire -n -t 60s "$K"
    [ "$(date +%s%3N)" -ge $((begun + LEASE_MS)) ] || [ "$status" -eq 75 ]
    all_served {1..10}
    first=$(head -n 1 served | cut -d' ' -f3)
    ((first >= begun + LEASE_MS)) || { echo "$((first - begun)) ms after" && return 1; }
}

@test "granted, stopped past the claim, and the server restarted: the next one's lease is waited out" {
    own_server
    take -t 12s "$K"
    stand A
    stop_them A
    gives 0 release --token "$TOKEN" "$K"
    take -t 6s -w 5m "$K"
    over=$(($(date +%s%3N) + $(pttl_of "$K")))
    stop_server
    start_again
    go_on A
    ends 0 "${WAITER[A]}"
    first=$(cut -d' ' -f3 served)
    ((first >= over)) || { echo "$((over - first)) ms too soon" && return 1; }
}

@test "the server is restarted, and the lock given back, before those who wait are there again" {
    own_server --appendonly yes --appendfsync always
    take -t 10m "$K"
    for label in {1..5}; do stand "$label"; done
    stop_them "${!WAITER[@]}"
    stop_server
    start_again --appendonly yes --appendfsync always
    gives 0 release --token "$TOKEN" "$K"
    go_on "${!WAITER[@]}"
    served_somehow {1..5}
}

@test "while a lock that the server has lost is waited out, next to nothing is asked" {
    own_server
    foreign 12000
    stand A
    stop_server
    start_again
    until_true 20 wait_for_it "$K" 1
    cli config resetstat
    ends 0 "${WAITER[A]}"
    [ "$(questions)" -le 10 ] || { questions && return 1; }
}

@test "a server without memory for a moment does not end a wait" {
    own_server
    foreign
    stand A
    cli config set maxmemory 1
    cli del "$K"
    until_true 10 refused_for_memory
    cli config set maxmemory 0
    ends 0 "${WAITER[A]}"
}

refused_for_memory() { cli info errorstats | grep -q errorstat_OOM; }

@test "the server is restarted twice, down for a while, and the holder gives back in between" {
    own_server --appendonly yes --appendfsync always
    take -t 10m "$K"
    for label in {1..5}; do stand "$label"; done
    stop_server
    gives 69 release --token "$TOKEN" "$K"
    background "$VLOCK_BIN" -q acquire -w 5m "$K-other"
    other=$!
    start_again --appendonly yes --appendfsync always
    stop_server
    start_again --appendonly yes --appendfsync always
    ends 0 "$other"
    gives 0 release --token "$TOKEN" "$K"
    served_somehow {1..5}
}

# --- the connection breaks -------------------------------------------------------------------

# cut_all: every connection of a client
cut_all() {
    cli client kill type normal
    cli client kill type pubsub
}

@test "connections are cut while ten wait: the place of each is kept" {
    take -t 10m "$K"
    for label in {1..10}; do stand "$label"; done
    before=$(line_of "$K")
    for ((n = $(rounds 2 5); n > 0; n--)); do
        cut_all
        until_true 20 all_listen "$K" 10
        line_is "$K" "$before"
    done
    gives 0 release --token "$TOKEN" "$K"
    all_served {1..10}
}

cut_and_del() { printf 'MULTI\nCLIENT KILL TYPE pubsub\nDEL %s\nEXEC\n' "$K" | cli; }

cut_and_release() { cut_all && gives 0 release --token "$TOKEN" "$K"; }

@test "the lock becomes free while all connections are broken: those who wait keep their order" {
    for becomes_free in $(rounds "cut_and_del cut_and_release" \
        "cut_and_del cut_and_release cut_and_del cut_and_release cut_and_del"); do
        take -t 10m "$K"
        for label in {1..6}; do stand "$label"; done
        "$becomes_free" >/dev/null
        all_served {1..6}
        rm served
    done
}

@test "a server that refuses connections is tried until -w is over" {
    for try in 1 2 3; do
        began=$(date +%s%3N)
        VLOCK_URL=redis://127.0.0.1:1 vlock run -w 700ms "$K" -- touch ran
        (($(date +%s%3N) - began >= 690))
        [ "$status" -eq 69 ]
    done
    [ ! -e ran ]
}

@test "connections are cut while the lock goes from hand to hand: everybody is served once" {
    take -t 10m "$K"
    for label in {1..10}; do stand "$label"; done
    gives 0 release --token "$TOKEN" "$K"
    for ((pause = 50; pause < 60000; pause += 5)); do # longer and longer, for a slow machine
        was_served 10 && break
        cut_all >/dev/null
        sleep "$((pause / 1000)).$(printf %03d $((pause % 1000)))"
    done
    served_somehow {1..10}
    is_free "$K"
}

@test "who is cut off when it is its turn comes back to its place, behind nobody who came later" {
    start_proxy
    take -t 10m "$K"
    stand 1 -u "$PROXY_URL"
    stand 2
    stand 3
    : >hold.2
    first=$(line_of "$K" | cut -d' ' -f1)
    kill -STOP "$PROXY_PID"
    cut_all
    until_true 20 all_listen "$K" 2
    gives 0 release --token "$TOKEN" "$K"
    until_true 10 was_served 2
    kill -CONT "$PROXY_PID"
    until_true 20 wait_for_it "$K" 2
    [ "$(line_of "$K" | cut -d' ' -f1)" = "$first" ]
    rm hold.2
    all_served 2 1 3
}

@test "the server forgets the scripts while some wait" {
    take -t 10m "$K"
    for label in 1 2 3; do stand "$label"; done
    cli script flush >/dev/null
    gives 0 release --token "$TOKEN" "$K"
    all_served 1 2 3
}

@test "one who listens to everything is not taken for those who wait" {
    setpriv --pdeathsig KILL "$SERVER_KIND-cli" -s "$SOCK" psubscribe '*' >told 2>&1 3>&- &
    until_true 10 has told psubscribe
    listen_in
    take -t 10m "$K"
    for label in 1 2 3 4; do stand "$label" -t 10m; done
    for label in 1 2; do
        kill -KILL "${WAITER[$label]}"
        wait "${WAITER[$label]}" || true
    done
    until_true 10 all_listen "$K" 2
    gives 0 release --token "$TOKEN" "$K"
    all_served 3 4
    [ "$(handed_on)" -le 2 ] # none of the dead was handed anything
    ! has told granted
}

# --- what it costs ---------------------------------------------------------------------------

# drain N: hands the lock through N waiters; sets $asked, the scripts that clients ran meanwhile,
# $worked, all commands that the server ran, and $took, in seconds.
drain() {
    K=$K-$1
    rm -f served
    take -t 10m "$K"
    for ((label = 1; label <= $1; label++)); do stand "$label" -v; done
    # shellcheck disable=SC2046 # words
    mark_all $(seq "$1")
    cli config resetstat >/dev/null
    took=$SECONDS
    gives 0 release --token "$TOKEN" "$K"
    # shellcheck disable=SC2046 # words
    all_served $(seq "$1")
    took=$((SECONDS - took + 1))
    asked=$(questions)
    worked=$(cli info commandstats | sed -n 's/.*:calls=\([0-9]*\),.*/\1/p' |
        awk '{ sum += $1 } END { print sum }')
}

@test "the commands for each hand-over are few, and no more when many wait" {
    drain 5
    asked_5=$asked worked_5=$worked
    drain 25
    echo "5 waiters: $asked_5 asked, $worked_5 worked; 25: $asked asked, $worked worked, $took s"
    # each is told once that the lock is his, confirms once, and was told once that he is first;
    # but after each second of that the lock rests, the first is told so, and takes it by himself
    granted=$(told 'the bell: granted' {1..25})
    [ "$granted" -le 25 ] && [ "$granted" -ge $((26 - took)) ]
    [ "$(told 'confirm: verdict 1' {1..25})" -le 25 ]
    [ "$(told 'the bell: first' {1..25})" -le $((25 + took)) ]
    # one to give back, one to confirm, one to look, one more if the confirmation takes longer than
    # the 5 ms after which who is first looks, and what each looks now and then
    ((asked <= 5 * 25 + 2 * took + 5))
    # and each question costs the server as much as when few wait
    ((worked * asked_5 <= 2 * worked_5 * asked))
}

@test "the last of a queue is handed the lock by the short script, as the others are" {
    drain 2
    echo "$took s"
    # the long one (ZPOPMIN) is that of an operator's release, the first, and of the last, whom
    # nobody waits for; after a second of hand-overs it may be others' as well
    long=$(cli info commandstats | sed -n 's/^cmdstat_zpopmin:calls=\([0-9]*\),.*/\1/p')
    ((long == 2 || took > 1))
}

@test "many who wait ask nothing, and sleep" {
    mapfile -t all < <(seq "$(rounds 12 30)")
    switches() {
        local label sum=0 n
        for label in "${all[@]}"; do
            n=$(sed -n 's/^voluntary_ctxt_switches:\t//p' "/proc/${WAITER[$label]}/status")
            sum=$((sum + n))
        done
        echo "$sum"
    }
    take -t 10m "$K"
    for label in "${all[@]}"; do stand "$label"; done
    until_quiet
    begun=${EPOCHREALTIME/./}
    before=$(switches)
    sleep 8
    after=$(switches)
    asked=$(questions)
    took=$(((${EPOCHREALTIME/./} - begun) / 1000))
    echo "$asked questions, $((after - before)) switches in $took ms"
    # under 3 commands and 6 switches a second for 30 of them, and for fewer
    ((asked * 1000 <= took * 3 && (after - before) * 1000 <= took * 6))
    gives 0 release --token "$TOKEN" "$K"
    all_served "${all[@]}"
}

@test "one who waits has little memory of its own" {
    ! ldd "$VLOCK_BIN" >/dev/null 2>&1 || skip 'not the static build'
    ! grep -qa __asan_init "$VLOCK_BIN" || skip 'a sanitizer needs more'
    take -t 10m "$K"
    for label in {1..5}; do stand "$label"; done
    pss=$(sed -n 's/^Pss: *\([0-9]*\) kB/\1/p' "/proc/${WAITER[3]}/smaps_rollup")
    echo "$pss KiB"
    [ "$pss" -lt 400 ]
}

# --- fences ----------------------------------------------------------------------------------

@test "fences grow from grant to grant, whatever the server has lost in between" {
    own_server
    foreign
    for label in {1..9}; do stand "$label"; done
    : >hold.1
    : >hold.3
    : >hold.5
    cli del "$K"
    until_true 10 was_served 1
    cli del "$(beside "$K" fence)"
    rm hold.1
    until_true 10 was_served 3
    cli pexpire "$K" 0 # and the run has lost it: with 1 it might hear of it, and renew it, in time
    until_true 10 was_served 5
    cli flushall
    for label in 1 2 4 6 7 8 9; do
        [ "$label" -lt 6 ] || rm -f hold.3 hold.5
        until_true 60 was_served "$label"
    done
    until_true 20 is_free "$K"
    cut -d' ' -f2 served | sort -C -n -u || { cat served && return 1; }
    stop_server
    start_again
    serve_later 10
    ends 0 "${WAITER[10]}"
    cut -d' ' -f2 served | sort -C -n -u || { cat served && return 1; }
}

# --- what is left behind ---------------------------------------------------------------------

@test "after everything was given back only fences are left" {
    own_server
    for K in a b '{c}d'; do
        take -t 10m "$K"
        for label in 1 2 3 4; do stand "$K-$label"; done
        gives_in_time 75 -q acquire -w 1s "$K"
        kill -KILL "${WAITER[$K-1]}" "${WAITER[$K-4]}"
        kill -TERM "${WAITER[$K-2]}"
        ends 143 "${WAITER[$K-2]}"
        gives 0 release --token "$TOKEN" "$K"
        ends 0 "${WAITER[$K-3]}"
        until_true 10 is_free "$K"
    done
    # the marks of those who gave up end by themselves
    for key in $(cli --raw keys '*:gone:*'); do
        left=$(pttl_of "$key")
        ((left > 0 && left <= 300000))
        cli del "$key"
    done
    cli --raw keys '*' | sort >left
    printf '%s\n' '{a}:vlock:fence' '{b}:vlock:fence' '{c}d:vlock2:fence' | diff - left
}

@test "a queue of the dead goes away by itself" {
    foreign
    for label in 1 2 3; do stand "$label"; done
    for key in queue waiters; do
        left=$(pttl_of "$(beside "$K" $key)")
        ((left > 0 && left <= 90000)) || { echo "$key: $left" && return 1; }
    done
    signal_both KILL 1 2 3
    until_true 10 eval '[ "$(listeners "$K")" = 0 ]'
    cli del "$K"
    gives 0 -q run -n "$K" -- true
    [ "$(cli --raw keys "*$K*" | grep -v ':gone:')" = "$(beside "$K" fence)" ]
}
