#include "tokenfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "clock.h"
#include "tokenfile_part.h"

/* How often a flock that somebody else has is tried: a release takes about as long. */
enum { FLOCK_STEP_MS = 10 };

int tokenfile_open_regular(int directory, const char *path) {
    const int flags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    struct stat found;
    int fd;

    /* Looked at first: to open a device may already have an effect. */
    if (fstatat(directory, path, &found, AT_SYMLINK_NOFOLLOW) != 0)
        return -1;
    if (!S_ISREG(found.st_mode)) {
        errno = ELOOP;
        return -1;
    }
    /* NFS gives the exclusive flock only to who may write. */
    fd = openat(directory, path, O_RDWR | flags);
    if (fd < 0 && (errno == EACCES || errno == EPERM || errno == EROFS || errno == ETXTBSY))
        fd = openat(directory, path, O_RDONLY | flags);
    if (fd >= 0 && (fstat(fd, &found) != 0 || !S_ISREG(found.st_mode))) {
        close(fd);
        errno = ELOOP;
        return -1;
    }
    return fd;
}

int tokenfile_look_again(int directory, const char *path, int fd, bool *same) {
    struct stat ours, there;

    *same = false;
    if (fstat(fd, &ours) != 0 || fstatat(directory, path, &there, AT_SYMLINK_NOFOLLOW) != 0)
        return errno;
    *same = ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
    return 0;
}

/* One attempt. TAKE_BUSY: somebody has the flock. */
static enum tokenfile_take take_once(int directory, const char *path, int *fd) {
    for (;;) {
        int open_fd = tokenfile_open_regular(directory, path);
        bool same;

        if (open_fd < 0)
            return errno == ENOENT || errno == ENOTDIR ? TAKE_NONE
                   : errno == ELOOP                    ? TAKE_ODD
                                                       : TAKE_REFUSED;
        if (flock(open_fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
            close(open_fd);
            return TAKE_BUSY;
        }
        /* Any other failure: no flock on this file system, which leaves only the race between a
           release and the acquire that follows it open. */
        if (tokenfile_look_again(directory, path, open_fd, &same) == 0 && same) {
            *fd = open_fd;
            return TAKEN;
        }
        /* Removed or replaced before we had the flock: what is there now counts. */
        close(open_fd);
    }
}

enum tokenfile_take tokenfile_take(int directory, const char *path, struct loop *loop,
                                   int64_t deadline_ms, int *fd) {
    for (;;) {
        enum tokenfile_take take = take_once(directory, path, fd);
        int64_t now = clock_now_ms();

        if (take != TAKE_BUSY || now >= deadline_ms)
            return take;
        /* No blocking flock: signals are blocked while the loop reads them, so that it could not
           be interrupted, and it knows no deadline. */
        if (loop_sleep(loop, clock_earlier(clock_after(now, FLOCK_STEP_MS), deadline_ms)) ==
            WAKE_STOP)
            return TAKE_STOP;
    }
}

static enum outcome say_not_taken(const char *path, enum tokenfile_take take, struct trouble *why) {
    switch (take) {
    case TAKE_NONE:
        return trouble_say(why, FAILED, EXIT_NO_TOKEN,
                           "there is no token file '%s': was it released already, or never "
                           "acquired",
                           path);
    case TAKE_ODD:
        return trouble_say(why, FAILED, EXIT_DATA,
                           "the token file '%s' is a symbolic link or no regular file: name the "
                           "file itself",
                           path);
    case TAKE_BUSY:
        return trouble_say(why, FAILED, EXIT_SYSTEM,
                           "another vlock is using the token file '%s': try again when it is done",
                           path);
    case TAKE_STOP:
        return trouble_say(why, STOPPED, EXIT_BUSY, "stopped while waiting for the token file");
    case TAKEN:
    case TAKE_REFUSED:
        break;
    }
    return trouble_say(why, FAILED, EXIT_SYSTEM,
                       "cannot open the token file '%s' (%s): only who acquired may read it", path,
                       strerror(errno));
}

/* Of a descriptor, so that no other file can come in between. An access list that lets others write
 * shows in the mode as the group's permission to. */
static const char *find_doubt(int fd) {
    struct stat file;

    if (fstat(fd, &file) != 0)
        return "has an owner who is not known";
    if (file.st_uid != 0 && file.st_uid != geteuid())
        return "belongs to another user";
    return file.st_mode & (S_IWGRP | S_IWOTH) ? "can be written by other users" : NULL;
}

enum outcome tokenfile_open(const char *path, struct loop *loop, int64_t deadline_ms,
                            struct tokenfile *out, struct tokenfile_hold *hold,
                            struct trouble *why) {
    const char *fault = NULL;
    enum tokenfile_take take;
    int fd = -1;

    take = tokenfile_take(AT_FDCWD, path, loop, deadline_ms, &fd);
    if (take != TAKEN)
        return say_not_taken(path, take, why);
    switch (tokenfile_load(fd, out, &fault)) {
    case LOAD_GOOD:
        out->doubt = find_doubt(fd);
        *hold = (struct tokenfile_hold){.fd = fd, .path = path};
        return DONE;
    case LOAD_EMPTY:
        fault = "it is empty";
        break;
    case LOAD_MALFORMED:
        break;
    case LOAD_UNREADABLE:
        close(fd);
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot read the token file '%s': %s", path,
                           fault);
    }
    close(fd);
    return trouble_say(why, FAILED, EXIT_DATA,
                       "the token file '%s' is malformed (%s): acquire again to write a new one",
                       path, fault);
}

void tokenfile_unlock(struct tokenfile_hold *hold) {
    if (hold->path)
        flock(hold->fd, LOCK_UN);
}

enum outcome tokenfile_remove(struct tokenfile_hold *hold, struct trouble *why) {
    enum outcome outcome = DONE;
    bool same;
    int error;

    if (!hold->path)
        return DONE;
    /* Nobody replaces or removes the file between the two steps: for that they need the flock. */
    error = tokenfile_look_again(AT_FDCWD, hold->path, hold->fd, &same);
    if (same && unlink(hold->path) != 0)
        error = errno;
    if (error && error != ENOENT)
        outcome = trouble_say(why, FAILED, EXIT_CANNOT_WRITE,
                              "cannot remove the token file '%s' (%s): remove it by hand",
                              hold->path, strerror(error));
    tokenfile_close(hold);
    return outcome;
}

void tokenfile_close(struct tokenfile_hold *hold) {
    if (hold->path)
        close(hold->fd);
    *hold = (struct tokenfile_hold){.fd = -1};
}
