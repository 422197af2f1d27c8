/* store_local_queue.c - first come, first served: whose turn it is, and how he is told.
 *
 * All of it happens in the one change of the record that frees the lock or finds it free: the lock
 * passes from one to the next without being free in between. Whom it is handed to has a claim: the
 * lock is his for a short time, until he confirms it by asking again.
 *
 * Bells are rung before the record is written. A kill in between then leaves one who was woken, who
 * looks, finds the lock as it was, and waits on with what he has seen; the other order would leave
 * one who has the lock and does not know. Who is woken early waits for our flock for as long as one
 * write takes. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "doorbell.h"
#include "store_local_part.h"
#include "text.h"

enum { NEAR = 2 }; /* so many behind the first look when the lease of the holder ends, too */

enum finding {
    NOBODY,
    SOMEBODY, /* he lives */
    MYSELF,
    UNTOLD /* he may live: nothing can be found out just now */
};

static void pop(struct local_step *step, enum queue_state state) {
    queue_pop(&step->record.queue, state);
    step->changed = true;
}

/* The first in the queue who lives, and his bell. Who is dead, has left or cannot be read is
 * dropped: that is all that the dead cost those behind them. */
static enum finding find_first(struct local_step *step, struct queue_entry *out, int *bell) {
    const struct record_queue *queue = &step->record.queue;
    const struct localdir *dir = &step->store->dir;
    const char *id = step->request->id;

    *bell = -1;
    while (queue->first < queue->next) {
        enum queue_state state = queue_read(step->file->fd, queue, queue->first, out);

        if (state == QUEUE_WAITS && id && strcmp(out->id, id) == 0)
            return MYSELF;
        if (state == QUEUE_WAITS) {
            switch (doorbell_reach(dir, out->id, bell)) {
            case DOORBELL_LIVES:
                return SOMEBODY;
            case DOORBELL_UNKNOWN:
                return UNTOLD;
            case DOORBELL_DEAD:
                doorbell_take_down(dir, out->id);
                break;
            case DOORBELL_CLOSED: /* he cannot be told: he takes the lock when he looks himself */
                break;
            }
        }
        pop(step, state);
    }
    return NOBODY;
}

void local_queue_tell_first(struct local_step *step) {
    struct queue_entry entry;
    int bell;

    if (find_first(step, &entry, &bell) == SOMEBODY)
        doorbell_ring(bell, DOORBELL_FIRST);
}

/* Hands the lock to the first. False if he has died at this very moment. */
static bool hand_to(struct local_step *step, const struct queue_entry *entry, int bell) {
    pop(step, QUEUE_WAITS);
    if (!doorbell_ring(bell, DOORBELL_GRANTED)) {
        doorbell_take_down(&step->store->dir, entry->id);
        return false;
    }
    local_queue_tell_first(step);
    local_grant_claim(step, entry);
    return true;
}

bool local_queue_hand_over(struct local_step *step) {
    struct queue_entry entry;
    int bell;

    for (;;) {
        switch (find_first(step, &entry, &bell)) {
        case NOBODY:
        case UNTOLD:
            return false;
        case MYSELF: /* who gives the lock up does not wait for it */
            pop(step, QUEUE_WAITS);
            break;
        case SOMEBODY:
            if (hand_to(step, &entry, bell))
                return true;
            break;
        }
    }
}

/* True if the asker came before `entry`: his claim lapsed, and with it his place. */
static bool came_before(const struct local_step *step, const struct queue_entry *entry) {
    const struct local_wait *wait = &step->store->wait;

    return step->request->waits && strcmp(wait->id, step->request->id) == 0 && wait->ticket &&
           wait->ticket < entry->ticket;
}

/* True if the lock was handed to another one than the asker, who has not confirmed it. */
static bool is_claimed(const struct local_step *step) {
    const char *id = step->record.grant_id, *asks = step->request->id;

    return step->record.claims > 0 && strlen(id) == REQUEST_ID_BYTES &&
           strspn(id, "0123456789abcdef") == REQUEST_ID_BYTES && !(asks && strcmp(id, asks) == 0);
}

bool local_queue_claim_is_dead(const struct local_step *step) {
    int bell;
    enum doorbell_state state;

    if (!is_claimed(step))
        return false;
    state = doorbell_reach(&step->store->dir, step->record.grant_id, &bell);
    if (bell >= 0)
        close(bell);
    return state == DOORBELL_DEAD;
}

bool local_queue_turn(struct local_step *step) {
    struct queue_entry entry;
    int bell;

    /* Nothing but this names the bell of one whose claim lapsed: if he lives, he hangs it up again
     * when he comes. */
    if (is_claimed(step))
        doorbell_take_down(&step->store->dir, step->record.grant_id);
    for (;;) {
        switch (find_first(step, &entry, &bell)) {
        case NOBODY:
            return true;
        case MYSELF:
            pop(step, QUEUE_WAITS);
            return true;
        case UNTOLD:
            step->kept = true;
            return false;
        case SOMEBODY:
            if (came_before(step, &entry)) {
                close(bell);
                return true;
            }
            if (hand_to(step, &entry, bell)) {
                step->handed = true;
                return false;
            }
            break;
        }
    }
}

/* A queue_keep: who is certainly dead is not. */
static bool is_wanted(void *arg, const struct queue_entry *entry) {
    const struct local_step *step = arg;
    int bell;
    enum doorbell_state state = doorbell_reach(&step->store->dir, entry->id, &bell);

    if (bell >= 0)
        close(bell);
    if (state == DOORBELL_DEAD)
        doorbell_take_down(&step->store->dir, entry->id);
    return state != DOORBELL_DEAD;
}

/* Hangs our bell up, also if it was taken down (the directory was emptied, or made anew). */
static bool hang_bell(struct local_step *step) {
    struct local_wait *wait = &step->store->wait;

    if (wait->bell >= 0 && doorbell_hangs(&step->store->dir, wait->id, wait->bell))
        return true;
    if (wait->bell >= 0)
        close(wait->bell);
    wait->bell = doorbell_hang(&step->store->dir, wait->id);
    return wait->bell >= 0;
}

static bool join(struct local_step *step) {
    const struct request *request = step->request;
    struct local_wait *wait = &step->store->wait;
    struct queue_entry entry = {.ticket = wait->ticket, .ttl_ms = request->ttl_ms};

    text_copy(entry.id, sizeof entry.id, request->id, strlen(request->id));
    text_copy(entry.token, sizeof entry.token, request->token, strlen(request->token));
    memcpy(entry.machine, step->store->here.machine, sizeof entry.machine);
    if (!queue_join(step->file->fd, &step->record.queue, &entry, &wait->position, is_wanted, step))
        return false;
    wait->ticket = entry.ticket;
    step->changed = true;
    return true;
}

/* True if the asker is in the queue, in the end. */
static bool is_in_queue(struct local_step *step) {
    struct local_wait *wait = &step->store->wait;

    if (!hang_bell(step))
        return false;
    return (wait->ticket &&
            queue_find(step->file->fd, &step->record.queue, wait->id, &wait->position)) ||
           join(step);
}

/* Who is first, and stays it for a while, tells those behind him how near they are. */
static void tell_near(const struct local_step *step) {
    const struct record_queue *queue = &step->record.queue;
    struct queue_entry entry;
    int told = 0, bell;

    for (uint64_t at = step->store->wait.position + 1; at < queue->next && told < NEAR; at++) {
        if (queue_read(step->file->fd, queue, at, &entry) != QUEUE_WAITS ||
            doorbell_reach(&step->store->dir, entry.id, &bell) != DOORBELL_LIVES)
            continue;
        doorbell_ring(bell, DOORBELL_NEAR);
        told++;
    }
}

void local_queue_stay(struct local_step *step) {
    struct local_wait *wait = &step->store->wait;
    uint64_t before;

    if (!is_in_queue(step)) {
        step->store->reclaim_due = errno == ENOSPC || errno == EDQUOT;
        if (!wait->queue_refused)
            access_note(step->store->access,
                        "no place in the queue (%s): asking again and again instead",
                        errno == EOVERFLOW ? "it is full" : strerror(errno));
        wait->queue_refused = true;
        return;
    }
    before = queue_before(step->file->fd, &step->record.queue, wait->position);
    step->place = before < INT_MAX ? (int)before : INT_MAX;
    /* It lay free, so those who were to look did not: they may all be stopped. Who found it so
     * looks again when this claim ends. */
    if (step->handed && step->place > NEAR)
        step->place = NEAR;
    if (before == 0 && wait->told_first)
        tell_near(step);
}

void local_queue_leave(struct local_step *step) {
    struct record_queue *queue = &step->record.queue;
    uint64_t position = step->store->wait.position;
    struct queue_entry entry;
    int bell = -1;

    if (step->file->fd < 0)
        return;
    switch (find_first(step, &entry, &bell)) {
    case NOBODY:
        return;
    case MYSELF:
        pop(step, QUEUE_WAITS);
        if (step->held || !local_queue_hand_over(step))
            local_queue_tell_first(step);
        return;
    case SOMEBODY:
        close(bell);
        break;
    case UNTOLD:
        break;
    }
    /* Not written: who looks finds our bell gone. */
    if (queue_find(step->file->fd, queue, step->request->id, &position) &&
        queue_leave(step->file->fd, queue, position))
        step->changed = true;
}

void local_queue_list(struct local_step *step) {
    const struct request *request = step->request;
    const struct record_queue *queue = &step->record.queue;
    struct queue_entry entry;

    for (uint64_t at = queue->first; at < queue->next; at++) {
        int bell = -1;

        if (queue_read(step->file->fd, queue, at, &entry) != QUEUE_WAITS ||
            doorbell_reach(&step->store->dir, entry.id, &bell) == DOORBELL_DEAD)
            continue;
        if (bell >= 0)
            close(bell);
        if (step->waiting < request->room) {
            struct waiter *waiter = &request->waiters[step->waiting];

            waiter->since_ms = entry.ticket / 1000;
            memcpy(waiter->token, entry.token, sizeof waiter->token);
        }
        step->waiting++;
    }
}
