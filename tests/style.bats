#!/usr/bin/env bats
# How the source looks, by tools of a pinned version. Needs a build without musl: clang-tidy
# reads its compile commands, from beside the binary under test.
# bats file_tags=once

setup() {
    cd "$BATS_TEST_DIRNAME/.." || return
}

# pinned TOOL: skips the test where this release of the system has no such TOOL.
pinned() {
    command -v "$1" || skip "there is no $1 here"
}

# Fails, and shows them, when there are any lines on stdin.
nothing() {
    ! grep .
}

@test "C is formatted as .clang-format says" {
    pinned clang-format-14
    clang-format-14 --dry-run --Werror src/*.[ch] tests/unit/*.[ch] tests/bench/*.c
}

# bats test_tags=all
@test "clang-tidy finds nothing" {
    pinned clang-tidy-14
    ls src/*.c | xargs -P "$(nproc)" -n 2 clang-tidy-14 --quiet -p "$(dirname "$VLOCK_BIN")"
}

@test "shellcheck finds nothing" {
    find .ci packaging tests completions \( -path .ci/run -o -name '*.sh' -o -name '*.bash' \) \
        -exec shellcheck -x -P SCRIPTDIR {} +
}

@test "no line in src is longer than 100 columns" {
    LC_ALL=C.UTF-8 grep -nE '.{101}' src/*.[ch] src/scripts/*.lua | nothing
}

@test "no function is longer than 60 lines" {
    awk '/^[a-z].*\(.*/ { start = FNR; name = $0 }
         /^}/ && start { if (FNR - start + 1 > 60) print FILENAME ":" start ": " FNR - start + 1 \
                             " lines: " name
                         start = 0 }
         /;$/ && start == FNR { start = 0 }' src/*.c | nothing
}

@test "no file in src is longer than 400 lines" {
    wc -l src/*.[ch] | awk '$1 > 400 && $2 != "total"' | nothing
}

@test "includes point one way" {
    sh tests/includes.sh
}
