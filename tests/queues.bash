# queues.bash - for the suites about waiting: who waits, who was served, and what it took.
#
#     stand A; stand B -w 20s      two that wait for $K, one behind the other
#     all_served A B               both had it, in this order, under fences that grow
# shellcheck shell=bash

# beside KEY WHAT: the key of that name which vlock keeps beside the lock KEY on a server.
beside() {
    if [[ $1 =~ \{[^}]+\} ]]; then echo "$1:vlock2:$2"; else echo "{$1}:vlock:$2"; fi
}

# waiting KEY: how many wait for it
waiting() {
    if on_server; then
        cli zcard "$(beside "$1" queue)"
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
    setpriv --pdeathsig KILL env --default-signal=INT,QUIT,PIPE "$VLOCK_BIN" run "$@" "$K" -- \
        sh -c 'echo "$1 $VLOCK_FENCE $(date +%s%3N)" >>served
            while [ -e "hold.$1" ]; do sleep 0.02; done' turn "$label" \
        >"out.$label" 2>"err.$label" 3>&- &
    WAITER[$label]=$!
}

# was_served LABEL: it is its turn, or was.
was_served() { grep -qs "^$1 " served; }

# order_is LABEL...: these were served, in this order, with fences that grow.
order_is() {
    local order
    order=$(cut -d' ' -f1 served | xargs)
    [ "$order" = "$*" ] || { echo "served: $order; wanted: $*" && return 1; }
    cut -d' ' -f2 served | sort -C -n -u || { echo "fences:" && cat served && return 1; }
}

# all_served LABEL...: these end with 0, served in this order, and nobody else was.
all_served() {
    local label
    for label; do
        until_true 30 is_over "${WAITER[$label]}" || kill -KILL "${WAITER[$label]}"
        wait "${WAITER[$label]}" || { cat served "err.$label" && return 1; }
    done
    order_is "$@"
}

# requests_of COMMAND: how often clients have sent it since `cli config resetstat`
requests_of() { cli info commandstats | sed -n "s/^cmdstat_$1:calls=\([0-9]*\),.*/\1/p"; }

# questions: how many scripts clients have run since then
questions() { echo $(($(requests_of evalsha) + $(requests_of eval))); }

# Waits until nobody has asked anything for a while.
until_quiet() {
    local before now
    now=$(questions)
    until [ "$now" = "${before-}" ]; do
        before=$now
        sleep 0.3
        now=$(questions)
    done
}
