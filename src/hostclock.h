/* hostclock.h - the boot clock of the machine, which all its time namespaces can tell.
 *
 * In a time namespace (time_namespaces(7), since Linux 5.6) CLOCK_BOOTTIME is the machine's plus an
 * offset that never changes once a process runs there. What one process leaves for others to
 * compare with their clocks is therefore kept in the machine's time. Not the number of the
 * namespace: the kernel gives that to another one when the first has ended.
 *
 * The kernel shows the offset of the namespace that our children will be in. That is ours, too,
 * unless vlock was executed by the one that has called unshare(2), on Linux before 6.1. */
#ifndef VLOCK_HOSTCLOCK_H
#define VLOCK_HOSTCLOCK_H

#include <stdint.h>

#include "trouble.h"

struct hostclock {
    int64_t offset_ns; /* what our CLOCK_BOOTTIME is ahead of the machine's */
};

/* Finds the offset. In the first namespace that is one readlink(2). FAILED/71 if the kernel does
 * not tell (no /proc), or if our children would have another clock than we have. */
enum outcome hostclock_init(struct hostclock *clock, struct trouble *why);

/* One instant in milliseconds, rounded down: our CLOCK_BOOTTIME (clock.h), and the machine's. */
void hostclock_read(const struct hostclock *clock, int64_t *our_ms, int64_t *host_ms);

#endif
