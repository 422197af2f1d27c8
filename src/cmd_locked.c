/* vlock locked: is the lock held, by anybody? */
#include "command.h"
#include "context.h"

int cmd_locked(const struct options *options, const struct child_found *found) {
    struct trouble why = {0};
    struct context ctx = {0};
    struct answer answer;
    enum outcome outcome;

    outcome = context_open(&ctx, options, found, false, &why);
    if (outcome == DONE)
        outcome = context_store(&ctx, &why);
    if (outcome == DONE) {
        struct request request = {.kind = ASK_PEEK, .key = ctx.key};
        outcome = store_ask(ctx.store, &request, context_deadline(&ctx), &answer, &why);
    }
    if (outcome == DONE && answer.ttl_ms == 0) {
        context_close(&ctx);
        return EXIT_NO;
    }
    return context_end(&ctx, outcome, &why);
}
