#include "filewatch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATH_BYTES = 32, EVENTS_BYTES = 4096 };

static bool add(int watch, int fd, uint32_t mask) {
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return inotify_add_watch(watch, path, mask) >= 0;
}

int filewatch_open(int file, int directory) {
    const uint32_t names = IN_MOVE_SELF | IN_DELETE_SELF;
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    int reason;

    if (watch < 0)
        return -1;
    if (add(watch, file, names | IN_MODIFY | IN_CLOSE_NOWRITE | IN_ATTRIB)) {
        add(watch, directory, names); /* one that cannot be read cannot be watched, either */
        return watch;
    }
    reason = errno;
    close(watch);
    errno = reason;
    return -1;
}

struct filewatch_seen filewatch_look(int watch) {
    struct filewatch_seen seen = {0};
    char bytes[EVENTS_BYTES];
    ssize_t length = read(watch, bytes, sizeof bytes);

    for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= length;) {
        struct inotify_event event;

        memcpy(&event, bytes + at, sizeof event);
        seen.written = seen.written || (event.mask & IN_MODIFY);
        seen.closed = seen.closed || (event.mask & IN_CLOSE_NOWRITE);
        seen.moved = seen.moved || !(event.mask & (IN_MODIFY | IN_CLOSE_NOWRITE));
        at += (ssize_t)(sizeof event + event.len);
    }
    return seen;
}

/* A socket whose only message holds the socket itself can be reached by nobody, once all else is
 * closed: a thread of the kernel's own collects it, with what is beside it in the message (since
 * Linux 6.8; before, closing the other end does, and takes the time that close() would). */
static void bury(int watch, const int ends[2]) {
    const int buried[2] = {watch, ends[1]};
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof buried)];
    } control = {.bytes = {0}};
    struct iovec byte = {.iov_base = (char[]){0}, .iov_len = 1};
    struct msghdr message = {.msg_iov = &byte,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};

    control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof buried),
                                    .cmsg_level = SOL_SOCKET,
                                    .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.head), buried, sizeof buried);
    sendmsg(ends[0], &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void filewatch_close(int watch) {
    int ends[2];

    if (watch < 0)
        return;
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) == 0) {
        bury(watch, ends); /* or not: then the next line takes its time */
        close(watch);
        close(ends[1]);
        close(ends[0]);
    } else {
        close(watch);
    }
}
