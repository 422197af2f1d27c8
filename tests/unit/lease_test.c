#include "lease.h"

#include <inttypes.h>

#include "check.h"
#include "clock.h"
#include "store.h"

static struct lease given(int64_t ttl_ms, int64_t asked_ms, int64_t kill_after_ms) {
    struct lease lease = {.kill_after_ms = kill_after_ms};

    lease_given(&lease, ttl_ms, asked_ms, ttl_ms, false);
    return lease;
}

static bool in_order(int64_t ttl_ms, int64_t asked_ms, int64_t kill_after_ms) {
    struct lease lease = given(ttl_ms, asked_ms, kill_after_ms);

    return asked_ms <= lease.renew_at_ms && lease_stop_at(&lease) <= lease_kill_at(&lease) &&
           lease_kill_at(&lease) <= lease.ends_ms && lease.ends_ms < asked_ms + ttl_ms;
}

/* Besides, what is short of a third of the TTL is there for renewals before TERM is due. */
static bool leaves_room(int64_t ttl_ms, int64_t kill_after_ms) {
    struct lease lease = given(ttl_ms, 1000000, kill_after_ms);

    return lease_stop_at(&lease) - lease.renew_at_ms >= ttl_ms / 2 - ttl_ms / 3;
}

static void test_order(void) {
    static const int64_t asked[] = {0, 1, 86400000, INT64_C(1) << 45};
    bool ordered = true, room = true;

    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        for (int64_t ttl = 1; ttl < 20000; ttl++)
            ordered = in_order(ttl, asked[i], 0) && in_order(ttl, asked[i], 1) &&
                      in_order(ttl, asked[i], lease_longest_kill_after_ms(ttl)) && ordered;
        for (int64_t ttl = 20000; ttl <= TTL_MAX_MS && ttl > 0; ttl = ttl * 2 + 1)
            ordered = in_order(ttl, asked[i], 0) && in_order(ttl, asked[i], TTL_MAX_MS) &&
                      in_order(ttl, asked[i], lease_longest_kill_after_ms(ttl)) && ordered;
        ordered = in_order(TTL_MAX_MS, asked[i], 0) && ordered;
    }
    check(ordered, "from 1 ms to the longest: asked, TERM, KILL and the end are in order");
    for (int64_t ttl = 10; ttl <= TTL_MAX_MS; ttl += 1 + ttl / 100) {
        int64_t longest_ms = lease_longest_kill_after_ms(ttl);
        room = leaves_room(ttl, 0) && (longest_ms < 1 || leaves_room(ttl, longest_ms)) &&
               !leaves_room(ttl, longest_ms + ttl / 100 + 1) && room;
    }
    check(room, "the longest time from TERM to KILL leaves room for renewals, and none is longer");
}

static void test_kill_after(void) {
    struct lease lease = given(60000, 1000, 0), told = given(60000, 1000, 20000);

    check(lease_kill_after_ms(&lease) == 5000, "from TERM to KILL are 5 s at most");
    check(lease_kill_at(&lease) - lease_stop_at(&lease) == 5000, "so it is on the line");
    check(lease_kill_after_ms(&told) == 20000, "unless the lease was given another time");
    check(lease_kill_at(&told) == lease_kill_at(&lease) &&
              lease_kill_at(&told) - lease_stop_at(&told) == 20000,
          "then TERM is due sooner, and KILL as before");
    lease_given(&told, 60000, 21000, 60000, false);
    check(lease_kill_at(&told) - lease_stop_at(&told) == 20000, "a renewal leaves that as it was");
    lease = given(12000, 0, 0);
    check(lease_kill_after_ms(&lease) == 2000, "a short lease has a sixth of itself for it");
    lease.kill_after_ms = -5;
    check(lease_kill_after_ms(&lease) == 2000, "no negative time");
    check(lease_overdue_at(&lease) > lease_kill_at(&lease) &&
              lease_overdue_at(&lease) < lease.ends_ms,
          "it is too late for that before the lease ends");
    lease = given(1, 0, 0);
    check(lease_overdue_at(&lease) >= lease_kill_at(&lease) &&
              lease_overdue_at(&lease) <= lease.ends_ms,
          "also where there is hardly any time between");
    check(lease_kill_after_ms(&lease) == 0 && lease_longest_kill_after_ms(1) < 1,
          "the shortest lease has none");
}

static void test_endless(void) {
    struct lease lease = {.kill_after_ms = 7};

    lease_given(&lease, TTL_NONE, 5, TTL_NONE, false);
    check(lease.renew_at_ms == CLOCK_NEVER && lease.ends_ms == CLOCK_NEVER &&
              lease_stop_at(&lease) == CLOCK_NEVER && lease_kill_at(&lease) == CLOCK_NEVER &&
              lease_overdue_at(&lease) == CLOCK_NEVER,
          "without a time to live there is nothing to renew or to fear");
    check(lease_kill_after_ms(&lease) == 7 &&
              lease_kill_after_ms(&(struct lease){.ttl_ms = TTL_NONE}) == 5000,
          "but a command that is stopped still has its time");
    check(lease_longest_kill_after_ms(TTL_NONE) == TTL_MAX_MS, "as long as you like");
    lease_given(&lease, 60000, 5, 60000, true);
    check(lease.renew_at_ms == 20005 && lease_stop_at(&lease) == CLOCK_NEVER,
          "a lease that our life keeps is renewed, and never due");
}

static void test_extended(void) {
    struct lease lease = {0};

    lease_given(&lease, 60000, 0, 3600000, false);
    check(lease.renew_at_ms == 20000 && lease.ends_ms == 3600000 - 36000 - 2,
          "what was extended ends later, and is renewed all the same");
    lease_retry(&lease, 20000);
    check(lease.renew_at_ms > 20000 && lease.renew_at_ms <= 21000, "a retry comes within a second");
    lease.ttl_ms = TTL_MAX_MS;
    lease_retry(&lease, 20000);
    check(lease.renew_at_ms == 21000, "however long the lease");
}

int main(void) {
    test_order();
    test_kill_after();
    test_endless();
    test_extended();
    return check_done();
}
