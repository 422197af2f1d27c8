#!/bin/sh
# one.sh RESULTS FILE: one .bats file or unit test for run.sh. Its output goes to
# RESULTS/FILE.tap, "passed failed skipped" to RESULTS/FILE.count, a line and what failed to
# stdout. A file has 10 minutes, but not beyond the deadline of the whole.
set -u
results=$1 file=$2
name=${file##*/}
tap=$results/$name.tap
export ASAN_OPTIONS="log_path=$VLOCK_TEST_FINDINGS/$name:exitcode=99:detect_stack_use_after_return=1"
export UBSAN_OPTIONS="log_path=$VLOCK_TEST_FINDINGS/$name:exitcode=99:print_stacktrace=1"
export BATS_TEST_TIMEOUT="${BATS_TEST_TIMEOUT:-180}"

start=$(date +%s)
seconds=$((VLOCK_TEST_DEADLINE - start))
[ $seconds -le 600 ] || seconds=600
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
for finding in "$VLOCK_TEST_FINDINGS/$name".*; do
    [ -s "$finding" ] || continue
    say_what=$(sed 's/^/# /' "$finding")
    printf 'not ok 0 a sanitizer found:\n%s\n' "$say_what" >>"$tap"
    rm -f "$finding"
done

text=$(awk -v status=$status -v took=$(($(date +%s) - start)) -v count="$results/$name.count" \
    -v name="$(basename "$results")/$name" '
    /^1\.\.[0-9]/ { plan = substr($0, 4) + 0; planned = 1 }
    /^ok / { bad = 0; if (/# [Ss][Kk][Ii][Pp]/) skipped++; else passed++ }
    /^not ok / { bad = 1; failed++ }
    /^not ok 0 / { plan++ }
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
        printf ", %d s%s%s\n", took, note ? ": " note : "", failed ? shown : ""
    }' "$tap")
printf '%s\n' "$text"
# xargs stops at 255 only, and counting is run.sh's
exit 0
