#!/bin/sh
# measure.sh VLOCK [ROUNDS]: what `vlock run` costs beside flock(1): lock, run nothing, unlock,
# with nobody waiting, over TCP, a unix socket and the local store. Ratios matter, times drift.
# Needs gcc, flock and valkey-server or redis-server; the server is its own and ends with it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
vlock=$(readlink -f "${1:?the vlock to measure}")
rounds=${2:-200}
server=$(command -v valkey-server || command -v redis-server) || {
    echo 'measure.sh: no valkey-server and no redis-server here' >&2
    exit 1
}

work=$(mktemp -d /tmp/vlock-bench.XXXXXX)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
gcc -O2 -static -D_GNU_SOURCE -o "$work/rounds" "$here/rounds.c"
printf 'int main(void) { return 0; }\n' >"$work/nothing.c"
gcc -O2 -static -o "$work/nothing" "$work/nothing.c"
mkdir "$work/locks"

# A port that is taken ends the server at once; then the next.
port=$((20000 + $$ % 10000))
until [ -S "$work/socket" ]; do
    if [ -z "$pid" ] || ! kill -0 "$pid" 2>/dev/null; then
        port=$((port + 1))
        "$server" --port $port --bind 127.0.0.1 --unixsocket "$work/socket" --dir "$work" \
            --save '' --appendonly no >"$work/log" 2>&1 &
        pid=$!
    fi
    sleep 0.1
done

"$work/rounds" "$rounds" \
    -- flock flock "$work/file" "$work/nothing" \
    -- 'vlock tcp' "$vlock" -q -u "valkey://127.0.0.1:$port" run -t 30s lock "$work/nothing" \
    -- 'vlock unix' "$vlock" -q -u "unix://$work/socket" run -t 30s lock "$work/nothing" \
    -- 'vlock local' "$vlock" -q -u "local:$work/locks" run -t 30s lock "$work/nothing"
