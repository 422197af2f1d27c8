#include "filewatch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { PATH_BYTES = 32, EVENTS_BYTES = 4096 };

int filewatch_open(int file) {
    const uint32_t mask = IN_MODIFY | IN_CLOSE_NOWRITE | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF;
    char path[PATH_BYTES];
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    int reason;

    if (watch < 0)
        return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (inotify_add_watch(watch, path, mask) >= 0)
        return watch;
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
