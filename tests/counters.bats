#!/usr/bin/env bats
# Nothing is lost and nothing given twice. Runs on every store, as contract.bats does.

load helpers

BATS_TEST_NAME_PREFIX="$(store_of_this_file): "
export BATS_TEST_NAME_PREFIX

setup_file() {
    export BATS_NO_PARALLELIZE_WITHIN_FILE=1
    start_store "$(store_of_this_file)"
}

# many_at_once TIMES TEXT: 8 shells run TEXT TIMES times each; all end with 0.
many_at_once() {
    local pids=()
    for _ in {1..8}; do
        background bash -c "for ((i = 0; i < $1; i++)); do $2 || exit; done"
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        until_true 150 is_over "$pid"
        ends 0 "$pid"
    done
}

@test "8 processes increment a counter under run: none is lost" {
    times=$(rounds 40 200)
    echo 0 >counter
    printf 'read -r n <counter; echo $((n + 1)) >counter\n' >increment
    many_at_once "$times" '"$VLOCK_BIN" run "$K" sh increment'
    [ "$(<counter)" = $((8 * times)) ]
    is_free "$K"
}

@test "8 processes increment a counter between acquire and release: none is lost" {
    times=$(rounds 15 50)
    echo 0 >counter
    many_at_once "$times" 't=$("$VLOCK_BIN" acquire -t 60s "$K") && read -r n <counter &&
        echo $((n + 1)) >counter && "$VLOCK_BIN" release --token "$t" "$K"'
    [ "$(<counter)" = $((8 * times)) ]
    is_free "$K"
}

@test "two acquires at the same instant, again and again: exactly one wins" {
    times=$(rounds 100 500)
    python "$TESTS/tools/duel.py" "$times" "$VLOCK_BIN" >result
    cat result
    [ "$(<result)" = "$times duels: one winner and one 75 in each" ]
}
