#!/bin/sh
# check.sh [FILE]: has spin explore queue.pml. One line for each property, each mutant (caught by
# which property) and each way in which a waiter has to fall back on a timer; status 1 if one is not
# as it should be. FILE: the lines go there too.
#   VLOCK_MODEL=small   only the small configurations, and no mutants: some seconds
#   VLOCK_MODEL=large   larger configurations as well: minutes, and gigabytes
#   VLOCK_MODEL_JOBS    explorations at a time, default 2
# A line of the tables: WHAT | EXPECTED | SWITCHES, which queue.pml explains at its head.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

# Everything that is promised holds in each of these, only by the wake-ups that come in time. In
# the small ones is nearly every kind of event; the largest has 200,000 states.
holds='
nothing goes wrong                | | CLIENTS=3
one is killed, then another       | | KILLS=2
one is asked to give up, unheard  | | CLIENTS=2 CONNS=3 LEAVES=1 BREAKS=2 LOOKS=1
replies come too late             | | BREAKS=1 LAPSES=1 CLIENTS=2 CONNS=3 KILLS=1
a host goes dark                  | | DARKS=1 KILLS=1
the lock pauses, one is killed    | | PAUSES=1 KILLS=1
the queue is flushed              | | FLUSHES=1 FOREIGN=1 CLIENTS=2
'
holds_more='
replies are lost                  | | BREAKS=1 LOOKS=1
a connection breaks, one is killed| | BREAKS=1 KILLS=1
some give up                      | | LEAVES=1 STOPS=1
claims lapse                      | | STOPS=1 LAPSES=1
a host goes dark, one is stopped  | | DARKS=1 STOPS=1
a stranger takes it twice         | | FOREIGN=2
a stranger, and one gives up      | | FOREIGN=1 LEAVES=1 RANKS=1
the lock pauses for the stranger  | | PAUSES=1 FOREIGN=1
the lock pauses, one is stopped   | | PAUSES=1 STOPS=1
the lock pauses, a host goes dark | | PAUSES=1 DARKS=1
'
holds_large='
four, one gives up                | | CLIENTS=4 LEAVES=1
replies are lost twice            | | BREAKS=2 CONNS=3
all that can happen to two        | | CLIENTS=2 CONNS=3 BREAKS=2 LEAVES=1 KILLS=1 STOPS=1 LAPSES=1
replies are lost, one gives up    | | BREAKS=1 LEAVES=1 LOOKS=1
replies come too late             | | BREAKS=1 LAPSES=1 STOPS=1
a stranger, and replies are lost  | | FOREIGN=1 BREAKS=1
a stranger, and one is stopped    | | FOREIGN=1 STOPS=1
four, two hosts dark, old timers  | | CLIENTS=4 DARKS=2 RANKS=3 HELP=1
four, two killed, slow checks     | | CLIENTS=4 KILLS=2 RANKS=1 HELP=2
'

# Mutants, and the property that catches each.
mutants='
CMD starts before the confirmation | mutual_exclusion | MUTANT=1 STOPS=1
a withdrawal leaves no mark | the_ended_stay_ended | MUTANT=2 LEAVES=1 BREAKS=1 CLIENTS=2
a withdrawal frees, and hands over to nobody | no_lost_wake_up | MUTANT=3 LEAVES=1
a grant to one who is known to be dead | the_dead_are_passed | MUTANT=4 KILLS=1
a release frees, and nobody is told | no_lost_wake_up | MUTANT=5
a hand-over does not ring the new first | no_lost_wake_up | MUTANT=6 DARKS=1
a re-send is answered before its mark | the_ended_stay_ended | MUTANT=7 BREAKS=1 LOOKS=1 CLIENTS=2
who finds it free takes it | order | MUTANT=8
a re-join does not present its ticket | order | MUTANT=9 STOPS=1
a re-sent join is told a ticket it has not | order | MUTANT=10 BREAKS=1 CLIENTS=2
a withdrawal of the first rings nobody | no_lost_wake_up | MUTANT=11 FOREIGN=1 LEAVES=1 CLIENTS=2
the deadline counts from the reply | mutual_exclusion | MUTANT=12 LAPSES=1
a release does not compare | mutual_exclusion | MUTANT=13 LAPSES=1
the first has nothing tracked | no_lost_wake_up | MUTANT=14 FOREIGN=1
a confirmation does not look at the lock | mutual_exclusion | MUTANT=15 STOPS=1 CLIENTS=2 FOREIGN=1
an unanswered question is followed by a confirmation | the_ended_stay_ended | MUTANT=17 BREAKS=1 LOOKS=1 CLIENTS=2
a broken connection wakes nobody | no_lost_wake_up | MUTANT=16 BREAKS=1 CLIENTS=2
'

# What no wake-up in time covers: EXPECTED is the least HELP that does (1: a timer set by an earlier
# lease, 2: the slow check). One HELP less must fail, and only by a waiter that sleeps on.
helped='
the first is killed, a stranger deletes       | 2 | FOREIGN=1 KILLS=1 CLIENTS=2 RANKS=1
a connection that only the server knows is cut| 1 | CUTS=1
'
helped_large='
the two first are killed, then the holder     | 2 | CLIENTS=4 KILLS=2 RANKS=1
the two first are dark                        | 1 | CLIENTS=4 DARKS=2 RANKS=3
'

# shellcheck disable=SC2034 # by eval
# No run goes round in circles, so each ends where nothing can happen any more, and is judged there.
circles='
messages and claims are lost      | | BREAKS=1 CLIENTS=2 LAPSES=1 STOPS=1 CONNS=3
all wait for the slow check       | | FOREIGN=1 KILLS=1 HELP=2 CLIENTS=2
'

# explore NAME SWITCHES: leaves in a directory NAME `found`, the properties that do not hold, one a
# line, and `states`.
explore() {
    switches=$(printf ' %s' "$2" | sed 's/ \([A-Z]\)/ -D\1/g')
    mkdir "$1"
    cd "$1"
    cp "$here/queue.pml" .
    case $1 in
        holds*) set -- "$1" '-O1 -DSAFETY' -c1 ;;
        circles*) set -- "$1" '-O1 -DNP' -l ;;
        mutants*) set -- "$1" '-O0 -DSAFETY' -c0 ;; # small: most of the time gcc's
        *) set -- "$1" '-O0 -DSAFETY' -c1 ;;
    esac
    # shellcheck disable=SC2086 # switches
    {
        spin -a $switches queue.pml
        "${CC:-cc}" -w $2 -DNOREDUCE -o pan pan.c
        ./pan -E -m50000 -w21 "$3" >out
    } >log 2>&1 || :
    sed -n 's/^pan:[0-9]*: assertion violated \([a-z_]*\).*/\1/p
            s/^pan:[0-9]*: non-progress cycle.*/circles/p' out | sort -u >found
    sed -n 's/ *\([0-9]*\) states, stored.*/\1/p' out >states
    # What was not finished, for whatever reason, has shown nothing.
    if ! grep -q 'errors: [0-9]' out || ! [ -s states ] ||
        grep -qE 'blocking sel|too small|out of memory|aborted|not completed' out &&
        ! grep -q 'assertion violated\|non-progress' out; then
        echo unfinished >found
    fi
    # shellcheck disable=SC2086 # switches
    [ "$3" = -c0 ] || ! [ -s found ] || spin -t $switches queue.pml >story 2>&1 || :
    rm -f pan pan.? queue.pml
    [ -z "${VLOCK_MODEL_TIMES-}" ] || echo "$1 $(cat states) $(awk '/elapsed/ {print $4}' out)" >&2
}

say() {
    printf '%s\n' "$*"
    [ -z "$report" ] || printf '%s\n' "$*" >>"$report"
}

# verdict GOOD TEXT: one line of the result.
verdict() {
    if [ "$1" = 0 ]; then
        say "ok      $2"
    else
        say "FAILED  $2"
        status=1
    fi
}

# The lines of a table as NUMBER|WHAT|EXPECTED|SWITCHES.
rows() {
    printf '%s\n' "$1" | awk -F ' *[|] *' 'NF == 3 { print ++n "|" $1 "|" $2 "|" $3 }'
}

# What happened, in words, from the trail of the exploration NAME.
tell() {
    printf '        %s:\n' "$2"
    cat "$1/log" "$1/story" 2>/dev/null | awk '/trail ends/ { exit }
        /^ *[0-9]+: |server: |stranger: |the lease|the pause|flushed|nothing can/ {
            gsub(/ +/, " "); sub(/spin: .*/, ""); print "           " $0 }'
}

jobs() {
    for table in holds circles mutants; do
        eval "text=\$$table"
        rows "$text" | while IFS='|' read -r n what expected switches; do
            : "$what" "$expected"
            printf '%s%s\n%s\n' $table "$n" "$switches"
        done
    done
    rows "$helped" | while IFS='|' read -r n what expected switches; do
        : "$what"
        printf 'helped%s\n%s HELP=%s\n' "$n" "$switches" "$expected"
        printf 'alone%s\n%s HELP=%s\n' "$n" "$switches" $((expected - 1))
    done
}

report=
if [ "${1-}" = --explore ]; then
    explore "$2" "$3"
    exit 0
fi
[ -z "${1-}" ] || { report=$(realpath "$1") && : >"$report"; }
if [ "${VLOCK_MODEL-}" = small ]; then
    mutants=
else
    holds="$holds$holds_more"
fi
if [ "${VLOCK_MODEL-}" = large ]; then
    holds="$holds$holds_large"
    helped="$helped$helped_large"
fi
command -v spin >/dev/null || { echo "check.sh: there is no spin here" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$work"
jobs | xargs -d '\n' -n 2 -P "${VLOCK_MODEL_JOBS:-2}" sh "$here/check.sh" --explore

status=0
for property in mutual_exclusion no_lost_wake_up order the_dead_are_passed the_ended_stay_ended \
    the_living_are_not_refused nothing_left; do
    good=0
    if grep -qx "$property" holds*/found; then good=1; fi
    verdict "$good" "$property: in $(rows "$holds" | wc -l) configurations, $(cat holds*/states |
        awk '{ sum += $1 } END { print sum }') states"
done
good=0
if grep -qx unfinished ./*/found; then good=1; fi
verdict "$good" "every configuration was explored to its end"
rows "$holds" >rows
while IFS='|' read -r n what expected switches; do
    : "$expected"
    [ ! -s "holds$n/found" ] || tell "holds$n" "$what ($switches): $(cat "holds$n/found")"
done <rows
good=0
[ -z "$(cat circles*/found)" ] || good=1
verdict "$good" "no run goes round in circles"
rows "$mutants" >rows
while IFS='|' read -r n what expected switches; do
    : "$switches"
    caught=$(tr '\n' ' ' <"mutants$n/found")
    good=0
    grep -qx "$expected" "mutants$n/found" || good=1
    verdict "$good" "mutant: $what: caught by ${caught:-nothing}"
done <rows
rows "$helped" >rows
while IFS='|' read -r n what expected switches; do
    : "$switches"
    good=0
    [ "$(sort -u "alone$n/found" | grep -vx nothing_left)" = no_lost_wake_up ] || good=1
    [ ! -s "helped$n/found" ] || good=1
    by="the slow check"
    [ "$expected" = 2 ] || by="an earlier timer"
    verdict "$good" "late: $what: ended by $by"
    [ "$good" = 0 ] || tell "helped$n" "$what"
done <rows
exit $status
