#include "take.h"

#include <string.h>

#include "clock.h"
#include "text.h"
#include "token.h"

enum { LEAST_LOOKED_AT_MS = 1000 };

static enum outcome choose_token(struct context *ctx, struct trouble *why) {
    const char *token = ctx->options->value[OPT_TOKEN], *note = ctx->options->value[OPT_NOTE];

    if (note && (strlen(note) > NOTE_MAX_BYTES || text_has_control(note)))
        return trouble_say(why, FAILED, EXIT_USAGE,
                           "bad --note: %d bytes at most, no control characters", NOTE_MAX_BYTES);
    if (!token)
        return token_make(ctx->token, note, why);
    if (!*token || strlen(token) > TOKEN_MAX_BYTES || text_has_control(token))
        return trouble_say(why, FAILED, EXIT_USAGE,
                           "bad --token: 1 to %d bytes, no control characters", TOKEN_MAX_BYTES);
    text_copy(ctx->token, sizeof ctx->token, token, strlen(token));
    return DONE;
}

enum outcome take_settle(struct take *take, struct context *ctx, struct trouble *why) {
    enum outcome outcome = context_ttl(ctx, &take->lock.ttl_ms, &take->ttl_given, why);

    if (outcome == DONE)
        outcome = context_wait(ctx, &take->wait_ms, why);
    if (outcome == DONE)
        outcome = context_conflict(ctx, &take->conflict, why);
    return outcome == DONE ? choose_token(ctx, why) : outcome;
}

enum outcome take_signals(struct take *take, struct context *ctx, struct trouble *why) {
    return loop_take_signals(&ctx->loop, ending_on_signal, &take->ending, why);
}

/* What has to be seen to once the lock was given. */
static enum outcome look_at_it(struct take *take, struct context *ctx, enum outcome outcome,
                               struct trouble *why) {
    const struct lease *lease = &take->lock.lease;

    if (outcome == DONE && loop_sleep(&ctx->loop, 0) == WAKE_STOP) /* a signal came meanwhile */
        return take_back(take, ctx, trouble_say(why, STOPPED, EXIT_BUSY, "stopped"), why);
    /* We were stopped, or the machine was, just now. (Shorter ones end before anybody can look.) */
    if (outcome == DONE && take->lock.ttl_ms >= LEAST_LOOKED_AT_MS &&
        clock_now_ms() >= lease->ends_ms)
        return take_back(take, ctx,
                         trouble_say(why, LOST, EXIT_NOT_OWNED,
                                     "the lease was over before it could be handed over: "
                                     "use a longer -t"),
                         why);
    return outcome;
}

enum outcome take_again(struct take *take, struct context *ctx, struct trouble *why) {
    enum outcome outcome;

    loop_watch_outputs(&ctx->loop, true);
    outcome = lock_acquire_again(&take->lock, take->until_ms, why);
    loop_watch_outputs(&ctx->loop, false);
    return look_at_it(take, ctx, outcome, why);
}

enum outcome take_lock(struct take *take, struct context *ctx, struct trouble *why) {
    enum outcome outcome;

    take->until_ms = take->wait_ms ? clock_after(clock_now_ms(), take->wait_ms) : 0;
    take->lock.store = ctx->store;
    take->lock.loop = &ctx->loop;
    take->lock.name = ctx->name;
    take->lock.key = ctx->key;
    take->lock.token = ctx->token;
    if (loop_sleep(&ctx->loop, 0) == WAKE_STOP) /* nothing was asked for yet */
        return trouble_say(why, STOPPED, EXIT_BUSY, "stopped");
    loop_watch_outputs(&ctx->loop, true);
    outcome = lock_acquire(&take->lock, take->until_ms, why);
    loop_watch_outputs(&ctx->loop, false);
    return look_at_it(take, ctx, outcome, why);
}

enum outcome take_back(struct take *take, struct context *ctx, enum outcome outcome,
                       struct trouble *why) {
    struct trouble other = {0}, before = *why;
    enum outcome released;
    bool on_purpose;

    loop_take_signals(&ctx->loop, NULL, NULL, why); /* a second signal must not stop this */
    loop_watch_end(&ctx->loop, -1);
    released = lock_release(&take->lock, context_deadline(ctx), &on_purpose, &other);
    take->kept = released != DONE && released != LOST; /* LOST: there is nothing left to give */
    if (take->kept)
        trouble_say(why, outcome, before.status, "%s; nor could the lock be given back: %s",
                    before.text, other.text);
    return outcome;
}

int take_status(const struct take *take, const struct context *ctx, enum outcome outcome,
                const struct trouble *why) {
    if (outcome == DONE)
        return EXIT_DONE;
    if (outcome == STOPPED) {
        if (take->kept)
            say_trouble(&ctx->say, why);
        return ending_status(&take->ending, &ctx->loop);
    }
    if (outcome == HELD && !take->lock.held_around) {
        if (!ctx->say.quiet && take->conflict != 0)
            say_trouble(&ctx->say, why);
        return take->conflict;
    }
    say_trouble(&ctx->say, why);
    return (int)why->status;
}
