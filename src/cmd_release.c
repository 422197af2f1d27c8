/* vlock release: give a lock back. */
#include "command.h"
#include "context.h"
#include "holder.h"

static enum outcome release(struct context *ctx, struct trouble *why) {
    struct request request = {.kind = ASK_RELEASE,
                              .key = ctx->key,
                              .token = ctx->token,
                              .tell = true};
    struct answer answer;
    enum outcome outcome = store_ask(ctx->store, &request, context_deadline(ctx), &answer, why);
    char holder[HOLDER_BYTES];

    if (outcome != LOST)
        return outcome;
    holder_describe(holder, sizeof holder, &answer);
    return trouble_say(why, LOST, EXIT_NOT_OWNED, "not owned, nothing released: %s", holder);
}

int cmd_release(const struct options *options, const struct child_found *found) {
    bool if_held = options->value[OPT_IF_HELD] != NULL;
    struct trouble why = {0}, removal = {0};
    struct context ctx = {0};
    enum outcome outcome;

    outcome = context_open(&ctx, options, found, false, &why);
    if (outcome == DONE)
        outcome = context_token(&ctx, &why);
    if (outcome != DONE && why.status == EXIT_NO_TOKEN && if_held) {
        context_close(&ctx);
        return EXIT_DONE;
    }
    if (outcome == DONE)
        outcome = context_store(&ctx, &why);
    if (outcome == DONE)
        outcome = release(&ctx, &why);
    /* The token is of no use any more; as long as the store could not be asked, it is. */
    if ((outcome == DONE || outcome == LOST) && tokenfile_remove(&ctx.hold, &removal) != DONE) {
        if (outcome == LOST && !if_held)
            say_trouble(&ctx.say, &why);
        return context_end(&ctx, FAILED, &removal);
    }
    if (outcome == LOST && why.status == EXIT_NOT_OWNED && if_held)
        outcome = DONE;
    return context_end(&ctx, outcome, &why);
}
