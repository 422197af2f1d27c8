# helpers.bash - what every suite needs: the runner, real servers, facts about a key.
#
#     gives 75 acquire -n "$K"     runs vlock, fails unless it ends with 75
#     says "busy"                  fails unless vlock's stderr holds each of these texts
#     until_true 5 cmd             waits for a fact, never for a time
#
# Whatever runs beside a test (servers, proxies, vlocks in the background) dies with the process
# that started it, an interrupted one included: the kernel sees to that (setpriv --pdeathsig).
# So none of it may be started from a subshell.
# shellcheck shell=bash

bats_require_minimum_version 1.5.0

TESTS=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
OLD_REDIS=$TESTS/../build/old-redis/redis-server
export TESTS BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-1200}
# shellcheck source=processes.sh
. "$TESTS/processes.sh"
VLOCK_BIN=${VLOCK_BIN:-$TESTS/../build/dev/vlock}
[[ $VLOCK_BIN == /* ]] || VLOCK_BIN=$PWD/$VLOCK_BIN
export VLOCK_BIN

# Nothing of the caller's environment decides what a test sees.
clean_environment() {
    local name
    for name in "${!VLOCK_@}" "${!XDG_@}" "${!GITHUB_@}" NO_COLOR; do
        case $name in
        VLOCK_BIN | VLOCK_TEST_*) ;;
        *) unset "$name" ;;
        esac
    done
    export HOME=${BATS_TEST_TMPDIR:-${BATS_FILE_TMPDIR:-/nonexistent}} LC_ALL=C.UTF-8
    umask 022
}
clean_environment

# A name of its own for each test, a mark for its processes, and the store of the file if it has one.
setup() {
    clean_environment
    cd "$BATS_TEST_TMPDIR" || return 1
    export TEST_MARK=${TEST_MARK:-$BATS_SUITE_TMPDIR}.$BATS_TEST_NUMBER
    export K=test-$BATS_TEST_NUMBER
    if [ -n "${STORE_URL-}" ]; then
        export VLOCK_URL=$STORE_URL
        [ -z "${STORE_CACERT-}" ] || export VLOCK_CACERT=$STORE_CACERT
    fi
}

# A test that failed leaves nothing running, stopped or frozen; of one that passed nothing is left, or
# one.sh says so. A teardown() of a suite's own ends with this.
end_processes() {
    [ -z "${BATS_TEST_COMPLETED-}" ] || return 0
    export -n TEST_MARK
    disown -a # the shell has nothing to say about their end
    cd /
    end_marked "$TEST_MARK" "$BATS_TEST_TMPDIR"
}
teardown() { end_processes; }

# rounds FEW MANY: how often something is tried that goes wrong only now and then: FEW times by
# default, MANY with run.sh --all.
rounds() { if [ -n "${VLOCK_TEST_FULL-}" ]; then echo "$2"; else echo "$1"; fi; }

# --- running ---------------------------------------------------------------------------------

# Runs a command as bats' `run --separate-stderr` does, with fewer processes: $status, $output
# and ${lines[@]} (stdout), $stderr; shown if the test fails. A command that hangs ends with 124 (or
# 137).
observe() {
    local errors=${BATS_TEST_TMPDIR-$BATS_FILE_TMPDIR}.stderr
    status=0
    # Not exec: bash would take a SIGINT that its child died of for one to itself.
    output=$(timeout -k 5 300 "$@" 2>"$errors" || exit $?) || status=$?
    IFS= read -rd '' stderr <"$errors" || :
    while [[ $stderr == *$'\n' ]]; do stderr=${stderr%$'\n'}; done
    # shellcheck disable=SC2034 # for the suites
    IFS=$'\n' read -rd '' -a lines <<<"$output" || :
    printf '$ %s\nstatus %s\n' "$*" "$status"
    printf 'stdout: %s\n' "${output//$'\n'/$'\n'stdout: }"
    printf 'stderr: %s\n' "${stderr//$'\n'/$'\n'stderr: }"
}

vlock() { observe "$VLOCK_BIN" "$@"; }

# gives STATUS ARG...: vlock ARG... ends with STATUS.
gives() {
    local wanted=$1
    shift
    vlock "$@"
    [ "$status" -eq "$wanted" ] || { echo "wanted status $wanted"; return 1; }
}

# take ARG...: acquires, and keeps the token in $TOKEN.
take() {
    gives 0 -q acquire "$@"
    TOKEN=$output
    [ -n "$TOKEN" ]
}

# says TEXT...: the last command's stderr holds every TEXT.
says() {
    local text
    for text; do
        [[ $stderr == *"$text"* ]] || { echo "stderr lacks: $text"; return 1; }
    done
}

# hides TEXT...: neither stdout nor stderr of the last command holds any TEXT.
hides() {
    local text
    for text; do
        [[ $output$stderr != *"$text"* ]] || { echo "shown: $text"; return 1; }
    done
}

# prints TEXT: the last command's stdout is TEXT, not a byte of trailing white space aside.
prints() { [ "$output" = "$1" ] || { echo "wanted stdout: $1"; return 1; }; }

# until_true SECONDS CMD...: waits until CMD succeeds. SECONDS is more than enough on a machine with
# nothing else to do, and a bound against hanging alone: a slow machine is given ten times that.
until_true() {
    local last=$((SECONDS + 10 * $1)) looks=0
    shift
    until "$@"; do
        ((SECONDS <= last)) || { echo "never came true: $*"; return 1; }
        # What takes long is looked at less often: others are at work here, too.
        if ((looks++ < 50)); then pause 0.02; else pause 0.1; fi
    done
}

# pause SECONDS: as sleep, without a process of its own: nobody writes to this pipe.
pause() {
    local pipe=$BATS_RUN_TMPDIR/pause
    [ -p "$pipe" ] || mkfifo "$pipe"
    [ -n "${PAUSE-}" ] || exec {PAUSE}<>"$pipe"
    read -rt "$1" -u "$PAUSE" || :
}

not() { ! "$@"; }

# without FILE...: removes what an earlier one has said, if there was one: that is worth no process.
without() {
    local file
    for file; do
        [ ! -e "$file" ] || { rm -f "$@" && return; }
    done
}

# background CMD...: starts CMD with its usual signals; its id is in $!. Output goes to files
# `out` and `err` in the test's directory unless it is redirected.
background() {
    without out err
    setpriv --pdeathsig KILL env --default-signal=INT,QUIT,PIPE "$@" >out 2>err 3>&- &
}

# sits_waiting PID: this vlock has its signals in hand (SIGTERM is blocked, for a signalfd) and
# sleeps.
sits_waiting() {
    local blocked
    blocked=$(sed -n 's/^SigBlk:\t//p' "/proc/$1/status")
    ((16#${blocked:-0} & 1 << 14)) && grep -q '^State:.*sleeping' "/proc/$1/status"
}

# is_over PID: it has ended. A dead child that this shell has not taken note of counts, too: while
# it runs nothing but its own commands, it can miss that for minutes.
is_over() {
    local stat
    kill -0 "$1" 2>/dev/null || return 0
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
    stat=${stat##*) }
    [ "${stat%% *}" = Z ]
}

# is_no_more PID: it has ended, whether its parent (init) has noticed or not.
is_no_more() { ! [ -e "/proc/$1" ] || grep -qs '^State:.*Z' "/proc/$1/status"; }

# state_is PID LETTERS: the process is in one of these states, as ps shows them
state_is() { grep -qs "^State:.[$2]" "/proc/$1/status"; }

# plight PID: what it and all that descends from it are doing, for who reads why a test failed.
plight() {
    local pid
    echo "what $1 was doing:"
    for pid in "$1" $(pgrep -P "$1"); do
        ps -o pid,ppid,pgid,sid,stat,wchan:16,etimes,args --no-headers -p "$pid" | cut -c1-150
        sed -n 's/^\(...Pnd\|SigBlk\):\s*0*/\1 /p' "/proc/$pid/status" | tr '\n' ' '
        cat "/proc/$pid/syscall"
        [ "$pid" = "$1" ] || ps -o pid,ppid,stat,wchan:16,args --no-headers --ppid "$pid" |
            cut -c1-150
    done 2>/dev/null
}

# ends STATUS PID: the background command ends by itself, with STATUS.
ends() {
    if ! until_true 30 is_over "$2"; then
        plight "$2"
        kill -KILL "$2" || true # it may have ended meanwhile
    fi
    status=0
    wait "$2" || status=$?
    [ "$status" -eq "$1" ] || {
        echo "background command: status $status, wanted $1"
        head -c 2000 out err 2>/dev/null
        return 1
    }
}

# has FILE TEXT: FILE exists and holds TEXT.
has() { grep -qsF -e "$2" "$1"; }

# find_python: sets PYTHON to one that can import redis (another may come first in PATH).
find_python() {
    local known=$BATS_RUN_TMPDIR/python
    export PYTHON
    [ -z "${PYTHON-}" ] || return 0
    if [ ! -s "$known" ]; then
        for PYTHON in /usr/bin/python3 python3; do
            "$PYTHON" -c 'import importlib.util as u; exit(not u.find_spec("redis"))' && break
            PYTHON=
        done
        echo "${PYTHON:?no python3 can import redis}" >"$known"
    fi
    PYTHON=$(<"$known")
}
python() { find_python && "$PYTHON" "$@"; }

# --- servers ---------------------------------------------------------------------------------

# start_server valkey|redis|old-redis [ARG...]: a private server on a unix socket and a loopback
# port, with nothing on disk. Exports SERVER_PID, SERVER (which of the three), SERVER_KIND (the same, or
# redis for the old one), SOCK, PORT (and `cli` talks to it).
# With `--tls` as first ARG it has a TLS port too, TLS_PORT, with the certificates in $CERTS. The old
# one is Redis 6.0 (packaging/get-old-redis.sh): where there is none, the tests are left out.
start_server() {
    local dir try tls=() program=$1-server bind=(127.0.0.1 -::1)
    export SERVER=$1 SERVER_KIND=${1#old-} SOCK PORT TLS_PORT SERVER_PID
    if [ "$1" = old-redis ]; then
        program=$OLD_REDIS bind=(127.0.0.1)
        [ -x "$program" ] || skip 'there is no Redis 6.0 here'
    fi
    shift
    dir=$(mktemp -d "${BATS_TEST_TMPDIR:-$BATS_FILE_TMPDIR}/server-XXXX")
    SOCK=$dir/sock
    for try in 1 2 3 4 5; do
        PORT=$((10000 + (RANDOM * 32768 + RANDOM) % 22000))
        if [ "${1-}" = --tls ]; then
            [ "$try" -gt 1 ] || make_certificates
            TLS_PORT=$((PORT + 1))
            tls=(--tls-port "$TLS_PORT" --tls-ca-cert-file "$CERTS/ca.crt"
                --tls-cert-file "$CERTS/server.crt" --tls-key-file "$CERTS/server.key")
            [ "${2-}" = --tls-auth-clients ] || tls+=(--tls-auth-clients no)
        fi
        # shellcheck disable=SC2034 # start_again takes it
        SERVER_TLS=("${tls[@]}")
        setpriv --pdeathsig KILL "$program" --bind "${bind[@]}" --port "$PORT" \
            --unixsocket "$SOCK" --save '' --appendonly no --dir "$dir" --daemonize no \
            "${tls[@]}" "${@:$((${#tls[@]} ? 2 : 1))}" >"$dir/log" 2>&1 3>&- &
        SERVER_PID=$!
        until_true 10 server_up_or_ended && cli_raw ping >/dev/null 2>&1 && return
        kill -KILL "$SERVER_PID" 2>/dev/null || true
    done
    cat "$dir/log"
    return 1
}

server_up_or_ended() {
    ! kill -0 "$SERVER_PID" 2>/dev/null || cli_raw ping 2>&1 | grep -qE 'PONG|NOAUTH|LOADING'
}

stop_server() {
    kill -KILL "$SERVER_PID"
    wait "$SERVER_PID" || true
}

cli_raw() { "$SERVER_KIND-cli" -s "$SOCK" "$@"; }

# cli ARG...: one command to the server last started, with AUTH from $SERVER_PASSWORD if set.
cli() { cli_raw ${SERVER_PASSWORD:+--no-auth-warning -a "$SERVER_PASSWORD"} "$@"; }

# reply_to WORD...: as cli, for an answer that is a number or a word, without a process of its own:
# what is waited for is asked again and again.
reply_to() {
    local LC_ALL=C link line word
    if [ -n "${SERVER_PASSWORD-}" ]; then
        cli "$@"
        return
    fi
    exec {link}<>"/dev/tcp/127.0.0.1/$PORT"
    {
        printf '*%d\r\n' $#
        for word; do printf '$%d\r\n%s\r\n' ${#word} "$word"; done
    } >&"$link"
    IFS= read -r line <&"$link"
    exec {link}>&-
    line=${line%$'\r'}
    echo "${line#[:+]}"
}

# make_certificates: a CA, a server's certificate for localhost and 127.0.0.1 and one for
# elsewhere.test, a client's certificate; once per file. Sets CERTS.
make_certificates() {
    export CERTS=$BATS_FILE_TMPDIR/certs
    [ ! -d "$CERTS" ] || return 0
    mkdir "$CERTS"
    (
        cd "$CERTS" || exit 1
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
            -keyout ca.key -out ca.crt -subj '/CN=vlock tests CA' \
            -addext basicConstraints=critical,CA:TRUE
        for who in server elsewhere client; do
            case $who in
            server) names=DNS:localhost,IP:127.0.0.1,IP:::1 ;;
            elsewhere) names=DNS:elsewhere.test ;;
            client) names=DNS:client ;;
            esac
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $who.key \
                -out $who.csr -subj "/CN=$who"
            openssl x509 -req -in $who.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
                -out $who.crt -extfile <(echo "subjectAltName=$names")
        done
    ) >"$CERTS/log" 2>&1
}

# --- stores ----------------------------------------------------------------------------------

# start_store STORE: one of $STORES; exports STORE and STORE_URL, which setup() hands to vlock.
start_store() {
    export STORE=$1 STORE_URL STORE_CACERT=
    case $STORE in
    local)
        mkdir -m 0700 "$BATS_FILE_TMPDIR/locks"
        STORE_URL=local:$BATS_FILE_TMPDIR/locks
        ;;
    valkey-tls)
        start_server valkey --tls
        STORE_URL=valkeys://localhost:$TLS_PORT STORE_CACERT=$CERTS/ca.crt
        ;;
    valkey-unix)
        start_server valkey
        STORE_URL=unix://$SOCK
        ;;
    valkey | redis | old-redis)
        start_server "$STORE"
        STORE_URL=$SERVER_KIND://127.0.0.1:$PORT
        ;;
    *) return 1 ;;
    esac
}

# store_of_this_file: FILE@STORE.bats runs against STORE, FILE.bats against the local store.
store_of_this_file() {
    local name=${BATS_TEST_FILENAME##*/}
    name=${name%.bats}
    [[ $name == *@* ]] && echo "${name##*@}" || echo local
}

on_server() { [ "$STORE" != local ]; }

# --- facts about a key -----------------------------------------------------------------------

value_of() { cli get "$1"; }
pttl_of() { reply_to pttl "$1"; }

# set_key KEY VALUE [MS]: what a foreign client writes; the local store has no such thing.
set_key() {
    on_server || skip 'no foreign client on the local store'
    if [ -n "${3-}" ]; then
        cli set "$1" "$2" nx px "$3" >/dev/null
    else
        cli set "$1" "$2" nx >/dev/null
    fi
}

is_free() {
    if on_server; then [ "$(reply_to exists "$1")" = 0 ]; else ! "$VLOCK_BIN" -q locked -- "$1"; fi
}

is_held() { ! is_free "$1"; }

# held_by KEY TOKEN: the key holds exactly TOKEN.
held_by() {
    if on_server; then
        [ "$(value_of "$1")" = "$2" ] || { echo "key $1 holds $(value_of "$1")"; return 1; }
    else
        "$VLOCK_BIN" -q owned --token "$2" -- "$1"
    fi
}

# ttl_between KEY LOW HIGH: what is left, in ms, as the store itself says.
ttl_between() {
    local left
    left=$(ttl_left "$1")
    ((left >= $2 && left <= $3)) || { echo "TTL left of $1: $left, wanted $2 to $3"; return 1; }
}

# ttl_left KEY: milliseconds; -1 for a lock that never expires, -2 for a free one.
ttl_left() {
    if on_server; then
        pttl_of "$1"
    else
        "$VLOCK_BIN" acquire -n -- "$1" 2>&1 >/dev/null | python "$TESTS/tools/ttl_in_message.py"
    fi
}

# --- faults ----------------------------------------------------------------------------------

# start_proxy [unix]: a proxy (tools/proxy.py) in front of the server last started. Exports PROXY
# (its folder: log, rule), PROXY_URL and PROXY_PID.
start_proxy() {
    export PROXY PROXY_URL PROXY_PID
    PROXY=$(mktemp -d "${BATS_TEST_TMPDIR:-$BATS_FILE_TMPDIR}/proxy-XXXX")
    local listen=127.0.0.1:0
    [ "${1-}" != unix ] || listen=unix:$PROXY/sock
    find_python
    setpriv --pdeathsig KILL "$PYTHON" "$TESTS/tools/proxy.py" "$listen" "127.0.0.1:$PORT" \
        "$PROXY" 2>"$PROXY/err" 3>&- &
    PROXY_PID=$!
    until_true 10 test -e "$PROXY/port"
    PROXY_URL=redis://127.0.0.1:$(<"$PROXY/port")
    [ "${1-}" != unix ] || PROXY_URL=unix://$PROXY/sock
}

# rule TEXT: arms the proxy (`cut 2 rst`) and empties its log.
rule() {
    : >"$PROXY/log"
    printf '%s' "$*" >"$PROXY/rule.new"
    mv "$PROXY/rule.new" "$PROXY/rule"
}

# start_scripted STEP...: a scripted server (tools/scripted.py); exports SCRIPTED, SCRIPTED_PORT.
start_scripted() {
    export SCRIPTED SCRIPTED_PORT
    SCRIPTED=$(mktemp -d "$BATS_TEST_TMPDIR/scripted-XXXX")
    find_python
    setpriv --pdeathsig KILL "$PYTHON" "$TESTS/tools/scripted.py" "$SCRIPTED" "$@" \
        2>"$SCRIPTED/err" 3>&- &
    until_true 10 test -e "$SCRIPTED/port"
    SCRIPTED_PORT=$(<"$SCRIPTED/port")
}
