#!/usr/bin/env bats
# What TLS is made of: where certificates and keys come from, when they are read, and which
# certificate of the server is good. (What a server refuses: refusals.bats.)

load helpers
load trees

setup_file() {
    export BATS_NO_PARALLELIZE_WITHIN_FILE=1
    start_store valkey-tls
}

# A keeper is nobody's child.
teardown() {
    [ -z "${KEEPER-}" ] || ! grep -qs '^lock-keeper: ' "/proc/$KEEPER/cmdline" || kill -KILL "$KEEPER"
    fell
    end_processes
}

# guards ARG...: vlock run ARG... in the background, with a CMD that waits for a file `end`
guards() {
    without there end
    supervised "$VLOCK_BIN" -v run -t 60s "$@" "$K" -- \
        sh -c ': >there; until [ -e end ]; do sleep 0.1; done; exit 5'
    until_true 30 test -e there
}

# survives_a_cut: all connections are cut, and the lease is renewed over a new one
survives_a_cut() {
    cli client kill type normal skipme yes
    cli client kill type pubsub
    cli pexpire "$K" 20000 # so that what is renewed can be seen
    until_true 30 ttl_between "$K" 40000 60000
}

# done_well: CMD ends, with its status, and the lock is given back
done_well() {
    : >end
    ends 5 "$FRONT"
    is_free "$K"
}

# --- what can be read once -------------------------------------------------------------------
# bats file_tags=asan

@test "a CA from a pipe is read once, and goes for each connection of a run" {
    unset VLOCK_CACERT
    guards --cacert <(cat "$CERTS/ca.crt")
    survives_a_cut
    survives_a_cut
    until_true 30 has err 'using what was read before'
    done_well
}

@test "a certificate and its key from one pipe, and the CA from another" {
    start_server valkey --tls --tls-auth-clients yes
    unset VLOCK_CACERT
    export VLOCK_URL=valkeys://localhost:$TLS_PORT
    guards --cacert <(cat "$CERTS/ca.crt") --cert <(cat "$CERTS/client.crt" "$CERTS/client.key")
    survives_a_cut
    ls -l "/proc/$(guard_of "$FRONT")/fd" >fds
    not grep memfd: fds # the key lies about nowhere
    done_well
    mkfifo pipe
    cat "$CERTS/client.crt" "$CERTS/client.key" "$CERTS/ca.crt" >pipe 3>&- &
    gives 1 --cacert pipe --cert pipe --key "$PWD/pipe" locked "$K"
}

@test "acquire --keep-alive: the keeper connects with what acquire has read" {
    unset VLOCK_CACERT
    background sleep 300
    process=$!
    gives 0 -q acquire --keep-alive=$process -t 60s --token-file F --cacert <(cat "$CERTS/ca.crt") "$K"
    KEEPER=$(pgrep -fx "lock-keeper: keeps $K for process $process")
    cli pexpire "$K" 20000
    until_true 30 ttl_between "$K" 40000 60000
    survives_a_cut
    kill -KILL $process
    until_true 30 is_no_more "$KEEPER"
    is_free "$K"
    [ ! -e F.log ]
}

@test "a pipe that is written slowly, or to be opened by its writer only now" {
    mkfifo slow late
    (
        head -c 100 "$CERTS/ca.crt"
        until [ -e go ]; do sleep 0.05; done
        tail -c +101 "$CERTS/ca.crt"
    ) >slow 3>&- &
    for pipe in slow late; do
        background "$VLOCK_BIN" acquire --connect-timeout 10m -t 10m --cacert $pipe "$K-$pipe"
        vlock=$!
        until_true 30 sits_waiting $vlock
        not is_held "$K-$pipe"
        : >go
        [ $pipe = slow ] || cat "$CERTS/ca.crt" >late
        ends 0 $vlock
        is_held "$K-$pipe"
    done
}

# It is the file that is no good, nobody has asked the server yet, and asking it again would not
# help: no 69, which a waiter would try again for ever.
@test "a pipe that nobody writes to: 78 at the connect timeout, and no CMD" {
    mkfifo pipe silent
    exec 7<>silent
    for file in pipe silent; do
        gives 78 --connect-timeout 100ms --cacert $file acquire -t 60s "$K"
        says "cannot use the CA certificate '$file': it was not written to its end in time"
        gives 78 --connect-timeout 100ms --cacert $file run "$K" -- touch ran
        gives 78 --connect-timeout 100ms --cacert $file locked "$K"
        gives 78 --connect-timeout 100ms --cert $file --key "$CERTS/client.key" locked "$K"
        says "the certificate '$file'"
        gives 78 --connect-timeout 100ms --cert "$CERTS/client.crt" --key $file locked "$K"
        says "the key '$file'"
    done
    head -c 100 "$CERTS/ca.crt" >&7
    gives 78 --connect-timeout 100ms --cacert silent locked "$K"
    says 'not written to its end'
    exec 7>&-
    [ ! -e ran ]
    is_free "$K"
}

@test "SIGTERM while a pipe is waited for ends vlock" {
    mkfifo pipe
    background "$VLOCK_BIN" acquire --connect-timeout 10m --cacert pipe "$K"
    vlock=$!
    until_true 30 sits_waiting $vlock
    kill -TERM $vlock
    ends 143 $vlock
    supervised "$VLOCK_BIN" run --connect-timeout 10m --cacert pipe "$K" -- touch ran
    until_true 30 is_guarded "$FRONT"
    until_true 30 sits_waiting "$(guard_of "$FRONT")"
    kill -TERM "$FRONT"
    ends 143 "$FRONT"
    background "$VLOCK_BIN" locked --connect-timeout 10m --cacert pipe "$K"
    vlock=$!
    until_true 30 reads_from $vlock pipe
    kill -TERM $vlock
    ends 143 $vlock
    [ ! -e ran ]
}

reads_from() { [ -n "$(find "/proc/$1/fd" -lname "*/$2" 2>/dev/null)" ]; }

@test "a pipe without content, one without end, a directory: 78" {
    gives 78 --cacert <(:) locked "$K"
    says 'it is empty'
    gives 78 --cacert /dev/null locked "$K"
    says 'it is empty'
    gives 78 --cacert <(yes) locked "$K"
    says 'longer than 4 MiB'
    mkdir dir
    gives 78 --cacert dir locked "$K"
    says 'a directory'
    gives 78 --cacert <(echo nonsense) locked "$K"
    says "cannot use the CA certificate '/dev/fd/"
}

# --- files that change -----------------------------------------------------------------------

# Ways in which a file that was removed becomes useless.
removed() { :; }
emptied() { : >ca.crt; }
malformed() { head -c 100 "$CERTS/ca.crt" >ca.crt; }
a_directory() { mkdir ca.crt; }
a_pipe_without_a_writer() { mkfifo ca.crt; }
a_pipe_that_is_not_written() { mkfifo ca.crt && exec 7<>ca.crt; }

complaints() { grep -c "cannot use the CA certificate 'ca.crt': .*: using what was read before" err || :; }
complained_again() { [ "$(complaints)" -gt "$1" ]; }

@test "a CA that is removed or spoilt while CMD runs: what was read before goes on" {
    cp "$CERTS/ca.crt" ca.crt
    guards --cacert ca.crt
    survives_a_cut
    not has err 'using what was read before'
    for way in removed emptied malformed a_directory a_pipe_without_a_writer \
        a_pipe_that_is_not_written; do
        echo "way: $way"
        rm -rf ca.crt
        $way
        said=$(complaints)
        survives_a_cut
        until_true 30 complained_again "$said"
    done
    exec 7>&-
    done_well
}

@test "a key that does not fit while certificates are replaced: the pair that was read before goes on" {
    start_server valkey --tls --tls-auth-clients yes
    export VLOCK_URL=valkeys://localhost:$TLS_PORT
    cp "$CERTS"/client.* .
    guards --cert client.crt --key client.key
    cp "$CERTS/elsewhere.key" client.key
    survives_a_cut
    until_true 30 has err "cannot use the key 'client.key': key values mismatch: using what was read before"
    done_well
}

@test "a CA that was replaced together with the server's certificate is read again" {
    start_server valkey --tls
    export VLOCK_URL=valkeys://localhost:$TLS_PORT
    cp "$CERTS/ca.crt" ca.crt
    guards --cacert ca.crt
    mkdir second
    BATS_FILE_TMPDIR=$PWD/second make_certificates
    cp "$CERTS/ca.crt" ca.crt
    cli config set tls-ca-cert-file "$CERTS/ca.crt" tls-cert-file "$CERTS/server.crt" \
        tls-key-file "$CERTS/server.key"
    gives 0 --cacert ca.crt locked "$K" # the new one is in use
    survives_a_cut
    not has err 'using what was read before'
    done_well
}

# --- which certificate is good ---------------------------------------------------------------

# shown_certificate SUBJECT [NAMES]: a server with a certificate of the CA for this, where NAMES is as
# in subjectAltName=NAMES; without NAMES there is no subjectAltName. It ends in $DAYS.
shown_certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout shown.key -out shown.csr \
        -subj "/CN=$1"
    openssl x509 -req -in shown.csr -CA "$CERTS/ca.crt" -CAkey "$CERTS/ca.key" -CAcreateserial \
        -days "${DAYS-2}" -out shown.crt -extfile <(echo "${2:+subjectAltName=$2}")
    start_server valkey --tls
    cli config set tls-cert-file "$PWD/shown.crt" tls-key-file "$PWD/shown.key"
}

# no_match AS ARG...: the certificate is not for AS, and nothing was taken
no_match() {
    local as=$1
    shift
    gives 77 "$@" acquire -n -t 60s "$K"
    says "cannot verify" "as '$as'" 'mismatch' subjectAltName
    is_free "$K"
}

@test "a certificate whose subject is the host, and that names none otherwise, is no match: 77" {
    shown_certificate localhost
    no_match localhost -u "valkeys://localhost:$TLS_PORT"
    no_match localhost -u "valkeys://127.0.0.1:$TLS_PORT" --sni localhost
    gives 1 --insecure -u "valkeys://localhost:$TLS_PORT" locked "$K"
    shown_certificate localhost IP:127.0.0.1,email:localhost
    no_match localhost -u "valkeys://localhost:$TLS_PORT"
    gives 1 -u "valkeys://127.0.0.1:$TLS_PORT" locked "$K"
    gives 1 -u "valkeys://localhost:$TLS_PORT" --sni 127.0.0.1 locked "$K"
}

@test "an address is matched by an address alone, neither by the subject nor by a name" {
    shown_certificate 127.0.0.1 DNS:127.0.0.1,IP:127.0.0.2
    no_match 127.0.0.1 -u "valkeys://127.0.0.1:$TLS_PORT"
    no_match 127.0.0.1 -u "valkeys://localhost:$TLS_PORT" --sni 127.0.0.1
    no_match ::1 -u "valkeys://127.0.0.1:$TLS_PORT" --sni ::1
    gives 1 -u "valkeys://127.0.0.1:$TLS_PORT" --sni 127.0.0.2 locked "$K"
    shown_certificate 127.0.0.1
    no_match 127.0.0.1 -u "valkeys://127.0.0.1:$TLS_PORT"
}

@test "an empty name is none to verify: 78" {
    gives 78 --sni '' locked "$K"
    says 'no such name'
}

@test "a certificate that has expired is 77, and is not blamed on the CA" {
    DAYS=-1 shown_certificate localhost DNS:localhost
    gives 77 -u "valkeys://localhost:$TLS_PORT" locked "$K"
    says 'expired' 'renew its certificate'
    hides '--cacert'
}
