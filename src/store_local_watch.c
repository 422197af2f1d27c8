/* store_local_watch.c - a holder sees at once that the lock is not what it was.
 *
 * The kernel tells (filewatch.h) when the lock's file is written to or loses its name, and when the
 * directory loses its own. Each time
 * the holder reads the record: does it still say our token, our fence, and no earlier end? That is
 * cheap, and needs no flock: a record that is just being written is not valid yet, and its event
 * comes when it is. What waiters write (the queue), and what we write ourselves, is no reason to
 * ask. The first call after an ask reads the record, too, as soon as the watch stands, so that no
 * change is missed.
 *
 * Where nothing can be watched (inotify is limited for each user) the record is read now and then.
 * A directory above that was renamed is not watched: the next renewal finds that. */
#include <errno.h>
#include <string.h>

#include "clock.h"
#include "filewatch.h"
#include "store_local_part.h"

enum {
    LOOK_MS = 5, /* between two looks, whoever writes how often */
    POLL_MS = 1000
};

void local_watch_end(struct local_store *store) {
    filewatch_close(store->hold.watch);
    store->hold.watch = -1;
}

void local_watch_asked(const struct local_step *step, enum outcome outcome) {
    struct local_hold *hold = &step->store->hold;

    hold->begun = false;
    hold->sure = outcome == DONE;
    hold->fence = step->record.fence;
    hold->ends_ms = step->record.expires_ms ? step->record.expires_ms : CLOCK_NEVER;
}

static const struct lockfile *open_file(const struct local_store *store, const char *key) {
    for (const struct lockfile *file = store->files; file; file = file->next)
        if (strcmp(file->key, key) == 0)
            return file->fd >= 0 ? file : NULL;
    return NULL;
}

static void watch_file(struct local_store *store, const struct lockfile *file) {
    struct local_hold *hold = &store->hold;

    if (hold->watch >= 0 && (hold->device != file->device || hold->inode != file->inode))
        local_watch_end(store);
    if (hold->watch >= 0)
        return;
    hold->watch = filewatch_open(file->fd, store->dir.fd);
    hold->device = file->device;
    hold->inode = file->inode;
    if (hold->watch < 0 && !hold->refused)
        access_note(store->access,
                    "the lock's file cannot be watched (%s): looking at it now and then instead",
                    strerror(errno));
    hold->refused = hold->watch < 0;
}

static void begin(struct local_store *store, const struct request *request) {
    struct local_hold *hold = &store->hold;
    const struct lockfile *file = open_file(store, request->key);

    hold->begun = true;
    hold->look_at_ms = CLOCK_NEVER;
    if (!hold->sure)
        return;
    if (file)
        watch_file(store, file);
    if (hold->watch >= 0)
        filewatch_look(hold->watch); /* what was done before is seen in the record */
    hold->look_at_ms = clock_now_ms();
}

/* True if the lock is what it was. */
static bool look(struct local_store *store, const struct request *request) {
    struct local_hold *hold = &store->hold;
    const struct lockfile *file = open_file(store, request->key);
    struct record record;

    hold->looked_ms = clock_now_ms();
    if (!file || lockfile_is_gone(file, &store->dir) ||
        record_read(file->fd, &record) != RECORD_GOOD)
        return false;
    if (record.expires_ms && record.expires_ms < hold->ends_ms)
        return false;
    return record.fence == hold->fence && strcmp(record.token, request->token) == 0;
}

static void see(struct local_hold *hold) {
    struct filewatch_seen seen = filewatch_look(hold->watch);

    if (seen.written || seen.moved)
        hold->look_at_ms = clock_earlier(hold->look_at_ms, clock_after(hold->looked_ms, LOOK_MS));
}

enum outcome local_watch(struct store *base, const struct request *request, int64_t until_ms,
                         bool *suspect, struct trouble *why) {
    struct local_store *store = (struct local_store *)base;
    struct local_hold *hold = &store->hold;

    if (!hold->begun)
        begin(store, request);
    /* Signals are seen in every call. */
    for (int64_t at_ms = 0;; at_ms = clock_earlier(hold->look_at_ms, until_ms)) {
        struct pollfd fd = {.fd = hold->watch, .events = POLLIN};

        switch (loop_wait(store->loop, &fd, 1, at_ms)) {
        case WAKE_STOP:
            return trouble_say(why, STOPPED, EXIT_UNREACHABLE, "stopped while watching the lock");
        case WAKE_READY:
            see(hold);
            break;
        case WAKE_DEADLINE:
            break;
        }
        *suspect = clock_now_ms() >= hold->look_at_ms && !look(store, request);
        if (*suspect)
            hold->look_at_ms = clock_after(hold->looked_ms, LOOK_MS); /* if nobody asks */
        else if (hold->looked_ms >= hold->look_at_ms)
            hold->look_at_ms =
                hold->watch < 0 ? clock_after(hold->looked_ms, POLL_MS) : CLOCK_NEVER;
        if (*suspect || clock_now_ms() >= until_ms)
            return DONE;
    }
}
