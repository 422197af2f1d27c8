#!/usr/bin/env bats
# What reviews found and no other suite had asked for: one test for each fault.

load helpers

setup_file() { start_store valkey; }

# proxied: a proxy of this test's own in front of the file's server; $FIRST is the number that the
# acquire of a fresh connection has among its requests (the scripts being loaded).
proxied() {
    gives 0 -q run "$K-warm" -- true
    start_proxy
    export VLOCK_URL=$PROXY_URL
    rule none
    gives 0 -q acquire -n -t 60s --token T "$K-warm"
    FIRST=$(grep '^[0-9]' "$PROXY/log" | grep -n EVAL | head -n 1 | cut -d: -f1)
    cli del "$K-warm"
}

# late_copy_arrives: what the proxy held back is now executed.
late_copy_arrives() {
    has "$PROXY/log" fired
    touch "$PROXY/go"
    until_true 20 has "$PROXY/log" 'late request was executed'
}

# A command for `run` that is there until the file `end` is.
until_end='echo ready; until [ -e end ]; do sleep 0.1; done'

# What a scripted server answers to HELLO.
hello='ON HELLO %7\r\n$6\r\nserver\r\n$6\r\nvalkey\r\n$7\r\nversion\r\n$5\r\n8.0.1\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:3\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n'

# --- copies that come late -------------------------------------------------------------------

@test "a late copy of an acquire leaves an endless lock endless" {
    proxied
    rule "late $FIRST"
    background "$VLOCK_BIN" run -w 100s --reply-timeout 1s --ttl none "$K" -- sh -c "$until_end"
    pid=$!
    until_true 20 has out ready
    [ "$(pttl_of "$K")" = -1 ]
    late_copy_arrives
    [ "$(pttl_of "$K")" = -1 ]
    touch end
    ends 0 "$pid"
    is_free "$K"
}

@test "a late copy of an acquire does not shorten what an extend gave" {
    proxied
    rule "late $FIRST"
    background "$VLOCK_BIN" run -w 100s --reply-timeout 1s -t 60s "$K" -- \
        sh -c "\"\$VLOCK_BIN\" --reply-timeout 60s extend \"\$VLOCK_NAME\" 1h || exit 40; $until_end"
    pid=$!
    until_true 20 has out ready
    ttl_between "$K" 3000001 3660000
    late_copy_arrives
    ttl_between "$K" 3000001 3660000
    touch end
    ends 0 "$pid"
    is_free "$K"
}

@test "a late copy of run's acquire takes nothing once the run is over" {
    proxied
    for ttl in none 60s; do
        rm -f "$PROXY/go"
        rule "late $FIRST"
        gives 0 run -w 100s --reply-timeout 1s --ttl $ttl "$K" -- true
        is_free "$K"
        late_copy_arrives
        is_free "$K"
    done
}

@test "a late copy of what a waiter had asked takes nothing once it has gone with 75" {
    proxied
    for ttl in none 60s; do
        # the first question, the next one on that connection
        for n in "$FIRST" $((FIRST + 1)); do
            rm -f "$PROXY/go"
            cli set "$K" holder >/dev/null
            for _ in 1 2 3 4 5; do
                rule "late $n"
                vlock -q acquire -w 3s --reply-timeout 1s --ttl $ttl "$K"
                [ "$status" -eq 69 ] || break # no answer in all that time
            done
            [ "$status" -eq 75 ]
            held_by "$K" holder
            cli del "$K" >/dev/null
            late_copy_arrives
            is_free "$K"
        done
    done
}

@test "an acquire whose re-send is refused is withdrawn all the same" {
    start_scripted "$hello" 'ON * +OK\r\n' 'SERVE EVALSHA' CLOSE \
        THEN "$hello" "ON * -READONLY You can't write against a read only replica.\r\n" SERVE
    gives 77 -u "redis://127.0.0.1:$SCRIPTED_PORT" acquire -n -t 60s "$K"
    says replica
    cat "$SCRIPTED/requests"
    id=$(sed -n "s/^1 \[b'EVALSHA'.*:vlock:gone:\([0-9a-f]*\)'.*/\1/p" "$SCRIPTED/requests")
    [ -n "$id" ]
    # a withdrawal is sent as its whole text; nothing else is, where the scripts are loaded
    grep -q "^[2-9][0-9]* \[b'EVAL', .*:vlock:gone:$id'" "$SCRIPTED/requests"
}

@test "pushes without end are no answer: 69 or 76, in time" {
    pushes='ENDLESS >2\r\n+x\r\n+y\r\n'
    for answered in no yes; do
        steps=('EXPECT EVALSHA')
        [ $answered = no ] || steps+=("SEND ${hello#ON HELLO }")
        start_scripted "${steps[@]}" "$pushes"
        export VLOCK_URL=redis://127.0.0.1:$SCRIPTED_PORT
        for command in 'acquire -n --reply-timeout 300ms' 'locked --reply-timeout 300ms' \
            'acquire -w 300ms' 'release --reply-timeout 300ms --token T' \
            'run -n --reply-timeout 300ms'; do
            read -ra words <<<"$command"
            [ "${words[0]}" != run ] || set -- -- touch ran
            vlock "${words[@]}" "$K" "$@"
            case $status in 69 | 76) ;; *) return 1 ;; esac
            [ ! -e ran ]
            set --
        done
    done
}

# --- the end of a run ------------------------------------------------------------------------

@test "TERM, and again, while run gives the lock back does not stop that" {
    proxied
    background "$VLOCK_BIN" run -t 60s --reply-timeout 50s "$K" -- sh -c "$until_end; exit 7"
    pid=$!
    until_true 20 has out ready
    cli script flush # EVALSHA, then EVAL, and an answer to both
    rule delay 5000
    touch end
    until_true 20 grep -q ' EVALSHA$' "$PROXY/log"
    kill -TERM "$pid"
    until_true 20 grep -q ' EVAL$' "$PROXY/log"
    kill -TERM "$pid"
    ends 7 "$pid"
    is_free "$K"
}

@test "a connection that swallows a renewal is given up in time" {
    proxied
    background "$VLOCK_BIN" run -t 9s "$K" -- sh -c "$until_end"
    pid=$!
    until_true 20 has out ready
    rule late 1
    until_true 20 renewed_elsewhere
    touch end
    ends 0 "$pid"
    is_free "$K"
    late_copy_arrives
    is_free "$K"
}

# The rule has fired, and two renewals have gone over another connection than the first request.
renewed_elsewhere() {
    awk 'NR == 1 { first = $1 } $1 != first && / EVAL/ { others++ } END { exit !(others >= 2) }' \
        "$PROXY/log"
}

@test "a server out of memory still lets a command under run release its lock" {
    start_server valkey
    export VLOCK_URL=redis://127.0.0.1:$PORT
    vlock run -t 60s "$K" -- sh -c '"$1" -s "$2" config set maxmemory 1 >/dev/null
        "$VLOCK_BIN" release "$VLOCK_NAME"; echo "release $?"; "$1" -s "$2" exists "$VLOCK_NAME"' \
        sh "$SERVER_KIND-cli" "$SOCK"
    prints $'release 0\n0'
    [ "$status" -eq 0 ]
    is_free "$K"
    # nor does the next renewal take it for lost
    cli config set maxmemory 0
    gives 0 run -t 9s "$K" -- sh -c '"$1" -s "$2" config set maxmemory 1 >/dev/null
        "$VLOCK_BIN" release "$VLOCK_NAME"; sleep 4' sh "$SERVER_KIND-cli" "$SOCK"
}

@test "reacquire --recover: not what was given back, but what has lapsed, with its fence" {
    local_url=local:$PWD/locks
    mkdir -m 700 locks
    for url in "$VLOCK_URL" "$local_url"; do
        export VLOCK_URL=$url STORE=valkey
        [ "$url" != "$local_url" ] || STORE=local
        rm -f f copy
        gives 0 acquire -t 60s --token-file f "$K"
        cp f copy
        gives 0 release --token-file f "$K"
        is_free "$K"
        gives 79 reacquire --recover -t 60s --token-file copy "$K"
        is_free "$K"

        rm -f f copy
        gives 0 acquire -t 1ms --token-file f "$K"
        fence=$(sed -n 's/^fence=0*//p' f)
        until_true 10 is_free "$K"
        gives 0 reacquire --recover -t 1ms --token-file f "$K"
        # with the same fence: else the one in the file would not do for a second time
        until_true 10 is_free "$K"
        gives 0 reacquire --recover -t 60s --token-file f "$K"
        [ "$STORE" = local ] || [ "$(cli hget "{$K}:vlock:fence" fence)" = "$fence" ]
        held_by "$K" "$(sed -n 's/^token=//p' f)"
        gives 0 release --token-file f "$K"
        is_free "$K"
    done
}

# --- what is shown ---------------------------------------------------------------------------

@test "a server without HELLO, which repeats what it did not understand: no password is shown" {
    for kind in valkey redis; do
        start_server $kind --requirepass sesame --rename-command HELLO ''
        export VLOCK_URL=redis://:sesame@127.0.0.1:$PORT
        gives 0 -v acquire -n -t 60s --token T "$K"
        hides sesame
        gives 0 -v release --token T "$K"
        hides sesame
        gives 0 -v run "$K" -- true
        hides sesame
    done
}

@test "a server without EVALSHA, or without EVAL too, is 76, and no token is shown" {
    K=k # the server repeats only the first bytes of the arguments, and the token is to be there
    for kind in valkey redis; do
        for both in no yes; do
            without=(--rename-command EVALSHA '')
            [ $both = no ] || without+=(--rename-command EVAL '')
            start_server $kind --requirepass sesame "${without[@]}"
            export VLOCK_URL=redis://:sesame@127.0.0.1:$PORT
            gives 76 -v acquire -n -t 60s --token t0k3n $K
            hides t0k3n sesame
            for command in "release $K" "extend $K 1h" "owned $K" "reacquire -t 60s $K"; do
                # shellcheck disable=SC2086 # words
                gives 76 -v $command --token t0k3n
                hides t0k3n sesame
            done
            gives 76 -v run --token t0k3n $K -- touch ran
            hides t0k3n sesame
            [ ! -e ran ]
        done
    done
}

@test "every usage error of --format shell prints (exit N)" {
    exits acquire run --format shell --bogus
    exits acquire --note run --format shell x -w
    exits aquire --format shell x
    exits acquire --format 'shell ' x
    exits acquire --format
}

# exits ARG...: a usage error that is one for `eval "$(vlock ARG...)"` too
exits() {
    gives 64 "$@"
    prints '(exit 64)'
}

@test "ulimit -f 0: a token that cannot be written to a file is given back, 73" {
    observe bash -c 'ulimit -f 0; exec "$VLOCK_BIN" -q acquire -t 60s "$K" >file'
    [ "$status" -eq 73 ]
    [ ! -s file ]
    is_free "$K"
}

# --- outputs that nobody reads ---------------------------------------------------------------

@test "a waiter whose stdout or stderr is a socket that the other side has closed ends with 141" {
    cat >gone.py <<'PY'
import socket, subprocess, sys, time
which, pid_death, command = sys.argv[1], ["setpriv", "--pdeathsig", "KILL"], sys.argv[2:]
ours, its = socket.socketpair()
other = open("other", "w")
waiter = subprocess.Popen(pid_death + command, close_fds=True,
                          stdout=its if which == "stdout" else other,
                          stderr=its if which == "stderr" else other)
its.close()
last = time.monotonic() + 100
def waits():
    with open(f"/proc/{waiter.pid}/status") as f:
        lines = dict(line.split(":\t", 1) for line in f if ":\t" in line)
    return int(lines["SigBlk"], 16) & 1 << 14 and "sleeping" in lines["State"]
while not waits():
    assert time.monotonic() < last and waiter.poll() is None
    time.sleep(0.02)
ours.close()
print(waiter.wait(100))
PY
    find_python
    take -t 60s "$K"
    for which in stdout stderr; do
        observe "$PYTHON" gone.py $which "$VLOCK_BIN" acquire -t 60s "$K"
        prints 141
        held_by "$K" "$TOKEN"
    done
    gives 0 release --token "$TOKEN" "$K"
    is_free "$K"
}

@test "a stderr that is full, and that nobody reads, does not keep a command beyond its lease" {
    start_server valkey
    export VLOCK_URL=redis://127.0.0.1:$PORT
    cat >full.py <<'PY'
import os, sys
reader, writer = os.pipe() # the reader stays open, in what is executed
os.set_inheritable(reader, True)
os.set_blocking(writer, False)
for size in (4096, 1):
    try:
        while True:
            os.write(writer, b"x" * size)
    except BlockingIOError:
        pass
os.set_blocking(writer, True)
os.dup2(writer, 2)
os.execv(sys.argv[1], sys.argv[1:])
PY
    cat >beat.py <<'PY'
import os, time
while True:
    with open("beat.new", "w") as f:
        f.write(f"{time.clock_gettime(time.CLOCK_BOOTTIME):.3f}\n")
    os.rename("beat.new", "beat")
    time.sleep(0.01)
PY
    find_python
    background "$PYTHON" full.py "$VLOCK_BIN" run -t 12s "$K" -- "$PYTHON" beat.py
    pid=$!
    until_true 20 test -e beat
    until_true 20 eval '(($(pttl_of "$K") < 10000))' # since the last renewal it is two seconds
    kill -STOP "$SERVER_PID"
    frozen=$(cut -d' ' -f1 /proc/uptime) # which is CLOCK_BOOTTIME
    ends 79 "$pid"
    kill -CONT "$SERVER_PID"
    # the last renewal came before that
    python -c 'import sys; frozen, last = map(float, sys.argv[1:]); print(sys.argv[1:])
assert last < frozen + 12' "$frozen" "$(<beat)"
    until_true 10 is_free "$K"
}

# --- leases ----------------------------------------------------------------------------------

@test "local: a lease of a few milliseconds ends in order" {
    mkdir -m 700 locks
    export VLOCK_URL=local:$PWD/locks STORE=local
    for ttl in 1ms 2ms 5ms; do
        for _ in 1 2 3; do
            vlock run -t $ttl "$K" -- true
            case $status in 0 | 79) ;; *) return 1 ;; esac
            is_free "$K"
        done
    done
}

# Its first renewal is in twenty minutes.
@test "a lease that somebody made endless is a lease again at once: none is left if its run dies" {
    background "$VLOCK_BIN" run -t 1h "$K" -- sh -c "$until_end"
    pid=$!
    until_true 20 has out ready
    until_true 20 is_tracked
    [ "$(cli persist "$K")" = 1 ]
    until_true 20 eval '[ "$(pttl_of "$K")" -gt 3500000 ]'
    until_true 20 is_tracked
    [ "$(cli persist "$K")" = 1 ]
    until_true 20 eval '[ "$(pttl_of "$K")" -gt 0 ]'
    touch end
    ends 0 "$pid"
    is_free "$K"
}
is_tracked() { cli info stats | grep -q '^tracking_total_keys:[1-9]'; }

@test "a lock without expiry that somebody gave one has none again at once" {
    background "$VLOCK_BIN" run -t none "$K" -- sh -c "$until_end"
    pid=$!
    until_true 20 has out ready
    until_true 20 is_tracked
    [ "$(cli pexpire "$K" 3600000)" = 1 ]
    until_true 20 eval '[ "$(pttl_of "$K")" = -1 ]'
    touch end
    ends 0 "$pid"
    is_free "$K"
}

@test "under run, extend --replace and reacquire do not shorten the lease" {
    observe "$VLOCK_BIN" run -t 60s "$K" -- sh -c '
        "$VLOCK_BIN" extend --replace "$VLOCK_NAME" 300ms || exit 40
        "$1" -s "$2" pttl "$VLOCK_NAME"
        "$VLOCK_BIN" reacquire -t 300ms "$VLOCK_NAME" || exit 41
        "$1" -s "$2" pttl "$VLOCK_NAME"' sh "$SERVER_KIND-cli" "$SOCK"
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 2 ]
    ((lines[0] > 1000 && lines[1] > 1000))
    is_free "$K"
}

@test "two locks under one token: the inner one is no waiting for oneself" {
    gives 0 run --token T "$K" -- "$VLOCK_BIN" run -n --token T "$K-in" -- true
    cli set "$K-in" T px 60000
    gives 75 run --token T "$K" -- "$VLOCK_BIN" run -n --token T "$K-in" -- touch ran
    hides 'waiting would never end'
    gives 75 run --token T "$K" -- "$VLOCK_BIN" acquire -n --token T "$K-in"
    hides 'waiting would never end'
    [ ! -e ran ]
    held_by "$K-in" T
    is_free "$K"
}

# --- what may not be done --------------------------------------------------------------------

# One command that an acquire, or what comes after it, needs: refused before anything is taken.
@test "an ACL without a command that is needed later is 77 at acquire, named, nothing taken" {
    for kind in valkey redis; do
        start_server $kind
        for command in pttl del persist hset set pexpire time; do
            cli acl setuser "no$command" on '>pw' '~*' '&*' +@all "-$command" >/dev/null
            ttl=60s
            [ $command != persist ] || ttl=none
            gives 77 -u "redis://no$command:pw@127.0.0.1:$PORT" acquire -n --ttl $ttl "$K"
            says "'$command'"
            [ "$(cli exists "$K")" = 0 ]
        done
    done
}

# --- signals ---------------------------------------------------------------------------------

# Once over, at whatever instant the signal came: either there is a token file that releases the
# lock, or no lock; and no draft of such a file.
@test "TERM at any instant of an acquire leaves no draft, and no lock without its file" {
    cat >term.py <<'PY'
import random, subprocess, sys, time
span, command = int(sys.argv[1]) / 1e6, ["setpriv", "--pdeathsig", "KILL"] + sys.argv[2:]
one = subprocess.Popen(command)
time.sleep(random.uniform(0, span))
one.terminate()
status = one.wait(100)
print(128 - status if status < 0 else status)
PY
    find_python
    begun=${EPOCHREALTIME/./}
    gives 0 acquire -t 60s --token-file f "$K"
    span=$(((${EPOCHREALTIME/./} - begun) * 12 / 10))
    gives 0 release --token-file f "$K"
    for ((n = $(rounds 10 30); n > 0; n--)); do
        observe "$PYTHON" term.py $span "$VLOCK_BIN" acquire -t 60s --token-file f "$K"
        [ "$status" -eq 0 ]
        case $output in
        0) [ -s f ] ;;
        143) ;;
        *) return 1 ;;
        esac
        [ -z "$(find . -maxdepth 1 -name '.f.vlock-*')" ]
        [ ! -e f ] || gives 0 release --token-file f "$K"
        is_free "$K"
    done
}

queued() { [ "$(cli zcard "{$K}:vlock:queue")" = "$1" ]; }

@test "a release whose reply was lost does not free the lock of the next one with the same token" {
    start_server valkey
    start_proxy
    export VLOCK_URL=redis://127.0.0.1:$PORT
    gives 0 run "$K" true # the script is loaded: its first copy is carried out
    background env VLOCK_URL="$PROXY_URL" "$VLOCK_BIN" run -t 60s --token T "$K" -- \
        sh -c ': >one; while [ ! -e go ]; do sleep 0.1; done'
    first=$!
    until_true 10 test -e one
    background "$VLOCK_BIN" run -t 60s --token T "$K" -- \
        sh -c ': >two; while [ ! -e go2 ]; do sleep 0.1; done'
    second=$!
    until_true 10 queued 1
    rule cut 2 rst
    : >go
    ends 0 "$first"
    has "$PROXY/log" fired
    until_true 10 test -e two
    held_by "$K" T
    gives 75 acquire -n --token U "$K"
    : >go2
    ends 0 "$second"
    is_free "$K"
}

@test "the lease of one is not renewed by another one with the same token" {
    start_server valkey
    export VLOCK_URL=redis://127.0.0.1:$PORT STORE=valkey
    background "$VLOCK_BIN" run -t 3s --token T "$K" -- sleep 600
    first=$!
    until_true 10 is_held "$K"
    gives 0 break --yes "$K"
    gives 0 -q acquire -t 60s --token T "$K"
    ends 79 "$first"
    held_by "$K" T
}

@test "an acquire that was stopped for longer than its lease hands nothing over" {
    proxied
    rule "hold $FIRST"
    background "$VLOCK_BIN" -q acquire --reply-timeout 100s -t 5s "$K"
    pid=$!
    until_true 10 is_held "$K"
    kill -STOP "$pid"
    until_true 10 is_free "$K"
    touch "$PROXY/go"
    kill -CONT "$pid"
    ends 79 "$pid"
    [ ! -s out ]
    has err 'lease was over'
}
