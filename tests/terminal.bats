#!/usr/bin/env bats
# vlock run at a terminal: keys, job control, windows and hangups do what they do without vlock.
# bats file_tags=same

load helpers
load queues
load terminal

BATS_TEST_NAME_PREFIX="$(store_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() { start_store "$(store_of_this_file)"; }

teardown() {
    [ -n "${BATS_TEST_COMPLETED-}" ] || show_terminal
    close_terminal
    end_processes
}

# --- keys that end -----------------------------------------------------------------------------

@test "Ctrl-C ends CMD, and the shell sees that SIGINT ended vlock" {
    open_terminal
    enter ./locked sh -c "'touch ready; exec sleep 60'"
    until_true 10 test -e ready
    press key C
    prompt_is 130
    is_free "$K"
}

@test "Ctrl-C ends the loop and the script around vlock" {
    open_terminal
    enter 'for i in 1 2 3; do echo $i >>turns; ./locked sh -c "echo >id; exec sleep 60"; done'
    until_true 10 test -e id
    press key C
    prompt_is 130
    [ "$(<turns)" = 1 ]
    rm id
    printf './locked sleep 60\necho $? >went-on\n' >script
    for shell in bash dash; do
        enter $shell script
        until_true 10 is_held "$K"
        press key C
        prompt_is 130
        [ ! -e went-on ]
        until_true 10 is_free "$K"
    done
}

@test "Ctrl-C is heard at every moment of vlock's start" {
    find_python
    observe "$PYTHON" "$TESTS/tools/interrupt.py" "$(rounds 25 100)" "$VLOCK_BIN" run "$K" -- sleep 10
    [ "$status" -eq 0 ]
    until_true 10 is_free "$K"
}

@test "a CMD that goes on after Ctrl-C gets it once, and vlock goes on with it" {
    open_terminal
    enter ./locked ./cmd
    until_true 10 test -e id
    press key C
    once_only 2
    press key C
    until_true 10 got_is '2 10 12 2'
    touch end
    prompt_is 5
    is_free "$K"
}

@test "after Ctrl-C, a signal to vlock alone still reaches CMD" {
    open_terminal
    enter ./locked ./cmd
    until_true 10 test -e id
    until_true 10 listening
    press key C
    once_only 2
    kill -INT "$(<front)"
    got_in_the_end '2 10 12 2'
    press size 40 100
    got_in_the_end '2 10 12 2 28'
    kill -WINCH "$(<front)"
    got_in_the_end '2 10 12 2 28 28'
    touch end
    prompt_is 5
}

@test "Ctrl-\\ ends CMD, or reaches it once" {
    open_terminal
    enter ./locked sh -c "'touch ready; exec sleep 60'"
    until_true 10 test -e ready
    press 'key \'
    prompt_is 131
    is_free "$K"
    enter ./locked ./cmd
    until_true 10 test -e id
    press 'key \'
    once_only 3
    touch end
    prompt_is 5
}

@test "Ctrl-C and Ctrl-\\ while waiting end the wait, and leave no place in the queue" {
    take -t 60s "$K"
    open_terminal
    for key in 'C 130' '\ 131'; do
        enter ./locked touch ran
        until_true 10 wait_for_it "$K" 1
        press "key ${key% *}"
        prompt_is "${key#* }"
        until_true 10 wait_for_it "$K" 0
    done
    [ ! -e ran ]
    held_by "$K" "$TOKEN"
}

@test "Ctrl-C ends a pipeline with vlock at its begin, and one with vlock at its end" {
    open_terminal
    enter './locked sh -c "touch ready; exec sleep 60" | cat; echo ${PIPESTATUS[@]}'
    until_true 10 test -e ready
    press key C
    prompt_is 130
    until_true 10 is_free "$K"
    enter 'sleep 60 | ./locked cat'
    until_true 10 is_held "$K"
    press key C
    prompt_is 130
    until_true 10 is_free "$K"
}

@test "Ctrl-C reaches all that CMD started, and what ignores it is stopped" {
    open_terminal
    enter "./locked sh -c 'sleep 60 & (trap \"\" INT; sleep 61) & touch ready; wait'"
    until_true 10 test -e ready
    press key C
    prompt_is 130
    is_free "$K"
    until_true 10 not pgrep -s "$(<"$TTY/leader")" sleep >pids
}

# --- job control -------------------------------------------------------------------------------

@test "Ctrl-Z stops the job while its lease is renewed, and fg goes on" {
    export OPTIONS='-t 9s'
    open_terminal
    enter ./locked ./cmd
    until_true 10 test -e id
    press key Z
    prompt_is 148
    shows Stopped
    until_true 10 state_is "$(<id)" T
    until_true 10 state_is "$(<front)" T
    renewed 3
    is_held "$K"
    state_is "$(<id)" T
    enter 'jobs >list'
    prompt_is 0
    has list Stopped
    enter fg
    until_true 10 not state_is "$(<id)" T
    until_true 10 not state_is "$(<front)" T
    renewed 1
    press key C
    once_only 2
    touch end
    prompt_is 5
    is_free "$K"
}

@test "bg lets a stopped job go on in the background" {
    export OPTIONS='-t 9s'
    open_terminal
    enter ./locked ./cmd
    until_true 10 test -e id
    press key Z
    prompt_is 148
    renewed 1
    enter bg
    prompt_is 0
    until_true 10 not state_is "$(<id)" T
    until_true 10 not state_is "$(<front)" T
    enter 'wait %1'
    touch end
    prompt_is 5
    is_free "$K"
}

@test "stopped and continued several times, with dash as well" {
    open_terminal dash -i
    enter ./locked ./cmd
    until_true 10 test -e id
    for _ in 1 2 3; do
        press key Z
        prompt_is 148
        until_true 10 state_is "$(<id)" T
        enter fg
        until_true 10 not state_is "$(<id)" T
        until_true 10 not state_is "$(<front)" T
    done
    touch end
    prompt_is 5
    is_free "$K"
}

@test "kill ends a job that is stopped" {
    open_terminal
    enter ./locked sh -c "'touch ready; exec sleep 60'"
    until_true 10 test -e ready
    press key Z
    prompt_is 148
    enter 'kill %1'
    until_true 10 is_over "$(<front)"
    is_free "$K"
    press enter ''
    shows 'Exit 143'
}

@test "kill -9 of a stopped vlock ends its CMD and gives the lock back" {
    open_terminal
    enter ./locked ./cmd
    until_true 10 test -e id
    press key Z
    prompt_is 148
    kill -KILL "$(<front)"
    until_true 10 is_over "$(<id)"
    until_true 10 is_free "$K"
}

# bats test_tags=server
@test "the lock of a stopped job that is broken: its CMD is stopped nevertheless, status 79" {
    on_server || skip 'a local lock cannot be broken from outside while it is held'
    open_terminal
    enter ./locked sh -c "'echo \$\$ >id; exec sleep 60'"
    until_true 10 test -s id
    press key Z
    prompt_is 148
    cli del "$K"
    until_true 10 is_over "$(<id)"
    until_true 10 is_over "$(<front)"
    press enter ''
    shows 'Exit 79'
}

@test "a CMD that stops itself alone stops the job, as it does without vlock" {
    for how in bare locked; do
        open_terminal
        enter ./$how sh -c "'kill -STOP \$\$; exit 5'"
        prompt_is $((128 + $(kill -l STOP))) || { close_terminal && return 1; }
        enter fg
        prompt_is 5
        close_terminal
    done
    is_free "$K"
}

@test "Ctrl-Z while waiting stops the wait, and fg goes on with it" {
    take -t 60s "$K"
    open_terminal
    enter ./locked ./cmd
    until_true 10 wait_for_it "$K" 1
    press key Z
    prompt_is 148
    shows Stopped
    [ ! -e id ]
    enter fg
    until_true 10 not state_is "$(<front)" T
    gives 0 release --token "$TOKEN" "$K"
    until_true 10 test -e id
    touch end
    prompt_is 5
    is_free "$K"
}

@test "a waiter that is stopped while its turn comes: others are served, and it too" {
    take -t 60s "$K"
    open_terminal
    enter ./locked ./cmd
    until_true 10 wait_for_it "$K" 1
    press key Z
    prompt_is 148
    gives 0 release --token "$TOKEN" "$K"
    touch end # whenever it runs it is short
    gives 0 run -w 20s "$K" -- true
    enter fg
    prompt_is 5
    is_free "$K"
}

@test "Ctrl-C after Ctrl-Z and fg while waiting ends the wait" {
    take -t 60s "$K"
    open_terminal
    enter ./locked touch ran
    until_true 10 wait_for_it "$K" 1
    press key Z
    prompt_is 148
    enter fg
    until_true 10 not state_is "$(<front)" T
    press key C
    prompt_is 130
    until_true 10 wait_for_it "$K" 0
    [ ! -e ran ]
}

@test "Ctrl-Z stops a whole pipeline, and fg goes on with it" {
    open_terminal
    enter './locked ./cmd | cat >copy'
    until_true 10 test -e id
    press key Z
    prompt_is 148
    until_true 10 state_is "$(<id)" T
    enter 'fg; echo ${PIPESTATUS[@]}'
    until_true 10 not state_is "$(<id)" T
    touch end
    prompt_is 0
    is_free "$K"
}

@test "a pager at the end of a pipeline reads its keys, and its end ends CMD" {
    command -v less || skip 'there is no less here'
    open_terminal
    enter './locked yes | TERM=vt100 less; (exit ${PIPESTATUS[0]})'
    until_true 10 is_held "$K"
    shows :
    press type q
    prompt_is 141
    is_free "$K"
}

@test "a job in the background that reads the terminal is stopped, as without vlock" {
    open_terminal
    for how in bare locked; do
        enter "./$how cat >copy.$how &"
        prompt_is 0
        until_true 10 test -e front
        until_true 10 state_is "$(<front)" T
        [ "$how" = bare ] || is_held "$K"
        enter fg
        until_true 10 not state_is "$(<front)" T
        press "enter some $how text"
        until_true 10 has "copy.$how" "some $how text"
        press key D
        prompt_is 0
        rm front
    done
    is_free "$K"
}

@test "with tostop, what vlock has to say does not stop it" {
    open_terminal
    enter stty tostop
    prompt_is 0
    enter "./locked sh -c 'sleep 60 >/dev/null 2>&1 & exit 5' & wait \$!"
    prompt_is 5
    is_free "$K"
    enter "./locked sh -c 'sleep 60 >/dev/null 2>&1 & exit 5'"
    prompt_is 5
    is_free "$K"
}

# bats test_tags=server
@test "with tostop, a lost lock is said and CMD stopped also in the background" {
    on_server || skip 'a local lock is not lost while its holder lives'
    open_terminal
    enter stty tostop
    prompt_is 0
    enter './locked ./cmd "signal.signal(15, signal.SIG_DFL)" & wait $!'
    until_true 10 test -e id
    cli del "$K"
    prompt_is 79
    until_true 10 is_over "$(<id)"
}

# bats test_tags=server
@test "output that is held with Ctrl-S keeps vlock from nothing" {
    on_server || skip 'a local lock is not lost while its holder lives'
    open_terminal
    enter './locked ./cmd "signal.signal(15, signal.SIG_DFL)"'
    until_true 10 test -e id
    press key S
    cli del "$K"
    until_true 10 is_over "$(<id)"
    press key Q
    prompt_is 79
}

@test "kill of the whole job reaches CMD once" {
    open_terminal
    enter './locked ./cmd &'
    until_true 10 test -e id
    prompt_is 0
    until_true 10 listening
    enter 'kill -INT %1'
    prompt_is 0
    once_only 2
    until_true 10 listening
    kill -TERM -- "-$(<front)"
    once_only '2 10 12 15'
    enter 'wait %1'
    touch end
    prompt_is 5
}

# --- the terminal itself -----------------------------------------------------------------------

@test "a new size of the window reaches CMD once" {
    open_terminal
    enter ./locked ./cmd
    until_true 10 test -e id
    press size 33 99
    once_only 28
    touch end
    prompt_is 5
    enter './locked stty size >size'
    prompt_is 0
    [ "$(<size)" = '33 99' ]
}

@test "CMD reads from the terminal, and its process group is vlock's and in the foreground" {
    open_terminal
    enter "./locked sh -c 'ps -o pgid=,tpgid= -p \$\$ >groups; read x; echo \"\$x\" >read; exit 5'"
    until_true 10 test -s groups
    look
    press enter some text
    prompt_is 5
    [ "$(<read)" = 'some text' ]
    read -r group foreground <groups
    [ "$group" = "$(<front)" ]
    [ "$foreground" = "$group" ]
    [ "$(<"$TTY/foreground")" = "$group" ]
    is_free "$K"
}

@test "an editor works: ed, and vi" {
    command -v ed || command -v vi || skip 'there is no editor here'
    open_terminal
    if command -v ed; then
        enter ./locked ed text
        press enter a
        press enter some text
        press enter .
        press enter wq
        prompt_is 0
        [ "$(<text)" = 'some text' ]
    fi
    if command -v vi; then
        enter ./locked env TERM=vt100 vi -u NONE text2
        shows '~' # lines beyond the end: it is ready
        press type imore text
        press key '['
        press enter :wq
        prompt_is 0
        [ "$(<text2)" = 'more text' ]
    fi
    is_free "$K"
}

@test "a CMD in raw mode reads keys as they are, and stops itself as editors do" {
    cat >raw.py <<'PY'
import os, signal, sys, termios, tty
found = termios.tcgetattr(0)
tty.setraw(0)
open("ready", "w").close()
key = os.read(0, 1)
open("read", "wb").write(key)
termios.tcsetattr(0, termios.TCSADRAIN, found)
os.kill(0, signal.SIGTSTP)
open("went-on", "w").close()
PY
    open_terminal
    look
    before=$(<"$TTY/settings")
    enter ./locked "$PYTHON" raw.py
    until_true 10 test -e ready
    press key C
    prompt_is 148
    [ "$(<read)" = $'\003' ]
    is_held "$K"
    [ ! -e went-on ]
    enter fg
    prompt_is 0
    [ -e went-on ]
    look
    [ "$(<"$TTY/settings")" = "$before" ]
    is_free "$K"
}

@test "a CMD that was killed in raw mode leaves the terminal as it does without vlock" {
    open_terminal dash -i
    enter stty sane
    prompt_is 0
    for how in bare locked; do
        rm -f id end
        enter ./$how ./cmd '"import tty; tty.setraw(0)"'
        until_true 10 test -e id
        kill -KILL "$(<id)"
        prompt_is 137
        look
        mv "$TTY/settings" "settings.$how"
        press type stty sane
        press key J
        prompt_is 0
    done
    cmp settings.bare settings.locked
    is_free "$K"
}

@test "nothing of vlock's own is shown on the terminal" {
    open_terminal
    PROMPTS=$(prompts)
    press enter ./locked printf "'<%s>'" x
    prompt_is 0
    grep -aqF '<x><0> ' "$TTY/screen"
    hides_on_screen vlock:
}

hides_on_screen() { ! grep -aF "$1" "$TTY/screen"; }

# --- hangups -----------------------------------------------------------------------------------

@test "the terminal goes away: CMD ends of SIGHUP, and the lock is given back" {
    for shell in bash dash; do
        case $shell in
        bash) open_terminal ;;
        dash) open_terminal dash -i ;;
        esac
        enter ./locked ./cmd '"signal.signal(1, signal.SIG_DFL)"'
        until_true 10 test -e id
        press hangup
        until_true 10 is_over "$(<id)"
        until_true 10 is_over "$(<front)"
        until_true 10 is_free "$K"
        until_true 10 test -e "$TTY/ended"
        close_terminal
    done
}

@test "the terminal of a stopped job goes away: it ends, and the lock is given back" {
    open_terminal
    enter ./locked ./cmd '"signal.signal(1, signal.SIG_DFL)"'
    until_true 10 test -e id
    press key Z
    prompt_is 148
    press hangup
    until_true 10 is_over "$(<id)"
    until_true 10 is_over "$(<front)"
    until_true 10 is_free "$K"
}

@test "a hangup reaches CMD once also where vlock leads the session, as under sshd" {
    write_starters
    open_terminal ./locked ./cmd
    until_true 10 test -e id
    press hangup
    once_only 1
    touch end
    until_true 10 grep -qsx 'exit 5' "$TTY/ended"
    is_free "$K"
}

@test "a hangup, vlock leads the session: a CMD that does not care for it ends of it" {
    open_terminal ./locked ./cmd 'signal.signal(1, signal.SIG_DFL)'
    until_true 10 test -e id
    press hangup
    until_true 10 grep -qsx 'exit 129' "$TTY/ended"
    is_free "$K"
}

@test "the shell of a stopped job is killed: the job ends, as without vlock" {
    for how in bare locked; do
        open_terminal
        enter ./$how ./cmd '"signal.signal(1, signal.SIG_DFL)"'
        until_true 10 test -e id
        press key Z
        prompt_is 148
        kill -KILL "$(<"$TTY/leader")"
        until_true 10 is_over "$(<id)"
        until_true 10 is_over "$(<front)"
        close_terminal
    done
    until_true 10 is_free "$K"
}

@test "Ctrl-Z where no shell could continue the job stops nothing, as without vlock" {
    cat >script <<'SH'
"$how" ./cmd
exit $?
SH
    for how in ./bare ./locked; do
        export how
        for leader in "$how ./cmd" 'dash script'; do
            # shellcheck disable=SC2086 # a command
            open_terminal $leader
            until_true 10 test -e id
            press key Z
            shows ^Z
            once_only ''
            touch end
            until_true 10 grep -qsx 'exit 5' "$TTY/ended"
            close_terminal
        done
    done
    is_free "$K"
}

@test "a hangup while waiting ends the wait" {
    take -t 60s "$K"
    for leader in vlock shell; do
        if [ $leader = vlock ]; then
            open_terminal ./locked touch ran
        else
            open_terminal
            enter ./locked touch ran
        fi
        until_true 10 wait_for_it "$K" 1
        press hangup
        until_true 10 wait_for_it "$K" 0
        until_true 10 is_over "$(<front)"
        close_terminal
    done
    [ ! -e ran ]
    held_by "$K" "$TOKEN"
}

@test "under nohup it goes on when the terminal goes away" {
    open_terminal
    enter 'nohup ./locked ./cmd "signal.signal(1, signal.SIG_IGN)" >log 2>&1 </dev/null'
    until_true 10 test -e id
    press hangup
    until_true 10 test -e "$TTY/ended"
    kill -USR1 "$(<front)"
    until_true 10 got_is 10
    is_held "$K"
    touch end
    until_true 10 is_over "$(<front)"
    is_free "$K"
}

# --- one lock within another -------------------------------------------------------------------

# both_free: the lock of ./locked and the one within
both_free() { is_free "$K" && is_free "$K-in"; }

@test "one vlock within another: Ctrl-C ends both" {
    open_terminal
    enter './locked "$VLOCK_BIN" run "$K-in" -- sh -c "touch ready; exec sleep 60"'
    until_true 10 test -e ready
    press key C
    prompt_is 130
    both_free
}

@test "one vlock within another: Ctrl-C reaches CMD once; Ctrl-Z and fg work" {
    export VLOCK_TTL=9s
    open_terminal
    enter './locked "$VLOCK_BIN" run "$K-in" -- ./cmd'
    until_true 10 test -e id
    press key C
    once_only 2
    press key Z
    prompt_is 148
    until_true 10 state_is "$(<id)" T
    renewed 2
    is_held "$K-in"
    enter fg
    until_true 10 not state_is "$(<id)" T
    touch end
    prompt_is 5
    both_free
}

@test "one vlock within another: kill -9 of the outer one ends all and gives both locks back" {
    # The outer guard gives the inner one 200 ms, and then kills it too: on a slow machine it takes
    # more than one try to see the inner lock given back.
    given_back=
    for _ in {1..5}; do
        open_terminal
        enter './locked "$VLOCK_BIN" run -t 10m "$K-in" -- ./cmd'
        until_true 10 test -e id
        kill -KILL "$(<front)"
        until_true 10 is_over "$(<id)"
        until_true 10 is_free "$K"
        until_true 1 is_free "$K-in" && given_back=yes && break
        close_terminal
        gives 0 break --yes "$K-in"
    done
    [ "$given_back" ]
}
