#include "localdir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "localfs.h"

enum {
    OPEN_FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
    OPEN_TRIES = 3 /* a tidy-up daemon may remove a new directory before our flock is on it */
};

/* What opening one candidate came to. */
enum finding { FOUND, CLOSED, STOP };

static enum outcome check_file_system(const struct localdir *dir, struct trouble *why) {
    uint32_t type;

    if (localfs_is(dir->fd, &type))
        return DONE;
    if (!type)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot tell the file system of '%s': %s",
                           dir->path, strerror(errno));
    return trouble_say(why, FAILED, dir->own ? EXIT_SYSTEM : EXIT_CONFIG,
                       "'%s' is on a file system (type 0x%x) that is not known to be this "
                       "machine's own: name a directory on a local disk or tmpfs (-u local:/dir), "
                       "or a server",
                       dir->path, (unsigned)type);
}

/* The owner's right to all, and nobody else's, whatever the umask; and not by a chmod(2) after
 * it, which would follow a symbolic link put there in between. */
static int make_directory(const char *path) {
    mode_t found = umask(077);
    int result = mkdir(path, 0700);
    int reason = errno;

    umask(found);
    errno = reason;
    return result;
}

static enum exit_status status_of(int reason) {
    return reason == EMFILE || reason == ENFILE || reason == ENOMEM ? EXIT_SYSTEM
                                                                    : EXIT_CANNOT_WRITE;
}

static enum outcome refuse_owner(const char *path, uid_t owner, struct trouble *why) {
    return trouble_say(why, FAILED, EXIT_REFUSED,
                       "'%s' belongs to user %u: have it removed, or name another directory "
                       "(-u local:/dir)",
                       path, (unsigned)owner);
}

static enum outcome check_own(const struct localdir *dir, const struct stat *status,
                              struct trouble *why) {
    if (status->st_uid != geteuid())
        return refuse_owner(dir->path, status->st_uid, why);
    if ((status->st_mode & 07777) != 0700 && fchmod(dir->fd, 0700) != 0)
        return trouble_say(why, FAILED, EXIT_CANNOT_WRITE, "cannot close '%s' to other users: %s",
                           dir->path, strerror(errno));
    return DONE;
}

static enum outcome check_named(const struct localdir *dir, const struct stat *status,
                                struct trouble *why) {
    if ((status->st_mode & (S_IWGRP | S_IWOTH)) && !(status->st_mode & S_ISVTX))
        return trouble_say(why, FAILED, EXIT_REFUSED,
                           "other users may replace files in '%s': make it sticky (chmod +t)",
                           dir->path);
    return DONE;
}

/* Looks at what was opened, and keeps it. */
static enum outcome accept(struct localdir *dir, struct localdir *out, struct trouble *why) {
    struct stat status;
    enum outcome outcome;

    if (fstat(dir->fd, &status) != 0)
        outcome = trouble_say(why, FAILED, EXIT_SYSTEM, "cannot look at '%s': %s", dir->path,
                              strerror(errno));
    else
        outcome = dir->own ? check_own(dir, &status, why) : check_named(dir, &status, why);
    if (outcome == DONE)
        outcome = check_file_system(dir, why);
    if (outcome != DONE) {
        localdir_close(dir);
        return outcome;
    }
    dir->device = status.st_dev;
    dir->inode = status.st_ino;
    /* systemd-tmpfiles passes over a directory that somebody has flocked. Failing is no harm:
       it holds that flock itself at the moment, and the next vlock tries again. */
    (void)flock(dir->fd, LOCK_SH | LOCK_NB);
    *out = *dir;
    return DONE;
}

/* Why the entry at `path` in a parent could not be opened as our own directory: `reason` alone
 * does not tell a parent that is closed (the next candidate's turn) from a directory that is
 * somebody else's (the end: never step aside for who came first). */
static enum finding explain_own(const char *path, int reason, struct trouble *why) {
    struct stat status;

    if (reason != ENOENT && reason != ENOTDIR && reason != EACCES && reason != ELOOP) {
        trouble_say(why, FAILED, status_of(reason), "cannot make or open '%s': %s", path,
                    strerror(reason));
        return STOP;
    }
    if (lstat(path, &status) != 0)
        return CLOSED;
    if (!S_ISDIR(status.st_mode))
        trouble_say(why, FAILED, EXIT_REFUSED,
                    "'%s' is no directory (user %u put it there): have it removed, or name "
                    "another directory (-u local:/dir)",
                    path, (unsigned)status.st_uid);
    else if (status.st_uid != geteuid())
        refuse_owner(path, status.st_uid, why);
    else
        trouble_say(why, FAILED, EXIT_CANNOT_WRITE, "cannot open '%s': %s: chmod 700 it", path,
                    strerror(reason));
    return STOP;
}

/* Opens `dir->path`, making it if need be. The reason it failed for, or 0. */
static int open_or_make(struct localdir *dir, int flags) {
    for (int tries = 0; tries < OPEN_TRIES; tries++) {
        dir->fd = open(dir->path, OPEN_FLAGS | flags);
        if (dir->fd >= 0)
            return 0;
        if (errno != ENOENT || (make_directory(dir->path) != 0 && errno != EEXIST))
            return errno;
    }
    return EAGAIN; /* not ENOENT: that is what a missing parent gives */
}

static enum finding find_own(const char *parent, struct localdir *dir, struct trouble *why) {
    int reason;

    *dir = (struct localdir){.fd = -1, .own = true};
    snprintf(dir->path, sizeof dir->path, "%s/vlock-%u", parent, (unsigned)geteuid());
    reason = open_or_make(dir, O_NOFOLLOW);
    return reason == 0 ? FOUND : explain_own(dir->path, reason, why);
}

enum outcome localdir_open_own(const char *const parents[], struct localdir *out,
                               struct trouble *why) {
    struct localdir dir;

    for (; *parents; parents++) {
        switch (find_own(*parents, &dir, why)) {
        case FOUND:
            return accept(&dir, out, why);
        case STOP:
            return FAILED;
        case CLOSED:
            break;
        }
    }
    return trouble_say(why, FAILED, EXIT_CANNOT_WRITE,
                       "cannot make '%s', the directory of this user's locks: name another "
                       "directory (-u local:/dir)",
                       dir.path);
}

static enum outcome open_named(const char *path, struct localdir *out, struct trouble *why) {
    struct localdir dir = {.fd = -1};
    int reason;

    snprintf(dir.path, sizeof dir.path, "%s", path);
    reason = open_or_make(&dir, 0);
    /* A directory that may be written and searched but not listed serves as well; it only
       cannot be flocked against tidy-up daemons then. */
    if (reason == EACCES && (dir.fd = open(path, OPEN_FLAGS | O_PATH)) >= 0)
        reason = 0;
    if (reason == 0)
        return accept(&dir, out, why);
    return trouble_say(why, FAILED, status_of(reason),
                       "cannot make or open the directory '%s': %s: make it, or name another "
                       "(-u local:/dir)",
                       path, strerror(reason));
}

enum outcome localdir_open(const char *path, struct localdir *out, struct trouble *why) {
    static const char *const parents[] = {"/run/lock", "/tmp", NULL};

    return *path ? open_named(path, out, why) : localdir_open_own(parents, out, why);
}

bool localdir_is_gone(const struct localdir *dir) {
    struct stat status;

    if (stat(dir->path, &status) == 0)
        return status.st_dev != dir->device || status.st_ino != dir->inode;
    return errno == ENOENT || errno == ENOTDIR ||
           (fstat(dir->fd, &status) == 0 && status.st_nlink == 0);
}

void localdir_adopt(const struct localdir *dir, int file) {
    struct stat status, now;
    mode_t mode;

    if (fstat(dir->fd, &status) != 0 || fstat(file, &now) != 0)
        return;
    /* Root's file in alice's directory would shut alice out of her own lock. */
    if (geteuid() == 0 && now.st_uid != status.st_uid)
        (void)!fchown(file, status.st_uid, status.st_gid);
    else if (now.st_gid != status.st_gid)
        (void)!fchown(file, (uid_t)-1, status.st_gid);
    mode = (status.st_mode & 0666) | (status.st_mode & 0222) << 1;
    /* A group that we are not in cannot be given the file: then its rights are not for ours. */
    if (fstat(file, &now) == 0 && now.st_gid != status.st_gid)
        mode = (mode & ~(mode_t)070) | (mode & 7) << 3;
    /* Sticky: systemd-tmpfiles takes that on a file for "leave it". What has no such bits (vfat)
       refuses it, and needs none. */
    if (fchmod(file, mode | S_ISVTX) != 0)
        (void)!fchmod(file, mode);
}

void localdir_close(struct localdir *dir) {
    if (dir->fd >= 0)
        close(dir->fd);
    dir->fd = -1;
}
