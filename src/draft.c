/* draft.c - how a file comes to stand under its name. */
#include "draft.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include "noreplace.h"

enum { TEMPORARY_BYTES = 32, PATH_BYTES = 32 };

/* A file without a name, or, where there is no such thing, with a temporary one. */
static int open_draft(int dir, char temporary[TEMPORARY_BYTES]) {
    uint64_t random = 0;
    int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    temporary[0] = '\0';
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    if (getrandom(&random, sizeof random, 0) < 0)
        return -1;
    snprintf(temporary, TEMPORARY_BYTES, DRAFT_BEGINS "%016llx", (unsigned long long)random);
    return openat(dir, temporary, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC, 0600);
}

/* True if the file has its name now, or somebody else's has. */
static bool publish(int dir, int fd, const char *temporary, const char *name) {
    char path[PATH_BYTES];
    int result;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (*temporary)
        result = noreplace_rename(dir, temporary, name);
    else
        result = linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW);
    return result == 0 || errno == EEXIST || (*temporary && errno == ENOENT);
}

int draft_make(const struct localdir *dir, const char *name, draft_fill *fill, const char *arg) {
    char temporary[TEMPORARY_BYTES];
    int fd = open_draft(dir->fd, temporary);
    int reason = 0;

    if (fd < 0)
        return errno;
    localdir_adopt(dir, fd);
    /* Synced this once: see record.h. */
    if (!fill(fd, arg) || fdatasync(fd) != 0 || !publish(dir->fd, fd, temporary, name))
        reason = errno;
    if (*temporary)
        unlinkat(dir->fd, temporary, 0); /* not there any more if all went well */
    close(fd);
    return reason;
}
