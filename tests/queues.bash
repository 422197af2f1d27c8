# queues.bash - for the suites about waiting: who waits, who was served, and what it took.
#
#     stand A; stand B -w 20s      two that wait for $K, one behind the other
#     all_served A B               both had it, in this order, under fences that grow
# shellcheck shell=bash

# beside KEY WHAT: the key of that name which vlock keeps beside the lock KEY on a server.
beside() {
    if [[ $1 =~ ^[^{]*\{[^}]+\} ]]; then
        echo "$1:vlock2:$2"
    elif [[ $1 == *\}* ]]; then
        echo "{$(tag_of "$1")}:vlock3:$1:$2"
    else
        echo "{$1}:vlock:$2"
    fi
}

# tag_of KEY: the smallest number that is in the slot of the whole KEY, as the cluster hashes.
tag_of() {
    python3 - "$1" <<'PY'
import binascii, itertools, os, sys
slot = lambda text: binascii.crc_hqx(text, 0) % 16384
wanted = slot(os.fsencode(sys.argv[1]))
print(next(n for n in itertools.count() if slot(b"%d" % n) == wanted))
PY
}

# bell_of KEY [N]: the bell of the one who waits at place N for it.
bell_of() {
    local id
    id=$(line_of "$1" | sed -n "$((${2-0} + 1))p")
    cli hget "$(beside "$1" waiters)" "$id" | cut -d' ' -f4
}

# waiting KEY: how many wait for it
waiting() {
    if on_server; then
        reply_to zcard "$(beside "$1" queue)"
    else
        "$VLOCK_BIN" status --json -- "$1" | jq .waiting
    fi
}

wait_for_it() { [ "$(waiting "$1")" = "$2" ]; }

# stand LABEL [OPTION...]: starts `vlock run OPTION... $K` in the background and returns when it
# has queued. Its CMD adds a line `LABEL FENCE MILLISECONDS` to `served`, and then stays for as
# long as there is a file hold.LABEL. Its id is in ${WAITER[LABEL]}, its output in out.LABEL and
# err.LABEL.
stand() {
    local label=$1 before
    shift
    before=$(waiting "$K")
    serve_later "$label" "$@"
    until_true 20 wait_for_it "$K" $((before + 1)) || {
        cat "err.$label"
        return 1
    }
}

serve_later() {
    local label=$1
    shift
    declare -gA WAITER
    without "out.$label" "err.$label"
    setpriv --pdeathsig KILL env --default-signal=INT,QUIT,PIPE "$VLOCK_BIN" run "$@" "$K" -- \
        sh -c 'echo "$1 $VLOCK_FENCE $(date +%s%3N)" >>served
            while [ -e "hold.$1" ]; do sleep 0.1; done' turn "$label" \
        >"out.$label" 2>"err.$label" 3>&- &
    WAITER[$label]=$!
}

# lease_for N: sets LEASE_MS, in which N can surely be made to stand, on this machine, as it is now.
lease_for() {
    local begun=${EPOCHREALTIME/./} K=$K-trial
    take -t 10m "$K"
    stand trial
    gives 0 release --token "$TOKEN" "$K"
    all_served trial
    rm -f served
    # shellcheck disable=SC2034 # for the caller
    LEASE_MS=$((4000 + ($1 + 1) * (${EPOCHREALTIME/./} - begun) / 1000))
}

# mark_all LABEL...: from here on told() and asked() count for these, who were made to stand with
# -v.
mark_all() {
    local label
    declare -gA MARK
    for label; do MARK[$label]=$(wc -l <"err.$label"); done
}

# since_mark LABEL: what it has said since then
since_mark() { tail -n +$((MARK[$1] + 1)) "err.$1"; }

# told TEXT LABEL...: how often these heard TEXT since mark_all, as -v has it
told() {
    local text=$1 label
    shift
    for label; do since_mark "$label"; done | grep -c -e "^vlock: .*< $text" || true
}

# asked LABEL...: how many answers to their questions these have had since mark_all
asked() { told 'acquire: verdict' "$@"; }

# stop_them LABEL..., go_on LABEL...: SIGSTOP and SIGCONT, to the guards as well, who do the waiting.
# signal_both SIGNAL LABEL...: whatever signal.
stop_them() { signal_both STOP "$@"; }
go_on() { signal_both CONT "$@"; }
signal_both() {
    local signal=$1 label
    shift
    for label; do
        # shellcheck disable=SC2046 # words
        kill -"$signal" "${WAITER[$label]}" $(pgrep -P "${WAITER[$label]}")
    done
}

# was_served LABEL: it is its turn, or was.
was_served() { grep -qs "^$1 " served; }

# order_is LABEL...: these were served, in this order, with fences that grow.
order_is() {
    local order
    order=$(cut -d' ' -f1 served | xargs)
    [ "$order" = "$*" ] || { echo "served: $order; wanted: $*" && return 1; }
    fences_grow
}

fences_grow() {
    cut -d' ' -f2 served | sort -C -n -u || { echo "fences:" && cat served && return 1; }
}

# each_once LABEL...: these were served, in whatever order, and nobody else was.
each_once() {
    [ "$(cut -d' ' -f1 served | sort | xargs)" = "$(printf '%s\n' "$@" | sort | xargs)" ] &&
        fences_grow
}

# granted_ms LABEL: when it was; a fence is the time of its grant, in µs.
granted_ms() { awk -v label="$1" '$1 == label { printf "%.0f\n", $2 / 1000 }' served; }

# one_was_late: between the start of one, or FREED_MS, and the next one's grant was all of a claim
# (2 s). So it was that of another, who was stopped, or too late to confirm it, and lost his turn.
one_was_late() {
    awk -v at="${FREED_MS-0}" 'at > 0 && $2 / 1000 - at >= 1900 { late = 1 } { at = $3 }
        END { exit !late }' served
}

# all_served LABEL...: these end with 0, served in this order, and nobody else was.
all_served() {
    local label
    for label; do
        until_true 60 is_over "${WAITER[$label]}" || kill -KILL "${WAITER[$label]}"
        wait "${WAITER[$label]}" || { cat served "err.$label" && return 1; }
    done
    order_is "$@" || { one_was_late && each_once "$@"; }
}

# served_somehow LABEL...: these end with 0, in an order that is nobody's to choose.
served_somehow() {
    local label
    for label; do ends 0 "${WAITER[$label]}"; done
    each_once "$@" || { cat served && return 1; }
}

# gives_in_time STATUS ARG...: as gives, where ARG has a short -w: without any answer within that it
# is 69, and then tried again.
gives_in_time() {
    local wanted=$1 try
    shift
    for try in 1 2 3 4 5; do
        vlock "$@"
        [ "$status" -eq 69 ] || break
    done
    [ "$status" -eq "$wanted" ] || { echo "wanted status $wanted, tried $try times"; return 1; }
}

# questions: how many scripts clients have run since `cli config resetstat`
questions() {
    cli info commandstats | sed -n 's/^cmdstat_eval\(sha\)\?:calls=\([0-9]*\),.*/\2/p' |
        awk '{ sum += $1 } END { print sum + 0 }'
}

# Waits until nobody has asked anything for a while, and begins to count anew.
until_quiet() {
    until_true 20 quiet_for_a_while
    cli config resetstat >/dev/null
}

quiet_for_a_while() {
    local before
    before=$(questions)
    sleep 0.7
    [ "$(questions)" = "$before" ]
}

# --- servers ---------------------------------------------------------------------------------

# server_of_this_file: as store_of_this_file, for what only a server has; FILE.bats: valkey.
server_of_this_file() {
    local store
    store=$(store_of_this_file)
    [ "$store" = local ] && echo valkey || echo "$store"
}

# own_server [ARG...]: one for this test alone, that the test's vlocks use.
own_server() {
    if [ "${STORE-}" = valkey-tls ]; then
        start_server valkey --tls "$@"
        export VLOCK_URL=valkeys://localhost:$TLS_PORT VLOCK_CACERT=$CERTS/ca.crt
    else
        start_server "$SERVER" "$@"
        export VLOCK_URL=redis://127.0.0.1:$PORT
    fi
}

# start_again [ARG...]: starts it anew, where it was, after stop_server.
start_again() {
    setpriv --pdeathsig KILL "$SERVER_KIND-server" --bind 127.0.0.1 -::1 --port "$PORT" \
        --unixsocket "$SOCK" --save '' --dir "${SOCK%/*}" "${SERVER_TLS[@]}" "$@" \
        >>"${SOCK%/*}/log" 2>&1 3>&- &
    export SERVER_PID=$!
    until_true 10 answers_ping
}

answers_ping() { [ "$(cli ping 2>&1)" = PONG ]; }

# line_of KEY: who waits for it, in order
line_of() { cli zrange "$(beside "$1" queue)" 0 -1 | xargs; }

# listeners KEY: the bells of how many who wait for it are listened to
listeners() {
    local bells
    bells=$(cli hvals "$(beside "$1" waiters)" | cut -d' ' -f4 | sed 's/^/vlock:bell:/')
    # shellcheck disable=SC2086 # words
    cli pubsub shardnumsub $bells | grep -cx 1 || true
}

# listen_in: all that the server does goes to the file `pushes` from now on (no pattern matches a
# bell). handed_on: how many were told there that they were handed a lock.
listen_in() {
    setpriv --pdeathsig KILL "$SERVER_KIND-cli" -s "$SOCK" monitor >pushes 2>&1 3>&- &
    until_true 10 has pushes OK
}
handed_on() {
    cli echo 'that was all' >/dev/null
    until_true 10 has pushes 'that was all'
    grep -c '"granted [0-9a-f]\{32\}"$' pushes || true
}

line_is() { [ "$(line_of "$1")" = "$2" ]; }

# all_listen KEY N: N waiters do, each on a channel of its own
all_listen() { [ "$(listeners "$1")" = "$2" ]; }

# joined SCRIPT: as it is sent.
joined() (
    cd "$TESTS/../src/scripts" || exit
    sed -n '1s/^-- #!lua/#!lua/p' "$1.lua"
    # shellcheck disable=SC2046 # words
    cat head.lua $(sed -n '2s/.*, with //p' "$1.lua" | sed 's/[a-z]*/&.lua/g') "$1.lua"
)
