/* vlock acquire: take a lock and hand its token over.
 *
 * What can be lost at each instant: before the store was asked nothing is held. From then on
 * until the token was handed over, every way out gives the lock back. Killed in between, the
 * token is on disk already with --token-file; else the lock lapses with its time to live. With
 * --keep-alive see keeper.h. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "context.h"
#include "duration.h"
#include "handover.h"
#include "keeper.h"
#include "take.h"

struct acquire {
    struct context ctx;
    struct take take;
    struct handover handover;
    struct keeper keeper;
};

/* The lock was taken: sees to it that somebody has it. */
static enum outcome pass_on(struct acquire *a, struct trouble *why) {
    enum outcome outcome = keeper_start(&a->keeper, &a->ctx, &a->take.lock, why);

    if (outcome == DONE)
        outcome = handover_give(&a->handover, &a->ctx, &a->take.lock, why);
    if (outcome == DONE)
        outcome = keeper_trust(&a->keeper, &a->take.lock, why);
    if (outcome == DONE)
        return DONE;
    keeper_end(&a->keeper);
    return take_back(&a->take, &a->ctx, outcome, why);
}

static enum outcome acquire(struct acquire *a, const struct child_found *found,
                            struct trouble *why) {
    enum outcome outcome = take_settle(&a->take, &a->ctx, why);

    if (outcome == DONE)
        outcome = keeper_settle(&a->keeper, &a->ctx, why);
    a->take.lock.alive = a->keeper.asked;
    if (outcome == DONE)
        outcome = handover_choose(&a->handover, &a->ctx, why);
    if (outcome == DONE)
        outcome = context_store(&a->ctx, why);
    if (outcome == DONE)
        outcome = take_signals(&a->take, &a->ctx, why);
    if (outcome == DONE)
        outcome = handover_prepare(&a->handover, &a->ctx, a->take.lock.ttl_ms, found, why);
    if (outcome == DONE)
        outcome = take_lock(&a->take, &a->ctx, why);
    handover_clear(&a->handover, a->take.lock.holder);
    return outcome == DONE ? pass_on(a, why) : outcome;
}

/* The answer of a `--format shell` that failed: it makes the eval around it fail too. */
static void answer_failure(int status) {
    char line[24];

    snprintf(line, sizeof line, "(exit %d)\n", status);
    say_answer(line, strlen(line));
}

static void note_expiry(const struct acquire *a) {
    char ttl[DURATION_TEXT_BYTES];

    duration_format(ttl, a->take.lock.ttl_ms);
    say_note(&a->ctx.say, "the lock ends in %s unless it is extended (-t says how long)", ttl);
}

int cmd_acquire(const struct options *options, const struct child_found *found) {
    const char *format = options->value[OPT_FORMAT];
    struct acquire a = {.take.conflict = EXIT_BUSY};
    struct trouble why = {0};
    enum outcome outcome;
    int status;

    handover_init(&a.handover);
    keeper_init(&a.keeper);
    outcome = context_open(&a.ctx, options, found, false, &why);
    if (outcome == DONE)
        outcome = acquire(&a, found, &why);
    if (!a.take.ending.signo)
        outcome = keeper_explain(&a.keeper, &a.ctx, outcome, &why);
    status = take_status(&a.take, &a.ctx, outcome, &why);
    if (outcome == DONE && !a.take.ttl_given && !a.keeper.asked)
        note_expiry(&a);
    if (outcome != DONE && format && strncmp(format, "shell", strlen("shell")) == 0)
        answer_failure(status);
    handover_end(&a.handover);
    keeper_end(&a.keeper);
    if (outcome == STOPPED)
        ending_die(status, found, &a.ctx.loop);
    context_close(&a.ctx);
    return status;
}
