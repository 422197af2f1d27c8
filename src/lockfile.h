/* lockfile.h - the file of one lock, from outside: its name, how it comes to be, who may look.
 *
 * Names. The key percent-encoded, so that none is '.', has a slash or begins with a dot; one
 * that would be too long is '=' and a hash. What the key is stands in the record, and the
 * caller compares it: a collision (or a file system that does not tell 'a' from 'A') is an
 * error then, never somebody else's lock.
 *
 * Making. A file gets its name only when it is whole (draft.h).
 *
 * Removing. A file that nobody needs is removed one day (store_local_reclaim.c), by one who has it
 * flocked and has seen that its name leads to it. So whoever opened it and gets the flock then sees
 * that the name leads there no more, and opens, or makes, it again; nothing that was open before
 * counts until it was looked up under the flock.
 *
 * Opening never makes, follows or waits: no O_CREAT (fs.protected_regular would refuse it for
 * another's file in a sticky directory), no symbolic links, no FIFO that blocks.
 *
 * Second names. Whoever may write to a shared directory can give a file there a second name, or put
 * another file of ours under a lock's name (a hard link). So names are not counted: one of them
 * would shut everybody out. Instead nothing is written to a file, and its mode is not changed,
 * before it was read and holds a valid record of this very key; it is flocked for as long as that
 * takes. What holds such a record is the file of a lock of the same key in another directory: then
 * the two directories share one lock, which excludes more than it needs to, and never less.
 *
 * Losing. A holder's lock is lost when its name, or the path of the directory, is absent or leads
 * elsewhere: there others make, or have made, another lock. A name that cannot be looked up (a
 * directory that was closed to the holder) says nothing, and the file that is open serves on: the
 * byte below stays locked until the lock is lost for certain.
 *
 * Looking. lockfile_enter() takes flock(2), which the kernel takes back from whoever dies. It
 * is held for some microseconds, but a stopped process holds it for ever: so it is waited for
 * only until a deadline.
 *
 * Living. lockfile_live() locks one byte beyond the data, at an offset that belongs to one
 * fence, and keeps it locked through a descriptor of its own: another description than the one
 * that is flocked, because a process that shares it (FRONT of a `run`, a keeper) must keep the byte
 * locked when we die, and must not keep the flock. It is a read lock, so that all who
 * present the token can show that they live, and those who look test for a write lock. A byte
 * for each fence, because a holder that gave the lock away (a release by its own command, a
 * break) may live on while the next one holds it. */
#ifndef VLOCK_LOCKFILE_H
#define VLOCK_LOCKFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "localdir.h"
#include "loop.h"
#include "store.h"
#include "trouble.h"

enum { LOCKFILE_NAME_BYTES = 144 }; /* with the NUL: fits every file system, eCryptfs too */

struct lockfile {
    struct lockfile *next; /* the owner's list */
    int fd;                /* -1: not open */
    bool read_only;        /* our rights are good for ASK_PEEK alone */
    bool full;             /* it cannot be made because there is no room */
    dev_t device;
    ino_t inode;
    int living;     /* the descriptor that holds the byte, or -1 */
    uint64_t lives; /* the fence whose byte it is */
    char key[KEY_MAX_BYTES + 1];
    char name[LOCKFILE_NAME_BYTES];
};

enum lockfile_need {
    LOCKFILE_LOOK,   /* reading will do; a file that is missing is no error */
    LOCKFILE_CHANGE, /* a file that is missing is no error */
    LOCKFILE_MAKE    /* a file that is missing is made */
};

/* Names the file of `key`. Opens nothing. */
void lockfile_init(struct lockfile *file, const char *key);

/* Opens the file if it is not open yet or has been replaced, and flocks it. DONE with
 * file->fd < 0: there is none (and `need` is not LOCKFILE_MAKE). A directory that was removed or
 * renamed is opened, or made, again. STOPPED as the loop says; FAILED/69 when another process does
 * not let go of the file until deadline_ms; FAILED/77 closed to us; FAILED/73 cannot be made;
 * FAILED/71 no plain file, and the like. If file->living was open before and is not after, the file
 * that it belonged to is gone, whatever the outcome. */
enum outcome lockfile_enter(struct lockfile *file, struct localdir *dir, enum lockfile_need need,
                            struct loop *loop, int64_t deadline_ms, struct trouble *why);

/* Gives the flock back. */
void lockfile_leave(const struct lockfile *file);

/* True if the name, or the directory's path, does not lead to the file any more. */
bool lockfile_is_gone(const struct lockfile *file, const struct localdir *dir);

/* From now on, until lockfile_die() or the end of all processes that share the descriptor
 * file->living, this shows that the holder with `fence` lives. False if the kernel has no lock for
 * us. lockfile_die() ends it for all of them, lockfile_close() for this process alone. */
bool lockfile_live(struct lockfile *file, uint64_t fence);
void lockfile_die(struct lockfile *file);

/* True if we do so now. */
bool lockfile_shows(const struct lockfile *file, uint64_t fence);

/* True if anybody (we, too) shows that the holder with `fence` lives. */
bool lockfile_lives(const struct lockfile *file, uint64_t fence);

/* True if anybody shows, or may show, that a holder with whatever fence lives: it may have lost the
 * lock, and not have looked yet what became of it. */
bool lockfile_is_shown(int fd);

/* In a process that was forked: the flock is with the description, which would let both in. */
void lockfile_forked(struct lockfile *file);

/* Closes all; the file can be entered again. */
void lockfile_close(struct lockfile *file);

#endif
