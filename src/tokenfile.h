/* tokenfile.h - a token that travels from step to step in a file.
 *
 * `key=value` lines, written in this order (prefix, store and fence may be missing; a key that is
 * unknown, missing or there twice is an error, so is an empty value):
 *
 *     version=1
 *     name=deploy
 *     prefix=ci:            only if there is one
 *     token=vl1:...
 *     ttl=60s               or none
 *     store=valkey://h:6379 canonical, without password
 *     fence=00001790000000000000
 *
 * The fence is written with twenty digits, so that every one fits into the same room; any number
 * of digits is read. 0: not known.
 *
 * A value is everything behind its first '=': any bytes but control characters. A file with one
 * line that begins with no such `key=` is a bare token (`vlock acquire x >f`).
 *
 * Whoever can write to the file could name a store of his own there, which would be sent our
 * password. So the store counts only if the file belongs to root or to us and nobody else may write
 * to it, as ssh(1) asks of its configuration; the descriptor that is read is the one looked at.
 *
 * Writing. What can be lost at each instant of an acquire:
 *   1. tokenfile_prepare()  the whole content but the fence goes to a temporary file beside F, is
 *                           synced, with zeros in the fence's room. It gets that name with
 *                           its content (where the file system knows files without a name;
 *                           elsewhere it is empty for an instant, before anything is asked), and
 *                           is a whole token file from then on: a killed acquire leaves at most
 *                           a `.F.vlock-XXXXXX` behind, which can be used as F. It is flocked for
 *                           as long as the acquire lives.
 *   2. the store is asked   a token that owns a lock is now always on disk
 *   3. tokenfile_publish()  the fence is written over the zeros, synced, and the file renamed to F,
 *                           complete or not at all, mode 0600;
 *      tokenfile_discard()  or, if the lock was not given, the temporary file is removed
 *
 * What killed acquires have left is removed by the next acquire of the same F and the same lock:
 * not before it knows from the store who holds that lock (tokenfile_clear), since the token of one
 * that was killed after step 2 may be there and nowhere else. See tokenfile_leftover.c.
 *
 * Removing. Two vlocks may share F: one releases (and removes F) while the next, who was given
 * the lock by that very release, publishes its own. So a file is removed only under flock(2) on
 * its inode, by the process that read it under the same flock (tokenfile_open .. _remove), and
 * publish takes that flock on a file it is about to replace, and replaces nothing where it saw no
 * file: a remover never takes away a file that it has not read. Where the file system knows no
 * flock, files are read and written all the same. */
#ifndef VLOCK_TOKENFILE_H
#define VLOCK_TOKENFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "loop.h"
#include "store.h"
#include "trouble.h"

enum { TOKENFILE_MAX_BYTES = 16384 };

struct tokenfile {
    bool bare; /* a token alone: nothing else is known, the fields below are empty or 0 */
    char name[NAME_MAX_BYTES + 1];
    char prefix[KEY_MAX_BYTES + 1];
    char token[TOKEN_MAX_BYTES + 1];
    int64_t ttl_ms;    /* TTL_NONE: never expires; 0: not known (bare) */
    char store[4608];  /* canonical URL without password, or empty */
    uint64_t fence;    /* 0: not known */
    const char *doubt; /* from tokenfile_open(): why somebody else could have named that store, as
                          in "belongs to another user"; NULL: nobody could */
};

/* A token file that is open, and flocked until _unlock or the end. All zero: none. */
struct tokenfile_hold {
    int fd;
    const char *path; /* the caller's string, which must outlive this; NULL: nothing held */
};

/* Opens, flocks (waits at most until deadline_ms for another vlock that is just releasing) and
 * reads the file at `path`. The last path component is never followed if it is a symbolic link.
 * FAILED/66 missing; FAILED/65 not a regular file, empty, too large, malformed, or a symlink;
 * FAILED/71 cannot be opened or read, or still in another vlock's hands at the deadline; STOPPED.
 * On DONE `hold` owns the descriptor: end with _close or _remove. */
enum outcome tokenfile_open(const char *path, struct loop *loop, int64_t deadline_ms,
                            struct tokenfile *out, struct tokenfile_hold *hold,
                            struct trouble *why);

/* Gives the flock back, for who only wanted to read: nobody is to wait for our network. What may
 * still be removed stays flocked: without it, _remove could take the next holder's file away. */
void tokenfile_unlock(struct tokenfile_hold *hold);

/* Removes the file that `hold` has open, if `path` still is that very file, and closes.
 * A file that cannot be looked at or removed is FAILED/73. */
enum outcome tokenfile_remove(struct tokenfile_hold *hold, struct trouble *why);

void tokenfile_close(struct tokenfile_hold *hold);

enum {
    DRAFT_LETTERS = 6,  /* that end a draft's name */
    LEFTOVERS_MAX = 128 /* of more the rest is for the acquire after this one */
};

/* The temporary file of an acquire that is under way. All zero: none. */
struct tokenfile_draft {
    int fd;
    int directory;       /* that of F, held open: a rename of it does not lead us astray */
    char base[256];      /* F's own name in it; empty: there is no draft */
    char temporary[280]; /* the draft's name in it */
    int64_t fence_at;    /* offset of the room for the fence */
    /* The last letters of the drafts that were left behind before this one was made. */
    char leftovers[LEFTOVERS_MAX][DRAFT_LETTERS];
    unsigned leftover_count;
};

/* Step 1. FAILED/64 for a content that could not be read back (a control character, an empty
 * name or token). Checks too that F may be replaced: it must be missing, empty (mktemp), a bare
 * token, or a token file for the same name and prefix. Another NAME's file, or no token file at
 * all, is never overwritten: FAILED/65. A symlink, directory, FIFO or device at F is FAILED/73,
 * as is a place that cannot be written or is full. content->fence is ignored. */
enum outcome tokenfile_prepare(const char *path, const struct tokenfile *content,
                               struct tokenfile_draft *out, struct trouble *why);

/* After step 2, when the store has said that the lock is held with the token `holder` (ours, if it
 * is): removes what was left behind and is of no use to anybody. Never waits. */
void tokenfile_clear(struct tokenfile_draft *draft, const char *holder);

/* Step 3. DONE: the file is in place and the draft is none any more. Otherwise the draft is still
 * on disk under its temporary name (the caller gives the lock back and then discards it): FAILED
 * with 73, or 65 if F has become what prepare refuses with 65, or STOPPED. Waits at most until
 * deadline_ms for a releasing vlock. fence 0: not known. */
enum outcome tokenfile_publish(struct tokenfile_draft *draft, uint64_t fence, struct loop *loop,
                               int64_t deadline_ms, struct trouble *why);

/* Removes the temporary file, if there still is a draft, and closes everything. */
void tokenfile_discard(struct tokenfile_draft *draft);

#endif
