#include "lease.h"

#include "clock.h"
#include "store.h"

enum {
    DRIFT_MS = 2,
    MOST_KILL_AFTER_MS = 5000,
    LEAST_SLACK_MS = 2,
    MOST_SLACK_MS = 250, /* for the kernel to end a process that was killed */
    LEAST_RETRY_MS = 10,
    MOST_RETRY_MS = 1000
};

static int64_t within(int64_t value, int64_t least, int64_t most) {
    return value < least ? least : value > most ? most : value;
}

void lease_given(struct lease *lease, int64_t ttl_ms, int64_t asked_ms, int64_t left_ms,
                 bool endless) {
    lease->ttl_ms = ttl_ms;
    lease->renew_at_ms =
        ttl_ms == TTL_NONE ? CLOCK_NEVER : clock_after(asked_ms, ttl_ms < 3 ? 1 : ttl_ms / 3);
    lease->ends_ms = endless || left_ms == TTL_NONE
                         ? CLOCK_NEVER
                         : clock_after(asked_ms, left_ms - left_ms / 100 - DRIFT_MS);
}

void lease_retry(struct lease *lease, int64_t now_ms) {
    lease->renew_at_ms =
        clock_after(now_ms, within(lease->ttl_ms / 20, LEAST_RETRY_MS, MOST_RETRY_MS));
}

int64_t lease_kill_after_ms(const struct lease *lease) {
    if (lease->kill_after_ms > 0)
        return lease->kill_after_ms;
    return within(lease->ttl_ms / 6, 0, MOST_KILL_AFTER_MS);
}

int64_t lease_longest_kill_after_ms(int64_t ttl_ms) {
    struct lease lease = {0};

    if (ttl_ms == TTL_NONE)
        return TTL_MAX_MS;
    lease_given(&lease, ttl_ms, 0, ttl_ms, false);
    return lease_kill_at(&lease) - ttl_ms / 2;
}

int64_t lease_kill_at(const struct lease *lease) {
    if (lease->ends_ms == CLOCK_NEVER)
        return CLOCK_NEVER;
    return lease->ends_ms - within(lease->ttl_ms / 20, LEAST_SLACK_MS, MOST_SLACK_MS);
}

int64_t lease_stop_at(const struct lease *lease) {
    int64_t kill_at_ms = lease_kill_at(lease);

    return kill_at_ms == CLOCK_NEVER ? CLOCK_NEVER : kill_at_ms - lease_kill_after_ms(lease);
}

int64_t lease_overdue_at(const struct lease *lease) {
    int64_t kill_at_ms = lease_kill_at(lease);

    return kill_at_ms == CLOCK_NEVER ? CLOCK_NEVER : kill_at_ms + (lease->ends_ms - kill_at_ms) / 2;
}
