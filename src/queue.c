#include "queue.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

struct stored {
    uint64_t left;
    uint64_t checksum;
    uint64_t position;
    int64_t ticket;
    int64_t ttl_ms;
    char id[REQUEST_ID_BYTES];
    uint16_t machine_bytes;
    uint16_t token_bytes;
    uint32_t nothing;
};

enum { SUMMED_FROM = offsetof(struct stored, position) };

_Static_assert(sizeof(struct stored) == 80, "the layout has no padding");
_Static_assert(sizeof(struct stored) + sizeof(struct queue_entry) <= QUEUE_ENTRY_BYTES,
               "an entry holds it all");

static off_t place_of(unsigned level, uint64_t position) {
    uint64_t before = record_queue_room(level) - RECORD_QUEUE_LEAST;

    return (off_t)(RECORD_BYTES +
                   (before + position % record_queue_room(level)) * QUEUE_ENTRY_BYTES);
}

static uint64_t count_of(const struct record_queue *queue) {
    return queue->next - queue->first;
}

static bool write_at(int fd, const void *bytes, size_t length, off_t offset) {
    ssize_t written = pwrite(fd, bytes, length, offset);

    if (written >= 0 && (size_t)written < length)
        errno = ENOSPC;
    return written >= 0 && (size_t)written == length;
}

static bool write_entry(int fd, unsigned level, uint64_t position,
                        const struct queue_entry *entry) {
    size_t machine = strlen(entry->machine), token = strlen(entry->token);
    struct stored stored = {
        .position = position,
        .ticket = entry->ticket,
        .ttl_ms = entry->ttl_ms,
        .machine_bytes = (uint16_t)machine,
        .token_bytes = (uint16_t)token,
    };
    char bytes[QUEUE_ENTRY_BYTES];
    size_t used = sizeof stored + machine + token;

    memcpy(stored.id, entry->id, REQUEST_ID_BYTES);
    memcpy(bytes, &stored, sizeof stored);
    memcpy(bytes + sizeof stored, entry->machine, machine);
    memcpy(bytes + sizeof stored + machine, entry->token, token);
    stored.checksum = record_hash(bytes + SUMMED_FROM, used - SUMMED_FROM);
    memcpy(bytes, &stored, sizeof stored);
    return write_at(fd, bytes, used, place_of(level, position));
}

/* The id becomes part of a file's name, the token the holder: nothing in them is taken on trust. */
static bool makes_sense(const struct stored *stored, const char *rest, uint64_t position) {
    char id[REQUEST_ID_BYTES + 1] = {0};

    if (stored->position != position || stored->ticket <= 0 ||
        stored->ticket >= RECORD_TICKET_MAX || stored->ttl_ms <= 0 ||
        (stored->ttl_ms > TTL_MAX_MS && stored->ttl_ms != TTL_NONE) ||
        stored->machine_bytes >= RECORD_MACHINE_BYTES || stored->token_bytes == 0 ||
        stored->token_bytes > TOKEN_MAX_BYTES)
        return false;
    memcpy(id, stored->id, REQUEST_ID_BYTES);
    return strspn(id, "0123456789abcdef") == REQUEST_ID_BYTES &&
           !memchr(rest, '\0', (size_t)stored->machine_bytes + stored->token_bytes);
}

enum queue_state queue_read(int fd, const struct record_queue *queue, uint64_t position,
                            struct queue_entry *out) {
    char bytes[QUEUE_ENTRY_BYTES];
    const char *rest = bytes + sizeof(struct stored);
    struct stored stored;
    ssize_t length = pread(fd, bytes, sizeof bytes, place_of(queue->level, position));

    if (length < (ssize_t)sizeof stored)
        return QUEUE_DAMAGED;
    memset(bytes + length, 0, sizeof bytes - (size_t)length);
    memcpy(&stored, bytes, sizeof stored);
    if (!makes_sense(&stored, rest, position) ||
        stored.checksum !=
            record_hash(bytes + SUMMED_FROM,
                        sizeof stored - SUMMED_FROM + stored.machine_bytes + stored.token_bytes))
        return QUEUE_DAMAGED;
    if (stored.left)
        return QUEUE_LEFT;
    *out = (struct queue_entry){.ticket = stored.ticket, .ttl_ms = stored.ttl_ms};
    memcpy(out->id, stored.id, REQUEST_ID_BYTES);
    memcpy(out->machine, rest, stored.machine_bytes);
    memcpy(out->token, rest + stored.machine_bytes, stored.token_bytes);
    return QUEUE_WAITS;
}

static bool stands_at(int fd, const struct record_queue *queue, const char *id, uint64_t position) {
    struct queue_entry entry;

    return queue_read(fd, queue, position, &entry) == QUEUE_WAITS && strcmp(entry.id, id) == 0;
}

bool queue_find(int fd, const struct record_queue *queue, const char *id, uint64_t *position) {
    if (*position >= queue->first && *position < queue->next && stands_at(fd, queue, id, *position))
        return true;
    for (uint64_t at = queue->first; at < queue->next; at++) {
        if (stands_at(fd, queue, id, at)) {
            *position = at;
            return true;
        }
    }
    return false;
}

uint64_t queue_before(int fd, const struct record_queue *queue, uint64_t position) {
    struct queue_entry entry;
    uint64_t count = 0;

    if (queue->gone == 0)
        return position - queue->first;
    for (uint64_t at = queue->first; at < position && at < queue->next; at++)
        count += queue_read(fd, queue, at, &entry) == QUEUE_WAITS;
    return count;
}

/* The area that the entries are copied to: a smaller one if they will fill half of it at most. */
static unsigned another_level(const struct record_queue *queue) {
    uint64_t count = count_of(queue) + 1;

    if (queue->level > 0 && count * 2 <= record_queue_room(queue->level - 1))
        return queue->level - 1;
    return queue->level + 1 < RECORD_QUEUE_LEVELS ? queue->level + 1 : queue->level - 1;
}

/* One more in the area that is copied to. */
static bool add(int fd, struct record_queue *to, const struct queue_entry *entry) {
    if (to->next >= record_queue_room(to->level)) {
        errno = EOVERFLOW;
        return false;
    }
    return write_entry(fd, to->level, to->next, entry) && ++to->next;
}

/* Copies the queue, `entry` in its place, into another area. */
static bool move(int fd, struct record_queue *queue, const struct queue_entry *entry,
                 uint64_t *position, queue_keep *keep, void *arg) {
    struct record_queue to = {.level = another_level(queue), .last_ticket = queue->last_ticket};
    struct queue_entry other;
    bool put = false;

    for (uint64_t at = queue->first; at < queue->next; at++) {
        if (queue_read(fd, queue, at, &other) != QUEUE_WAITS || (keep && !keep(arg, &other)))
            continue;
        if (!put && other.ticket > entry->ticket) {
            *position = to.next;
            put = add(fd, &to, entry);
            if (!put)
                return false;
        }
        if (!add(fd, &to, &other))
            return false;
    }
    if (!put) {
        *position = to.next;
        if (!add(fd, &to, entry))
            return false;
    }
    *queue = to;
    return true;
}

bool queue_join(int fd, struct record_queue *queue, struct queue_entry *entry, uint64_t *position,
                queue_keep *keep, void *arg) {
    int64_t now_us = clock_wall_us(), last = queue->last_ticket;
    bool full = queue->next - queue->kept_from >= record_queue_room(queue->level);

    if (entry->ticket == 0)
        entry->ticket = last < now_us ? now_us : last + 1;
    if (entry->ticket >= RECORD_TICKET_MAX) {
        errno = EOVERFLOW;
        return false;
    }
    if (full || (entry->ticket <= last && count_of(queue))) {
        if (!move(fd, queue, entry, position, full ? keep : NULL, arg))
            return false;
    } else {
        if (!write_entry(fd, queue->level, queue->next, entry))
            return false;
        *position = queue->next++;
    }
    if (entry->ticket > queue->last_ticket)
        queue->last_ticket = entry->ticket;
    return true;
}

bool queue_leave(int fd, struct record_queue *queue, uint64_t position) {
    const uint64_t left = 1;

    if (position == queue->next - 1) {
        queue->next--;
        return true;
    }
    if (!write_at(fd, &left, sizeof left, place_of(queue->level, position)))
        return false;
    queue->gone++;
    return true;
}

void queue_pop(struct record_queue *queue, enum queue_state state) {
    queue->first++;
    if (state == QUEUE_LEFT && queue->gone)
        queue->gone--;
}

void queue_settle(struct record_queue *queue) {
    if (queue->gone > count_of(queue))
        queue->gone = count_of(queue);
    if (count_of(queue) == 0)
        *queue = (struct record_queue){0};
}
