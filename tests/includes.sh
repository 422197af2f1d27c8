#!/bin/sh
# includes.sh: in src/ includes point one way, down the first table. A file includes its own
# header, those of its own family (address and address_part), and those of lower lines.
set -eu
layers='
main
cmd_*
help completion
handover
take given supervise estate keeper keeper_*
command
context
ending sibling wishes
say options
tokenfile*
lock lock_*
lease holder
token held
child* guard guard_*
tree*
store_*
wire wire_* lockfile queue doorbell floor
record draft
localdir filewatch hostclock
localfs
dial tls tls_* greeting replies outbox expected
refusal
openssl
duration
store
loop
address address_*
trouble json
signame
clock text exits scripts noreplace output title
'
# What a room leaves alone although it stands lower.
never='
lock lock_* lease : store_* wire record localdir lockfile
child* guard guard_* : lock lock_* lockfile lease store* token*
!store_valkey* : scripts
!store_valkey*|wire*|greeting*|replies* : hiredis/*
'
cd "$(dirname "$0")/../src"
grep -HnE '^ *# *include *("|<hiredis)' ./*.[ch] | awk -v layers="$layers" -v never="$never" '
    function fits(name, patterns) {
        gsub(/ +/, "|", patterns)
        gsub(/\*/, ".*", patterns)
        return name ~ "^(" patterns ")$"
    }
    function layer(name, i) {
        for (i = 1; i <= count; i++) if (line[i] != "" && fits(name, line[i])) return i
        return 0
    }
    function family(name) { return substr(name "_", 1, index(name "_", "_")) }
    function say(what) { print $0 ": " what; bad = 1 }
    BEGIN { count = split(layers, line, "\n"); rules = split(never, rule, "\n") }
    {
        split($0, part, /[:"<>]/)
        from = part[1]; gsub(/^\.\/|\.[ch]$/, "", from)
        to = part[4]; sub(/\.h$/, "", to)
        for (i = 1; i <= rules; i++) {
            if (split(rule[i], side, " : ") < 2) continue
            not = sub(/^!/, "", side[1])
            if (fits(from, side[1]) != not && fits(to, side[2])) say("never (" rule[i] ")")
        }
        if (to ~ /^hiredis\// || from == to) next
        if (!layer(from) || !layer(to)) say("stands in no layer of tests/includes.sh")
        else if (layer(from) >= layer(to) && family(from) != family(to)) say("points up")
    }
    END { exit bad }'
