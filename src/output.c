#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

bool output_all(int fd, const char *bytes, size_t length) {
    while (length) {
        ssize_t written = write(fd, bytes, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        bytes += written;
        length -= (size_t)written;
    }
    return true;
}

/* Whether stderr takes something within `patience_ms`. */
static bool ready(int fd, int patience_ms) {
    struct pollfd writable = {.fd = fd, .events = POLLOUT};

    return poll(&writable, 1, patience_ms) == 1;
}

/* stderr is shared with others, so O_NONBLOCK must not be set on it: a pipe or terminal is opened
 * once more, as a description of our own. */
static bool put(const char *bytes, size_t length, int patience_ms) {
    struct stat status;
    bool went;
    int fd;

    if (fstat(STDERR_FILENO, &status) != 0)
        return false;
    if (S_ISSOCK(status.st_mode))
        return ready(STDERR_FILENO, patience_ms) &&
               send(STDERR_FILENO, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)length;
    if (!S_ISFIFO(status.st_mode) && !S_ISCHR(status.st_mode))
        return output_all(STDERR_FILENO, bytes, length);
    fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    /* To a terminal in raw mode it may go in pieces. */
    went = ready(fd >= 0 ? fd : STDERR_FILENO, patience_ms) &&
           output_all(fd >= 0 ? fd : STDERR_FILENO, bytes, length);
    if (fd >= 0)
        close(fd);
    return went;
}

bool output_error(const char *bytes, size_t length, int patience_ms) {
    sigset_t ttou, before;
    bool went;

    /* A background job on a terminal that minds would be stopped. */
    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    sigprocmask(SIG_BLOCK, &ttou, &before);
    went = put(bytes, length, patience_ms);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return went;
}
