#!/usr/bin/env bats
# What a real server refuses: each with its status, a message that says what to do, nothing left
# behind, and no password shown.

load helpers

setup_file() {
    start_server valkey --requirepass sesame
    export SERVER_PASSWORD=sesame BASE=redis://127.0.0.1:$PORT
    cli acl setuser alice on '>wonder land' allkeys allchannels +@all
    cli acl setuser noscripts on '>pw' allkeys allchannels +@all -eval -evalsha
    cli acl setuser noset on '>pw' allkeys allchannels +@all -set
    cli acl setuser nodel on '>pw' allkeys allchannels +@all -del
    cli acl setuser nopexpire on '>pw' allkeys allchannels +@all -pexpire
    cli acl setuser nohello on '>pw' allkeys allchannels +@all -hello
    cli acl setuser nokeys on '>pw' '~other:*' allchannels +@all
    cli acl setuser nochannels on '>pw' allkeys resetchannels +@all
    cli acl setuser off off '>pw' allkeys allchannels +@all
    cli acl setuser nopass on nopass allkeys allchannels +@all
}

# What is refused here is refused by an answer, however long that takes: with the timeouts that are
# usual a slow machine would be too late for it.
vlock() {
    case "$*" in
    *-timeout*) observe "$VLOCK_BIN" "$@" ;;
    *) observe "$VLOCK_BIN" --connect-timeout 2m --reply-timeout 2m "$@" ;;
    esac
}

# refused STATUS URL: acquire, owned and run on URL end with STATUS; nothing was taken or run.
refused() {
    gives "$1" -v -u "$2" acquire -n -t 60s "$K"
    hides sesame wonder
    gives "$1" -u "$2" run -n "$K" -- touch ran
    hides sesame wonder
    [ ! -e ran ]
    [ "$(cli exists "$K")" = 0 ]
}

# --- who we are ------------------------------------------------------------------------------

@test "a wrong password where the default user needs none takes nothing" {
    start_server valkey
    unset SERVER_PASSWORD
    cli acl setuser alice on '>pw' allkeys allchannels +@all
    for url in "redis://alice:wrong@127.0.0.1:$PORT" "redis://nobody:x@127.0.0.1:$PORT"; do
        gives 77 -u "$url" acquire -n --ttl none "$K"
        gives 77 -u "$url" run -n "$K" -- touch ran
        [ ! -e ran ]
        [ -z "$(cli keys '*')" ]
        cli set "$K" T >/dev/null
        gives 77 -u "$url" release --token T "$K"
        held_by "$K" T
        cli del "$K"
    done
}

@test "no password, a wrong one, an unknown or disabled user: 77" {
    refused 77 "$BASE"
    refused 77 "redis://:wrong@127.0.0.1:$PORT"
    refused 77 "redis://alice:wrong@127.0.0.1:$PORT"
    refused 77 "redis://nobody:pw@127.0.0.1:$PORT"
    refused 77 "redis://off:pw@127.0.0.1:$PORT"
    VLOCK_PASSWORD=wrong refused 77 "$BASE"
    VLOCK_USER=alice refused 77 "$BASE" || [ "$status" -eq 78 ]
}

@test "the password by URL, with and without user, percent-encoded" {
    gives 1 -u "redis://:sesame@127.0.0.1:$PORT" locked "$K"
    gives 1 -u "redis://default:sesame@127.0.0.1:$PORT" locked "$K"
    gives 1 -u "redis://alice:wonder%20land@127.0.0.1:$PORT" locked "$K"
    gives 1 -u "redis://nopass@127.0.0.1:$PORT" locked "$K" || [ "$status" -eq 77 ]
    gives 1 -u "redis://nopass:x@127.0.0.1:$PORT" locked "$K"
}

@test "the password by VLOCK_PASSWORD, with VLOCK_USER, --user or the URL's user" {
    VLOCK_PASSWORD=sesame gives 1 -u "$BASE" locked "$K"
    export VLOCK_PASSWORD='wonder land'
    VLOCK_USER=alice gives 1 -u "$BASE" locked "$K"
    gives 1 -u "$BASE" --user alice locked "$K"
    gives 1 -u "redis://alice@127.0.0.1:$PORT" locked "$K"
    unset VLOCK_PASSWORD
    VLOCK_URL="unix://$SOCK" VLOCK_PASSWORD=sesame gives 1 locked "$K"
}

@test "the password by --password-file and VLOCK_PASSWORD_FILE" {
    echo 'wonder land' >pw
    chmod 600 pw
    gives 1 -u "$BASE" --user alice --password-file pw locked "$K"
    VLOCK_USER=alice VLOCK_PASSWORD_FILE=pw gives 1 -u "$BASE" locked "$K"
    printf sesame >pw
    gives 1 -u "$BASE" --password-file pw locked "$K"
    VLOCK_PASSWORD=wrong gives 1 -u "$BASE" --password-file pw locked "$K"
    printf 'sesame\r\n' >pw
    gives 1 -u "$BASE" --password-file pw locked "$K" || [ "$status" -eq 77 ]
}

@test "a password file that is missing, empty, a directory or unreadable is an error, never no password" {
    : >empty
    mkdir dir
    for file in none empty dir; do
        chmod 600 $file 2>/dev/null || true
        vlock -u "$BASE" --password-file $file locked "$K"
        [ "$status" -ne 0 ]
        [ "$status" -ne 1 ]
        says $file
    done
}

# --- what we may ----------------------------------------------------------------------------

@test "an ACL without a needed command is 77 and the message names the command" {
    refused 77 "redis://noscripts:pw@127.0.0.1:$PORT"
    grep -qi eval <<<"$stderr"
    refused 77 "redis://noset:pw@127.0.0.1:$PORT"
    grep -qiw set <<<"$stderr"
}

@test "an ACL without a needed command at release or extend: 77, named, the lock unharmed" {
    gives 0 -u "redis://:sesame@127.0.0.1:$PORT" acquire -t 60s --token T "$K"
    gives 77 -u "redis://nodel:pw@127.0.0.1:$PORT" release --token T "$K"
    grep -qiw del <<<"$stderr"
    gives 77 -u "redis://nopexpire:pw@127.0.0.1:$PORT" extend --token T "$K" 1h
    grep -qiw pexpire <<<"$stderr"
    held_by "$K" T
    export STORE=valkey
    ttl_between "$K" 1 60000
}

@test "an ACL without HELLO, as the default of some services: vlock does without, or says so" {
    vlock -u "redis://nohello:pw@127.0.0.1:$PORT" acquire -t 60s --token T "$K"
    [ "$status" -eq 0 ] || { [ "$status" -eq 77 ] && grep -qi hello <<<"$stderr"; }
}

@test "an ACL without the key is 77" {
    refused 77 "redis://nokeys:pw@127.0.0.1:$PORT"
    grep -qi key <<<"$stderr"
}

@test "an ACL without channels costs nothing but speed" {
    gives 0 -u "redis://nochannels:pw@127.0.0.1:$PORT" run -t 60s "$K" -- true
    [ "$(cli exists "$K")" = 0 ]
}

# --- databases -------------------------------------------------------------------------------

@test "a database number is used, by TCP and by unix socket" {
    gives 0 -u "redis://:sesame@127.0.0.1:$PORT/3" acquire -t 60s --token T "$K"
    [ "$(cli -n 3 get "$K")" = T ]
    [ "$(cli exists "$K")" = 0 ]
    VLOCK_PASSWORD=sesame gives 0 -u "unix://$SOCK?db=3" owned --token T "$K"
    VLOCK_PASSWORD=sesame gives 1 -u "unix://$SOCK?db=4" owned --token T "$K"
    VLOCK_PASSWORD=sesame gives 1 -u "unix://$SOCK" owned --token T "$K"
}

@test "a database out of range is an error and leaves nothing in database 0" {
    refused 78 "redis://:sesame@127.0.0.1:$PORT/16"
    refused 78 "redis://:sesame@127.0.0.1:$PORT/99"
    [ -z "$(cli keys "*$K*")" ]
    gives 78 -u "redis://:sesame@127.0.0.1:$PORT/16" release --token T "$K"
}

@test "an ACL without SELECT leaves nothing in database 0" {
    cli acl setuser noselect on '>pw' allkeys allchannels +@all -select
    refused 77 "redis://noselect:pw@127.0.0.1:$PORT/3"
    grep -qi select <<<"$stderr"
    [ -z "$(cli keys "*$K*")" ]
}

# --- the state of the server ----------------------------------------------------------------

@test "a value of another type at NAME is 76 and stays" {
    export VLOCK_URL=redis://:sesame@127.0.0.1:$PORT
    cli rpush "$K" a b >/dev/null
    gives 76 acquire -n -t 60s "$K"
    says "$K"
    gives 76 acquire -w 100s "$K"
    gives 76 release --token T "$K"
    gives 76 release --if-held --token T "$K"
    gives 76 extend --token T "$K" 1h
    gives 76 reacquire -t 1h --token T "$K"
    gives 76 owned --token T "$K"
    gives 76 locked "$K"
    gives 76 run "$K" -- touch ran
    [ ! -e ran ]
    [ "$(cli lrange "$K" 0 -1)" = $'a\nb' ]
}

@test "a value at NAME that is empty or longer than any token is a held lock" {
    export VLOCK_URL=redis://:sesame@127.0.0.1:$PORT
    cli set "$K" '' >/dev/null
    gives 0 locked "$K"
    gives 75 acquire -n "$K"
    head -c 100000 /dev/zero | tr '\0' x | cli -x set "$K-long" >/dev/null
    gives 0 locked "$K-long"
    gives 75 acquire -n "$K-long"
    ((${#stderr} < 2000))
}

@test "a fence key of another type is an error, never a lock without fence" {
    export VLOCK_URL=redis://:sesame@127.0.0.1:$PORT
    cli rpush "{$K}:vlock:fence" a >/dev/null
    vlock acquire -n -t 60s "$K"
    [ "$status" -eq 76 ]
    [ "$(cli exists "$K")" = 0 ]
}

@test "a read-only replica is 77" {
    primary=$PORT
    cli config set repl-diskless-sync-delay 0
    start_server valkey --replicaof "127.0.0.1 $primary" --masterauth sesame --requirepass sesame
    until_true 20 replica_is_up
    refused 77 "redis://:sesame@127.0.0.1:$PORT"
    says replica
    redis-cli -p "$primary" --no-auth-warning -a sesame set "$K" T px 60000
    until_true 10 is_held "$K"
    gives 77 -u "redis://:sesame@127.0.0.1:$PORT" release --token T "$K"
    gives 77 -u "redis://:sesame@127.0.0.1:$PORT" extend --token T "$K" 1h
    gives 77 -u "redis://:sesame@127.0.0.1:$PORT" owned --token T "$K"
}

replica_is_up() { cli info replication | grep -q 'master_link_status:up'; }

@test "a server out of memory is 77, but still lets go" {
    start_server valkey --requirepass sesame
    export VLOCK_URL=redis://:sesame@127.0.0.1:$PORT
    gives 0 acquire -t 60s --token T "$K-held"
    cli config set maxmemory 1
    refused 77 "$VLOCK_URL"
    says memory
    gives 0 owned --token T "$K-held"
    gives 0 release --token T "$K-held"
}

@test "a server that cannot save is 77" {
    start_server valkey --requirepass sesame --stop-writes-on-bgsave-error yes
    cli config set save '3600 1'
    dir=${SOCK%/*}
    cli config set rdbcompression no >/dev/null
    mkdir "$dir/dump.rdb" # nothing can be saved to a directory
    cli set any thing >/dev/null
    cli bgsave >/dev/null
    until_true 20 save_failed
    refused 77 "redis://:sesame@127.0.0.1:$PORT"
    says save
}

save_failed() { cli info persistence | grep -q 'rdb_last_bgsave_status:err'; }

@test "a server that is really loading its data is 69, and used when it has finished" {
    start_server valkey --requirepass sesame
    dir=${SOCK%/*}
    cli eval "for i = 1, 300 do
        redis.call('SET', 'k' .. i, string.rep('x', 2000)) end" 0 >/dev/null
    cli config set rdbcompression no
    cli save >/dev/null
    stop_server
    # a minute, but told otherwise it is ready at once
    setpriv --pdeathsig KILL valkey-server --port "$PORT" --unixsocket "$SOCK" --save '' \
        --dir "$dir" --requirepass sesame --key-load-delay 200000 \
        --loading-process-events-interval-bytes 1024 >log2 2>&1 3>&- &
    until_true 10 is_loading
    refused_loading
    background "$VLOCK_BIN" -u "redis://:sesame@127.0.0.1:$PORT" acquire -w 10m -t 10m --token T "$K"
    waiter=$!
    until_true 10 sits_waiting "$waiter"
    cli config set key-load-delay 0
    ends 0 "$waiter"
    held_by "$K" T
}

is_loading() { cli get x 2>&1 | grep -q LOADING; }
refused_loading() {
    gives 69 -u "redis://:sesame@127.0.0.1:$PORT" acquire -n "$K"
    says loading
}

@test "too many clients is 69" {
    start_server valkey --maxclients 10
    find_python
    background "$PYTHON" -c 'import socket, sys, time
kept = []
for _ in range(9):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1]))); kept.append(s)
    s.sendall(b"PING\r\n")
    s.recv(100)
print("ready", flush=True)
kept2 = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
time.sleep(600)' "$PORT"
    until_true 10 has out ready
    until_true 10 has_no_room
    gives 69 -u "redis://127.0.0.1:$PORT" acquire -n "$K"
    says clients
}

has_no_room() { cli_raw ping 2>&1 | grep -q 'max number of clients'; }

# --- addresses -------------------------------------------------------------------------------
# bats file_tags=asan

@test "IPv6, in brackets, and a name that has both" {
    ip -6 addr show dev lo 2>/dev/null | grep -q ::1 || [ -e /proc/net/if_inet6 ] || skip 'no IPv6 here'
    gives 1 -u "redis://:sesame@[::1]:$PORT" locked "$K"
    gives 1 -u "redis://:sesame@localhost:$PORT" locked "$K"
}

@test "a socket path with blanks and percent signs" {
    mkdir 'a b%41'
    ln -s "$SOCK" 'a b%41/s'
    VLOCK_PASSWORD=sesame gives 1 -u "unix://${PWD// /%20}/a%20b%2541/s" locked "$K"
}

# --- TLS -------------------------------------------------------------------------------------

@test "TLS: the certificate is verified with --cacert, VLOCK_CACERT, for name and address" {
    start_server valkey --tls
    unset SERVER_PASSWORD
    for host in localhost 127.0.0.1 '[::1]'; do
        gives 1 --cacert "$CERTS/ca.crt" -u "valkeys://$host:$TLS_PORT" locked "$K"
        gives 1 --cacert "$CERTS/ca.crt" -u "rediss://$host:$TLS_PORT" locked "$K"
    done
    VLOCK_CACERT=$CERTS/ca.crt gives 1 -u "rediss://localhost:$TLS_PORT" locked "$K"
}

@test "TLS: without --cacert the system's CA is found in its directory, by its hash" {
    start_server valkey --tls
    unset SERVER_PASSWORD
    mkdir cas
    cp "$CERTS/ca.crt" cas/ca.pem
    openssl rehash cas
    export SSL_CERT_DIR=$PWD/cas
    gives 1 -u "rediss://localhost:$TLS_PORT" locked "$K"
    rm cas/*.[0-9]
    gives 77 -u "rediss://localhost:$TLS_PORT" locked "$K"
    says "cannot verify"
}

@test "TLS: an unknown CA is 77 and says so, --insecure goes on" {
    start_server valkey --tls
    unset SERVER_PASSWORD
    refused 77 "rediss://localhost:$TLS_PORT"
    grep -qi certificate <<<"$stderr"
    gives 77 --cacert "$CERTS/client.crt" -u "rediss://localhost:$TLS_PORT" locked "$K"
    gives 1 --insecure -u "rediss://localhost:$TLS_PORT" locked "$K"
}

@test "TLS: a certificate for another host is 77, --sni names the one to expect" {
    make_certificates
    start_server valkey --tls --tls-cert-file "$CERTS/elsewhere.crt" \
        --tls-key-file "$CERTS/elsewhere.key"
    unset SERVER_PASSWORD
    export VLOCK_CACERT=$CERTS/ca.crt
    refused 77 "rediss://localhost:$TLS_PORT"
    gives 77 -u "rediss://127.0.0.1:$TLS_PORT" locked "$K"
    gives 1 --sni elsewhere.test -u "rediss://localhost:$TLS_PORT" locked "$K"
    VLOCK_SNI=elsewhere.test gives 1 -u "rediss://127.0.0.1:$TLS_PORT" locked "$K"
    gives 77 --sni localhost -u "rediss://localhost:$TLS_PORT" locked "$K"
    gives 1 --insecure -u "rediss://localhost:$TLS_PORT" locked "$K"
}

@test "TLS: a server that wants a client certificate" {
    start_server valkey --tls --tls-auth-clients yes
    unset SERVER_PASSWORD
    export VLOCK_CACERT=$CERTS/ca.crt
    refused 77 "rediss://localhost:$TLS_PORT"
    gives 1 --cert "$CERTS/client.crt" --key "$CERTS/client.key" \
        -u "rediss://localhost:$TLS_PORT" locked "$K"
    VLOCK_CERT=$CERTS/client.crt VLOCK_KEY=$CERTS/client.key \
        gives 1 -u "rediss://localhost:$TLS_PORT" locked "$K"
}

@test "TLS: the server name is sent" {
    make_certificates
    cat >sni.py <<'PY'
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1] + "/server.crt", sys.argv[1] + "/server.key")
context.sni_callback = lambda _, name, __: print("asked for", name, flush=True)
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
print("port", s.getsockname()[1], flush=True)
while True:
    try:
        context.wrap_socket(s.accept()[0], server_side=True).close()
    except OSError: # the other side was not that patient
        pass
PY
    find_python
    background "$PYTHON" sni.py "$CERTS"
    until_true 10 has out port
    url=rediss://localhost:$(sed -n 's/^port //p' out)
    gives 69 --cacert "$CERTS/ca.crt" --reply-timeout 1s --connect-timeout 1s -u "$url" locked "$K"
    until_true 10 has out 'asked for localhost'
    gives 69 --cacert "$CERTS/ca.crt" --reply-timeout 1s --connect-timeout 1s --insecure \
        --sni other.test -u "$url" locked "$K"
    until_true 10 has out 'asked for other.test'
}

@test "TLS files that are missing or no PEM are an error that names them" {
    start_server valkey --tls
    unset SERVER_PASSWORD
    echo nonsense >bad
    for option in cacert cert key; do
        for file in none bad; do
            vlock --cert "$CERTS/client.crt" --key "$CERTS/client.key" --cacert "$CERTS/ca.crt" \
                "--$option" $file -u "rediss://localhost:$TLS_PORT" locked "$K"
            case $status in 0 | 1 | 69) return 1 ;; esac
            says $file
        done
    done
    vlock --cert "$CERTS/client.crt" --key "$CERTS/server.key" --cacert "$CERTS/ca.crt" \
        -u "rediss://localhost:$TLS_PORT" locked "$K"
    case $status in 0 | 1 | 69) return 1 ;; esac
    vlock --cert "$CERTS/client.crt" --cacert "$CERTS/ca.crt" -u "rediss://localhost:$TLS_PORT" locked "$K"
    case $status in 0 | 1 | 69) return 1 ;; esac
}

@test "plain to a TLS port, and TLS to a plain port, fail in bounded time and say what they met" {
    start_server valkey --tls
    unset SERVER_PASSWORD
    vlock --reply-timeout 1s --connect-timeout 1s -u "redis://localhost:$TLS_PORT" acquire -n "$K"
    case $status in 69 | 76) ;; *) return 1 ;; esac
    vlock --reply-timeout 1s --connect-timeout 1s --cacert "$CERTS/ca.crt" \
        -u "rediss://localhost:$PORT" acquire -n "$K"
    case $status in 69 | 76 | 77) ;; *) return 1 ;; esac
    grep -qi tls <<<"$stderr"
}

@test "TLS to a server that never answers is 69, bounded by --connect-timeout" {
    start_scripted NEVER
    gives 69 --connect-timeout 3s --reply-timeout 10m -u "rediss://127.0.0.1:$SCRIPTED_PORT" \
        acquire -n "$K"
    says 'did not set up TLS in time'
}

@test "TLS: a password and a database go the same way" {
    start_server valkey --tls --requirepass sesame
    export VLOCK_CACERT=$CERTS/ca.crt
    gives 0 -u "valkeys://:sesame@localhost:$TLS_PORT/2" acquire -t 60s --token T "$K"
    [ "$(cli -n 2 get "$K")" = T ]
    gives 77 -u "valkeys://:wrong@localhost:$TLS_PORT/2" owned --token T "$K"
    hides wrong
}
