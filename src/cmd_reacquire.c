/* vlock reacquire: the full time to live again. */
#include "command.h"
#include "context.h"
#include "held.h"
#include "holder.h"

/* -t, else what the token file says, else VLOCK_TTL, else the default. */
static enum outcome full_ttl(const struct context *ctx, int64_t *ttl_ms, struct trouble *why) {
    bool given;
    enum outcome outcome = context_ttl(ctx, ttl_ms, &given, why);

    if (outcome == DONE && !ctx->options->value[OPT_TTL] && ctx->file.ttl_ms)
        *ttl_ms = ctx->file.ttl_ms;
    if (outcome == DONE && *ttl_ms == TTL_NONE && ctx->options->value[OPT_TTL])
        return trouble_say(why, FAILED, EXIT_USAGE, "a TTL of none cannot be set back to");
    if (outcome == DONE && *ttl_ms == TTL_NONE)
        return trouble_say(why, FAILED, EXIT_DATA, "the lock has no expiry to extend or reset");
    return outcome;
}

static enum outcome reacquire(struct context *ctx, int64_t ttl_ms, struct trouble *why) {
    bool recover = ctx->options->value[OPT_RECOVER] != NULL && ctx->fence != 0;
    /* Under `vlock run` the lease is not shortened: run trusts what the store told it. */
    enum request_kind set = held_has(ctx->name, ctx->token) ? ASK_RENEW : ASK_RESET;
    struct request request = {.kind = recover ? ASK_RECOVER : set,
                              .key = ctx->key,
                              .token = ctx->token,
                              .ttl_ms = ttl_ms,
                              .fence = ctx->fence};
    struct answer answer;
    enum outcome outcome = store_ask(ctx->store, &request, context_deadline(ctx), &answer, why);
    const char *reason = "";
    char holder[HOLDER_BYTES];

    if (outcome != LOST)
        return outcome;
    if (ctx->options->value[OPT_RECOVER] && answer.ttl_ms == 0)
        reason = recover ? ", and another vlock has held it since"
                         : ", and the token came without "
                           "its fence";
    holder_describe(holder, sizeof holder, &answer);
    return trouble_say(why, LOST, EXIT_NOT_OWNED, "not owned, nothing reset: %s%s", holder, reason);
}

int cmd_reacquire(const struct options *options, const struct child_found *found) {
    struct trouble why = {0};
    struct context ctx = {0};
    enum outcome outcome;
    int64_t ttl_ms = 0;

    outcome = context_open(&ctx, options, found, false, &why);
    if (outcome == DONE)
        outcome = context_token(&ctx, &why);
    if (outcome == DONE)
        outcome = full_ttl(&ctx, &ttl_ms, &why);
    if (outcome == DONE)
        context_keep_file(&ctx);
    if (outcome == DONE)
        outcome = context_store(&ctx, &why);
    if (outcome == DONE)
        outcome = reacquire(&ctx, ttl_ms, &why);
    return context_end(&ctx, outcome, &why);
}
