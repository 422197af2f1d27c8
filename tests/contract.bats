#!/usr/bin/env bats
# What a lock means, on every store: contract.bats runs on the local store, and each
# contract@STORE.bats is a link to it that runs the same against STORE (see start_store).

load helpers

BATS_TEST_NAME_PREFIX="$(store_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() { start_store "$(store_of_this_file)"; }

# json FIELD: a field of the last command's JSON answer
json() { jq -r ".$1" <<<"$output"; }

fence_of_new_lock() {
    gives 0 acquire -t 60s --format json "$1"
    json fence
}

# --- acquire ---------------------------------------------------------------------------------

@test "acquire takes a free lock and prints its token alone on a line" {
    gives 0 acquire -t 60s "$K"
    [ "${#lines[@]}" -eq 1 ]
    [[ $output =~ ^[[:graph:]]{32,512}$ ]]
    [ -z "$stderr" ]
    held_by "$K" "$output"
}

@test "acquire sets the TTL it was given" {
    gives 0 acquire -t 1h30m "$K"
    ttl_between "$K" 5300000 5400000
    gives 0 acquire -t 99500ms "$K-short"
    ttl_between "$K-short" 1 99500
}

@test "acquire without -t takes 60 s and says so on stderr" {
    gives 0 acquire "$K"
    says 60s
    ttl_between "$K" 1000 60000
}

@test "VLOCK_TTL is the default TTL and needs no remark" {
    VLOCK_TTL=10m gives 0 acquire "$K"
    [ -z "$stderr" ]
    ttl_between "$K" 500000 600000
    VLOCK_TTL=10m gives 0 acquire -t 20m "$K-2"
    ttl_between "$K-2" 1100000 1200000
}

@test "acquire --ttl none never expires" {
    gives 0 acquire --ttl none "$K"
    [ -z "$stderr" ]
    ttl_between "$K" -1 -1
}

@test "two acquires make two tokens" {
    take -t 60s "$K"
    first=$TOKEN
    take -t 60s "$K-2"
    [ "$first" != "$TOKEN" ]
}

@test "acquire of a held lock is busy: 75, no token, nothing changed" {
    take -t 60s "$K"
    gives 75 acquire -n -t 1s "$K"
    [ -z "$output" ]
    held_by "$K" "$TOKEN"
    ttl_between "$K" 1000 60000
    gives 75 acquire --nonblock "$K"
    gives 75 acquire -w 0 "$K"
    VLOCK_WAIT=0 gives 75 acquire "$K"
}

@test "the busy message names host, pid, TTL left and note" {
    take -t 1h --note 'https://ci.example/job/7 (deploy)' "$K"
    pid=$(cut -d: -f4 <<<"$TOKEN")
    gives 75 acquire -n "$K"
    says "$K" "$(uname -n)" "$pid" 59m 'https://ci.example/job/7 (deploy)'
    hides "$TOKEN"
}

@test "the busy message says when the lock never expires" {
    take --ttl none "$K"
    gives 75 acquire -n "$K"
    says 'never expires'
}

@test "the busy message shows a foreign token shortened" {
    take --token 0123456789abcdef0123456789abcdef -t 60s "$K"
    gives 75 acquire -n "$K"
    says 01234
    hides 0123456789abcdef0123456789abcdef
}

@test "a note is at most 128 bytes without control characters" {
    gives 0 acquire -t 60s --note "$(printf 'n%.0s' {1..128})" "$K"
    gives 64 acquire -t 60s --note "$(printf 'n%.0s' {1..129})" "$K-2"
    gives 64 acquire -t 60s --note $'a\nb' "$K-2"
    is_free "$K-2"
}

@test "-q silences the busy message, -E 0 that and the status" {
    take -t 60s "$K"
    gives 75 -q acquire -n "$K"
    [ -z "$stderr" ]
    gives 0 acquire -n -E 0 "$K"
    [ -z "$stderr$output" ]
    gives 33 acquire -n --conflict-exit-code 33 "$K"
    gives 0 run -n -E 0 "$K" -- touch ran
    [ ! -e ran ]
}

@test "acquire --token uses that token as it is" {
    for token in x "a token with blanks" "$(printf 't%.0s' {1..512})" $'umlaut-\xc3\xa4'; do
        gives 0 acquire --token "$token" -t 60s "$K"
        prints "$token"
        held_by "$K" "$token"
        gives 0 release --token "$token" "$K"
    done
}

@test "a second acquire with the same --token is busy" {
    gives 0 acquire --token same -t 60s "$K"
    gives 75 acquire -n --token same -t 60s "$K"
    held_by "$K" same
}

@test "acquire waits until the lock is released" {
    take -t 60s "$K"
    background "$VLOCK_BIN" acquire -t 30s "$K"
    waiter=$!
    gives 75 acquire -n "$K"
    kill -0 "$waiter"
    gives 0 release --token "$TOKEN" "$K"
    ends 0 "$waiter"
    held_by "$K" "$(<out)"
    ttl_between "$K" 1 30000
}

@test "acquire waits until the lock expires" {
    gives 0 acquire -t 300ms "$K"
    gives 0 acquire -t 30s "$K"
    held_by "$K" "$output"
}

# in_vain ARG...: vlock ARG..., begun at $start, waits and ends with 75. Where the store was too
# slow for any answer that is 69: once more, then.
in_vain() {
    for _ in 1 2 3 4 5; do
        start=$EPOCHREALTIME
        vlock "$@"
        [ "$status" -eq 69 ] || break
    done
    [ "$status" -eq 75 ] || { echo "wanted status 75"; return 1; }
}

# How much longer: waiting.bats.
@test "acquire -w waits that long, not less" {
    take -t 60s "$K"
    in_vain acquire -w 1500ms "$K"
    took=$(((${EPOCHREALTIME/./} - ${start/./}) / 1000))
    ((took >= 1500))
    says "$(uname -n)"
    VLOCK_WAIT=1500ms in_vain acquire "$K"
    held_by "$K" "$TOKEN"
}

@test "acquire -w gets a lock that becomes free in time" {
    gives 0 acquire -t 300ms "$K"
    gives 0 acquire -w 100s -t 30s "$K"
}

@test "waiters get the lock one after the other" {
    take -t 60s "$K"
    pids=()
    for i in 1 2 3 4; do
        background "$VLOCK_BIN" run "$K" -- sh -c 'echo in >>log; echo out >>log'
        pids+=($!)
    done
    gives 0 release --token "$TOKEN" "$K"
    for pid in "${pids[@]}"; do ends 0 "$pid"; done
    [ "$(tr '\n' ' ' <log)" = 'in out in out in out in out ' ]
    is_free "$K"
}

# ended_by SIGNAL: a waiting acquire ends with 128+SIGNAL and takes nothing.
ended_by() {
    take -t 60s "$K-$1"
    background "$VLOCK_BIN" acquire -t 60s "$K-$1"
    waiter=$!
    until_true 10 sits_waiting "$waiter"
    kill -"$1" "$waiter"
    ends $((128 + $1)) "$waiter"
    [ ! -s out ]
    gives 0 release --token "$TOKEN" "$K-$1"
    is_free "$K-$1"
}

@test "a signal ends a waiter at once with 128+N, its place given up" {
    for signal in 1 2 15; do ended_by $signal; done
}

@test "a waiter whose stdout reader has gone ends and takes nothing" {
    take -t 60s "$K"
    mkfifo pipe
    setpriv --pdeathsig KILL timeout 150 "$VLOCK_BIN" acquire -t 60s "$K" >pipe 2>err 3>&- &
    waiter=$!
    : <pipe
    until_true 10 is_over "$waiter"
    gives 0 release --token "$TOKEN" "$K"
    is_free "$K"
}

@test "a waiter whose stderr reader has gone ends and takes nothing" {
    take -t 60s "$K"
    mkfifo pipe
    setpriv --pdeathsig KILL timeout 150 "$VLOCK_BIN" acquire -t 60s "$K" 2>pipe >out 3>&- &
    waiter=$!
    : <pipe
    until_true 10 is_over "$waiter"
    gives 0 release --token "$TOKEN" "$K"
    is_free "$K"
}

# --- names -----------------------------------------------------------------------------------

@test "NAME is any 1 to 512 bytes without control characters" {
    for name in x 'with blanks' "it's \"quoted\"" "\$(touch no) \`no\`" '{tag}' 'a{tag}b' '{}' 'a:b' \
        '../../etc/passwd' . .. / 'ä€😀' $'\xff\xfe' '%00%' '*' -dash Name name \
        "$(printf 'n%.0s' {1..512})"; do
        gives 0 acquire -n --token "t$K" -t 60s -- "$name"
        held_by "$name" "t$K"
    done
    [ ! -e no ]
}

@test "names that differ only in case, dots or braces are different locks" {
    for name in "$K" "$K." "$K/" "${K^^}" "{$K}" "$K{}" "$K "; do
        gives 0 acquire -n --token "$name" -t 60s "$name"
    done
    for name in "$K" "$K." "$K/" "${K^^}" "{$K}" "$K{}" "$K "; do
        gives 0 release --token "$name" "$name"
    done
}

@test "--prefix stands in front of NAME in the key" {
    take --prefix "pre:" -t 60s "$K"
    held_by "pre:$K" "$TOKEN"
    gives 1 locked "$K"
    gives 0 --prefix pre: locked "$K"
    VLOCK_PREFIX=pre: gives 0 locked "$K"
    VLOCK_PREFIX='' gives 0 locked "pre:$K"
    VLOCK_PREFIX=pre: gives 0 release --token "$TOKEN" "$K"
    is_free "pre:$K"
}

@test "options may stand before the command, before and after its operands" {
    gives 0 -t 60s --token T acquire "$K"
    gives 0 release "$K" --token T
    gives 0 acquire "$K" -t60s --token=T
    gives 0 --token T extend "$K" 1h --replace
    gives 0 release --token T -- "$K"
}

# --- release ---------------------------------------------------------------------------------

@test "release frees the lock and is silent" {
    take -t 60s "$K"
    gives 0 release --token "$TOKEN" "$K"
    [ -z "$output$stderr" ]
    is_free "$K"
}

@test "release by a stranger changes nothing: 79" {
    take -t 60s "$K"
    gives 79 release --token stranger "$K"
    says "$K"
    hides "$TOKEN"
    held_by "$K" "$TOKEN"
    ttl_between "$K" 1000 60000
}

@test "release compares whole tokens" {
    gives 0 acquire --token abcdef -t 60s "$K"
    for other in abcde abcdefg ABCDEF 'abcdef ' ' abcdef'; do
        gives 79 release --token "$other" "$K"
    done
    held_by "$K" abcdef
}

@test "release of a free lock is 79, with --if-held 0" {
    gives 79 release --token T "$K"
    gives 0 release --if-held --token T "$K"
}

@test "release of a lock that has expired is 79, with --if-held 0" {
    take -t 1ms "$K"
    until_true 5 is_free "$K"
    gives 79 release --token "$TOKEN" "$K"
    gives 0 release --if-held --token "$TOKEN" "$K"
}

@test "release --if-held does not touch another holder's lock" {
    take -t 60s "$K"
    gives 0 release --if-held --token stranger "$K"
    held_by "$K" "$TOKEN"
}

@test "release without a token is 66, with --if-held 0" {
    take -t 60s "$K"
    gives 66 release "$K"
    gives 0 release --if-held "$K"
    held_by "$K" "$TOKEN"
}

@test "a second release is 79" {
    take -t 60s "$K"
    gives 0 release --token "$TOKEN" "$K"
    gives 79 release --token "$TOKEN" "$K"
}

# --- extend ----------------------------------------------------------------------------------

@test "extend adds to what is left" {
    take -t 60s "$K"
    gives 0 extend --token "$TOKEN" "$K" 1h
    ttl_between "$K" 3600001 3660000
    gives 0 extend --token "$TOKEN" "$K" 500ms
    held_by "$K" "$TOKEN"
}

@test "extend --replace sets what is left, also to less" {
    take -t 1h "$K"
    gives 0 extend --replace --token "$TOKEN" "$K" 20s
    ttl_between "$K" 1000 20000
    gives 0 extend --replace --token "$TOKEN" "$K" 2h
    ttl_between "$K" 7100000 7200000
}

@test "extend by a stranger changes nothing: 79" {
    take -t 60s "$K"
    gives 79 extend --token stranger "$K" 1h
    gives 79 extend --replace --token stranger "$K" 1h
    ttl_between "$K" 1000 60000
    held_by "$K" "$TOKEN"
}

@test "extend of a free or expired lock is 79 and takes nothing" {
    gives 79 extend --token T "$K" 1h
    take -t 1ms "$K"
    until_true 5 is_free "$K"
    gives 79 extend --token "$TOKEN" "$K" 1h
    is_free "$K"
}

@test "extend of a lock that never expires is 65 and changes nothing" {
    take --ttl none "$K"
    gives 65 extend --token "$TOKEN" "$K" 1h
    gives 65 extend --replace --token "$TOKEN" "$K" 1h
    ttl_between "$K" -1 -1
    held_by "$K" "$TOKEN"
}

@test "extend without a token is 66" {
    take -t 60s "$K"
    gives 66 extend "$K" 1h
}

@test "extend beyond what a TTL can be is 64 and changes nothing" {
    take -t 60s "$K"
    gives 64 extend --token "$TOKEN" "$K" 9007199254740991ms
    ttl_between "$K" 1000 60000
    held_by "$K" "$TOKEN"
}

@test "extend by zero or less is a usage error and does not free the lock" {
    take -t 60s "$K"
    for duration in 0 0ms -1 -60s; do
        gives 64 extend --token "$TOKEN" "$K" "$duration"
        gives 64 extend --replace --token "$TOKEN" "$K" "$duration"
    done
    held_by "$K" "$TOKEN"
}

# --- reacquire -------------------------------------------------------------------------------

@test "reacquire sets the TTL back" {
    take -t 90s "$K"
    gives 0 reacquire -t 1h --token "$TOKEN" "$K"
    ttl_between "$K" 3500000 3600000
    VLOCK_TTL=30m gives 0 reacquire --token "$TOKEN" "$K"
    ttl_between "$K" 1700000 1800000
    gives 0 reacquire -t 45s --token "$TOKEN" "$K"
    ttl_between "$K" 1 45000
}

@test "reacquire takes the TTL from the token file before VLOCK_TTL" {
    gives 0 acquire -t 20m --token-file token "$K"
    gives 0 extend --replace --token-file token "$K" 90s
    VLOCK_TTL=1h gives 0 reacquire --token-file token "$K"
    ttl_between "$K" 1100000 1200000
    VLOCK_TTL=1h gives 0 reacquire -t 40m --token-file token "$K"
    ttl_between "$K" 2300000 2400000
}

@test "reacquire by a stranger or of a free lock is 79 and changes nothing" {
    take -t 60s "$K"
    gives 79 reacquire -t 1h --token stranger "$K"
    ttl_between "$K" 1000 60000
    gives 0 release --token "$TOKEN" "$K"
    gives 79 reacquire -t 1h --token "$TOKEN" "$K"
    is_free "$K"
}

@test "reacquire of a lock taken without a TTL is 65" {
    take --ttl none "$K"
    gives 65 reacquire -t 1h --token "$TOKEN" "$K"
    ttl_between "$K" -1 -1
}

@test "reacquire without a token is 66" {
    gives 66 reacquire -t 1h "$K"
}

@test "reacquire --recover takes a lapsed lock again with the same token and fence" {
    gives 0 acquire -t 1ms --token-file token "$K"
    token=$(sed -n 's/^token=//p' token)
    fence=$(sed -n 's/^fence=//p' token)
    until_true 5 is_free "$K"
    gives 79 reacquire -t 1m --token-file token "$K"
    gives 0 reacquire --recover -t 1m --token-file token "$K"
    held_by "$K" "$token"
    ttl_between "$K" 1000 60000
    gives 0 release --token-file token "$K"
    next=$(fence_of_new_lock "$K" | tail -n 1)
    ((next > fence))
}

@test "reacquire --recover refuses when the lock was held by another since" {
    gives 0 acquire -t 1ms --token-file token "$K"
    until_true 5 is_free "$K"
    take -t 60s "$K"
    gives 79 reacquire --recover -t 1m --token-file token "$K"
    held_by "$K" "$TOKEN"
    gives 0 release --token "$TOKEN" "$K"
    gives 79 reacquire --recover -t 1m --token-file token "$K"
    is_free "$K"
}

@test "reacquire --recover of a lock that is still held is a reacquire" {
    gives 0 acquire -t 90s --token-file token "$K"
    gives 0 reacquire --recover -t 1h --token-file token "$K"
    ttl_between "$K" 3500000 3600000
}

# --- owned, locked ---------------------------------------------------------------------------

@test "owned says whether it is held with our token" {
    gives 1 owned --token T "$K"
    take -t 60s "$K"
    gives 0 owned --token "$TOKEN" "$K"
    [ -z "$output" ]
    gives 1 owned --token stranger "$K"
    gives 1 owned "$K"
    VLOCK_TOKEN=$TOKEN gives 0 owned "$K"
    gives 0 release --token "$TOKEN" "$K"
    gives 1 owned --token "$TOKEN" "$K"
}

@test "locked says whether it is held by anybody" {
    gives 1 locked "$K"
    take -t 60s "$K"
    gives 0 locked "$K"
    VLOCK_TOKEN=stranger gives 0 locked "$K"
    gives 0 release --token "$TOKEN" "$K"
    gives 1 locked "$K"
    take -t 1ms "$K"
    until_true 5 is_free "$K"
    gives 1 locked "$K"
}

# --- where the token comes from --------------------------------------------------------------

@test "the token comes from --token, --token-file, VLOCK_TOKEN_FILE, VLOCK_TOKEN, in this order" {
    for i in 1 2 3 4; do gives 0 acquire --token "T$i" -t 60s "$K-$i"; done
    echo T2 >file2
    echo T3 >file3
    export VLOCK_TOKEN=T4
    gives 0 owned "$K-4"
    export VLOCK_TOKEN_FILE=file3
    gives 0 owned "$K-3"
    gives 1 owned "$K-4"
    gives 0 owned --token-file file2 "$K-2"
    gives 1 owned --token-file file2 "$K-3"
    gives 0 owned --token-file file2 --token T1 "$K-1"
    gives 1 owned --token-file file2 --token T1 "$K-2"
}

@test "a named token file that is missing is 66, never a reason to try the next source" {
    gives 0 acquire --token T -t 60s "$K"
    VLOCK_TOKEN=T gives 66 release --token-file none "$K"
    says none
    VLOCK_TOKEN=T VLOCK_TOKEN_FILE=none gives 66 extend "$K" 1h
    VLOCK_TOKEN=T VLOCK_TOKEN_FILE=none gives 66 reacquire -t 1h "$K"
    VLOCK_TOKEN=T VLOCK_TOKEN_FILE=none gives 66 owned "$K"
    held_by "$K" T
}

@test "acquire never takes a token from the environment" {
    VLOCK_TOKEN=T gives 0 acquire -t 60s "$K"
    [ "$output" != T ]
    held_by "$K" "$output"
    VLOCK_TOKEN=T VLOCK_TOKEN_FILE=f gives 0 run -t 60s "$K-2" sh -c 'test "$VLOCK_TOKEN" != T'
    [ ! -e f ]
}

@test "VLOCK_TOKEN beside a VLOCK_NAME is for that lock only" {
    gives 0 acquire --token T -t 60s "$K"
    gives 0 acquire --token T -t 60s "$K-other"
    export VLOCK_NAME=$K VLOCK_TOKEN=T
    gives 0 owned "$K"
    gives 1 owned "$K-other"
    gives 66 release "$K-other"
    gives 66 extend "$K-other" 1h
    gives 66 reacquire -t 1h "$K-other"
    gives 0 release --if-held "$K-other"
    held_by "$K-other" T
    gives 0 release --token T "$K-other"
    gives 0 release "$K"
}

@test "VLOCK_TTL beside the token of another lock is no default" {
    export VLOCK_NAME=$K VLOCK_TOKEN=T VLOCK_TTL=2h VLOCK_FENCE=7
    gives 0 acquire "$K-other"
    ttl_between "$K-other" 1000 60000
}

# --- run -------------------------------------------------------------------------------------

@test "run holds the lock while CMD runs, releases it, and returns CMD's status" {
    gives 7 run -t 60s "$K" -- sh -c '
        "$VLOCK_BIN" locked "$VLOCK_NAME" && "$VLOCK_BIN" owned "$VLOCK_NAME" && exit 7'
    is_free "$K"
    gives 0 run "$K" true
    gives 0 run "$K" -- true
    gives 1 run "$K" false
}

@test "run of a held lock is 75 and does not start CMD" {
    take -t 60s "$K"
    gives 75 run -n "$K" -- touch ran
    in_vain run -w 1500ms "$K" -- touch ran
    [ ! -e ran ]
    held_by "$K" "$TOKEN"
}

@test "run waits for the lock" {
    gives 0 acquire -t 300ms "$K"
    gives 3 run -t 60s "$K" -- sh -c 'exit 3'
}

@test "run keeps a short lease alive" {
    gives 0 run -t 9s "$K" -- sh -c '
        for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1
            "$VLOCK_BIN" -q owned "$VLOCK_NAME" || exit 9
        done'
}

@test "run --ttl none works and needs no renewal" {
    gives 0 run --ttl none "$K" -- sh -c '"$VLOCK_BIN" owned "$VLOCK_NAME"'
    is_free "$K"
}

@test "run of a CMD that cannot be started gives the lock back" {
    gives 127 run "$K" -- ./nowhere
    is_free "$K"
    : >file
    gives 126 run "$K" -- ./file
    is_free "$K"
}

# --- fences ----------------------------------------------------------------------------------

@test "fences grow with every acquisition" {
    last=0
    for i in 1 2 3 4 5; do
        gives 0 acquire -t 60s --format json "$K"
        fence=$(json fence)
        ((fence > last))
        last=$fence
        gives 0 release --token "$(json token)" "$K"
    done
    gives 0 run "$K" sh -c 'echo $VLOCK_FENCE'
    ((output > last))
}

@test "fences grow across expiry" {
    gives 0 acquire -t 1ms --format json "$K"
    first=$(json fence)
    until_true 5 is_free "$K"
    gives 0 acquire -t 1ms --format json "$K"
    (($(json fence) > first))
}

@test "fences grow when the store has forgotten everything" {
    on_server || skip 'the local store forgets nothing'
    gives 0 acquire -t 60s --format json "$K"
    first=$(json fence)
    cli eval "for _, k in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', k) end" 0 \
        "*$K*" >/dev/null
    gives 0 acquire -t 60s --format json "$K"
    (($(json fence) > first))
}

@test "a busy acquire gives out no fence" {
    gives 0 acquire -t 60s --format json "$K"
    first=$(json fence) token=$(json token)
    gives 75 acquire -n "$K"
    gives 0 release --token "$token" "$K"
    gives 0 acquire -t 60s --format json "$K"
    (($(json fence) > first))
}

# --- waiting for oneself ---------------------------------------------------------------------

@test "waiting for oneself ends with 75 at once, and -E does not apply to it" {
    gives 75 run "$K" -- "$VLOCK_BIN" acquire "$K"
    says "$K"
    gives 75 run "$K" -- "$VLOCK_BIN" run -E 0 "$K" -- touch ran
    gives 75 run "$K" -- "$VLOCK_BIN" acquire -w 20s -E 3 "$K"
    gives 75 run "$K" -- "$VLOCK_BIN" run "$K-in" -- "$VLOCK_BIN" acquire "$K"
    [ ! -e ran ]
    is_free "$K"
    is_free "$K-in"
}

@test "a lock inside another lock works" {
    gives 0 run "$K" -- "$VLOCK_BIN" run "$K-in" -- sh -c 'echo "$VLOCK_NAME"'
    prints "$K-in"
    is_free "$K"
}

@test "the same NAME under another prefix is no waiting for oneself" {
    gives 0 run "$K" -- "$VLOCK_BIN" --prefix p: run -n "$K" -- true
}

@test "the same NAME on another store is no waiting for oneself" {
    mkdir -m 700 elsewhere
    gives 0 run "$K" -- "$VLOCK_BIN" -u "local:$PWD/elsewhere" run -n "$K" -- true
    is_free "$K"
}

# --- what is left behind ---------------------------------------------------------------------

@test "an idle lock leaves nothing but its fence on a server" {
    on_server || skip 'there are no keys on the local store'
    gives 0 run "$K" -- true
    cli keys "*$K*" >keys
    [ "$(cat keys)" = "{$K}:vlock:fence" ]
    ttl=$(pttl_of "{$K}:vlock:fence")
    ((ttl > 20 * 86400000 && ttl < 62 * 86400000))
}

@test "the key of a held lock is the token and nothing else" {
    on_server || skip 'there are no keys on the local store'
    take -t 60s "$K"
    [ "$(cli type "$K")" = string ]
    [ "$(value_of "$K")" = "$TOKEN" ]
}

@test "a holder that is no vlock is busy, and its lock is not touched" {
    set_key "$K" "8c5f7bd8b3a411ee9c3c0242ac120002" 60000
    gives 75 acquire -n "$K"
    says 8c5f
    hides 8c5f7bd8b3a411ee9c3c0242ac120002
    gives 0 locked "$K"
    gives 79 release --token x "$K"
    gives 0 release --token 8c5f7bd8b3a411ee9c3c0242ac120002 "$K"
    is_free "$K"
}
