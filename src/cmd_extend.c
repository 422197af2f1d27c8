/* vlock extend: more time, added to what is left or instead of it. */
#include "clock.h"
#include "command.h"
#include "context.h"
#include "duration.h"
#include "held.h"
#include "holder.h"
#include "token.h"

static enum outcome extend(struct context *ctx, int64_t ms, bool replace, struct trouble *why) {
    char id[REQUEST_ID_BYTES + 1], holder[HOLDER_BYTES];
    /* Under `vlock run` the lease is not shortened: run trusts what the store told it. */
    enum request_kind set = held_has(ctx->name, ctx->token) ? ASK_RENEW : ASK_RESET;
    enum request_kind kind = replace ? set : ASK_EXTEND;
    struct request request = {.kind = kind,
                              .key = ctx->key,
                              .token = ctx->token,
                              .id = kind == ASK_RENEW ? NULL : id, /* run's own is not ours */
                              .ttl_ms = ms};
    struct answer answer;
    enum outcome outcome = token_make_id(id, why);

    if (outcome == DONE)
        outcome = store_ask(ctx->store, &request, context_deadline(ctx), &answer, why);
    if (outcome != LOST)
        return outcome;
    holder_describe(holder, sizeof holder, &answer);
    return trouble_say(why, LOST, EXIT_NOT_OWNED, "not owned, nothing extended: %s", holder);
}

int cmd_extend(const struct options *options, const struct child_found *found) {
    struct trouble why = {0};
    struct context ctx = {0};
    enum outcome outcome;
    int64_t ms = 0;

    outcome = context_open(&ctx, options, found, false, &why);
    if (outcome == DONE && (!duration_parse(options->operands[1], &ms) || ms == 0))
        outcome = trouble_say(&why, FAILED, EXIT_USAGE,
                              "bad DUR '%s': use a number with ms, s, m, h or d, as in 30s",
                              options->operands[1]);
    if (outcome == DONE)
        outcome = context_token(&ctx, &why);
    if (outcome == DONE)
        context_keep_file(&ctx);
    if (outcome == DONE)
        outcome = context_store(&ctx, &why);
    if (outcome == DONE)
        outcome = extend(&ctx, ms, options->value[OPT_REPLACE] != NULL, &why);
    return context_end(&ctx, outcome, &why);
}
