/* vlock owned: is the lock held, with our token? */
#include "command.h"
#include "context.h"

int cmd_owned(const struct options *options, const struct child_found *found) {
    struct trouble why = {0};
    struct context ctx = {0};
    struct answer answer;
    enum outcome outcome;

    outcome = context_open(&ctx, options, found, false, &why);
    if (outcome == DONE)
        outcome = context_token(&ctx, &why); /* LOST: no token owns nothing */
    if (outcome == DONE)
        context_keep_file(&ctx);
    if (outcome == DONE)
        outcome = context_store(&ctx, &why);
    if (outcome == DONE) {
        struct request request = {.kind = ASK_PEEK, .key = ctx.key, .token = ctx.token};
        outcome = store_ask(ctx.store, &request, context_deadline(&ctx), &answer, &why);
    }
    if (outcome == LOST) {
        context_close(&ctx);
        return EXIT_NO;
    }
    return context_end(&ctx, outcome, &why);
}
