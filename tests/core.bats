#!/usr/bin/env bats
# What a process of vlock's holds in its memory (a password, a token) is in no core file; what vlock
# executes may write one as ever.

load helpers
load trees

# The sanitizers forbid cores of their own accord.
setup_file() {
    export ASAN_OPTIONS=${ASAN_OPTIONS-}:disable_coredump=0
    start_store local
}

# A keeper is nobody's child.
teardown() {
    [ -z "${KEEPER-}" ] || ! grep -qs '^lock-keeper: ' "/proc/$KEEPER/cmdline" || kill -KILL "$KEEPER"
    [ -z "${SHARED-}" ] || rm -rf "$SHARED"
    fell
    end_processes
}

# core_limit FILE: the soft and the hard limit in a /proc/PID/limits, as "0 unlimited"
core_limit() { sed -n 's/^Max core file size *\([a-z0-9]*\) *\([a-z0-9]*\) .*/\1 \2/p' "$1"; }

# under SOFT:HARD CMD...: CMD with these limits for core files
under() {
    local limits=$1
    shift
    observe prlimit --core="$limits" true
    [ "$status" -eq 0 ] || skip "no core files of $limits here"
    supervised prlimit --core="$limits" "$@"
}

# What a command, or a hook, writes its limits to a file with.
write_probe() { echo 'cat /proc/self/limits >"$1.new"; mv "$1.new" "$1"' >probe; }

# runs_under SOFT:HARD OURS [CMD...]: vlock (after CMD...) has OURS as its limits in each process, CMD
# and the hook those that it was given.
runs_under() {
    local limits=$1 ours=$2 process
    shift 2
    without cmd hook
    under "$limits" "$@" "$VLOCK_BIN" run -t 10m --on-lost='exec:sh ./probe hook' "$K" -- \
        sh -c 'sh ./probe cmd; exec sleep 300'
    until_true 30 test -e cmd
    until_true 30 has_ear
    for process in "$FRONT" "$(guard_of "$FRONT")" "$EAR"; do
        echo "process $process: $(core_limit "/proc/$process/limits")"
        [ "$(core_limit "/proc/$process/limits")" = "$ours" ]
    done
    gives 0 break --yes "$K"
    ends 79 "$FRONT"
    until_true 30 test -e hook
    echo "CMD: $(core_limit cmd), hook: $(core_limit hook)"
    [ "$(core_limit cmd)" = "${limits/:/ }" ]
    [ "$(core_limit hook)" = "${limits/:/ }" ]
}

has_ear() { EAR=$(pgrep -P "$FRONT" -x lock-ear); }

@test "run: no process of vlock's leaves a core, CMD and the hook as they would without it" {
    write_probe
    runs_under 0:unlimited '1 unlimited'
    runs_under unlimited:unlimited '1 unlimited'
    runs_under 1:8192 '1 8192'
    runs_under 8192:8192 '1 8192'
}

@test "run: a hard limit of 0 stays" {
    write_probe
    runs_under 0:0 '0 0'
}

@test "run as an ordinary user: as root" {
    [ "$(id -u)" = 0 ] || skip 'only root can become another user'
    local user=(setpriv --reuid 54377 --regid 54377 --clear-groups)
    SHARED=$(mktemp -d) && chmod 1777 "$SHARED" && cd "$SHARED"
    "${user[@]}" "$VLOCK_BIN" --version || skip 'vlock is not open to all'
    write_probe
    mkdir -m 1777 shared
    export VLOCK_URL=local:$SHARED/shared
    runs_under unlimited:unlimited '1 unlimited' "${user[@]}"
    runs_under 0:8192 '1 8192' "${user[@]}"
}

@test "over TLS, where vlock becomes vlock-full: the same" {
    start_server valkey --tls
    export VLOCK_URL=valkeys://localhost:$TLS_PORT VLOCK_CACERT=$CERTS/ca.crt
    write_probe
    runs_under 0:unlimited '1 unlimited'
    runs_under unlimited:unlimited '1 unlimited'
}

@test "acquire: no core while it waits, nor of the keeper" {
    take -t 10m "$K"
    under unlimited:unlimited "$VLOCK_BIN" acquire --keep-alive=$$ -t 10m "$K"
    until_true 30 sits_waiting "$FRONT"
    [ "$(core_limit "/proc/$FRONT/limits")" = '1 unlimited' ]
    gives 0 release --token "$TOKEN" "$K"
    ends 0 "$FRONT"
    KEEPER=$(pgrep -fx "lock-keeper: keeps $K for process $$")
    [ "$(core_limit "/proc/$KEEPER/limits")" = '1 unlimited' ]
    TOKEN=$(<out)
    gives 0 release --token "$TOKEN" "$K"
    until_true 30 is_no_more "$KEEPER"
}

# leaves_core: a shell that crashes leaves a core file here (core_pattern may send it elsewhere)
leaves_core() {
    mkdir -p crash
    observe prlimit --core=unlimited env -C crash sh -c 'kill -ABRT $$'
    [ -n "$(ls crash)" ]
}

@test "a vlock that crashes leaves no core file, a CMD that does leaves its own" {
    leaves_core || skip 'no core files in the working directory here'
    mkdir of_vlock of_cmd
    for victim in front guard; do
        under unlimited:unlimited env -C of_vlock "$VLOCK_BIN" run -t 10m "$K" -- \
            sh -c 'cd ..; : >there; exec sleep 300'
        until_true 30 test -e there
        rm there
        case $victim in
        front) kill -ABRT "$FRONT" ;;
        guard) kill -ABRT "$(guard_of "$FRONT")" ;;
        esac
        until_true 30 is_over "$FRONT"
        until_true 30 nothing_left
        until_true 30 is_free "$K"
    done
    ls of_vlock
    [ -z "$(ls of_vlock)" ]
    under unlimited:unlimited "$VLOCK_BIN" run -t 10m "$K" -- \
        sh -c 'cd of_cmd; kill -ABRT $$'
    ends 134 "$FRONT"
    [ -n "$(ls of_cmd)" ]
}
