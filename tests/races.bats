#!/usr/bin/env bats
# What happens at the same instant as something else, brought about on purpose and often; and those
# who wait in unequal company. On a server; races@redis.bats is a link to this file.
# bats file_tags=long

load helpers
load queues

BATS_TEST_NAME_PREFIX="$(server_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() {
    export BATS_NO_PARALLELIZE_WITHIN_FILE=1
    start_store "$(server_of_this_file)"
}

# for_a_while MS: sleeps
for_a_while() { sleep "$(printf '0.%03d' "$1")"; }

# nothing_left: nobody holds $K and nobody waits for it
nothing_left() { is_free "$K" && [ "$(waiting "$K")" = 0 ]; }

# --- a grant at the same instant -------------------------------------------------------------

# here_or_over PID: this one waits for $K, or has ended already.
here_or_over() { wait_for_it "$K" 1 || is_over "$1"; }

# answers_or_leaves STATUS PID: an acquire that was granted the lock in the instant in which it was
# to end has it (0, and says so), or has left nothing (STATUS; 69, where -w was over before it had
# an answer at all).
answers_or_leaves() {
    status=0
    until_true 30 is_over "$2" || kill -KILL "$2"
    wait "$2" || status=$?
    case $status in
    0)
        held_by "$K" "$(<out)"
        gives 0 release --token "$(<out)" "$K"
        had=$((had + 1))
        ;;
    "$1" | 69)
        [ "$status" -eq "$1" ] || [ "$1" -eq 75 ]
        [ ! -s out ]
        had_not=$((had_not + 1))
        ;;
    *)
        echo "status $status" && cat err
        return 1
        ;;
    esac
    nothing_left
}

@test "a release while -w runs out: the lock is the waiter's, or free" {
    had=0 had_not=0 times=$(rounds 8 25)
    for ((n = 0; n < times; n++)); do
        take -t 10m "$K"
        background "$VLOCK_BIN" -q acquire -w 200ms -t 10m "$K"
        waiter=$!
        until_true 10 here_or_over "$waiter"
        for_a_while $((150 + n * 50 / times))
        "$VLOCK_BIN" release --token "$TOKEN" "$K"
        answers_or_leaves 75 "$waiter"
    done
    echo "had it $had times, had it not $had_not times"
}

@test "a release and SIGTERM at once: the lock is the waiter's, or free" {
    had=0 had_not=0 times=$(rounds 12 60)
    for ((n = 0; n < times; n++)); do
        take -t 10m "$K"
        background "$VLOCK_BIN" -q acquire -t 10m "$K"
        waiter=$!
        until_true 10 wait_for_it "$K" 1
        "$VLOCK_BIN" release --token "$TOKEN" "$K" 3>&- &
        releaser=$!
        for_a_while $((n * 10 / times))
        kill -TERM "$waiter" 2>/dev/null || true
        wait "$releaser"
        answers_or_leaves 143 "$waiter"
    done
    echo "had it $had times, had it not $had_not times"
}

@test "a release and SIGTERM to the first at once: the second gets it" {
    times=$(rounds 8 40)
    for ((n = 0; n < times; n++)); do
        rm -f served
        take -t 10m "$K"
        stand 1
        stand 2
        "$VLOCK_BIN" release --token "$TOKEN" "$K" 3>&- &
        releaser=$!
        for_a_while $((n * 10 / times))
        kill -TERM "${WAITER[1]}" 2>/dev/null || true
        wait "$releaser"
        ends 0 "${WAITER[2]}"
        wait "${WAITER[1]}" || [ $? = 143 ]
        case $(cut -d' ' -f1 served | xargs) in '1 2' | 2) ;; *) cat served && return 1 ;; esac
        nothing_left
    done
}

@test "SIGKILL to the first at the instant of its grant: the second gets it" {
    times=$(rounds 6 20)
    for ((n = 0; n < times; n++)); do
        rm -f served
        take -t 10m "$K"
        stand 1 -t 500ms
        stand 2
        "$VLOCK_BIN" release --token "$TOKEN" "$K" 3>&- &
        releaser=$!
        for_a_while $((n * 7 / times))
        kill -KILL "${WAITER[1]}" 2>/dev/null || true
        wait "$releaser"
        ends 0 "${WAITER[2]}"
        wait "${WAITER[1]}" 2>/dev/null || true
        was_served 2
        nothing_left
    done
}

@test "granted, and never told: -w runs out, nothing is run, and the lock goes to the next" {
    start_proxy
    for n in 1 2 3; do
        rm -f served
        take -t 10m "$K"
        stand 1 -u "$PROXY_URL" -w 8s
        stand 2
        kill -STOP "$PROXY_PID"
        gives 0 release --token "$TOKEN" "$K"
        held=$(value_of "$K")
        [ -n "$held" ] || was_served 2 # by the first, who does not know; or its claim is over
        until_true 30 is_over "${WAITER[1]}"
        status=0
        wait "${WAITER[1]}" || status=$?
        case $status in 69 | 75) ;; *) return 1 ;; esac
        [ $n -lt 3 ] || kill -CONT "$PROXY_PID" # its withdrawal, late or never
        all_served 2
        kill -CONT "$PROXY_PID"
        nothing_left
    done
}

@test "granted, told late: -w has run out meanwhile, and the answer is one of the two" {
    start_proxy
    for n in 0 2 4 6 8; do
        rule "delay $((40 + 10 * n))"
        take -t 10m "$K"
        background "$VLOCK_BIN" -q -u "$PROXY_URL" acquire -w 1s -t 10m "$K"
        waiter=$!
        until_true 10 here_or_over "$waiter"
        sleep 0.6
        "$VLOCK_BIN" release --token "$TOKEN" "$K"
        until_true 30 is_over "$waiter"
        status=0
        wait "$waiter" || status=$?
        if [ "$status" -eq 0 ]; then
            gives 0 release --token "$(<out)" "$K"
        else
            case $status in 69 | 75) ;; *) return 1 ;; esac
        fi
        # what it could not take back in time is a claim
        until_true 5 is_free "$K"
        wait_for_it "$K" 0
    done
}

# --- stopped ---------------------------------------------------------------------------------

@test "two that are stopped past their claims start nothing, and come back to their places" {
    for n in 1 2 3; do
        rm -f served
        take -t 10m "$K"
        for label in 1 2 3 4; do stand "$label" -t 10m; done
        : >hold.3
        stop_them 1 2
        freed=$(date +%s%3N)
        gives 0 release --token "$TOKEN" "$K"
        until_true 60 was_served 3
        go_on 2
        go_on 1
        was_served 4 || break
        # 3 was late for all of its own claim, the third in a row, which is a quarter of the first
        (($(granted_ms 4) - freed >= 3400))
        rm hold.3
        served_somehow 1 2 3 4
    done
    until_true 10 wait_for_it "$K" 3
    order_is 3
    rm hold.3
    all_served 3 1 2 4
}

@test "a waiter that is stopped past its claim starts only after another grant" {
    for n in 1 2 3; do
        rm -f served
        take -t 10m "$K"
        stand 1 -t 10m
        stop_them 1
        gives 0 release --token "$TOKEN" "$K"
        until_true 10 is_free "$K"
        take -n -t 10m "$K"
        go_on 1
        until_true 10 wait_for_it "$K" 1
        [ ! -e served ]
        gives 0 release --token "$TOKEN" "$K"
        all_served 1
    done
}

@test "the lock is taken from a waiter between its grant and its confirmation: it starts nothing" {
    for n in 1 2 3; do
        rm -f served
        take -t 10m "$K"
        stand 1
        stop_them 1
        gives 0 release --token "$TOKEN" "$K"
        cli set "$K" foreign >/dev/null
        go_on 1
        until_true 10 wait_for_it "$K" 1
        [ ! -e served ]
        cli del "$K"
        all_served 1
    done
}

@test "who only publishes starts nothing, whatever he says" {
    take -t 10m "$K"
    stand 1 -v
    id=$(line_of "$K")
    bell=vlock:bell:$(bell_of "$K")
    [ "$(listeners "$K")" = 1 ]
    for text in "granted $id" "first $id 0" "first $id 1"; do
        count=$(grep -c '> EVALSHA acquire' err.1)
        [ "$(cli spublish "$bell" "$text")" = 1 ]
        until_true 10 eval '[ "$(grep -c "> EVALSHA acquire" err.1)" -gt $count ]' ||
            { echo "after: $text" && cat err.1 && return 1; }
    done
    # what says nothing costs no question
    until_true 10 is_at_rest err.1
    count=$(grep -c '> EVALSHA acquire' err.1)
    for text in granted 'granted ' "granted ${id}0" "granted ${id:1}" "granted$id" "granted $id " \
        "granted 00000000000000000000000000000000" "granted $id 1 2000 $id" \
        "first $id" "first $id " "first $id x" "first $id -1" "first 5" "near $id 1" \
        "near $id 3 500" "near $id 1 99999999999999999999999" "come $K-other" "come $K " come \
        "$(printf %0500d 1)" '' "granted $(printf '%02000d' 1)"; do
        [ "$(cli spublish "$bell" "$text")" = 1 ]
    done
    [ "$(cli spublish vlock:come:0 "come $K-other")" = 1 ]
    [ "$(cli spublish vlock:come:0 "come")" = 1 ]
    [ "$(cli spublish "$bell" "near $id 2 600000")" = 1 ]
    until_true 10 has err.1 "< the bell: near $id 2"
    [ "$(grep -c '> EVALSHA acquire' err.1)" = "$count" ]
    [ "$(cli spublish vlock:come:0 "come $K")" = 1 ]
    until_true 10 eval '[ "$(grep -c "> EVALSHA acquire" err.1)" -gt $count ]'
    [ ! -e served ]
    gives 0 release --token "$TOKEN" "$K"
    all_served 1
}
# is_at_rest FILE: the last that it has said is an answer, for a while.
is_at_rest() {
    local before
    before=$(wc -l <"$1")
    sleep 0.5
    [ "$(wc -l <"$1")" = "$before" ]
}

# has_looked FILE: the first who waits with -v has looked with tracking, and asks no more.
has_looked() { [ "$(grep -c '< acquire: verdict' "$1")" -ge 3 ]; }

@test "a release that the server refuses hands nothing over, and nobody is told so" {
    for label in 1 2; do
        rm -f served
        : >hold.0
        serve_later 0 -t 6s
        until_true 10 was_served 0
        for ((other = 1; other <= label; other++)); do stand $other -v; done
        mark_all 1
        cli config set min-replicas-to-write 1 >/dev/null
        rm hold.0
        ends 0 "${WAITER[0]}"
        cli config set min-replicas-to-write 0 >/dev/null
        has err.0 'could not be given back'
        [ "$(cut -d' ' -f1 served)" = 0 ]
        [ "$(waiting "$K")" = $label ]
        # shellcheck disable=SC2046 # words
        all_served 0 $(seq $label)
    done
}

# --- the server is frozen --------------------------------------------------------------------

@test "an acquire that came and went while the server was frozen leaves neither lock nor place" {
    own_server
    gives 0 -q run "$K-warm" true
    for n in {0..5}; do
        [ $((n % 2)) = 0 ] || foreign_holds
        kill -STOP "$SERVER_PID"
        bound=300ms
        [ $((n % 3)) = 0 ] || bound=1m # so that it is there when SIGTERM comes
        background "$VLOCK_BIN" -q acquire -w $bound -t 60s "$K"
        waiter=$!
        [ $((n % 3)) = 0 ] || { until_true 10 sits_waiting "$waiter" && kill -TERM "$waiter"; }
        until_true 30 is_over "$waiter"
        kill -CONT "$SERVER_PID"
        cli ping
        [ $((n % 2)) = 0 ] || cli del "$K"
        nothing_left
        gives 0 -q run -n "$K" -- true
    done
}
foreign_holds() { cli set "$K" foreign px 600000 >/dev/null; }

@test "the server freezes at any instant of a wait that ends: no place is left that delays" {
    own_server
    times=$(rounds 7 20)
    for ((n = 0; n < times; n++)); do
        foreign_holds
        background "$VLOCK_BIN" -q acquire -w 250ms -t 10m "$K"
        waiter=$!
        for_a_while $((n * 60 / times))
        kill -STOP "$SERVER_PID"
        until_true 30 is_over "$waiter"
        kill -CONT "$SERVER_PID"
        cli del "$K" >/dev/null
        until_true 10 nothing_left
        gives 0 -q run -n "$K" -- true
    done
}

@test "a waiter's question that arrives after it has gone leaves no place behind" {
    start_proxy
    gives 0 -q run "$K-warm" true # the scripts are cached
    foreign_holds
    for _ in 1 2 3 4 5; do
        rule none
        vlock -q -u "$PROXY_URL" acquire -w 2s "$K"
        [ "$status" -eq 69 ] || break # else it had no answer at all
    done
    [ "$status" -eq 75 ]
    joins=$(grep '^[0-9]' "$PROXY/log" | grep -n EVALSHA | sed -n '2s/:.*//p')
    for _ in 1 2 3 4 5; do
        rule "late $joins"
        vlock -q -u "$PROXY_URL" --reply-timeout 200ms acquire -w 600ms "$K"
        case $status in 69 | 75) ;; *) return 1 ;; esac
        ! has "$PROXY/log" fired || break # else it had no answer to its first question
    done
    touch "$PROXY/go"
    until_true 10 has "$PROXY/log" 'late request was executed'
    [ "$(waiting "$K")" = 0 ]
    cli del "$K"
    gives 0 -q run -n "$K" -- true
}

# Who asks meanwhile and has no answer within --reply-timeout comes back over another connection, and
# may find that the lock has gone to one behind it.
@test "the server freezes while five wait, and thaws: all are served, those who were patient in order" {
    own_server
    for patience in 4s 5m; do
        rm -f served
        take -t 10m "$K"
        for label in 1 2 3 4 5; do stand "$label" --reply-timeout $patience; done
        kill -STOP "$SERVER_PID"
        "$VLOCK_BIN" release --reply-timeout 60s --token "$TOKEN" "$K" 3>&- &
        releaser=$!
        sleep 5
        kill -CONT "$SERVER_PID"
        wait "$releaser"
        served_somehow 1 2 3 4 5
        [ $patience = 4s ] || order_is 1 2 3 4 5
    done
}

# --- killed together -------------------------------------------------------------------------

@test "holder and first waiter are killed together, with or without their guards: the next is served" {
    for n in 1 2 3 4; do
        rm -f served hold.0
        : >hold.0
        serve_later 0 -t 8s
        until_true 10 was_served 0
        for label in 1 2 3; do stand "$label" -t 10m; done
        if [ $((n % 2)) = 0 ]; then
            signal_both KILL 1 0
        else
            kill -KILL "${WAITER[1]}" "${WAITER[0]}"
        fi
        ends 0 "${WAITER[2]}"
        ends 0 "${WAITER[3]}"
        # The guard that lives may hear that it is its turn before it hears of the death.
        [ $((n % 2)) = 0 ] || sed -i '/^1 /d' served
        order_is 0 2 3
        rm hold.0
        nothing_left
    done
}

# --- the same name, and not the same lock ----------------------------------------------------

@test "job and {job} side by side share nothing" {
    for name in "$K" "{$K}"; do
        gives 0 acquire --token T -t 10m "$name"
    done
    plain=$K
    for label in 1 2 3; do
        K=$plain stand "plain-$label"
        K={$plain} stand "braced-$label"
    done
    [ "$(waiting "$plain")" = 3 ]
    [ "$(waiting "{$plain}")" = 3 ]
    gives 0 release --token T "{$plain}"
    for label in 1 2 3; do ends 0 "${WAITER[braced-$label]}"; done
    order_is braced-1 braced-2 braced-3
    [ "$(waiting "$plain")" = 3 ]
    held_by "$plain" T
    gives 0 release --token T "$plain"
    for label in 1 2 3; do ends 0 "${WAITER[plain-$label]}"; done
    [ "$(cut -d' ' -f1 served | xargs)" = 'braced-1 braced-2 braced-3 plain-1 plain-2 plain-3' ]
}

@test "one NAME in two databases is two locks, and each wakes its own" {
    in_db() {
        local db=$1
        shift
        VLOCK_URL=$STORE_URL/$db "$@"
    }
    waiting() { cli -n "${VLOCK_URL##*/}" zcard "$(beside "$1" queue)"; }
    for db in 1 2; do in_db $db gives 0 acquire --token T -t 10m "$K"; done
    for label in 1 2 3; do
        in_db 1 stand "one-$label"
        in_db 2 stand "two-$label"
    done
    in_db 2 gives 0 release --token T "$K"
    for label in 1 2 3; do ends 0 "${WAITER[two-$label]}"; done
    order_is two-1 two-2 two-3
    # and a foreign hand in one of them
    in_db 2 gives 0 acquire --token T -t 10m "$K"
    for label in 4 5; do in_db 2 stand "two-$label"; done
    cli -n 1 del "$K" >/dev/null
    for label in 1 2 3; do ends 0 "${WAITER[one-$label]}"; done
    order_is two-1 two-2 two-3 one-1 one-2 one-3
    [ "$(cli -n 2 get "$K")" = T ]
    cli -n 2 del "$K" >/dev/null
    for label in 4 5; do ends 0 "${WAITER[two-$label]}"; done
    order_is two-1 two-2 two-3 one-1 one-2 one-3 two-4 two-5
}

# --- servers and users that lack something ---------------------------------------------------

# lacks RULE...: a user to whom this is forbidden waits with -v, alone, and says that it asks again
# and again; then beside others that lack nothing, and everybody is served.
lacks() {
    own_server
    cli acl setuser weak on '>weak' '~*' '&*' +@all "$@" >/dev/null
    weak=redis://weak:weak@127.0.0.1:$PORT
    foreign_holds
    serve_later alone -v -u "$weak"
    until_true 20 has err.alone 'again and again'
    cli del "$K" >/dev/null
    all_served alone
    rm served
    take -t 10m "$K"
    stand 1
    stand 2 -u "$weak"
    stand 3
    stand 4 -u "$weak"
    stand 5
    gives 0 release --token "$TOKEN" "$K"
    for label in 1 2 3 4 5; do
        until_true 60 is_over "${WAITER[$label]}"
        ends 0 "${WAITER[$label]}"
    done
    all=$(cut -d' ' -f1 served | sort | xargs)
    [ "$all" = '1 2 3 4 5' ]
    cut -d' ' -f1 served | xargs
    cut -d' ' -f2 served | sort -C -n -u
    nothing_left
}

@test "a user without channels is served, and says that it polls" { lacks resetchannels; }

@test "a user without pub/sub is served, and says that it polls" { lacks -@pubsub; }

@test "a user without SSUBSCRIBE is served, and says that it polls" { lacks -ssubscribe; }

@test "a user without CLIENT TRACKING is served, and says that it polls" {
    lacks '-client|tracking'
}

@test "a user without CLIENT at all is served, and says that it polls" { lacks -client; }

@test "those who poll keep their places among those who do not" {
    own_server
    cli acl setuser weak on '>weak' '~*' resetchannels +@all >/dev/null
    for n in 1 2 3; do # who asks too late is taken for dead, and comes back
        rm -f served
        take -t 10m "$K"
        for label in 1 3 5 7; do
            stand $label
            stand $((label + 1)) -u "redis://weak:weak@127.0.0.1:$PORT"
        done
        gives 0 release --token "$TOKEN" "$K"
        served_somehow {1..8}
        order_is {1..8} && break
    done
    order_is {1..8}
}

@test "a server without RESP3 serves all, in order, by polling, and -v says so" {
    [ "$SERVER_KIND" = redis ] || start_server redis --rename-command HELLO ''
    [ "$SERVER_KIND" != redis ] || own_server --rename-command HELLO ''
    export VLOCK_URL=redis://127.0.0.1:$PORT
    for n in 1 2 3; do # who asks too late is taken for dead, and comes back
        rm -f served
        take -t 10m "$K"
        for label in 1 2 3 4 5; do stand $label -v; done
        kill -KILL "${WAITER[2]}"
        gives 0 release --token "$TOKEN" "$K"
        served_somehow 1 3 4 5
        nothing_left
        order_is 1 3 4 5 && break
    done
    order_is 1 3 4 5
    take -t 10m "$K"
    stand 6
    cli del "$K" # a foreign hand
    ends 0 "${WAITER[6]}"
    has err.1 'again and again'
}

# --- in mixed company ------------------------------------------------------------------------

@test "4 redis-py and 4 vlock clients increment: none is lost, nobody starves" {
    export TIMES
    TIMES=$(rounds 15 50)
    echo 0 >counter
    cat >increment.py <<'PY'
import os, sys, redis
r = redis.Redis(unix_socket_path=sys.argv[1])
for i in range(int(os.environ["TIMES"])):
    with r.lock(sys.argv[2], timeout=600, sleep=0.005):
        n = int(open("counter").read())
        open("counter", "w").write(f"{n + 1}\n")
PY
    echo 'read -r n <counter; echo $((n + 1)) >counter' >increment.sh
    find_python
    pids=()
    for n in 1 2 3 4; do
        background "$PYTHON" increment.py "$SOCK" "$K"
        pids+=($!)
        background bash -c 'for ((i = 0; i < TIMES; i++)); do
            "$VLOCK_BIN" run "$K" sh increment.sh || exit; done'
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        until_true 100 is_over "$pid"
        ends 0 "$pid"
    done
    [ "$(<counter)" = $((8 * TIMES)) ] || { cat counter && return 1; }
}

@test "redis-py gets the lock while vlocks always wait for it, and they get it back" {
    for n in 1 2 3 4 5 6; do
        background bash -c 'until [ -e stop ]; do
            "$VLOCK_BIN" run "$K" -- sh -c "echo >>turns; sleep 0.02"; done'
        pids[n]=$!
    done
    until_true 10 test -e turns
    cat >patient.py <<'PY'
import os, sys, time, redis
it = redis.Redis(unix_socket_path=sys.argv[1]).lock(sys.argv[2], timeout=600)
for i in range(3):
    before = os.path.getsize("turns")
    assert it.acquire(blocking_timeout=150), "starved"
    now = os.path.getsize("turns")
    time.sleep(0.2)
    assert os.path.getsize("turns") == now, "not alone"
    it.release()
    while os.path.getsize("turns") == now:
        time.sleep(0.01)
PY
    python patient.py "$SOCK" "$K"
    touch stop
    for n in 1 2 3 4 5 6; do ends 0 "${pids[n]}"; done
}
