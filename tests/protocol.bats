#!/usr/bin/env bats
# vlock-protocol(7) says what the scripts and the source do; a client written from the page alone
# waits in one queue with vlock; the rule for a user that the page prints is enough, and not too
# much.

load helpers
load queues

setup_file() {
    local store
    store=$(store_of_this_file)
    [ "$store" != local ] || store=valkey
    start_store "$store"
}

root() { cd "$BATS_TEST_DIRNAME/.." && pwd; }
page() { cat "$(root)/man/vlock-protocol.7"; }

# part FROM TO: the lines of the page from one heading to the next of these.
part() { page | sed -n "/^\.S[hs] $1\$/,/^\.S[hs] $2\$/p"; }

# code SCRIPT: without its comments.
code() { sed 's/--.*//' "$(root)/src/scripts/$1.lua"; }

scripts() {
    (cd "$(root)/src/scripts" && ls -- *.lua) | sed 's/\.lua//' | grep -vx 'head\|note\|swift\|queue'
}

# --- the page and the source -----------------------------------------------------------------

@test "the page has no fault, and vlock(1) names it" {
    run mandoc -T lint -W warning "$(root)/man/vlock-protocol.7"
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    grep -q '^\.Xr vlock-protocol 7' "$(root)/man/vlock.1"
}

# numbers FILE...: 'NAME VALUE' for each constant, of Lua's `local A, B = 1, 2` and of C's enums.
numbers() {
    python - "$@" <<'PY'
import re, sys
for name in sys.argv[1:]:
    text = re.sub(r"--.*|/\*.*?\*/", "", open(name).read(), flags=re.S if name[-1] != "a" else 0)
    pairs = re.findall(r"\b([A-Z][A-Z_]+) = (\d+)\b", text) if name[-1] != "a" else []
    for names, values in re.findall(r"local ([A-Z_, ]+) = ([\d, ]+)", text):
        pairs += zip(names.split(", "), values.strip().split(", "))
    for pair in pairs:
        print(*pair)
PY
}

@test "every time and every verdict of scripts and source stands in the page, with its value" {
    cd "$(root)/src"
    {
        numbers scripts/*.lua
        numbers store_valkey*.[ch] lease.c | grep -v '^[A-Z_]*_BYTES '
        numbers store.h | grep '^\(KEY_MAX\|TOKEN_MAX\|REQUEST_ID\)_BYTES '
    } | grep -v '^\(MOST_ARGS\|MUTE_TRIES\|SLOTS\|MOST_SLOT_TAG\) ' | sort -u >"$BATS_TEST_TMPDIR/source"
    page | sed -n 's/^\.It Dv \([A-Z_]*\) No = \([0-9]*\)$/\1 \2/p' | sort >"$BATS_TEST_TMPDIR/page"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/page")" -ge 30 ]
    diff "$BATS_TEST_TMPDIR/source" "$BATS_TEST_TMPDIR/page"
    # Those that the page speaks of are among them.
    page | grep -o '^\.Dv [A-Z_]*' | sed 's/.* //' | sort -u |
        comm -23 - <(sed 's/ .*//' "$BATS_TEST_TMPDIR/page" | sort -u) | not grep .
}

@test "the verdicts of the scripts are those of the source, in its order" {
    cd "$(root)/src"
    names=$(sed -n 's/^enum verdict { \(.*\), VERDICTS };/\1/p' store_valkey_part.h)
    grep -q "^local $names = 0, 1, 2, 3, 4$" scripts/head.lua
}

@test "the fields of the fence hash are those of the page" {
    part 'The fence hash' Tickets | sed -n 's/^\.It Li //p' | sort >"$BATS_TEST_TMPDIR/page"
    for script in $(scripts) note swift queue; do code "$script"; done >"$BATS_TEST_TMPDIR/code"
    tr -d '\n' <"$BATS_TEST_TMPDIR/code" | grep -o "'HMGET', fences[^)]*" | grep -o "'[a-z]*'" |
        tr -d "'" | sort -u >"$BATS_TEST_TMPDIR/read"
    grep -o "'H\(SET\|DEL\)', fences.*\|keep('.*\|note_grant(it.*\|rest([^)]*)" "$BATS_TEST_TMPDIR/code" |
        grep -o "'[a-z]\+'" | tr -d "'" | sort -u >"$BATS_TEST_TMPDIR/written"
    [ -s "$BATS_TEST_TMPDIR/written" ]
    diff "$BATS_TEST_TMPDIR/page" "$BATS_TEST_TMPDIR/read"
    diff "$BATS_TEST_TMPDIR/page" "$BATS_TEST_TMPDIR/written"
}

@test "the messages are those of the page" {
    part Messages REQUESTS | sed -n 's/^\.It Li //p' | sort >"$BATS_TEST_TMPDIR/page"
    {
        for script in $(scripts) queue; do code "$script"; done | tr -d '\n' |
            grep -o "ring(it, '[a-z]*', \(string.format(\)\?'[^']*'" |
            sed "s/ring(it, '\([a-z]*\)', [^']*'\(.*\)'/\1 ID\2/; s/%d/PLACE/; s/%.0f/MS/"
        code queue | grep -o "'come ' .. lock" | sed "s/'come ' .. lock/come NAME/"
    } | sort -u >"$BATS_TEST_TMPDIR/sent"
    diff "$BATS_TEST_TMPDIR/page" "$BATS_TEST_TMPDIR/sent"
    code swift | grep -o "'\(first\|granted\) '" | tr -d "' " | sort -u |
        diff - <(printf 'first\ngranted\n')
    cd "$(root)/src"
    sed -n '/^static void hear_message/,/^}/p' store_valkey_wait.c |
        grep -o 'behind(text, "[^"]*"' | sed 's/.*"\(.*\)"/\1/' | sort -u |
        diff <(sed 's/ .*//' "$BATS_TEST_TMPDIR/page") -
}

@test "each script has its section, with its own arguments, words and verdicts" {
    part REQUESTS 'WHAT A CLIENT DOES' | sed -n 's/^\.Ss //p' | sort >"$BATS_TEST_TMPDIR/page"
    scripts | sort | diff - "$BATS_TEST_TMPDIR/page"
    for script in $(scripts); do
        echo "# $script"
        part "$script" '.*' | tail -n +2 >"$BATS_TEST_TMPDIR/section"
        diff <(code "$script" | grep -o 'ARGV\[\([4-9]\|1[0-9]\)\]' | tr -dc '0-9\n' | sort -u) \
            <(sed -n 's/^\.It ARGV \([4-9]\|1[0-9]\)$/\1/p' "$BATS_TEST_TMPDIR/section" | sort -u)
        diff <(code "$script" | grep -ow 'NO\|YES\|ENDLESS\|TOO_LONG\|WITHDRAWN' | sort -u) \
            <(grep -v '^\.' "$BATS_TEST_TMPDIR/section" |
                grep -ow 'NO\|YES\|ENDLESS\|TOO_LONG\|WITHDRAWN' | sort -u)
        for word in $(code "$script" | grep -o "has('[a-z]*')\|ARGV\[4\]\( ==\|,\) '[a-z]\+'" |
            grep -o "'[a-z]*'" | tr -d "'"); do
            grep -q "^\.Li $word\b" "$BATS_TEST_TMPDIR/section"
        done
    done
}

@test "the keys and arguments that all scripts take are those of the page" {
    code head | grep -qF 'local lock, fences, mark, queue, waiters = '"$(echo KEYS[{1..5}] |
        sed 's/ /, /g')"
    code head | grep -qF 'local token, id, ms = ARGV[1], ARGV[2], tonumber(ARGV[3])'
    code head | grep -qF "if ARGV[5] ~= '' then call('SELECT', ARGV[5]) end"
    page | tr '\n' ' ' |
        grep -qF 'KEYS, for all: NAME, fence, mark .Pq Ql gone:ID , queue, waiters.'
    page | grep -q '^ARGV, for all: 1 token, 2 id, 3 milliseconds, 4 words, 5 the database'
}

# both FILE TEXT OURS: the file of src has TEXT, and the page has OURS.
both() {
    grep -qF -e "$2" "$(root)/src/$1" || { echo "$1 lacks: $2"; return 1; }
    page | grep -qF -e "$3" || { echo "the page lacks: $3"; return 1; }
}

@test "numbers and names that the page has in its text are those of the source" {
    both scripts/release.lua "(freed or ''), 1, 1024)" 'most 1024 bytes'
    both scripts/note.lua 'string.sub(now, 1, 512)' 'its first 512 bytes'
    both scripts/withdraw.lua "mark, '9007199254740991'" 'becomes 9007199254740991 for'
    both scripts/extend.lua '> 9007199254740992 ' 'More than 2^53 ms'
    both lease.c 'left_ms / 100 - DRIFT_MS' 'less 1 %'
    both lease.c 'ttl_ms / 3)' 'after a third of the TTL'
    both lease.c 'within(lease->ttl_ms / 20, LEAST_RETRY_MS' 'tries again after a twentieth'
    both lease.c 'within(lease->ttl_ms / 20, LEAST_SLACK_MS' 'kills its command a twentieth'
    both lease.c 'within(lease->ttl_ms / 6, 0, MOST_KILL' 'a sixth of the TTL'
    both greeting.c '"SUBSCRIBE", "vlock:guard"' 'SUBSCRIBE vlock:guard'
    both greeting.c '"HELLO", "3", "SETNAME", "vlock"' 'HELLO 3 SETNAME vlock'
    both store_valkey_wait.c '"CLIENT", "TRACKING", "ON", "OPTIN", "NOLOOP"' \
        'CLIENT TRACKING ON OPTIN NOLOOP'
    both clock.c 'pause_ms / 2 + pause_ms * byte / 512' 'between half of the value and the value'
}

# --- what is on the server -------------------------------------------------------------------

# answers FILE: how many answers to its questions this `vlock -v` has seen.
answers() { grep -c '< acquire: verdict' "$1" || true; }
has_answers() { (($(answers "$1") >= $2)); }

# waiter TAG N ARG...: `vlock -v acquire ARG` in the background; goes on when it has had N answers
# or has ended. Its pid is in PID_TAG, its output in TAG.out and TAG.err.
waiter() {
    local tag=$1 count=$2
    shift 2
    : >"$tag.err"
    setpriv --pdeathsig KILL env --default-signal "$VLOCK_BIN" -v acquire -w 10m "$@" \
        >"$tag.out" 2>"$tag.err" 3>&- &
    printf -v "PID_$tag" %s $!
    until_true 30 answered_or_over "$tag.err" "$count" $!
}
answered_or_over() { has_answers "$1" "$2" || is_over "$3"; }

@test "keys and channels on the server are those of the page, whatever the name and the database" {
    for name in "$K" "{$K}" "a{$K}b" "{}$K" "{$K" "$K}"; do
        for db in 0 3; do
            echo "# $name in $db"
            cli flushall >/dev/null
            export VLOCK_URL="unix://$SOCK?db=$db"
            gives 0 acquire -t 60s --token T "$name"
            waiter one 3 "$name"
            waiter two 2 "$name"
            kill -TERM "$PID_two"
            wait "$PID_two" || true
            { cli -n "$db" --raw keys '*' && cli pubsub shardchannels; } | sort >seen
            kill -TERM "$PID_one"
            wait "$PID_one" || true
            form=
            case $name in
            "{$K}" | "a{$K}b") form='s/^{NAME}:vlock:/NAME:vlock2:/' ;;
            *}*) form="s/^{NAME}:vlock:/{$(tag_of "$name")}:vlock3:NAME:/" ;;
            esac
            part 'KEYS AND CHANNELS' 'The fence hash' | sed -n 's/^\.It Li //p' | sed "$form" |
                sed "s/NAME/$name/; s/:DB$/:$db/" | sort >rows
            # Every row is one of these, and every one of these is in a row.
            sed 's/[0-9a-f]\{32\}/ID/; s/:[0-9a-f]\{16\}$/:BELL/' seen | sort -u | diff rows -
        done
    done
}

@test "a waiter's line and an answer look as the page says" {
    export VLOCK_URL=unix://$SOCK
    gives 0 acquire -t 60s --token T "$K"
    waiter one 3 -t 45s --token 'a b c' "$K"
    id=$(cli zrange "{$K}:vlock:queue" 0 -1)
    [[ $id =~ ^[0-9a-f]{32}$ ]]
    [[ $(cli hget "{$K}:vlock:waiters" "$id") =~ ^b\ [0-9]{13}\ 45000\ [0-9a-f]{16}\ 1\ a\ b\ c$ ]]
    ticket=$(cli zscore "{$K}:vlock:queue" "$id")
    [[ $ticket =~ ^[0-9]{16}$ ]]
    [ "$(cli hget "{$K}:vlock:fence" holder)" = "$(printf T | sha1sum | cut -d' ' -f1)" ]
    for row in 'acquire 8' 'confirm 5' 'peek 7' 'renew 5' 'release 5' 'extend 5' 'break 5'; do
        cli eval "return #(function() $(joined "${row% *}" | grep -v '^#!lua')
            end)()" 5 "$K" "{$K}:vlock:fence" "{$K}:vlock:gone:x" "{$K}:vlock:queue" \
            "{$K}:vlock:waiters" X x 1000 '' '' 9 '' 0 '?' 0 - >count
        [ "$(cat count)" = "${row#* }" ]
    done
    kill -TERM "$PID_one"
    wait "$PID_one" || true
}

# --- another client --------------------------------------------------------------------------

# client TAG OPTION...: tests/tools/compatible.py on $K, which gives the lock back when `go TAG` is
# called. Its pid is in PID_TAG, its output in TAG.out.
client() {
    local tag=$1
    shift
    mkfifo "$tag.in"
    find_python
    setpriv --pdeathsig KILL "$PYTHON" "$TESTS/tools/compatible.py" "$@" "$SOCK" 0 "$K" \
        "token-$tag" 60000 <>"$tag.in" >"$tag.out" 2>"$tag.err" 3>&- &
    printf -v "PID_$tag" %s $!
}
go() { echo >"$1.in"; }
shown() { tail -n +1 -- *.out *.err; }

# handed_on_anew: a lock that is handed on for a second without being free rests after that, and
# here that second may pass between two lines.
handed_on_anew() { [ "$(cli hdel "{$K}:vlock:fence" handing)" = 1 ]; }

# passes_on OPTION...: vlock holds, then the client, then vlock, then the client: each waits in the
# queue behind the one before, and is handed the lock by it. Ends early, and sets $dropped, if the
# lock goes past the first client.
passes_on() {
    dropped=
    export VLOCK_URL=unix://$SOCK
    gives 0 acquire -t 60s --token T "$K"
    client one "$@"
    until_true 10 has one.out 'place 0'
    waiter two 2 -t 60s --token W "$K"
    client three "$@"
    until_true 10 has three.out 'place 2'
    gives 0 release --token T "$K"
    if held_by "$K" W; then
        dropped=yes
        return
    fi
    until_true 10 has one.out held
    held_by "$K" token-one
    handed_on_anew
    go one
    ends 0 "$PID_two"
    until_true 10 has one.out released
    has two.err 'the bell: granted'
    held_by "$K" W
    not has three.out held
    handed_on_anew
    gives 0 release --token W "$K"
    until_true 10 has three.out held
    grep -h '^held' one.out three.out
    (($(sed -n 's/^held //p' one.out) < $(sed -n 's/^held //p' three.out)))
    gives 75 acquire -n "$K"
    go three
    ends 0 "$PID_three"
    is_free "$K"
    not grep -h refused one.out three.out
    [ "$(cli --raw keys "*$K*" | grep -v ':gone:')" = "{$K}:vlock:fence" ]
}

@test "a client with scripts of its own waits behind vlock, and vlock behind it" {
    passes_on
    [ -z "$dropped" ]
    has one.out 'bell granted'
    has three.out 'bell granted'
}

@test "a client that sends vlock's scripts waits behind vlock, and vlock behind it" {
    passes_on --scripts "$(root)/src/scripts"
    [ -z "$dropped" ]
    has one.out 'bell granted'
    # They are byte for byte what vlock sends: its server knows them already.
    cli script flush >/dev/null
    gives 0 run "$K" -- true
    [ "$(cli script exists "$(joined acquire | sha1sum | cut -d' ' -f1)")" = 1 ]
    [ "$(cli script exists "$(joined release | sha1sum | cut -d' ' -f1)")" = 1 ]
}

@test "a client that only polls has its place in the queue" {
    for n in 1 2 3; do # who asks too late is taken for dead
        K=test.$BATS_TEST_NUMBER.$n
        rm -f ./*.in
        passes_on --poll
        [ -n "$dropped" ] || break
        kill -KILL "$PID_one" "$PID_three"
    done
    [ -z "$dropped" ]
    not has one.out bell
}

@test "a lock that a client took is waited for, and one that is withdrawn is passed over" {
    export VLOCK_URL=unix://$SOCK
    client one
    until_true 10 has one.out held
    client two
    until_true 10 has two.out 'place 0'
    waiter three 2 -t 60s --token W "$K"
    kill -TERM "$PID_two"
    ends 0 "$PID_two"
    has two.out withdrawn
    has three.err 'the bell: first' || until_true 10 has three.err 'the bell: first'
    go one
    ends 0 "$PID_three"
    held_by "$K" W
}

@test "a client that is killed while it waits delays nobody" {
    export VLOCK_URL=unix://$SOCK
    gives 0 acquire -t 60s --token T "$K"
    client one
    until_true 10 has one.out 'place 0'
    waiter two 2 -t 60s --token W "$K"
    kill -KILL "$PID_one"
    until_true 10 all_listen "$K" 1 # of the two
    gives 0 release --token T "$K"
    held_by "$K" W
    ends 0 "$PID_two"
}

@test "a client that waits takes a lock that a foreign client deletes" {
    cli set "$K" foreign px 60000 >/dev/null
    client one
    until_true 10 has one.out 'place 0'
    until_true 10 eval '[ "$(grep -c place one.out)" = 2 ]'
    cli del "$K" >/dev/null
    until_true 10 has one.out held
    has one.out changed
    go one
    ends 0 "$PID_one"
    is_free "$K"
}

# --- foreign clients, resources ----------------------------------------------------------------

@test "in a pause the lock is free to a foreign client, and held for vlock" {
    export VLOCK_URL=unix://$SOCK
    cli hset "{$K}:vlock:fence" pause "$(($(date +%s) + 600))000" >/dev/null
    gives 75 acquire -n "$K"
    gives_in_time 75 acquire -w 1s "$K"
    [ "$(cli set "$K" foreign nx px 60000)" = OK ]
    gives 75 acquire -n "$K"
    cli del "$K" >/dev/null
    cli hset "{$K}:vlock:fence" pause "$(($(date +%s) - 1))000" >/dev/null
    gives 0 acquire -n "$K"
}

@test "a foreign lock has no fence: bit 2 tells" {
    bits() {
        cli eval "return (function() $(joined peek)
            end)()[5]" 5 "$K" "{$K}:vlock:fence" "{$K}:vlock:gone:" "{$K}:vlock:queue" \
            "{$K}:vlock:waiters" '' '' '' '' ''
    }
    export VLOCK_URL=unix://$SOCK
    gives 0 acquire --token T "$K"
    [ "$(bits)" = 2 ]
    cli set "$K" foreign >/dev/null
    [ "$(bits)" = 0 ]
}

@test "the page's UPDATE refuses a fence that is older than the last one" {
    python - "$(part FENCES PERMISSIONS | sed -n '/^UPDATE/,/^\.Ed/p' | grep -v '^\.Ed')" <<'PY'
import sqlite3, sys
db = sqlite3.connect(":memory:")
db.execute("CREATE TABLE report (id, body, fence)")
db.execute("INSERT INTO report VALUES (1, '', 0)")
for body, fence, rows in [("a", 5, 1), ("b", 5, 1), ("late", 4, 0), ("c", 6, 1), ("late", 5, 0)]:
    found = db.execute(sys.argv[1], {"id": 1, "body": body, "fence": fence}).rowcount
    assert found == rows, (body, fence, found)
assert db.execute("SELECT body, fence FROM report").fetchall() == [("c", 6)]
PY
}

# --- permissions -----------------------------------------------------------------------------

# rule: what the page prints, one permission a word.
rule() {
    part PERMISSIONS 'GUARANTEES AND LIMITS' | sed -n '/^ACL SETUSER vlock/,/^\.Ed/p' |
        grep -v '^\.Ed' | tr '\n' ' ' |
        sed 's/^ACL SETUSER vlock on >PASSWORD resetkeys resetchannels -@all //'
}

# user WORD...: there is a user u with these permissions, and vlock is to log in as u.
user() {
    cli acl deluser u >/dev/null
    cli acl setuser u on '>pw' resetkeys resetchannels -@all "$@"
    cli script flush >/dev/null
    export VLOCK_URL=redis://u:pw@127.0.0.1:$PORT
}

try() { echo "$*: $("$VLOCK_BIN" -q "$@" >>try.out 2>>try.err && echo 0 || echo $?)"; }

# try_in_time ARG...: the same with a short -w, again where that was too short for any answer (69).
try_in_time() {
    local said
    for _ in 1 2 3 4 5; do
        said=$(try "$@")
        [[ $said == *": 69" ]] || break
    done
    echo "$said"
}

# everything NAME: what a user sees of a lock, in words that are the same each time: the status of
# each command, how a waiter is told, who comes next when another waiter was killed, what is left.
everything() {
    local name=$1 key=${VLOCK_PREFIX-}$1 one two
    cli flushdb >/dev/null
    rm -f ./*.err ./*.out
    one=$(try acquire -n -t 60s --token H "$name")
    echo "$one"
    case $one in *": 0") ;; *) return 0 ;; esac
    try owned --token H "$name"
    try locked "$name"
    try extend --token H "$name" 10s
    try extend --replace --token H "$name" 60s
    try reacquire -t 60s --token H "$name"
    waiter one 3 -t 60s --token A "$name"
    waiter two 2 -t 60s --token B "$name"
    waiter three 2 -t 60s --token C "$name"
    try_in_time acquire -w 500ms --token D "$name"
    disown "$PID_two" # the shell has nothing to say about its end
    kill -KILL "$PID_two"
    two=$(sed -n 's/.*SSUBSCRIBE \(.*:[0-9a-f]\{16\}\)$/\1/p' two.err)
    [ -z "$two" ] || until_true 10 is_silent "$two"
    echo "in the queue: $(cli zcard "$2queue") $(cli hlen "$2waiters")"
    try release --token H "$name"
    until_true 30 any_over "$PID_one" "$PID_three"
    over one
    cli hdel "$2fence" handing >/dev/null # as handed_on_anew
    try release --token A "$name"
    echo "next: $(cli get "$key")"
    [ "$(cli get "$key")" != C ] || until_true 30 is_over "$PID_three"
    over three
    try release --token C "$name"
    grep -o 'no channel\|nothing is tracked\|the bell: granted\|> CLIENT CACHING' one.err |
        sort | uniq -c
    VLOCK_NAME=$name VLOCK_TOKEN=C VLOCK_FENCE=$(cli hget "$2fence" fence) \
        try reacquire --recover "$name"
    try run -n -t 60s "$name" -- true
    try acquire -n --ttl none --token E "$name"
    try release --token E "$name"
    echo "left: $(cli --raw keys '*' | grep -v ':gone:' | tr '\n' ' ')"
    cli del "$key" >/dev/null
    echo "run: $(as_u eval "$(joined acquire)" 5 \
        "$key" "$2fence" "$2gone:x" "$2queue" "$2waiters" X x 1000 '' '' 0 '' 0 '?' 0 - |
        tail -n 1 | wc -c)"
}
as_u() { cli --user u --pass pw --no-auth-warning "$@" 2>&1; }
is_silent() { [ "$(cli pubsub shardnumsub "$1" | tail -n 1)" = 0 ]; }
any_over() { is_over "$1" || is_over "$2"; }

# over TAG: how this waiter has ended; if it still waits it is told to.
over() {
    local pid=PID_$1 status=0
    kill -TERM "${!pid}" 2>/dev/null || true
    wait "${!pid}" || status=$?
    echo "$1: $status"
}

# all_of_it NAME...: everything about these locks, whose keys begin as the page says.
all_of_it() {
    local name
    for name; do
        echo "# $name"
        everything "$name" "$(beside "${VLOCK_PREFIX-}$name" '')"
    done
}

# whole NAME...: what all_of_it says of somebody who may do all that vlock does.
whole() {
    user '~*' '&*' +@all
    all_of_it "$@" >"$BATS_TEST_TMPDIR/whole"
    cat "$BATS_TEST_TMPDIR/whole"
    [ "$(grep -c '> CLIENT CACHING' "$BATS_TEST_TMPDIR/whole")" = $# ]
    [ "$(grep -c 'the bell: granted' "$BATS_TEST_TMPDIR/whole")" = $# ]
    [ "$(grep -c '^next: C' "$BATS_TEST_TMPDIR/whole")" = $# ]
    [ "$(grep -c '^left: [^ ]*fence $' "$BATS_TEST_TMPDIR/whole")" = $# ]
    not grep 'no channel\|nothing is' "$BATS_TEST_TMPDIR/whole"
}

@test "the rule of the page is enough: nothing falls back, nothing is left" {
    whole "$K" "{$K}"
    set -f
    user $(rule)
    set +f
    all_of_it "$K" "{$K}" | diff "$BATS_TEST_TMPDIR/whole" -
    export VLOCK_URL=redis://u:pw@127.0.0.1:$PORT
    gives 0 acquire -t 60s --token T "$K"
    gives 0 status "$K"
    gives 0 break --yes "$K"
    gives 0 wait -w 100s "$K"
    VLOCK_URL=$VLOCK_URL/3 gives 77 acquire -n "$K"
    cli acl setuser u +select
    VLOCK_URL=$VLOCK_URL/3 gives 0 acquire -n "$K"
}

# costs: what the page says that one does without: the permissions of its list.
costs() {
    part PERMISSIONS 'GUARANTEES AND LIMITS' |
        sed -n '/^With less:/,$ {/^\.It no other/q; s/^\.It no //p}' |
        tr ' ,' '\n\n' | grep '^[a-z]' | grep -vx 'or\|no\|channels'
}

@test "every permission of the rule is needed, or missed as the page says" {
    whole "$K" "{$K}"
    set -f
    words=$(rule)
    spare=$(costs)
    for without in $words; do
        echo "# without $without"
        user $(for word in $words; do [ "$word" = "$without" ] || echo "$word"; done)
        set +f
        all_of_it "$K" "{$K}" >seen
        # Something is not as with all of them.
        not diff "$BATS_TEST_TMPDIR/whole" seen
        status=$(sed -n "s/^acquire -n -t 60s --token H $K: //p" seen)
        case $without in
        \&* | +ssubscribe) says_of 'no channel' ;;
        +client*) says_of 'nothing is tracked' ;;
        esac
        # The lock itself can be had without those of the list, and without no other.
        if [[ $without == \&* ]] || grep -Fqx -- "${without#+}" <<<"$spare"; then
            [ "$status" = 0 ]
            spare=$(grep -Fvx -- "${without#+}" <<<"$spare" || true)
        else
            [ "$status" = 77 ]
        fi
        set -f
    done
    [ -z "$spare" ] || { echo "the page's list has more: $spare"; return 1; }
}
says_of() { grep -q "$1" seen; }

@test "a rule with a prefix is enough, and confines to it" {
    whole "$K" "{$K}"
    prefixed=$(part PERMISSIONS 'GUARANTEES AND LIMITS' | grep '^ ~ci:')
    set -f
    user $(rule | sed 's/~[^+]*//') $prefixed
    set +f
    export VLOCK_PREFIX=ci:
    all_of_it "$K" "{$K}" | sed 's/ci://' | diff "$BATS_TEST_TMPDIR/whole" -
    unset VLOCK_PREFIX
    for name in "$K" "{$K}" "web:$K" "{ci:$K}" "{ci}:$K"; do
        gives 77 acquire -n "$name"
        gives 77 --prefix web: acquire -n "$name"
        gives 77 locked "$name"
    done
    # Not the keys of others, nor what is said by others than vlock.
    for name in "$K" "web:$K"; do
        as_u get "$name" | grep NOPERM
        as_u hget "{$name}:vlock:fence" fence | grep NOPERM
        as_u hget "{$name}:vlock:waiters" fence | grep NOPERM
    done
    as_u ssubscribe others | grep NOPERM
    [ "$(as_u spublish vlock:come:0 come)" = 0 ]
}
