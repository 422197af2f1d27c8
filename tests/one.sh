#!/bin/sh
# one.sh RESULTS BUILD FILE JOB TESTS: one job of run.sh: those tests of a .bats file that are named
# in RESULTS/BUILD/FILE.JOB.filter, or (JOB 0) a unit test. Its output goes to
# RESULTS/BUILD/FILE.JOB.tap, "passed failed skipped" to FILE.JOB.count beside it, a line and what
# failed to stdout. The builds are in $VLOCK_TEST_BUILT. Whatever it has started ends with it; a
# process that is still there after all has passed is a failure of its own.
#
# The bounds are for what hangs, and far from what any test takes on a slow machine: 20 minutes for
# a test, 10 for each in a job on top of that. Nothing goes on beyond the deadline of the whole run.
set -u
results=$1/$2 build=$2 file=$3 job=$4 tests=$5
name=${file##*/}
base=$results/$name.$job
tap=$base.tap
mark=$TEST_MARK.$build.$name.$job
here=$(dirname "$0")
. "$here/processes.sh"

start=$(date +%s)
seconds=$((VLOCK_TEST_DEADLINE - start))
[ $seconds -gt 0 ] || exit 0 # run.sh says so
[ $seconds -le $((1200 + 600 * tests)) ] || seconds=$((1200 + 600 * tests))

# As short as can be: there are sockets below it.
TMPDIR=$(mktemp -d "$VLOCK_TEST_TEMPORARY/XXXX") || exit 0
chmod 1777 "$TMPDIR"
found=$VLOCK_TEST_TEMPORARY/found/$build.$name.$job
export TMPDIR VLOCK_BIN="$VLOCK_TEST_BUILT/$build/vlock"
export ASAN_OPTIONS="log_path=$found:exitcode=99:detect_stack_use_after_return=1"
export UBSAN_OPTIONS="log_path=$found:exitcode=99:print_stacktrace=1"
export BATS_TEST_TIMEOUT="${BATS_TEST_TIMEOUT:-1200}"

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

# tell_left: what is left of the job after a while, in which everything that ends by itself has.
tell_left() {
    end=$(($(date +%s) + ${VLOCK_TEST_GRACE:-60}))
    for pause in 0 0.1 0.3; do
        sleep $pause
        left=$(marked "$mark" "$TMPDIR")
        [ -n "$left" ] || return 0
    done
    while [ "$(date +%s)" -lt $end ]; do
        sleep 1
        left=$(marked "$mark" "$TMPDIR")
        [ -n "$left" ] || return 0
    done
    echo 'not ok 0 the tests left these processes behind (TEST_MARK ends with the number of the test):'
    for pid in $left; do
        ps -o pid,ppid,stat,args --no-headers -p "$pid" && tr '\0' '\n' <"/proc/$pid/environ" |
            grep '^TEST_MARK='
    done 2>/dev/null | sed 's/^/# /'
}

case $file in
    *.bats) set -- bats ${VLOCK_TEST_FULL:+-T} --tap -f "$(cat "$base.filter")" "$file" ;;
    *) set -- "$file" ;;
esac
status=0
TEST_MARK=$mark timeout -k 10 $seconds "$@" >"$tap" 2>&1 </dev/null || status=$?
[ $status -ne 0 ] || tell_left >>"$tap"
end_marked "$mark" "$TMPDIR"
rm -rf "$TMPDIR"

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

# Of the processors' time: what this shell has waited for.
times >"$base.cpu"
cpu=$(awk -F '[ms ]+' 'END { printf "%.0f", $1 * 60 + $2 + $3 * 60 + $4 }' "$base.cpu")
rm -f "$base.cpu"
took=$(($(date +%s) - start))
echo "$took $cpu $build/$name.$job $tests" >>"$results/../times"
text=$(awk -v status=$status -v took=$took -v cpu="$cpu" -v count="$base.count" \
    -v name="$build/$name" -v job="$job" -v tests="$tests" '
    /^1\.\.[0-9]/ { plan = substr($0, 4) + 0; planned = 1 }
    /^ok / { bad = 0; if (/# [Ss][Kk][Ii][Pp]/) skipped++; else passed++ }
    /^not ok / { bad = 1; failed++ }
    /^not ok 0 / { plan++ }
    /^# no finding:/ { bad = 0 }
    /^# soak: / { told = told "\n    " substr($0, 3) }
    !/^(ok|1\.\.)/ && (bad || !planned) { shown = shown "\n    " $0 }
    END {
        if (job > 0 && plan < tests) plan = tests
        if (!planned && !failed && status == 0 && !passed && !job) passed = 1
        else if (passed + failed + skipped < plan)
            note = plan - passed - failed - skipped " of its tests did not run"
        else if (status && !failed) note = "ended with status " status
        if (status == 124 || status == 137) note = note (note ? "; " : "") "out of time"
        if (note) { n = plan - passed - failed - skipped; failed += n > 0 ? n : !failed }
        printf "%d %d %d\n", passed, failed, skipped >count
        printf "%s %s", failed ? "FAILED " : "ok     ", name
        if (job > 1) printf " (%d)", job
        printf ": %d ok", passed
        if (failed) printf ", %d not ok", failed
        if (skipped) printf ", %d left out", skipped
        printf ", %d s, %d s of a processor%s%s%s\n", took, cpu, note ? ": " note : "", told,
            failed ? shown : ""
    }' "$tap")
printf '%s\n' "$text"
# xargs stops at 255 only, and counting is run.sh's
exit 0
