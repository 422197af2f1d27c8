#!/usr/bin/env bats
# The suite itself: what counts as passed and as failed. Needs no build of vlock.

load helpers

# counted TEXT: one.sh on a program that ends with 0 after writing TEXT where a sanitizer would.
counted() {
    mkdir -p results/asan found
    cat >unit_it <<'SH'
#!/bin/sh
for option in $(echo "$ASAN_OPTIONS" | tr : ' '); do
    case $option in log_path=*) printf '%b' "$TEXT" >"${option#log_path=}.$$" ;; esac
done
echo 'ok 1 - it works'
echo 1..1
SH
    chmod +x unit_it
    TEXT=$1 VLOCK_TEST_BUILT=$PWD VLOCK_TEST_FINDINGS=$PWD/found \
        VLOCK_TEST_DEADLINE=$(($(date +%s) + 100)) observe \
        sh "$TESTS/one.sh" "$PWD/results" asan "$PWD/unit_it"
    [ "$status" -eq 0 ]
    [ -z "$(ls found)" ]
    read -r passed failed skipped <results/asan/unit_it.count
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
        [ -z "$text" ] || has results/asan/unit_it.tap "# $(printf '%b' "$text" | head -n 1)"
    done
}

# count_of TEXT STATUS: what one.sh makes of a program that prints TEXT and ends with STATUS.
count_of() {
    mkdir -p results/asan found
    printf '#!/bin/sh\nprintf "%s"\nexit %s\n' "$1" "$2" >unit_it
    chmod +x unit_it
    VLOCK_TEST_BUILT=$PWD VLOCK_TEST_FINDINGS=$PWD/found VLOCK_TEST_DEADLINE=$(($(date +%s) + 100)) \
        sh "$TESTS/one.sh" "$PWD/results" asan "$PWD/unit_it" >shown
    cat results/asan/unit_it.count
}

@test "every test of a file's plan counts, whether it ran or not, and so does the status" {
    [ "$(count_of 'ok 1 - a\nok 2 - b # skip no\n1..2\n' 0)" = '1 0 1' ]
    [ "$(count_of 'ok 1 - a\nnot ok 2 - b\n1..2\n' 1)" = '1 1 0' ]
    [ "$(count_of '1..3\nok 1 - a\n' 0)" = '1 2 0' ]
    [ "$(count_of '1..1\nok 1 - a\n' 1)" = '1 1 0' ]
    [ "$(count_of '' 0)" = '1 0 0' ]
    [ "$(count_of '' 139)" = '0 1 0' ]
}
