#!/usr/bin/env bats
# A lock of vlock and a redis-py Lock of the same name are one lock: the real redis-py, both ways.

load helpers

setup_file() {
    start_store valkey
    # py CODE...: Python with `r`, a client, and `lock(name, ...)`, a redis-py Lock
    cat >"$BATS_FILE_TMPDIR/prelude.py" <<'PY'
import sys, redis
from redis.lock import Lock
from redis.exceptions import LockError, LockNotOwnedError
sock, name = sys.argv[1:3]
r = redis.Redis(unix_socket_path=sock)
def lock(**options):
    return r.lock(name, **options)
def handed(token, **options):
    it = lock(**options)
    it.local.token = token.encode()
    return it
def raises(kind, what, *args):
    try:
        what(*args)
    except kind:
        return True
    return False
PY
}

py() {
    { cat "$BATS_FILE_TMPDIR/prelude.py"; printf '%s\n' "$1"; } >py.py
    shift
    python py.py "$SOCK" "$K" "$@"
}

@test "a lock taken by redis-py is busy and locked for vlock, and named as foreign" {
    token=$(py 'it = lock(timeout=60); assert it.acquire(); print(it.local.token.decode())')
    gives 75 acquire -n "$K"
    hides "$token"
    says "${token:0:4}"
    gives 0 locked "$K"
    gives 1 owned --token x "$K"
    gives 79 release --token x "$K"
    [ "$(value_of "$K")" = "$token" ]
}

@test "a lock taken by vlock is busy, locked and not owned for redis-py" {
    take -t 60s "$K"
    py 'it = lock(timeout=60)
assert not it.acquire(blocking=False)
assert it.locked() and not it.owned()
assert raises(LockError, it.release)'
    held_by "$K" "$TOKEN"
}

@test "vlock extends, reacquires and releases a redis-py lock whose token it was given" {
    token=$(py 'it = lock(timeout=60); assert it.acquire(); print(it.local.token.decode())')
    gives 0 owned --token "$token" "$K"
    gives 0 extend --token "$token" "$K" 60s
    ttl_between "$K" 60001 120000
    gives 0 extend --replace --token "$token" "$K" 30s
    ttl_between "$K" 1 30000
    gives 0 reacquire -t 1h --token "$token" "$K"
    ttl_between "$K" 3500000 3600000
    gives 0 release --token "$token" "$K"
    is_free "$K"
}

@test "redis-py extends, reacquires and releases a vlock lock whose token it was given" {
    take -t 60s "$K"
    py 'it = handed(sys.argv[3], timeout=100)
assert it.owned()
assert it.extend(60)
assert 60000 < r.pttl(name) <= 120000
assert it.extend(30, replace_ttl=True)
assert 0 < r.pttl(name) <= 30000
assert it.reacquire()
assert 30000 < r.pttl(name) <= 100000
it.release()
assert not it.locked()' "$TOKEN"
    gives 0 acquire -n -t 60s "$K"
}

@test "redis-py with another token can neither extend nor release a vlock lock" {
    take -t 60s "$K"
    py 'it = handed("stranger", timeout=100)
assert not it.owned()
assert raises(LockNotOwnedError, it.extend, 60)
assert raises(LockNotOwnedError, it.reacquire)
assert raises(LockNotOwnedError, it.release)'
    held_by "$K" "$TOKEN"
    ttl_between "$K" 1 60000
}

@test "a redis-py lock without timeout never expires for vlock" {
    token=$(py 'it = lock(); assert it.acquire(); print(it.local.token.decode())')
    gives 75 acquire -n "$K"
    says 'never expires'
    gives 65 extend --token "$token" "$K" 1h
    gives 65 reacquire -t 1h --token "$token" "$K"
    gives 0 release --token "$token" "$K"
}

@test "a vlock lock without TTL never expires for redis-py" {
    take --ttl none "$K"
    py 'assert r.pttl(name) == -1
it = handed(sys.argv[3])
assert raises(LockError, it.extend, 60)
it.release()' "$TOKEN"
    is_free "$K"
}

@test "the key is byte for byte what each side was given" {
    token=$(printf 'a b\xc3\xa4\xff"'"'")
    gives 0 acquire --token "$token" -t 60s "$K"
    [ "$(cli --raw get "$K" | od -c)" = "$(printf '%s\n' "$token" | od -c)" ]
    py 'assert handed("x").locked()
assert r.get(name) == b"a b\xc3\xa4\xff\"\x27", r.get(name)
assert r.type(name) == b"string"'
    gives 0 release --token "$token" "$K"
}

@test "a prefix, a hash tag and blanks in NAME are the same key for both" {
    for name in 'job {a} b' 'pre:x' 'ä'; do
        K=$name
        take -t 60s "$name"
        py 'assert not lock(timeout=1).acquire(blocking=False); handed(sys.argv[3]).release()' \
            "$TOKEN"
    done
    K=pre:y
    take --prefix pre: -t 60s y
    py 'handed(sys.argv[3]).release()' "$TOKEN"
}

@test "a waiting redis-py client gets the lock after vlock's release" {
    take -t 60s "$K"
    cat "$BATS_FILE_TMPDIR/prelude.py" - >waiter.py <<'PY'
it = lock(timeout=60, sleep=0.02)
print("ready", flush=True)
assert it.acquire(blocking_timeout=100)
print("taken", flush=True)
PY
    find_python
    background "$PYTHON" waiter.py "$SOCK" "$K"
    waiter=$!
    until_true 10 has out ready
    gives 0 release --token "$TOKEN" "$K"
    ends 0 "$waiter"
    has out taken
    gives 75 acquire -n "$K"
}

@test "a waiting vlock gets the lock after redis-py's release" {
    token=$(py 'it = lock(timeout=60); assert it.acquire(); print(it.local.token.decode())')
    background "$VLOCK_BIN" run -w 100s "$K" -- echo taken
    waiter=$!
    gives 75 acquire -n "$K"
    py 'handed(sys.argv[3]).release()' "$token"
    ends 0 "$waiter"
    has out taken
}

@test "a waiting vlock gets the lock when redis-py's lease runs out" {
    py 'assert lock(timeout=0.3).acquire()'
    gives 0 acquire -w 100s -t 60s "$K"
}

@test "run under redis-py's eyes: held while CMD runs, free afterwards" {
    cat >eyes.sh <<'SH'
"$1" "$2" "$3" "$VLOCK_NAME" "$VLOCK_TOKEN"
SH
    cat "$BATS_FILE_TMPDIR/prelude.py" - >eyes.py <<'PY'
it = handed(sys.argv[3])
assert it.owned() and not lock(timeout=1).acquire(blocking=False)
PY
    find_python
    gives 0 run -t 60s "$K" -- sh eyes.sh "$PYTHON" eyes.py "$SOCK"
    py 'assert lock(timeout=1).acquire(blocking=False)'
}

@test "8 clients, half of them redis-py, increment one counter and lose nothing" {
    export TIMES
    TIMES=$(rounds 8 25)
    echo 0 >counter
    cat >increment.sh <<'SH'
read -r n <counter; echo $((n + 1)) >counter
SH
    cat "$BATS_FILE_TMPDIR/prelude.py" - >increment.py <<'PY'
import os
for i in range(int(os.environ["TIMES"])):
    with lock(timeout=600, sleep=0.001):
        n = int(open("counter").read())
        open("counter", "w").write(f"{n + 1}\n")
PY
    find_python
    pids=()
    for _ in 1 2 3 4; do
        background "$PYTHON" increment.py "$SOCK" "$K"
        pids+=($!)
        background bash -c 'for ((i = 0; i < TIMES; i++)); do
            "$VLOCK_BIN" run "$K" sh increment.sh || exit; done'
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        until_true 60 is_over "$pid"
        ends 0 "$pid"
    done
    [ "$(<counter)" = $((8 * TIMES)) ]
}
