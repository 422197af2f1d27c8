/* keeper_life.c - what the keeper does until it ends.
 *
 *   WAITING FOR THE WORD --trusted--> KEEPING --released, lost--> ended
 *        | acquire ended,                 | the process ended, told to end
 *        | the process ended, told to end v
 *        +--------------------------> GIVING BACK --> ended
 *
 * Nothing is renewed before the word: until then acquire answers for the lock. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "keeper_log.h"
#include "keeper_part.h"

enum {
    LEAST_TRY_MS = 1000, /* also when the lease was over when we looked */
    MOST_TRY_MS = 5000,
    PAUSE_MS = 500
};

static void note(const struct keeper *keeper, const struct trouble *why) {
    keeper_log(keeper->log, keeper->name, why->text);
}

static bool is_to_end(const struct keeper *keeper, const struct lock *lock) {
    return keeper->told > 0 || lock->loop->watched_gone;
}

/* True if acquire said so; false if it ended without that, or the process did, or we are told to.
 */
static bool is_trusted(const struct keeper *keeper, const struct lock *lock) {
    struct pollfd said = {.fd = keeper->far, .events = POLLIN};
    char word = 0;

    return !is_to_end(keeper, lock) && loop_wait(lock->loop, &said, 1, CLOCK_NEVER) == WAKE_READY &&
           recv(keeper->far, &word, sizeof word, MSG_DONTWAIT) == sizeof word &&
           word == KEEPER_TRUSTED;
}

/* Until when something is tried: as long as the lease lasts. One that does not end by time, because
 * we live, is tried for as long as if it did. */
static int64_t try_until(const struct lock *lock) {
    int64_t now_ms = clock_now_ms(), ends_ms = lock->lease.ends_ms;

    if (ends_ms == CLOCK_NEVER)
        return clock_after(now_ms, lock->ttl_ms);
    return ends_ms < now_ms + LEAST_TRY_MS ? now_ms + LEAST_TRY_MS : ends_ms;
}

/* Says why the lock could not be given back. */
static void note_kept(const struct keeper *keeper, const struct lock *lock,
                      const struct trouble *why) {
    struct trouble whole;

    trouble_say(&whole, FAILED, EXIT_UNREACHABLE, "the lock could not be given back: %s: %s",
                why->text,
                lock->ttl_ms == TTL_NONE ? "it never expires, release it by hand"
                                         : "it lapses with its time to live");
    note(keeper, &whole);
}

static void give_back(const struct keeper *keeper, struct lock *lock) {
    int64_t until_ms = try_until(lock);
    int told = keeper->told;
    bool again = false; /* an earlier try may have been carried out */

    for (;;) {
        struct trouble why = {0};
        bool on_purpose = false;
        int64_t now_ms = clock_now_ms();
        enum outcome outcome =
            lock_release(lock, clock_earlier(until_ms, clock_after(now_ms, MOST_TRY_MS)),
                         &on_purpose, &why);

        if (outcome == DONE || (outcome == LOST && (on_purpose || again)))
            return;
        if (outcome == LOST) {
            note(keeper, &why);
            return;
        }
        again = again || outcome == UNSURE || outcome == STOPPED;
        if (keeper->told > told || clock_now_ms() + PAUSE_MS >= until_ms) {
            note_kept(keeper, lock, &why);
            return;
        }
        if (outcome != STOPPED) /* by the end of the process, after a signal had told us */
            loop_sleep(lock->loop, clock_after(clock_now_ms(), PAUSE_MS));
    }
}

/* Renews the lease, or finds out what became of it. False: it is over. */
static bool renew(const struct keeper *keeper, struct lock *lock, bool *warned) {
    struct trouble why = {0}, whole;
    bool on_purpose = false;

    switch (lock_renew(lock, try_until(lock), &on_purpose, &why)) {
    case DONE:
        *warned = false;
        return true;
    case STOPPED:
        return true;
    case LOST:
        if (!on_purpose)
            note(keeper, &why);
        return false;
    case HELD:
    case UNSURE:
    case FAILED:
        break;
    }
    if (clock_now_ms() >= lock->lease.ends_ms) {
        trouble_say(&whole, LOST, EXIT_NOT_OWNED,
                    "the lease has ended, it could not be renewed: %s", why.text);
        note(keeper, &whole);
        return false;
    }
    if (!*warned) {
        trouble_say(&whole, UNSURE, EXIT_UNREACHABLE, "the lease could not be renewed yet: %s",
                    why.text);
        note(keeper, &whole);
    }
    *warned = true;
    lease_retry(&lock->lease, clock_now_ms());
    return true;
}

static void keep(const struct keeper *keeper, struct lock *lock) {
    bool warned = false;

    while (!is_to_end(keeper, lock)) {
        int64_t next_ms = clock_earlier(lock->lease.renew_at_ms, lock->lease.ends_ms);
        struct trouble why = {0};
        bool suspect = false;

        if (lock_watch(lock, next_ms, &suspect, &why) == STOPPED)
            continue;
        if ((suspect || clock_now_ms() >= next_ms) && !renew(keeper, lock, &warned))
            return;
    }
    give_back(keeper, lock);
}

/* Says how the beginning was. Acquire may be no more: that is seen when its word is waited for. */
static void say_begun(const struct keeper *keeper, const struct trouble *why) {
    (void)!send(keeper->far, why, sizeof *why, MSG_NOSIGNAL);
}

_Noreturn void keeper_live(struct keeper *keeper, struct context *ctx, struct lock *lock) {
    struct trouble why = {.status = EXIT_DONE};
    enum outcome outcome = keeper_become(keeper, ctx, &why);
    bool trusted;

    say_begun(keeper, &why);
    if (outcome != DONE)
        _exit(EXIT_SYSTEM); /* acquire, told so, gives the lock back */
    trusted = is_trusted(keeper, lock);
    close(keeper->far);
    if (trusted)
        keep(keeper, lock);
    else
        give_back(keeper, lock);
    store_close(ctx->store);
    _exit(EXIT_DONE);
}
