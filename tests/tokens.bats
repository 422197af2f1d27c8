#!/usr/bin/env bats
# The token's way from acquire to release: the file, the formats, and what cannot be handed over.

load helpers

setup_file() { start_store valkey; }

field() { sed -n "s/^$1=//p" "$2"; }

# --- the file --------------------------------------------------------------------------------
# bats file_tags=asan

@test "--token-file writes version, name, token, ttl, store and fence, and nothing on stdout" {
    gives 0 acquire -t 60s --token-file f "$K"
    [ -z "$output" ]
    [ "$(head -n 1 f)" = version=1 ]
    [ "$(field name f)" = "$K" ]
    [ "$(field ttl f)" = 60s ] || [ "$(field ttl f)" = 1m ]
    [ "$(field store f)" = "$STORE_URL" ]
    [[ $(field fence f) =~ ^[0-9]{10,}$ ]]
    held_by "$K" "$(field token f)"
    [ "$(find . -maxdepth 1 -name '.f*' -o -maxdepth 1 -name 'f?*')" = '' ]
}

@test "the file is mode 0600 whatever the umask" {
    for mask in 0 077 0277; do
        umask "$mask"
        gives 0 acquire -t 60s --token-file "f$mask" "$K-$mask"
        [ "$(stat -c %a "f$mask")" = 600 ]
    done
}

@test "the file of --ttl none and of a prefix serves its release" {
    gives 0 acquire --prefix p: --ttl none --token-file f "$K"
    [ "$(field ttl f)" = none ]
    [ "$(field prefix f)" = p: ]
    gives 65 release --prefix q: --token-file f "$K"
    held_by "p:$K" "$(field token f)"
    gives 0 release --token-file f "$K"
    is_free "p:$K"
}

@test "the password is not in the file" {
    start_server valkey --requirepass sesame
    export SERVER_PASSWORD=sesame
    gives 0 -u "redis://:sesame@127.0.0.1:$PORT" acquire -t 60s --token-file f "$K"
    not grep -q sesame f
    unset VLOCK_URL
    VLOCK_PASSWORD=sesame gives 0 release --token-file f "$K"
    is_free "$K"
}

@test "with no URL given the file's store is used" {
    gives 0 acquire -t 60s --token-file f "$K"
    unset VLOCK_URL
    gives 0 owned --token-file f "$K"
    [ -z "$stderr" ]
    gives 0 extend --token-file f "$K" 1h
    gives 0 release --token-file f "$K"
    is_free "$K"
}

@test "a file made for another store is 65 and stays" {
    gives 0 acquire -t 60s --token-file f "$K"
    mkdir -m 700 locks
    for url in "unix://$SOCK" "redis://127.0.0.1:$PORT/3" "local:$PWD/locks" redis://127.0.0.1:1; do
        VLOCK_URL=$url gives 65 release --token-file f "$K"
        VLOCK_URL=$url gives 65 release --if-held --token-file f "$K"
        [ -s f ]
    done
    held_by "$K" "$(field token f)"
}

@test "two spellings of one store are the same store" {
    gives 0 acquire -t 60s --token-file f "$K"
    VLOCK_URL=" redis://127.0.0.1:$PORT/0 " gives 0 owned --token-file f "$K"
    VLOCK_URL="valkey://user:pass@127.0.0.1:$PORT" gives 77 owned --token-file f "$K"
}

# start_listener: a server that answers no one; what it hears is in $SCRIPTED/requests.
start_listener() { start_scripted 'ON * -ERR none of your business\r\n' SERVE; }

# planted FILE: a token file for $K whose store is that server.
planted() {
    printf 'version=1\nname=%s\ntoken=x\nttl=1m\nstore=valkey://127.0.0.1:%s\n' "$K" \
        "$SCRIPTED_PORT" >"$1"
}

# is_not_asked FILE WHY: no command that reads FILE asks the store that it names.
is_not_asked() {
    local file=$1 why=$2 command
    export VLOCK_PASSWORD=s3cretPW
    for command in release 'release --if-held' reacquire 'reacquire --recover' owned; do
        # shellcheck disable=SC2086
        gives 77 $command --token-file "$file" "$K" && says "$file" "$why" 'name the store' &&
            VLOCK_TOKEN_FILE=$file gives 77 $command "$K" && says 'name the store' || return 1
    done
    gives 77 extend --token-file "$file" "$K" 1m
    VLOCK_TOKEN_FILE=$file gives 77 extend "$K" 1m
    [ -e "$file" ]
    [ ! -e "$SCRIPTED/log" ]
}

@test "another user's token file does not say where the password goes" {
    [ "$(id -u)" = 0 ] || skip 'needs root'
    start_listener
    unset VLOCK_URL
    planted f
    chown 54321 f
    is_not_asked f 'another user'
    chown 0 f
    gives 76 owned --token-file f "$K" # what the listener is there for
    has "$SCRIPTED/requests" s3cretPW
}

@test "a user's vlock takes the store from root's token file, not from a third user's" {
    [ "$(id -u)" = 0 ] || skip 'needs root'
    setpriv --reuid 54321 --clear-groups "$VLOCK_BIN" --version || skip 'vlock is not open to all'
    start_listener
    unset VLOCK_URL
    chmod 711 "$BATS_TEST_TMPDIR"
    planted f
    as_user() { observe setpriv --reuid 54321 --clear-groups "$VLOCK_BIN" owned --token-file f "$K"; }
    for owner in 0 54321; do
        chown $owner f
        as_user
        [ "$status" -eq 76 ]
    done
    chown 54322 f
    as_user
    [ "$status" -eq 77 ]
    says 'another user'
}

@test "a token file that others can write does not say where the password goes" {
    start_listener
    unset VLOCK_URL
    planted f
    for mode in 666 620 602 662; do
        chmod $mode f
        is_not_asked f 'other users'
    done
    for mode in 644 600 640 400; do
        chmod $mode f
        gives 76 owned --token-file f "$K"
    done
    has "$SCRIPTED/requests" s3cretPW
}

@test "where the store is named, another user's token file gives its token, whatever its store" {
    gives 0 acquire -t 60s --token-file f "$K"
    sed -i 's|^store=.*|store=valkey://127.0.0.1:1|' f
    gives 65 owned --token-file f "$K"
    chmod 666 f
    gives 0 owned --token-file f "$K"
    unset VLOCK_URL
    gives 0 -u "$STORE_URL" owned --token-file f "$K"
    [ "$(id -u)" != 0 ] || chown 54321 f
    gives 0 -u "$STORE_URL" extend --token-file f "$K" 1m
    VLOCK_TOKEN_FILE=f gives 0 -u "$STORE_URL" reacquire "$K"
    gives 65 -u "$STORE_URL" owned --token-file f "$K-other"
    gives 0 -u "$STORE_URL" release --token-file f "$K"
    is_free "$K"
}

@test "another user's bare token, and one without a store, need no store to be named elsewhere" {
    unset VLOCK_URL
    "$VLOCK_BIN" -q -u "local:$BATS_FILE_TMPDIR" acquire -t 60s "$K" >f
    chmod 666 f
    gives 0 -u "local:$BATS_FILE_TMPDIR" owned --token-file f "$K"
    printf 'version=1\nname=%s\ntoken=x\nttl=1m\n' "$K-$RANDOM" >f
    gives 1 owned --token-file f "$(field name f)"
    says 'no server is set'
}

@test "the file is replaced, not written into" {
    gives 0 acquire -t 60s --token-file f "$K"
    ln f old
    cp f copy
    gives 0 release --token "$(field token f)" "$K"
    gives 0 acquire -t 60s --token-file f "$K"
    cmp old copy
    not cmp -s f copy
}

@test "release removes the file" {
    gives 0 acquire -t 60s --token-file f "$K"
    gives 0 release --token-file f "$K"
    [ ! -e f ]
    is_free "$K"
}

@test "release removes the file also when the lock is lost" {
    gives 0 acquire -t 60s --token-file f "$K"
    cli del "$K"
    gives 79 release --token-file f "$K"
    [ ! -e f ]
    gives 0 acquire -t 60s --token-file f "$K"
    cli set "$K" stranger
    gives 0 release --if-held --token-file f "$K"
    [ ! -e f ]
    held_by "$K" stranger
}

@test "VLOCK_TOKEN_FILE is removed by release as --token-file is" {
    gives 0 acquire -t 60s --token-file f "$K"
    VLOCK_TOKEN_FILE=f gives 0 release "$K"
    [ ! -e f ]
}

@test "the file stays when the server could not be asked" {
    start_server valkey
    gives 0 -u "redis://127.0.0.1:$PORT" acquire -t 60s --token-file f "$K"
    stop_server
    unset VLOCK_URL
    gives 69 release --token-file f "$K"
    gives 69 release --if-held --token-file f "$K"
    [ "$(field name f)" = "$K" ]
}

@test "a file made for another NAME is 65, also when acquire would overwrite it" {
    gives 0 acquire -t 60s --token-file f "$K-other"
    cp f copy
    gives 65 release --token-file f "$K"
    says "$K-other"
    gives 65 release --if-held --token-file f "$K"
    gives 65 extend --token-file f "$K" 1h
    gives 65 reacquire --token-file f "$K"
    gives 65 owned --token-file f "$K"
    gives 65 acquire -t 60s --token-file f "$K"
    cmp f copy
    is_free "$K"
}

@test "acquire does not overwrite a file that is no token file" {
    printf 'two\nlines\n' >f
    gives 65 acquire -t 60s --token-file f "$K"
    [ "$(<f)" = $'two\nlines' ]
    is_free "$K"
}

@test "acquire writes over an empty file and over a bare token" {
    : >f
    gives 0 acquire -t 60s --token-file f "$K"
    [ "$(field name f)" = "$K" ]
    echo bare >g
    gives 0 acquire -t 60s --token-file g "$K-2"
    [ "$(field name g)" = "$K-2" ]
}

@test "a busy acquire leaves the holder's file alone" {
    gives 0 acquire -t 60s --token-file f "$K"
    cp f copy
    gives 75 acquire -n -t 60s --token-file f "$K"
    cmp f copy
    for _ in 1 2 3 4 5; do
        vlock acquire -w 1s -t 60s --token-file g "$K"
        [ "$status" -eq 69 ] || break # no answer in all that time
    done
    [ "$status" -eq 75 ]
    [ ! -e g ]
    [ "$(find . -maxdepth 1 -name '.*' -type f | wc -l)" = 0 ]
    gives 0 release --token-file f "$K"
}

has_draft() { [ -n "$(find . -name '.f*')" ]; }

@test "a waiter does not overwrite the holder's file before it has the lock" {
    gives 0 acquire -t 60s --token-file f "$K"
    token=$(field token f)
    background "$VLOCK_BIN" acquire -t 60s --token-file f "$K"
    waiter=$!
    until_true 10 has_draft
    [ "$(field token f)" = "$token" ]
    gives 0 release --token-file f "$K"
    ends 0 "$waiter"
    held_by "$K" "$(field token f)"
    [ "$(field token f)" != "$token" ]
}

@test "acquire killed while it waits leaves the holder's file and no lock" {
    gives 0 acquire -t 60s --token-file f "$K"
    cp f copy
    background "$VLOCK_BIN" acquire -t 60s --token-file f "$K"
    waiter=$!
    gives 75 acquire -n "$K"
    kill -TERM "$waiter"
    ends 143 "$waiter"
    cmp f copy
    [ -z "$(find . -name '.f*')" ]
}

@test "a missing token file is 66, a directory, FIFO or symbolic link 65" {
    gives 66 release --token-file none "$K"
    gives 66 release --token-file none/none "$K"
    mkdir dir
    gives 65 release --token-file dir "$K"
    mkfifo fifo
    gives 65 release --token-file fifo "$K"
    gives 0 acquire -t 60s --token-file f "$K"
    ln -s f link
    gives 65 release --token-file link "$K"
    gives 65 owned --token-file link "$K"
    held_by "$K" "$(field token f)"
}

@test "malformed token files are 65 and change nothing" {
    gives 0 acquire -t 60s --token-file f "$K"
    good=$(<f)
    token=$(field token f)
    while IFS= read -r bad; do
        printf '%b' "$bad" >g
        gives 65 release --token-file g "$K"
        says g
        hides "$token"
        [ -e g ]
    done <<EOF

version=2\nname=$K\ntoken=$token\nttl=60s\n
version=1\nname=$K\nttl=60s\n
version=1\ntoken=$token\nttl=60s\n
version=1\nname=$K\nname=$K\ntoken=$token\nttl=60s\n
version=1\nname=$K\ntoken=$token\nttl=60x\n
version=1\nname=$K\ntoken=$token\nttl=60s\ncolour=red\n
version=1\nname=$K\ntoken=$token\nttl=60s\nfence=x\n
version=1\nname=$K\ntoken=\nttl=60s\n
version=1\nname=\ntoken=$token\nttl=60s\n
$token\nmore\n
$token\\0$token
\n
EOF
    head -c 20000 /dev/zero | tr '\0' t >g
    gives 65 release --token-file g "$K"
    head -n -2 f >g
    held_by "$K" "$token"
    [ "$good" = "$(<f)" ]
}

@test "a bare token on a single line is a token file" {
    "$VLOCK_BIN" -q acquire -t 60s "$K" >f
    gives 0 owned --token-file f "$K"
    gives 0 extend --token-file f "$K" 1h
    gives 0 release --token-file f "$K"
    is_free "$K"
    gives 0 acquire --token plain -t 60s "$K"
    printf plain >g
    gives 0 release --token-file g "$K"
    gives 0 acquire --token 'with blanks=and such' -t 60s "$K"
    echo 'with blanks=and such' >g
    gives 0 release --token-file g "$K"
}

@test "names and tokens that look like the file's own syntax survive the file" {
    for name in 'token=x' 'a=b c' "'" ' lead' 'trail ' '$(x)' '#' 'ä'; do
        gives 0 acquire -t 60s --token " version=1 $K " --token-file f "$K$name"
        gives 0 owned --token-file f "$K$name"
        gives 0 release --token-file f "$K$name"
        [ ! -e f ]
    done
}

@test "acquire --token T --token-file F keeps T in F" {
    gives 0 acquire -t 60s --token mine --token-file f "$K"
    [ "$(field token f)" = mine ]
    held_by "$K" mine
}

@test "acquire killed after the server gave the lock leaves the token on disk" {
    start_proxy
    gives 0 -q run "$K-warm" true # the scripts are cached
    rule delay 20000
    background "$VLOCK_BIN" -u "$PROXY_URL" --reply-timeout 60s acquire --ttl none --token-file f "$K"
    until_true 10 is_held "$K"
    kill -KILL $!
    wait $! || true
    [ ! -e f ]
    draft=$(find . -name '.f*')
    [ "$(stat -c %a "$draft")" = 600 ]
    gives 0 release --token "$(field token "$draft")" "$K"
    is_free "$K"
}

drafts() { find . -name '.f.vlock-*' | wc -l; }
has_drafts() { [ "$(drafts)" = "$1" ]; }

# killed_waiting N: N waiting acquires of f were killed, and have left their drafts.
killed_waiting() {
    local i waiter before
    before=$(drafts)
    for ((i = 1; i <= $1; i++)); do
        background "$VLOCK_BIN" acquire -t 60s --token-file f "$K"
        waiter=$!
        until_true 10 has_drafts $((before + i))
        kill -KILL "$waiter"
        wait "$waiter" || true
    done
}

@test "what killed acquires of a token file leave is cleared by the next acquire of that file" {
    gives 0 acquire -t 60s --token-file g "$K"
    killed_waiting 4
    gives 0 release --token-file g "$K"
    gives 0 acquire -w 20s -t 60s --token-file f "$K"
    has_drafts 0
    held_by "$K" "$(field token f)"
}

@test "it is cleared also when that acquire finds the lock held" {
    gives 0 acquire -t 60s --token-file g "$K"
    killed_waiting 2
    touch .g.vlock-abcdef
    gives 75 acquire -n -t 60s --token-file f "$K"
    has_drafts 0
    [ -e .g.vlock-abcdef ]
    gives 69 -u redis://127.0.0.1:1 acquire -n -t 60s --token-file f "$K"
}

@test "the draft of an acquire that waits is not cleared by another acquire of the file" {
    gives 0 acquire -t 60s --token-file g "$K"
    killed_waiting 1
    background "$VLOCK_BIN" acquire -t 60s --token-file f "$K"
    waiter=$!
    until_true 10 has_drafts 2
    gives 75 acquire -n -t 60s --token-file f "$K"
    has_drafts 1
    gives 0 release --token-file g "$K"
    ends 0 "$waiter"
    has_drafts 0
    gives 0 release --token-file f "$K"
    is_free "$K"
}

@test "a draft whose token holds the lock is cleared by nobody before the lock is free" {
    start_proxy
    gives 0 -q run "$K-warm" true # the scripts are cached
    export VLOCK_URL=$PROXY_URL
    rule delay 20000
    background "$VLOCK_BIN" --reply-timeout 60s acquire --ttl none --token-file f "$K"
    until_true 10 is_held "$K"
    kill -KILL $!
    wait $! || true
    rule delay 0
    draft=$(find . -name '.f.vlock-*')
    gives 75 acquire -n -t 60s --token-file f "$K"
    held_by "$K" "$(field token "$draft")"
    gives 0 release --token-file "$draft" "$K"
    is_free "$K"
    has_drafts 0
}

@test "a token file is not kept busy by what acquire --keep-alive leaves running" {
    gives 0 acquire --keep-alive=$$ -t 60s --token-file f "$K"
    gives 0 owned --token-file f "$K"
    flock -n f true
    has_drafts 0
    gives 0 release --token-file f "$K"
}

# --- what cannot be handed over --------------------------------------------------------------
# bats file_tags=

# is_refused_before_locking F: acquire --token-file F is 73 and has never asked for the lock.
is_refused_before_locking() {
    gives 73 acquire -t 60s --token-file "$1" "$K" && is_free "$K" &&
        [ "$(cli exists "{$K}:vlock:fence")" = 0 ]
}

@test "a place that cannot be written is 73 before anything is locked" {
    is_refused_before_locking no/such/place
    mkdir dir
    is_refused_before_locking dir
    : >file
    is_refused_before_locking file/below
    is_refused_before_locking /proc/version
    mkfifo fifo
    is_refused_before_locking fifo
    is_refused_before_locking /dev/null
    is_refused_before_locking "$(printf 'n%.0s' {1..300})"
    is_refused_before_locking dir/
}

@test "a symbolic link in the token file's place is 73 and not followed" {
    : >target
    ln -s target link
    is_refused_before_locking link
    [ ! -s target ]
    [ -L link ]
    ln -s nowhere dangling
    is_refused_before_locking dangling
    [ ! -e nowhere ]
}

@test "an unwritable directory is 73 before anything is locked" {
    [ "$(id -u)" = 0 ] || { mkdir -m 500 ro && is_refused_before_locking ro/f && return; }
    mkdir ro
    mount -t tmpfs -o ro tmpfs ro || skip 'cannot mount here'
    run is_refused_before_locking ro/f
    umount ro
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "a full disk is 73 before anything is locked, and leaves no file" {
    mkdir full
    mount -t tmpfs -o size=16k tmpfs full || skip 'cannot mount here'
    head -c 1M /dev/zero >full/filler 2>/dev/null || true
    run is_refused_before_locking full/f
    left=$(find full -type f ! -name filler)
    umount full
    echo "$output"
    [ "$status" -eq 0 ]
    [ -z "$left" ]
}

@test "a closed or full stdout is 73 and the lock is given back" {
    for where in '&-' /dev/full; do
        observe bash -c '"$VLOCK_BIN" acquire -t 60s "$K" >'"$where"
        [ "$status" -eq 73 ]
        is_free "$K"
        observe bash -c '"$VLOCK_BIN" acquire -t 60s --format json "$K" >'"$where"
        [ "$status" -eq 73 ]
        is_free "$K"
    done
    observe bash -c '"$VLOCK_BIN" acquire -t 60s --token-file f "$K" >&-'
    [ "$status" -eq 0 ]
}

@test "a closed stdin, stdout or stderr never becomes the server's connection or the token file" {
    observe bash -c '"$VLOCK_BIN" acquire -t 60s --token-file f "$K" <&- >&- 2>&-'
    [ "$status" -eq 0 ]
    held_by "$K" "$(field token f)"
    observe bash -c '"$VLOCK_BIN" acquire "$K" <&- >&- 2>&-'
    [ "$status" -ne 0 ]
    gives 0 release --token-file f "$K"
}

@test "stdout is a pipe without reader: the lock is given back and SIGPIPE kills nobody half-way" {
    mkfifo pipe
    exec 5<>pipe 6>pipe 5>&-
    status=0
    timeout 150 "$VLOCK_BIN" acquire -t 60s "$K" >&6 2>err || status=$?
    exec 6>&-
    [ "$status" -ne 0 ]
    is_free "$K"
}

# --- formats ---------------------------------------------------------------------------------

nasty="it's \"a\" \$(touch no) \`touch no\` \\ ; & | * ~ # !x {a,b} =ä"

@test "--format shell gives VLOCK_NAME, VLOCK_TOKEN, VLOCK_FENCE and VLOCK_TTL to eval" {
    for name in "$K" "$nasty" ' blanks ' '-x'; do
        for shell in sh bash zsh; do
            export N=$name
            observe "$shell" -c 'eval "$("$VLOCK_BIN" acquire -t 90s --format shell -- "$N")" &&
                unset -f test; test "$VLOCK_NAME" = "$N" || exit 40
                env | grep -q "^VLOCK_FENCE=[0-9][0-9]*$" || exit 41
                printf "%s\n" "$VLOCK_TTL" >ttl
                "$VLOCK_BIN" owned -- "$N" || exit 42
                "$VLOCK_BIN" extend -- "$N" 1h || exit 43
                "$VLOCK_BIN" release -- "$N"'
            [ "$status" -eq 0 ]
            is_free "$name"
            [[ $(<ttl) =~ ^(90s|1m30s)$ ]]
        done
    done
    [ ! -e no ]
}

@test "--format shell with a token that needs quoting" {
    export N=$K T=$nasty
    observe sh -c 'eval "$("$VLOCK_BIN" acquire -t 60s --token "$T" --format shell "$N")"
        test "$VLOCK_TOKEN" = "$T" && "$VLOCK_BIN" release "$N"'
    [ "$status" -eq 0 ]
    [ ! -e no ]
}

@test "set -e; eval \"\$(vlock acquire --format shell)\" stops on every failure" {
    take -t 60s "$K"
    export N=$K
    stops() { # STATUS ARGS...
        local wanted=$1
        shift
        for shell in sh bash; do
            observe "$shell" -c 'set -e; eval "$("$VLOCK_BIN" "$@")"; echo went on' "$shell" "$@"
            [ "$status" -eq "$wanted" ]
            [ "$output" = '' ]
        done
    }
    stops 75 acquire -n --format shell "$N"
    stops 33 acquire -n -E 33 --format shell "$N"
    stops 64 acquire -n --format shell
    stops 64 acquire -n --format shell --no-such-option "$N"
    stops 64 acquire --format shell -t nonsense "$N"
    stops 64 acquire --format=shell "$N" extra
    stops 78 acquire --format shell -u nonsense: "$N"
    stops 69 acquire --format shell -u redis://127.0.0.1:1 "$N"
    stops 64 acquire --no-such-option --format shell "$N"
    stops 64 --format shell acquire ''
}

@test "--format json is one object that jq reads" {
    for name in "$K" "$nasty" $'\xc3\xa4\xf0\x9f\x98\x80'; do
        gives 0 acquire -t 90s --format json -- "$name"
        jq -e --arg name "$name" '.name == $name and (.token | length > 30)' <<<"$output"
        [[ $(jq -r .fence <<<"$output") =~ ^[0-9]{10,}$ ]]
        held_by "$name" "$(jq -r .token <<<"$output")"
        [ "$(jq -s length <<<"$output")" = 1 ]
    done
}

@test "--format json of bytes that are not UTF-8 is still JSON" {
    gives 0 acquire -t 60s --format json $'bad\xff\xfe'
    jq -e . <<<"$output"
}

@test "--format github appends to GITHUB_ENV and masks the token" {
    export GITHUB_ENV=$PWD/github.env
    echo KEPT=1 >github.env
    gives 0 acquire -t 60s --format github "$K"
    grep -qx KEPT=1 github.env
    token=$(value_of "$K")
    [[ $output == *"::add-mask::$token"* ]]
    has github.env "$token"
    has github.env VLOCK_NAME
    has github.env VLOCK_FENCE
}

@test "--format github without GITHUB_ENV, or one that cannot be written, locks nothing" {
    vlock acquire -t 60s --format github "$K"
    [ "$status" -ne 0 ]
    is_free "$K"
    GITHUB_ENV=/no/such/env gives 73 acquire -t 60s --format github "$K"
    is_free "$K"
    GITHUB_ENV=/dev/full gives 73 acquire -t 60s --format github "$K"
    is_free "$K"
}

@test "--format dotenv writes KEY=value lines" {
    gives 0 acquire -t 60s --format dotenv "$K"
    printf '%s\n' "$output" >dot.env
    # shellcheck source=/dev/null
    (. ./dot.env && held_by "$K" "$VLOCK_TOKEN" && [ "$VLOCK_NAME" = "$K" ] && [ -n "$VLOCK_FENCE" ])
}

# reads_alike VARIABLE VALUE: everything here that reads ./dot.env finds VALUE.
reads_alike() {
    local reader got
    printf 'include dot.env\nexport %s\nall:\n\t@printenv %s\n' "$1" "$1" >dot.mk
    for reader in sh bash zsh make; do
        case $reader in
        make) got=$(make -s -f dot.mk) ;;
        *) got=$("$reader" -c '. ./dot.env; eval "printf %s \"\$$1\""' - "$1") ;;
        esac
        [ "$got" = "$2" ] || { echo "$reader: $1 is '$got', not '$2'"; return 1; }
    done
}

@test "--format dotenv writes what everybody reads alike" {
    for name in "$K" a/b.c_d-e 'A:B@C%D+E,F=G' ':' '%20' '@x' '-x' 'a=' 'x==y' ',' '+' ./.. 0; do
        gives 0 acquire -t 90s --note ' =~$(touch no)`touch no` ü' --format dotenv -- "$name"
        printf '%s\n' "$output" >dot.env
        reads_alike VLOCK_NAME "$name"
        reads_alike VLOCK_TOKEN "$(value_of "$name")"
        reads_alike VLOCK_TTL 90s
        grep -xE 'VLOCK_FENCE=[0-9]+' dot.env
        [ "$(wc -l <dot.env)" = 4 ]
    done
    for note in =ls '~' '=' 'a=b' ' '; do
        gives 0 acquire -t none --note "$note" --format dotenv "$K-note"
        printf '%s\n' "$output" >dot.env
        reads_alike VLOCK_TOKEN "$(value_of "$K-note")"
        reads_alike VLOCK_TTL none
        gives 0 release --token "$(value_of "$K-note")" "$K-note"
    done
    [ ! -e no ]
}

@test "--format dotenv refuses what not everybody reads alike, before anything is locked" {
    for c in ' ' '"' '#' '$' '&' "'" '(' ')' '*' ';' '<' '>' '?' '[' '\\' ']' '^' '`' '{' '|' '}' '~' \
        '!' ü $'\xc2\xa0' $'\xff' $'\xe2\x80\xa8'; do
        for name in "$c" "a${c}b"; do
            gives 64 acquire -n --format dotenv -- "$name"
            says 'NAME has' dotenv
            [ -z "$output" ]
        done
        gives 64 acquire -n --format dotenv --token "a$c" "$K"
        says 'token has'
        gives 64 --prefix "a$c" acquire -n --format dotenv "$K"
        VLOCK_PREFIX=a$c gives 64 acquire -n --format dotenv "$K"
        says 'prefix has'
    done
    for name in =a = 'a:=b'; do gives 64 acquire -n --format dotenv -- "$name"; done
    is_free "$K"
    is_free 'a b'
    gives 0 acquire -n --format json -- 'a$b'
}

@test "--format github takes every name as it is, if it is UTF-8" {
    export GITHUB_ENV=$PWD/github.env
    for name in 'a<<EOF' '<<EOF' 'a=b' '=' ' a ' '$(x)' "'\"" '#' ü '::set-env name=x::y'; do
        : >github.env
        gives 0 acquire -t 60s --format github -- "$name"
        # As the runner does: a line is split at its first '=', unless '<<' comes before that.
        [ "$(sed -n 1p github.env)" = "VLOCK_NAME=$name" ]
        [ "$(wc -l <github.env)" = 4 ]
    done
    : >github.env
    for name in $'a\xff' $'\xc3' $'\xed\xa0\x80'; do
        gives 64 acquire -t 60s --format github -- "$name"
        says UTF-8
        gives 64 acquire -t 60s --format github --token "$name" "$K"
    done
    [ ! -s github.env ]
    is_free "$K"
}

@test "--format github and dotenv need a named store" {
    unset VLOCK_URL
    export GITHUB_ENV=$PWD/github.env
    : >github.env
    for format in github dotenv; do
        vlock acquire -t 60s --format $format "vlock-test-$$"
        [ "$status" -eq 78 ] || [ "$status" -eq 64 ]
        says VLOCK_URL
        gives 0 -u local:"$BATS_TEST_TMPDIR/l" acquire -t 60s --format $format "$K-$format"
    done
}

@test "--format and --token-file together are a usage error" {
    gives 64 acquire -t 60s --format json --token-file f "$K"
    is_free "$K"
    gives 64 acquire -t 60s --format xml "$K"
    says json
}

# --- the token itself ------------------------------------------------------------------------

@test "a token is 1 to 512 bytes" {
    gives 64 acquire -t 60s --token '' "$K"
    gives 64 acquire -t 60s --token "$(printf 't%.0s' {1..513})" "$K"
    gives 64 release --token '' "$K"
    gives 64 release --token "$(printf 't%.0s' {1..513})" "$K"
    is_free "$K"
}

@test "a token with a line break cannot be printed as a line: refused or handed over whole" {
    vlock acquire -t 60s --token $'a\nb' "$K"
    if [ "$status" -eq 0 ]; then held_by "$K" $'a\nb'; else [ "$status" -eq 64 ] && is_free "$K"; fi
}

@test "a long host name and note still make a token of at most 512 bytes" {
    gives 0 acquire -t 60s --note "$(printf '"%.0s' {1..128})" "$K"
    [ "${#output}" -le 512 ]
    gives 75 acquire -n "$K"
    says "$(uname -n)"
}
