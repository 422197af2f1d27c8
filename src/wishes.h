/* wishes.h - what `vlock run` was asked for about the command: how it is stopped, when at the
 * latest, and what becomes of the lock and of what the command leaves behind. */
#ifndef VLOCK_WISHES_H
#define VLOCK_WISHES_H

#include <stdbool.h>
#include <stdint.h>

#include "options.h"
#include "trouble.h"

/* --on-lost: a lock that was lost ends with status 79 in all three cases. */
enum on_lost {
    LOST_STOP, /* the command is stopped */
    LOST_WARN, /* it goes on, and the loss is told */
    LOST_EXEC  /* it is stopped, and `hook` is run beside that */
};

struct wishes {
    int signo;              /* --signal: what asks the command to end; SIGKILL: no grace */
    int64_t kill_after_ms;  /* from that to SIGKILL: as given, else the lease's default (lease.h; 0
                               for a TTL under 6 ms) */
    int64_t max_runtime_ms; /* CLOCK_NEVER: no bound */
    int64_t hold_for_ms;    /* the lock stays taken for that long after it was acquired; 0: not */
    bool leave_children;    /* what the command leaves behind lives on */
    bool reenter;           /* a lock held by a command around this one will do */
    enum on_lost on_lost;
    const char *hook; /* LOST_EXEC: for sh -c, never blank; argv's own. Else NULL */
};

/* Reads them from `options`, for a lock with a time to live of `ttl_ms` (TTL_NONE: none), which
 * may stem from the environment. FAILED/64, *wishes untouched, for what is no signal, no DUR, not
 * possible together, or for a kill_after_ms that the lease has no room for. */
enum outcome wishes_settle(struct wishes *wishes, const struct options *options, int64_t ttl_ms,
                           struct trouble *why);

#endif
