#!/usr/bin/env bats
# vlock run: the command sees what it would see without vlock, and never runs without its lock.

load helpers

setup_file() { start_store valkey; }

# --- what CMD sees ---------------------------------------------------------------------------

@test "CMD has its own stdin, stdout, stderr and working directory" {
    mkdir here && cd here
    observe bash -c 'echo input | "$VLOCK_BIN" run "$K" -- sh -c "cat; pwd; echo error >&2"'
    [ "$status" -eq 0 ]
    prints "input"$'\n'"$PWD"
    [ "$stderr" = error ]
}

@test "CMD's bytes pass untouched and its output's end is seen at once" {
    head -c 300000 /dev/urandom >data
    "$VLOCK_BIN" run "$K" -- cat <data | cmp - data
    "$VLOCK_BIN" run "$K" -- cat data | head -c 10 | wc -c | grep -qx 10
}

@test "CMD's arguments pass as they are" {
    gives 0 run "$K" -- printf '<%s>' 'a b' '' "it's" '$(x)' -- -n '*'
    prints "<a b><><it's><\$(x)><--><-n><*>"
}

@test "CMD's environment is vlock's plus VLOCK_*" {
    export KEPT='as is ' VLOCK_TTL=40s
    before=$(env | grep -v -e '^VLOCK_' -e '^_=' | sort)
    gives 0 run --prefix p: "$K" -- env
    after=$(grep -v -e '^VLOCK_' -e '^_=' <<<"$output" | sort)
    [ "$before" = "$after" ]
    grep -qx "VLOCK_NAME=$K" <<<"$output"
    grep -q '^VLOCK_TOKEN=vl1:' <<<"$output"
    grep -qE '^VLOCK_FENCE=[0-9]{10,}$' <<<"$output"
    grep -qx 'VLOCK_TTL=40s' <<<"$output"
    grep -qx 'VLOCK_PREFIX=p:' <<<"$output"
    grep -q '^VLOCK_HELD=' <<<"$output"
    grep -qx "VLOCK_URL=$STORE_URL" <<<"$output"
}

@test "VLOCK_TOKEN_FILE is removed, and options become variables with absolute paths" {
    unset VLOCK_URL
    echo sesame >pw
    chmod 600 pw
    cp "$TESTS/helpers.bash" ca
    VLOCK_TOKEN_FILE=f gives 0 -u "$STORE_URL" --prefix p: --cacert ca run "$K" -- env
    hides VLOCK_TOKEN_FILE
    grep -qx "VLOCK_URL=$STORE_URL" <<<"$output"
    grep -qx 'VLOCK_PREFIX=p:' <<<"$output"
    grep -qx "VLOCK_CACERT=$PWD/ca" <<<"$output"
    cli config set requirepass sesame
    vlock -u "$STORE_URL" --password-file pw run "$K" -- env
    SERVER_PASSWORD=sesame cli config set requirepass ''
    [ "$status" -eq 0 ]
    grep -qx "VLOCK_PASSWORD_FILE=$PWD/pw" <<<"$output"
}

@test "CMD can itself ask, extend and hand out its lock from another directory" {
    unset VLOCK_URL
    gives 0 -u "$STORE_URL" run -t 60s "$K" -- sh -c 'cd / &&
        "$VLOCK_BIN" owned "$VLOCK_NAME" && "$VLOCK_BIN" extend "$VLOCK_NAME" 1h'
}

@test "CMD inherits no descriptor of vlock's" {
    gives 0 run "$K" -- sh -c 'ls -l /proc/$$/fd | grep -e socket -e anon_inode || true'
    prints ''
}

# fds NAME: the descriptors that CMD sees
@test "CMD has the same descriptors as without vlock" {
    show='for f in /proc/$$/fd/*; do echo "${f##*/}"; done'
    observe bash -c "exec 7</dev/null; sh -c '$show'"
    without=$output
    observe bash -c "exec 7</dev/null; \"\$VLOCK_BIN\" run \"\$K\" -- sh -c '$show'"
    prints "$without"
}

@test "CMD's process group, session, signal mask and dispositions are vlock's" {
    probe='grep -E "^Sig(Blk|Ign)" /proc/self/status'
    observe sh -c "trap '' USR2; $probe"
    without=$output
    observe sh -c "trap '' USR2; \"\$VLOCK_BIN\" run \"\$K\" -- $probe"
    prints "$without"
    observe sh -c 'ps -o pgid=,sid= -p $$; "$VLOCK_BIN" run "$K" -- sh -c "ps -o pgid=,sid= -p \$\$"'
    [ "${lines[0]}" = "${lines[1]}" ]
}

@test "CMD with closed stdin, stdout or stderr runs all the same" {
    for closed in '<&-' '>&-' '2>&-' '<&- >&- 2>&-'; do
        observe bash -c '"$VLOCK_BIN" run "$K" -- sh -c "exit 5" '"$closed"
        [ "$status" -eq 5 ]
        is_free "$K"
    done
    # what CMD opens gets the descriptor that was closed, not a connection of vlock's
    observe bash -c '"$VLOCK_BIN" run "$K" -- sh -c "readlink /proc/self/fd/0 >&2" <&-'
    hides socket
}

# --- CMD's end -------------------------------------------------------------------------------

@test "run returns CMD's status, whatever it is" {
    for wanted in 0 1 2 64 75 79 126 127 128 200 255; do
        gives $wanted run "$K" -- sh -c "exit $wanted"
        is_free "$K"
    done
}

@test "a CMD that does not exist is 127, one that cannot be executed 126" {
    gives 127 run "$K" -- no-such-command-anywhere
    says no-such-command-anywhere
    gives 127 run "$K" -- ./none
    mkdir dir
    gives 126 run "$K" -- ./dir
    : >plain
    gives 126 run "$K" -- ./plain
    says plain
    is_free "$K"
    gives 127 run "$K" -- ''
}

@test "a CMD without #! line is run by sh, as the shell does, or 126" {
    echo 'exit 4' >script
    chmod +x script
    vlock run "$K" -- ./script
    [ "$status" -eq 4 ] || [ "$status" -eq 126 ]
    is_free "$K"
}

@test "a CMD that a signal ended is 128+N" {
    for signal in 1 9 11 15; do
        observe bash -c "ulimit -c 0; \"\$VLOCK_BIN\" run \"\$K\" -- sh -c 'kill -$signal \$\$'"
        [ "$status" -eq $((128 + signal)) ]
        is_free "$K"
    done
}

# how CMD...: "signal N" or "exit N", however CMD ended
how() {
    python - "$@" <<'PY'
import subprocess, sys
code = subprocess.run(sys.argv[1:], timeout=150).returncode
print(f"signal {-code}" if code < 0 else f"exit {code}")
PY
}

@test "a CMD that died of SIGINT makes vlock die of SIGINT, so that the script around it stops" {
    [ "$(how "$VLOCK_BIN" run "$K" -- sh -c 'kill -INT $$')" = 'signal 2' ]
    is_free "$K"
    [ "$(how "$VLOCK_BIN" run "$K" -- sh -c 'kill -TERM $$')" = 'exit 143' ]
    [ "$(how "$VLOCK_BIN" run "$K" -- sh -c 'trap "exit 3" INT; kill -INT $$')" = 'exit 3' ]
    is_free "$K"
}

@test "SIGCHLD ignored by the parent changes nothing" {
    cat >ignore.py <<'PY'
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
PY
    find_python
    observe "$PYTHON" ignore.py "$VLOCK_BIN" run "$K" -- sh -c 'exit 6'
    [ "$status" -eq 6 ]
    is_free "$K"
}

@test "a child that vlock did not start (exec from a shell with jobs) does not confuse it" {
    observe bash -c 'sleep 0.1 & exec "$VLOCK_BIN" run "$K" -- sh -c "sleep 0.3; exit 5"'
    [ "$status" -eq 5 ]
}

# --- signals ---------------------------------------------------------------------------------

# counts every signal it gets until it is told to end by the file `end`
write_counter() {
    cat >counter.py <<'PY'
import os, signal, time
got = []
for s in (1, 2, 3, 10, 12, 15, 28):
    signal.signal(s, lambda n, _: got.append(n))
open("ready", "w").close()
while not os.path.exists("end"):
    time.sleep(0.01)
    open("got.new", "w").write(" ".join(map(str, got)) + "\n")
    os.rename("got.new", "got")
PY
}

@test "signals reach CMD, once each" {
    write_counter
    find_python
    background "$VLOCK_BIN" run "$K" -- "$PYTHON" counter.py
    vlock_pid=$!
    until_true 10 test -e ready
    seen=''
    for signal in 15 2 1 3 10 12 28; do
        kill -$signal "$vlock_pid"
        seen="$seen${seen:+ }$signal"
        until_true 10 grep -qx "$seen" got
    done
    touch end
    ends 0 "$vlock_pid"
    [ "$(<got)" = "$seen" ]
    is_free "$K"
}

@test "a signal that CMD does not handle ends it and the lock is given back" {
    background "$VLOCK_BIN" run "$K" -- sh -c 'echo ready; exec sleep 60'
    vlock_pid=$!
    until_true 10 has out ready
    kill -TERM "$vlock_pid"
    ends 143 "$vlock_pid"
    is_free "$K"
}

@test "a signal that vlock found ignored stays ignored for both" {
    background bash -c 'trap "" HUP; exec "$VLOCK_BIN" run "$K" -- sh -c "echo ready
        until [ -e end ]; do sleep 0.1; done; exit 5"'
    vlock_pid=$!
    until_true 10 has out ready
    kill -HUP "$vlock_pid"
    touch end
    ends 5 "$vlock_pid"
}

@test "run that waits ends at once when signalled, without having started CMD" {
    take -t 60s "$K"
    for signal in TERM INT HUP; do
        background "$VLOCK_BIN" run "$K" -- touch ran
        vlock_pid=$!
        until_true 10 sits_waiting "$vlock_pid"
        kill -$signal "$vlock_pid"
        ends $((128 + $(kill -l $signal))) "$vlock_pid"
    done
    [ ! -e ran ]
    held_by "$K" "$TOKEN"
}

@test "run that waits ends when the reader of its stdout has gone" {
    take -t 60s "$K"
    mkfifo pipe
    setpriv --pdeathsig KILL timeout 150 "$VLOCK_BIN" run "$K" -- touch ran >pipe 2>err 3>&- &
    vlock_pid=$!
    : <pipe
    until_true 10 is_over "$vlock_pid"
    gives 0 release --token "$TOKEN" "$K"
    is_free "$K"
    [ ! -e ran ]
}

@test "a CMD whose output nobody reads any more goes on: that is its own business" {
    mkfifo pipe
    setpriv --pdeathsig KILL "$VLOCK_BIN" run -t 9s "$K" -- \
        sh -c 'touch started; until [ -e gone ]; do sleep 0.1; done; sleep 4; exit 5' >pipe 2>err 3>&- &
    vlock_pid=$!
    exec 5<pipe
    until_true 10 test -e started
    exec 5<&-
    touch gone
    ends 5 "$vlock_pid"
    is_free "$K"
}

# --- the lease -------------------------------------------------------------------------------

@test "a lease is renewed again and again, and never runs low" {
    background "$VLOCK_BIN" run -t 9s "$K" -- \
        sh -c 'echo ready; while [ ! -e end ]; do sleep 0.1; done'
    vlock_pid=$!
    until_true 10 has out ready
    renewals=0 last=9000 least=9000
    until ((renewals == 3)); do
        left=$(pttl_of "$K")
        ((left > 0 && left <= 9000))
        ((left <= last)) || renewals=$((renewals + 1))
        ((left >= least)) || least=$left
        last=$left
        sleep 0.05
    done
    touch end
    ends 0 "$vlock_pid"
    echo "least $least"
    ((least > 1000)) # it is renewed with 6000 left
    is_free "$K"
}

# frozen server: the lease cannot be renewed
freeze() { kill -STOP "$SERVER_PID"; }
thaw() { kill -CONT "$SERVER_PID"; }

@test "a lease that cannot be renewed: CMD is stopped before it ends, status 79" {
    start_server valkey
    export VLOCK_URL=redis://127.0.0.1:$PORT
    cat >cmd.py <<'PY'
import signal, sys, time
def stop(*_):
    open("stopped", "w").write(f"{time.clock_gettime(time.CLOCK_BOOTTIME):.3f}\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
open("started", "w").close()
time.sleep(60)
PY
    find_python
    background "$VLOCK_BIN" run -t 18s "$K" -- "$PYTHON" cmd.py
    vlock_pid=$!
    until_true 10 test -e started
    freeze
    frozen=$(cut -d' ' -f1 /proc/uptime)
    ends 79 "$vlock_pid"
    thaw
    # /proc/uptime is CLOCK_BOOTTIME; the last renewal came before that
    python -c 'import sys; frozen, stopped = map(float, sys.argv[1:]); print(sys.argv[1:])
assert stopped < frozen + 18' "$frozen" "$(<stopped)"
    has err "$K"
}

@test "a CMD that ignores SIGTERM is killed before the lease ends" {
    start_server valkey
    export VLOCK_URL=redis://127.0.0.1:$PORT
    background "$VLOCK_BIN" run -t 12s "$K" -- sh -c 'trap "" TERM; echo ready
        while :; do cut -d" " -f1 /proc/uptime >last.new; mv last.new last; sleep 0.02; done'
    vlock_pid=$!
    until_true 10 has out ready
    until_true 20 eval '(($(pttl_of "$K") < 10000))' # since the last renewal it is two seconds
    freeze
    frozen=$(cut -d' ' -f1 /proc/uptime)
    ends 79 "$vlock_pid"
    thaw
    python -c 'import sys; frozen, last = map(float, sys.argv[1:]); print(sys.argv[1:])
assert last < frozen + 12' "$frozen" "$(<last)"
}

@test "a server that comes back in time is not noticed" {
    start_server valkey
    export VLOCK_URL=redis://127.0.0.1:$PORT
    background "$VLOCK_BIN" run -v -t 12s --reply-timeout 2s "$K" -- \
        sh -c 'echo ready; until [ -e end ]; do sleep 0.1; done; exit 5'
    vlock_pid=$!
    until_true 10 has out ready
    freeze
    until_true 20 gave_up_a_renewal
    thaw
    until_true 20 has err '< renew: verdict 1'
    touch end
    ends 5 "$vlock_pid"
    is_free "$K"
}

# gave_up_a_renewal: one that was sent had no answer, and its connection is given up.
gave_up_a_renewal() {
    awk '/> EVALSHA renew/ { sent = 1 } sent && /disconnect/ { found = 1 } END { exit !found }' err
}

@test "a connection that is cut while CMD runs is not noticed" {
    background "$VLOCK_BIN" run -v -t 6s "$K" -- \
        sh -c 'echo ready; until [ -e end ]; do sleep 0.1; done; exit 5'
    vlock_pid=$!
    until_true 10 has out ready
    for _ in 1 2 3; do cli client kill type normal skipme yes; done
    until_true 10 has err '< renew: verdict 1'
    touch end
    ends 5 "$vlock_pid"
    is_free "$K"
}

@test "CMD's own release ends the lease in order: CMD goes on, no 79" {
    gives 5 run -t 6s "$K" -- sh -c '"$VLOCK_BIN" release "$VLOCK_NAME" || exit 40; sleep 3; exit 5'
    is_free "$K"
}

@test "after CMD's own release another may take the lock, and keeps it" {
    gives 5 run -t 6s "$K" -- sh -c '"$VLOCK_BIN" release "$VLOCK_NAME" || exit 40
        "$VLOCK_BIN" -q acquire --token other -t 60s "$VLOCK_NAME-x" >/dev/null || exit 41
        "$1" -s "$2" set "$VLOCK_NAME" stranger px 600000 >/dev/null; sleep 3; exit 5' \
        sh "$SERVER_KIND-cli" "$SOCK"
    held_by "$K" stranger
}

@test "renewal never shortens what CMD's own extend added" {
    background "$VLOCK_BIN" run -t 3s "$K" -- sh -c '"$VLOCK_BIN" extend "$VLOCK_NAME" 1h &&
        echo ready; until [ -e end ]; do sleep 0.1; done; exit 5'
    vlock_pid=$!
    until_true 10 has out ready
    until_true 10 is_below 3600000
    touch end
    ends 5 "$vlock_pid"
    is_free "$K"
}

# is_below MS: what is left has fallen below MS by time alone, and by no more than that
is_below() {
    local left
    left=$(pttl_of "$K")
    ((left > 3400000)) || { echo "shortened to $left" >>err; return 1; }
    ((left < $1))
}

@test "a lock that is broken while CMD runs: CMD is stopped, 79" {
    background "$VLOCK_BIN" run -t 4s "$K" -- sh -c 'echo ready; exec sleep 600'
    vlock_pid=$!
    until_true 10 has out ready
    cli del "$K"
    ends 79 "$vlock_pid"
    is_free "$K"
}

@test "a lock that is taken over while CMD runs: CMD is stopped, 79, the new holder keeps it" {
    background "$VLOCK_BIN" run -t 4s "$K" -- sh -c 'echo ready; exec sleep 600'
    vlock_pid=$!
    until_true 10 has out ready
    cli set "$K" stranger px 600000
    ends 79 "$vlock_pid"
    held_by "$K" stranger
    has err "$K"
}

@test "a lock whose key became something else: CMD is stopped, 79 or 76" {
    background "$VLOCK_BIN" run -t 4s "$K" -- sh -c 'echo ready; exec sleep 600'
    vlock_pid=$!
    until_true 10 has out ready
    cli multi <<<'' >/dev/null
    printf 'multi\ndel %s\nlpush %s x\nexec\n' "$K" "$K" | cli >/dev/null
    ends 79 "$vlock_pid"
    [ "$(cli type "$K")" = list ]
}

@test "CMD that ended while the lock was already lost is 79 also when CMD was happy" {
    gives 79 run -t 60s "$K" -- sh -c '"$1" -s "$2" del "$VLOCK_NAME" >/dev/null; exit 0' \
        sh "$SERVER_KIND-cli" "$SOCK"
    says "$K"
}

@test "CMD that ended while the server is gone is CMD's status, with a warning that names the TTL left" {
    start_server valkey
    export VLOCK_URL=redis://127.0.0.1:$PORT
    gives 5 run -t 59s --connect-timeout 500ms "$K" -- sh -c 'kill -KILL "$1"; exit 5' sh "$SERVER_PID"
    says "$K"
    [[ $stderr =~ [1-5]?[0-9](\.[0-9]+)?s ]]
}

@test "SIGSTOP of both vlocks for longer than the lease: CMD does not go on afterwards" {
    background "$VLOCK_BIN" run -t 4s "$K" -- sh -c 'echo ready; exec sleep 600'
    vlock_pid=$!
    until_true 10 has out ready
    guard_pid=$(pgrep -P "$vlock_pid" lock-guard)
    kill -STOP "$vlock_pid" "$guard_pid"
    until_true 10 is_free "$K"
    cli set "$K" stranger
    kill -CONT "$vlock_pid" "$guard_pid"
    ends 79 "$vlock_pid"
    held_by "$K" stranger
}

@test "a lease that is too short for anything: 79, not the status of the killed CMD" {
    gives 79 run -t 1ms "$K" -- sleep 60
    says "$K"
    is_free "$K"
}

@test "with --token, run presents that token" {
    gives 0 run --token mine -t 60s "$K" -- "$SERVER_KIND-cli" -s "$SOCK" get "$K"
    prints mine
    is_free "$K"
}

@test "the note of run is shown to the next" {
    background "$VLOCK_BIN" run --note 'job 7' "$K" -- sh -c 'echo ready; while [ ! -e end ]; do sleep 0.1; done'
    vlock_pid=$!
    until_true 10 has out ready
    gives 75 acquire -n "$K"
    says 'job 7' "$vlock_pid"
    touch end
    ends 0 "$vlock_pid"
}
