# terminal.bash - a shell at a terminal of its own, and somebody who types (tools/terminal.py).
#
#     open_terminal                  an interactive bash that runs in the test's directory
#     enter ./locked sleep 60        types this and presses Enter
#     press key C                    one of terminal.py's orders: presses Ctrl-C
#     prompt_is 130                  the shell is ready for the next command; the last ended so
#     shows Stopped                  the terminal shows this
#
# Prompts hold the status of the last command. A test that opens one closes it: close_terminal.
# shellcheck shell=bash

# write_starters: ./locked CMD... runs CMD under $K with vlock's options $OPTIONS, its own id in
# `front`; ./bare CMD... runs it without vlock. ./cmd, for CMD, counts signals: see there.
write_starters() {
    find_python
    cat >locked <<'SH'
#!/bin/sh
echo $$ >front.new && mv front.new front
exec "$VLOCK_BIN" run $OPTIONS "$K" -- "$@"
SH
    cat >bare <<'SH'
#!/bin/sh
echo $$ >front.new && mv front.new front
exec "$@"
SH
    # Adds each signal it gets to `got`, until there is a file `end`; then it ends with 5. In `id`
    # its pid. An argument is one more thing to do at first, in Python.
    cat >cmd <<PY
#!$PYTHON
import os, signal, sys, time
got, found = [], {}
for number in (1, 2, 3, 10, 12, 15, 28):
    found[number] = signal.signal(number, lambda n, _: got.append(n))
for text in sys.argv[1:]:
    exec(text)
open("id.new", "w").write(f"{os.getpid()}\n")
os.rename("id.new", "id")
while not os.path.exists("end"):
    time.sleep(0.01)
    open("got.new", "w").write(" ".join(map(str, got)) + "\n")
    os.rename("got.new", "got")
sys.exit(5)
PY
    chmod +x locked bare cmd
    export OPTIONS=${OPTIONS-}
    rm -f front id got end
}

# open_terminal [CMD...]: CMD, or an interactive bash, as leader of its session on a terminal.
open_terminal() {
    write_starters
    TTY=$(mktemp -d "$BATS_TEST_TMPDIR/tty-XXXX")
    PROMPTS=0
    local shell=("$@")
    [ $# -gt 0 ] || shell=(bash --norc --noprofile --noediting -i)
    setpriv --pdeathsig KILL env --default-signal TERM=dumb PS1= "$PYTHON" \
        "$TESTS/tools/terminal.py" "$TTY" env 'PS1=<$?> ' PS2= "${shell[@]}" \
        >"$TTY/out" 2>"$TTY/err" 3>&- &
    TERMINAL_PID=$!
    until_true 10 test -e "$TTY/ready"
    if [ $# -eq 0 ] || [ "$*" = 'dash -i' ]; then
        prompt_is 0
        enter 'ulimit -c 0'
        prompt_is 0
    fi
}

close_terminal() {
    [ -n "${TERMINAL_PID-}" ] || return 0
    is_over "$TERMINAL_PID" || press end
    until_true 10 is_over "$TERMINAL_PID" || kill -KILL "$TERMINAL_PID"
    wait "$TERMINAL_PID" || true
    TERMINAL_PID=
}

# show_terminal: what it showed, for a test that fails
show_terminal() {
    [ -z "${TTY-}" ] || { echo "the terminal:"; head -c 4000 "$TTY/screen" "$TTY/err"; }
    [ -z "${TTY-}" ] || ps -o pid,ppid,pgid,tpgid,stat,args -s "$(<"$TTY/leader")" || true
}

press() { echo "$*" >"$TTY/keys"; }

prompts() { grep -aoE '<[0-9]+> ' "$TTY/screen" | wc -l; }

enter() {
    PROMPTS=$(prompts)
    press "enter $*"
}

prompted() { (($(prompts) > PROMPTS)); }

prompt_is() {
    local last
    until_true 10 prompted
    last=$(grep -aoE '<[0-9]+> ' "$TTY/screen" | tail -n 1)
    [ "$last" = "<$1> " ] || { echo "status $last, wanted $1"; return 1; }
    PROMPTS=$(prompts)
}

shows() { until_true 10 has "$TTY/screen" "$1"; }

# look: the terminal's foreground process group is in $TTY/foreground, its settings in
# $TTY/settings.
look() {
    LOOKS=$((${LOOKS-0} + 1))
    press "look $LOOKS"
    until_true 10 grep -qsx "$LOOKS" "$TTY/looked"
}

# got_is 'NUMBERS': CMD got these signals, in this order
got_is() { grep -qsx "$1" got; }

# once_only NUMBERS: CMD got these signals, each once: also after all that may still be on its
# way has come, for which two more are sent, one after the other.
once_only() {
    got_in_the_end "$1"
    kill -USR1 "$(<front)"
    got_in_the_end "${1:+$1 }10"
    kill -USR2 "$(<front)"
    got_in_the_end "${1:+$1 }10 12"
}

got_in_the_end() {
    until_true 10 got_is "$1" || { echo "CMD got $(<got)" && return 1; }
}

# listening: a run that has lasted is watched for signals to its whole process group
listening() { pgrep -g "$(<front)" lock-ear >ears; }

# renewed TIMES: watches the lease of $K until it was renewed so often. On a server only: the
# lease of a local lock does not run out while its holder lives.
renewed() {
    local before=0 left
    on_server || return 0
    RENEWALS=0
    until_true 10 saw_renewals "$1"
}

saw_renewals() {
    left=$(pttl_of "$K")
    ((left > 0)) || { echo "no lease any more: $left" && return 1; }
    ((left <= before)) || RENEWALS=$((RENEWALS + 1))
    before=$left
    ((RENEWALS > $1))
}
