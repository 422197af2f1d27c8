/* take.h - what acquire and run have in common: taking a lock, with all that can come between.
 *
 * From take_signals() on, signals are taken by the loop: nothing but SIGKILL ends vlock between
 * the moment the store gives the lock and the moment somebody else answers for it. */
#ifndef VLOCK_TAKE_H
#define VLOCK_TAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "child.h"
#include "context.h"
#include "ending.h"
#include "lock.h"
#include "trouble.h"

struct take {
    struct lock lock;
    struct ending ending;
    int64_t until_ms; /* the end of that wait; 0, CLOCK_NEVER */
    int64_t wait_ms;  /* 0: not at all, CLOCK_NEVER: for ever */
    int conflict;     /* the exit status when the lock is held */
    bool ttl_given;
    bool kept; /* take_back() could not give it back */
};

/* Reads --ttl, --wait, --nonblock, -E, --token, --note; makes the token. FAILED/64, FAILED/78. */
enum outcome take_settle(struct take *take, struct context *ctx, struct trouble *why);

/* From now on signals end no more than a wait. Before anything is prepared that would stay behind:
 * a draft of a token file, say. */
enum outcome take_signals(struct take *take, struct context *ctx, struct trouble *why);

/* Takes the lock in ctx->store. DONE: it is ours. As lock_acquire(). */
enum outcome take_lock(struct take *take, struct context *ctx, struct trouble *why);

/* take_lock() was DONE, but the lease is over before anything could begin: lock_acquire_again(). */
enum outcome take_again(struct take *take, struct context *ctx, struct trouble *why);

/* Gives the lock back because what was to follow did not come about: `outcome` is what that was
 * and is returned; `why` says it, and what else went wrong. */
enum outcome take_back(struct take *take, struct context *ctx, enum outcome outcome,
                       struct trouble *why);

/* Says what came of it, unless that is DONE, and returns the exit status. */
int take_status(const struct take *take, const struct context *ctx, enum outcome outcome,
                const struct trouble *why);

#endif
