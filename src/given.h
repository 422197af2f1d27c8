/* given.h - what a command that runs under a lock finds in its environment: VLOCK_NAME,
 * VLOCK_TOKEN, VLOCK_TTL, VLOCK_FENCE, VLOCK_HELD (held.h), and what was given to us as an option,
 * so that vlock in the command finds the same lock. All of it is set in this process. */
#ifndef VLOCK_GIVEN_H
#define VLOCK_GIVEN_H

#include <stdbool.h>
#include <stdint.h>

#include "context.h"
#include "trouble.h"

/* All but what the grant brings, before the lock is asked for: FRONT, should GUARD be killed, gives
 * the lock back with it (estate.h). `ttl_ms`: of the lease. `borrowed`: the lock is that of a
 * command around us, and so is VLOCK_TTL, where that is known. FAILED/71. */
enum outcome given_settle(const struct context *ctx, int64_t ttl_ms, bool borrowed,
                          struct trouble *why);

/* The rest. FAILED/71. */
enum outcome given_grant(const struct context *ctx, uint64_t fence, bool borrowed,
                         struct trouble *why);

#endif
