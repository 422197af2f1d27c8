/* store_local.c - locks in files of this machine: what the requests of store.h mean there.
 *
 * An ask is: enter the lock's file (flock), read its record, decide, write the next record,
 * leave. Nothing is on its way once the ask has returned, so no answer is ever lost: UNSURE
 * does not occur, and a withdrawn acquire needs no mark against its coming late. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "clock.h"
#include "localdir.h"
#include "lockfile.h"
#include "record.h"
#include "store.h"
#include "text.h"

extern const struct store_kind store_local;

struct local_store {
    struct store base;
    const struct access *access;
    struct loop *loop;
    struct localdir dir;
    struct lockfile *files; /* those that show that we live, and the one asked about last */
    struct record_place here;
};

/* One ask under way: what the file says, and what that means at this instant. */
struct step {
    struct local_store *store;
    const struct request *request;
    struct lockfile *file;
    struct trouble *why;
    struct record record; /* all zero: there is no file yet */
    int64_t now_ms;
    bool held;    /* by anybody */
    bool ours;    /* by the token of the request */
    bool lives;   /* the holder shows it */
    bool changed; /* `record` is to be written */
};

/* ---- what the file says ---- */

static enum outcome explain_record(const struct step *step, enum record_state state) {
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
 * show, or shows no more, that it lives; a reboot frees everything. Another machine's boot is not
 * to be judged from here, unless it is ours too: a container's, whose kernel keeps our clock. */
static enum outcome judge(struct step *step) {
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
        step->held = record->expires_ms == 0 || record->expires_ms > step->now_ms || step->lives;
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

static enum outcome look(struct step *step) {
    enum record_state state;

    step->now_ms = clock_now_ms();
    if (step->file->fd < 0)
        return DONE;
    state = record_read(step->file->fd, &step->record);
    return state == RECORD_GOOD ? judge(step) : explain_record(step, state);
}

/* ---- what the requests change ---- */

static void set_ttl(struct step *step, int64_t ttl_ms) {
    step->record.expires_ms = ttl_ms == TTL_NONE ? 0 : clock_after(step->now_ms, ttl_ms);
    step->changed = true;
}

/* 0 for a holder that has no time left, but lives. */
static int64_t time_left(const struct step *step) {
    int64_t left_ms = step->record.expires_ms - step->now_ms;

    return left_ms > 0 ? left_ms : 0;
}

/* A lock without the kernel's byte is still a lock: it then ends by its time, and the answer
 * says so. */
static void show_life(struct step *step) {
    if (!step->request->alive || !lockfile_live(step->file, step->record.fence))
        return;
    step->changed = step->changed || !step->record.alive;
    step->record.alive = step->lives = true;
}

/* Gives the lock to the token of the request, under the fence that the record has now. */
static void grant(struct step *step) {
    struct record *record = &step->record;

    text_copy(record->token, sizeof record->token, step->request->token,
              strlen(step->request->token));
    record->place = step->store->here;
    record->since_ms = clock_wall_ms();
    record->alive = false;
    step->held = step->ours = true;
    step->lives = false;
    set_ttl(step, step->request->ttl_ms);
}

static void set_free(struct step *step) {
    step->record.token[0] = '\0';
    step->record.expires_ms = step->record.since_ms = 0;
    step->record.alive = step->held = step->ours = step->lives = false;
    step->changed = true;
}

static enum outcome acquire(struct step *step) {
    struct record *record = &step->record;
    uint64_t wall_us = (uint64_t)clock_wall_us();

    /* Our own grant, asked for again: the id decides, as two processes may have one token. */
    if (step->ours && strcmp(record->grant_id, step->request->id) == 0) {
        set_ttl(step, step->request->ttl_ms);
        show_life(step);
        return DONE;
    }
    if (step->held)
        return HELD;
    /* The wall clock makes the fence grow even when the file, and the last one with it, was
       lost. */
    record->fence = record->fence < wall_us ? wall_us : record->fence + 1;
    text_copy(record->grant_id, sizeof record->grant_id, step->request->id,
              strlen(step->request->id));
    grant(step);
    show_life(step);
    return DONE;
}

static enum outcome withdraw(struct step *step) {
    if (step->ours && strcmp(step->record.grant_id, step->request->id) == 0)
        set_free(step);
    return DONE;
}

static enum outcome release(struct step *step) {
    if (!step->ours)
        return LOST;
    if (step->request->tell)
        record_note_freed(&step->record, step->record.grant_id);
    set_free(step);
    return DONE;
}

static enum outcome extend(struct step *step) {
    struct record *record = &step->record;
    int64_t left_ms = time_left(step);

    if (strcmp(record->extend_id, step->request->id) == 0)
        return DONE;
    if (step->request->ttl_ms > TTL_MAX_MS - left_ms)
        return trouble_say(step->why, FAILED, EXIT_USAGE,
                           "the lock would last longer than 2^53 ms: extend it by less");
    text_copy(record->extend_id, sizeof record->extend_id, step->request->id,
              strlen(step->request->id));
    set_ttl(step, left_ms + step->request->ttl_ms);
    return DONE;
}

/* EXTEND, RESET, RENEW, and RECOVER of what is still ours. */
static enum outcome prolong(struct step *step) {
    if (!step->ours)
        return LOST;
    /* Somebody made it endless: there is nothing left to renew, and nothing wrong. */
    if (step->record.expires_ms == 0 && step->request->kind == ASK_RENEW) {
        show_life(step);
        return DONE;
    }
    if (step->record.expires_ms == 0)
        return trouble_say(step->why, FAILED, EXIT_DATA,
                           "the lock has no expiry to extend or reset: release it when it is done");
    if (step->request->kind == ASK_EXTEND)
        return extend(step);
    if (step->request->kind != ASK_RENEW || time_left(step) < step->request->ttl_ms)
        set_ttl(step, step->request->ttl_ms);
    show_life(step);
    return DONE;
}

/* Free, and nobody was given it since: taken again with the fence of old. Only what lapsed: that
 * leaves its token in the file, and a release or withdrawal (set_free) does not. */
static enum outcome recover(struct step *step) {
    const struct record *record = &step->record;

    if (step->held || !*record->token || record->fence == 0 ||
        record->fence != step->request->fence)
        return prolong(step);
    grant(step);
    return DONE;
}

static enum outcome carry_out(struct step *step) {
    switch (step->request->kind) {
    case ASK_ACQUIRE:
        return acquire(step);
    case ASK_WITHDRAW:
        return withdraw(step);
    case ASK_RELEASE:
        return release(step);
    case ASK_BREAK:
        if (step->ours && step->request->fence && step->request->fence != step->record.fence)
            return LOST;
        return release(step);
    case ASK_EXTEND:
    case ASK_RESET:
    case ASK_RENEW:
        return prolong(step);
    case ASK_RECOVER:
        return recover(step);
    case ASK_PEEK:
        return step->request->token && !step->ours ? LOST : DONE;
    }
    return trouble_say(step->why, FAILED, EXIT_BUG, "no such request: report this");
}

/* ---- one ask ---- */

static void fill_answer(const struct step *step, enum outcome outcome, struct answer *out) {
    const struct record *record = &step->record;
    const char *id = step->request->id;

    *out = (struct answer){
        .asked_ms = step->now_ms,
        .fence = record->fence,
        .fenced = step->held,
        .place = -1,
        .released = outcome == LOST && id && record_was_freed(record, id),
    };
    if (!step->held)
        return;
    out->since_ms = record->since_ms;
    /* Another process that shows its life (it has the same token) may end before we do. */
    out->endless = step->ours && lockfile_shows(step->file, record->fence);
    out->ttl_ms = record->expires_ms == 0 ? TTL_NONE : time_left(step);
    if (out->ttl_ms == 0)
        out->ttl_ms = 1; /* 0 would say that the lock is free */
    memcpy(out->holder, record->token, sizeof record->token);
}

static enum outcome step_through(struct step *step) {
    enum outcome outcome = look(step);
    uint64_t fence = step->record.fence;
    bool shown = lockfile_shows(step->file, fence);

    if (outcome == DONE)
        outcome = carry_out(step);
    if (step->changed && !record_write(step->file->fd, &step->record)) {
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

static enum outcome ask(struct store *base, const struct request *request, int64_t deadline_ms,
                        struct answer *out, struct trouble *why) {
    struct local_store *store = (struct local_store *)base;
    struct step step = {.store = store, .request = request, .why = why};
    int64_t limit_ms = clock_after(clock_now_ms(), store->access->reply_timeout_ms);
    enum outcome outcome;

    step.file = find_file(store, request->key);
    if (!step.file)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "out of memory");
    if (!request->patient)
        deadline_ms = clock_earlier(deadline_ms, limit_ms);
    outcome = lockfile_enter(step.file, &store->dir, need_of(request->kind), store->loop,
                             deadline_ms, why);
    if (outcome != DONE)
        return outcome;
    outcome = step_through(&step);
    lockfile_leave(step.file);
    if (outcome == DONE || outcome == HELD || outcome == LOST)
        fill_answer(&step, outcome, out);
    return outcome;
}

static enum outcome await(struct store *base, const struct request *request, int64_t until_ms,
                          struct trouble *why) {
    struct local_store *store = (struct local_store *)base;
    int64_t look_ms = clock_now_ms() + clock_spread_ms(20);

    (void)request;
    if (loop_sleep(store->loop, clock_earlier(look_ms, until_ms)) == WAKE_STOP)
        return trouble_say(why, STOPPED, EXIT_UNREACHABLE, "stopped while waiting");
    return DONE;
}

static void close_store(struct store *base) {
    struct local_store *store = (struct local_store *)base;

    while (store->files) {
        struct lockfile *file = store->files;

        store->files = file->next;
        lockfile_close(file);
        free(file);
    }
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
                                  .dir.fd = -1};
    outcome = record_here(&store->here, why);
    if (outcome == DONE)
        outcome = localdir_open(address->path, &store->dir, why);
    if (outcome == DONE)
        *out = &store->base;
    else
        close_store(&store->base);
    return outcome;
}

const struct store_kind store_local = {
    .name = "local",
    .open = open_store,
    .ask = ask,
    .await = await,
    .close = close_store,
};
