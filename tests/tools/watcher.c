/* watcher URL KEY TOKEN TTL_MS [gate] [still]: holds a lock and watches it, as `vlock run` does,
 * and prints a line for all that happens:
 *
 *   held       it has the lock
 *   suspect    lock_watch() says that it is worth asking
 *   time       it is time for a renewal
 *   ours, lost, freed, unsure    what the renewal says; it ends after lost and freed
 *   stopped    by SIGTERM or SIGINT: it gives the lock back and ends
 *   over       the lease has ended
 *
 * gate: it begins to watch when it was sent SIGUSR1. still: it renews only when it is suspect.
 * What happens on the wire goes to stderr. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "clock.h"
#include "lock.h"

struct watcher {
    struct address address;
    struct access access;
    struct loop loop;
    struct store *store;
    struct lock lock;
    bool gate, still;
};

static void tell(const char *line) {
    puts(line);
    fflush(stdout);
}

static void log_wire(void *arg, const char *line) {
    (void)arg;
    fprintf(stderr, "%s\n", line);
}

static bool on_signal(void *arg, const struct signalfd_siginfo *info) {
    struct watcher *w = arg;
    bool opens = w->gate && info->ssi_signo == SIGUSR1;

    w->gate = w->gate && !opens;
    return opens || info->ssi_signo == SIGTERM || info->ssi_signo == SIGINT;
}

static int fail(const struct trouble *why) {
    fprintf(stderr, "%s\n", why->text);
    return (int)why->status;
}

/* True if there is nothing more to watch. */
static bool renew(struct watcher *w, struct trouble *why) {
    bool on_purpose = false;
    int64_t deadline_ms =
        w->still ? clock_after(clock_now_ms(), 10000) : lease_stop_at(&w->lock.lease);

    switch (lock_renew(&w->lock, deadline_ms, &on_purpose, why)) {
    case DONE:
        tell("ours");
        return false;
    case LOST:
        tell(on_purpose ? "freed" : "lost");
        return true;
    case HELD:
    case UNSURE:
    case STOPPED:
    case FAILED:
        break;
    }
    tell("unsure");
    lease_retry(&w->lock.lease, clock_now_ms());
    return false;
}

static int watch(struct watcher *w) {
    struct trouble why = {0};
    struct lease *lease = &w->lock.lease;
    bool suspect = false, on_purpose;

    for (;;) {
        int64_t until_ms = clock_earlier(lease->renew_at_ms, lease->ends_ms);

        if (w->still)
            until_ms = CLOCK_NEVER;
        if (lock_watch(&w->lock, until_ms, &suspect, &why) == STOPPED) {
            tell("stopped");
            return lock_release(&w->lock, lease->ends_ms, &on_purpose, &why) == DONE ? 0 : 1;
        }
        if (!suspect && clock_now_ms() >= lease->ends_ms) {
            tell("over");
            return 79;
        }
        tell(suspect ? "suspect" : "time");
        if (renew(w, &why))
            return 79;
    }
}

int main(int argc, char **argv) {
    struct watcher w = {.access = {.connect_timeout_ms = 5000, .reply_timeout_ms = 5000}};
    struct trouble why = {0};
    int status = 0;

    if (argc < 5)
        return 64;
    for (int i = 5; i < argc; i++) {
        w.gate = w.gate || strcmp(argv[i], "gate") == 0;
        w.still = w.still || strcmp(argv[i], "still") == 0;
    }
    w.access.wire_log = log_wire;
    loop_init(&w.loop);
    if (address_parse(argv[1], &w.address, &why) != DONE)
        return fail(&why);
    w.access.user = *w.address.user ? w.address.user : NULL;
    w.access.password = *w.address.password ? w.address.password : NULL;
    if (loop_take_signals(&w.loop, on_signal, &w, &why) != DONE ||
        store_open(&w.address, &w.access, &w.loop, &w.store, &why) != DONE)
        return fail(&why);
    w.lock = (struct lock){.store = w.store,
                           .loop = &w.loop,
                           .name = argv[2],
                           .key = argv[2],
                           .token = argv[3],
                           .ttl_ms = strcmp(argv[4], "none") == 0 ? TTL_NONE : atoll(argv[4])};
    if (lock_acquire(&w.lock, 0, &why) == DONE) {
        tell("held");
        while (w.gate)
            loop_sleep(&w.loop, CLOCK_NEVER);
        status = watch(&w);
    } else {
        status = fail(&why);
    }
    store_close(w.store);
    loop_close(&w.loop);
    return status;
}
