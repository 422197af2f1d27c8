/* clock.h - the clocks vlock uses, in milliseconds.
 *
 * Leases and waits are counted on CLOCK_BOOTTIME, which goes on while the machine is
 * suspended; the wall clock is only ever shown to people. A deadline is an instant on
 * CLOCK_BOOTTIME; CLOCK_NEVER is the one that does not come. */
#ifndef VLOCK_CLOCK_H
#define VLOCK_CLOCK_H

#include <stdint.h>

#define CLOCK_NEVER INT64_MAX

/* Now on CLOCK_BOOTTIME, rounded down to a millisecond. */
int64_t clock_now_ms(void);

/* Now on the wall clock, in milliseconds (or microseconds) since 1970. */
int64_t clock_wall_ms(void);
int64_t clock_wall_us(void);

/* `start_ms` plus `span_ms`; CLOCK_NEVER when either is, or when the sum overflows. */
int64_t clock_after(int64_t start_ms, int64_t span_ms);

/* Half of `pause_ms` to all of it, at random: a crowd does not come back in step. At least 1. */
int64_t clock_spread_ms(int64_t pause_ms);

/* The earlier of two instants. */
int64_t clock_earlier(int64_t a_ms, int64_t b_ms);

#endif
