#!/usr/bin/env bats
# vlock run between other programs: in pipelines, in containers, with what its starter left closed,
# blocked, ignored or limited. CMD finds all of it as it is without vlock.
# bats file_tags=same

load helpers
load queues
load terminal

BATS_TEST_NAME_PREFIX="$(store_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() { start_store "$(store_of_this_file)"; }

teardown() {
    [ -n "${BATS_TEST_COMPLETED-}" ] || show_terminal
    close_terminal
    [ -z "${SHARED-}" ] || rm -rf "$SHARED"
    end_processes
}

# shell TEXT: as bash -c runs it, all signals as usual; ./locked CMD and ./bare CMD are there
shell() {
    write_starters
    observe env --default-signal bash -c "ulimit -c 0; $1"
}

# alike TEXT: a shell that runs TEXT shows and returns the same for $how=./bare and ./locked.
alike() {
    local status_bare output_bare
    export how PYTHON
    how=./bare shell "$1"
    status_bare=$status output_bare=$output
    how=./locked shell "$1"
    diff <(echo "$output_bare") <(echo "$output")
    [ "$status" -eq "$status_bare" ]
    [ "$stderr" = '' ]
    is_free "$K"
}

# started CMD...: CMD runs in the background, and its ./cmd is ready
started() {
    background "$@"
    STARTED=$!
    until_true 10 test -s id
}

# --- pipelines ---------------------------------------------------------------------------------

pipe_status() { echo "${PIPESTATUS[@]}"; }

@test "a reader that goes away ends CMD as without vlock" {
    export -f pipe_status
    alike '$how yes | head -n 1; pipe_status'
    [ "${lines[1]}" = '141 0' ]
}

@test "vlock in the middle, at both ends, and in all places of a pipeline" {
    head -c 300000 /dev/urandom | base64 >data
    export -f pipe_status
    alike 'cat data | $how tr a b | cksum'
    shell './locked cat data | "$VLOCK_BIN" run "$K-2" -- tr a b | "$VLOCK_BIN" run "$K-3" -- cksum
        pipe_status'
    [ "${lines[0]}" = "$(tr a b <data | cksum)" ]
    [ "${lines[1]}" = '0 0 0' ]
    for lock in "$K" "$K-2" "$K-3"; do is_free "$lock"; done
}

@test "nothing of vlock's keeps a pipe open after its end" {
    export -f pipe_status
    shell 'x=$(./locked sh -c "echo a; exit 5"); echo "$? $x"
        ./locked sh -c "exec >&- 2>&-; exit 5" 2>&1 | cat; pipe_status'
    prints $'5 a\n5 0'
    is_free "$K"
}

@test "nothing of vlock's keeps a pipe open after it was killed" {
    write_starters
    mkfifo pipe
    background bash -c 'exec ./locked ./cmd >pipe'
    vlock_pid=$!
    exec 5<pipe
    until_true 10 test -s id
    kill -KILL "$vlock_pid"
    timeout 30 cat <&5
    exec 5<&-
    until_true 10 is_over "$(<id)"
    until_true 10 is_free "$K"
    wait "$vlock_pid" || true
}

@test "with --leave-children, what closed its output keeps no pipe open" {
    export -f pipe_status
    OPTIONS=--leave-children shell './locked sh -c "
        (sleep 60 </dev/null >/dev/null 2>&1 & echo \$! >left); echo a; exit 5" | cat; pipe_status'
    prints $'a\n5 0'
    kill -KILL "$(<left)"
    is_free "$K"
}

@test "vlock itself says nothing on stdout or stderr" {
    lease=300ms time=1 # which outlasts a renewal
    # a server's must not lapse because the machine is slow for a moment
    ! on_server || { lease=9s && time=4; }
    OPTIONS="-t $lease" shell "./locked sleep $time; exec ./locked sh -c 'exit 5'"
    [ "$status" -eq 5 ]
    prints ''
    [ "$stderr" = '' ]
}

@test "with stderr closed, what vlock has to say gets into no file of CMD's" {
    shell './locked sh -c "sleep 60 >/dev/null 2>&1 & exec 2>file; exec sh -c \"exit 5\"" 2>&-'
    [ "$status" -eq 5 ]
    [ ! -s file ]
    is_free "$K"
}

@test "a client that goes away, no terminal: CMD sees its stdin end, or goes on" {
    write_starters
    cat >client.py <<'PY'
import os, socket, subprocess, sys, time
def run(cmd):
    ours, theirs = socket.socketpair()
    vlock = subprocess.Popen(cmd, stdin=theirs, stdout=theirs)
    theirs.close()
    return ours, vlock
ours, vlock = run(["./locked", "cat"])
ours.sendall(b"text")
assert ours.recv(4) == b"text"
ours.close()
print(vlock.wait(60))
ours, vlock = run(["./locked", "./cmd"])
while not os.path.exists("id"):
    time.sleep(0.01)
ours.close()
os.kill(int(open("front").read()), 10)
while not os.path.exists("got") or open("got").read() != "10\n":
    time.sleep(0.01)
open("end", "w").close()
print(vlock.wait(60))
PY
    observe "$PYTHON" client.py
    [ "$status" -eq 0 ]
    prints $'0\n5'
    is_free "$K"
}

# --- signals -----------------------------------------------------------------------------------

@test "a signal to the whole process group reaches CMD once" {
    write_starters
    started setsid ./locked ./cmd
    until_true 10 listening
    seen=''
    for signal in INT TERM HUP QUIT; do
        kill -s $signal -- "-$(<front)"
        seen="$seen${seen:+ }$(kill -l $signal)"
        got_in_the_end "$seen"
    done
    once_only "$seen"
    kill -TERM "$(<front)"
    got_in_the_end "$seen 10 12 15"
    touch end
    ends 5 "$STARTED"
    is_free "$K"
}

@test "SIGKILL to the whole process group: nothing is left, and the lock is given back" {
    write_starters
    started setsid ./locked sh -c 'setsid sh -c "echo \$\$ >away; exec sleep 60" &
        until [ -s away ]; do sleep 0.1; done; ./cmd'
    until_true 10 listening # the guard is not of that group any more
    kill -KILL -- "-$(<front)"
    ends 137 "$STARTED"
    until_true 10 is_over "$(<away)"
    until_true 10 is_over "$(<id)"
    until_true 10 is_free "$K"
}

@test "a signal to vlock reaches CMD once, also one that was sent to both within an instant" {
    write_starters
    started ./locked ./cmd
    for _ in 1 2 3 4 5; do kill -WINCH "$(<front)"; until_true 10 grep -qw 28 got; done
    touch end
    ends 5 "$STARTED"
}

@test "an ignored SIGINT, SIGQUIT and SIGHUP stay ignored in the background of a script" {
    write_starters
    cat >script <<'SH'
trap '' HUP
"$how" "$@" &
wait $!
SH
    for how in ./bare ./locked; do
        export how
        rm -f id
        started dash script ./cmd 'for n in (1, 2, 3): signal.signal(n, found[n])'
        grep '^SigIgn' "/proc/$(<id)/status" >"ignored.${how#./}"
        for signal in INT QUIT HUP; do kill -s $signal "$(<front)"; done
        once_only ''
        kill -TERM "$(<front)"
        got_in_the_end '10 12 15'
        touch end
        ends 5 "$STARTED"
        rm end
    done
    cmp ignored.bare ignored.locked
    is_free "$K"
}

@test "blocked signals stay blocked for CMD, and vlock ends all the same" {
    write_starters
    cat >block.py <<'PY'
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {1, 2, 3, 10, 12, 15, 17, 18, 20, 21, 22, 28, 40})
os.execv(sys.argv[1], sys.argv[1:])
PY
    alike '$PYTHON block.py $how grep -E "^(SigBlk|SigIgn|ShdPnd|SigPnd)" /proc/self/status'
    alike '$PYTHON block.py $how sh -c "exit 5"'
    alike '$PYTHON block.py $how sh -c "kill -KILL \$\$"'
}

@test "where every signal was found ignored, or blocked, kill -9 of vlock ends CMD as well" {
    write_starters
    cat >deaf.py <<'PY'
import os, signal, sys
usual = set(range(1, 65)) - {9, 17, 19, 32, 33}
if sys.argv[1] == "ignored":
    for number in usual:
        signal.signal(number, signal.SIG_IGN)
else:
    signal.pthread_sigmask(signal.SIG_BLOCK, usual)
os.execv(sys.argv[2], sys.argv[2:])
PY
    for how in ignored blocked; do
        rm -f id
        started "$PYTHON" deaf.py $how ./locked ./cmd
        kill -KILL "$(<front)"
        ends 137 "$STARTED"
        until_true 10 is_over "$(<id)"
        until_true 10 is_free "$K"
    done
}

# --- what CMD inherits -------------------------------------------------------------------------

@test "umask, nice, limits, capabilities and the rest reach CMD untouched" {
    cat >probe <<'SH'
umask; nice; cat /proc/self/limits /proc/self/oom_score_adj /proc/self/cgroup
grep -E '^(Umask|Uid|Gid|Groups|Sig(Blk|Ign|Pnd)|ShdPnd|Cap...|NoNewPrivs|Cpus_allowed|THP)' \
    /proc/self/status
taskset -p $$ | sed 's/.*://'
SH
    alike '$how sh probe'
    alike 'umask 027; ulimit -Sn 50; ulimit -f 1000; ulimit -Ss 7000; ulimit -l 0
        ulimit -Si 100; exec nice -n 3 taskset -c 0 $how sh probe'
}

@test "descriptors 3 to 9 reach CMD untouched" {
    echo text >text
    alike ': >six; exec 3<text 4>four 5<>five 6>>six 7<&0 8>&1 9>&2
        $how bash -c "read line <&3; echo \$line; echo 4 >&4; echo 5 >&5; echo 6 >&6; echo 8 >&8
            for f in /proc/\$\$/fd/*; do echo \${f##*/}; done
            for f in 3 4 5 6; do readlink /proc/\$\$/fd/\$f; cat /proc/\$\$/fdinfo/\$f; done"'
    [ "${lines[0]}" = text ]
    [ "$(cat four five)" = $'4\n5' ]
}

@test "with few descriptors: CMD runs, or 71 with a reason and no lock left" {
    ! grep -q __asan_init "$VLOCK_BIN" || skip 'the sanitizers need descriptors of their own'
    for limit in {4..16}; do # the C library's loader needs one itself
        shell "for fd in {3..20}; do eval \"exec \$fd>&-\"; done
            ulimit -n $limit; exec \"\$VLOCK_BIN\" run \"\$K\" -- sh -c 'exit 5'"
        case $status in
        5) ;;
        71) says 'vlock: ' ;;
        *) false ;;
        esac
        is_free "$K"
    done
    [ "$status" -eq 5 ]
}

@test "with few processes: CMD runs, or 71 with a reason and no lock left" {
    [ "$(id -u)" = 0 ] || skip 'only root can become a user without processes'
    ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 # which starts a process of its own
    export ASAN_OPTIONS
    SHARED=$(mktemp -d)
    chmod 1777 "$SHARED"
    on_server || export VLOCK_URL=local:$SHARED
    cd "$SHARED"
    user=(setpriv --reuid 54321 --regid 54321 --clear-groups)
    "${user[@]}" test -x "$VLOCK_BIN" || skip 'another user cannot reach the binary'
    for limit in {1..5}; do
        observe "${user[@]}" prlimit --nproc="$limit" "$VLOCK_BIN" run "$K" -- sh -c 'exit 5'
        case $status in
        5) ;;
        71) says 'vlock: ' ;;
        *) false ;;
        esac
        [ "$limit" -gt 1 ] || [ "$status" -eq 71 ]
        is_free "$K"
    done
    [ "$status" -eq 5 ]
}

# --- under other programs ----------------------------------------------------------------------

@test "under setsid, nohup, nice, env -i, script, timeout: CMD's status, and no lock left" {
    export sh='sh -c "exit 5"'
    for under in 'setsid -w' nohup 'nice -n 1' 'timeout 100' 'timeout --foreground 100' \
        env 'xargs -a /dev/null' 'setpriv --pdeathsig TERM'; do
        shell "$under ./locked $sh </dev/null"
        if [[ $under == xargs* ]]; then [ "$status" -eq 123 ]; else [ "$status" -eq 5 ]; fi
        is_free "$K"
    done
    shell 'env -i "$VLOCK_BIN" ${VLOCK_CACERT:+--cacert "$VLOCK_CACERT"} -u "$VLOCK_URL" run "$K" \
        -- /bin/sh -c "exit 5"'
    [ "$status" -eq 5 ]
    is_free "$K"
}

@test "under script, which gives it a terminal" {
    command -v script || skip 'there is no script(1) here'
    shell 'script -qec "./locked sh -c \"tty; exit 5\"" typescript </dev/null'
    [ "$status" -eq 5 ]
    [[ $output == */dev/pts/* ]]
    is_free "$K"
}

@test "timeout ends it: CMD is gone, and the lock given back" {
    for foreground in '' --foreground; do
        shell "timeout $foreground 1 ./locked sh -c 'echo \$\$ >id; exec sleep 60'"
        [ "$status" -eq 124 ]
        [ ! -s id ] || is_over "$(<id)"
        until_true 10 is_free "$K"
    done
}

@test "timeout -s KILL ends it: CMD is gone, and the lock given back" {
    shell "timeout -s KILL 1 ./locked sh -c 'echo \$\$ >id; exec sleep 60'"
    [ "$status" -eq 137 ]
    [ ! -s id ] || until_true 10 is_over "$(<id)"
    until_true 10 is_free "$K"
}

# --- in a container ----------------------------------------------------------------------------

# contained CMD...: CMD as PID 1 of a process namespace of its own
contained() { "${container[@]}" "$@"; }

need_containers() {
    container=(unshare --pid --fork --mount-proc --kill-child)
    contained true 2>/dev/null && return
    container=(unshare -Ur --pid --fork --mount-proc --kill-child)
    contained true 2>/dev/null || skip 'process namespaces are not permitted here'
}

@test "as PID 1: CMD's status, whatever its end; SIGINT is 130" {
    need_containers
    write_starters
    for end in 'exit 0' 'exit 5' 'kill -TERM $$' 'kill -INT $$' 'kill -KILL $$'; do
        observe bash -c "$end"
        wanted=$status
        observe "${container[@]}" "$VLOCK_BIN" run "$K" -- sh -c "$end"
        [ "$status" -eq "$wanted" ]
        is_free "$K"
    done
    observe "${container[@]}" "$VLOCK_BIN" run "$K" -- no-such-command
    [ "$status" -eq 127 ]
}

# first_of PID: the child of this unshare, PID 1 within
first_of() { pgrep -P "$1"; }

@test "as PID 1: signals from outside reach CMD once" {
    need_containers
    write_starters
    started "${container[@]}" "$VLOCK_BIN" run "$K" -- ./cmd
    first_of "$STARTED" >front
    [ "$(<id)" -lt 20 ]
    kill -TERM "$(<front)"
    until_true 10 got_is 15
    kill -INT "$(<front)"
    once_only '15 2'
    touch end
    ends 5 "$STARTED"
    is_free "$K"
}

@test "as PID 1: a CMD that SIGTERM or SIGINT from outside ends" {
    need_containers
    write_starters
    for signal in TERM INT; do
        rm -f id
        started "${container[@]}" "$VLOCK_BIN" run "$K" -- \
            ./cmd 'signal.signal(2, signal.SIG_DFL)' 'signal.signal(15, signal.SIG_DFL)'
        kill -s $signal "$(first_of "$STARTED")"
        ends $((128 + $(kill -l $signal))) "$STARTED"
        is_free "$K"
    done
}

@test "as PID 1 at a terminal: Ctrl-C ends CMD, or reaches it once" {
    need_containers
    open_terminal "${container[@]}" "$VLOCK_BIN" run "$K" -- \
        ./cmd 'signal.signal(2, signal.SIG_DFL)'
    until_true 10 test -e id
    press key C
    until_true 10 grep -qsx 'exit 130' "$TTY/ended"
    close_terminal
    is_free "$K"
    open_terminal "${container[@]}" "$VLOCK_BIN" run "$K" -- ./cmd
    until_true 10 test -e id
    press key C
    first_of "$(<"$TTY/leader")" >front
    once_only 2
    touch end
    until_true 10 grep -qsx 'exit 5' "$TTY/ended"
    close_terminal
    is_free "$K"
}

@test "as PID 1: a wait is ended by a signal from outside" {
    need_containers
    take -t 60s "$K"
    background "${container[@]}" "$VLOCK_BIN" run "$K" -- touch ran
    vlock_pid=$!
    until_true 10 wait_for_it "$K" 1
    kill -TERM "$(first_of "$vlock_pid")"
    ends 143 "$vlock_pid"
    until_true 10 wait_for_it "$K" 0
    [ ! -e ran ]
}

@test "as PID 1: orphans are reaped while CMD runs" {
    need_containers
    write_starters
    cat >orphans <<'SH'
for i in 1 2 3 4 5; do (sh -c 'echo >>born' &); done
until [ "$(grep -c '' born 2>/dev/null)" = 5 ]; do sleep 0.02; done
for i in $(seq 500); do
    ps -e --no-headers -o stat,args | grep -q -e '^Z' -e '[b]orn' || exit 5
    sleep 0.02
done
ps -ef
SH
    observe "${container[@]}" "$VLOCK_BIN" run "$K" -- sh orphans
    [ "$status" -eq 5 ]
    is_free "$K"
}

@test "as PID 1: what CMD leaves behind is stopped, and named" {
    need_containers
    observe "${container[@]}" "$VLOCK_BIN" run "$K" -- \
        sh -c 'setsid sleep 61 >/dev/null 2>&1 &
            until grep -qsx sleep /proc/$!/comm; do :; done; exit 5'
    [ "$status" -eq 5 ]
    says "$K" sleep
    is_free "$K"
}

# --- one lock within another -------------------------------------------------------------------

both_free() { is_free "$K" && is_free "$K-in"; }

@test "one vlock within another: a signal to the outer one reaches CMD once" {
    write_starters
    started ./locked "$VLOCK_BIN" run "$K-in" -- ./cmd
    kill -TERM "$(<front)"
    once_only 15
    touch end
    ends 5 "$STARTED"
    both_free
}

@test "one vlock within another: a CMD that SIGINT ended ends both so" {
    write_starters
    observe "$PYTHON" -c 'import subprocess, sys; print(subprocess.call(sys.argv[1:]))' \
        ./locked "$VLOCK_BIN" run "$K-in" -- sh -c 'kill -INT $$'
    prints -2
    both_free
}

@test "one vlock within another: kill -9 of the inner, of the outer, of both" {
    write_starters
    for whom in inner outer both; do
        # The guard of the outer one gives that of the inner one 200 ms, and then kills it too: on
        # a slow machine it takes more than one try to see the inner lock given back.
        given_back=
        for _ in {1..5}; do
            rm -f id inner
            started ./locked sh -c 'echo $$ >inner; exec "$VLOCK_BIN" run -t 10m "$K-in" -- ./cmd'
            case $whom in
            inner) kill -KILL "$(<inner)" ;;
            outer) kill -KILL "$(<front)" ;;
            both) kill -KILL "$(<front)" "$(<inner)" ;;
            esac
            ends 137 "$STARTED"
            until_true 10 is_over "$(<id)"
            until_true 10 is_over "$(<inner)"
            until_true 10 is_free "$K"
            until_true 1 is_free "$K-in" && given_back=yes && break
            [ "$whom" != inner ]
            gives 0 break --yes "$K-in"
        done
        [ "$given_back" ]
    done
}
