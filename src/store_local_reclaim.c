/* store_local_reclaim.c - removing the files that nobody needs, so that the directory stays small.
 *
 * When a lock is given back its file stays: to make it anew for the next holder would take longer
 * than a change of it, on a disk a hundred times longer. The files are looked at, all at once, by
 * one who has just made some more of them (floor.h says when), or who has no room for another.
 *
 * Nobody needs the file of a lock that was given back, that nobody waits for, and of which no
 * former holder is left that would look what became of it. A lock that lapsed is none of them: its
 * holder may come back (`reacquire --recover`). Those who may not remove another user's file make
 * it a hole instead (record.h).
 *
 *     the floor is raised (floor.h)   a kill after it has done no harm: fences grow somewhat more
 *     the name is removed             under the file's flock, when its name was seen to lead to it
 *
 * Whoever has the file open, or waits for its flock, finds that the name leads there no more and
 * goes where it leads (lockfile.h); who looks for the name finds nothing, which is a free lock. Who
 * makes the file anew reads the floor after that, when it has it flocked. A file that somebody has
 * flocked just now is in use.
 *
 * With the files go the bells of the dead and the drafts of those who were killed making a file:
 * not before they are OLD_S old, as one that was made just now is not rung or written yet. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "doorbell.h"
#include "draft.h"
#include "floor.h"
#include "store_local_part.h"
#include "text.h"

enum { OLD_S = 60 };

/* Opens the file of a lock and flocks it; -1 if it is none, or in use. */
static int open_idle(const struct localdir *dir, const char *name) {
    const int flags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int fd = openat(dir->fd, name, O_RDWR | flags);
    struct stat ours, there;

    if (fd < 0)
        return -1;
    if (fstat(fd, &ours) == 0 && S_ISREG(ours.st_mode) && (!dir->own || ours.st_uid == geteuid()) &&
        flock(fd, LOCK_EX | LOCK_NB) == 0 &&
        fstatat(dir->fd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && ours.st_dev == there.st_dev &&
        ours.st_ino == there.st_ino)
        return fd;
    close(fd);
    return -1;
}

/* True if the record is that of a lock with this file's name, and nobody needs it. */
static bool is_needless(int fd, const char *name, struct record *record) {
    struct lockfile file;

    if (record_read(fd, record) != RECORD_GOOD || *record->token ||
        record->queue.first != record->queue.next || lockfile_is_shown(fd))
        return false;
    lockfile_init(&file, record->key);
    return strcmp(file.name, name) == 0;
}

/* True if the file is gone, or as good as that. */
static bool reclaim(const struct localdir *dir, struct floor *floor, int fd, const char *name) {
    struct record record;

    if (record_is_reclaimed(fd, name))
        return unlinkat(dir->fd, name, 0) == 0;
    return is_needless(fd, name, &record) && floor_raise(floor, record.fence) &&
           (unlinkat(dir->fd, name, 0) == 0 || record_reclaim(fd, name));
}

static bool is_old(const struct localdir *dir, const char *name) {
    struct stat status;
    int64_t age_s;

    if (fstatat(dir->fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    age_s = clock_wall_ms() / 1000 - status.st_mtime;
    return age_s > OLD_S || age_s < -OLD_S; /* the clock may have been set */
}

/* What has a name that no lock's file has: true if it was ours to look at. */
static bool reclaim_other(const struct localdir *dir, const char *name) {
    if (text_begins(name, DOORBELL_BEGINS)) {
        if (is_old(dir, name))
            doorbell_take_down_dead(dir, name + strlen(DOORBELL_BEGINS));
        return true;
    }
    if (text_begins(name, DRAFT_BEGINS) && is_old(dir, name))
        unlinkat(dir->fd, name, 0);
    return *name == '.';
}

/* Looks at all files; how many of locks are left. */
static uint32_t reclaim_all(const struct localdir *dir, struct floor *floor, DIR *list) {
    const struct dirent *entry;
    uint32_t kept = 0;

    while ((entry = readdir(list))) {
        int fd;

        if (reclaim_other(dir, entry->d_name))
            continue;
        fd = open_idle(dir, entry->d_name);
        if (fd < 0 || !reclaim(dir, floor, fd, entry->d_name))
            kept++;
        if (fd >= 0)
            close(fd);
    }
    return kept;
}

static DIR *open_list(const struct localdir *dir) {
    int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);

    if (fd >= 0 && !list)
        close(fd);
    return list;
}

bool local_reclaim(struct local_store *store, int64_t deadline_ms) {
    struct floor floor;
    DIR *list;

    if (!floor_enter(&floor, &store->dir, store->loop, deadline_ms)) {
        if (floor.unreliable)
            access_note(store->access,
                        "'%s/" FLOOR_NAME
                        "' is damaged, closed to us or no file of vlock's: as long "
                        "as that is so, files that nobody needs are not removed",
                        store->dir.path);
        return false;
    }
    list = open_list(&store->dir);
    floor_leave(&floor, list ? reclaim_all(&store->dir, &floor, list) : floor.kept);
    if (list)
        closedir(list);
    return list != NULL;
}
