/* store_local.c - locks in files of this machine: what the requests of store.h mean there.
 *
 * An ask is: enter the lock's file (flock), read its record, decide, write the next record,
 * leave. Nothing is on its way once the ask has returned, so no answer is ever lost: UNSURE
 * does not occur, and a withdrawn acquire needs no mark against its coming late. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "store_local_part.h"

extern const struct store_kind store_local;

enum {
    KEPT_MS = 20,    /* what is kept for one who waits is looked at again after this */
    ROOM_TRIES = 50, /* room that was made may be taken by others */
    ROOM_MS = 100    /* and while others make it, it is looked for after this */
};

/* ---- what the file says ---- */

static enum outcome explain_record(const struct local_step *step, enum record_state state) {
    const char *dir = step->store->dir.path, *name = step->file->name;

    switch (state) {
    case RECORD_GOOD:
        return DONE;
    case RECORD_DAMAGED:
        return trouble_say(step->why, FAILED, EXIT_SYSTEM,
                           "'%s/%s' is damaged, and whether the lock is held is not known: "
                           "remove the file once nothing runs under it",
                           dir, name);
    case RECORD_OTHER_VERSION:
        return trouble_say(step->why, FAILED, EXIT_SYSTEM,
                           "'%s/%s' was written by another version of vlock: use one version, "
                           "or remove the file once nothing runs under it",
                           dir, name);
    case RECORD_UNREADABLE:
        return trouble_say(step->why, FAILED, EXIT_SYSTEM, "cannot read '%s/%s': %s", dir, name,
                           strerror(errno));
    }
    return FAILED;
}

/* Finds out whether the lock is held. Time alone frees it only from a holder that does not
 * show, or shows no more, that it lives; so does the death of one who has not confirmed yet; a
 * reboot frees everything. Another machine's boot is not to be judged from here, unless it is ours
 * too: a container's, whose kernel keeps our clock. */
static enum outcome judge(struct local_step *step) {
    const struct record *record = &step->record;
    const struct local_store *store = step->store;
    bool here;

    if (strcmp(record->key, step->request->key) != 0)
        return trouble_say(step->why, FAILED, EXIT_SYSTEM,
                           "'%s/%s' is the file of another lock, '%s': choose another name",
                           store->dir.path, step->file->name, record->key);
    if (!*record->token)
        return DONE;
    here = strcmp(record->place.machine, store->here.machine) == 0;
    if (strcmp(record->place.boot, store->here.boot) == 0) {
        step->lives = record->alive && lockfile_lives(step->file, record->fence);
        step->held =
            (record->expires_ms == 0 || record->expires_ms > step->host_ms || step->lives) &&
            !local_queue_claim_is_dead(step);
    } else {
        step->held = !here;
    }
    if (step->held && !here)
        return trouble_say(step->why, FAILED, EXIT_SYSTEM,
                           "'%s/%s' is held from another machine or container (%s): use a "
                           "server for locks between machines, or remove the file once nothing "
                           "runs under it",
                           store->dir.path, step->file->name, record->place.machine);
    step->ours =
        step->held && step->request->token && strcmp(record->token, step->request->token) == 0;
    return DONE;
}

/* The file was made a hole: it is a free lock, and has a record again before anything changes. */
static enum outcome look_into_hole(struct local_step *step) {
    struct lockfile *file = step->file;

    if (step->request->kind != ASK_ACQUIRE) {
        memcpy(step->record.key, file->key, sizeof step->record.key);
        return DONE;
    }
    if (record_create(file->fd, file->key) && record_read(file->fd, &step->record) == RECORD_GOOD)
        return DONE;
    file->full = errno == ENOSPC || errno == EDQUOT;
    return trouble_say(step->why, FAILED, EXIT_CANNOT_WRITE, "cannot write '%s/%s': %s",
                       step->store->dir.path, file->name, strerror(errno));
}

static enum outcome look(struct local_step *step) {
    enum record_state state;

    hostclock_read(&step->store->clock, &step->now_ms, &step->host_ms);
    if (step->file->fd < 0)
        return DONE;
    state = record_read(step->file->fd, &step->record);
    if (state == RECORD_DAMAGED && record_is_reclaimed(step->file->fd, step->file->name))
        return look_into_hole(step);
    return state == RECORD_GOOD ? judge(step) : explain_record(step, state);
}

/* ---- one ask ---- */

static void fill_answer(const struct local_step *step, enum outcome outcome, struct answer *out) {
    const struct record *record = &step->record;
    const char *id = step->request->id;

    *out = (struct answer){
        .asked_ms = step->now_ms,
        .fence = record->fence,
        .fenced = step->held,
        .place = outcome == HELD ? step->place : -1,
        .waiting = step->waiting,
        .released = outcome == LOST && id && record_was_freed(record, id),
    };
    out->kept = step->kept;
    if (step->kept)
        out->ttl_ms = KEPT_MS;
    if (!step->held)
        return;
    out->since_ms = record->since_ms;
    /* Another process that shows its life (it has the same token) may end before we do. */
    out->endless = step->ours && lockfile_shows(step->file, record->fence);
    out->ttl_ms = record->expires_ms == 0 ? TTL_NONE : record->expires_ms - step->host_ms;
    if (out->ttl_ms <= 0)
        out->ttl_ms = 1; /* 0 would say that the lock is free */
    memcpy(out->holder, record->token, sizeof record->token);
}

static enum outcome step_through(struct local_step *step) {
    enum outcome outcome = look(step);
    uint64_t fence = step->record.fence;
    bool shown = lockfile_shows(step->file, fence);

    if (outcome == DONE)
        outcome = local_carry_out(step);
    queue_settle(&step->record.queue);
    if (step->changed && !record_write(step->file->fd, &step->record)) {
        step->file->full = errno == ENOSPC || errno == EDQUOT;
        outcome = trouble_say(step->why, FAILED, EXIT_CANNOT_WRITE, "cannot write '%s/%s': %s",
                              step->store->dir.path, step->file->name, strerror(errno));
        /* The file says what it said before; so does the byte. */
        if (!shown || !lockfile_shows(step->file, fence))
            lockfile_die(step->file);
    }
    /* The byte goes after the record, and also when somebody else has freed or taken the lock:
       then we show a life that nobody asks for. */
    if (outcome != FAILED && !(step->held && lockfile_shows(step->file, step->record.fence)))
        lockfile_die(step->file);
    return outcome;
}

/* The open file of the key. Files that nothing is held by are closed before another is opened. */
static struct lockfile *find_file(struct local_store *store, const char *key) {
    struct lockfile **at = &store->files;

    while (*at) {
        struct lockfile *file = *at;

        if (strcmp(file->key, key) == 0)
            return file;
        if (file->living >= 0) {
            at = &file->next;
            continue;
        }
        *at = file->next;
        lockfile_close(file);
        free(file);
    }
    *at = calloc(1, sizeof **at);
    if (*at)
        lockfile_init(*at, key);
    return *at;
}

/* The table of store.h: who may be content without a file, or with reading it. */
static enum lockfile_need need_of(enum request_kind kind) {
    return kind == ASK_ACQUIRE ? LOCKFILE_MAKE : kind == ASK_PEEK ? LOCKFILE_LOOK : LOCKFILE_CHANGE;
}

/* True for what a holder asks, and those who have its token. */
static bool may_be_lost(enum request_kind kind) {
    return kind != ASK_ACQUIRE && kind != ASK_WITHDRAW && kind != ASK_PEEK;
}

/* LOST, with nothing known of the lock now, if the file that showed our life is gone and what
 * stands in its place cannot be entered: who is told that it failed would trust in that life. */
static enum outcome enter(struct local_step *step, int64_t deadline_ms) {
    struct local_store *store = step->store;
    enum request_kind kind = step->request->kind;
    bool lived = step->file->living >= 0;
    enum outcome outcome;

    hostclock_read(&store->clock, &step->now_ms, &step->host_ms);
    outcome =
        lockfile_enter(step->file, &store->dir, need_of(kind), store->loop, deadline_ms, step->why);
    if (outcome != DONE && lived && step->file->living < 0 && may_be_lost(kind))
        return LOST;
    return outcome;
}

static enum outcome ask_once(struct local_step *step, int64_t deadline_ms) {
    enum outcome outcome = enter(step, deadline_ms);

    if (outcome != DONE)
        return outcome;
    outcome = step_through(step);
    lockfile_leave(step->file);
    return outcome;
}

/* Where there is no room for the file, the room of files that nobody needs will do. Others look for
 * them as well, one at a time, and what they find is room, too. */
static enum outcome ask_for_room(struct local_step *step, int64_t deadline_ms) {
    enum outcome outcome = ask_once(step, deadline_ms);
    bool looks = true;

    for (int tries = 0; outcome == FAILED && step->file->full && looks && tries < ROOM_TRIES;) {
        int64_t until_ms = clock_earlier(clock_now_ms() + ROOM_MS, deadline_ms);

        if (local_reclaim(step->store, until_ms))
            tries++;
        else /* not if it cannot be done, or the time is over */
            looks = clock_now_ms() >= until_ms && until_ms < deadline_ms;
        *step = (struct local_step){.store = step->store,
                                    .request = step->request,
                                    .file = step->file,
                                    .why = step->why,
                                    .place = -1};
        outcome = ask_once(step, deadline_ms);
    }
    return outcome;
}

static enum outcome ask(struct store *base, const struct request *request, int64_t deadline_ms,
                        struct answer *out, struct trouble *why) {
    struct local_store *store = (struct local_store *)base;
    struct local_step step = {.store = store, .request = request, .why = why, .place = -1};
    int64_t limit_ms = clock_after(clock_now_ms(), store->access->reply_timeout_ms);
    enum outcome outcome;

    store->hold.begun = store->hold.sure = false;
    step.file = find_file(store, request->key);
    if (!step.file)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "out of memory");
    if (request->waits)
        local_wait_begin(store, request);
    if (!request->patient)
        deadline_ms = clock_earlier(deadline_ms, limit_ms);
    store->reclaim_due = false;
    outcome = ask_for_room(&step, deadline_ms);
    if (outcome == DONE || outcome == HELD || outcome == LOST)
        fill_answer(&step, outcome, out);
    local_wait_answered(&step, outcome);
    local_watch_asked(&step, outcome);
    if (store->reclaim_due)
        local_reclaim(store, 0);
    return outcome;
}

/* A wait that is under way is the other one's, with its bell; the byte is of both. */
static unsigned forked(struct store *base, int kept[]) {
    struct local_store *store = (struct local_store *)base;
    unsigned count = 0;

    kept[count++] = store->dir.fd;
    for (struct lockfile *file = store->files; file; file = file->next) {
        lockfile_forked(file);
        if (file->living >= 0 && count < STORE_KEEPS)
            kept[count++] = file->living;
    }
    store->wait = (struct local_wait){.bell = -1, .watch = -1};
    store->hold.watch = -1;
    store->hold.begun = false;
    return count;
}

static void close_store(struct store *base) {
    struct local_store *store = (struct local_store *)base;

    while (store->files) {
        struct lockfile *file = store->files;

        store->files = file->next;
        lockfile_close(file);
        free(file);
    }
    local_wait_end(store);
    local_watch_end(store);
    localdir_close(&store->dir);
    free(store);
}

static enum outcome open_store(const struct address *address, const struct access *access,
                               struct loop *loop, struct store **out, struct trouble *why) {
    struct local_store *store = calloc(1, sizeof *store);
    enum outcome outcome;

    if (!store)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "out of memory");
    *store = (struct local_store){.base.kind = &store_local,
                                  .access = access,
                                  .loop = loop,
                                  .dir.fd = -1,
                                  .wait = {.bell = -1, .watch = -1},
                                  .hold.watch = -1};
    outcome = record_here(&store->here, why);
    if (outcome == DONE)
        outcome = hostclock_init(&store->clock, why);
    if (outcome == DONE)
        outcome = localdir_open(address->path, &store->dir, why);
    if (outcome == DONE)
        *out = &store->base;
    else
        close_store(&store->base);
    return outcome;
}

const struct store_kind store_local = {
    .shows_life = true,
    .open = open_store,
    .ask = ask,
    .await = local_await,
    .watch = local_watch,
    .forked = forked,
    .close = close_store,
};
