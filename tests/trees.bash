# trees.bash - for the suites about `vlock run` as a supervisor: commands with families, and
# whether anything is left of them.
#
#     grow [OPTION...] -- KIND...   vlock run with a command that has such a family (tools/tree.py)
#     nothing_left                  of that vlock and whatever it started, wherever it went
# shellcheck shell=bash

# shellcheck disable=SC2034 # for the suites
ALL_KINDS=(plain group session daemon ignorer deaf stopped cleared polite)

# supervised CMD...: starts CMD (a vlock) in the background. Whatever inherits its descriptors
# keeps the kernel lock on the file `alive` (or $ALIVE) taken. Its id is in FRONT.
supervised() {
    without out err
    setpriv --pdeathsig KILL env --default-signal=INT,QUIT,PIPE flock -F "${ALIVE:-alive}" "$@" \
        >out 2>err 3>&- &
    export FRONT=$!
    # Until it is no bash any more: what hits that one is told by the test runner, in its own way.
    while [ /proc/$FRONT/exe -ef /proc/$$/exe ]; do :; done
}

# grow [OPTION...] -- KIND...: starts `vlock run OPTION... $K` over a family of these kinds, and
# returns when all of it is there. It ends, with 5, when there is a file family/end.
grow() {
    local options=()
    while [ "$1" != -- ]; do options+=("$1") && shift; done
    shift
    rm -rf family && mkdir family
    find_python
    supervised "$VLOCK_BIN" run "${options[@]}" "$K" -- \
        "$PYTHON" "$TESTS/tools/tree.py" family "$@"
    until_true 30 test -e family/ready || {
        cat err
        return 1
    }
}

# lives KIND: of the family last grown
lives() { ! flock -n "family/$1.lock" true; }
pid_of() { cat "family/$1.pid"; }

# all_gone: nobody of the family lives.
all_gone() {
    local lock
    for lock in family/*.lock; do
        flock -n "$lock" true || { echo "$lock: lives" && return 1; }
    done
}

# nothing_left: no process has inherited anything of the vlock last started, nor is of its family.
nothing_left() { flock -n "${ALIVE:-alive}" true && { [ ! -d family ] || all_gone; }; }

# next_in_line: queues for $K, and looks at once when it gets it whether anything of the family is
# still there; what it found is in `next`: "nothing", or who lives.
next_in_line() {
    without next out.next err.next
    setpriv --pdeathsig KILL "$VLOCK_BIN" -q run "$@" "$K" -- sh -c 'left=nothing
        for lock in family/*.lock; do flock -n "$lock" true || left="$left $lock"; done
        echo "$left" >next.new; mv next.new next' >out.next 2>err.next 3>&- &
    NEXT=$!
    until_true 20 wait_for_it "$K" 1
}

# next_found_nothing: it has got the lock, and nobody of the family was there.
next_found_nothing() {
    until_true 30 is_over "$NEXT" || kill -KILL "$NEXT"
    wait "$NEXT" || { cat err.next && return 1; }
    [ "$(<next)" = nothing ] || { echo "left when the lock was given back: $(<next)" && return 1; }
}

# guard_of PID: the guard of this vlock; is_guarded PID: it has one
guard_of() { pgrep -P "$1" -x lock-guard; }
is_guarded() { guard_of "$1" >/dev/null; }

# is_traced PID: strace has got hold of it
is_traced() { ! grep -q '^TracerPid:.0$' "/proc/$1/status"; }

# fell: ends the family, and whoever else has left his pid in a file X.pid. Only what works in this
# directory: a number is soon another's, when a whole suite runs.
fell() {
    local pid
    [ ! -d family ] || touch family/end
    for pid in family/*.pid ./*.pid; do
        [ ! -s "$pid" ] || ! [ "/proc/$(<"$pid")/cwd" -ef . ] || kill -KILL "$(<"$pid")" || :
    done
}
teardown() {
    fell
    end_processes
}
