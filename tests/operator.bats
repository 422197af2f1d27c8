#!/usr/bin/env bats
# status, wait and break, on every store: operator@STORE.bats runs the same against STORE.

load helpers
load queues

BATS_TEST_NAME_PREFIX="$(store_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() { start_store "$(store_of_this_file)"; }

# json FILTER: of the last command's JSON answer
json() { jq -r "$1" <<<"$output"; }

pid_in() { cut -d: -f4 <<<"$1"; }
fence_of() { "$VLOCK_BIN" status --json -- "$1" | jq .fence; }

# harmless: the last command's output is UTF-8 without a control character.
harmless() {
    printf '%s' "$output$stderr" | python -c '
import sys, unicodedata
text = sys.stdin.buffer.read().decode()
sys.exit(any(unicodedata.category(c) == "Cc" and c != "\n" for c in text))'
}

# What a hostile client may write: escapes, C1 controls, what is no UTF-8, a line of its own.
HOSTILE=$'\e]0;evil\a\e[31m\xc2\x9b2J\xff\xc3\n\r\x7fvlock: x: free "\\'

# forged [PID]: a token of vlock's own form, whose host and note hold control characters.
forged() {
    local random=0123456789abcdef0123456789abcdef
    echo "vl1:$random:1700000000000:${1-7}:evil%1B%5B31m%FF:%1B%5B2J%C2%9B%22%0A"
}

# --- status ----------------------------------------------------------------------------------

@test "status of a free lock says so: 0" {
    gives 0 status "$K"
    prints "$K: free"
    [ -z "$stderr" ]
    gives 0 status --json "$K"
    [ "$(json '[.name, .key, .held, .holder, .ttl_ms, .fence, .waiting, .waiters] | tojson')" = \
        "[\"$K\",\"$K\",false,null,null,null,0,[]]" ]
}

@test "status shows holder, since, TTL left, fence and note, and never the token" {
    gives 0 acquire -t 1h --note 'https://ci.example/job/7 (deploy)' --format json "$K"
    TOKEN=$(json .token) fence=$(json .fence)
    day=$(date +%F)
    gives 0 status "$K"
    for text in "$K: held" "pid $(pid_in "$TOKEN") on host $(uname -n)" 59m "$fence" \
        'https://ci.example/job/7 (deploy)' 'waiting  0'; do
        grep -qF -- "$text" <<<"$output"
    done
    grep -qE "since +($day|$(date +%F)) [0-9:]{8}$" <<<"$output"
    hides "$TOKEN" "$(cut -d: -f2 <<<"$TOKEN")"
}

@test "status says when the lock never expires" {
    take --ttl none "$K"
    gives 0 status "$K"
    grep -q 'never expires' <<<"$output"
    gives 0 status --json "$K"
    [ "$(json .held,.ttl_ms | xargs)" = 'true null' ]
}

@test "status --json is one object on one line, with the documented fields" {
    gives 0 acquire -t 1h --note 'say "ä"' --format json --prefix p: "$K"
    TOKEN=$(json .token) fence=$(json .fence)
    before=$(date +%s)
    gives 0 status --json --prefix p: "$K"
    [ "${#lines[@]}" -eq 1 ]
    [ "$(json 'keys_unsorted | join(" ")')" = \
        'name key store held holder ttl_ms fence waiting waiters' ]
    [ "$(json '.holder | keys_unsorted | join(" ")')" = 'vlock host pid note token since' ]
    [ "$(json .name,.key | xargs)" = "$K p:$K" ]
    [ "$(json .store)" = "${STORE_URL/redis:/valkey:}" ]
    [ "$(json .held,.holder.vlock | xargs)" = 'true true' ]
    [ "$(json .holder.host)" = "$(uname -n)" ]
    [ "$(json .holder.pid)" = "$(pid_in "$TOKEN")" ]
    [ "$(json .holder.note)" = 'say "ä"' ]
    [ "$(json .fence)" = "$fence" ]
    (($(json .ttl_ms) > 3500000 && $(json .ttl_ms) <= 3600000))
    since=$(date -d "$(json .holder.since)" +%s)
    ((since >= before - 100 && since <= before + 1))
    hides "$TOKEN" "$(cut -d: -f2 <<<"$TOKEN")"
}

@test "status shows no more than the beginning of a token that was given with --token" {
    gives 0 acquire -t 60s --token 0123456789abcdef0123456789abcdef "$K"
    gives 0 status "$K"
    grep -qF "'01234567...' (a vlock with --token)" <<<"$output"
    hides 012345678
    gives 0 status --json "$K"
    [ "$(json '.holder | .vlock,.host,.pid,.note' | xargs)" = 'true null null null' ]
    [ "$(json .holder.token)" = 01234567... ]
    hides 012345678
}

@test "status of a lock that another client holds says so" {
    set_key "$K" 8c5f7bd8b3a411ee9c3c0242ac120002 60000
    gives 0 status "$K"
    grep -qF "'8c5f7bd8...' (no vlock token)" <<<"$output"
    not grep -qE 'since|fence' <<<"$output"
    gives 0 status --json "$K"
    [ "$(json .held,.holder.vlock,.holder.since,.fence | xargs)" = 'true false null null' ]
    (($(json .ttl_ms) > 1000))
    hides 8c5f7bd8b
}

@test "status lets no control character of a hostile value through" {
    set_key "$K" "$HOSTILE"
    gives 0 status "$K"
    harmless
    gives 0 status --json "$K"
    harmless
    json . >/dev/null
    [ "$(json .holder.vlock)" = false ]
    set_key "$K-forged" "$(forged)"
    gives 0 status "$K-forged"
    harmless
    grep -qF 'evil\x1b[31m\xff' <<<"$output"
    gives 0 status --json "$K-forged"
    harmless
    [ "$(json '.holder.note | explode | tojson')" = '[27,91,50,74,155,34,10]' ]
}

@test "an empty value is a held lock for status, and a long one is cut" {
    set_key "$K" ''
    gives 0 status "$K"
    gives 0 status --json "$K"
    [ "$(json .held)" = true ]
    set_key "$K-long" "$(printf 'x%.0s' {1..5000})"
    gives 0 status --json "$K-long"
    ((${#output} < 2000))
}

@test "status lists those who wait, in order" {
    take -t 10m "$K"
    stand A --note first
    stand B -w 5m
    stand C --token cccccccccccccccc
    gives 0 status "$K"
    grep -qx '  waiting  3' <<<"$output"
    for label in A B; do
        line[$((++n))]=$(grep -n "pid ${WAITER[$label]} on host $(uname -n) since " <<<"$output")
    done
    [[ ${line[1]} == *1.*' (first)' ]]
    [[ ${line[2]} == *2.* ]]
    grep -q "3.  'cccc...' (a vlock with --token) since" <<<"$output"
    gives 0 status --json "$K"
    [ "$(json .waiting)" = 3 ]
    [ "$(json '[.waiters[].pid] | tojson')" = "[${WAITER[A]},${WAITER[B]},null]" ]
    [ "$(json '[.waiters[].note] | tojson')" = '["first",null,null]' ]
    [ "$(json '.waiters | map(.since) == (map(.since) | sort)')" = true ]
    gives 0 release --token "$TOKEN" "$K"
    all_served A B C
    gives 0 status "$K"
    prints "$K: free"
}

# forge_waiters COUNT: as many wait as a client of the server can make it look like.
forge_waiters() {
    local i
    for ((i = 1; i <= $1; i++)); do
        printf 'HSET "%s" id%d "p 99999999999999 1000 - 1 %s"\n' "$(beside "$K" waiters)" $i \
            "$(forged $i)"
        printf 'ZADD "%s" %d id%d\n' "$(beside "$K" queue)" $((1700000000000000 + i)) $i
    done | cli >/dev/null
}

@test "status lists twenty of those who wait, and says how many more there are" {
    on_server || skip 'waiters cannot be forged on the local store'
    take -t 10m "$K"
    forge_waiters 23
    gives 0 status "$K"
    harmless
    grep -q ' 20\.  pid 20 on' <<<"$output"
    not grep -q 'pid 21 ' <<<"$output"
    [ "${lines[-1]}" = '           and 3 more' ]
    gives 0 status --json "$K"
    harmless
    [ "$(json '.waiting, (.waiters | length), .waiters[22].pid' | xargs)" = '23 23 23' ]
}

@test "status --json lists a thousand of those who wait" {
    on_server || skip 'waiters cannot be forged on the local store'
    take -t 10m "$K"
    forge_waiters 1003
    gives 0 status --json "$K"
    [ "$(json '.waiting, (.waiters | length)' | xargs)" = '1003 1000' ]
}

@test "status that cannot be written is 73" {
    take -t 10m "$K"
    for form in '' --json; do
        # shellcheck disable=SC2086 # an option or none
        observe sh -c '"$VLOCK_BIN" status $1 "$K" >/dev/full' - $form
        [ "$status" -eq 73 ]
        says "$K" stdout
        # shellcheck disable=SC2086
        observe sh -c '"$VLOCK_BIN" status $1 "$K" >&-' - $form
        [ "$status" -eq 73 ]
    done
}

@test "status, wait and break of a store that cannot be reached are 69" {
    for command in status wait 'wait -w 200ms' 'break --yes'; do
        # shellcheck disable=SC2086 # words
        gives 69 -u redis://127.0.0.1:1 $command "$K"
        [ -z "$output" ]
    done
}

@test "status, wait and break take one NAME, and no options of others" {
    for command in status wait break; do
        gives 64 "$command"
        VLOCK_NAME=$K gives 64 "$command"
        gives 64 "$command" "$K" more
        gives 64 "$command" --token T "$K"
    done
    gives 64 wait -n "$K"
    gives 64 status --yes "$K"
}

# --- wait ------------------------------------------------------------------------------------

# still_waits PID: this vlock waits for a lock.
still_waits() { sits_waiting "$1" && ! is_over "$1"; }

@test "wait for a free lock ends at once and takes nothing" {
    gives 0 wait "$K"
    [ -z "$output$stderr" ]
    is_free "$K"
    gives 0 wait -w 0 "$K"
}

@test "wait -w of a held lock is 75 and names the holder" {
    take -t 1h --note why "$K"
    for bound in 0 1500ms; do
        gives_in_time 75 wait -w $bound "$K"
        says "$K" "$(pid_in "$TOKEN")" 59m why
        hides "$TOKEN"
        VLOCK_WAIT=$bound gives_in_time 75 wait "$K"
        gives_in_time 75 -q wait -w $bound "$K"
        [ -z "$stderr" ]
    done
    VLOCK_WAIT=soon gives 78 wait "$K"
    gives 64 wait -w soon "$K"
    held_by "$K" "$TOKEN"
}

@test "wait ends when the lock is released, and leaves it free" {
    take -t 10m "$K"
    background "$VLOCK_BIN" wait "$K"
    waiter=$!
    until_true 10 still_waits "$waiter"
    gives 0 release --token "$TOKEN" "$K"
    ends 0 "$waiter"
    [ -z "$(cat out err)" ]
    is_free "$K"
}

@test "wait ends when the lock expires" {
    take -t 200ms "$K"
    gives 0 wait "$K"
    is_free "$K"
}

@test "wait ends when the lock is broken" {
    take -t 10m "$K"
    background "$VLOCK_BIN" wait "$K"
    waiter=$!
    until_true 10 still_waits "$waiter"
    gives 0 break --yes "$K"
    ends 0 "$waiter"
}

@test "wait ends when a client that is no vlock deletes the lock" {
    set_key "$K" foreign
    background "$VLOCK_BIN" wait "$K"
    waiter=$!
    until_true 10 still_waits "$waiter"
    cli del "$K" >/dev/null
    ends 0 "$waiter"
}

@test "wait goes on while the lock is handed from one to the next" {
    take -t 10m "$K"
    touch hold.A
    stand A
    background "$VLOCK_BIN" wait "$K"
    waiter=$!
    until_true 10 still_waits "$waiter"
    gives 0 release --token "$TOKEN" "$K"
    until_true 10 was_served A
    until_true 10 still_waits "$waiter"
    rm hold.A
    all_served A
    ends 0 "$waiter"
}

@test "wait has no place in the queue" {
    take -t 10m "$K"
    background "$VLOCK_BIN" wait "$K"
    until_true 10 still_waits $!
    wait_for_it "$K" 0
    gives 0 status "$K"
    grep -qx '  waiting  0' <<<"$output"
}

@test "SIGINT and SIGTERM end a wait: it dies of the one, the other is 143" {
    take -t 10m "$K"
    background "$VLOCK_BIN" wait "$K"
    until_true 10 still_waits $!
    kill -TERM $!
    ends 143 $!
    find_python
    background "$PYTHON" -c 'import os, subprocess, sys
signal = subprocess.run([os.environ["VLOCK_BIN"], "wait", sys.argv[1]]).returncode
sys.exit(9 if signal == -2 else 1)' "$K"
    parent=$!
    until_true 10 pgrep -P "$parent" >pid
    until_true 10 still_waits "$(<pid)"
    kill -INT "$(<pid)"
    ends 9 "$parent"
    held_by "$K" "$TOKEN"
}

@test "wait ends when the reader of stdout or stderr has gone" {
    take -t 10m "$K"
    mkfifo pipe
    setpriv --pdeathsig KILL timeout 150 "$VLOCK_BIN" wait "$K" 2>pipe >out 3>&- &
    waiter=$!
    : <pipe
    ends 141 "$waiter"
    setpriv --pdeathsig KILL timeout 150 "$VLOCK_BIN" wait "$K" >pipe 2>err 3>&- &
    waiter=$!
    : <pipe
    ends 141 "$waiter"
}

@test "wait under the very lock is 75 at once" {
    gives 75 run "$K" -- "$VLOCK_BIN" wait "$K"
    says "$K" 'under that very lock'
    gives 75 run "$K" -- "$VLOCK_BIN" -q wait -w 20s "$K"
    says 'under that very lock'
    gives 0 run "$K" -- "$VLOCK_BIN" wait "$K-other"
    VLOCK_HELD=nonsense gives 78 wait "$K"
}

@test "a wait outlives its connection" {
    on_server || skip 'there are no connections on the local store'
    take -t 10m "$K"
    background "$VLOCK_BIN" wait "$K"
    waiter=$!
    until_true 10 still_waits "$waiter"
    cli client kill type normal >/dev/null
    gives 0 owned --token "$TOKEN" "$K"
    until_true 10 still_waits "$waiter"
    gives 0 release --token "$TOKEN" "$K"
    ends 0 "$waiter"
}

@test "a wait outlives its server, with -w and without" {
    on_server || skip 'the local store does not go'
    start_server "${STORE%%-*}" --appendonly yes --appendfsync always
    export VLOCK_URL=unix://$SOCK
    take -t 10m "$K"
    background "$VLOCK_BIN" wait "$K"
    bare=$!
    background "$VLOCK_BIN" wait -w 5m "$K"
    bounded=$!
    until_true 10 still_waits "$bare"
    until_true 10 still_waits "$bounded"
    stop_server
    setpriv --pdeathsig KILL "$SERVER_KIND-server" --port 0 --unixsocket "$SOCK" --save '' \
        --appendonly yes --appendfsync always --dir "${SOCK%/*}" >log 2>&1 3>&- &
    SERVER_PID=$!
    until_true 10 held_by "$K" "$TOKEN"
    until_true 10 still_waits "$bare"
    until_true 10 still_waits "$bounded"
    gives 0 release --token "$TOKEN" "$K"
    ends 0 "$bare"
    ends 0 "$bounded"
}

@test "a wait with -w for a server that has gone is 69 when it is over" {
    on_server || skip 'the local store does not go'
    start_server "${STORE%%-*}"
    export VLOCK_URL=unix://$SOCK
    take -t 10m "$K"
    background "$VLOCK_BIN" wait -w 15s "$K"
    waiter=$!
    until_true 10 still_waits "$waiter"
    stop_server
    ends 69 "$waiter"
}

# --- break -----------------------------------------------------------------------------------

@test "break of a free lock is 0 and says so" {
    gives 0 break "$K"
    says "$K" 'it is free'
    gives 0 break --yes --fence 7 --foreign "$K"
    gives 0 -q break "$K"
    [ -z "$output$stderr" ]
}

@test "break in a script needs --yes or --fence: 64, says how, and changes nothing" {
    take -t 1h --note why "$K"
    gives 64 break "$K"
    says "$K" "$(pid_in "$TOKEN")" why --yes --fence "$(fence_of "$K")"
    gives 64 break --foreign "$K"
    held_by "$K" "$TOKEN"
}

@test "break --yes frees the lock and says what it broke" {
    take -t 1h --note why "$K"
    fence=$(fence_of "$K")
    gives 0 break --yes "$K"
    says "$K" "pid $(pid_in "$TOKEN") on host $(uname -n)" 59m why "fence $fence"
    hides "$TOKEN"
    [ -z "$output" ]
    is_free "$K"
    gives 79 release --token "$TOKEN" "$K"
    take -t 1h "$K"
    gives 0 -q break --yes "$K"
    [ -z "$output$stderr" ]
    is_free "$K"
}

@test "break of a lock that never expires" {
    take --ttl none "$K"
    gives 0 break --yes "$K"
    says 'never expires'
    is_free "$K"
}

@test "break --fence N breaks the holder with that fence and no other: 79" {
    take -t 10m "$K"
    fence=$(fence_of "$K")
    for other in 1 $((fence - 1)) $((fence + 1)) 18446744073709551615; do
        gives 79 break --fence $other "$K"
        says "$K" "$other" "$fence"
        gives 79 break --yes --fence $other "$K"
    done
    held_by "$K" "$TOKEN"
    gives 0 break --fence "$fence" "$K"
    is_free "$K"
    take -t 10m "$K"
    gives 79 break --fence "$fence" "$K"
    held_by "$K" "$TOKEN"
}

@test "break --fence with anything but a fence is 64, also when the lock is free" {
    for bad in '' 0 -1 +1 ' 1' '1 ' 0x10 1e3 abc 18446744073709551616; do
        gives 64 break --fence "$bad" "$K"
    done
    gives 64 break --fence "$K"
}

@test "break needs --foreign for what no vlock holds, and then only that" {
    set_key "$K" 8c5f7bd8b3a411ee9c3c0242ac120002
    gives 64 break --yes "$K"
    says 8c5f --foreign
    hides 8c5f7bd8b
    gives 64 break --foreign "$K"
    says --yes
    gives 79 break --foreign --fence 7 "$K"
    held_by "$K" 8c5f7bd8b3a411ee9c3c0242ac120002
    gives 0 break --foreign --yes "$K"
    says 8c5f
    hides 8c5f7bd8b
    is_free "$K"
}

@test "a lock that vlock took with --token is not foreign" {
    gives 0 acquire -t 60s --token mine "$K"
    gives 0 break --yes "$K"
    is_free "$K"
}

@test "break breaks a hostile value, and lets none of its control characters through" {
    set_key "$K" "$HOSTILE"
    gives 64 break --yes "$K"
    harmless
    gives 0 break --yes --foreign "$K"
    harmless
    is_free "$K"
    set_key "$K" "$(forged)"
    gives 0 break --yes "$K"
    harmless
    is_free "$K"
    set_key "$K" ''
    gives 0 break --yes --foreign "$K"
    is_free "$K"
}

@test "break of a value that is no token's length, or has a NUL, breaks nothing and says why" {
    set_key "$K" "$(printf 'x%.0s' {1..600})"
    gives 79 break --yes --foreign "$K"
    says 'cannot be compared'
    printf 'one\0two' | cli -x set "$K" >/dev/null
    gives 79 break --yes --foreign "$K"
    says 'cannot be compared'
    is_held "$K"
}

@test "break hands the lock to the first who waits" {
    take -t 10m "$K"
    touch hold.A
    stand A
    stand B
    gives 0 break --yes "$K"
    until_true 10 was_served A
    gives 0 status --json "$K"
    [ "$(json .holder.pid,.waiting | xargs)" = "${WAITER[A]} 1" ]
    rm hold.A
    all_served A B
}

@test "a run whose lock is broken stops its command: 79" {
    background "$VLOCK_BIN" run -t 3s "$K" -- sleep 600
    until_true 10 is_held "$K"
    gives 0 break --yes "$K"
    ends 79 $!
    is_free "$K"
}

@test "break breaks the lock that this command runs under" {
    gives 79 run -t 3s "$K" -- sh -c '"$VLOCK_BIN" break --yes "$VLOCK_NAME" &&
        exec sleep 600'
    is_free "$K"
}

# ask ARG...: vlock ARG... on a terminal, up to its question. What is typed goes to descriptor 7,
# what it shows into `screen`; its id is in $TERMINAL, vlock's own in $ASKED.
ask() {
    rm -f keys screen # not the last one's question
    mkfifo keys
    setpriv --pdeathsig KILL env --default-signal=INT,QUIT,PIPE SHELL=/bin/sh \
        script -qefc "exec '$VLOCK_BIN' $*" /dev/null <keys >screen 2>&1 3>&- &
    TERMINAL=$!
    exec 7>keys
    until_true 10 has screen 'y/N'
    ASKED=$(pgrep -P "$TERMINAL")
}

# answers STATUS KEYS: typed after ask(), with this as the end.
answers() {
    printf "$2" >&7
    ends "$1" "$TERMINAL" || { cat screen && return 1; }
    exec 7>&-
}

@test "break on a terminal shows the holder and asks; yes breaks" {
    for yes in y Y yes YES; do
        take -t 1h --note why "$K"
        ask break "$K"
        has screen "pid $(pid_in "$TOKEN")"
        has screen why
        held_by "$K" "$TOKEN"
        answers 0 "$yes\n"
        has screen broken
        is_free "$K"
    done
}

@test "break on a terminal that is answered anything else is 75 and breaks nothing" {
    take -t 1h "$K"
    for no in 'n\n' '\n' 'yesterday\n' 'no\n' ' y\n' '\004'; do
        ask break "$K"
        answers 75 "$no"
        has screen 'nothing is broken'
    done
    held_by "$K" "$TOKEN"
}

@test "break on a terminal asks also with -q and with --foreign, not with --yes or --fence" {
    take -t 1h "$K"
    ask -q break --foreign "$K"
    answers 75 'n\n'
    observe script -qec "exec '$VLOCK_BIN' break --fence $(fence_of "$K") $K" /dev/null
    [ "$status" -eq 0 ]
    is_free "$K"
    take -t 1h "$K"
    observe script -qec "exec '$VLOCK_BIN' break --yes $K" /dev/null
    [ "$status" -eq 0 ]
    is_free "$K"
}

@test "a signal at the question ends break, and breaks nothing" {
    take -t 1h "$K"
    ask break "$K"
    answers 130 '\003'
    ask break "$K"
    kill -TERM "$ASKED"
    ends 143 "$TERMINAL"
    ask break "$K"
    kill -HUP "$ASKED"
    ends 129 "$TERMINAL"
    held_by "$K" "$TOKEN"
}

@test "break breaks only whom it showed: who has taken the lock meanwhile keeps it: 79" {
    take -t 1h "$K"
    ask break "$K"
    gives 0 release --token "$TOKEN" "$K"
    take -t 1h "$K"
    answers 79 'y\n'
    has screen "pid $(pid_in "$TOKEN")"
    held_by "$K" "$TOKEN"
    ask break "$K"
    gives 0 release --token "$TOKEN" "$K"
    answers 79 'y\n'
    is_free "$K"
}

@test "break tells two holders with the same --token apart by their fences" {
    gives 0 acquire -t 1h --token mine "$K"
    ask break "$K"
    gives 0 release --token mine "$K"
    gives 0 acquire -t 1h --token mine "$K"
    answers 79 'y\n'
    held_by "$K" mine
}

@test "break breaks a holder that renewed its lease while it was asked about" {
    gives 0 acquire -t 1h --token mine "$K"
    ask break "$K"
    gives 0 extend --token mine "$K" 1h
    answers 0 'y\n'
    is_free "$K"
}

# --- lost replies ----------------------------------------------------------------------------

@test "status and wait whose replies are lost ask again, whichever it was" {
    on_server || skip 'no reply is lost on the local store'
    start_proxy
    take -t 1h "$K"
    for n in 1 2 3; do
        rule "cut $n rst"
        gives 0 -u "$PROXY_URL" status --json "$K"
        [ "$(json .held)" = true ]
        for _ in 1 2 3 4 5; do
            rule "cut $n rst"
            vlock -u "$PROXY_URL" wait -w 1500ms "$K"
            [ "$status" -eq 69 ] || break # else the time was too short for any answer
        done
        [ "$status" -eq 75 ]
        says "$(pid_in "$TOKEN")"
    done
}

@test "a break whose reply is lost has broken the lock: 0" {
    on_server || skip 'no reply is lost on the local store'
    start_proxy
    for n in 1 2 3 4; do
        take -t 1h "$K"
        rule "cut $n rst"
        gives 0 -u "$PROXY_URL" break --yes "$K"
        is_free "$K"
    done
}
