/* lease.h - when to renew a lease, and until when it can be trusted. Arithmetic, no I/O.
 *
 * A lease counts from the moment BEFORE the request that was answered was sent: the store
 * cannot have begun earlier. It is trusted until its time to live has passed, less a margin for
 * clocks that drift apart (1 % and 2 ms; the Redlock paper's margin). All instants are
 * CLOCK_BOOTTIME milliseconds (clock.h).
 *
 *   asked        renew_at                     stop_at      kill_at  ends
 *     |----- TTL/3 --|---- retries until then ---|- KILL_AFTER -|-slack-|
 *                                          TERM to CMD     KILL to CMD
 *
 * Who is to do that may be stopped, or stuck. overdue_at, in the middle of the slack, is when
 * somebody else must. */
#ifndef VLOCK_LEASE_H
#define VLOCK_LEASE_H

#include <stdbool.h>
#include <stdint.h>

struct lease {
    int64_t ttl_ms;        /* what each renewal asks for; TTL_NONE: there is nothing to renew */
    int64_t renew_at_ms;   /* the next renewal */
    int64_t ends_ms;       /* after this the lock may be somebody else's; CLOCK_NEVER */
    int64_t kill_after_ms; /* set by the caller before lease_given(): from TERM to KILL;
                              0: lease_kill_after_ms() has the default */
};

/* A lease of `ttl_ms` of which the store, asked at `asked_ms`, said that `left_ms` are left
 * (more than ttl_ms after an extend). `endless`: it does not end by time while we live. */
void lease_given(struct lease *lease, int64_t ttl_ms, int64_t asked_ms, int64_t left_ms,
                 bool endless);

/* A renewal failed at `now_ms`: sets the next attempt, soon. */
void lease_retry(struct lease *lease, int64_t now_ms);

/* How long a command has between TERM and KILL: what the lease was given, else a sixth of the
 * TTL, at most 5 s. */
int64_t lease_kill_after_ms(const struct lease *lease);

/* The longest kill_after_ms that a lease of `ttl_ms` has room for: TERM is then due at half of the
 * TTL, when renewal, due at a third, has been tried again and again for a sixth. Under 1: none. */
int64_t lease_longest_kill_after_ms(int64_t ttl_ms);

/* When a command must be killed so that it is gone when the lease ends, and when it must have
 * been told to end before that; when it is too late for the first. CLOCK_NEVER for a lease that
 * does not end. */
int64_t lease_kill_at(const struct lease *lease);
int64_t lease_stop_at(const struct lease *lease);
int64_t lease_overdue_at(const struct lease *lease);

#endif
