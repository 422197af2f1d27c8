#include "lockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "draft.h"
#include "record.h"
#include "text.h"

enum {
    OPEN_TRIES = 100, /* each lost to somebody who removed or made the file at that moment */
    YIELDS = 16,
    STEP_MAX_MS = 16,
    DESCRIPTOR_PATH_BYTES = 32
};

void lockfile_init(struct lockfile *file, const char *key) {
    char encoded[LOCKFILE_NAME_BYTES - 2];

    *file = (struct lockfile){.fd = -1, .living = -1};
    snprintf(file->key, sizeof file->key, "%s", key);
    /* Two long names of one hash are an error for the second one, no more. */
    if (!text_percent_encode(encoded, sizeof encoded, key, "-_."))
        snprintf(file->name, sizeof file->name, "=%016llx",
                 (unsigned long long)record_hash(key, strlen(key)));
    else if (encoded[0] == '.')
        snprintf(file->name, sizeof file->name, "%%2E%s", encoded + 1);
    else
        snprintf(file->name, sizeof file->name, "%s", encoded);
}

static void descriptor_path(char path[DESCRIPTOR_PATH_BYTES], int fd) {
    snprintf(path, DESCRIPTOR_PATH_BYTES, "/proc/self/fd/%d", fd);
}

/* A draft_fill. */
static bool fill(int fd, const char *key) {
    return record_create(fd, key);
}

static enum outcome make(struct lockfile *file, const struct localdir *dir, struct trouble *why) {
    int reason = draft_make(dir, file->name, fill, file->key);

    if (reason == 0 || (reason == ENOENT && localdir_is_gone(dir)))
        return DONE; /* the caller looks again, in either case */
    file->full = reason == ENOSPC || reason == EDQUOT;
    return trouble_say(why, FAILED,
                       reason == EMFILE || reason == ENFILE || reason == ENOMEM ? EXIT_SYSTEM
                                                                                : EXIT_CANNOT_WRITE,
                       "cannot make a lock in '%s': %s: %s", dir->path, strerror(reason),
                       file->full ? "make room there"
                                  : "name another directory (-u local:/dir), or a server");
}

static enum outcome explain_open(const struct lockfile *file, const struct localdir *dir,
                                 int reason, struct trouble *why) {
    if (reason == EACCES || reason == EPERM)
        return trouble_say(why, FAILED, EXIT_REFUSED,
                           "'%s/%s' is closed to us by its owner or mode: ask who owns it",
                           dir->path, file->name);
    if (reason == EROFS)
        return trouble_say(why, FAILED, EXIT_CANNOT_WRITE,
                           "'%s' cannot be written: %s: name another directory (-u local:/dir)",
                           dir->path, strerror(reason));
    if (reason == ELOOP || reason == EISDIR || reason == ENXIO)
        return trouble_say(why, FAILED, EXIT_SYSTEM,
                           "'%s/%s' is no plain file and so no lock: remove it", dir->path,
                           file->name);
    return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot open '%s/%s': %s", dir->path, file->name,
                       strerror(reason));
}

/* Without what shows our life. */
static void close_file(struct lockfile *file) {
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
    file->read_only = false;
}

/* Looks at what was opened under the lock's name. */
static enum outcome check_file(struct lockfile *file, const struct localdir *dir,
                               struct trouble *why) {
    struct stat status;

    if (fstat(file->fd, &status) != 0)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot look at '%s/%s': %s", dir->path,
                           file->name, strerror(errno));
    if (status.st_dev != file->device || status.st_ino != file->inode)
        lockfile_die(file); /* that was another file's */
    file->device = status.st_dev;
    file->inode = status.st_ino;
    if (!S_ISREG(status.st_mode))
        return explain_open(file, dir, EISDIR, why);
    if (dir->own && status.st_uid != geteuid())
        return trouble_say(why, FAILED, EXIT_REFUSED, "'%s/%s' belongs to user %u: remove it",
                           dir->path, file->name, (unsigned)status.st_uid);
    return DONE;
}

/* What the lock's name leads to. */
enum standing { STANDS, GONE, UNREACHABLE };

/* Where the file that is open (or shown to live) stands; errno is left for UNREACHABLE. */
static enum standing look_up(const struct lockfile *file, const struct localdir *dir) {
    struct stat status;
    int reason;

    if (fstatat(dir->fd, file->name, &status, AT_SYMLINK_NOFOLLOW) == 0)
        return status.st_dev == file->device && status.st_ino == file->inode ? STANDS : GONE;
    reason = errno;
    if (reason == ENOENT ||
        (fstat(file->fd >= 0 ? file->fd : file->living, &status) == 0 && status.st_nlink == 0))
        return GONE;
    errno = reason;
    return UNREACHABLE;
}

bool lockfile_is_gone(const struct lockfile *file, const struct localdir *dir) {
    return look_up(file, dir) == GONE || localdir_is_gone(dir);
}

/* The name cannot be opened (for `reason`), but through what shows our life the file can. */
static enum outcome open_living(struct lockfile *file, const struct localdir *dir, int reason,
                                struct trouble *why) {
    char path[DESCRIPTOR_PATH_BYTES];

    if (look_up(file, dir) == GONE) {
        lockfile_die(file);
        return explain_open(file, dir, reason, why);
    }
    descriptor_path(path, file->living);
    file->fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return file->fd >= 0 ? DONE : explain_open(file, dir, errno, why);
}

/* Opens what stands under the lock's name; DONE with file->fd < 0 if nothing does. */
static enum outcome open_existing(struct lockfile *file, const struct localdir *dir,
                                  enum lockfile_need need, struct trouble *why) {
    const int flags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    enum outcome outcome;

    file->read_only = false;
    file->fd = openat(dir->fd, file->name, O_RDWR | flags);
    if (file->fd < 0 && need == LOCKFILE_LOOK && (errno == EACCES || errno == EROFS)) {
        file->fd = openat(dir->fd, file->name, O_RDONLY | flags);
        file->read_only = true;
    }
    if (file->fd < 0 && errno == ENOENT) {
        lockfile_die(file);
        return DONE;
    }
    if (file->fd < 0 && file->living >= 0 && need != LOCKFILE_MAKE)
        return open_living(file, dir, errno, why);
    if (file->fd < 0)
        return explain_open(file, dir, errno, why);
    outcome = check_file(file, dir, why);
    if (outcome != DONE)
        close_file(file);
    return outcome;
}

/* What was made under the directory's path since is where everybody else's locks are now. */
static enum outcome reopen_directory(struct localdir *dir, struct trouble *why) {
    struct localdir again;
    enum outcome outcome = localdir_open(dir->own ? "" : dir->path, &again, why);

    if (outcome != DONE)
        return outcome;
    localdir_close(dir);
    *dir = again;
    return DONE;
}

/* flock(2) cannot be asked to wait until a deadline, and a stopped process never lets go. So it
 * is tried: at once, some more times after letting others run (who has it needs microseconds,
 * and on a busy machine the processor to spend them on), then in steps that differ from one
 * process to the next, so that many do not come back all at the same moment. */
static enum outcome take_flock(const struct lockfile *file, const struct localdir *dir,
                               struct loop *loop, int64_t deadline_ms, struct trouble *why) {
    for (int64_t tries = 0; flock(file->fd, LOCK_EX | LOCK_NB) != 0; tries++) {
        int64_t now_ms, step_ms = tries - YIELDS;

        if (errno != EWOULDBLOCK && errno != EINTR)
            return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot lock '%s/%s': %s", dir->path,
                               file->name, strerror(errno));
        if (tries < YIELDS) {
            sched_yield();
            continue;
        }
        now_ms = clock_now_ms();
        if (now_ms >= deadline_ms)
            return trouble_say(why, FAILED, EXIT_UNREACHABLE,
                               "'%s/%s' did not answer in time: a process that is stopped or "
                               "starved keeps it flocked (fuser -v shows which)",
                               dir->path, file->name);
        step_ms = 1 + clock_wall_us() % (step_ms < STEP_MAX_MS ? step_ms + 1 : STEP_MAX_MS);
        if (loop_sleep(loop, clock_earlier(now_ms + step_ms, deadline_ms)) == WAKE_STOP)
            return trouble_say(why, STOPPED, EXIT_UNREACHABLE, "stopped while waiting for '%s/%s'",
                               dir->path, file->name);
    }
    return DONE;
}

/* The file is flocked: does it count? Not if it was removed or replaced while we waited or since
 * the last time: what we would write there nobody else would ever see. It is closed then. */
static enum outcome settle(struct lockfile *file, const struct localdir *dir,
                           enum lockfile_need need, struct trouble *why) {
    switch (look_up(file, dir)) {
    case STANDS:
        return DONE;
    case GONE:
        lockfile_close(file);
        return DONE;
    case UNREACHABLE:
        break;
    }
    if (need != LOCKFILE_MAKE)
        return DONE;
    /* A new holder must be where everybody looks. */
    lockfile_leave(file);
    return explain_open(file, dir, errno, why);
}

enum outcome lockfile_enter(struct lockfile *file, struct localdir *dir, enum lockfile_need need,
                            struct loop *loop, int64_t deadline_ms, struct trouble *why) {
    enum outcome outcome = DONE;
    /* not if it was opened just now */
    bool astray = file->inode != 0 && localdir_is_gone(dir);

    file->full = false;
    if (file->read_only && need != LOCKFILE_LOOK)
        close_file(file);
    for (int tries = 0; outcome == DONE && tries < OPEN_TRIES; tries++) {
        if (astray) {
            lockfile_close(file);
            if (need != LOCKFILE_MAKE && access(dir->path, F_OK) != 0)
                return DONE;
            outcome = reopen_directory(dir, why);
            astray = false;
            continue;
        }
        if (file->fd < 0)
            outcome = open_existing(file, dir, need, why);
        if (outcome != DONE)
            break;
        if (file->fd >= 0) {
            outcome = take_flock(file, dir, loop, deadline_ms, why);
            if (outcome == DONE)
                outcome = settle(file, dir, need, why);
            if (outcome != DONE || file->fd >= 0)
                return outcome;
        } else if (localdir_is_gone(dir)) {
            astray = true;
        } else if (need == LOCKFILE_MAKE) {
            outcome = make(file, dir, why);
        } else {
            return DONE;
        }
    }
    if (outcome != DONE)
        return outcome;
    return trouble_say(why, FAILED, EXIT_SYSTEM, "'%s/%s' is removed again and again", dir->path,
                       file->name);
}

void lockfile_leave(const struct lockfile *file) {
    if (file->fd >= 0)
        flock(file->fd, LOCK_UN);
}

static struct flock byte_of(uint64_t fence, short type) {
    return (struct flock){.l_type = type,
                          .l_whence = SEEK_SET,
                          .l_start = (off_t)(RECORD_BYTES + fence),
                          .l_len = 1};
}

bool lockfile_shows(const struct lockfile *file, uint64_t fence) {
    return file->living >= 0 && file->lives == fence;
}

bool lockfile_live(struct lockfile *file, uint64_t fence) {
    struct flock byte = byte_of(fence, F_RDLCK);
    char path[DESCRIPTOR_PATH_BYTES];

    if (lockfile_shows(file, fence))
        return true;
    lockfile_die(file);
    descriptor_path(path, file->fd);
    file->living = open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (file->living < 0)
        return false;
    file->lives = fence;
    if (fcntl(file->living, F_OFD_SETLK, &byte) == 0)
        return true;
    lockfile_die(file);
    return false;
}

bool lockfile_lives(const struct lockfile *file, uint64_t fence) {
    struct flock byte = byte_of(fence, F_WRLCK);

    return fcntl(file->fd, F_OFD_GETLK, &byte) == 0 && byte.l_type != F_UNLCK;
}

bool lockfile_is_shown(int fd) {
    struct flock any = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = RECORD_BYTES};

    return fcntl(fd, F_OFD_GETLK, &any) != 0 || any.l_type != F_UNLCK;
}

/* Unlocked, not only closed: another process may keep it open. */
void lockfile_die(struct lockfile *file) {
    struct flock byte = byte_of(file->lives, F_UNLCK);

    if (file->living < 0)
        return;
    fcntl(file->living, F_OFD_SETLK, &byte);
    close(file->living);
    file->living = -1;
}

void lockfile_forked(struct lockfile *file) {
    close_file(file);
}

/* What another process shares goes on showing that the holder lives. */
void lockfile_close(struct lockfile *file) {
    if (file->living >= 0)
        close(file->living);
    file->living = -1;
    close_file(file);
}
