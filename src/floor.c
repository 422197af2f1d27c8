/* floor.c - reading and writing `.fence`. */
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "draft.h"
#include "record.h"

static const uint64_t magic = 0x636e65666b6c6f76; /* "volkfenc" on a little-endian machine */

enum {
    FLOOR_VERSION = 1,
    READ_TRIES = 50, /* each beside a write of some bytes */
    PAUSE_MS = 1
};

struct stored {
    uint64_t checksum;
    uint64_t magic;
    uint64_t fence;
    uint32_t version;
    uint32_t made;
    uint32_t kept;
    uint32_t nothing;
};

_Static_assert(sizeof(struct stored) == 40, "the layout has no padding");

static uint64_t checksum_of(const struct stored *stored) {
    const char *bytes = (const char *)stored;

    return record_hash(bytes + sizeof stored->checksum, sizeof *stored - sizeof stored->checksum);
}

static bool write_to(int fd, const struct floor *floor) {
    struct stored stored = {.magic = magic,
                            .fence = floor->fence,
                            .version = FLOOR_VERSION,
                            .made = floor->made,
                            .kept = floor->kept};
    ssize_t written;

    stored.checksum = checksum_of(&stored);
    written = pwrite(fd, &stored, sizeof stored, 0);
    if (written >= 0 && written != (ssize_t)sizeof stored)
        errno = ENOSPC;
    return written == (ssize_t)sizeof stored;
}

static bool read_from(int fd, struct floor *out) {
    struct stored stored;

    if (pread(fd, &stored, sizeof stored, 0) != (ssize_t)sizeof stored || stored.magic != magic ||
        stored.version != FLOOR_VERSION || stored.checksum != checksum_of(&stored))
        return false;
    out->fence = stored.fence < FLOOR_MAX ? stored.fence : FLOOR_MAX;
    out->made = stored.made;
    out->kept = stored.kept;
    return true;
}

/* A draft_fill. */
static bool fill(int fd, const char *arg) {
    const struct floor none = {.fd = -1};

    (void)arg;
    return write_to(fd, &none);
}

static bool is_ours(const struct localdir *dir, int fd) {
    struct stat status;

    return fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
           (!dir->own || status.st_uid == geteuid());
}

/* Opens the file, making it if it is missing. */
static int open_file(const struct localdir *dir) {
    const int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int fd = openat(dir->fd, FLOOR_NAME, flags);

    if (fd < 0 && errno == ENOENT && draft_make(dir, FLOOR_NAME, fill, "") == 0)
        fd = openat(dir->fd, FLOOR_NAME, flags);
    if (fd < 0 || is_ours(dir, fd))
        return fd;
    close(fd);
    errno = EPERM;
    return -1;
}

uint64_t floor_of_new_file(const struct localdir *dir, bool *due) {
    struct floor floor = {.fd = open_file(dir)};
    bool ours, read = false;

    *due = false;
    if (floor.fd < 0)
        return 0;
    ours = flock(floor.fd, LOCK_EX | LOCK_NB) == 0;
    for (int tries = 0; !read && tries < READ_TRIES; tries++) {
        read = read_from(floor.fd, &floor);
        if (!read && ours)
            break;
        if (!read)
            sched_yield();
    }
    if (read && ours) {
        floor.made++;
        *due = floor.made >= FLOOR_MADE_MOST && floor.made >= floor.kept;
        write_to(floor.fd, &floor); /* or not: it is counted too low */
    }
    close(floor.fd); /* and the flock with it */
    return read ? floor.fence : 0;
}

bool floor_enter(struct floor *floor, const struct localdir *dir, struct loop *loop,
                 int64_t deadline_ms) {
    *floor = (struct floor){.fd = open_file(dir)};
    if (floor->fd < 0) {
        floor->unreliable = errno == EPERM || errno == EACCES || errno == ELOOP ||
                            errno == EISDIR || errno == ENXIO;
        return false;
    }
    while (flock(floor->fd, LOCK_EX | LOCK_NB) != 0) {
        int64_t now_ms = clock_now_ms();

        if ((errno != EWOULDBLOCK && errno != EINTR) || now_ms >= deadline_ms ||
            loop_sleep(loop, clock_earlier(now_ms + PAUSE_MS, deadline_ms)) == WAKE_STOP) {
            close(floor->fd);
            floor->fd = -1;
            return false;
        }
    }
    if (read_from(floor->fd, floor))
        return true;
    close(floor->fd);
    floor->fd = -1;
    floor->unreliable = true;
    return false;
}

bool floor_raise(struct floor *floor, uint64_t fence) {
    struct floor higher = *floor;
    uint64_t now_us = (uint64_t)clock_wall_us();

    if (fence <= floor->fence)
        return true;
    if (fence > FLOOR_MAX) {
        errno = EOVERFLOW;
        return false;
    }
    /* To the clock, which most fences are below: then it is written once for all of them. */
    higher.fence = fence < now_us && now_us <= FLOOR_MAX ? now_us : fence;
    if (!write_to(floor->fd, &higher) || fdatasync(floor->fd) != 0)
        return false;
    *floor = higher;
    return true;
}

void floor_leave(struct floor *floor, uint32_t kept) {
    floor->made = 0;
    floor->kept = kept;
    write_to(floor->fd, floor); /* or not: the next look comes sooner */
    close(floor->fd);
    floor->fd = -1;
}
