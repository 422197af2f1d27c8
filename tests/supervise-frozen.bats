#!/usr/bin/env bats
# vlock run, whose server is frozen: when the lease ends, nothing of CMD runs any more. Measured
# against the instant at which the key ends by the server's own clock.
# bats file_tags=long

load helpers
load queues
load trees

BATS_TEST_NAME_PREFIX="$(server_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() {
    export BATS_NO_PARALLELIZE_WITHIN_FILE=1
    start_store "$(server_of_this_file)"
}

# Freezes the server, and first writes down when each key K-1 to K-$1 ends, in ms since 1970:
# between that and the freeze the server serves nobody.
freeze_and_tell() {
    local n
    {
        echo multi
        echo client pause 600000 all
        for ((n = 1; n <= $1; n++)); do echo "pexpiretime $K-$n"; done
        echo exec
    } | cli >told
    kill -STOP "$SERVER_PID"
    tail -n "$1" told >ends.new
    [ "$(grep -cE '^[0-9]{13}$' ends.new)" -eq "$1" ] || { cat told && return 1; }
    mv ends.new ends
}

# One on each processor: what a machine does that stands still for a while shows nothing.
start_bystanders() {
    local n
    BYSTANDERS=()
    for ((n = 0; n < $(nproc); n++)); do
        setpriv --pdeathsig KILL "$PYTHON" "$TESTS/tools/heartbeat.py" "bystander.$n" on "$n" 3>&- &
        BYSTANDERS+=($!)
        echo $! >"bystander.$n.pid"
    done
    for ((n = 0; n < $(nproc); n++)); do until_true 30 test -s "bystander.$n"; done
}

# in_time N: no heart of N commands has beaten after its key's end, unless the machine stood still for
# 50 ms now and then: then nothing is shown, as several processes have to wake in turn to stop them, and
# vlock leaves a twentieth of the lease for that.
in_time() {
    python - "$1" <<'PY'
import glob, os, sys
ends = [int(line) for line in open("ends")]
pause = max(float(open(name).read().split()[1]) for name in glob.glob("bystander.*[0-9]"))
for n in range(1, int(sys.argv[1]) + 1):
    for name in f"beat.{n}", f"beat.{n}.deaf":
        if os.path.exists(name):
            last = float(open(name).read().split()[0])
            print(f"{name}: {ends[n - 1] - last:.0f} ms before the end; pause {pause:.0f} ms")
            if last >= ends[n - 1] and pause < 50:
                sys.exit("it was too late")
PY
}

# begin N OPTION...: N commands under a lease of their own each, and a bystander on each processor;
# every other command does not listen. Returns when all of them run. Their ids are in FRONTS, those
# of their guards in GUARDS: who looks for a guard later may find that it has ended.
begin() {
    local count=$1 n kind=plain
    shift
    find_python
    start_server "$SERVER_KIND" # one that was paused is of no use any more
    rm -f beat.* bystander.*
    FRONTS=() GUARDS=()
    for ((n = 1; n <= count; n++)); do
        kind=$([ "$kind" = plain ] && echo deaf || echo plain)
        mkdir -p "of.$n"
        ALIVE=alive.$n supervised "$VLOCK_BIN" -u "redis://127.0.0.1:$PORT" run \
            -t "$((8000 + 97 * n % 600))ms" "$@" "$K-$n" -- \
            "$PYTHON" "$TESTS/tools/heartbeat.py" "beat.$n" $kind
        mv err "of.$n/err" # it goes on writing to it
        FRONTS+=("$FRONT")
        sleep 0.02 # their renewals are not to fall into one
    done
    for ((n = 1; n <= count; n++)); do until_true 30 test -s "beat.$n"; done
    for n in "${FRONTS[@]}"; do GUARDS+=("$(guard_of "$n")"); done
    start_bystanders
}

# all_end_in_time: status 79, nothing is left, and no heart has beaten for too long.
all_end_in_time() {
    local n
    for n in "${FRONTS[@]}"; do ends 79 "$n"; done
    for ((n = 1; n <= ${#FRONTS[@]}; n++)); do ALIVE=alive.$n nothing_left; done
    kill -KILL "${BYSTANDERS[@]}"
    kill -CONT "$SERVER_PID"
    stop_server
    in_time "${#FRONTS[@]}"
}

# round N OPTION...: N commands at once; the server is frozen, and all of them are stopped before
# their lease ends.
round() {
    begin "$@"
    freeze_and_tell "$1"
    all_end_in_time
}

@test "a server frozen past the lease: nothing of CMD is left when the lease ends, of many" {
    for ((n = $(rounds 1 5); n > 0; n--)); do round "$(rounds 5 10)"; done
}

@test "a server frozen past the lease, with a --kill-after of one's own" {
    round 3 --kill-after 2s
}

@test "a server frozen past the lease, with hardly any --kill-after" {
    round 3 --kill-after 1ms
}

@test "guards that are stopped past the lease: nothing of CMD is left when the lease ends, of many" {
    many=$(rounds 5 10)
    begin "$many"
    kill -STOP "${GUARDS[@]}"
    for n in "${GUARDS[@]}"; do until_true 30 state_is "$n" T; done
    for ((n = 1; n <= many; n++)); do echo "pexpiretime $K-$n"; done | cli >ends # nobody renews it any more
    [ "$(grep -cE '^[0-9]{13}$' ends)" -eq "$many" ] || { cat ends && return 1; }
    all_end_in_time
}

# is_stopping N: vlock has begun to stop the Nth command, or is done with it.
is_stopping() { grep -q 'stopping the command' "of.$1/err" || is_over "${GUARDS[$1 - 1]}"; }

@test "a server frozen past the lease, and guards that are stopped while CMD has its grace" {
    begin 5 --kill-after 2s
    freeze_and_tell 5
    for n in {1..5}; do
        until_true 30 is_stopping "$n"
        kill -STOP "${GUARDS[n - 1]}" || : # it has done it all, on a slow machine
    done
    all_end_in_time
}

@test "a server frozen past the lease, and a log on a disk that hangs: CMD is stopped in time" {
    strace -o /dev/null true || skip 'nothing can be traced here'
    find_python
    start_server "$SERVER_KIND"
    supervised "$VLOCK_BIN" -u "redis://127.0.0.1:$PORT" run -t 8s "$K-1" -- \
        sh -c 'echo $$ >cmd.pid; exec "$@"' sh "$PYTHON" "$TESTS/tools/heartbeat.py" beat.1 deaf
    until_true 30 test -s beat.1
    guard=$(guard_of "$FRONT")
    # what is written to the log takes a minute
    strace -o calls -P "$PWD/err" -e trace=write -e inject=write:delay_enter=60000000 \
        -p "$guard" -p "$FRONT" 2>/dev/null 3>&- &
    tracer=$!
    until_true 30 is_traced "$guard"
    until_true 30 is_traced "$FRONT"
    start_bystanders
    freeze_and_tell 1
    until_true 30 is_over "$(<cmd.pid)"
    kill -KILL "$tracer" "${BYSTANDERS[@]}"
    ends 79 "$FRONT"
    has err 'stopping the command'
    in_time 1
    kill -CONT "$SERVER_PID"
    stop_server
}

@test "a server frozen for less than the lease: nobody notices" {
    start_server "$SERVER_KIND"
    export VLOCK_URL=redis://127.0.0.1:$PORT
    pids=()
    for n in 1 2 3; do
        rm -f there
        setpriv --pdeathsig KILL "$VLOCK_BIN" run -t 20s "$K-$n" -- \
            sh -c ': >there; until [ -e end ]; do sleep 0.1; done; exit 5' \
            >"out.$n" 2>"err.$n" 3>&- &
        pids+=($!)
        until_true 30 test -e there
    done
    kill -STOP "$SERVER_PID"
    began=$SECONDS
    until ((SECONDS - began > 7)); do sleep 0.1; done # renewals have been asked for meanwhile
    kill -CONT "$SERVER_PID"
    for n in 1 2 3; do until_true 30 renewed "$K-$n"; done
    touch end
    for pid in "${pids[@]}"; do ends 5 "$pid"; done
    for n in 1 2 3; do
        [ ! -s "err.$n" ]
        is_free "$K-$n"
    done
}

# renewed KEY: its lease was renewed after all
renewed() { (($(cli pttl "$1") > 14500)); }

@test "a server frozen past the lease, and thawed: the next one has the lock, and CMD is gone" {
    start_server "$SERVER_KIND"
    export VLOCK_URL=redis://127.0.0.1:$PORT
    grow -t 9s -- "${ALL_KINDS[@]}"
    next_in_line
    kill -STOP "$SERVER_PID"
    ends 79 "$FRONT"
    nothing_left
    [ -s err ]
    kill -CONT "$SERVER_PID"
    next_found_nothing
}

@test "SIGKILL of vlock while the server is frozen: CMD's family dies at once" {
    start_server "$SERVER_KIND"
    export VLOCK_URL=redis://127.0.0.1:$PORT
    grow -t 10m -- session deaf stopped
    kill -STOP "$SERVER_PID"
    kill -KILL "$FRONT"
    until_true 30 all_gone
    kill -CONT "$SERVER_PID"
    until_true 30 nothing_left
}
