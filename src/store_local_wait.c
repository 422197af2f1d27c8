/* store_local_wait.c - sleeping until it is worth asking again.
 *
 * Who waits in the queue asks again when
 *
 *   his bell says 'granted'        at once: the lock is his once he has confirmed it
 *   his bell says 'first'          LAZY_MS later, unless it was 'granted' before that. In a fast
 *                                  queue everybody is first for less than that, and need not look
 *   his bell says 'near'           at once, to learn when the holder's lease ends
 *   the lease must have ended      the first three, one after the other, RANK_MS apart: who is
 *                                  first may be stopped
 *   the lease has ended, but the   the first watches the file: a holder that shows its life to the
 *   holder lives                   kernel keeps the lock until its descriptor is closed
 *   none of these                  after SLOW_MS, the first after SLOW_FIRST_MS, those who would be
 *                                  next sooner, SLOW_STEP_MS for each place: the file may have been
 *                                  removed or replaced, the first be stopped, and whatever else
 *                                  was lost
 *
 * Who only looks on (ASK_PEEK) watches the file, and the lease.
 *
 * The watch is not for everybody who is first: closing it may take an older kernel 20 ms, and the
 * lock would pass on as much later. Who can have no bell, or no watch, looks again and again. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "doorbell.h"
#include "filewatch.h"
#include "store_local_part.h"
#include "text.h"

enum {
    SLOW_MS = 30000,
    SLOW_FIRST_MS = 2000,
    SLOW_STEP_MS = 1500,
    LAZY_MS = 5, /* also between two looks at a file that is written to */
    RANK_MS = 20,
    RANKS = 3,
    POLL_FIRST_MS = 20,
    POLL_MOST_MS = 200
};

static void close_watch(struct local_wait *wait) {
    filewatch_close(wait->watch);
    wait->watch = -1;
}

void local_wait_end(struct local_store *store) {
    struct local_wait *wait = &store->wait;

    if (wait->bell >= 0) {
        doorbell_take_down(&store->dir, wait->id);
        close(wait->bell);
    }
    close_watch(wait);
    *wait = (struct local_wait){.bell = -1, .watch = -1};
}

void local_wait_begin(struct local_store *store, const struct request *request) {
    struct local_wait *wait = &store->wait;
    bool looks_on = request->kind == ASK_PEEK;

    if (looks_on ? wait->looks_on : strcmp(wait->id, request->id) == 0)
        return;
    local_wait_end(store);
    wait->looks_on = looks_on;
    wait->pause_ms = POLL_FIRST_MS;
    if (!looks_on)
        text_copy(wait->id, sizeof wait->id, request->id, strlen(request->id));
}

static bool is_of_wait(const struct local_step *step) {
    const struct local_wait *wait = &step->store->wait;
    const struct request *request = step->request;

    if (request->kind == ASK_PEEK)
        return request->waits;
    return (request->kind == ASK_ACQUIRE || request->kind == ASK_WITHDRAW) && *wait->id &&
           strcmp(wait->id, request->id) == 0;
}

/* What the file said when it was watched is known for sure; another file is not watched. */
static void check_watch(struct local_wait *wait, const struct lockfile *file) {
    if (wait->watch >= 0 && (wait->device != file->device || wait->inode != file->inode))
        close_watch(wait);
}

static void watch(const struct local_step *step) {
    struct local_wait *wait = &step->store->wait;

    if (wait->watch >= 0 || wait->watch_refused || step->file->fd < 0)
        return;
    wait->watch = filewatch_open(step->file->fd, step->store->dir.fd);
    wait->device = step->file->device;
    wait->inode = step->file->inode;
    wait->look_ms = step->now_ms; /* once more, for what happened before */
    if (wait->watch >= 0)
        return;
    access_note(step->store->access,
                "the lock's file cannot be watched (%s): looking at it again "
                "and again instead",
                strerror(errno));
    wait->watch_refused = true;
}

void local_wait_answered(const struct local_step *step, enum outcome outcome) {
    const struct record *record = &step->record;
    struct local_wait *wait = &step->store->wait;

    if (!is_of_wait(step) || outcome == FAILED || outcome == STOPPED)
        return;
    if (step->request->kind != ASK_PEEK && outcome != HELD) {
        local_wait_end(step->store);
        return;
    }
    wait->place = wait->looks_on ? 0 : step->place;
    wait->known_ms = step->now_ms;
    wait->ends_ms = !step->held || record->expires_ms == 0
                        ? CLOCK_NEVER
                        : clock_after(step->now_ms, record->expires_ms - step->host_ms);
    wait->overdue = step->held && step->lives && wait->ends_ms <= step->now_ms;
    wait->told_first = false;
    wait->look_ms = CLOCK_NEVER;
    wait->echo_ms = wait->overdue && wait->echo_ms <= SLOW_FIRST_MS ? wait->echo_ms * 2 : 0;
    check_watch(wait, step->file);
    if (wait->looks_on || (wait->overdue && wait->place == 0))
        watch(step);
    else
        close_watch(wait);
    if (step->kept)
        wait->look_ms = step->now_ms + LAZY_MS;
}

/* True if nothing but the clock would wake us. */
static bool polls(const struct local_wait *wait) {
    if (wait->looks_on || (wait->overdue && wait->place == 0))
        return wait->watch < 0;
    return wait->place < 0;
}

static int64_t slow_ms(const struct local_wait *wait) {
    int64_t most_ms = ((int64_t)wait->place + 1) * SLOW_STEP_MS;

    if (wait->place == 0)
        return SLOW_FIRST_MS;
    return wait->place > 0 ? clock_earlier(most_ms, SLOW_MS) : SLOW_MS;
}

/* When to look if nothing is heard. */
static int64_t look_at(const struct local_wait *wait) {
    int64_t pause_ms = slow_ms(wait);
    int64_t at_ms = wait->look_ms;

    if (polls(wait))
        pause_ms = wait->pause_ms;
    at_ms = clock_earlier(at_ms, clock_after(wait->known_ms, clock_spread_ms(pause_ms)));
    if (wait->place >= 0 && wait->place < RANKS && !wait->overdue)
        at_ms = clock_earlier(at_ms, clock_after(wait->ends_ms, wait->place * RANK_MS));
    if (wait->echo_ms)
        at_ms = clock_earlier(at_ms, clock_after(wait->known_ms, wait->echo_ms));
    return at_ms;
}

static void hear(struct local_wait *wait) {
    struct doorbell_heard heard = doorbell_listen(wait->bell);
    int64_t now_ms = clock_now_ms();

    if (heard.granted || heard.near)
        wait->look_ms = now_ms;
    if (heard.first) {
        wait->told_first = true;
        wait->look_ms = clock_earlier(wait->look_ms, now_ms + LAZY_MS);
    }
}

static void see(struct local_wait *wait) {
    struct filewatch_seen seen = filewatch_look(wait->watch);
    int64_t now_ms = clock_now_ms();

    if (seen.closed)
        wait->echo_ms = 1;
    if (seen.closed || seen.moved)
        wait->look_ms = now_ms;
    if (seen.written)
        wait->look_ms =
            clock_earlier(wait->look_ms,
                          wait->known_ms <= now_ms - LAZY_MS ? now_ms : now_ms + LAZY_MS);
    if (seen.moved) /* perhaps for good, and then another file may have its number */
        close_watch(wait);
}

enum outcome local_await(struct store *base, const struct request *request, int64_t until_ms,
                         struct trouble *why) {
    struct local_store *store = (struct local_store *)base;
    struct local_wait *wait = &store->wait;

    (void)request;
    for (;;) {
        struct pollfd fds[] = {{.fd = wait->bell, .events = POLLIN},
                               {.fd = wait->watch, .events = POLLIN}};
        int64_t at_ms = clock_earlier(look_at(wait), until_ms);

        switch (loop_wait(store->loop, fds, 2, at_ms)) {
        case WAKE_STOP:
            return trouble_say(why, STOPPED, EXIT_UNREACHABLE, "stopped while waiting");
        case WAKE_DEADLINE:
            wait->pause_ms = clock_earlier(wait->pause_ms * 2, POLL_MOST_MS);
            return DONE;
        case WAKE_READY:
            break;
        }
        if (fds[0].revents)
            hear(wait);
        if (fds[1].revents)
            see(wait);
        if (wait->look_ms <= clock_now_ms())
            return DONE;
    }
}
