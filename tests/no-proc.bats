#!/usr/bin/env bats
# vlock run and /proc: it refuses where what CMD starts could not be found, and finds it where /proc
# shows little, goes away, or cannot be opened. Needs root.

load helpers
load queues
load trees

setup_file() {
    start_server valkey
    start_store local
}

need_namespaces() {
    unshare --mount --pid --fork --mount-proc true 2>/dev/null ||
        skip 'namespaces are not permitted here'
}

# A port where nobody listens: asked for a lock it gives 69.
export NOBODY=valkey://127.0.0.1:1

# refuses WORD CMD...: CMD, a vlock run of `touch started` in a place, ends with 71 and says WORD;
# neither a store nor the command was touched. (The local store may refuse by itself.)
refuses() {
    local word=$1
    shift
    VLOCK_URL=$NOBODY observe "$@"
    [ "$status" -eq 71 ]
    says "vlock: $K: " "$word" ': mount '
    observe "$@"
    [ "$status" -eq 71 ]
    says "vlock: $K: " ': mount '
    [ ! -e started ]
    is_free "$K"
}

@test "with nothing on /proc: 71, before the lock is asked for" {
    need_namespaces
    ! grep -q __asan_init "$VLOCK_BIN" || skip 'the sanitizers take their options from /proc'
    # shellcheck disable=SC2016 # for the shell inside
    refuses 'no proc file system' unshare --mount sh -c 'mount -t tmpfs none /proc &&
        exec "$VLOCK_BIN" run "$K" -- touch started'
    # shellcheck disable=SC2016
    refuses 'no proc file system' unshare --mount sh -c 'mkdir -p self && echo $$ >self/stat &&
        mount --bind "$PWD" /proc && exec "$VLOCK_BIN" run "$K" -- touch started'
}

@test "with another pid namespace's /proc: 71, before the lock is asked for" {
    need_namespaces
    refuses 'another pid namespace' unshare --pid --fork "$VLOCK_BIN" run "$K" -- touch started
}

# In both namespaces nobody else starts a process, so the next number is known; `read` and `echo`
# start none.
@test "with another pid namespace's /proc where our number is by accident the same: 71" {
    need_namespaces
    cat >inside <<'SH'
read -r outside rest </proc/self/stat
echo "$outside" >/proc/sys/kernel/ns_last_pid
sh -c 'read -r number rest </proc/self/stat; [ "$number" = $$ ] || exit 99
    exec "$VLOCK_BIN" run "$K" -- touch started'
status=$?
exit "$status"
SH
    observe unshare --mount --pid --fork --mount-proc unshare --pid --fork sh inside
    [ "$status" -ne 99 ] || skip 'the numbers do not agree here'
    refuses 'another pid namespace' unshare --mount --pid --fork --mount-proc \
        unshare --pid --fork sh inside
}

@test "where /proc hides others, and where it shows processes alone: all is stopped, by name" {
    need_namespaces
    setpriv --reuid 65534 --clear-groups "$VLOCK_BIN" --version || skip 'vlock is not open to all'
    for option in hidepid=1 hidepid=2 subset=pid; do
        unshare --mount mount -t proc -o "$option" none /proc || continue # an old kernel
        # shellcheck disable=SC2016
        VLOCK_URL=valkey://127.0.0.1:$PORT OPTION=$option observe unshare --mount sh -c '
            mount -t proc -o "$OPTION" none /proc && exec setpriv --reuid 65534 --clear-groups \
            "$VLOCK_BIN" run "$K" -- sh -c "(sleep 300 &) & exit 5"'
        [ "$status" -eq 5 ]
        says ' (pid ' # of sh, or sleep already
        is_over "$(grep -o 'pid [0-9]*' <<<"$stderr" | cut -c5-)"
    done
}

@test "when /proc is unmounted and covered while CMD runs, what it leaves behind is stopped" {
    need_namespaces
    rm -rf family && mkdir family
    python -c '' # finds $PYTHON
    # shellcheck disable=SC2016
    supervised unshare --mount "$VLOCK_BIN" run -t 10m --kill-after 1s "$K" -- sh -c 'umount -l /proc &&
        mount -t tmpfs none /proc && exec "$PYTHON" "$TESTS/tools/tree.py" family \
        plain group session daemon ignorer deaf stopped'
    until_true 30 test -e family/ready || { cat err && return 1; }
    next_in_line
    touch family/end
    ends 5 "$FRONT"
    next_found_nothing
    nothing_left
    has err 'left behind python'
}

@test "when no descriptor is left while CMD runs, what it leaves behind is stopped" {
    [ "$(id -u)" -eq 0 ] || skip 'only root can take descriptors from a process'
    grow -t 10m --kill-after 1s -- plain group session daemon ignorer deaf stopped
    prlimit --pid "$(guard_of "$FRONT")" --nofile=4:4
    next_in_line
    touch family/end
    ends 5 "$FRONT"
    next_found_nothing
    nothing_left
}
