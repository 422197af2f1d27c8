/* store_local_grant.c - what the requests of store.h change in the record. */
#include <string.h>

#include "clock.h"
#include "floor.h"
#include "store_local_part.h"
#include "text.h"

enum { MOST_CLAIM_MS = 2000, LEAST_CLAIM_MS = 100, HALVINGS = 5 };

static void set_ttl(struct local_step *step, int64_t ttl_ms) {
    step->record.expires_ms = ttl_ms == TTL_NONE ? 0 : clock_after(step->host_ms, ttl_ms);
    step->changed = true;
}

/* 0 for a holder that has no time left, but lives. */
static int64_t time_left(const struct local_step *step) {
    int64_t left_ms = step->record.expires_ms - step->host_ms;

    return left_ms > 0 ? left_ms : 0;
}

/* A lock without the kernel's byte is still a lock: it then ends by its time, and the answer
 * says so. */
static void show_life(struct local_step *step) {
    const struct store *store = &step->store->base;
    bool shown = lockfile_shows(step->file, step->record.fence);

    if (!step->request->alive || !lockfile_live(step->file, step->record.fence))
        return;
    if (!shown && store->share && !store->share(store->share_arg, step->file->living)) {
        lockfile_die(step->file);
        return;
    }
    step->changed = step->changed || !step->record.alive;
    step->record.alive = step->lives = true;
}

static void hide_life(struct local_step *step) {
    lockfile_die(step->file);
    step->record.alive = step->lives = false;
    step->changed = true;
}

/* Gives the lock to `token`, under the fence that the record has now. */
static void grant(struct local_step *step, const char *token) {
    struct record *record = &step->record;

    text_copy(record->token, sizeof record->token, token, strlen(token));
    record->place = step->store->here;
    record->since_ms = clock_wall_ms();
    record->alive = false;
    record->claims = 0;
    step->held = true;
    step->ours = step->request->token && strcmp(token, step->request->token) == 0;
    step->lives = false;
}

/* The next fence, for the acquire with this id. The wall clock makes the fence grow even when the
 * file, and the last one with it, was
 * lost; a file that was removed by us is in the floor. */
static void next_fence(struct local_step *step, const char *id) {
    struct record *record = &step->record;
    uint64_t wall_us = (uint64_t)clock_wall_us(), last = record->fence;

    if (last == 0)
        last = floor_of_new_file(&step->store->dir, &step->store->reclaim_due);
    record->fence = last < wall_us ? wall_us : last + 1;
    text_copy(record->grant_id, sizeof record->grant_id, id, strlen(id));
}

/* Shorter with each claim in a row that nobody confirmed: those who wait may be many, and all be
 * stopped. */
void local_grant_claim(struct local_step *step, const struct queue_entry *entry) {
    struct record *record = &step->record;
    unsigned claims = record->claims;
    int64_t claim_ms = entry->ttl_ms < MOST_CLAIM_MS ? entry->ttl_ms : MOST_CLAIM_MS;

    claim_ms >>= claims < HALVINGS ? claims : HALVINGS;
    next_fence(step, entry->id);
    grant(step, entry->token);
    memcpy(record->place.machine, entry->machine, sizeof record->place.machine);
    record->claims = claims < RECORD_CLAIMS_MAX ? claims + 1 : claims;
    set_ttl(step, claim_ms < LEAST_CLAIM_MS ? LEAST_CLAIM_MS : claim_ms);
}

static void set_free(struct local_step *step) {
    step->record.token[0] = '\0';
    step->record.expires_ms = step->record.since_ms = 0;
    step->record.claims = 0;
    step->record.alive = step->held = step->ours = step->lives = false;
    step->changed = true;
}

/* What the holder, or an operator, gives up is handed to the first who waits. */
static void let_go(struct local_step *step) {
    step->record.claims = 0;
    if (!local_queue_hand_over(step))
        set_free(step);
}

static bool granted_to_id(const struct local_step *step) {
    return step->ours && strcmp(step->record.grant_id, step->request->id) == 0;
}

/* Ours, and the holder's own when it is he who asks: another may have been given the same token. */
static bool is_ours(const struct local_step *step) {
    const struct request *request = step->request;
    bool by_holder = request->id && (request->kind == ASK_RENEW || request->kind == ASK_RELEASE);

    return by_holder ? granted_to_id(step) : step->ours;
}

static enum outcome acquire(struct local_step *step) {
    struct record *record = &step->record;

    /* Our own grant, asked for again, or a claim that is confirmed: the id decides, as two
       processes may have one token. */
    if (granted_to_id(step)) {
        record->claims = 0;
        set_ttl(step, step->request->ttl_ms);
        show_life(step);
        return DONE;
    }
    if (!step->held && local_queue_turn(step)) {
        next_fence(step, step->request->id);
        grant(step, step->request->token);
        set_ttl(step, step->request->ttl_ms);
        show_life(step);
        local_queue_tell_first(step);
        return DONE;
    }
    if (step->request->waits)
        local_queue_stay(step);
    return HELD;
}

static enum outcome withdraw(struct local_step *step) {
    if (granted_to_id(step))
        let_go(step);
    else
        local_queue_leave(step);
    return DONE;
}

static enum outcome release(struct local_step *step) {
    if (!is_ours(step))
        return LOST;
    if (step->request->tell)
        record_note_freed(&step->record, step->record.grant_id);
    let_go(step);
    return DONE;
}

/* As a release that was not asked for by the holder, nor by one who has its token. */
static enum outcome break_lock(struct local_step *step) {
    const struct request *request = step->request;

    if (!step->ours || (request->fence && request->fence != step->record.fence))
        return LOST;
    let_go(step);
    return DONE;
}

static enum outcome peek(struct local_step *step) {
    if (step->request->waiters)
        local_queue_list(step);
    return step->request->token && !step->ours ? LOST : DONE;
}

static enum outcome extend(struct local_step *step) {
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
static enum outcome prolong(struct local_step *step) {
    if (!is_ours(step))
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
    if (step->request->alive)
        show_life(step);
    else if (lockfile_shows(step->file, step->record.fence))
        hide_life(step); /* the holder itself: what is left is to end by time */
    return DONE;
}

/* Free, and nobody was given it since: taken again with the fence of old. Only what lapsed: that
 * leaves its token in the file, and a release or withdrawal (set_free) does not. */
static enum outcome recover(struct local_step *step) {
    const struct record *record = &step->record;

    if (step->held || !*record->token || record->fence == 0 ||
        record->fence != step->request->fence)
        return prolong(step);
    grant(step, step->request->token);
    set_ttl(step, step->request->ttl_ms);
    return DONE;
}

enum outcome local_carry_out(struct local_step *step) {
    switch (step->request->kind) {
    case ASK_ACQUIRE:
        return acquire(step);
    case ASK_WITHDRAW:
        return withdraw(step);
    case ASK_RELEASE:
        return release(step);
    case ASK_BREAK:
        return break_lock(step);
    case ASK_EXTEND:
    case ASK_RESET:
    case ASK_RENEW:
        return prolong(step);
    case ASK_RECOVER:
        return recover(step);
    case ASK_PEEK:
        return peek(step);
    }
    return trouble_say(step->why, FAILED, EXIT_BUG, "no such request: report this");
}
