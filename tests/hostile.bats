#!/usr/bin/env bats
# Whatever others write into a lock, a server's answer or a path, and whatever NAME somebody is given:
# no command prints it so that a terminal obeys it, hides it or is misled, in any encoding.

# bats file_tags=asan

load helpers
load terminal

setup_file() {
    start_store valkey
    find_python
}

teardown() {
    local pid
    for pid in ${KEEPER-}; do kill -KILL "$pid" 2>/dev/null || true; done
    close_terminal || true
    end_processes
}

# C1 controls, overrides and isolates of direction, invisible characters, tags, separators, what is no
# UTF-8, and a character of which a byte is a control on a terminal of another encoding (U+00DB).
ODD=$'x\xc2\x9b31m\xe2\x80\xaey\xe2\x81\xa6\xd8\x9c\xe2\x80\x8b\xef\xbb\xbf\xf3\xa0\x81\xa1\xe2\x80\xa8\xc2\xad'
ODD+=$'\xff\xc3\xe2\x80 \xc3\x9b2Jz'
# The same with what no NAME, note or token of vlock's own may hold.
HOSTILE=$'\e]0;evil\a\e[31m\n\r\x7fvlock: x: free'$ODD

# forged: a token of vlock's own form whose host and note are hostile
forged() {
    "$PYTHON" - "${HOSTILE:0:100}" <<'PY'
import os, sys, urllib.parse
note = urllib.parse.quote(os.fsencode(sys.argv[1]), safe="/+@,")
host = urllib.parse.quote(b"h\x1b[2J\x9b\xe2\x80\xae", safe="")
print(f"vl1:0123456789abcdef0123456789abcdef:1700000000000:7:{host}:{note}")
PY
}

# in_encodings FUNCTION: calls it where the terminal is UTF-8, and where it is not; what it says is
# looked at as that terminal would.
in_encodings() {
    local locale encoding
    for locale in LC_ALL=C.UTF-8 LC_CTYPE=en_US.utf8 LC_ALL=C LANG=en_US.ISO-8859-1 LC_CTYPE= LC_ALL=zh_CN.GBK; do
        unset LC_ALL LC_CTYPE LANG
        export "${locale?}"
        encoding=other
        [[ $locale != *[uU][tT][fF]* ]] || encoding=utf-8
        : >said
        "$1"
        [ -s said ]
        "$PYTHON" "$TESTS/tools/harmless.py" $encoding said || { echo "in $locale"; return 1; }
        grep -qF '\x' said
    done
    export LC_ALL=C.UTF-8
    unset LC_CTYPE LANG
}

# tells STATUS ARG...: vlock ARG... ends with STATUS; what it says goes to the file `said`.
tells() {
    local wanted=$1 got=0
    shift
    timeout -k 5 300 "$VLOCK_BIN" "$@" >>said 2>&1 </dev/null || got=$?
    [ "$got" -eq "$wanted" ] || { printf 'status %s, wanted %s: %q\n' "$got" "$wanted" "$*"; return 1; }
}

# every_command NAME: all that say who holds it; somebody else does.
every_command() {
    tells 0 status -- "$1"
    tells 0 status --json -- "$1"
    tells 75 -v acquire -n -- "$1"
    tells 75 acquire -w 50ms -t 9s -- "$1"
    tells 75 acquire -n --token-file f -- "$1"
    tells 75 -v run -n "$1" -- true
    tells 75 wait -w 0 -- "$1"
    tells 79 -v release --token t -- "$1"
    tells 0 release --if-held --token t -- "$1"
    tells 79 extend --token t -- "$1" 9s
    tells 79 reacquire --token t -- "$1"
    tells 79 reacquire --recover --token t -- "$1"
    tells 1 -v owned --token t -- "$1"
    tells 0 -v locked -- "$1"
    tells 64 break -- "$1"
    tells 79 break --fence 1 --foreign -- "$1"
}

foreign_value() { every_command "$K"; }

@test "a value that another client wrote" {
    set_key "$K" "$HOSTILE"
    in_encodings foreign_value
    held_by "$K" "$HOSTILE"
}

@test "a token of vlock's form with a hostile host and note" {
    set_key "$K" "$(forged)" 600000
    in_encodings foreign_value
    gives 0 status "$K"
    grep -qF 'pid 7 on host h\x1b[2J' <<<"$output"
}

odd_token() {
    local token=$ODD$RANDOM
    tells 0 run -t 60s --note "$ODD" --token "$token" "$K" -- true
    "$VLOCK_BIN" acquire -t 60s --token "$token" "$K" >/dev/null
    every_command "$K"
    "$VLOCK_BIN" release --token "$token" "$K"
    "$VLOCK_BIN" acquire -t 60s --note "${ODD:0:20}" "$K" >token
    every_command "$K"
    "$VLOCK_BIN" release --token-file token "$K"
}

@test "a token and a note of a user of vlock" {
    in_encodings odd_token
}

odd_name() {
    tells 0 status -- "$ODD"
    tells 1 locked -- "$ODD"
    "$VLOCK_BIN" acquire -t 60s --token mine -- "$ODD" >/dev/null
    every_command "$ODD"
    tells 0 break --yes -- "$ODD"
    tells 0 break -- "$ODD"
    tells 64 acquire -- "$HOSTILE"
    tells 64 --prefix "$HOSTILE" acquire -- "$ODD"
    tells 0 --prefix "$ODD" status --json -- "$ODD"
    cli set "$ODD" 1 >/dev/null
    tells 64 break --yes -- "$ODD"
    tells 0 break --yes --foreign -- "$ODD"
    cli rpush "$ODD" list >/dev/null
    tells 76 acquire -n -- "$ODD"
    cli del "$ODD" >/dev/null
}

@test "a NAME" {
    in_encodings odd_name
}

waiters() { tells 0 status "$K"; tells 0 status --json "$K"; }

# waits WHO: it stands in the queue of $K
waits() { "$VLOCK_BIN" status --json "$K" | jq -e ".waiting == $1" >/dev/null; }

@test "the notes and tokens of those who wait" {
    take -t 10m "$K"
    background "$VLOCK_BIN" acquire --note "${ODD:0:20}" "$K"
    first=$!
    until_true 10 waits 1
    setpriv --pdeathsig KILL "$VLOCK_BIN" acquire --token "$ODD" "$K" >out2 2>err2 3>&- &
    until_true 10 waits 2
    in_encodings waiters
    kill "$first" $!
}

break_on_terminal() {
    open_terminal
    enter "\"\$VLOCK_BIN\" break --foreign \"\$K\""
    shows 'break it?'
    press enter no
    prompt_is 75
    close_terminal
    cat "$TTY/screen" >>said
}

@test "the question of break" {
    set_key "$K" "$HOSTILE"
    in_encodings break_on_terminal
}

lose_it() {
    cli del "$K" >/dev/null
    rm -f begun
    background "$VLOCK_BIN" -v run -t 60s "$K" -- sh -c '>begun; exec sleep 600'
    until_true 10 test -e begun
    cli set "$K" "$HOSTILE" >/dev/null
    ends 79 $!
    cat out err >>said
    grep -qF 'x1b]0;' said
}

@test "whoever a command lost its lock to" {
    in_encodings lose_it
}

leave_process() {
    tells 0 run -t 60s "$K" -- sh -c '"$0" 600 >&- 2>&- & :' "./$ODD"
    grep -q pid said
}

@test "the name of a process that a command left behind" {
    ODD=${ODD:0:15} # what the kernel keeps of it
    cp "$(command -v sleep)" "./$ODD"
    in_encodings leave_process
}

logs() { [ -s f.log ]; }
keepers() { LC_ALL=C pgrep -fx "lock-keeper: keeps .* for process $$"; }
ended() { not keepers; }

keep_it() {
    rm -f f f.log
    "$VLOCK_BIN" acquire --keep-alive=$$ -t 60s --token-file f -- "$ODD"
    KEEPER=$(keepers)
    cli set "$ODD" "$HOSTILE" >/dev/null
    until_true 10 logs
    until_true 10 ended
    cat f.log >>said
    cli del "$ODD" >/dev/null
    [ "$(wc -l <f.log)" = 1 ]
}

@test "the log of a keeper" {
    in_encodings keep_it
}

badly_answered() {
    for args in "acquire -n" release locked "run -n" status "wait -w 0" break; do
        # shellcheck disable=SC2086
        timeout -k 5 300 "$VLOCK_BIN" -v -u "redis://127.0.0.1:$SCRIPTED_PORT" $args "$K" true \
            >>said 2>&1 </dev/null || true
        timeout -k 5 300 "$VLOCK_BIN" -v -u "redis://127.0.0.1:$SCRIPTED_PORT" $args --token t "$K" \
            >>said 2>&1 </dev/null || true
    done
    grep -qF '[31m' said
}

@test "a server's words" {
    start_scripted 'ON HELLO -ERR \x1b[31m\x07\xc2\x9b\xe2\x80\xae\xff unknown command \x9b\r\n' \
        'ON * -ERR bad \x1b]0;x\x07\x1b[31m \xc2\x9b31m \xe2\x80\xae \xf3\xa0\x81\xa1 \xff \x9b \xc3\x9b\r\n' \
        SERVE
    in_encodings badly_answered
}

misused() {
    local dir=$PWD/$ODD$'\e[31m'
    tells 73 acquire -n --token-file "$dir/f" "$K"
    tells 66 release --token-file "$dir" "$K"
    tells 78 --password-file "$dir" locked "$K"
    GITHUB_ENV=$dir tells 73 acquire --format github "$K"
    vlock -u "local:$dir/sub" locked "$K"
    printf '%s\n' "$stderr" >>said
    tells 78 -u "redis://h$HOSTILE" locked "$K"
    tells 78 -u "$HOSTILE" locked "$K"
    tells 64 "$HOSTILE" "$K"
    tells 64 "--$HOSTILE" "$K"
    tells 64 "--$HOSTILE=$HOSTILE" locked "$K"
    tells 64 $'-\x9b' "$K"
    tells 64 help "$HOSTILE"
    tells 64 completion "$HOSTILE"
    tells 64 acquire -t "$HOSTILE" "$K"
    VLOCK_WAIT=$HOSTILE tells 78 acquire "$K"
    tells 64 run --signal "$HOSTILE" "$K" true
    tells 64 run --on-lost "$HOSTILE" "$K" true
    tells 64 acquire --keep-alive "$HOSTILE" "$K"
    tells 64 acquire --format "$HOSTILE" "$K"
    tells 64 acquire -E "$HOSTILE" "$K"
    tells 64 break --fence "$HOSTILE" "$K"
    tells 127 run "$K" -- "$HOSTILE"
    VLOCK_TOKEN=t VLOCK_FENCE=$HOSTILE tells 78 release "$K"
    env "VLOCK_$HOSTILE=" "$VLOCK_BIN" locked "$K" >>said 2>&1 || true
    printf 'version=1\nname=%s\ntoken=t\nttl=60s\n' "$ODD" >other
    tells 65 release --token-file other "$K"
    tells 65 acquire --token-file other "$K"
    printf 'version=1\nname=%s\ntoken=t\nttl=60s\nstore=%s\n' "$K" "valkey://$ODD" >other
    tells 65 release --token-file other "$K"
}

@test "paths, options and variables" {
    in_encodings misused
}

@test "what is for programs stays as it is" {
    local name=$'x\xc2\x9b\xe2\x80\xae\xf3\xa0\x81\xa1\xf0\x9f\x98\x80ü' got
    export LC_ALL=C
    [ "$("$VLOCK_BIN" acquire -t 60s --token "$ODD" -- "$name")" = "$ODD" ]
    gives 0 release --token "$ODD" -- "$name"
    got=$("$VLOCK_BIN" run -t 60s --token "$ODD" "$ODD" -- sh -c 'printf %s "$VLOCK_NAME$VLOCK_TOKEN"')
    [ "$got" = "$ODD$ODD" ]
    eval "$("$VLOCK_BIN" acquire -t 60s --format shell --token "$ODD" -- "$ODD")"
    [ "$VLOCK_NAME$VLOCK_TOKEN" = "$ODD$ODD" ]
    gives 0 release -- "$ODD"
    unset VLOCK_NAME VLOCK_TOKEN VLOCK_FENCE VLOCK_TTL
    gives 0 acquire -t 60s --format json --token "$name" -- "$name"
    [ "$(jq -r .name,.token <<<"$output")" = "$name"$'\n'"$name" ]
    gives 0 status --json -- "$name"
    [ "$(jq -r .name <<<"$output")" = "$name" ]
    gives 0 release --token "$name" -- "$name"
    gives 0 acquire -t 60s --token-file f --token "$ODD" -- "$ODD"
    grep -qxF "token=$ODD" f
    gives 0 release --token-file f -- "$ODD"
}
