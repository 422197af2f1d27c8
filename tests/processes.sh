# processes.sh - the processes that belong to a run of the tests, to a file of it, or to one test:
# POSIX sh, sourced by run.sh, one.sh and helpers.bash.
#
# Each carries its mark in the environment, as TEST_MARK: RUN, RUN.JOB or RUN.JOB.TEST. (The name
# does not begin with VLOCK_: those the tests take out of the environment.) A process whose
# environment is empty is known by its working directory.
# shellcheck shell=sh

# marked MARK [DIRECTORY]: the processes with this mark or one below it, and those that work in
# DIRECTORY or below; one pid a line. Whoever calls this has no such mark and works elsewhere.
marked() {
    {
        grep -lzs "^TEST_MARK=$1\(\.\|$\)" /proc/[0-9]*/environ || :
        [ -z "${2-}" ] || find /proc -maxdepth 2 -name cwd \
            \( -lname "$2" -o -lname "$2/*" \) 2>/dev/null || :
    } | cut -d / -f 3 | sort -u
}

# end_marked MARK [DIRECTORY]: ends them, the stopped and the frozen too, and whatever they start
# meanwhile. SIGKILL, as a supervisor among them would go on for as long as it likes.
end_marked() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        set -- "$1" "${2-}" "$(marked "$1" "${2-}")"
        [ -n "$3" ] || return 0
        # shellcheck disable=SC2086 # a list of pids
        kill -s KILL $3 2>/dev/null || :
        sleep 0.1
    done
}
