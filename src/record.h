/* record.h - what the file of one lock says, and how it is changed in place.
 *
 * A file has two slots of SLOT_BYTES each. The valid slot with the higher sequence number is
 * what the file says; a change is written into the other slot. The caller holds flock(2) on
 * the file from record_read() to record_write(), so there is one writer at a time. Files are never
 * renamed or truncated, and removed only while nobody needs them (store_local_reclaim.c): whoever
 * has one open that its name leads to sees what everybody sees.
 *
 *     slot   head (fixed size, native byte order), machine, freed, key, token (their lengths
 *            are in the head); the rest of the slot means nothing
 *     head   checksum (FNV-1a, 64 bits, of all that follows it up to the token's end), magic,
 *            version, flags, sequence, fence, ...
 *
 * Behind the slots is the queue of those who wait (queue.h). Which part of it means anything
 * stands in the record, so that writing the record is what changes the queue, too.
 *
 * What a kill leaves, at each instant:
 *   before the write                 the old record
 *   in the middle of it              a slot whose checksum is wrong: the other one, so the old
 *                                    record; the one who was killed never said that it had done it
 *   after it, before it is reported  the new record: an acquire that nobody knows of lapses by
 *                                    its time (a lock without expiry stays: `vlock break`)
 * A kill also ends the flock and the byte that shows that a holder lives (lockfile.h).
 *
 * What a power failure or a crash of the kernel leaves: nothing is synced after the file was
 * made, so the disk has some earlier record, and that is enough: it carries another boot's id,
 * so the lock is free. The fence may be an earlier one, but the next is at least the wall
 * clock's microseconds. Both slots were synced once, before the file got its name (a file
 * system that allocates late would otherwise come up with an empty file, a damaged one). What
 * remains: a disk that tears both slots' blocks in one crash leaves a damaged file.
 *
 * A file of which nobody needs the record may have become a hole (record_reclaim()).
 *
 * Damaged (neither slot valid: empty, truncated, overwritten) is an error that names the file,
 * never a free lock. One broken slot beside a valid one is taken for the torn write above. The
 * checksum finds accidents; it is no proof against a partner who may write the file anyway. */
#ifndef VLOCK_RECORD_H
#define VLOCK_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "store.h"

enum {
    SLOT_BYTES = 4096,
    RECORD_BYTES = 2 * SLOT_BYTES, /* what stands behind these: queue.h */
    RECORD_BOOT_BYTES = 36,
    RECORD_MACHINE_BYTES = 80,
    RECORD_FREED_IDS = 16,
    RECORD_QUEUE_LEAST = 16, /* entries that an area of level 0 has room for; 1 twice as many, .. */
    RECORD_QUEUE_LEVELS = 11,
    RECORD_CLAIMS_MAX = 1000
};

/* Fences stay below this, which leaves room to use one as an offset into the file. */
#define RECORD_FENCE_MAX ((uint64_t)1 << 62)

/* Tickets are arrivals in microseconds, and stay below this. */
#define RECORD_TICKET_MAX ((int64_t)1 << 62)

/* Where a lock was given. Another boot of the same machine: a reboot has freed it. Another
 * machine, or a container with an id of its own: nothing that we can see says what became of it. */
struct record_place {
    char boot[RECORD_BOOT_BYTES + 1];
    char machine[RECORD_MACHINE_BYTES];
};

/* Where in the file those who wait stand: see queue.h. */
struct record_queue {
    unsigned level;       /* of the area */
    uint64_t first, next; /* the entries from `first` to before `next` wait, in this order */
    uint64_t gone;        /* about so many of them have left again */
    int64_t last_ticket;  /* given out, 0: none since the queue was empty */
    uint64_t kept_from; /* `first` as it stands in the file: nothing from here on is overwritten */
};

struct record {
    unsigned slot;      /* where it was read from; the next write goes to the other one */
    uint64_t sequence;  /* grows by one with every change */
    uint64_t fence;     /* last one given, 0: none yet */
    int64_t expires_ms; /* the machine's boot clock (hostclock.h) of that boot; 0: never */
    int64_t since_ms;   /* wall clock of the grant */
    bool alive;         /* the holder shows with a kernel lock that it lives (lockfile.h) */
    unsigned claims;    /* hand-overs in a row, the last one included, that nobody confirmed */
    struct record_queue queue;
    struct record_place place;            /* of the last grant; empty: none yet */
    char grant_id[REQUEST_ID_BYTES + 1];  /* request id of the acquire that got the last grant */
    char extend_id[REQUEST_ID_BYTES + 1]; /* of the last extend */
    char freed[RECORD_FREED_IDS * REQUEST_ID_BYTES + 1]; /* ids of grants that were given back on
                                                            purpose by others, newest first */
    char key[KEY_MAX_BYTES + 1];
    char token[TOKEN_MAX_BYTES + 1]; /* empty: given back, or never given */
};

enum record_state {
    RECORD_GOOD,
    RECORD_DAMAGED,       /* no slot is valid */
    RECORD_OTHER_VERSION, /* a vlock with another layout wrote it */
    RECORD_UNREADABLE     /* errno says why */
};

/* The place where we are. FAILED/71 if the kernel does not tell (no /proc), or the machine's id is
 * there and cannot be read just now: by another id our own locks would be somebody else's. */
enum outcome record_here(struct record_place *out, struct trouble *why);

/* How many entries an area of `level` has room for. */
uint64_t record_queue_room(unsigned level);

/* FNV-1a, 64 bits. */
uint64_t record_hash(const char *bytes, size_t length);

/* Writes both slots of a new file: a free lock named `key`. All the room the file will ever
 * need is allocated by it. False with errno on failure. */
bool record_create(int fd, const char *key);

/* Reads what the file says now. *out is untouched unless RECORD_GOOD. */
enum record_state record_read(int fd, struct record *out);

/* Writes `record` as the next one, and notes in it where it now stands. False with errno, and
 * the record that was read still what the file says, on failure. */
bool record_write(int fd, struct record *record);

/* Makes the file of a free lock take no room: for who may write the file `name` but not remove it
 * (another user's, in a sticky directory). What is left has no record, but a size that only this
 * name has, so that it is told from a damaged file, and from any file that somebody gave the name.
 * record_create() fills it again. False with errno if that is not to be had: it says what it said.
 */
bool record_reclaim(int fd, const char *name);

/* True if the file was made so. */
bool record_is_reclaimed(int fd, const char *name);

/* Notes in `freed`, and looks up there, the id of a grant. */
void record_note_freed(struct record *record, const char *id);
bool record_was_freed(const struct record *record, const char *id);

#endif
