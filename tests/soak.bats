#!/usr/bin/env bats
# The soak (soak.sh) for a minute: vlocks killed, connections cut, a server frozen and started again.
# More of it: `sh tests/soak.sh 600`.
# bats file_tags=all,long

load helpers

@test "a soak: no two in one section at once, nothing left behind" {
    find_python
    export SOAK_TTL=6 # a machine may stand still for a moment
    run sh "$TESTS/soak.sh" 60 "${SOAK_SEED:-$RANDOM}" 3>&-
    echo "$output"
    echo "# ${lines[-1]}" >&3 # the suite shows it
    [ "$status" -eq 0 ]
    [[ ${lines[-1]} =~ ^soak:\ ([0-9]+)\ sections\ ran.*\ 0\ overlaps ]]
    ((BASH_REMATCH[1] > 0))
}
