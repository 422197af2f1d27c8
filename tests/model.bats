#!/usr/bin/env bats
# The queue's protocol, as a model that spin has explored: tests/model/queue.pml. What it does not
# find is worth as much as the mutants that it does find. Needs no build of vlock.
# bats file_tags=once,whole

setup_file() {
    command -v spin >/dev/null || skip "there is no spin here"
    # The tests say which line is wrong.
    VLOCK_MODEL=$([ -n "${VLOCK_TEST_FULL-}" ] && echo large || echo small) \
        sh "$BATS_TEST_DIRNAME/model/check.sh" "$BATS_FILE_TMPDIR/report" \
        >"$BATS_FILE_TMPDIR/out" 2>&1 || :
}

# found TEXT: a line of the report begins so, and is as it should be.
found() {
    cat "$BATS_FILE_TMPDIR/out"
    grep -qF "ok      $1" "$BATS_FILE_TMPDIR/report"
}

@test "model: two are never inside at once" {
    found "mutual_exclusion: "
}

@test "model: whoever waits and lives is served, by wake-ups that come in time" {
    found "no_lost_wake_up: "
}

@test "model: nobody who lives is overtaken by one who came later" {
    found "order: "
}

@test "model: the dead are passed over" {
    found "the_dead_are_passed: "
}

@test "model: who has ended is given nothing any more" {
    found "the_ended_stay_ended: "
}

@test "model: who lives is not refused" {
    found "the_living_are_not_refused: "
}

@test "model: when all is over nothing is left" {
    found "nothing_left: "
}

@test "model: every configuration was explored to its end" {
    found "every configuration was explored to its end"
}

@test "model: no run goes round in circles" {
    found "no run goes round in circles"
}

@test "model, late: the first is killed, a stranger deletes: the slow check ends it" {
    found "late: the first is killed, a stranger deletes: ended by the slow check"
}

@test "model, late: a connection that only the server knows is cut: an earlier timer ends it" {
    found "late: a connection that only the server knows is cut: ended by an earlier timer"
}

# --- mutants ---------------------------------------------------------------------------------

# bats file_tags=once,whole,all

@test "model, mutant: CMD starts before the confirmation" {
    found "mutant: CMD starts before the confirmation: caught by "
}

@test "model, mutant: a withdrawal leaves no mark" {
    found "mutant: a withdrawal leaves no mark: caught by "
}

@test "model, mutant: a withdrawal frees, and hands over to nobody" {
    found "mutant: a withdrawal frees, and hands over to nobody: caught by "
}

@test "model, mutant: a grant to one who is known to be dead" {
    found "mutant: a grant to one who is known to be dead: caught by "
}

@test "model, mutant: a release frees, and nobody is told" {
    found "mutant: a release frees, and nobody is told: caught by "
}

@test "model, mutant: a hand-over does not ring the new first" {
    found "mutant: a hand-over does not ring the new first: caught by "
}

@test "model, mutant: a re-send is answered before its mark" {
    found "mutant: a re-send is answered before its mark: caught by "
}

@test "model, mutant: who finds it free takes it" {
    found "mutant: who finds it free takes it: caught by "
}

@test "model, mutant: a re-join does not present its ticket" {
    found "mutant: a re-join does not present its ticket: caught by "
}

@test "model, mutant: a re-sent join is told a ticket it has not" {
    found "mutant: a re-sent join is told a ticket it has not: caught by "
}

@test "model, mutant: a withdrawal of the first rings nobody" {
    found "mutant: a withdrawal of the first rings nobody: caught by "
}

@test "model, mutant: the deadline counts from the reply" {
    found "mutant: the deadline counts from the reply: caught by "
}

@test "model, mutant: a release does not compare" {
    found "mutant: a release does not compare: caught by "
}

@test "model, mutant: the first has nothing tracked" {
    found "mutant: the first has nothing tracked: caught by "
}

@test "model, mutant: a confirmation does not look at the lock" {
    found "mutant: a confirmation does not look at the lock: caught by "
}

@test "model, mutant: an unanswered question is followed by a confirmation" {
    found "mutant: an unanswered question is followed by a confirmation: caught by "
}

@test "model, mutant: a broken connection wakes nobody" {
    found "mutant: a broken connection wakes nobody: caught by "
}
