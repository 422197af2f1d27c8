#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"

enum { PATIENCE_MS = 1000 };

static bool write_all(int fd, const char *bytes, size_t length) {
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

/* Writes to stderr without ever blocking in write(2). stderr is shared with others, so O_NONBLOCK
 * must not be set on it: a pipe or terminal is opened once more, as a description of our own. */
static void write_patiently(const char *bytes, size_t length, int patience_ms) {
    struct stat status;
    int fd;

    if (fstat(STDERR_FILENO, &status) != 0)
        return;
    if (S_ISSOCK(status.st_mode)) {
        if (ready(STDERR_FILENO, patience_ms))
            send(STDERR_FILENO, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
        return;
    }
    if (!S_ISFIFO(status.st_mode) && !S_ISCHR(status.st_mode)) {
        write_all(STDERR_FILENO, bytes, length);
        return;
    }
    fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (ready(fd >= 0 ? fd : STDERR_FILENO, patience_ms)) {
        /* To a terminal in raw mode, or a nearly full pipe, it may go in pieces. */
        write_all(fd >= 0 ? fd : STDERR_FILENO, bytes, length);
    }
    if (fd >= 0)
        close(fd);
}

/* One line, one write: lines of several vlocks do not mix. Nobody can be told if it fails.
 * SIGTTOU is blocked meanwhile: a background job on a terminal that minds would be stopped. */
static void put(const struct say *say, const char *text, char end) {
    const char *name = say->name;
    char shown[2 * 512 + 1], whole[sizeof shown + 2048];
    sigset_t ttou, before;
    int length;

    text_printable(shown, sizeof shown, name ? name : "");
    length = snprintf(whole, sizeof whole - 1, "vlock: %s%s%s", shown, name ? ": " : "", text);
    if (length < 0)
        return;
    if ((size_t)length > sizeof whole - 2)
        length = (int)sizeof whole - 2;
    whole[length] = end;
    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    sigprocmask(SIG_BLOCK, &ttou, &before);
    write_patiently(whole, (size_t)length + 1, say->hurried ? 0 : PATIENCE_MS);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void line(const struct say *say, const char *text) {
    put(say, text, '\n');
}

__attribute__((format(printf, 2, 0))) static void formatted(const struct say *say,
                                                            const char *format, va_list args) {
    char text[2048], safe[2048];

    vsnprintf(text, sizeof text, format, args);
    text_printable(safe, sizeof safe, text);
    line(say, safe);
}

void say_trouble(const struct say *say, const struct trouble *why) {
    line(say, why->text);
}

void say_note(const struct say *say, const char *format, ...) {
    va_list args;

    if (say->quiet)
        return;
    va_start(args, format);
    formatted(say, format, args);
    va_end(args);
}

void say_loud(const struct say *say, const char *format, ...) {
    va_list args;

    va_start(args, format);
    formatted(say, format, args);
    va_end(args);
}

void say_question(const struct say *say, const char *text) {
    put(say, text, ' ');
}

void say_wire(void *say, const char *text) {
    const struct say *to = say;
    char safe[1024];

    if (!to->verbose)
        return;
    text_printable(safe, sizeof safe, text);
    line(to, safe);
}

bool say_answer(const char *bytes, size_t length) {
    return write_all(STDOUT_FILENO, bytes, length);
}
