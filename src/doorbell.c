#include "doorbell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    NAME_BYTES = 64,
    OPEN_FLAGS = O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC,
    LISTEN_BYTES = 256
};

static void name_bell(char name[NAME_BYTES], const char *id) {
    snprintf(name, NAME_BYTES, DOORBELL_BEGINS "%s", id);
}

static bool is_fifo(int fd, struct stat *status) {
    return fstat(fd, status) == 0 && S_ISFIFO(status->st_mode);
}

int doorbell_hang(const struct localdir *dir, const char *id) {
    char name[NAME_BYTES];
    struct stat status;
    int fd;

    name_bell(name, id);
    if (mkfifoat(dir->fd, name, 0600) != 0 &&
        (errno != EEXIST || unlinkat(dir->fd, name, 0) != 0 || mkfifoat(dir->fd, name, 0600) != 0))
        return -1;
    /* Open at both ends: with nobody at the other, poll would say HUP for ever. */
    fd = openat(dir->fd, name, O_RDWR | OPEN_FLAGS);
    if (fd >= 0 && is_fifo(fd, &status) && status.st_uid == geteuid()) {
        localdir_adopt(dir, fd);
        return fd;
    }
    if (fd >= 0) {
        close(fd);
        errno = EEXIST;
    }
    return -1;
}

bool doorbell_hangs(const struct localdir *dir, const char *id, int bell) {
    char name[NAME_BYTES];
    struct stat ours, there;

    name_bell(name, id);
    return fstat(bell, &ours) == 0 && fstatat(dir->fd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

enum doorbell_state doorbell_reach(const struct localdir *dir, const char *id, int *bell) {
    char name[NAME_BYTES];
    struct stat status;

    name_bell(name, id);
    *bell = openat(dir->fd, name, O_WRONLY | OPEN_FLAGS);
    if (*bell < 0) {
        if (errno == EACCES || errno == EPERM)
            return DOORBELL_CLOSED;
        return errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EINTR
                   ? DOORBELL_UNKNOWN
                   : DOORBELL_DEAD;
    }
    if (is_fifo(*bell, &status))
        return DOORBELL_LIVES;
    close(*bell);
    *bell = -1;
    return DOORBELL_DEAD;
}

bool doorbell_ring(int bell, enum doorbell_call call) {
    char byte = (char)call;
    /* EAGAIN: so much was rung that he has not heard yet that once more makes no difference. */
    bool rung = write(bell, &byte, 1) == 1 || errno == EAGAIN;

    close(bell);
    return rung;
}

struct doorbell_heard doorbell_listen(int bell) {
    struct doorbell_heard heard = {0};
    char bytes[LISTEN_BYTES];
    ssize_t length = read(bell, bytes, sizeof bytes);

    if (length > 0) {
        heard.granted = memchr(bytes, DOORBELL_GRANTED, (size_t)length) != NULL;
        heard.first = memchr(bytes, DOORBELL_FIRST, (size_t)length) != NULL;
        heard.near = memchr(bytes, DOORBELL_NEAR, (size_t)length) != NULL;
    }
    return heard;
}

void doorbell_take_down(const struct localdir *dir, const char *id) {
    char name[NAME_BYTES];

    name_bell(name, id);
    unlinkat(dir->fd, name, 0);
}

void doorbell_take_down_dead(const struct localdir *dir, const char *id) {
    int bell;

    if (doorbell_reach(dir, id, &bell) == DOORBELL_DEAD)
        doorbell_take_down(dir, id);
    if (bell >= 0)
        close(bell);
}
