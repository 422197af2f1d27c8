#!/usr/bin/env bats
# vlock run: what CMD leaves behind is stopped before the lock is given back. On every store:
# supervise-tree@STORE.bats runs the same against STORE.
# bats file_tags=asan,same

load helpers
load queues
load trees

BATS_TEST_NAME_PREFIX="$(store_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() { start_store "$(store_of_this_file)"; }

# --- what CMD leaves behind ------------------------------------------------------------------

@test "all that CMD leaves behind is gone before the lock is given back" {
    grow -t 10m --kill-after 3s -- "${ALL_KINDS[@]}" # time for the polite one
    next_in_line
    touch family/end
    ends 5 "$FRONT"
    next_found_nothing
    nothing_left
    [ -e family/polite.term ]
}

@test "one line names what was left behind" {
    printf '#!/bin/sh\n: >there\nsleep 300\n' >stray
    chmod +x stray
    for command in './stray &' 'setsid ./stray & ./stray &' '(setsid ./stray &) &'; do
        rm -f there
        # one of them has its name when CMD ends
        supervised "$VLOCK_BIN" run -t 10m "$K" -- \
            sh -c "$command until [ -e there ]; do sleep 0.01; done; exit 5"
        ends 5 "$FRONT"
        cat err
        [ "$(wc -l <err)" -eq 1 ]
        has err "vlock: $K: "
        has err stray
        nothing_left
        is_free "$K"
    done
}

@test "a CMD that leaves nothing behind hears nothing" {
    for command in 'exit 5' 'sleep 0.01 & wait; exit 5' '(setsid true); exit 5'; do
        gives 5 run "$K" -- sh -c "$command"
        [ -z "$stderr" ]
        is_free "$K"
    done
}

@test "--leave-children lets it live, and says nothing" {
    grow -t 10m --leave-children -- plain session daemon ignorer
    touch family/end
    ends 5 "$FRONT"
    [ ! -s err ]
    is_free "$K"
    for kind in plain session nested daemon ignorer; do lives "$kind"; done
    fell
    until_true 20 nothing_left
}

@test "what is left behind has the time of --kill-after to end by itself" {
    cat >slow.py <<'PY'
import signal, sys, time
def stop(*_):
    time.sleep(0.5)
    open("done", "w").close()
    sys.exit()
signal.signal(signal.SIGTERM, stop)
open("there", "w").close()
time.sleep(300)
PY
    find_python
    supervised "$VLOCK_BIN" run -t 10m --kill-after 1m "$K" -- sh -c '"$1" slow.py &
        until [ -e there ]; do sleep 0.01; done; exit 5' sh "$PYTHON"
    ends 5 "$FRONT"
    [ -e done ]
    nothing_left
    is_free "$K"
}

@test "what starts anew whenever it is told to end is stopped too" {
    grow -t 10m --kill-after 3s -- hydra # time for a head
    next_in_line
    touch family/end
    ends 5 "$FRONT"
    next_found_nothing
    nothing_left
    [ -s family/hydra.heads ]
}

@test "many are stopped as one is" {
    supervised "$VLOCK_BIN" run -t 10m --kill-after 1s "$K" -- sh -c 'trap "" TERM
        for i in $(seq 100); do if [ $((i % 2)) = 0 ]; then sleep 300 & else setsid sleep 300 & fi
        done; exit 5'
    ends 5 "$FRONT"
    nothing_left
    is_free "$K"
}

@test "a CMD that a signal ends takes all with it, and its status is told" {
    for signal in TERM KILL; do
        grow -t 10m --kill-after 300ms -- "${ALL_KINDS[@]}"
        next_in_line
        kill -"$signal" "$(pid_of root)"
        ends $((128 + $(kill -l "$signal"))) "$FRONT"
        next_found_nothing
        nothing_left
    done
}

@test "a signal to vlock that ends CMD takes all with it" {
    grow -t 10m --kill-after 300ms -- "${ALL_KINDS[@]}"
    next_in_line
    kill -TERM "$FRONT"
    ends 143 "$FRONT"
    next_found_nothing
    nothing_left
}

@test "a vlock run inside another one is stopped like anything else, and its lock is given back" {
    grow_inner() {
        rm -rf family && mkdir family
        supervised "$VLOCK_BIN" run -t 10m --kill-after 1m "$K" -- sh -c \
            '"$VLOCK_BIN" run -t 10m --kill-after 300ms "$K-inner" -- \
                "$1" "$2" family session deaf &
            until [ -e family/ready ]; do sleep 0.01; done; exit 5' \
            sh "$PYTHON" "$TESTS/tools/tree.py"
    }
    find_python
    grow_inner
    ends 5 "$FRONT"
    nothing_left
    is_free "$K"
    is_free "$K-inner"
}

# --- and nobody else -------------------------------------------------------------------------

# what it gets is in `bystander.got`
write_bystander() {
    cat >bystander.py <<'PY'
import signal, time
def got(number, _):
    open("bystander.got", "a").write(f"{number}\n")
for number in set(range(1, 32)) - {9, 17, 19, 28}:
    signal.signal(number, got)
open("bystander.there", "w").close()
for _ in range(3000):
    time.sleep(0.1)
PY
    find_python
}

@test "nothing outside CMD's family is signalled: not vlock's group, nor what its parent left it" {
    write_bystander
    mkdir family
    # the bystander becomes a child of vlock, in its group, as it was one of the shell before it
    supervised bash -c '"$PYTHON" bystander.py 9>&- & echo $! >bystander.pid
        until [ -e bystander.there ]; do sleep 0.01; done
        exec "$VLOCK_BIN" run -t 10m --kill-after 300ms "$K" -- \
            "$PYTHON" "$TESTS/tools/tree.py" family session ignorer stopped deaf'
    until_true 30 test -e family/ready
    bystander=$(<bystander.pid)
    [ "$(ps -o ppid= -p "$bystander" | tr -d ' ')" = "$FRONT" ]
    touch family/end
    ends 5 "$FRONT"
    all_gone
    is_free "$K"
    kill -0 "$bystander"
    [ ! -e bystander.got ]
    kill -KILL "$bystander"
}

@test "nor does a lost lock or a limit signal anything outside the tree" {
    write_bystander
    for way in lost limit; do
        rm -rf family && mkdir family
        background bash -c '"$PYTHON" bystander.py & echo $! >bystander.pid
            until [ -e bystander.there ]; do sleep 0.01; done
            limit=1h
            [ "$1" = lost ] || limit=1500ms
            exec "$VLOCK_BIN" run -t 10m --kill-after 300ms --max-runtime "$limit" "$K" -- \
                "$PYTHON" "$TESTS/tools/tree.py" family session ignorer deaf' bash "$way"
        FRONT=$!
        until_true 30 test -e bystander.pid
        if [ "$way" = lost ]; then
            until_true 30 test -e family/ready
            gives 0 break --yes "$K"
            ends 79 "$FRONT"
        else
            ends 124 "$FRONT"
        fi
        all_gone
        kill -0 "$(<bystander.pid)"
        [ ! -e bystander.got ]
        kill -KILL "$(<bystander.pid)"
    done
}

# --- what cannot be stopped ------------------------------------------------------------------

# A user's vlock cannot signal what became root's: setpriv, made setuid, turns into that.
@test "what cannot be stopped keeps the lock from being given back: it lapses, and a line says so" {
    [ "$(id -u)" -eq 0 ] || skip 'only root can start what another cannot kill'
    cp "$(command -v setpriv)" rooted && chmod 4755 rooted
    chmod 777 .
    setpriv --reuid 65534 --clear-groups ./rooted --reuid 0 true || skip 'no setuid programs here'
    setpriv --reuid 65534 --clear-groups "$VLOCK_BIN" --version || skip 'vlock is not open to all'
    if ! on_server; then # not below the test's own directory, which is closed to them
        theirs=$(mktemp -d) && chown 65534 "$theirs"
        export VLOCK_URL=local:$theirs
    fi
    supervised setpriv --reuid 65534 --clear-groups "$VLOCK_BIN" run -t 2s --kill-after 200ms \
        "$K" -- sh -c './rooted --reuid 0 sleep 300 & echo $! >rooted.pid
            until [ "$(stat -c %u /proc/$!)" = 0 ]; do sleep 0.01; done; exit 5'
    until_true 30 test -s rooted.pid || { cat err && return 1; }
    until_true 60 is_over "$FRONT" || kill -KILL "$FRONT"
    status=0
    wait "$FRONT" || status=$?
    echo "status $status" && cat err
    kill -0 "$(<rooted.pid)" # it lives
    has err "$K"
    has err sleep
    [ "$status" -ne 0 ]
    # nobody renews it any more
    until_true 30 setpriv --reuid 65534 --clear-groups "$VLOCK_BIN" -q run -n "$K" -- true
    kill -KILL "$(<rooted.pid)"
    rm -rf "${theirs-}"
}
