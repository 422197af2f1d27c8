#include "keeper_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

enum { LINE_BYTES = 4096, STAMP_BYTES = 32 }; /* half of a line is enough for any NAME */

/* The file, or -1 with errno. */
static int open_log(const char *path) {
    const int flags = O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int fd = open(path, flags | O_CREAT, 0600);
    struct stat status;

    if (fd < 0)
        return -1;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
        status.st_nlink == 1)
        return fd;
    close(fd);
    errno = ELOOP;
    return -1;
}

/* In one write: several keepers may have one file. */
static bool append(const char *path, const char *line, size_t length) {
    int fd = path ? open_log(path) : -1;
    bool done = fd >= 0 && write(fd, line, length) == (ssize_t)length;

    if (fd >= 0)
        close(fd);
    return done;
}

void keeper_log(const char *path, const char *name, const char *text) {
    char line[LINE_BYTES], stamp[STAMP_BYTES];
    const char *message;
    time_t now = time(NULL);
    struct tm utc;
    size_t length;

    if (!gmtime_r(&now, &utc) || strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        snprintf(stamp, sizeof stamp, "?");
    length = (size_t)snprintf(line, sizeof line, "%s vlock[%ld]: ", stamp, (long)getpid());
    message = line + length;
    length += text_printable(line + length, sizeof line - length, name);
    length += text_printable(line + length, sizeof line - length, ": ");
    length += text_printable(line + length, sizeof line - 1 - length, text);
    line[length] = '\n';
    if (append(path, line, length + 1))
        return;
    openlog("vlock", LOG_PID, LOG_USER);
    syslog(LOG_WARNING, "%.*s", (int)(line + length - message), message);
    closelog();
}
