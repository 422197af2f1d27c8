#!/bin/sh
# quickstart.sh: from a fresh machine to a vlock that has shown its main job. Installs what
# building needs, builds build/release/vlock, and runs a guarded job on the local store, which
# needs no server. May be run again and again, from anywhere, as root or with sudo.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
cd "$here/.."

title() { printf '\n== %s\n' "$*"; }

title "what building needs"
need gcc libc6-dev make cmake pkg-config libssl-dev
wish musl-dev # for a faster start; see cmake/musl.cmake
sh packaging/get-hiredis.sh

title "build"
cmake --preset release
cmake --build --preset release
vlock=$PWD/build/release/vlock

work=$(mktemp -d "${TMPDIR:-/tmp}/vlock-demo.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkdir "$work/locks"
export VLOCK_URL="local:$work/locks"

workers=8 rounds=25 want=200
cat >"$work/add-one.sh" <<'EOS'
#!/bin/sh
# Reads, thinks, writes back: two of these at the same time lose an increment.
read -r n <"$1"
sleep 0.002
echo $((n + 1)) >"$1"
EOS
cat >"$work/worker.sh" <<'EOS'
#!/bin/sh
# worker.sh ROUNDS COUNTER [GUARD...]: counts up ROUNDS times, under GUARD.
rounds=$1 counter=$2
shift 2
while [ "$rounds" -gt 0 ]; do
    "$@" sh "${0%/*}/add-one.sh" "$counter" || exit
    rounds=$((rounds - 1))
done
EOS

# race COUNTER [GUARD...]: all workers at once; fails when one of them does.
race() {
    counter=$1
    shift
    echo 0 >"$counter"
    pids=
    for worker in $(seq $workers); do
        sh "$work/worker.sh" $rounds "$counter" "$@" && say "  worker $worker: $rounds added" &
        pids="$pids $!"
    done
    for pid in $pids; do
        wait "$pid" || die "a worker failed"
    done
    read -r got <"$counter"
}

title "$workers scripts add one to a file, $rounds times each, under no lock"
(race "$work/unguarded" env >/dev/null 2>&1) || :
read -r got <"$work/unguarded" || :
say "  the file says $got of $want"

title "the same under: vlock run counter -- sh add-one.sh FILE"
race "$work/guarded" "$vlock" run counter --
say "  the file says $got of $want"
[ "$got" -eq $want ] || die "increments were lost under the lock"

# shown STATUS COMMAND...: runs vlock, visibly, and insists on its exit status.
shown() {
    expected=$1
    shift
    say "  \$ vlock $*"
    status=0
    "$vlock" "$@" || status=$?
    say "    -> $status"
    [ "$status" -eq "$expected" ] || die "vlock $1: status $status, not $expected"
}

title "a lock that outlives a command, through a token file (store: $VLOCK_URL)"
cd "$work"
shown 0 acquire --ttl 30s --token-file deploy.token deploy
shown 0 owned --token-file deploy.token deploy
shown 75 acquire --nonblock --ttl 30s deploy
shown 0 extend --token-file deploy.token deploy 1m
shown 0 locked deploy
shown 0 release --token-file deploy.token deploy
shown 1 locked deploy

title "done: $vlock"
