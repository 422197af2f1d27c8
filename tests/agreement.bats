#!/usr/bin/env bats
# What is written twice says the same: help, manual, completions, exit statuses.

load helpers

root() { cd "$BATS_TEST_DIRNAME/.." && pwd; }
page() { mandoc -T ascii "$(root)/man/vlock.1" | col -b; }
commands() { "$VLOCK_BIN" help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'; }
options_of() { "$VLOCK_BIN" help "$1" | grep -o -- ' --[a-z][a-z-]*' | tr -d ' ' | sort -u; }

@test "the manual's page has no fault" {
    run mandoc -T lint -W warning "$(root)/man/vlock.1"
    [ "$status" -eq 0 ]
    [ -z "$output" ]
}

@test "every command has help, on stdout and with status 0, and stands in the manual's synopsis" {
    count=0
    for command in $(commands); do
        vlock help "$command"
        [ "$status" -eq 0 ] && [ -z "$stderr" ]
        first=$output
        vlock "$command" --help
        [ "$output" = "$first" ]
        grep -qx "\.Cm $command" "$(root)/man/vlock.1"
        count=$((count + 1))
    done
    [ "$count" -ge 9 ]
}

@test "every option of every command stands in the manual, and no other does" {
    for command in $(commands); do options_of "$command"; done | sort -u >"$BATS_TEST_TMPDIR/help"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/help")" -ge 25 ]
    # .It Fl u , Fl -url Ar URL: the long ones begin with a dash of their own.
    sed -n '/^\.Sh OPTIONS/,/^\.Sh ENVIRONMENT/p' "$(root)/man/vlock.1" | grep '^\.It.* Fl ' |
        grep -o 'Fl -[a-z-]*' | sed 's/Fl -/--/' | sort -u >"$BATS_TEST_TMPDIR/manual"
    diff "$BATS_TEST_TMPDIR/help" "$BATS_TEST_TMPDIR/manual"
}

@test "every variable that an option has stands in the manual" {
    strings -a "$VLOCK_BIN" | grep -x 'VLOCK_[A-Z_]*' | grep -vx 'VLOCK_\(CONFIG\|PROFILE\)' |
        sort -u >"$BATS_TEST_TMPDIR/variables"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/variables")" -ge 15 ]
    while read -r variable; do
        page | grep -q "$variable"
    done <"$BATS_TEST_TMPDIR/variables"
}

@test "help and manual list the same exit statuses with the same words" {
    squeeze() { tr -s ' \n' ' ' | sed 's/^ //; s/ $//'; }
    "$VLOCK_BIN" help | sed -n '/^Exit statuses:/,$p' | tail -n +2 | squeeze >"$BATS_TEST_TMPDIR/help"
    sed -n '/^\.Sh EXIT STATUS/,/^\.El/p' "$(root)/man/vlock.1" | tail -n +3 | grep -v '^\.El' |
        sed 's/^\.It //' | squeeze >"$BATS_TEST_TMPDIR/manual"
    grep -q '79 not owned' "$BATS_TEST_TMPDIR/help"
    diff "$BATS_TEST_TMPDIR/help" "$BATS_TEST_TMPDIR/manual"
}

@test "the completions are what the binary prints, and their shells can read them" {
    cd "$(root)"
    diff completions/vlock.bash <("$VLOCK_BIN" completion bash)
    diff completions/_vlock <("$VLOCK_BIN" completion zsh)
    diff completions/vlock.fish <("$VLOCK_BIN" completion fish)
    bash -n completions/vlock.bash
    zsh -n completions/_vlock
    fish -n completions/vlock.fish
}

@test "bash completes commands, options and choices" {
    complete_line() {
        bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _vlock
                 printf "%s\n" "${COMPREPLY[@]}"' - "$(root)/completions/vlock.bash" "$@"
    }
    [ "$(complete_line vlock acq)" = acquire ]
    [ "$(complete_line vlock release --if)" = --if-held ]
    [ "$(complete_line vlock acquire --format d)" = dotenv ]
    [ "$(complete_line vlock run --signal U)" = "$(printf '%s\n' USR1 USR2)" ]
    [ "$(complete_line vlock run --on-lost w)" = warn ]
    [ "$(complete_line vlock -u local: extend --repla)" = --replace ]
    [ -z "$(complete_line vlock release --repla)" ]
}

@test "fish completes options with what they mean" {
    cd "$(root)"
    run fish -c "source completions/vlock.fish; complete -C 'vlock release --if'"
    [[ $output == *--if-held* ]]
}

@test "the manual's examples run" {
    mkdir "$BATS_TEST_TMPDIR/bin" "$BATS_TEST_TMPDIR/at" "$BATS_TEST_TMPDIR/locks"
    # The page's local: is this test's own directory, and its server is none of ours.
    cat >"$BATS_TEST_TMPDIR/bin/vlock" <<SH
#!/bin/bash
for a; do [ "\$a" = local: ] && a=local:$BATS_TEST_TMPDIR/locks; set -- "\$@" "\$a"; shift; done
exec "$VLOCK_BIN" "\$@"
SH
    chmod +x "$BATS_TEST_TMPDIR/bin/vlock"
    sed -n '/^\.Sh EXAMPLES/,/^\.Sh NOTES/p' "$(root)/man/vlock.1" |
        awk '/^\.Bd/ {n++; on = 1; next} /^\.Ed/ {on = 0} on {print > sprintf("%s/example%d", d, n)}' \
            d="$BATS_TEST_TMPDIR"
    [ -s "$BATS_TEST_TMPDIR/example4" ]
    cd "$BATS_TEST_TMPDIR/at"
    for example in "$BATS_TEST_TMPDIR"/example*; do
        grep -q locks.example "$example" && continue
        echo "# $example" && cat "$example"
        run env PATH="$BATS_TEST_TMPDIR/bin:$PATH" bash -e "$example"
        echo "$output"
        [ "$status" -eq 0 ]
    done
}

@test "the README names files that exist" {
    cd "$(root)"
    for file in packaging/quickstart.sh tests/run.sh packaging/get-hiredis.sh src/main.c src/lock.h \
        src/store.h src/store_valkey.c src/store_local.c src/scripts tests/contract.bats; do
        grep -q "${file##*/}" README.md
        [ -e "$file" ]
    done
}
