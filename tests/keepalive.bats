#!/usr/bin/env bats
# acquire --keep-alive=PID: a keeper renews in the background, and gives the lock back when PID
# ends. Runs on every store, as contract.bats does.

load helpers
load queues

BATS_TEST_NAME_PREFIX="$(store_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() {
    export BATS_NO_PARALLELIZE_WITHIN_FILE=1
    start_store "$(store_of_this_file)"
}

# A keeper is nobody's child: what a test has left is ended here.
teardown() {
    local pid
    for pid in ${KEEPERS-}; do
        ! grep -qs '^lock-keeper: keeps ' "/proc/$pid/cmdline" || kill -KILL "$pid" || true
    done
    end_processes
}

# keepers_of PID: the keepers for that process
keepers_of() { pgrep -fx "lock-keeper: keeps .* for process $1"; }

# find_keeper PID: sets KEEPER
find_keeper() {
    KEEPER=$(keepers_of "$1")
    KEEPERS="${KEEPERS-} $KEEPER"
    [ -n "$KEEPER" ]
}

# script ARG...: in the background, a shell that acquires $K for itself with ARG... and then lives
# until there is a file `end`. Sets SCRIPT, KEEPER, TOKEN.
script() {
    rm -f token end
    # shellcheck disable=SC2016 # for that shell
    background sh -c 'token=$("$VLOCK_BIN" acquire --keep-alive=$$ "$@") || exit
        echo "$token" >token.new && mv token.new token
        until [ -e end ]; do sleep 0.1; done' script "$@" "$K"
    SCRIPT=$!
    until_true 30 test -e token
    TOKEN=$(<token)
    find_keeper "$SCRIPT"
}

# gone: script and keeper have ended
gone() {
    ends "${1:-0}" "$SCRIPT"
    until_true 30 is_no_more "$KEEPER"
}

# older_than SECONDS: so long it is since the test called `now`
older_than() { ((SECONDS - NOW > $1)); }
now() { NOW=$SECONDS; }

# short_ttl: sets TTL, in seconds, of a lock that is watched beyond it. On a server it must not
# lapse because the machine is slow for a moment.
short_ttl() { if on_server; then TTL=6; else TTL=3; fi; }

# somebody_waits: starts one that acquires $K in its turn. Its id is in $waiter.
somebody_waits() {
    background "$VLOCK_BIN" -q acquire -t 60s "$K"
    waiter=$!
    until_true 30 wait_for_it "$K" 1
}

# full_pipe: a pipe that takes no more, in descriptor 5
full_pipe() {
    mkfifo pipe
    exec 5<>pipe
    python -c 'import os
os.set_blocking(5, False)
try:
    while True: os.write(5, b"x" * 65536)
except BlockingIOError: pass
os.set_blocking(5, True)'
}

# --- the life of a lock ----------------------------------------------------------------------

@test "a lock is kept beyond its TTL, and released by its token: the keeper ends silently" {
    short_ttl
    now
    script -t "${TTL}s" --token-file F # prints nothing
    until_true 30 older_than $((2 * TTL + 1))
    gives 0 owned --token-file F "$K"
    gives 75 acquire -n "$K"
    gives 0 release --token-file F "$K"
    until_true 30 is_no_more "$KEEPER"
    is_free "$K"
    touch end
    ends 0 "$SCRIPT"
    [ ! -e F ]
    [ ! -e F.log ]
    [ ! -s err ]
}

@test "the end of the process gives the lock to the next, and ends the keeper" {
    script -t 10m
    somebody_waits
    touch end
    ends 0 "$waiter"
    gone
    gives 0 release --token "$(<out)" "$K"
}

@test "SIGKILL of the process gives the lock to the next, and ends the keeper" {
    script -t 10m
    somebody_waits
    kill -KILL "$SCRIPT"
    ends 0 "$waiter"
    gone 137
    gives 0 release --token "$(<out)" "$K"
}

@test "any process of ours will do, and its own children outlive the lock" {
    background sleep 600
    other=$!
    gives 0 acquire --keep-alive="$other" -t 10m "$K"
    find_keeper "$other"
    is_held "$K"
    kill "$other"
    wait "$other" || true
    until_true 30 is_free "$K"
    until_true 30 is_no_more "$KEEPER"
}

@test "-t none: nothing is renewed, and the lock is given back all the same" {
    script -t none
    ttl_between "$K" -1 -1
    touch end
    gone
    is_free "$K"
    script -t none
    gives 0 release --token "$TOKEN" "$K"
    until_true 30 is_no_more "$KEEPER"
    touch end
    ends 0 "$SCRIPT"
}

@test "a lock that was waited for is kept as well" {
    take -t 60s "$K"
    given=$TOKEN
    short_ttl
    now
    background sh -c '"$VLOCK_BIN" -q acquire --keep-alive=$$ -w 60s -t "$2" "$1" >token || exit
        until [ -e end ]; do sleep 0.1; done' script "$K" "${TTL}s"
    SCRIPT=$!
    until_true 30 wait_for_it "$K" 1
    gives 0 release --token "$given" "$K"
    until_true 30 find_keeper "$SCRIPT"
    until_true 30 older_than $((2 * TTL + 1))
    gives 0 owned --token "$(<token)" "$K"
    touch end
    gone
    is_free "$K"
}

@test "several locks of one shell are independent" {
    background bash -c 'for n in 1 2 3; do
            "$VLOCK_BIN" acquire --keep-alive=$$ -t 10m --token-file F$n "$K-$n" || exit
        done; touch taken; until [ -e end ]; do sleep 0.1; done'
    SCRIPT=$!
    until_true 30 test -e taken
    find_keeper "$SCRIPT"
    [ "$(wc -l <<<"$KEEPER")" -eq 3 ]
    gives 0 release --token-file F2 "$K-2"
    until_true 30 two_are_left
    for n in 1 3; do gives 0 owned --token-file F$n "$K-$n"; done
    touch end
    ends 0 "$SCRIPT"
    for n in 1 3; do until_true 30 is_free "$K-$n"; done
    until_true 30 not keepers_of "$SCRIPT"
}
two_are_left() { # who has ended may still have its name
    local pid left=0
    for pid in $KEEPER; do is_no_more "$pid" || left=$((left + 1)); done
    [ $left -eq 2 ]
}

@test "extend and reacquire by the script: a renewal never shortens" {
    short_ttl
    now
    script -t "${TTL}s" --token-file F
    gives 0 extend --token-file F "$K" 10m
    until_true 30 older_than $((2 * TTL - 1))
    ttl_between "$K" 500000 $((600000 + TTL * 1000))
    gives 0 extend --token-file F --replace "$K" 1h
    until_true 30 older_than $((3 * TTL - 1))
    ttl_between "$K" 3500000 3600000
    touch end
    gone
    is_free "$K"
}

@test "SIGTERM, SIGINT, SIGHUP and SIGQUIT to the keeper: the lock is given back" {
    for signal in TERM INT HUP QUIT; do
        script -t 10m
        somebody_waits
        kill -s $signal "$KEEPER"
        ends 0 "$waiter"
        until_true 30 is_no_more "$KEEPER"
        gives 1 owned --token "$TOKEN" "$K"
        gives 0 release --token "$(<out)" "$K"
        touch end
        ends 0 "$SCRIPT"
    done
}

@test "a keeper is told by signals that its shell ignores, and by no others" {
    background sh -c 'trap "" TERM HUP INT
        "$VLOCK_BIN" acquire --keep-alive=$$ -t 10m "$1" >token || exit
        until [ -e end ]; do sleep 0.1; done' script "$K"
    SCRIPT=$!
    until_true 30 test -s token
    until_true 30 find_keeper "$SCRIPT"
    for signal in USR1 USR2 WINCH TSTP TTIN PIPE ALRM CHLD; do kill -s $signal "$KEEPER"; done
    gives 0 owned --token "$(<token)" "$K"
    gives 75 acquire -n "$K"
    kill -HUP "$KEEPER"
    until_true 30 is_no_more "$KEEPER"
    is_free "$K"
    touch end
    ends 0 "$SCRIPT"
}

@test "SIGKILL of the keeper: the lock stays its owner's until its TTL is over" {
    script -t 10m --token-file F
    kill -KILL "$KEEPER"
    until_true 30 is_no_more "$KEEPER"
    gives 75 acquire -n "$K"
    gives 0 owned --token-file F "$K"
    gives 0 extend --token-file F --replace "$K" 1s
    until_true 30 is_free "$K"
    touch end
    ends 0 "$SCRIPT"
}

# --- the process it is for -------------------------------------------------------------------

@test "a PID that is 0, no number, dead, or a zombie is 64" {
    sleep 600 3>&- &
    dead=$!
    kill -KILL $dead
    wait $dead || true
    find_python
    background "$PYTHON" -c 'import os, time
child = os.fork()
if child == 0: os._exit(0)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
open("zombie.new", "w").write(str(child))
os.rename("zombie.new", "zombie")
time.sleep(600)'
    parent=$!
    until_true 30 test -e zombie
    for pid in 0 -1 +1 1x '' ' 1' 4294967297 99999999999999999999 "$dead" "$(<zombie)"; do
        gives 64 acquire --keep-alive="$pid" "$K"
        says --keep-alive
        [ -z "$output" ]
        is_free "$K"
    done
    gives 64 acquire --keep-alive="$dead" --format shell "$K"
    prints '(exit 64)'
    gives 64 run --keep-alive=$$ "$K" true
    kill "$parent"
}

@test "the process ends while its lock is waited for: 64, and the place is given up" {
    take -t 10m "$K"
    background sleep 600
    other=$!
    background "$VLOCK_BIN" acquire --keep-alive="$other" --token-file F "$K"
    waiter=$!
    until_true 30 wait_for_it "$K" 1
    kill "$other"
    wait "$other" || true
    ends 64 "$waiter"
    has err "process $other"
    wait_for_it "$K" 0
    [ ! -e F ]
    held_by "$K" "$TOKEN"
}

@test "a lock that is held leaves no keeper: 75" {
    take -t 10m "$K"
    gives 75 acquire --keep-alive=$$ -n --token-file F "$K"
    for _ in {1..5}; do # 69: a server that did not answer in that time
        vlock acquire --keep-alive=$$ -w 100ms -E 9 "$K"
        [ "$status" -eq 69 ] || break
    done
    [ "$status" -eq 9 ]
    [ ! -e F ]
    ! keepers_of $$
}

# --- what is left behind ---------------------------------------------------------------------

@test "a keeper has no terminal, directory, pipe or file of anybody's, and says what it is" {
    mkfifo pipe
    exec 7<>pipe 8<. 9>file
    script -t 10m --token-file F --token "secret-$BATS_SUITE_TEST_NUMBER"
    exec 7>&- 8>&- 9>&-
    ls -l "/proc/$KEEPER/fd"
    for fd in "/proc/$KEEPER/fd"/*; do
        target=$(readlink "$fd")
        case $target in
        /dev/null | anon_inode:* | socket:*) ;;
        "${STORE_URL#local:}" | "${STORE_URL#local:}/$K") [ "$STORE" = local ] ;;
        *) echo "$fd" && return 1 ;;
        esac
        case ${fd##*/} in
        0 | 1 | 2) [ "$target" = /dev/null ] ;;
        esac
    done
    [ "$(readlink "/proc/$KEEPER/cwd")" = / ]
    [ "$(ps -o sid= -o pgid= -o tty= "$KEEPER" | xargs)" = "$KEEPER $KEEPER ?" ]
    grep -q '^Umask:.*0077' "/proc/$KEEPER/status"
    [ "$(<"/proc/$KEEPER/comm")" = lock-keeper ]
    args=$(tr '\0' ' ' <"/proc/$KEEPER/cmdline")
    [[ $args == "lock-keeper: keeps $K for process $SCRIPT"* && $args != *secret* ]]
    touch end
    gone
    is_free "$K"
}

@test "nobody waits for a keeper who waits for the end of acquire's output" {
    # shellcheck disable=SC2016 # for that shell
    observe sh -c 'sleep 600 & other=$!
        "$VLOCK_BIN" -v acquire --keep-alive=$other -t 10m "$1" 2>&1 | grep -v ^vlock >token
        kill $other' script "$K"
    [ "$status" -eq 0 ]
    [ -s token ]
    until_true 30 is_free "$K"
}

@test "--keep-alive needs no remark on the TTL; --format and eval go with it" {
    background bash -c 'set -e
        eval "$("$VLOCK_BIN" acquire --keep-alive=$$ --format shell "$K")"
        "$VLOCK_BIN" owned "$K"
        echo "$VLOCK_TTL" >ttl
        until [ -e end ]; do sleep 0.1; done'
    SCRIPT=$!
    until_true 30 test -s ttl
    find_keeper "$SCRIPT"
    [ "$(<ttl)" = 60s ]
    not grep extended err
    touch end
    gone
    is_free "$K"
}

@test "the reader of the token has gone: 73, the lock is given back, no keeper stays" {
    mkfifo pipe
    exec 5<>pipe
    exec 6>pipe 5>&-
    setpriv --pdeathsig KILL "$VLOCK_BIN" acquire --keep-alive=$$ -t 10m "$K" >&6 2>err 3>&- &
    acquire=$!
    until_true 30 is_over $acquire
    status=0
    wait $acquire || status=$?
    exec 6>&-
    case $status in 73 | 141) ;; *) cat err && return 1 ;; esac
    until_true 30 is_free "$K"
    until_true 30 not keepers_of $$
}

@test "no keeper can be started: 71, and the lock is given back" {
    on_server || skip 'another user has no part in this directory'
    [ "$(id -u)" = 0 ] || skip 'only root can become somebody who may have one process'
    observe setpriv --reuid 54321 --clear-groups prlimit --nproc=1 true || skip 'not here'
    [ "$status" -eq 0 ] || skip 'not here'
    # a sanitizer that looks for leaks needs a thread
    observe setpriv --reuid 54321 --clear-groups prlimit --nproc=1 \
        env ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" \
        "$VLOCK_BIN" acquire --keep-alive=$$ -t 10m "$K"
    [ "$status" -eq 71 ]
    says keeper
    [ -z "$output" ]
    is_free "$K"
}

@test "SIGKILL of acquire before the token was handed over: the lock is given back" {
    full_pipe
    setpriv --pdeathsig KILL "$VLOCK_BIN" acquire --keep-alive=$$ -t 10m "$K" >&5 2>err 3>&- &
    acquire=$!
    until_true 30 is_held "$K"
    until_true 30 find_keeper $$
    not is_over $acquire
    kill -KILL $acquire
    wait $acquire || true
    until_true 30 is_free "$K"
    until_true 30 is_no_more "$KEEPER"
    exec 5>&-
}

@test "the process ends before the token was handed over: the lock is given back" {
    full_pipe
    background sleep 600
    other=$!
    setpriv --pdeathsig KILL "$VLOCK_BIN" acquire --keep-alive=$other -t 10m "$K" >&5 2>err 3>&- &
    acquire=$!
    until_true 30 is_held "$K"
    until_true 30 find_keeper $other
    kill $other
    wait $other || true
    until_true 30 is_free "$K"
    until_true 30 is_no_more "$KEEPER"
    cat <&5 >/dev/null 3>&- & # and now there is room
    reader=$!
    until_true 30 is_over $acquire
    status=0
    wait $acquire || status=$?
    case $status in
    71) ;;
    64) ;; # it had not heard yet that its keeper has begun: it was still taking the lock
    *) cat err && return 1 ;;
    esac
    kill $reader
    exec 5>&-
}

@test "SIGKILL of the keeper before the token was handed over: 71, and the lock is given back" {
    full_pipe
    setpriv --pdeathsig KILL "$VLOCK_BIN" acquire --keep-alive=$$ -t 10m "$K" >&5 2>err 3>&- &
    acquire=$!
    until_true 30 find_keeper $$
    kill -KILL "$KEEPER"
    until_true 30 is_no_more "$KEEPER"
    cat <&5 >/dev/null 3>&- &
    reader=$!
    until_true 30 is_over $acquire
    status=0
    wait $acquire || status=$?
    [ $status -eq 71 ]
    has err keeper
    is_free "$K"
    kill $reader
    exec 5>&-
}

@test "SIGKILL of acquire at any instant: the lock is free again, no keeper stays" {
    times=$(rounds 7 20)
    for ((n = 0; n < times; n++)); do
        background sleep 600
        other=$!
        "$VLOCK_BIN" -q acquire --keep-alive=$other -t 10m "$K" >out 2>err 3>&- &
        acquire=$!
        sleep "$(printf '0.%04d' $((n * 80 / times)))"
        kill -KILL $acquire 2>/dev/null || true
        status=0
        wait $acquire || status=$?
        kill $other
        wait $other || true
        until_true 30 not keepers_of $other
        # what was killed before there was a keeper has left a plain lock
        is_free "$K" || { [ $status -eq 137 ] && gives 0 break --yes "$K"; }
    done
}

# --- trouble ---------------------------------------------------------------------------------

@test "a lock that was broken: the keeper says so beside the token file, for us alone, and ends" {
    umask 000
    script -t 10m --token-file F
    gives 0 break --yes "$K"
    until_true 30 is_no_more "$KEEPER"
    [ "$(stat -c %a F.log)" = 600 ]
    [ "$(wc -l <F.log)" -eq 1 ]
    grep -E "^20[0-9-]+T[0-9:]+Z vlock\[$KEEPER\]: $K: .*lost" F.log
    touch end
    ends 0 "$SCRIPT"
    gives 79 release --token-file F "$K"
    # another time is another line
    script -t 10m --token-file F
    gives 0 break --yes "$K"
    until_true 30 is_no_more "$KEEPER"
    [ "$(wc -l <F.log)" -eq 2 ]
    touch end
    ends 0 "$SCRIPT"
}

@test "a token file named from another directory has its log beside it" {
    mkdir there
    (cd there && mkdir away)
    background sh -c 'cd there/away || exit
        "$VLOCK_BIN" acquire --keep-alive=$$ -t 10m --token-file ../F "$1" || exit
        touch ../taken
        until [ -e ../../end ]; do sleep 0.1; done' script "$K"
    SCRIPT=$!
    until_true 30 test -e there/taken
    find_keeper "$SCRIPT"
    gives 0 break --yes "$K"
    until_true 30 is_no_more "$KEEPER"
    has there/F.log "$K"
    touch end
    ends 0 "$SCRIPT"
}

@test "what stands at F.log and is no plain file of ours is left alone" {
    echo mine >precious
    ln -s "$PWD/precious" F1.log
    ln -s "$PWD/nowhere" F2.log
    mkfifo F3.log
    ln precious F4.log
    mkdir F5.log
    for n in 1 2 3 4 5; do
        script -t 10m --token-file F$n
        gives 0 break --yes "$K"
        until_true 30 is_no_more "$KEEPER"
        touch end
        ends 0 "$SCRIPT"
    done
    [ "$(<precious)" = mine ]
    [ ! -e nowhere ]
    [ -p F3.log ]
    [ -d F5.log ]
}

@test "without a token file, or with a link at F.log, it is syslog that is told" {
    [ "$(id -u)" = 0 ] && unshare -m true || skip 'only root can stand in for /dev/log'
    find_python
    # shellcheck disable=SC2016 # for that shell
    observe unshare -m sh -e -c 'touch dev.null
        mount --bind /dev/null dev.null
        mount -t tmpfs none /dev
        mkdir /dev/shm
        touch /dev/null
        mount --bind dev.null /dev/null
        "$PYTHON" "$TESTS/tools/syslog.py" /dev/log >syslog &
        listener=$!
        until [ -S /dev/log ]; do sleep 0.02; done
        ln -s nowhere F.log
        "$VLOCK_BIN" -q acquire --keep-alive=$$ -t 10m "$K-1" >/dev/null
        "$VLOCK_BIN" -q acquire --keep-alive=$$ -t 10m --token-file F "$K-2"
        "$VLOCK_BIN" -q break --yes "$K-1"
        "$VLOCK_BIN" -q break --yes "$K-2"
        until grep "$K-1" syslog && grep "$K-2" syslog; do sleep 0.02; done
        kill $listener'
    [ "$status" -eq 0 ]
    # <12>: LOG_USER, LOG_WARNING
    grep -E "^<12>.*vlock\[[0-9]+\]: $K-1: .*lost" syslog
    grep -E "^<12>.*vlock\[[0-9]+\]: $K-2: .*lost" syslog
    [ ! -e nowhere ]
}

@test "taken over by somebody else: the keeper says so, and takes nothing from him" {
    on_server || skip 'no foreign client on the local store'
    script -t 10m --token-file F
    cli set "$K" stranger >/dev/null
    until_true 30 is_no_more "$KEEPER"
    has F.log "$K"
    touch end
    ends 0 "$SCRIPT"
    held_by "$K" stranger
}

@test "a server that comes back with its append-only file: nobody notices" {
    on_server || skip 'there is no server'
    own_server --appendonly yes --appendfsync always
    script -t 60s --token-file F
    stop_server
    start_again --appendonly yes --appendfsync always
    cli pexpire "$K" 20000 # so that what is renewed can be seen
    until_true 60 ttl_between "$K" 40000 60000
    gives 0 owned --token-file F "$K"
    touch end
    gone
    until_true 30 is_free "$K"
    [ ! -e F.log ]
}

@test "TLS files that were named from another directory are found when the keeper connects" {
    on_server || skip 'there is no server'
    start_server "$STORE" --tls
    export VLOCK_URL=valkeys://localhost:$TLS_PORT
    cp "$CERTS/ca.crt" .
    script -t 60s --cacert ca.crt --token-file F
    cli pexpire "$K" 20000 # so that what is renewed can be seen
    until_true 30 ttl_between "$K" 40000 60000
    touch end
    gone
    is_free "$K"
    [ ! -e F.log ]
}

@test "a server that stays away: the keeper tries until the lease is over, says so, and ends" {
    on_server || skip 'there is no server'
    own_server
    script -t 3s --token-file F
    stop_server
    until_true 60 is_no_more "$KEEPER"
    has F.log "$K"
    touch end
    ends 0 "$SCRIPT"
}

@test "the process ends while the server is away: the lock is given back when it answers again" {
    on_server || skip 'there is no server'
    own_server --appendonly yes --appendfsync always
    script -t 10m --token-file F
    stop_server
    touch end
    ends 0 "$SCRIPT"
    not is_no_more "$KEEPER"
    start_again --appendonly yes --appendfsync always
    until_true 30 is_no_more "$KEEPER"
    is_free "$K"
    [ ! -e F.log ]
}

@test "the process ends while the server is frozen: the lock is given back when it goes on" {
    on_server || skip 'there is no server'
    own_server
    for ttl in 10m none; do
        script -t $ttl --token-file F --reply-timeout 3s
        kill -STOP "$SERVER_PID"
        touch end
        ends 0 "$SCRIPT"
        now
        until_true 30 older_than 4 # longer than a reply may take
        not is_no_more "$KEEPER"
        kill -CONT "$SERVER_PID"
        until_true 30 is_no_more "$KEEPER"
        is_free "$K"
        [ ! -e F.log ]
    done
}

@test "the process ends and the server stays away: said when the lease is over" {
    on_server || skip 'there is no server'
    own_server
    script -t 9s --token-file F
    stop_server
    touch end
    ends 0 "$SCRIPT"
    until_true 60 is_no_more "$KEEPER"
    has F.log 'given back'
}

@test "a second signal ends a keeper that cannot give the lock back" {
    on_server || skip 'there is no server'
    own_server
    script -t none --token-file F
    stop_server
    kill -TERM "$KEEPER"
    until_true 30 has_taken_term "$KEEPER" # else two of them would be one
    sleep 0.2
    not is_no_more "$KEEPER"
    kill -TERM "$KEEPER"
    until_true 30 is_no_more "$KEEPER"
    has F.log 'by hand'
    touch end
    ends 0 "$SCRIPT"
}

# has_taken_term PID: no SIGTERM waits for it
has_taken_term() {
    local pending
    pending=$(sed -n 's/^ShdPnd:\t//p' "/proc/$1/status")
    ((!(16#${pending:-0} & 1 << 14)))
}
