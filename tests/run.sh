#!/bin/sh
# run.sh [FILE...]: installs what building and testing need, builds release and asan, runs every
# unit test and every tests/*.bats against each, and ends with a line that counts them.
# FILE: only these, `run.bats` or `unit_text_test` for example.
#   VLOCK_TEST_BUILDS  the presets to test, default "release asan"
#   VLOCK_TEST_JOBS    how many files at a time, default two for each processor: most tests wait
#   VLOCK_TEST_LIMIT   seconds for everything after the installation, default 1620
# May be run again and again, from anywhere, as root or with sudo; where nothing is missing,
# without a network. The output of each file stays in build/tests/BUILD/FILE.tap.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../packaging/lib.sh"
cd "$here/.."

need gcc libc6-dev make cmake pkg-config libssl-dev \
    bats shellcheck clang bash zsh fish mandoc jq openssl procps python3 python3-redis util-linux \
    redis-server redis-tools spin strace
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

# With the unit tests, and no warning, also where users have neither.
build() {
    cmake --preset "$1" -DVLOCK_TESTS=ON -DVLOCK_WERROR=ON && cmake --build --preset "$1"
}
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

# The files for one build, each as weight, build and path with tabs between. The style of the
# source, the model and the suite itself are the same for each build: the last and the first one;
# the second kind of server is for the first one.
files() {
    build=$1
    shift
    for file in "$PWD/build/$build/tests/unit"/unit_* "$here"/*.bats; do
        case ${file##*/} in
            # clang-tidy reads its compile commands, and knows nothing of musl's
            style.bats)
                [ "$build" = "${builds##* }" ] || continue
                ;;
            model.bats | suite.bats | *@redis.bats)
                [ "$build" = "${builds%% *}" ] || continue
                ;;
            # the sanitizers find nothing in it that contract@valkey-tls has not, and slow it down
            # what surrounds a command, or its terminal, is the same whatever the store
            counters@valkey-tls.bats | counters@valkey.bats | surroundings@* | terminal@*)
                [ "$build" != asan ] || continue
                ;;
            *.bats) ;;
            *) [ -x "$file" ] || continue ;;
        esac
        if asked "$file" "$@"; then
            printf '%s\t%s\t%s\n' "$(weight "$file" "$build")" "$build" "$file"
        fi
    done
}

# weight FILE BUILD: roughly how long it takes: its size, but there are some that take longer.
weight() {
    size=$(wc -c <"$1")
    case ${1##*/} in
        unit_*) size=10000 ;;
        faults.bats) size=90000 ;;
        surroundings* | model.bats | style.bats) size=50000 ;;
        counters* | terminal* | races* | wakeup* | keepalive*) size=40000 ;;
    esac
    [ "$2" != asan ] || size=$((size * 2))
    say "$size"
}

export VLOCK_TEST_DEADLINE=$(($(date +%s) + ${VLOCK_TEST_LIMIT:-1620}))
builds=${VLOCK_TEST_BUILDS:-release asan}
[ $# -gt 0 ] || step "clang builds it without a warning" build_with_clang || :
: >"$results/files"
for build in $builds; do
    step "gcc builds $build without a warning" build "$build" || continue
    mkdir "$results/$build"
    files "$build" "$@" >>"$results/files"
done

# The files of all builds together, long ones first, which leaves no processor idle before the
# end. In the background, so that a signal is acted on at once; which would have the tests ignore
# SIGINT and SIGQUIT.
sort -s -rn "$results/files" | cut -f 2,3 | tr '\t' '\n' |
    env --default-signal VLOCK_TEST_BUILT="$PWD/build" TEST_RUN_MARK="$TEST_RUN_MARK" \
        VLOCK_TEST_FINDINGS="$temporary/found" TMPDIR="$temporary" \
        xargs -d '\n' -r -n 2 -P "${VLOCK_TEST_JOBS:-$((2 * $(nproc)))}" \
        sh "$here/one.sh" "$results" &
wait $! || :
# What was killed in the last moment may take a while to be gone.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    left=$(marked) || :
    [ -n "$left" ] || break
    sleep 1
done
if [ -n "$left" ]; then
    failed=$((failed + 1))
    say "FAILED  the tests left these processes behind:"
    # shellcheck disable=SC2086 # a list of pids
    ps -o pid,ppid,stat,args $left || :
    sweep
fi
# A file without a count was never finished, whatever ended it: that is no success.
tab=$(printf '\t')
while IFS=$tab read -r _ build file; do
    count=$results/$build/${file##*/}.count
    if [ -f "$count" ]; then
        read -r ok not_ok skip <"$count"
        passed=$((passed + ok)) failed=$((failed + not_ok)) skipped=$((skipped + skip))
    else
        failed=$((failed + 1))
        say "FAILED  $build/${file##*/} was not finished"
    fi
done <"$results/files"

say ''
if [ $skipped -gt 0 ]; then
    say "$passed passed, $failed failed, $skipped skipped"
else
    say "$passed passed, $failed failed"
fi
[ $failed -eq 0 ] && [ $passed -gt 0 ]
