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

enum { LINE_BYTES = 4096, STAMP_BYTES = 32 };

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
    char safe[LINE_BYTES / 2], shown[LINE_BYTES / 4], stamp[STAMP_BYTES], line[LINE_BYTES];
    time_t now = time(NULL);
    struct tm utc;
    int length;

    text_printable(safe, sizeof safe, text);
    text_printable(shown, sizeof shown, name);
    if (!gmtime_r(&now, &utc) || strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        snprintf(stamp, sizeof stamp, "?");
    length =
        snprintf(line, sizeof line, "%s vlock[%ld]: %s: %s\n", stamp, (long)getpid(), shown, safe);
    if (length > 0 && append(path, line, (size_t)length))
        return;
    openlog("vlock", LOG_PID, LOG_USER);
    syslog(LOG_WARNING, "%s: %s", shown, safe);
    closelog();
}
