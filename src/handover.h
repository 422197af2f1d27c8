/* handover.h - giving the token of a fresh lock to whoever asked for it.
 *
 * A lock whose token got lost is a lock that nobody can release, so every place is tried before
 * the store is asked (handover_prepare), and what cannot be handed over all the same
 * (handover_give: FAILED/73) is given back by the caller. */
#ifndef VLOCK_HANDOVER_H
#define VLOCK_HANDOVER_H

#include <stdbool.h>

#include "child.h"
#include "context.h"
#include "lock.h"
#include "tokenfile.h"

enum handover_form {
    FORM_TOKEN, /* the token alone, on stdout */
    FORM_FILE,  /* --token-file */
    FORM_SHELL, /* export ..., for eval */
    FORM_JSON,
    FORM_GITHUB, /* $GITHUB_ENV, the token masked */
    FORM_DOTENV
};

struct handover {
    enum handover_form form;
    struct tokenfile_draft draft; /* FORM_FILE */
    int fd;                       /* FORM_GITHUB: the file to append to; else -1 */
};

/* A handover of nothing yet, which handover_end() can end. */
void handover_init(struct handover *handover);

/* What --token-file and --format ask for. FAILED/64, also for a NAME, prefix or token (which are
 * settled before) that would be read as another one; FAILED/78. */
enum outcome handover_choose(struct handover *out, const struct context *ctx, struct trouble *why);

/* Before the lock (ctx->token, for ttl_ms or TTL_NONE) is asked for. FAILED/73 if the place cannot
 * be written; FAILED/65. */
enum outcome handover_prepare(struct handover *handover, const struct context *ctx, int64_t ttl_ms,
                              const struct child_found *found, struct trouble *why);

/* Removes what killed acquires have left beside the token file, once the store has said that the
 * lock is held with the token `holder`, be it ours. Does nothing for "": the store did not say. */
void handover_clear(struct handover *handover, const char *holder);

/* After it was given. */
enum outcome handover_give(struct handover *handover, struct context *ctx, const struct lock *lock,
                           struct trouble *why);

/* Ends it; what was prepared and not given is removed. */
void handover_end(struct handover *handover);

#endif
