#!/bin/sh
# run.sh [FILE...]: installs what building and testing need, builds dev, asan and release, runs
# every unit test and every tests/*.bats against each, and ends with a line that counts them.
# FILE: only these, `release.bats` or `unit_text` for example.
#   VLOCK_TEST_BUILDS  the presets to test, default "dev asan release"
#   VLOCK_TEST_JOBS    how many files at a time, default one for each processor
#   VLOCK_TEST_LIMIT   seconds for everything after the installation, default 1620
# May be run again and again, from anywhere, as root or with sudo; where nothing is missing,
# without a network. The output of each file stays in build/tests/BUILD/FILE.tap.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../packaging/lib.sh"
cd "$here/.."

need gcc libc6-dev make cmake pkg-config libssl-dev \
    bats shellcheck clang bash zsh fish mandoc jq openssl procps python3 python3-redis util-linux \
    redis-server redis-tools spin
# Their version is pinned: another release that has none of it leaves the style tests out.
wish clang-format-14 clang-tidy-14 musl-dev
backport valkey-server valkey-tools
sh packaging/get-hiredis.sh

passed=0 failed=0 skipped=0
results=$PWD/build/tests
rm -rf "$results"
mkdir -p "$results"

# Every process of the tests carries this mark in its environment, wherever it went. (Its name
# does not begin with VLOCK_: those the tests take out of the environment.)
TEST_RUN_MARK=$$.$(date +%s)
marked() {
    grep -lzx "TEST_RUN_MARK=$TEST_RUN_MARK" /proc/[0-9]*/environ 2>/dev/null |
        sed 's|/proc/\([0-9]*\)/.*|\1|'
}

# Whatever the tests left running ends here, however they ended.
sweep() {
    for signal in TERM TERM TERM KILL KILL KILL; do
        left=$(marked) || :
        [ -n "$left" ] || return 0
        # shellcheck disable=SC2086 # a list of pids
        kill -s $signal $left 2>/dev/null || :
        sleep 0.5
    done
}

# For temporary files and for what the sanitizers find: a short name, for the sake of sockets,
# without blanks, which the sanitizers' options cannot hold, and open to every user that a test
# may become.
temporary=$(mktemp -d /tmp/vlock-test.XXXXXX)
mkdir "$temporary/found"
chmod 1777 "$temporary" "$temporary/found"
trap 'sweep; rm -rf "$temporary"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# step NAME COMMAND...: counts like a test, and shows its output only when it fails.
step() {
    name=$1
    shift
    if "$@" >"$results/step.log" 2>&1; then
        passed=$((passed + 1))
        say "ok      $name"
    else
        failed=$((failed + 1))
        say "FAILED  $name"
        cat "$results/step.log"
        return 1
    fi
}

build() { cmake --preset "$1" && cmake --build --preset "$1"; }
build_with_clang() {
    cmake -S . -B build/clang -DCMAKE_C_COMPILER=clang -DVLOCK_WERROR=ON -DVLOCK_TESTS=ON &&
        cmake --build build/clang -j 4
}

# Is this file, .bats or unit test, one of those asked for?
asked() {
    base=${1##*/}
    shift
    [ $# -gt 0 ] || return 0
    for wish; do
        [ "${wish##*/}" != "$base" ] || return 0
    done
    return 1
}

# The files for one build, one a line, long ones first, which leaves no processor idle at the
# end. The style of the source, and the model, are the same for each build; the second kind of
# server is for the first one only.
files() {
    build=$1
    shift
    # shellcheck disable=SC2012 # our own files, and no name of them holds a newline
    ls -LS "$PWD/build/$build/tests/unit"/unit_* "$here"/*.bats 2>/dev/null |
        while read -r file; do
            case ${file##*/} in
                style.bats | model.bats | *@redis.bats)
                    [ "$build" = "${builds%% *}" ] || continue
                    ;;
                *.bats) ;;
                *) [ -x "$file" ] || continue ;;
            esac
            if asked "$file" "$@"; then
                say "$file"
            fi
        done
}

export VLOCK_TEST_DEADLINE=$(($(date +%s) + ${VLOCK_TEST_LIMIT:-1620}))
builds=${VLOCK_TEST_BUILDS:-dev asan release}
[ $# -gt 0 ] || step "clang builds it without a warning" build_with_clang || :
for build in $builds; do
    step "gcc builds $build without a warning" build "$build" || continue
    mkdir "$results/$build"
    files "$build" "$@" >"$results/$build.files"
    # In the background, so that a signal is acted on at once; which would have the tests
    # ignore SIGINT and SIGQUIT.
    env --default-signal VLOCK_BIN="$PWD/build/$build/vlock" TEST_RUN_MARK="$TEST_RUN_MARK" \
        VLOCK_TEST_FINDINGS="$temporary/found" TMPDIR="$temporary" \
        xargs -d '\n' -r -n 1 -P "${VLOCK_TEST_JOBS:-$(nproc)}" \
        sh "$here/one.sh" "$results/$build" <"$results/$build.files" &
    wait $! || :
    left=$(marked) || :
    if [ -n "$left" ]; then
        failed=$((failed + 1))
        say "FAILED  the tests left these processes behind:"
        # shellcheck disable=SC2086 # a list of pids
        ps -o pid,ppid,stat,args $left || :
        sweep
    fi
    # A file without a count was never finished, whatever ended it: that is no success.
    while read -r file; do
        base=${file##*/}
        if [ ! -f "$results/$build/$base.count" ]; then
            failed=$((failed + 1))
            say "FAILED  $base was not finished"
        fi
    done <"$results/$build.files"
    while read -r ok not_ok skip; do
        passed=$((passed + ok)) failed=$((failed + not_ok)) skipped=$((skipped + skip))
    done <<COUNTS
$(cat "$results/$build"/*.count 2>/dev/null)
COUNTS
done

say ''
if [ $skipped -gt 0 ]; then
    say "$passed passed, $failed failed, $skipped skipped"
else
    say "$passed passed, $failed failed"
fi
[ $failed -eq 0 ] && [ $passed -gt 0 ]
