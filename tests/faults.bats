#!/usr/bin/env bats
# Lost replies and broken servers. A proxy cuts the connection at every request that a command
# sends, after the server has executed it: nobody may be able to tell afterwards.

load helpers

setup_file() {
    export BATS_NO_PARALLELIZE_WITHIN_FILE=1
    start_server valkey
    start_proxy
}

setup_proxied() { export VLOCK_URL=$PROXY_URL; }

# --- every reply of every command ------------------------------------------------------------

forget() {
    cli eval "for _, k in ipairs(redis.call('KEYS', '*' .. ARGV[1] .. '*')) do
        redis.call('DEL', k) end" 0 "$K" >/dev/null
    rm -f token
}

# What there is to see after the command: the answer (a token that is the key's value is called
# TOKEN, any fence FENCE), the keys, the value, the TTL up to 100 s, the token file.
scene() {
    local value='' ttl=-2 keys='' token=''
    # a re-send leaves a mark for two minutes, that refuses copies still on their way
    { read -r ttl && IFS= read -r value && keys=$(grep -v ':gone:' | sort); } < <(cli eval "
        local keys = redis.call('KEYS', '*' .. ARGV[1] .. '*')
        return {redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[1]) or '', unpack(keys)}" \
        1 "$K" "$K") || :
    [ ! -e token ] || token=$(<token)
    printf '%s\n' "status $status: $output" "value $value" "keys $keys" "token file $token" \
        "ttl $((ttl < 0 ? ttl : (ttl + 99999) / 100000)) hundreds of seconds" |
        sed -E "s/${value:-no value}/TOKEN/g; s/vl1:[^ \"]*/TOKEN/g; s/[0-9]{14,}/FENCE/g"
}

# A run that took so long that its guard began to watch the lock: with requests of its own.
watched() { grep -q ' CLIENT|' "$PROXY/log"; }

# survives PREPARE ARG...: `vlock ARG...`, after PREPARE (shell text), comes to the same with every
# request of it hit by every kind of cut, whether the server knows the scripts already or not.
survives() {
    local prepare=$1 scripts fault kind count n expected seen
    local faults=('cut N rst' 'cut N fin' 'all N rst' 'before N fin' 'middle N fin 2')
    shift
    setup_proxied
    for scripts in flushed cached; do
        # counted are the requests that each such command sends, however quick or slow it is
        for _ in {1..20}; do
            forget && eval "$prepare"
            [ $scripts = cached ] || cli script flush >/dev/null
            rule none
            vlock "$@"
            watched || break
        done
        expected=$(scene)
        count=$(grep -c '^[0-9]' "$PROXY/log")
        echo "--- scripts $scripts, $count requests:" && cat "$PROXY/log" && echo "$expected"
        ((count >= 1 && count <= 20))
        for ((n = 1; n <= count; n++)); do
            for ((kind = 0; kind < 5; kind++)); do
                is_tried $kind "$n" || continue
                fault=${faults[kind]/N/$n}
                forget && eval "$prepare"
                [ $scripts = cached ] || cli script flush >/dev/null
                rule "$fault"
                vlock "$@"
                grep -q fired "$PROXY/log" || { echo "$fault: never happened" && return 1; }
                seen=$(scene)
                [ "$seen" = "$expected" ] || {
                    echo "that was different with the fault '$fault', scripts $scripts:"
                    diff <(echo "$expected") <(echo "$seen")
                    cat "$PROXY/log"
                    return 1
                }
            done
        done
    done
}

# is_tried KIND N: by default the Nth request meets the first kind of fault, and one of the others.
is_tried() { (($1 == 0 || $1 == 1 + $2 % 4 || $(rounds 0 1))); }

held="cli set \$K T px 60000 >/dev/null"
held_for_ever="cli set \$K T >/dev/null"
by_another="cli set \$K another-holders-token px 60000 >/dev/null"

@test "lost replies: acquire" {
    survives : -q acquire -n -t 60s "$K"
    [ "$status" -eq 0 ]
}

@test "lost replies: acquire, fence and TTL in JSON" {
    survives : -q acquire -n -t 60s --format json "$K"
    [ "$status" -eq 0 ]
}

@test "lost replies: acquire of a lock that never expires" {
    survives : -q acquire -n --ttl none "$K"
    [ "$status" -eq 0 ]
    [ "$(pttl_of "$K")" = -1 ]
}

@test "lost replies: acquire into a token file" {
    survives : acquire -n -t 60s --token-file token "$K"
    [ "$status" -eq 0 ]
}

@test "lost replies: acquire with --token" {
    survives : acquire -n -t 60s --token mine "$K"
    [ "$status" -eq 0 ]
}

@test "lost replies: acquire that may wait" {
    survives : -q acquire -w 100s -t 60s "$K"
    [ "$status" -eq 0 ]
}

@test "lost replies: acquire of a busy lock" {
    survives "$by_another" -q acquire -n -t 60s "$K"
    [ "$status" -eq 75 ]
}

@test "lost replies: acquire of a busy lock with the holder's own --token" {
    survives "$held" -q acquire -n -t 60s --token T "$K"
    [ "$status" -eq 75 ]
}

@test "lost replies: acquire that waits for a busy lock" {
    survives_waiting() {
        forget
        cli set "$K" another px 150 >/dev/null
        rule "$1"
        gives 0 -q acquire -w 100s -t 60s "$K"
        held_by "$K" "$output"
        ttl_between "$K" 1 60000
    }
    setup_proxied
    for n in {1..11}; do
        survives_waiting "cut $n rst"
        ((n % 3)) || survives_waiting "all $n rst"
        ((n % 3 != 1)) || survives_waiting "before $n rst"
    done
}

nobody_waits() { [ "$(cli zcard "{$K}:vlock:queue")" = 0 ]; }

@test "lost replies: acquire that gives up waiting" {
    setup_proxied
    for n in {1..11}; do
        forget && eval "$by_another"
        for _ in 1 2 3 4 5; do
            rule "cut $n rst"
            vlock -q acquire -w 1500ms "$K"
            [ "$status" -eq 69 ] || break # no answer in all that time: a slow machine
        done
        [ "$status" -eq 75 ]
        [ "$(value_of "$K")" = another-holders-token ]
        until_true 10 nobody_waits # its withdrawal may come after its end
        cli del "$K" >/dev/null
        gives 0 -q acquire -n -t 60s "$K"
    done
}

@test "lost replies: release" {
    survives "$held" release --token T "$K"
    [ "$status" -eq 0 ]
}

@test "lost replies: release of a lock that vlock took" {
    survives '"$VLOCK_BIN" -q acquire --token T -t 60s "$K" >/dev/null' release --token T "$K"
    [ "$status" -eq 0 ]
}

@test "lost replies: release of what is not ours is 79, or 0 if it may have been, and changes nothing" {
    setup_proxied
    for prepare in : "$by_another"; do
        for n in 1 2 3; do
            for fault in "cut $n rst" "before $n fin"; do
                forget && eval "$prepare"
                cli script flush >/dev/null
                rule "$fault"
                vlock release --token T "$K"
                case $status in 0 | 79) ;; *) return 1 ;; esac
                [ "$prepare" = : ] || held_by "$K" another-holders-token
                [ "$prepare" != : ] || is_free "$K"
            done
        done
    done
}

@test "lost replies: release --if-held" {
    survives : release --if-held --token T "$K"
    [ "$status" -eq 0 ]
    survives "$by_another" release --if-held --token T "$K"
    [ "$status" -eq 0 ]
}

@test "lost replies: release never frees the next holder's lock" {
    setup_proxied
    gives 0 -q acquire -t 60s --token T "$K"
    rule "delay 1"
    gives 0 release --token T "$K"
    count=$(grep -c '^[0-9]' "$PROXY/log")
    for ((n = 1; n <= count; n++)); do
        cli set "$K" T px 60000 >/dev/null
        background "$VLOCK_BIN" acquire -w 100s -t 60s -u "unix://$SOCK" "$K"
        waiter=$!
        gives 75 -q acquire -n -u "unix://$SOCK" "$K"
        rule "cut $n rst"
        gives 0 release --token T "$K"
        ends 0 "$waiter"
        held_by "$K" "$(<out)"
        cli del "$K" >/dev/null
    done
}

@test "lost replies: extend adds once" {
    survives "$held" extend --token T "$K" 1h
    [ "$status" -eq 0 ]
    ttl_between "$K" 3600001 3660000
}

@test "lost replies: extend --replace" {
    survives "$held" extend --replace --token T "$K" 1h
    [ "$status" -eq 0 ]
    ttl_between "$K" 3500000 3600000
}

@test "lost replies: extend refused" {
    survives "$by_another" extend --token T "$K" 1h
    [ "$status" -eq 79 ]
    survives "$held_for_ever" extend --token T "$K" 1h
    [ "$status" -eq 65 ]
    survives : extend --token T "$K" 1h
    [ "$status" -eq 79 ]
}

@test "lost replies: reacquire" {
    survives "$held" reacquire -t 1h --token T "$K"
    [ "$status" -eq 0 ]
    survives "$by_another" reacquire -t 1h --token T "$K"
    [ "$status" -eq 79 ]
}

@test "lost replies: reacquire --recover of a lapsed lock" {
    survives '"$VLOCK_BIN" acquire -t 60s --token-file token "$K"; cli del "$K" >/dev/null' \
        reacquire --recover --token-file token "$K"
    [ "$status" -eq 0 ]
}

@test "lost replies: owned and locked" {
    survives "$held" owned --token T "$K"
    [ "$status" -eq 0 ]
    survives "$by_another" owned --token T "$K"
    [ "$status" -eq 1 ]
    survives "$held" locked "$K"
    [ "$status" -eq 0 ]
    survives : locked "$K"
    [ "$status" -eq 1 ]
}

@test "lost replies: run" {
    survives : run -t 60s "$K" -- sh -c 'echo ran; exit 7'
    [ "$status" -eq 7 ]
    prints ran
}

@test "lost replies: run of a busy lock does not run" {
    survives "$by_another" -q run -n "$K" -- echo ran
    [ "$status" -eq 75 ]
    prints ''
}

@test "lost replies: over a unix socket too" {
    start_proxy unix
    survives : -q acquire -n -t 60s "$K"
    [ "$status" -eq 0 ]
    survives "$held" release --token T "$K"
    [ "$status" -eq 0 ]
}

@test "lost replies: Redis 7.0 too" {
    start_server redis
    start_proxy
    survives : -q acquire -n --ttl none "$K"
    [ "$status" -eq 0 ]
    survives "$held" extend --token T "$K" 1h
    [ "$status" -eq 0 ]
    survives "$held" release --token T "$K"
    [ "$status" -eq 0 ]
    survives : run -t 60s "$K" -- sh -c 'exit 7'
    [ "$status" -eq 7 ]
}

@test "lost replies: with a password and a database of its own" {
    start_server valkey --requirepass sesame
    export SERVER_PASSWORD=sesame VLOCK_PASSWORD=sesame
    start_proxy
    PROXY_URL=$PROXY_URL/7
    cli() { cli_raw --no-auth-warning -a sesame -n 7 "$@"; }
    survives : -q acquire -n -t 60s "$K"
    [ "$status" -eq 0 ]
    survives "$held" extend --token T "$K" 1h
    [ "$status" -eq 0 ]
    survives "$held" release --token T "$K"
    [ "$status" -eq 0 ]
}

@test "a renewal whose reply is lost is not noticed" {
    setup_proxied
    for n in 1 2 3; do
        rm -f end
        rule none
        background "$VLOCK_BIN" run -t 9s "$K" -- \
            sh -c 'echo ready; until [ -e end ]; do sleep 0.1; done; exit 5'
        pid=$!
        until_true 10 has out ready
        until_true 10 has "$PROXY/log" HGET # it watches the lock: what comes next is a renewal
        rule "cut $n rst"
        until_true 20 has "$PROXY/log" fired
        grep '^[0-9]' "$PROXY/log" | head -n 1 | grep -q ' EVALSHA$'
        : >end
        ends 5 "$pid"
        is_free "$K"
    done
}

# --- requests that arrive late ---------------------------------------------------------------

@test "an acquire that the server executes after vlock has gone takes nothing" {
    setup_proxied
    gives 0 -q run "$K-warm" true # the scripts are cached
    rule none
    gives 0 -q acquire -n -t 60s --token T "$K-count"
    first=$(grep '^[0-9]' "$PROXY/log" | grep -n EVAL | head -n 1 | cut -d: -f1)
    for ttl in 60s none; do
        forget
        rm -f "$PROXY/go"
        rule "late $first"
        vlock --reply-timeout 300ms acquire -n --ttl $ttl --format json "$K"
        if [ "$status" -eq 0 ]; then # it was sent again, with success
            gives 0 release --token "$(jq -r .token <<<"$output")" "$K"
        else
            [ "$status" -eq 69 ]
        fi
        touch "$PROXY/go"
        until_true 10 has "$PROXY/log" 'late request was executed'
        is_free "$K"
        gives 0 -q acquire -n -t 60s "$K"
    done
}

# A frozen server reads what was sent to it when it thaws, though the sender has gone by then.
@test "an acquire that ends while the server is frozen takes nothing, whatever the server does later" {
    start_server valkey
    for scripts in flushed cached; do
        for ttl in 60s none; do
            for how in timeout TERM; do
                forget
                [ $scripts = cached ] || cli script flush >/dev/null
                [ $scripts = flushed ] || gives 0 -u "unix://$SOCK" -q run "$K-warm" true
                kill -STOP "$SERVER_PID"
                patience=500ms
                [ $how = timeout ] || patience=60s
                background "$VLOCK_BIN" -u "unix://$SOCK" --reply-timeout $patience \
                    acquire --ttl $ttl "$K"
                pid=$!
                [ $how = timeout ] || until_true 10 sits_waiting $pid
                [ $how = timeout ] || kill -TERM $pid
                wanted=143
                [ $how = TERM ] || wanted=69
                ends $wanted $pid
                kill -CONT "$SERVER_PID"
                cli ping
                echo "scripts $scripts, ttl $ttl, ended by $how"
                is_free "$K"
                gives 0 -u "unix://$SOCK" -q acquire -n -t 60s "$K"
            done
        done
    done
}

@test "a release that the server executes late does not free the next holder's lock" {
    setup_proxied
    gives 0 -q acquire -t 60s --token T "$K"
    rm -f "$PROXY/go"
    rule "late 2"
    vlock --reply-timeout 300ms release --token T "$K"
    cli set "$K" next px 60000
    touch "$PROXY/go"
    until_true 10 has "$PROXY/log" 'late request was executed'
    [ "$(value_of "$K")" = next ]
}

# --- round trips -----------------------------------------------------------------------------

@test "one round trip to acquire on a fresh connection, one to release" {
    setup_proxied
    gives 0 -q run "$K" true # the scripts are cached
    rule none
    gives 0 acquire -n -t 60s --token T "$K"
    cat "$PROXY/log"
    [ "$(grep '^[0-9]' "$PROXY/log" | cut -d' ' -f1,2 | sort -u | wc -l)" -eq 1 ]
    rule none
    gives 0 release --token T "$K"
    cat "$PROXY/log"
    [ "$(grep '^[0-9]' "$PROXY/log" | cut -d' ' -f1,2 | sort -u | wc -l)" -eq 1 ]
    for _ in {1..20}; do
        rule none
        gives 0 run "$K" -- true
        watched || break
    done
    cat "$PROXY/log"
    [ "$(grep '^[0-9]' "$PROXY/log" | cut -d' ' -f1 | sort -u | wc -l)" -eq 1 ]
    [ "$(grep '^[0-9]' "$PROXY/log" | cut -d' ' -f1,2 | sort -u | wc -l)" -eq 2 ]
}

@test "no round trip for AUTH and SELECT of its own" {
    start_server valkey --requirepass sesame
    start_proxy
    export VLOCK_PASSWORD=sesame
    gives 0 -u "$PROXY_URL/3" -q run "$K" true
    rule none
    gives 0 -u "$PROXY_URL/3" acquire -n -t 60s --token T "$K"
    cat "$PROXY/log"
    [ "$(grep '^[0-9]' "$PROXY/log" | cut -d' ' -f1,2 | sort -u | wc -l)" -eq 1 ]
}

# --- servers that are none -------------------------------------------------------------------
# bats file_tags=asan

# meets STATUS STEP...: acquire, release, owned and run on a scripted server all end with STATUS
# in bounded time, show neither password nor token, and take or start nothing. What is an answer
# has time to come; 69 is waited for briefly.
meets() {
    local wanted=$1 patience=60s args
    shift
    [ "$wanted" != 69 ] || patience=300ms
    start_scripted "$@"
    export VLOCK_URL=redis://user:sesame@127.0.0.1:$SCRIPTED_PORT
    for args in 'acquire -n -t 60s' "acquire --ttl none -w $patience" 'release --token secret-token' \
        'extend --token secret-token' 'locked' 'owned --token secret-token' run; do
        case $args in
        run) set -- run -n "$K" -- touch ran ;;
        extend*) set -- extend --token secret-token "$K" 1h ;;
        *) read -ra words <<<"$args" && set -- "${words[@]}" "$K" ;;
        esac
        gives "$wanted" -v --reply-timeout $patience --connect-timeout $patience "$@"
        hides sesame secret-token vl1:
        [ -n "$stderr" ]
        [ ! -e ran ]
    done
}

hello='ON HELLO %7\r\n$6\r\nserver\r\n$6\r\nvalkey\r\n$7\r\nversion\r\n$5\r\n8.0.1\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:3\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n'

@test "a server that accepts and never answers is 69, bounded by --reply-timeout" {
    start=$SECONDS
    meets 69 NEVER
    # seven commands; the default, 5 s for each reply, would be more
    ((SECONDS - start < 30))
}

@test "a server that does not accept is 69, bounded by --connect-timeout" {
    cat >full.py <<'PY'
import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(0)
kept = []
for _ in range(4):
    c = socket.socket(); c.setblocking(False); c.connect_ex(s.getsockname()); kept.append(c)
open("port.new", "w").write(str(s.getsockname()[1]))
import os; os.rename("port.new", "port")
time.sleep(600)
PY
    find_python
    background "$PYTHON" full.py
    until_true 10 test -e port
    gives 69 -u "redis://127.0.0.1:$(<port)" --connect-timeout 300ms acquire -n "$K"
    says 'in time'
    gives 69 -u "redis://127.0.0.1:$(<port)" --connect-timeout 10m acquire -w 300ms "$K"
}

@test "nobody listens: 69 at once, with -w when that is over" {
    for url in redis://127.0.0.1:1 redis://localhost:1 'redis://[::1]:1' "unix://$PWD/none"; do
        gives 69 -u "$url" acquire -t 60s "$K"
        says "${url#*//}"
        gives 69 -u "$url" release --token T "$K"
        gives 69 -u "$url" run "$K" -- touch ran
        gives 69 -u "$url" acquire -w 200ms "$K"
        [ ! -e ran ]
    done
}

@test "a server that comes up while -w lasts is used" {
    start_server valkey
    url=unix://$SOCK.later
    background "$VLOCK_BIN" -u "$url" acquire -w 100s -t 60s "$K"
    pid=$!
    gives 69 -u "$url" acquire -n "$K"
    ln -s "$SOCK" "$SOCK.later"
    ends 0 "$pid"
    held_by "$K" "$(<out)"
}

@test "a host name that does not exist is 69 and named" {
    gives 69 -u redis://no-such-host.invalid --connect-timeout 5s acquire -n "$K"
    says no-such-host.invalid
}

@test "a web server is 76" {
    meets 76 'EXPECT HELLO' 'SEND HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n' CLOSE
}

@test "an SSH server is 76" { meets 76 'SEND SSH-2.0-OpenSSH_9.2p1\r\n' NEVER; }

@test "nonsense is 76" { meets 76 'EXPECT HELLO' 'SEND \0\1\2\xff\xfe nonsense\r\n' NEVER; }

@test "endless nonsense is 76 and bounded in memory and time" {
    meets 76 'EXPECT HELLO' 'ENDLESS garbage '
}

@test "endless answers nobody asked for are bounded" {
    start_scripted 'EXPECT HELLO' 'ENDLESS +OK\r\n'
    gives 76 -u "redis://127.0.0.1:$SCRIPTED_PORT" --reply-timeout 60s acquire -n "$K"
}

# The rest of this test has 400 MB. (The address sanitizer needs terabytes, of nothing.)
little_memory() { grep -qa __asan_init "$VLOCK_BIN" || ulimit -v 400000; }

@test "a line without end is 76 or 69, within bounds" {
    little_memory
    start_scripted 'EXPECT HELLO' 'ENDLESS -aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
    vlock -u "redis://127.0.0.1:$SCRIPTED_PORT" --reply-timeout 300ms acquire -n "$K"
    case $status in 69 | 76) ;; *) return 1 ;; esac
}

@test "a huge bulk length is 76 or 69 and allocates nothing" {
    little_memory
    for length in 9999999999 9223372036854775807 99999999999999999999 -5 536870912; do
        start_scripted 'EXPECT HELLO' "SEND \$$length\r\nabc" NEVER
        vlock -u "redis://127.0.0.1:$SCRIPTED_PORT" --reply-timeout 300ms acquire -n "$K"
        case $status in 69 | 76) ;; *) return 1 ;; esac
    done
}

@test "deeply nested arrays are 76 or 69, within bounds" {
    little_memory
    start_scripted 'EXPECT HELLO' 'REPEAT 1000000 *1\r\n' NEVER
    vlock -u "redis://127.0.0.1:$SCRIPTED_PORT" --reply-timeout 300ms acquire -n "$K"
    case $status in 69 | 76) ;; *) return 1 ;; esac
}

@test "a huge array is 76 or 69" {
    little_memory
    start_scripted 'EXPECT HELLO' 'SEND *2147483647\r\n:1\r\n' NEVER
    vlock -u "redis://127.0.0.1:$SCRIPTED_PORT" --reply-timeout 300ms acquire -n "$K"
    case $status in 69 | 76) ;; *) return 1 ;; esac
}

@test "answers of the wrong shape are 76" {
    for answer in '+OK' ':1' '$-1' '*0' '*1\r\n*0' '_' '$3\r\nabc' '*3\r\n$1\r\na\r\n:1\r\n:2' ',1.5' '#t' \
        '*5\r\n_\r\n_\r\n_\r\n_\r\n_' '*5\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1' '%0' '~0'; do
        start_scripted "$hello" "ON AUTH +OK\r\n" "ON SELECT +OK\r\n" "ON * $answer\r\n" SERVE
        export VLOCK_URL=redis://127.0.0.1:$SCRIPTED_PORT
        for command in 'acquire -n' 'release --token T' locked; do
            # shellcheck disable=SC2086 # words
            gives 76 --reply-timeout 60s $command "$K"
        done
    done
}

@test "a server that is loading its data, or busy with a script, is 69" {
    meets 69 'ON * -LOADING Redis is loading the dataset in memory\r\n' SERVE
    meets 69 "$hello" 'ON * -LOADING Redis is loading the dataset in memory\r\n' SERVE
    meets 69 "$hello" 'ON * -BUSY Redis is busy running a script. You can only call SCRIPT KILL.\r\n' SERVE
}

@test "a server that has loaded its data while -w lasts is used" {
    start_scripted 'ON * -LOADING Redis is loading the dataset in memory\r\n' SERVE
    gives 69 -u "redis://127.0.0.1:$SCRIPTED_PORT" acquire -n "$K"
    for _ in 1 2 3 4 5; do
        gives 69 -u "redis://127.0.0.1:$SCRIPTED_PORT" acquire -w 300ms "$K"
        [[ $stderr == *'in time'* ]] || break # its last question had no answer yet
    done
    says loading
}

@test "a server that takes no writes is 77 and says why" {
    meets 77 "$hello" "ON * -MISCONF Redis is configured to save RDB snapshots\r\n" SERVE
    meets 77 "$hello" "ON * -OOM command not allowed when used memory > 'maxmemory'.\r\n" SERVE
    meets 77 "$hello" "ON * -READONLY You can't write against a read only replica.\r\n" SERVE
    meets 77 'ON * -NOAUTH Authentication required.\r\n' SERVE
    meets 77 'ON * -DENIED Redis is running in protected mode\r\n' SERVE
}

@test "a server without scripts is 76" {
    meets 76 "$hello" "ON * -ERR unknown command 'EVALSHA'\r\n" SERVE
}

@test "a server that knows no HELLO is used all the same" {
    # a Redis 5, as far as vlock can see, and proxies in their own words
    for words in "ERR unknown command 'HELLO'" "ERR handle request, command 'HELLO' is not allowed" \
        'NOPROTO unsupported protocol version' 'NOPERM this user may not' 'no'; do
        start_scripted "ON HELLO -$words\r\n" 'ON * -MISCONF this far it came\r\n' SERVE
        gives 77 -u "redis://127.0.0.1:$SCRIPTED_PORT" acquire -n "$K"
        says 'this far it came'
    done
    # what is about us, and not about HELLO, is what is told
    for words in 'NOAUTH Authentication required.' 'WRONGPASS invalid' 'DENIED not from there'; do
        start_scripted "ON HELLO -$words\r\n" 'ON * -MISCONF this far it came\r\n' SERVE
        gives 77 -u "redis://127.0.0.1:$SCRIPTED_PORT" acquire -n "$K"
        says "${words%% *}"
    done
}

@test "a server that refuses HELLO for now is asked again, and knows it then" {
    for words in 'LOADING Redis is loading the dataset in memory' 'MASTERDOWN Link with MASTER is down' \
        'ERR max number of clients reached'; do
        start_scripted "ON HELLO -$words\r\n" 'ON * -MISCONF this far it came\r\n' SERVE
        gives 69 -u "redis://127.0.0.1:$SCRIPTED_PORT" acquire -n "$K"
    done
}

@test "pushes that nobody has asked for are no more than heard, whatever is asked" {
    local push='>3\r\n$8\r\nsmessage\r\n$1\r\nx\r\n'
    for text in 'come a' 'granted ' 'granted x' 'first  1' 'near  1 1' ''; do
        start_scripted "$hello" "SEND $push\$${#text}\r\n$text\r\n" \
            'ON * -ERR this far it came\r\n' SERVE
        for words in status locked 'owned --token t' 'release --token t' 'wait -w 1h' 'acquire -n' \
            'acquire -w 1h' 'extend --token t'; do
            # shellcheck disable=SC2086 # words
            gives 76 -u "redis://127.0.0.1:$SCRIPTED_PORT" $words "$K" \
                $([[ $words != extend* ]] || echo 1h)
        done
    done
}

@test "an error text with control characters and our password in it is shown harmless" {
    start_scripted "$hello" 'ON * -ERR \x1b[31mred\x07 sesame secret-token\r\n' SERVE
    gives 76 -v -u "redis://:sesame@127.0.0.1:$SCRIPTED_PORT" release --token secret-token "$K"
    hides $'\e' $'\x07'
}

@test "a server that closes each connection, at once or in the middle of a reply, is 69" {
    meets 69 CLOSE
    meets 69 RST
    meets 69 'EXPECT HELLO' CLOSE
    meets 69 'EXPECT HELLO' 'SEND $100\r\nabc' CLOSE
    meets 69 'EXPECT EVAL' 'SEND %7\r\n$6\r\nserver\r\n' RST
}

@test "neither password nor token is shown by -v on a real server" {
    start_server valkey --requirepass sesame
    for command in "acquire -t 60s --token secret-token" "extend --token secret-token" \
        "release --token secret-token"; do
        read -ra words <<<"$command"
        [ "${words[0]}" != extend ] || words+=("$K" 1h)
        [ "${words[0]}" = extend ] || words+=("$K")
        gives 0 -v -u "redis://:sesame@127.0.0.1:$PORT" "${words[@]}"
        output='' # the token itself
        hides sesame secret-token
    done
}
