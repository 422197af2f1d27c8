/* localdir.h - the directory that the locks of this machine live in.
 *
 * `local:` is one directory per user, and a cron job, a login shell and a service must find
 * the same one: so no variable (TMPDIR, XDG_RUNTIME_DIR, HOME) has a say, only the effective
 * user id. It is ours alone: mode 0700, never a symbolic link, its owner checked.
 *
 * `local:/dir` is whatever directory the user names, for users that share locks; who takes part
 * is what its permissions say, and nobody's but root's or ours are changed. If group or others
 * may write to it it must be sticky: else one user could put another file in a lock's place
 * while somebody waits for it. A symbolic link is followed: the user named it.
 *
 * What is not a file system of this machine is refused: flock(2) there is kept by this kernel
 * alone, or by a server in its own time, and two holders would be the result. The known local
 * types are listed rather than the known remote ones: a type that nobody thought of must fail
 * to lock, not lock nobody out. */
#ifndef VLOCK_LOCALDIR_H
#define VLOCK_LOCALDIR_H

#include <stdbool.h>
#include <sys/types.h>

#include "trouble.h"

struct localdir {
    int fd;   /* -1: none. Held with a shared flock, so that tidy-up daemons leave it alone */
    bool own; /* this user's own directory: nobody else's files belong there */
    dev_t device;
    ino_t inode;
    char path[4096]; /* as messages show it */
};

/* Opens, and makes if it is missing (its last component only, mode 0700), the directory at
 * `path`, absolute; empty: this user's own. *out is set on DONE only.
 * FAILED/77 another user's, a symbolic link or no directory, closed to us, or open to others
 * without being sticky; FAILED/73 cannot be made; FAILED/78 (named) or FAILED/71 (own) not on
 * a file system of this machine; FAILED/71 no descriptor left and the like. */
enum outcome localdir_open(const char *path, struct localdir *out, struct trouble *why);

/* The same for this user's own directory, in the first of `parents` (NULL-terminated) that
 * exists and is not closed to the user by its mode. localdir_open() knows which those are. */
enum outcome localdir_open_own(const char *const parents[], struct localdir *out,
                               struct trouble *why);

/* True if the path does not lead to the open directory any more: it, or one above it, was removed,
 * renamed or mounted over, and what was or will be made under the path is where everybody else's
 * locks are. False if the path cannot be followed just now. */
bool localdir_is_gone(const struct localdir *dir);

/* Gives a new file in `dir` the directory's group (and owner, when root makes it), and the read
 * and write bits of its mode whatever the umask. Who may write may read, as a change is both. */
void localdir_adopt(const struct localdir *dir, int file);

void localdir_close(struct localdir *dir);

#endif
