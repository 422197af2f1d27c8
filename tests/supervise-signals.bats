#!/usr/bin/env bats
# vlock run: signals reach CMD, once each, and CMD finds everything as it would without vlock. On
# every store: supervise-signals@STORE.bats.
# bats file_tags=same

load helpers
load queues
load trees

BATS_TEST_NAME_PREFIX="$(store_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() { start_store "$(store_of_this_file)"; }

# --- signals ---------------------------------------------------------------------------------

# Counts every signal in `got`, in order, until there is a file `end`; `ready` when it does.
write_counter() {
    cat >counter.py <<'PY'
import os, signal, time
got = []
for number in (1, 2, 3, 10, 12, 15, 28):
    signal.signal(number, lambda number, _: got.append(number))
open("ready", "w").close()
while not os.path.exists("end"):
    time.sleep(0.005)
    open("got.new", "w").write(" ".join(map(str, got)) + "\n")
    os.rename("got.new", "got")
os._exit(5)
PY
    find_python
}

# got_sorted LIST: these have come so far, in whatever order
got_sorted() { [ "$(tr ' ' '\n' <got | sort -n | xargs)" = "$1" ]; }

@test "signals to vlock reach CMD, once each, also when they come all at once" {
    write_counter
    supervised "$VLOCK_BIN" run -t 10m "$K" -- "$PYTHON" counter.py
    until_true 30 test -e ready
    for signal in 15 2 1 3 10 12 28; do kill -$signal "$FRONT"; done
    until_true 30 got_sorted '1 2 3 10 12 15 28'
    kill -USR1 "$FRONT"
    until_true 30 got_sorted '1 2 3 10 10 12 15 28'
    touch end
    ends 5 "$FRONT"
    got_sorted '1 2 3 10 10 12 15 28'
    [ ! -s err ]
    is_free "$K"
}

@test "each signal ends a CMD that does not handle it, as without vlock: 128+N" {
    for signal in TERM HUP QUIT USR1 USR2; do
        rm -f there
        supervised bash -c 'ulimit -c 0; exec "$VLOCK_BIN" run -t 10m "$K" -- \
            sh -c ": >there; exec sleep 300"'
        until_true 30 test -e there
        kill -$signal "$FRONT"
        ends $((128 + $(kill -l $signal))) "$FRONT"
        [ ! -s err ]
        nothing_left
        is_free "$K"
    done
}

@test "a CMD that handles a signal decides for itself" {
    supervised "$VLOCK_BIN" run -t 10m "$K" -- \
        sh -c 'trap "exit 9" TERM; : >there; while :; do sleep 0.02; done'
    until_true 30 test -e there
    kill -TERM "$FRONT"
    ends 9 "$FRONT"
    is_free "$K"
}

@test "a signal at any instant, before CMD runs too, ends all of it: 143, and the lock is free" {
    for ((delay = 0; delay <= 45; delay += $(rounds 9 3))); do
        supervised "$VLOCK_BIN" run -t 10m "$K" -- sleep 300
        sleep "0.$(printf %03d "$delay")"
        kill -TERM "$FRONT"
        ends 143 "$FRONT"
        nothing_left
        is_free "$K"
    done
}

@test "a signal as soon as the lock is held ends all of it" {
    for signal in TERM HUP; do
        supervised "$VLOCK_BIN" run -t 10m "$K" -- sleep 300
        until is_held "$K"; do :; done
        kill -$signal "$FRONT"
        ends $((128 + $(kill -l $signal))) "$FRONT"
        nothing_left
        is_free "$K"
    done
}

@test "a signal while vlock waits ends it: nothing of it is left in the queue" {
    take -t 10m "$K"
    for signal in TERM HUP; do
        supervised "$VLOCK_BIN" run -t 10m "$K" -- touch ran
        until_true 30 wait_for_it "$K" 1
        kill -$signal "$FRONT"
        ends $((128 + $(kill -l $signal))) "$FRONT"
        nothing_left
        wait_for_it "$K" 0
    done
    [ ! -e ran ]
    held_by "$K" "$TOKEN"
}

# how CMD...: "signal N" or "exit N", however CMD ended
how() {
    python - "$@" <<'PY'
import subprocess, sys
code = subprocess.run(sys.argv[1:], timeout=60).returncode
print(f"signal {-code}" if code < 0 else f"exit {code}")
PY
}

@test "vlock dies of SIGINT when CMD did, and of no other signal" {
    [ "$(how "$VLOCK_BIN" run "$K" -- sh -c 'kill -INT $$')" = 'signal 2' ]
    is_free "$K"
    [ "$(how "$VLOCK_BIN" run "$K" -- sh -c 'kill -TERM $$')" = 'exit 143' ]
    [ "$(how "$VLOCK_BIN" run "$K" -- sh -c 'kill -KILL $$')" = 'exit 137' ]
    [ "$(how "$VLOCK_BIN" run "$K" -- sh -c 'trap "exit 3" INT; kill -INT $$')" = 'exit 3' ]
    is_free "$K"
}

@test "a signal that vlock found ignored is ignored by both (nohup)" {
    for signal in HUP INT TERM; do
        rm -f there end
        supervised bash -c 'trap "" "$1"; exec "$VLOCK_BIN" run -t 10m "$K" -- \
            sh -c ": >there; until [ -e end ]; do sleep 0.1; done; exit 5"' bash $signal
        until_true 30 test -e there
        kill -$signal "$FRONT"
        touch end
        ends 5 "$FRONT"
        is_free "$K"
    done
    rm -f there end
    supervised nohup "$VLOCK_BIN" run -t 10m "$K" -- \
        sh -c ': >there; until [ -e end ]; do sleep 0.1; done; exit 5'
    until_true 30 test -e there
    kill -HUP "$FRONT"
    touch end
    ends 5 "$FRONT"
}

@test "a signal for CMD's own process group reaches nobody twice who did not ask" {
    write_counter
    supervised setsid "$VLOCK_BIN" run -t 10m "$K" -- "$PYTHON" counter.py
    until_true 30 test -e ready
    kill -WINCH -- "-$FRONT"
    until_true 30 grep -q 28 got
    touch end
    ends 5 "$FRONT"
    is_free "$K"
}

# In a group of its own, so that it can be signalled whole.
@test "a SIGCONT that follows a SIGTSTP at once leaves no waiter stopped or deaf" {
    take -t 10m "$K"
    cat >storm.py <<'PY'
import os, signal, subprocess, sys, time
front = subprocess.Popen(sys.argv[1:], process_group=0)
while not os.path.exists("storm"):
    time.sleep(0.01)
for turn in range(200):
    os.killpg(front.pid, signal.SIGTSTP)
    end = time.perf_counter() + turn % 40 * 2e-5
    while time.perf_counter() < end:
        pass
    os.killpg(front.pid, signal.SIGCONT)
    time.sleep(0.005)
open("over", "w").close()
sys.exit(front.wait())
PY
    find_python
    supervised "$PYTHON" storm.py "$VLOCK_BIN" run -t 10m "$K" -- sh -c 'exit 5'
    until_true 30 wait_for_it "$K" 1
    : >storm
    until_true 60 test -e over
    gives 0 release --token "$TOKEN" "$K"
    ends 5 "$FRONT"
    is_free "$K"
}

# FRONT is held up on its way to the SIGTSTP, which the terminal sends to the whole group. Where the
# tracer has not yet got hold of its sleep when that comes, it is stopped at once: then once more.
@test "a waiter that is being stopped when its turn comes starts nothing before it goes on" {
    strace -o /dev/null true || skip 'nothing can be traced here'
    for n in {1..10}; do
        rm -f there calls vlock.pid
        take -t 10m "$K"
        in_a_group "$VLOCK_BIN" run -t 10m "$K" -- sh -c ': >there; exit 5'
        until_true 30 wait_for_it "$K" 1
        # a call to poll() that a tracer finds under way is another one after that
        strace -o calls -e inject=poll,restart_syscall:delay_exit=50000 -p "$(<vlock.pid)" \
            2>/dev/null 3>&- &
        tracer=$!
        until_true 30 is_traced "$(<vlock.pid)"
        kill -TSTP -- "-$(<vlock.pid)"
        gives 0 release --token "$TOKEN" "$K"
        until_true 30 held_up_or_stopped
        gives 0 run -w 60s "$K" -- true
        [ ! -e there ]
        held_up=no
        ! has calls DELAYED || held_up=yes
        kill "$tracer"
        kill -CONT -- "-$(<vlock.pid)"
        ends 5 "$FRONT"
        is_free "$K"
        [ $held_up = no ] || return 0
    done
    return 1 # none of them
}
held_up_or_stopped() { has calls DELAYED || state_is "$(<vlock.pid)" Tt; }

# bats test_tags=same,server
@test "a waiter that was stopped past its lease takes the lock anew, with all of --hold-for" {
    on_server || skip 'a live run keeps its lock there'
    take -t 10m "$K"
    in_a_group "$VLOCK_BIN" run -t 1s --hold-for 3s "$K" -- sh -c 'echo "$VLOCK_FENCE" >there; exit 5'
    until_true 30 wait_for_it "$K" 1
    kill -TSTP -- "-$(<vlock.pid)"
    until_true 30 state_is "$(<vlock.pid)" T
    gives 0 release --token "$TOKEN" "$K"
    until_true 30 is_held "$K"
    first=$(cli hget "$(beside "$K" fence)" fence)
    until_true 30 is_free "$K"
    [ ! -e there ]
    kill -CONT -- "-$(<vlock.pid)"
    ends 5 "$FRONT"
    # it is another grant, and what stays of it is more than the TTL of a renewal
    (($(<there) > first))
    (($(cli pttl "$K") > 1000))
    until_true 30 is_free "$K"
}

@test "a waiter's guard rests while it is stopped, and leaves the queue when it is killed" {
    take -t 10m "$K"
    in_a_group "$VLOCK_BIN" run -t 10m "$K" -- true
    until_true 30 wait_for_it "$K" 1
    guard=$(guard_of "$(<vlock.pid)")
    for _ in 1 2; do
        kill -TSTP -- "-$(<vlock.pid)"
        until_true 30 state_is "$(<vlock.pid)" T
        until_true 30 state_is "$guard" S
        kill -CONT -- "-$(<vlock.pid)"
        until_true 30 state_is "$(<vlock.pid)" S
    done
    kill -TSTP -- "-$(<vlock.pid)"
    until_true 30 state_is "$(<vlock.pid)" T
    kill -KILL "$(<vlock.pid)"
    until_true 30 is_over "$guard"
    until_true 30 wait_for_it "$K" 0
    ends 137 "$FRONT"
}

# in_a_group CMD...: starts CMD in a process group of its own, which somebody could continue (the
# kernel stops no others); its id is in vlock.pid, that of its parent, which ends like it, in FRONT.
in_a_group() {
    cat >group.py <<'PY'
import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], process_group=0)
open("vlock.new", "w").write(str(child.pid))
os.rename("vlock.new", "vlock.pid")
status = child.wait()
sys.exit(status if status >= 0 else 128 - status)
PY
    find_python
    supervised "$PYTHON" group.py "$@"
    until_true 30 test -e vlock.pid
}

# The ear counts what the group gets (guard_ear.c). The guard waits for it, but not for ever: where
# the ear is later than that, CMD gets the signal twice, and never not at all.
@test "a signal to the group reaches CMD once, and one to vlock too, when the ear is late" {
    strace -o /dev/null true || skip 'nothing can be traced here'
    for n in {1..10}; do
        rm -f ready end got calls
        write_counter
        supervised setsid "$VLOCK_BIN" run -t 10m "$K" -- "$PYTHON" counter.py
        until_true 30 test -e ready
        until_true 30 has_ear
        strace -o calls -e trace=read -e inject=read:delay_exit=50000 -p "$EAR" 2>/dev/null 3>&- &
        tracer=$!
        until_true 30 is_traced "$EAR"
        kill -USR1 -- "-$FRONT"
        until_true 30 has calls DELAYED
        until_true 30 got_of 10 '10 10'
        until_true 30 state_is "$EAR" S # not held up any more: it could be getting the next one, too
        kill -USR2 "$FRONT" # behind it: when this has come, the other one has come as often as it will
        until_true 30 got_of '10 12' '10 10 12'
        once=no
        ! got_sorted '10 12' || once=yes
        kill -USR1 "$FRONT"
        until_true 30 got_of '10 10 12' '10 10 10 12'
        kill "$tracer"
        touch end
        ends 5 "$FRONT"
        [ $once = no ] || return 0
    done
    return 1 # ten times twice
}
got_of() { got_sorted "$1" || got_sorted "$2"; }

has_ear() { EAR=$(pgrep -P "$FRONT" -x lock-ear); }

@test "SIGSTOP and SIGCONT of CMD itself are its own business" {
    lease=1
    ! on_server || lease=9 # else a machine that is slow for a moment lets it lapse
    supervised "$VLOCK_BIN" run -t "${lease}s" "$K" -- \
        sh -c 'echo $$ >cmd.pid; until [ -e end ]; do sleep 0.1; done; exit 5'
    until_true 30 test -s cmd.pid
    kill -STOP "$(<cmd.pid)"
    began=$SECONDS
    until ((SECONDS - began > lease)); do is_held "$K" && sleep 0.1; done
    kill -0 "$FRONT"
    kill -CONT "$(<cmd.pid)"
    touch end
    ends 5 "$FRONT"
    is_free "$K"
}

# --- what CMD finds --------------------------------------------------------------------------

@test "CMD finds the circumstances that vlock found" {
    cat >with.sh <<'IN'
umask 027
ulimit -n 500 -u 20000 -c 0 -s 4096
trap '' USR2 PIPE
cd /
exec 5</dev/null 7>>"$HOME/seven"
exec nice -n 5 chrt -b 0 setpriv --no-new-privs "$@"
IN
    find_python
    show=("$PYTHON" "$TESTS/tools/circumstances.py")
    observe bash "$PWD/with.sh" "${show[@]}"
    [ "$status" -eq 0 ]
    without=$(sed '/^file [12] /d' <<<"$output")
    observe bash "$PWD/with.sh" "$VLOCK_BIN" run "$K" -- "${show[@]}"
    [ "$status" -eq 0 ]
    diff <(echo "$without") <(sed '/^file [12] /d' <<<"$output")
    # and with signals blocked
    cat >blocked.py <<'PY'
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {2, 10, 17, 40})
os.execv(sys.argv[1], sys.argv[1:])
PY
    observe "$PYTHON" blocked.py "${show[@]}"
    without=$(sed '/^file [12] /d' <<<"$output")
    observe "$PYTHON" blocked.py "$VLOCK_BIN" run "$K" -- "${show[@]}"
    diff <(echo "$without") <(sed '/^file [12] /d' <<<"$output")
}

@test "CMD's stdin, stdout and stderr are the very files that vlock has" {
    echo in >in
    "$VLOCK_BIN" run "$K" -- sh -c 'readlink /proc/$$/fd/0 /proc/$$/fd/1; ls /proc/$$/fd/2; cat' \
        <in >got 2>errors
    [ "$(<got)" = "$PWD/in"$'\n'"$PWD/got"$'\n'"$(sed -n 3p got)"$'\nin' ]
    [ ! -s errors ]
}

@test "CMD is in vlock's process group, and its father is the guard" {
    supervised "$VLOCK_BIN" run -t 10m "$K" -- sh -c 'echo $$ >cmd.new; mv cmd.new cmd.pid
        until [ -e end ]; do sleep 0.1; done; exit 5'
    until_true 30 test -e cmd.pid
    guard=$(guard_of "$FRONT")
    [ "$(ps -o ppid= -p "$(<cmd.pid)" | tr -d ' ')" = "$guard" ]
    [ "$(ps -o pgid= -p "$(<cmd.pid)")" = "$(ps -o pgid= -p "$FRONT")" ]
    [ "$(ps -o sid= -p "$(<cmd.pid)")" = "$(ps -o sid= -p "$FRONT")" ]
    until_true 30 leads_a_group "$guard" # not before CMD has lasted
    touch end
    ends 5 "$FRONT"
}

leads_a_group() { [ "$(ps -o pgid= -p "$1" | tr -d ' ')" = "$1" ]; }

@test "the exit statuses are CMD's own, whatever they are" {
    for wanted in 0 1 64 75 79 124 126 127 137 255; do
        gives $wanted run "$K" -- sh -c "exit $wanted"
        [ -z "$stderr" ]
        is_free "$K"
    done
    gives 127 run "$K" -- ./none
    : >plain
    gives 126 run "$K" -- ./plain
    is_free "$K"
    for signal in 1 9 13 15; do
        observe bash -c "ulimit -c 0; \"\$VLOCK_BIN\" run \"\$K\" -- sh -c 'kill -$signal \$\$'"
        [ "$status" -eq $((128 + signal)) ]
        is_free "$K"
    done
}

@test "a vlock whose children are not waited for (SIGCHLD ignored) supervises all the same" {
    cat >ignore.py <<'PY'
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
PY
    find_python
    supervised "$PYTHON" ignore.py "$VLOCK_BIN" run -t 10m "$K" -- \
        sh -c 'setsid sleep 300 & exit 6'
    ends 6 "$FRONT"
    nothing_left
    is_free "$K"
}

@test "a shell's own children, which vlock inherited, neither confuse nor delay it" {
    observe bash -c 'sleep 0.1 & sleep 300 >/dev/null 2>&1 3>&- & echo $! >inherited.pid
        exec "$VLOCK_BIN" run "$K" -- sh -c "sleep 0.3; exit 5"'
    [ "$status" -eq 5 ]
    kill -0 "$(<inherited.pid)"
    is_free "$K"
}

@test "CMD's output to a reader who is gone, and its stdin, are its own business" {
    "$VLOCK_BIN" run "$K" -- yes | head -n 1 | grep -qx y
    until_true 30 is_free "$K"
    [ "$(echo hello | "$VLOCK_BIN" run "$K" -- cat)" = hello ]
}

@test "orphans that end are all collected" {
    supervised "$VLOCK_BIN" run -t 10m "$K" -- sh -c 'i=0
        while [ $i -lt 500 ]; do (true &); i=$((i + 1)); done; : >there
        until [ -e end ]; do sleep 0.1; done; exit 5'
    until_true 60 test -e there
    until_true 30 no_zombies
    touch end
    ends 5 "$FRONT"
    [ ! -s err ]
}

no_zombies() {
    ! ps -o stat= --ppid "$(guard_of "$FRONT")" | grep -q Z
}
