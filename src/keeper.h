/* keeper.h - acquire --keep-alive=PID: a process that stays behind and keeps the lock for PID.
 *
 *   acquire                                     keeper
 *   keeper_settle()  PID is looked at, and held
 *                    by a pidfd: its number may
 *                    be somebody else's later
 *   the lock is taken, or PID's end stops the wait
 *   keeper_start()   fork ------------------->  lets go of all that is not its own: session,
 *                    "ready" <----------------  directory, descriptors, connection
 *   the token is handed over
 *   keeper_trust()   "it is yours" ---------->  renews, until
 *   ends                                          it is released or lost: ends
 *                                                 PID ends, or it is told to: gives the lock back
 *
 * What can be lost at each instant. Before the fork: what a plain acquire can lose. From then on,
 * until the keeper has heard that the lock is its own, it renews nothing, and if acquire ends
 * without that word, whatever ended it, gives the lock back: a token that nobody got is kept by
 * nobody. If acquire fails and lives, it ends the keeper and gives the lock back itself. A keeper
 * that is killed later leaves the lock to lapse with its time to live, on every store: its token is
 * in use, and who uses it may still extend it. (One that never expires stays.)
 *
 * Under `vlock run` a keeper is what the command left behind: it is told to end, as the rest is,
 * and so gives its lock back.
 *
 * Nobody reads what it would print. So its trouble goes to a file beside the token file, F.log, or
 * to syslog (keeper_log.h). */
#ifndef VLOCK_KEEPER_H
#define VLOCK_KEEPER_H

#include <stdbool.h>
#include <sys/types.h>

#include "context.h"
#include "lock.h"
#include "trouble.h"

struct keeper {
    bool asked;    /* there was a --keep-alive; without it all of this does nothing */
    pid_t process; /* the one the lock is kept for */
    int pidfd;     /* it, or -1 */
    int near, far; /* what the two talk over: acquire's end, the keeper's end; or -1 */
    pid_t pid;     /* the keeper, as long as acquire answers for it; else 0 */
    /* in the keeper */
    const char *name; /* NAME */
    char *log;        /* F.log, or NULL: syslog */
    int told;         /* how many signals have told it to end */
};

/* Nothing yet, which keeper_end() can end. */
void keeper_init(struct keeper *keeper);

/* Reads --keep-alive. From now on the end of PID stops what ctx->loop waits for. FAILED/64: no
 * number, or no process that we can see; FAILED/71: the kernel cannot do it. */
enum outcome keeper_settle(struct keeper *keeper, struct context *ctx, struct trouble *why);

/* If the end of PID is why `outcome` is STOPPED, says so instead: FAILED/64. */
enum outcome keeper_explain(const struct keeper *keeper, const struct context *ctx,
                            enum outcome outcome, struct trouble *why);

/* Starts the process, which knows `lock` and ctx->store as they are now. FAILED/71, STOPPED. */
enum outcome keeper_start(struct keeper *keeper, struct context *ctx, struct lock *lock,
                          struct trouble *why);

/* The token was handed over: the lock is the keeper's. LOST/79 if the lease was over before that,
 * FAILED/71 if the keeper is no more. */
enum outcome keeper_trust(struct keeper *keeper, const struct lock *lock, struct trouble *why);

/* Ends it; a keeper that was not trusted with the lock is gone when this returns. */
void keeper_end(struct keeper *keeper);

#endif
