#!/usr/bin/env bats
# vlock run: the two processes, and what one of them keeps for the other.

load helpers
load queues
load trees

setup_file() { start_store local; }

# The next one looks, as it gets the lock, whether the family is dead.
# bats test_tags=asan
@test "a guard that is killed while it is stopped past its lease frees no lock before its tree is dead" {
    for _ in 1 2 3; do
        grow -t 1s -- "${ALL_KINDS[@]}"
        guard=$(guard_of "$FRONT")
        until_true 30 shared_life "$FRONT"
        kill -STOP "$guard"
        until_true 30 lease_is_over "$K"
        next_in_line -t 10m
        is_held "$K"
        kill -KILL "$guard"
        next_found_nothing
        has_failed
    done
}

# The record's lease is over, and the lock is held all the same.
lease_is_over() { [ "$("$VLOCK_BIN" status --json -- "$1" | jq .ttl_ms)" -le 1 ]; }

# FRONT holds both ends of the socket in whose queue the guard's descriptor is.
shared_life() { [ "$(sockets_of "$1")" -ge 2 ]; }
sockets_of() { find "/proc/$1/fd" -lname 'socket:*' 2>/dev/null | wc -l; }

has_failed() {
    status=0
    wait "$FRONT" || status=$?
    [ "$status" -ne 0 ]
}

# What CMD or a hook inherited would hold the lock for as long as it lives.
# bats test_tags=asan
@test "neither CMD, nor what it starts, nor a hook has a descriptor of the lock" {
    cat >show.sh <<'IN'
ls -l /proc/$$/fd >"$1.new"
mv "$1.new" "$1"
IN
    supervised "$VLOCK_BIN" run -t 10m --on-lost "exec:sh show.sh hook" "$K" -- \
        sh -c 'sh show.sh cmd; setsid sh show.sh deep & sleep 300'
    until_true 30 test -e cmd || { cat err; plight "$FRONT"; return 1; }
    until_true 30 test -e deep
    ls -l "/proc/$(guard_of "$FRONT")/fd" | grep "locks/$K" # where there is something to inherit
    gives 0 break --yes "$K"
    ends 79 "$FRONT"
    until_true 30 test -e hook
    for who in cmd deep hook; do
        [ -s $who ]
        ! grep -e locks/ -e 'socket:' $who
    done
}

# bats test_tags=asan
@test "a variable of the environment makes no process a part of vlock" {
    for size in 64 9400 20000; do
        python - "$VLOCK_BIN" "$VLOCK_URL" "$K" $size <<'PY'
import os, struct, subprocess, sys, tempfile
vlock, url, key, size = sys.argv[1:4] + [int(sys.argv[4])]
victim = subprocess.Popen(["sleep", "300"])
file = tempfile.TemporaryFile()
pid = os.fork()
if pid == 0:
    text = bytearray(size)
    text[0:16] = b"vlock's front 1\0"
    struct.pack_into("Q", text, 16, size)
    struct.pack_into("ii", text, 24, os.getpid(), victim.pid)
    os.write(file.fileno(), bytes(text))
    os.set_inheritable(file.fileno(), True)
    os.environ["VLOCK_FRONT"] = str(file.fileno())
    os.execv(vlock, [vlock, "-q", "-u", url, "locked", key])
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
lives = victim.poll() is None
victim.kill()
sys.exit(0 if status == 1 and lives else f"status {status}, the other process lives: {lives}")
PY
    done
}

# A user's vlock cannot kill what became root's: setpriv, made setuid, turns into that.
leaves_something_stubborn() { # URL TTL
    rm -f stubborn.pid
    observe setpriv --reuid 54377 --regid 54377 --clear-groups \
        "$VLOCK_BIN" -u "$1" run -w 60s -t "$2" "$K" -- sh -c '
            ./rooted --reuid 0 --clear-groups setsid sleep 300 >/dev/null 2>&1 &
            echo $! >stubborn.pid
            until grep -qx sleep /proc/$!/comm; do sleep 0.05; done; exit 7'
}

@test "what cannot be killed is named, the lock is not released, and the status is CMD's" {
    [ "$(id -u)" = 0 ] || skip 'only root can make a setuid program'
    theirs=$(mktemp -d) && chmod 1777 "$theirs" && cd "$theirs"
    cp "$(command -v setpriv)" rooted && chmod 4755 rooted
    setpriv --reuid 54377 --clear-groups ./rooted --reuid 0 true || skip 'no setuid programs here'
    setpriv --reuid 54377 --clear-groups "$VLOCK_BIN" --version || skip 'vlock is not open to all'
    start_server valkey
    mkdir -m 1777 shared
    for url in "local:$PWD/shared" "redis://127.0.0.1:$PORT"; do
        for ttl in 5s 9s 10m; do
            leaves_something_stubborn "$url" $ttl
            [ "$status" -eq 7 ]
            says 'could not be stopped: sleep' 'not given back'
            hides 'guard'
            gives 75 -u "$url" acquire -n "$K"
            kill -KILL "$(<stubborn.pid)"
            gives 0 -u "$url" break --yes "$K"
        done
    done
    rm -rf "$theirs"
}

# bats test_tags=asan
@test "a dead process that a debugger does not let go is not waited for" {
    cat >seize.py <<'PY'
import ctypes, signal, sys
PTRACE_SEIZE = 0x4206
if ctypes.CDLL(None).ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, None) != 0:
    sys.exit(1)
open("seized", "w").close()
signal.pause()
PY
    find_python
    supervised "$VLOCK_BIN" run -t 10m "$K" -- sh -c 'sleep 300 & echo $! >left.new
        mv left.new left.pid; until [ -e end ]; do sleep 0.02; done; exit 5'
    until_true 30 test -e left.pid
    setpriv --pdeathsig KILL "$PYTHON" seize.py "$(<left.pid)" 3>&- &
    tracer=$!
    until_true 30 test -e seized || skip 'nothing can be traced here'
    touch end
    ends 5 "$FRONT"
    is_free "$K"
    kill -KILL "$tracer"
}
