/* vlock wait: until a lock is free, without taking it.
 *
 * It stands in no queue: the lock goes to those who want it first, and what this command has seen
 * free may be held again by the time its caller hears of it. */
#include "clock.h"
#include "command.h"
#include "context.h"
#include "ending.h"
#include "held.h"
#include "holder.h"

enum { GRACE_MS = 20 }; /* -w ends on time, give or take 50 ms: the last question may be answered */

struct wait {
    struct context ctx;
    struct ending ending;
    bool held_around; /* HELD: by a command that this one runs under */
};

/* Asks once whether it is free. `heard`: the store has answered before, so it is worth coming back
 * to if it is lost. */
static enum outcome look(struct wait *w, int64_t until_ms, bool heard, struct trouble *why) {
    struct request request = {.kind = ASK_PEEK, .key = w->ctx.key, .waits = until_ms != 0};
    int64_t deadline_ms = until_ms ? clock_after(until_ms, GRACE_MS) : CLOCK_NEVER;
    struct answer answer;
    enum outcome outcome;
    char holder[HOLDER_BYTES];

    request.patient = until_ms != 0 && (until_ms != CLOCK_NEVER || heard);
    outcome = store_ask(w->ctx.store, &request, deadline_ms, &answer, why);
    if (outcome != DONE || answer.ttl_ms == 0)
        return outcome;
    holder_describe(holder, sizeof holder, &answer);
    w->held_around = held_has(w->ctx.name, answer.holder);
    if (w->held_around)
        return trouble_say(why, HELD, EXIT_BUSY,
                           "%s: this command runs under that very lock: waiting would never end",
                           holder);
    return trouble_say(why, HELD, EXIT_BUSY, "%s: try again later, or wait longer with -w", holder);
}

/* DONE: it is free. */
static enum outcome wait_for_it(struct wait *w, int64_t until_ms, struct trouble *why) {
    struct request request = {.kind = ASK_PEEK, .key = w->ctx.key, .waits = true};

    for (bool heard = false;; heard = true) {
        enum outcome outcome = look(w, until_ms, heard, why);

        if (outcome != HELD || w->held_around || clock_now_ms() >= until_ms)
            return outcome;
        if (store_await(w->ctx.store, &request, until_ms, why) == STOPPED)
            return STOPPED;
        if (clock_now_ms() >= until_ms)
            return HELD;
    }
}

static enum outcome wait_until_free(struct wait *w, struct trouble *why) {
    int64_t wait_ms = 0, until_ms;
    enum outcome outcome = context_wait(&w->ctx, &wait_ms, why);

    if (outcome == DONE)
        outcome = held_check(why);
    if (outcome == DONE)
        outcome = context_store(&w->ctx, why);
    if (outcome == DONE)
        outcome = loop_take_signals(&w->ctx.loop, ending_on_signal, &w->ending, why);
    if (outcome != DONE)
        return outcome;
    until_ms = wait_ms ? clock_after(clock_now_ms(), wait_ms) : 0;
    loop_watch_outputs(&w->ctx.loop, true);
    outcome = wait_for_it(w, until_ms, why);
    loop_watch_outputs(&w->ctx.loop, false);
    return outcome;
}

int cmd_wait(const struct options *options, const struct child_found *found) {
    struct wait w = {.ending.signo = 0};
    struct trouble why = {0};
    enum outcome outcome = context_open(&w.ctx, options, found, false, &why);
    int status;

    if (outcome == DONE)
        outcome = wait_until_free(&w, &why);
    if (outcome == STOPPED) {
        status = ending_status(&w.ending, &w.ctx.loop);
        ending_die(status, found, &w.ctx.loop);
    } else if (outcome == HELD && !w.held_around && w.ctx.say.quiet) {
        status = EXIT_BUSY;
    } else {
        return context_end(&w.ctx, outcome, &why);
    }
    context_close(&w.ctx);
    return status;
}
