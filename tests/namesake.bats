#!/usr/bin/env bats
# The guard of a vlock run inside CMD sees to its own when CMD is stopped, and is let: whatever else
# bears its name is not.

load helpers
load queues
load trees

setup_file() { start_server valkey; }

# namesake NAME: a program of that name that notes when it is asked to end
namesake() {
    cp "$BASH" "$1"
    cat >noter <<'SH'
trap 'echo asked >>asked; exit' TERM
: >there
while :; do sleep 0.02; done
SH
}

@test "what is called lock-guard and is no vlock is asked to end, as everything is" {
    export VLOCK_URL=unix://$SOCK
    namesake lock-guard
    supervised "$VLOCK_BIN" run -t 10m --kill-after 30s "$K" -- \
        sh -c './lock-guard noter & until [ -e there ]; do sleep 0.01; done; exit 5'
    ends 5 "$FRONT"
    cat err
    [ "$(cat asked)" = asked ]
    nothing_left
    is_free "$K"
}

# inner_gives_back VLOCK: SIGKILL of the outer vlock ends this one inside CMD, which gives its lock
# back, though that has long to go.
inner_gives_back() {
    supervised "$VLOCK_BIN" -q -u "unix://$SOCK" run -t 10m "$K" -- \
        "$1" -q -u "unix://$SOCK" run -t 10m "$K-inner" -- sleep 300
    until_true 30 is_held "$K-inner"
    until_true 30 pgrep -g 0 -x sleep
    kill -KILL "$FRONT"
    until_true 30 is_free "$K-inner"
    until_true 30 is_free "$K"
    wait "$FRONT" || true
    nothing_left
}

@test "SIGKILL of vlock: a vlock inside CMD gives its lock back, be it vlock or vlock-full" {
    inner_gives_back "$VLOCK_BIN"
    full=$(dirname "$VLOCK_BIN")/vlock-full
    [ ! -x "$full" ] || inner_gives_back "$full"
}

@test "and so does a newer one that was installed meanwhile" {
    mkdir bin
    cp "$VLOCK_BIN" bin/vlock
    VLOCK_BIN=$PWD/bin/vlock
    mkfifo go
    supervised "$VLOCK_BIN" -q -u "unix://$SOCK" run -t 10m "$K" -- sh -c "read -r line <go
        exec '$VLOCK_BIN' -q -u 'unix://$SOCK' run -t 10m '$K-inner' -- sleep 300"
    cp bin/vlock bin/new && mv bin/new bin/vlock
    echo >go
    until_true 30 is_held "$K-inner"
    kill -KILL "$FRONT"
    until_true 30 is_free "$K-inner"
    wait "$FRONT" || true
}
