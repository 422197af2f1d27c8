/* hostclock.c - which clock the kernel shows us. */
#include "hostclock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINK_BYTES = 32, LINE_BYTES = 128 };

/* The first time namespace: its number is part of the kernel's interface (PROC_TIME_INIT_INO). */
static const char first[] = "time:[4026531834]";

static const int64_t second_ns = 1000000000, ms_ns = 1000000;

/* Which namespace one of ours is; empty if the kernel does not say. */
static void read_link(const char *path, char text[LINK_BYTES]) {
    ssize_t length = readlink(path, text, LINK_BYTES - 1);

    text[length > 0 ? length : 0] = '\0';
}

/* 0, or the reason why the offset is not known. */
static int read_offset(int64_t *offset_ns) {
    FILE *offsets = fopen("/proc/self/timens_offsets", "re");
    char line[LINE_BYTES];
    int reason = offsets ? EPROTO : errno;

    while (offsets && fgets(line, sizeof line, offsets)) {
        long long seconds, rest_ns;

        /* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers do not overflow. */
        if (sscanf(line, "boottime %lld %lld", &seconds, &rest_ns) != 2)
            continue;
        *offset_ns = seconds * second_ns + rest_ns;
        reason = 0;
    }
    if (offsets)
        fclose(offsets);
    return reason;
}

static enum outcome find_offset(struct hostclock *clock, const char *children,
                                struct trouble *why) {
    char ours[LINK_BYTES];
    int reason = read_offset(&clock->offset_ns);

    if (reason == ENOENT && access("/proc/self/stat", F_OK) == 0)
        return DONE; /* a kernel without time namespaces */
    if (reason != 0)
        return trouble_say(why, FAILED, EXIT_SYSTEM,
                           "the kernel does not tell this time namespace's clock (%s): mount /proc",
                           strerror(reason));
    read_link("/proc/self/ns/time", ours);
    if (strcmp(ours, children) != 0)
        return trouble_say(why, FAILED, EXIT_SYSTEM,
                           "child processes would have the clock of another time namespace: use "
                           "unshare --fork");
    return DONE;
}

enum outcome hostclock_init(struct hostclock *clock, struct trouble *why) {
    char children[LINK_BYTES];

    *clock = (struct hostclock){0};
    read_link("/proc/self/ns/time_for_children", children);
    return strcmp(children, first) == 0 ? DONE : find_offset(clock, children, why);
}

static int64_t floor_ms(int64_t ns) {
    return ns / ms_ns - (ns % ms_ns < 0);
}

void hostclock_read(const struct hostclock *clock, int64_t *our_ms, int64_t *host_ms) {
    struct timespec now;
    int64_t now_ns;

    clock_gettime(CLOCK_BOOTTIME, &now);
    now_ns = now.tv_sec * second_ns + now.tv_nsec;
    *our_ms = floor_ms(now_ns);
    *host_ms = floor_ms(now_ns - clock->offset_ns);
}
