#!/bin/sh
# run.sh [--all | FILE...]: installs what building and testing need, builds, tests, and ends with a
# line that counts.
#   (nothing)  Every behaviour once, on the release build: all unit tests and all tests/*.bats, those
#              that exist for several stores (FILE@STORE.bats) on this machine's own and on Valkey;
#              and under the sanitizers (asan) the unit tests and what is tagged for that.
#   --all      Everything: both builds, every store, all rounds, the long races, the model at full
#              depth, the soak.
#   FILE...    Only these, `run.bats` or `unit_text_test` for example, as --all runs them.
#
# What a test is, it says by a tag of bats: a line `# bats test_tags=asan,long` above it, or
# `# bats file_tags=...` at the head of its file for all that follow. This is the one place that
# says what the tags mean:
#   all    only with --all (or when its file is named)
#   asan   by default under the sanitizers as well (with --all every test is)
#   once   does not depend on the build: run on the last one only (which clang-tidy can read)
#   long   waits for long: begun first, and with few others in a job
#   same   the same whatever the store: by default on the machine's own only; with the tag `server`
#          beside it on a server only, as there it cannot happen on this machine
#   whole  the tests of this file stay together in one job: what they share is expensive
# Without a tag: on release by default, on both builds with --all. How often a race is tried:
# rounds() in helpers.bash and in unit/check.h.
#
#   VLOCK_TEST_BUILDS  the presets to test, default "release asan"
#   VLOCK_TEST_JOBS    how many jobs at a time, default four for each processor: most tests wait
#   VLOCK_TEST_LIMIT   seconds for everything after the installation, default 4800, --all: 14400.
#                      A bound against hanging, as are those of one.sh: what could not be run by
#                      then is named, and has failed.
# May be run again and again, from anywhere, as root or with sudo; where nothing is missing,
# without a network. The output of each job stays in build/tests/BUILD/FILE.JOB.tap, and how long
# each took in build/tests/times.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../packaging/lib.sh"
. "$here/processes.sh"
cd "$here/.."

full=
[ $# -eq 0 ] || full=yes
[ "${1-}" != --all ] || shift
case ${1-} in -*) die "usage: run.sh [--all | FILE...]" ;; esac

need gcc libc6-dev make cmake pkg-config libssl-dev \
    bats shellcheck clang bash zsh fish mandoc jq openssl procps python3 python3-redis util-linux \
    redis-server redis-tools spin strace
# Their version is pinned: another release that has none of it leaves the style tests out.
wish clang-format-14 clang-tidy-14 musl-dev
backport valkey-server valkey-tools
sh packaging/get-hiredis.sh
sh packaging/get-old-redis.sh || say "going on without Redis 6.0"

passed=0 failed=0 skipped=0
results=$PWD/build/tests
rm -rf "$results"
mkdir -p "$results"

# For temporary files and for what the sanitizers find: a short name, for the sake of sockets,
# without blanks, which the sanitizers' options cannot hold, and open to every user that a test
# may become.
temporary=$(mktemp -d /tmp/vlock-test.XXXXXX)
mkdir "$temporary/found"
chmod 1777 "$temporary" "$temporary/found"
mark=$$.$(date +%s)
trap 'end_marked "$mark" "$temporary"; rm -rf "$temporary"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# fail TEXT: one more that has failed
fail() {
    failed=$((failed + 1))
    say "FAILED  $1"
}

# step NAME COMMAND...: counts like a test, and shows its output only when it fails.
step() {
    name=$1
    shift
    begun=$(date +%s)
    if "$@" >"$results/step.log" 2>&1; then
        passed=$((passed + 1))
        say "ok      $name, $(($(date +%s) - begun)) s"
    else
        fail "$name"
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

# on_this_build FILE BUILD: what the names of the files decide. One that exists for several stores
# is run by default on the machine's own and, without the sanitizers, on one server. With --all the
# second kind of server is for the first build; so is what the sanitizers see in another file's
# variant as well, and what surrounds a command, or its terminal, which is the same on every store.
on_this_build() {
    if [ -z "$full" ]; then
        case ${1##*/} in
            *@valkey.bats) [ "$2" != asan ] || return 1 ;;
            *@*) return 1 ;;
        esac
    fi
    case ${1##*/} in
        *@redis.bats | *@old-redis.bats) [ "$2" = "${builds%% *}" ] ;;
        counters@valkey-tls.bats | counters@valkey.bats | surroundings@* | terminal@*)
            [ "$2" != asan ]
            ;;
    esac
}

# tests FILE BUILD: the tests of a .bats file that are to be run on this build, one a line: its
# tags, a tab, its name.
tests() {
    last=
    [ "$2" != "${builds##* }" ] || last=yes
    awk -v full="$full" -v asan="$([ "$2" = asan ] && echo yes)" -v last="$last" \
        -v server="$(case $1 in *@*) echo 1 ;; *) echo 0 ;; esac)" '
        sub(/^# bats file_tags=/, "") { file = $0; next }
        sub(/^# bats test_tags=/, "") { own = $0; next }
        /^@test / {
            tags = "," file "," own ","
            own = ""
            sub(/^@test +["\047]/, "")
            sub(/["\047] +{.*$/, "")
            if (tags ~ /,once,/ ? !last : asan && !full && tags !~ /,asan,/) next
            if (tags ~ /,all,/ && !full) next
            if (tags ~ /,same,/ && !full && server != (tags ~ /,server,/)) next
            print tags "\t" $0
        }' "$1"
}

# So many tests at most are one job, and so many of those that are tagged long.
PART=20 PART_LONG=4

# jobs FILE BUILD: divides the tests of a .bats file into jobs; for each a line: when it is begun (3:
# first), BUILD, FILE, the job, how many tests it has. Which those are stays in a file FILE.JOB.filter,
# a pattern for bats -f, in which a dot stands for whatever is no letter and no digit.
jobs() {
    tests "$1" "$2" | awk -F '\t' -v build="$2" -v file="$1" -v plain="$PART" -v long="$PART_LONG" \
        -v filter="$results/$2/${1##*/}" '
        function job(part, first, name) {
            gsub(/[^A-Za-z0-9]/, ".", name)
            order[part] = first
            pattern[part] = pattern[part] (count[part]++ ? "|" : "") name
        }
        function parts(n, most) { return int((n + most - 1) / most) }
        $1 ~ /,whole,/ { job(1, 3, $2); whole = 1; next }
        $1 ~ /,long,/ { slow[++slows] = $2; next }
        { other[++others] = $2 }
        END {
            before = whole + 0
            for (i = 0; i < slows; i++) job(before + 1 + i % parts(slows, long), 3, slow[i + 1])
            before += parts(slows, long)
            for (i = 0; i < others; i++)
                job(before + 1 + i % parts(others, plain), build == "asan" ? 2 : 1, other[i + 1])
            for (part = 1; part in count; part++) {
                printf "%d\t%s\t%s\t%d\t%d\n", order[part], build, file, part, count[part]
                printf "^(%s)$", pattern[part] >(filter "." part ".filter")
            }
        }'
}

# all_jobs BUILD [FILE...]: of everything, or of these files.
all_jobs() {
    build=$1
    shift
    for file in "$PWD/build/$build/tests/unit"/unit_* "$here"/*.bats; do
        asked "$file" "$@" || continue
        case $file in
            *.bats) ! on_this_build "$file" "$build" || jobs "$file" "$build" ;;
            *) [ ! -x "$file" ] || printf '2\t%s\t%s\t0\t1\n' "$build" "$file" ;;
        esac
    done
}

limit=${VLOCK_TEST_LIMIT:-$([ -n "$full" ] && echo 14400 || echo 4800)}
export VLOCK_TEST_DEADLINE=$(($(date +%s) + limit))
# Not set to nothing: vlock refuses a VLOCK_ variable that is empty.
unset VLOCK_TEST_FULL
[ -z "$full" ] || export VLOCK_TEST_FULL=yes
builds=${VLOCK_TEST_BUILDS:-release asan}
[ $# -gt 0 ] || [ -z "$full" ] || step "clang builds it without a warning" build_with_clang || :
: >"$results/jobs"
for build in $builds; do
    step "gcc builds $build without a warning" build "$build" || continue
    mkdir "$results/$build"
    all_jobs "$build" "$@" >>"$results/jobs"
done

tab=$(printf '\t')
for wish; do
    grep -q "/${wish##*/}$tab" "$results/jobs" || fail "there is no test $wish"
done

# In the background, so that a signal is acted on at once; which would have the tests ignore SIGINT
# and SIGQUIT.
sort -s -rn "$results/jobs" | cut -f 2- | tr '\t' '\n' |
    env --default-signal VLOCK_TEST_BUILT="$PWD/build" TEST_MARK="$mark" \
        VLOCK_TEST_TEMPORARY="$temporary" \
        xargs -d '\n' -r -n 4 -P "${VLOCK_TEST_JOBS:-$((4 * $(nproc)))}" \
        sh "$here/one.sh" "$results" &
wait $! || :

# A job without a count was never begun or never finished: that is no success.
late=
while IFS=$tab read -r _ build file job tests; do
    name=$build/${file##*/}
    if [ -f "$results/$name.$job.count" ]; then
        read -r ok not_ok skip <"$results/$name.$job.count"
        passed=$((passed + ok)) failed=$((failed + not_ok)) skipped=$((skipped + skip))
    else
        failed=$((failed + tests))
        late="$late$name ($tests)
"
    fi
done <"$results/jobs"
if [ -n "$late" ]; then
    say "FAILED  not run, as the $limit s were over or the run was stopped (so many tests of each):"
    printf '%s' "$late" | sed 's/^/    /'
fi

say ''
if [ $skipped -gt 0 ]; then
    say "$passed passed, $failed failed, $skipped skipped"
else
    say "$passed passed, $failed failed"
fi
[ $failed -eq 0 ] && [ $passed -gt 0 ]
