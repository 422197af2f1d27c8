#!/usr/bin/env bats
# What people type: names, durations, URLs, options, variables, and the hints for slips.

load helpers

setup_file() { start_store local; }

# --- names -----------------------------------------------------------------------------------

@test "a NAME that is empty, too long or has control characters is 64" {
    for name in '' $'a\nb' $'a\tb' $'\e[31m' $'\x7f' $'a\r' $'\x01' "$(printf 'n%.0s' {1..513})"; do
        for command in acquire release owned locked reacquire; do
            gives 64 $command -- "$name"
            [ -n "$stderr" ]
        done
        gives 64 extend -- "$name" 1s
        gives 64 run -- "$name" true
    done
}

@test "control characters never reach the terminal" {
    gives 64 acquire $'a\e[31mb\x07'
    hides $'\e' $'\x07'
    gives 64 acquire $'--no-\e[31m' x
    hides $'\e'
    gives 78 -u $'redis://h\e[31m' acquire x
    hides $'\e'
}

@test "a prefix with control characters is refused, an overlong one too" {
    for prefix in $'a\nb' "$(printf 'p%.0s' {1..1025})"; do
        vlock --prefix "$prefix" locked "$K"
        [ "$status" -eq 64 ] || [ "$status" -eq 78 ]
    done
}

@test "a missing NAME, DUR or command is 64 and says what is missing" {
    gives 64
    for command in acquire release extend reacquire owned locked run; do
        gives 64 $command
        says NAME
    done
    gives 64 extend "$K"
    says DUR
    gives 64 run "$K"
    gives 64 run "$K" --
}

@test "too many operands are 64" {
    for command in acquire release reacquire owned locked; do
        gives 64 $command "$K" more
        says usage
    done
    gives 64 extend "$K" 1s more
}

@test "an unknown command is 64 and named" {
    gives 64 aquire "$K"
    says aquire
    gives 64 '' "$K"
}

# --- durations -------------------------------------------------------------------------------

@test "every form of a duration is understood" {
    for duration in 90 90s 1.5s 1m30s 500ms 0.001 1ms 1h30m 2d 1d2h3m4s5ms 0.5h 1.5m 001; do
        gives 0 acquire -n -t "$duration" "$K-$duration"
    done
}

@test "a duration that is none is 64, wherever it stands" {
    for bad in '' ' ' 0 0s 0.0 00 -1 -1s +1 1e3 nan inf 1x 1ss 1s1 's' ms . 1. '1 s' ' 1' '1 ' 0x10 \
        1.2.3 1,5 1m1m 1s1m 0.0001 0.5ms 99999999999999999999 9007199254740993ms 106751991168d \
        1h-1s 5S 5M 1_000 '١'; do
        gives 64 acquire -t "$bad" "$K"
        gives 64 extend --token t "$K" "$bad"
        gives 64 reacquire --token t -t "$bad" "$K"
    done
    gives 1 locked "$K"
    for bad in '' -1 nan 1x 99999999999999999999; do
        gives 64 acquire -w "$bad" "$K"
        gives 64 acquire --connect-timeout "$bad" "$K"
        gives 64 acquire --reply-timeout "$bad" "$K"
    done
    gives 1 locked "$K"
}

@test "--ttl none is only for locks, not for waits or extensions" {
    gives 64 acquire -w none "$K"
    gives 64 extend --token t "$K" none
    gives 64 acquire -t None "$K"
}

@test "a malformed duration names itself and the option" {
    gives 64 acquire -t 5parsecs "$K"
    says 5parsecs TTL
    VLOCK_TTL=5parsecs gives 78 acquire "$K"
    says VLOCK_TTL 5parsecs
    VLOCK_WAIT=5parsecs gives 78 acquire "$K"
    says VLOCK_WAIT 5parsecs
}

# --- URLs ------------------------------------------------------------------------------------

@test "a URL that is none is 78 and does not show its password" {
    for url in nonsense nonsense: http://h https://h 'redis:' 'redis:/' 'redis://' 'valkey:h' \
        redis://h:0 redis://h:65536 redis://h:x redis://h:-1 redis://h: redis://h:1:2 \
        redis://h/x redis://h/-1 redis://h/0/1 redis://h/99999999999 'redis://h?x=1' 'redis://h#f' \
        'redis://[::1' 'redis://::1' 'redis://[zz]' 'redis://[::1]x' 'redis://a b' \
        unix: unix:// unix://relative unix:relative 'unix:///s?x=1' 'unix:///s?db=x' \
        local:relative local:./x localhost 'redis://%zz' 'redis://u:%@h' 'redis://h/%00' \
        'redis://:sesame@' 'redis://u:sesame@h:x' 'redis://u:sesame@h/x' 'htp://u:sesame@h' \
        "redis://$(printf 'h%.0s' {1..300})" "unix:///$(printf 's%.0s' {1..5000})" \
        'redis://u:sesame@h:6379:6380' 'redis//u:sesame@h'; do
        gives 78 -u "$url" acquire -n "$K"
        hides sesame
        VLOCK_URL=$url gives 78 locked "$K"
        hides sesame
    done
}

@test "the kinds of URL that are not built yet say so" {
    for url in valkey+sentinel://h/s redis+cluster://h 'redis://a redis://b redis://c'; do
        gives 78 -u "$url" acquire -n "$K"
        says 'not'
    done
}

@test "white space around a URL is trimmed" {
    gives 1 -u "  $STORE_URL "$'\n' locked "$K"
    VLOCK_URL=$'\t'"$STORE_URL"$'\r\n' gives 1 locked "$K"
}

@test "-u wins over VLOCK_URL" {
    VLOCK_URL=redis://127.0.0.1:1 gives 1 -u "$STORE_URL" locked "$K"
}

@test "no URL at all is the local store and says so once" {
    unset VLOCK_URL
    name=vlock-test-$$-$RANDOM
    gives 0 run "$name" -- true
    [ "$(grep -c 'no server is set' <<<"$stderr")" -eq 1 ]
    says VLOCK_URL local:
    gives 1 -q locked "$name"
    says 'no server is set'
    gives 1 -u local: locked "$name"
    [ -z "$stderr" ]
    VLOCK_URL=local: gives 1 locked "$name"
    [ -z "$stderr" ]
}

@test "the local store is the same whatever the environment" {
    unset VLOCK_URL
    name=vlock-test-$$-$RANDOM
    gives 0 -u local: acquire --token T -t 60s "$name"
    TMPDIR=/var/tmp HOME=/ XDG_RUNTIME_DIR=/tmp gives 0 -u local: locked "$name"
    observe env -i "$VLOCK_BIN" -u local: locked "$name"
    [ "$status" -eq 0 ]
    cd /
    gives 0 -u local: release --token T "$name"
}

# --- options ---------------------------------------------------------------------------------

@test "an unknown, repeated in error or abbreviated option is 64" {
    gives 64 acquire --no-such "$K"
    says --no-such
    gives 64 acquire -Z "$K"
    says -Z
    gives 64 acquire --nonbloc "$K"
    gives 64 acquire --tt 5s "$K"
    gives 64 -u local: -u local: locked "$K"
    gives 1 locked "$K"
}

@test "an option without its value, or with one that it does not take, is 64" {
    gives 64 acquire "$K" -t
    gives 64 acquire "$K" --ttl
    gives 64 acquire --nonblock=yes "$K"
    gives 64 release --if-held=1 "$K"
}

@test "an option of another command is 64" {
    gives 64 release -t 5s "$K"
    gives 64 locked --if-held "$K"
    gives 64 acquire --replace "$K"
    gives 64 owned -w 5s "$K"
    gives 64 extend --recover "$K" 5s
    gives 64 run --token-file f "$K" true
    gives 64 run --format json "$K" true
}

@test "-n together with -w is 64, or the two agree" {
    vlock acquire -n -w 5s "$K"
    [ "$status" -eq 64 ]
    gives 1 locked "$K"
}

@test "-E takes 0 to 255" {
    for bad in -1 256 x '' 1.5 0x10 ' 1' 999999999999; do gives 64 acquire -E "$bad" "$K"; done
    gives 0 run -E 255 "$K" true
}

@test "options that other tools spell differently get a hint" {
    gives 64 acquire --timeout 5 "$K"
    says -w
    gives 64 run -c 'true' "$K"
    says 'sh -c'
    gives 64 run -x "$K" true
    says exclusive
    gives 64 run "$K" -c true
    says 'before NAME'
    gives 64 run "$K" -n true
    says 'before NAME'
    gives 64 run "$K" --timeout 5 true
}

@test "what follows NAME of run is never taken for an option of vlock" {
    gives 0 run "$K" echo -n --help
    prints '--help'
    gives 0 run "$K" -- printf %s -q
    prints '-q'
    gives 64 run "$K" -q true
    gives 0 run -- "$K" echo x || [ "$status" -eq 64 ]
}

@test "run -- CMD takes NAME from VLOCK_NAME, else it is 64" {
    gives 64 run -- true
    says NAME
    VLOCK_NAME=$K gives 0 run -- sh -c 'echo "$VLOCK_NAME"'
    prints "$K"
    VLOCK_NAME=$K gives 0 run -t 5s -- echo "$K-other"
    prints "$K-other"
}

@test "-- ends the options of every command" {
    gives 0 run -u local:"$PWD/l" -- true || [ "$status" -eq 64 ]
    gives 0 acquire -t 60s --token T -- -n
    gives 0 locked -- -n
    gives 0 release --token T -- -n
}

# --- help and version ------------------------------------------------------------------------

@test "help and the version go to stdout and are status 0" {
    for words in help --help -h 'help acquire' 'acquire --help' 'run --help' 'help run' \
        'extend --help' --version -V; do
        # shellcheck disable=SC2086 # words
        gives 0 $words
        [ -n "$output" ]
        [ -z "$stderr" ]
    done
    gives 64 help no-such-command
    [[ $("$VLOCK_BIN" --version) =~ ^vlock\ [0-9]+\. ]]
}

@test "help on a full device is 73, not success" {
    observe bash -c '"$VLOCK_BIN" help >/dev/full'
    [ "$status" -eq 73 ]
    observe bash -c '"$VLOCK_BIN" --version >/dev/full'
    [ "$status" -eq 73 ]
}

@test "help names every command, and each command's help every option of its usage" {
    gives 0 help
    for command in acquire release extend reacquire owned locked run; do
        [[ $output == *"$command"* ]]
    done
    gives 0 help run
    for option in --nonblock --wait --ttl --note --conflict-exit-code --url; do
        [[ $output == *"$option"* ]]
    done
}

# --- the environment -------------------------------------------------------------------------

@test "a VLOCK_ variable that is set but empty is 78 and named, VLOCK_PREFIX aside" {
    for name in URL NAME TOKEN TOKEN_FILE FENCE TTL WAIT HELD USER PASSWORD PASSWORD_FILE CACERT \
        CERT KEY SNI; do
        observe env "VLOCK_$name=" "$VLOCK_BIN" acquire -n "$K"
        [ "$status" -eq 78 ]
        says "VLOCK_$name"
        observe env "VLOCK_$name=" "$VLOCK_BIN" run -n "$K" -- touch ran
        [ "$status" -eq 78 ]
        [ ! -e ran ]
    done
    VLOCK_PREFIX='' gives 1 locked "$K"
}

@test "an empty variable is 78 also when an option would win over it" {
    VLOCK_URL='' gives 78 -u "$STORE_URL" locked "$K"
    VLOCK_TTL='' gives 78 acquire -t 5s "$K"
}

@test "VLOCK_TTL=none and VLOCK_WAIT work as the options do" {
    VLOCK_TTL=none gives 0 acquire --token T "$K"
    ttl_between "$K" -1 -1
    VLOCK_WAIT=500ms gives 75 acquire "$K"
    VLOCK_WAIT=1h gives 75 acquire -n "$K"
}

@test "a malformed VLOCK_HELD is 78" {
    VLOCK_HELD='a=b,c' gives 78 acquire -n "$K"
    VLOCK_HELD='%zz=%zz' gives 78 acquire -n "$K"
}

# --- the local directory ---------------------------------------------------------------------

@test "a directory of the local store that cannot be made is 73" {
    gives 73 -u local:/proc/vlock acquire -n "$K"
    gives 73 -u "local:$PWD/no/such" acquire -n "$K"
    : >file
    vlock -u "local:$PWD/file" acquire -n "$K"
    [ "$status" -eq 73 ] || [ "$status" -eq 77 ]
    [ ! -s file ]
}

@test "a shared directory that is not sticky, and what is no local file system, is refused" {
    mkdir -m 777 open
    gives 77 -u "local:$PWD/open" acquire -n "$K"
    says sticky
    chmod 1777 open
    gives 0 -u "local:$PWD/open" acquire -n "$K"
}

@test "a lock file that is damaged, a symbolic link or a directory is an error that names it" {
    mkdir -m 700 d
    gives 0 -u "local:$PWD/d" acquire -n -t 60s --token T "$K"
    file=$(find d -type f | head -n 1)
    head -c 4096 /dev/urandom >"$file"
    vlock -u "local:$PWD/d" acquire -n "$K"
    [ "$status" -ne 0 ]
    [ "$status" -ne 75 ]
    says "$file"
    rm "$file"
    : >target
    ln -s "$PWD/target" "$file"
    vlock -u "local:$PWD/d" acquire -n "$K"
    [ "$status" -ne 0 ]
    [ ! -s target ]
    rm "$file"
    mkdir "$file"
    vlock -u "local:$PWD/d" acquire -n "$K"
    [ "$status" -ne 0 ]
}
