#!/bin/sh
# soak.sh [SECONDS [SEED]]: for so long (default 300), a crowd of `vlock run` on a few names, on
# the local store and on a server, while vlocks and guards are killed, connections cut, and the
# server frozen, killed and started again with its append-only file. Inside each guarded command a
# kernel lock and a counter tell whether two were ever in there at once. Ends with a line that says
# how many sections ran; status 1 if there was an overlap, or anything was left behind.
#   VLOCK_BIN      the vlock to test, default build/dev/vlock
#   SOAK_WORKERS   how many vlocks at once, default 12
#   SOAK_TTL       seconds of their leases, default 3; longer than anything stands still here
# The same SEED asks for the same deeds; what comes of them depends on the machine.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
VLOCK_BIN=$(realpath -m "${VLOCK_BIN:-$here/../build/dev/vlock}")
export VLOCK_BIN
for name in $(env | sed -n 's/^\(VLOCK_[A-Z_]*\)=.*/\1/p'); do
    case $name in VLOCK_BIN | VLOCK_TEST_*) ;; *) unset "$name" ;; esac
done
exec "${PYTHON:-/usr/bin/python3}" "$here/tools/soak.py" "${1:-300}" "${2:-$(date +%s)}"
