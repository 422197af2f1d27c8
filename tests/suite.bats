#!/usr/bin/env bats
# The suite itself: what is run, what counts as passed and as failed, what ends when. Needs no build
# of vlock.
# bats file_tags=once

load helpers

# one FILE: one.sh on a unit test, for the build asan.
one() {
    VLOCK_TEST_BUILT=$PWD VLOCK_TEST_TEMPORARY=$PWD/temporary TEST_MARK=$TEST_MARK.one \
        VLOCK_TEST_DEADLINE=$(($(date +%s) + 1000)) observe \
        sh "$TESTS/one.sh" "$PWD/results" asan "$1" 0 1
}

# counted TEXT: one.sh on a program that ends with 0 after writing TEXT where a sanitizer would.
counted() {
    mkdir -p results/asan temporary/found
    cat >unit_it <<'SH'
#!/bin/sh
for option in $(echo "$ASAN_OPTIONS" | tr : ' '); do
    case $option in log_path=*) printf '%b' "$TEXT" >"${option#log_path=}.$$" ;; esac
done
echo 'ok 1 - it works'
echo 1..1
SH
    chmod +x unit_it
    TEXT=$1 one "$PWD/unit_it"
    [ "$status" -eq 0 ]
    [ -z "$(ls temporary/found)" ]
    read -r passed failed skipped <results/asan/unit_it.0.count
}

@test "what a sanitizer finds is a failure, and is shown" {
    for text in '==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x1\n' \
        '==7==ERROR: LeakSanitizer: detected memory leaks\n\nDirect leak of 1 byte(s)\n' \
        'src/a.c:1:2: runtime error: signed integer overflow\n' 'anything\n' \
        '==7==Unable to get registers from thread 8.\n==7==ERROR: LeakSanitizer: leaks\n' \
        '==7==Unable to get registers from thread 8.\nAddressSanitizer:DEADLYSIGNAL\n'; do
        counted "$text"
        [ "$passed $failed $skipped" = '1 1 0' ]
        [[ ${lines[0]} == 'FAILED  asan/unit_it: 1 ok, 1 not ok, '* ]]
        [[ $output == *"# $(printf '%b' "$text" | head -n 1)"* ]]
    done
}

@test "what the leak check says of its own work is none, and is kept" {
    for text in '' '==30940==Unable to get registers from thread 30923.\n' \
        '==7==Unable to get registers from thread 8.\n==7==Unable to get registers from thread 9.\n' \
        '==7==LeakSanitizer has encountered a fatal error.\n==7==HINT: For debugging, try setting'\
' environment variable LSAN_OPTIONS=verbosity=1:log_threads=1\n==7==HINT: LeakSanitizer does'\
' not work under ptrace (strace, gdb, etc)\n'; do
        counted "$text"
        [ "$passed $failed $skipped" = '1 0 0' ]
        [[ $output == 'ok      asan/unit_it: 1 ok, '* ]]
        [ "${#lines[@]}" -eq 1 ]
        [ -z "$text" ] || has results/asan/unit_it.0.tap "# $(printf '%b' "$text" | head -n 1)"
    done
}

# count_of TEXT STATUS: what one.sh makes of a program that prints TEXT and ends with STATUS.
count_of() {
    mkdir -p results/asan temporary/found
    printf '#!/bin/sh\nprintf "%s"\nexit %s\n' "$1" "$2" >unit_it
    chmod +x unit_it
    one "$PWD/unit_it" >shown
    cat results/asan/unit_it.0.count
}

@test "every test of a file's plan counts, whether it ran or not, and so does the status" {
    [ "$(count_of 'ok 1 - a\nok 2 - b # skip no\n1..2\n' 0)" = '1 0 1' ]
    [ "$(count_of 'ok 1 - a\nnot ok 2 - b\n1..2\n' 1)" = '1 1 0' ]
    [ "$(count_of '1..3\nok 1 - a\n' 0)" = '1 2 0' ]
    [ "$(count_of '1..1\nok 1 - a\n' 1)" = '1 1 0' ]
    [ "$(count_of '' 0)" = '1 0 0' ]
    [ "$(count_of '' 139)" = '0 1 0' ]
}

# --- run.sh ----------------------------------------------------------------------------------

# A repository without a source: run.sh, tests as put() writes them, and a cmake that builds nothing.
repository() {
    mkdir -p repo/tests repo/packaging bin
    cp "$TESTS/run.sh" "$TESTS/one.sh" "$TESTS/processes.sh" "$TESTS/helpers.bash" repo/tests
    cat >repo/packaging/lib.sh <<'SH'
say() { printf '%s\n' "$*"; }
die() { say "$*" >&2 && exit 1; }
need() { :; }
wish() { :; }
backport() { :; }
SH
    : >repo/packaging/get-hiredis.sh
    printf '#!/bin/sh\n[ "$1" != --preset ] || mkdir -p "build/$2/tests/unit"\n' >bin/cmake
    chmod +x bin/cmake
}

# put FILE TAGS NAME BODY...: adds a test to a file.
put() {
    local file=repo/tests/$1
    [ -e "$file" ] || printf '#!/usr/bin/env bats\nload helpers\n' >"$file"
    printf '# bats test_tags=%s\n@test "%s" {\n' "$2" "$3" >>"$file"
    shift 3
    printf '%s\n' "$@" '}' >>"$file"
}

# A bats that runs nothing: it only tells in the log which tests it was to run, and how.
tell_only() {
    cat >bin/bats <<'SH'
#!/bin/bash
# bats [-T] --tap -f PATTERN FILE
build=${VLOCK_BIN%/*} n=0
echo "full: ${VLOCK_TEST_FULL:-no}" >>"$LOG"
while read -r name; do
    echo "${build##*/} $name" >>"$LOG"
    echo "ok $((++n)) $name"
done < <(sed -n 's/^@test "\(.*\)" {$/\1/p' "${@: -1}" | grep -E "${@: -2:1}")
echo "1..$n"
SH
    chmod +x bin/bats
}

# runs [NAME=VALUE...] [ARG...]: run.sh ARG..., with nothing of this environment; its last line is
# in $last, what the tests wrote in the file log.
runs() {
    local settings=(LOG="$PWD/log" PATH="$PWD/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    while [[ ${1-} == *=* ]]; do settings+=("$1") && shift; done
    rm -f log
    observe sh -c 'exec 3>&-; exec "$@"' sh env -i "${settings[@]}" sh repo/tests/run.sh "$@"
    last=${output##*$'\n'}
}

# logged: what was run, sorted, each BUILD NAME on a line of its own
logged() { LC_ALL=C sort -u log | paste -sd, -; }

@test "by default every test is run once, with --all everything, with a name that file" {
    repository
    tell_only
    for store in '' @valkey @redis; do put "plain$store.bats" '' "plain$store" true; done
    put tags.bats asan 'both, by default' true
    put tags.bats all '"all" (only)' true
    put tags.bats long,asan 'alone' true
    put tags.bats once 'whatever build' true
    for store in '' @valkey; do
        put "same$store.bats" same "any$store" true
        put "same$store.bats" same,server "server$store" true
    done
    runs
    [ "$status" -eq 0 ]
    [ "$(logged)" = 'asan alone,asan both, by default,asan whatever build,full: no,release alone,'\
'release any,release both, by default,release plain,release plain@valkey,release server@valkey' ]
    [ "$last" = '11 passed, 0 failed' ] # and two builds
    runs --all
    [ "$status" -eq 0 ]
    [ "$(logged)" = 'asan "all" (only),asan alone,asan any,asan any@valkey,'\
'asan both, by default,asan plain,asan plain@valkey,asan server,asan server@valkey,'\
'asan whatever build,full: yes,release "all" (only),release alone,release any,'\
'release any@valkey,release both, by default,release plain,release plain@redis,'\
'release plain@valkey,release server,release server@valkey' ]
    [ "$last" = '23 passed, 0 failed' ] # and three builds
    runs plain.bats tests/plain@redis.bats
    [ "$(logged)" = 'asan plain,full: yes,release plain,release plain@redis' ]
    runs plan.bats
    [ "$status" -eq 1 ]
    [[ $output == *'FAILED  there is no test plan.bats'* ]]
    runs --fast
    [ "$status" -ne 0 ]
    says usage
}

@test "a job is some tests of a file, or all of a whole one, and begun early if it takes long" {
    repository
    tell_only
    for n in {1..50}; do put many.bats '' "test $n" true; done
    for n in {1..30}; do put whole.bats whole "test $n" true; done
    put many.bats long 'takes long' true
    runs VLOCK_TEST_BUILDS=release VLOCK_TEST_JOBS=1
    [ "$last" = '82 passed, 0 failed' ]
    [ "$(cut -d' ' -f3,4 repo/build/tests/times | paste -sd,)" = \
        'release/many.bats.1 1,release/whole.bats.1 30,release/many.bats.2 17,'\
'release/many.bats.3 17,release/many.bats.4 16' ]
}

@test "when the time for all is over, what was not run is named, and has failed" {
    repository
    put first.bats long 'it hangs' 'sleep 600'
    put second.bats '' 'not begun' true
    put second.bats '' 'nor this one' true
    runs VLOCK_TEST_LIMIT=3 VLOCK_TEST_JOBS=1 VLOCK_TEST_BUILDS=release
    [ "$status" -eq 1 ]
    [[ $output == *'FAILED  release/first.bats: 0 ok, 1 not ok, '*'out of time'* ]]
    [[ $output == *$'FAILED  not run, as the 3 s were over'*$'\n    release/second.bats (2)\n'* ]]
    [ "$last" = '1 passed, 3 failed' ]
}

@test "a test that hangs fails, and what it has started ends with it" {
    repository
    put file.bats '' 'it hangs' 'env -i setsid sleep 601 3>&- &
        echo $! >>"$LOG"; until false; do sleep 0.1; done'
    runs BATS_TEST_TIMEOUT=2 VLOCK_TEST_BUILDS=release
    [[ $output == *'not ok 1 it hangs'*'timeout after 2s'* ]]
    [ "$last" = '1 passed, 1 failed' ]
    until_true 5 is_no_more "$(<log)"
}

@test "what a test that fails has started ends before the next, also what is stopped" {
    repository
    put file.bats '' 'it fails' '(setsid sh -c "echo \$\$ >\"$LOG\"; kill -STOP \$\$" 3>&- &)
        until_true 10 test -s "$LOG"; until_true 10 state_is "$(<"$LOG")" T; false'
    put file.bats '' 'next' 'until_true 5 is_no_more "$(<"$LOG")"'
    runs VLOCK_TEST_BUILDS=release
    [[ $output == *'not ok 1 it fails'* ]]
    [ "$last" = '2 passed, 1 failed' ]
}

@test "what a test leaves behind that has passed is a failure, is named, and ends" {
    repository
    put file.bats '' 'leaves something' 'setsid sleep 603 3>&- & echo $! >>"$LOG"'
    runs VLOCK_TEST_GRACE=2 VLOCK_TEST_BUILDS=release
    [ "$last" = '2 passed, 1 failed' ]
    [[ $output == *'left these processes behind'*'sleep 603'*'TEST_MARK='*'.file.bats.1.1'* ]]
    until_true 5 is_no_more "$(<log)"
}
