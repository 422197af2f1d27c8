/* lock.h - what acquiring, keeping and giving back a lock MEAN, wherever it is kept.
 *
 * States of a lock in a process:
 *
 *   NOT OURS --acquire--> HELD BY US --renew--> HELD BY US --release--> NOT OURS
 *        \                   |    \
 *         \ gave up           \    --- lease over, broken, taken over --> LOST
 *          v                   \-- release unanswered --> lapses with its TTL
 *      WITHDRAWN: no acquire of ours can succeed any more, not even one that is on its way
 *
 * lock_acquire() ends in HELD BY US (DONE) or in WITHDRAWN, never in between: whatever was
 * asked and not answered is taken back before it returns, as far as the store can be told. */
#ifndef VLOCK_LOCK_H
#define VLOCK_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "lease.h"
#include "loop.h"
#include "store.h"
#include "trouble.h"

struct lock {
    struct store *store;
    struct loop *loop;
    const char *name;  /* NAME, for VLOCK_HELD */
    const char *key;   /* prefix and NAME */
    const char *token; /* ours */
    int64_t ttl_ms;    /* or TTL_NONE */
    bool alive;        /* held by this process for as long as it lives (struct request) */
    /* from here on filled in by lock_acquire() */
    char id[REQUEST_ID_BYTES + 1]; /* of the last question for it */
    struct lease lease;
    uint64_t fence;
    bool held_around; /* HELD: by a command that this one runs under */
    /* The token that held it when the store said so last, be it ours; empty: it did not say. */
    char holder[TOKEN_MAX_BYTES + 1];
};

/* Takes the lock, waiting for it until `until_ms` (0: not at all; CLOCK_NEVER). An unreachable
 * store is waited for too when the wait has an end, else reported at once (FAILED/69).
 * DONE; HELD/75 with the holder in `why`; FAILED; STOPPED by the loop. */
enum outcome lock_acquire(struct lock *lock, int64_t until_ms, struct trouble *why);

/* As lock_acquire(), which was DONE, but this process was held up until the lease was over: asks
 * again with the same id, and waits again if another client holds the lock now. */
enum outcome lock_acquire_again(struct lock *lock, int64_t until_ms, struct trouble *why);

/* Renews the lease, trying until `deadline_ms`. DONE: lock->lease moved on. LOST: not ours any
 * more; *on_purpose: somebody who had the token released it. UNSURE, FAILED: not renewed. */
enum outcome lock_renew(struct lock *lock, int64_t deadline_ms, bool *on_purpose,
                        struct trouble *why);

/* Sleeps until it is worth calling lock_renew() before its time, as something may have been done to
 * the lock: *suspect. Else until `until_ms` (CLOCK_NEVER: for ever). See store_watch(). DONE,
 * STOPPED. */
enum outcome lock_watch(struct lock *lock, int64_t until_ms, bool *suspect, struct trouble *why);

/* Lets what lock_acquire() took end by itself, after `ttl_ms` from now. As lock_release(). */
enum outcome lock_leave(struct lock *lock, int64_t ttl_ms, int64_t deadline_ms, bool *on_purpose,
                        struct trouble *why);

/* Gives back what lock_acquire() took. As lock_renew(). */
enum outcome lock_release(struct lock *lock, int64_t deadline_ms, bool *on_purpose,
                          struct trouble *why);

#endif
