#!/usr/bin/env bats
# Who waits is served in order, and gives its place up when it ends. Runs on every store, as
# contract.bats does.
# bats file_tags=long

load helpers
load queues

BATS_TEST_NAME_PREFIX="$(store_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() {
    export BATS_NO_PARALLELIZE_WITHIN_FILE=1
    start_store "$(store_of_this_file)"
}

# killed LABEL...: SIGKILL, and they are gone.
killed() {
    local label
    for label; do
        kill -KILL "${WAITER[$label]}"
        wait "${WAITER[$label]}" 2>/dev/null || true
    done
}

give_back() { gives 0 release --token "$TOKEN" "$K"; }

# --- order -----------------------------------------------------------------------------------

@test "many waiters are served in the order of their arrival" {
    mapfile -t all < <(seq "$(rounds 8 20)")
    take -t 10m "$K"
    for label in "${all[@]}"; do stand "$label"; done
    give_back
    all_served "${all[@]}"
    is_free "$K"
}

@test "20 waiters, some of them killed: the live are served in order, the dead delay nobody" {
    take -t 10m "$K"
    for i in {1..20}; do stand "$i" -t 10m; done
    killed 1 2 3 4 8 13 14 20
    ! on_server || until_true 10 all_listen "$K" 12 # their guards end after them
    ! on_server || listen_in
    give_back
    all_served 5 6 7 9 10 11 12 15 16 17 18 19
    # nobody had to wait until a dead one's claim was over (who finds the lock free, after a rest,
    # is not told of it)
    ! on_server || [ "$(handed_on)" -le 12 ]
    is_free "$K"
}

@test "killed in the middle of the line, or as holder: the next but one is served" {
    take -t 10m "$K"
    stand 1 -t 10m
    stand 2 -t 10m
    stand 3 -t 10m
    stand 4 -t 5s
    for n in 5 6 7 8; do stand "$n" -t 10m; done
    : >hold.1
    : >hold.4
    give_back
    until_true 10 was_served 1
    killed 2 3
    rm hold.1
    until_true 10 was_served 4
    killed 5 4 # the next in line, and the holder
    for n in 1 6 7 8; do ends 0 "${WAITER[$n]}"; done
    order_is 1 4 6 7 8
    rm hold.4
}

@test "who comes later does not overtake, whether it waits or not" {
    take -t 10m "$K"
    stand 1
    stand 2
    : >hold.1
    : >hold.2
    give_back
    until_true 10 was_served 1
    gives 75 acquire -n -t 60s "$K"
    stand 3
    rm hold.1
    until_true 10 was_served 2
    gives 75 acquire -n -t 60s "$K"
    rm hold.2
    all_served 1 2 3
}

@test "a lock that nobody holds any more goes to who waits first, not to who asks first" {
    lease_for 2
    gives 0 -q acquire -t ${LEASE_MS}ms "$K"
    stand 1
    stand 2
    stop_them 1 2
    until_true 10 is_free "$K"
    # shellcheck disable=SC2034 # for all_served
    FREED_MS=$(date +%s%3N)
    gives 75 acquire -n -t 10m "$K"
    go_on 1 2
    all_served 1 2
}

@test "who tries again and again without waiting never gets what others wait for" {
    take -t 10m "$K"
    for i in {1..10}; do stand "$i"; done
    background bash -c 'until [ -e stop ]; do
        "$VLOCK_BIN" -q run -n "$K" -- sh -c "echo barged 0 0 >>served" ||
            [ $? = 75 ] || exit; done'
    barger=$!
    give_back
    until_true 20 was_served 10
    touch stop
    ends 0 "$barger"
    # after the last one it may have it
    sed '/^10 /q' served | cut -d' ' -f1 | xargs >order
    [ "$(<order)" = '1 2 3 4 5 6 7 8 9 10' ]
}

@test "acquire waits in the same queue, and each fence is above the last" {
    gives 0 acquire -t 10m --token T0 --format json "$K"
    last=$(jq .fence <<<"$output")
    for n in 1 2 3 4; do
        setpriv --pdeathsig KILL "$VLOCK_BIN" acquire -w 10m -t 10m --token "T$n" \
            --format json "$K" >"out.$n" 2>"err.$n" 3>&- &
        pids[n]=$!
        until_true 10 wait_for_it "$K" "$n"
    done
    for n in 1 2 3 4; do # (not i: the runner uses that)
        gives 0 release --token "T$((n - 1))" "$K"
        ends 0 "${pids[n]}"
        held_by "$K" "T$n"
        ttl_between "$K" 500000 600000
        fence=$(jq .fence "out.$n")
        ((fence > last))
        last=$fence
    done
}

@test "a lock that never expires is handed over, and never expires then either" {
    take --ttl none "$K"
    background "$VLOCK_BIN" acquire --ttl none "$K"
    waiter=$!
    until_true 10 wait_for_it "$K" 1
    give_back
    ends 0 "$waiter"
    held_by "$K" "$(<out)"
    ttl_between "$K" -1 -1
}

@test "what was handed over has the TTL that its waiter asked for, short or long" {
    take -t 10m "$K"
    for ttl in 1h 20500ms; do
        background "$VLOCK_BIN" acquire -t $ttl "$K"
        waiter=$!
        until_true 10 wait_for_it "$K" 1
        give_back
        ends 0 "$waiter"
        TOKEN=$(<out)
        case $ttl in
        1h) ttl_between "$K" 3500000 3600000 ;;
        *) ttl_between "$K" 1 20500 ;;
        esac
    done
}

@test "a holder that vanishes costs its waiters its TTL and no more, and they keep their order" {
    lease_for 5
    gives 0 -q acquire -t ${LEASE_MS}ms "$K" # and nobody has the token
    for i in 1 2 3 4 5; do stand "$i" -t 10m; done
    all_served 1 2 3 4 5
}

# --- giving up -------------------------------------------------------------------------------

@test "-w that runs out gives the place up, and its successor gets the lock" {
    take -t 10m "$K"
    stand 1 -w 20s
    stand 2
    ends 75 "${WAITER[1]}"
    until_true 10 wait_for_it "$K" 1
    give_back
    all_served 2
}

@test "a signal ends a waiter with 128+N, takes it out of the queue, and its successor is served" {
    for signal in HUP INT TERM; do
        K=$K.$signal
        take -t 10m "$K"
        stand "$signal"
        stand "after-$signal"
        kill -$signal "${WAITER[$signal]}"
        ends $((128 + $(kill -l $signal))) "${WAITER[$signal]}"
        wait_for_it "$K" 1
        give_back
        ends 0 "${WAITER[after-$signal]}"
    done
    order_is after-HUP after-INT after-TERM
}

@test "a waiter whose stdout or stderr reader has gone is out of the queue" {
    mkfifo pipe
    take -t 10m "$K"
    for fd in 1 2; do
        if [ $fd = 1 ]; then
            setpriv --pdeathsig KILL "$VLOCK_BIN" acquire -t 60s "$K" >pipe 2>err 3>&- &
        else
            setpriv --pdeathsig KILL "$VLOCK_BIN" acquire -t 60s "$K" 2>pipe >out 3>&- &
        fi
        waiter=$!
        exec 7<pipe
        until_true 10 wait_for_it "$K" 1
        exec 7<&-
        until_true 10 is_over "$waiter"
        wait_for_it "$K" 0
    done
    give_back
    is_free "$K"
}

@test "an acquire that ended leaves no place behind, and a queue of nobody does not outlast it" {
    take -t 10m "$K"
    gives_in_time 75 acquire -w 1500ms -t 10m "$K"
    wait_for_it "$K" 0
    stand 1 -w 5m
    killed 1
    until_true 10 wait_for_it "$K" 0 # its guard ends after it
    give_back
    gives 0 acquire -n -t 60s --token last "$K"
    gives 0 release --token last "$K"
    wait_for_it "$K" 0
}

@test "-w is over when it says, also where the first answer takes all of it" {
    take -t 10m "$K"
    # the best of many: what else the machine does is not ours
    for _ in {1..200}; do
        start=$EPOCHREALTIME
        "$VLOCK_BIN" --version >/dev/null
        between=$EPOCHREALTIME
        status=0
        "$VLOCK_BIN" -q acquire -w 300ms "$K" || status=$?
        took=$(((${EPOCHREALTIME/./} - ${between/./}) / 1000))
        begun=$(((${between/./} - ${start/./}) / 1000))
        [ "$status" -eq 75 ] || [ "$status" -eq 69 ] # no answer within that time
        ((took >= 300)) || { echo "took $took ms" && return 1; }
        echo "took $took ms, to start took $begun ms"
        [ "$status" -eq 69 ] || ((took - begun > 350)) || return 0
    done
    return 1
}

# --- what is shown ---------------------------------------------------------------------------

# Each of the questions is sent when the time is over; the first has to do with whether there is a
# server at all. What comes after it has 25 ms, and a machine that takes longer is 69: then again,
# for another lock, as it may also have been too late to give its place up.
@test "-w that runs out under a question, and not for the server's sake, is busy: 75" {
    on_server || skip 'nothing is sent on the local store'
    strace -o /dev/null true || skip 'nothing can be traced here'
    for question in 2 3; do
        for try in {1..20}; do
            K=test.$question.$try
            take -t 10m "$K"
            observe strace -f -o calls -e trace=sendto \
                -e inject=sendto:delay_enter=800000:when=$question \
                "$VLOCK_BIN" run -w 400ms "$K" -- touch ran
            [ ! -e ran ]
            [ "$status" -eq 75 ] || [ "$status" -eq 69 ]
            [ "$status" -eq 69 ] || ! has calls DELAYED || break
        done
        [ "$status" -eq 75 ]
        has calls DELAYED
        says "$K: held by"
        wait_for_it "$K" 0
    done
}

@test "a waiter shows no token with -v, neither its own nor another's" {
    gives 0 acquire -t 60s --token the-holders-secret "$K"
    background "$VLOCK_BIN" -v acquire -t 60s --token the-waiters-secret "$K"
    waiter=$!
    until_true 10 wait_for_it "$K" 1
    gives 0 -v release --token the-holders-secret "$K"
    hides the-holders-secret the-waiters-secret
    ends 0 "$waiter"
    [ "$(<out)" = the-waiters-secret ]
    ! grep secret err || return 1
    stand 1 -v
    gives 0 -v release --token the-waiters-secret "$K"
    hides secret
    all_served 1
    ! grep vl1: err.1 || return 1
}

# --- waiters that are stopped ----------------------------------------------------------------

@test "a stopped waiter's turn passes, it starts nothing, and is served before those behind it" {
    for n in 1 2 3; do
        rm -f served
        take -t 10m "$K"
        stand 1
        stand 2
        stand 3
        : >hold.2
        stop_them 1
        freed=$(date +%s%3N)
        give_back
        until_true 20 was_served 2 # after 1's claim
        go_on 1
        was_served 3 || break
        # 2 was late for all of its own, the second in a row, which is half as long
        (($(granted_ms 3) - freed >= 2900))
        rm hold.2
        served_somehow 1 2 3
    done
    until_true 10 wait_for_it "$K" 2
    order_is 2
    rm hold.2
    all_served 2 1 3
}

@test "six that are stopped at the front: the next is served, at the latest when it looks by itself" {
    take -t 10m "$K"
    for label in {1..7}; do stand "$label"; done
    stop_them {1..6}
    give_back
    until_true 25 was_served 7
    go_on {1..6}
    served_somehow {1..7}
}

@test "a waiter that was stopped past its claim, and killed then, leaves no bell behind" {
    on_server && skip 'bells are of the local store'
    take -t 10m "$K"
    stand 1
    stand 2
    stop_them 1
    give_back
    until_true 20 was_served 2
    signal_both KILL 1
    wait "${WAITER[1]}" || :
    gives 0 run -n "$K" -- true
    bells=("${VLOCK_URL#local:}"/.bell-*)
    [ ! -e "${bells[0]}" ]
}
