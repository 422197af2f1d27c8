/* queue.h - those who wait for a lock, in its file, behind the record.
 *
 * Each has an entry of QUEUE_ENTRY_BYTES, numbered by its position; the record says from which
 * position to which they wait (record.h). So a change of the queue is complete or not at all,
 * whenever its writer is killed: an entry is written first, to where none stands that the record
 * in the file speaks of, and means nothing until the record is written. Functions here change
 * `struct record_queue` in memory; record_write() is the caller's.
 *
 * Areas. An area of level 0 is a ring of 16 entries, each further level is twice as large and
 * stands behind the one before it; the queue is in one of them. When that is full, or when
 * somebody is put in between, the entries are copied, without those that need not be kept, into
 * another area. An empty queue is at level 0 again, so that a file stays as small as its queues.
 *
 *     entry  left (not 0: who stood here has left; written alone, so outside the checksum),
 *            checksum, position, ticket, TTL, id, lengths, machine, token; the rest means nothing
 *
 * What is damaged, or not of its position, is passed over: a partner who writes nonsense loses
 * others their places at worst; they come back with their old tickets when they next look. */
#ifndef VLOCK_QUEUE_H
#define VLOCK_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "record.h"
#include "store.h"

enum { QUEUE_ENTRY_BYTES = 1024 };

struct queue_entry {
    int64_t ticket; /* arrival in microseconds; 0: the next one is given */
    int64_t ttl_ms;
    char id[REQUEST_ID_BYTES + 1];
    char machine[RECORD_MACHINE_BYTES]; /* as in struct record_place */
    char token[TOKEN_MAX_BYTES + 1];
};

enum queue_state { QUEUE_WAITS, QUEUE_LEFT, QUEUE_DAMAGED };

/* Reads the entry at `position`; *out is touched on QUEUE_WAITS only. */
enum queue_state queue_read(int fd, const struct record_queue *queue, uint64_t position,
                            struct queue_entry *out);

/* True if the entry with this id waits at *position (a guess) or anywhere else. */
bool queue_find(int fd, const struct record_queue *queue, const char *id, uint64_t *position);

/* How many wait before `position`. */
uint64_t queue_before(int fd, const struct record_queue *queue, uint64_t position);

/* Whether an entry is to be copied. */
typedef bool queue_keep(void *arg, const struct queue_entry *entry);

/* Puts `entry` where its ticket belongs, at the end if it is 0. `keep` is asked, if the area is
 * full, who still matters. False with errno: ENOSPC, or EOVERFLOW when no area is large enough. */
bool queue_join(int fd, struct record_queue *queue, struct queue_entry *entry, uint64_t *position,
                queue_keep *keep, void *arg);

/* Takes the one at `position`, wherever that is, out. False with errno. */
bool queue_leave(int fd, struct record_queue *queue, uint64_t position);

/* Takes the first out. */
void queue_pop(struct record_queue *queue, enum queue_state state);

/* To be called before the record is written: an empty queue begins anew. */
void queue_settle(struct record_queue *queue);

#endif
