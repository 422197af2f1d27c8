#!/bin/sh
# one.sh RESULTS BUILD FILE: one .bats file or unit test of a build for run.sh. Its output goes to
# RESULTS/BUILD/FILE.tap, "passed failed skipped" to RESULTS/BUILD/FILE.count, a line and what
# failed to stdout. The builds are in $VLOCK_TEST_BUILT. A file has 15 minutes, but not beyond the
# deadline of the whole.
set -u
results=$1/$2 build=$2 file=$3
name=${file##*/}
tap=$results/$name.tap
found=$VLOCK_TEST_FINDINGS/$build.$name
export VLOCK_BIN="$VLOCK_TEST_BUILT/$build/vlock"
export ASAN_OPTIONS="log_path=$found:exitcode=99:detect_stack_use_after_return=1"
export UBSAN_OPTIONS="log_path=$found:exitcode=99:print_stacktrace=1"
export BATS_TEST_TIMEOUT="${BATS_TEST_TIMEOUT:-600}"

# is_finding FILE: a sanitizer wrote this, and not only about its own work. The leak check stops
# the process, as a debugger does; where that is killed meanwhile, or traced already, it says so.
is_finding() {
    grep -v -e '^$' \
        -e '^==[0-9]*==Unable to get registers from thread [0-9]*\.$' \
        -e '^==[0-9]*==\(Could not attach to\|Waiting on\) thread [0-9]* .*$' \
        -e '^==[0-9]*==Failed spawning a tracer thread (errno [0-9]*)\.$' \
        -e '^==[0-9]*==LeakSanitizer has encountered a fatal error\.$' \
        -e '^==[0-9]*==HINT: For debugging, try setting environment variable LSAN_OPTIONS=' \
        -e '^==[0-9]*==HINT: LeakSanitizer does not work under ptrace ' "$1" | grep -q .
}

start=$(date +%s)
seconds=$((VLOCK_TEST_DEADLINE - start))
[ $seconds -le 900 ] || seconds=900
status=124
if [ $seconds -gt 0 ]; then
    case $file in
        *.bats) set -- bats --tap "$file" ;;
        *) set -- "$file" ;;
    esac
    timeout -k 10 $seconds "$@" >"$tap" 2>&1 </dev/null
    status=$?
else
    : >"$tap"
fi

# What a sanitizer found is a failure, whatever the test made of the exit status.
for finding in "$found".*; do
    [ -e "$finding" ] || continue
    if is_finding "$finding"; then
        echo 'not ok 0 a sanitizer found:' >>"$tap"
    else
        echo '# no finding:' >>"$tap"
    fi
    sed 's/^/# /' "$finding" >>"$tap"
    rm -f "$finding"
done

text=$(awk -v status=$status -v took=$(($(date +%s) - start)) -v count="$results/$name.count" \
    -v name="$build/$name" '
    /^1\.\.[0-9]/ { plan = substr($0, 4) + 0; planned = 1 }
    /^ok / { bad = 0; if (/# [Ss][Kk][Ii][Pp]/) skipped++; else passed++ }
    /^not ok / { bad = 1; failed++ }
    /^not ok 0 / { plan++ }
    /^# no finding:/ { bad = 0 }
    /^# soak: / { told = told "\n    " substr($0, 3) }
    !/^(ok|1\.\.)/ && (bad || !planned) { shown = shown "\n    " $0 }
    END {
        if (!planned && !failed && status == 0 && !passed) passed = 1
        else if (passed + failed + skipped < plan)
            note = plan - passed - failed - skipped " of its tests did not run"
        else if (status && !failed) note = "ended with status " status
        if (status == 124 || status == 137) note = note (note ? "; " : "") "out of time"
        if (note) { n = plan - passed - failed - skipped; failed += n > 0 ? n : !failed }
        printf "%d %d %d\n", passed, failed, skipped >count
        printf "%s %s: %d ok", failed ? "FAILED " : "ok     ", name, passed
        if (failed) printf ", %d not ok", failed
        if (skipped) printf ", %d left out", skipped
        printf ", %d s%s%s%s\n", took, note ? ": " note : "", told, failed ? shown : ""
    }' "$tap")
printf '%s\n' "$text"
# xargs stops at 255 only, and counting is run.sh's
exit 0
