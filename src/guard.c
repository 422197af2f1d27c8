/* guard.c - GUARD's side: what it does for FRONT, and what it tells it. */
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guard_part.h"

enum { STOP_LOOKS = 3000 /* of 1 ms: FRONT may be long in coming to that */ };

void guard_read_text(const char *path, char *text, size_t bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, bytes - 1);

    if (fd >= 0)
        close(fd);
    text[length > 0 ? length : 0] = '\0';
}

/* In pieces: a user of many groups has a long list of them before that line. */
bool guard_waits_for(pid_t pid, unsigned signo) {
    static const char label[] = "\nShdPnd:";
    enum { LINE = 32, PIECE = 1024 };
    char path[48], text[LINE + PIECE + 1], *at = NULL;
    size_t kept = 0;
    ssize_t length;
    int fd;

    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    while (!at && fd >= 0 && (length = read(fd, text + kept, PIECE)) > 0) {
        size_t whole = kept + (size_t)length;

        text[whole] = '\0';
        at = strstr(text, label);
        if (at && !strchr(at + 1, '\n') && whole < sizeof text - 1) { /* its end is to come */
            memmove(text, at, whole - (size_t)(at - text));
            kept = whole - (size_t)(at - text);
            at = NULL;
        } else if (!at) {
            kept = whole < LINE ? whole : LINE;
            memmove(text, text + whole - kept, kept);
        }
    }
    if (fd >= 0)
        close(fd);
    return at && (strtoull(at + strlen(label), NULL, 16) >> (signo - 1) & 1);
}

bool guard_is_orphan(const struct guard *guard) {
    return getppid() != guard->front;
}

struct guard_told *guard_told(const struct guard *guard) {
    return &guard->shared->told;
}

/* FRONT, if it lives, looks into the shared memory. */
static void wake_front(const struct guard *guard) {
    if (!guard_is_orphan(guard))
        kill(guard->front, GUARD_WAKE);
}

void guard_listen(struct guard *guard) {
    if (guard->listens || guard_is_orphan(guard))
        return;
    setsid();
    guard->listens = true;
    guard->shared->ear_wanted = true;
    wake_front(guard);
}

/* FRONT sleeps until the instant that it knows; it looks again then. */
void guard_due(const struct guard *guard, int64_t at_ms) {
    struct guard_told *told = guard_told(guard);
    bool sooner = at_ms < told->due_ms;

    told->due_ms = at_ms;
    if (sooner && guard->listens)
        wake_front(guard);
}

/* A descriptor that was sent over a socket and not received is kept open by the socket's queue.
 * FRONT holds the other end of this one, and never reads from it: so nobody has to be woken, and
 * the queue ends with FRONT. */
bool guard_keep(void *guard, int fd) {
    const struct guard *self = guard;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof fd)];
    } control = {0};
    char letter = 'k'; /* a message of none is not kept */
    struct iovec byte = {.iov_base = &letter, .iov_len = 1};
    struct msghdr message = {.msg_iov = &byte,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    return sendmsg(self->keeping, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
}

bool guard_say(const void *guard, const char *bytes, size_t length, bool needed) {
    const struct guard *self = guard;
    struct shared *shared = self->shared;
    unsigned put = shared->put, used = put - shared->taken;
    unsigned room = needed ? SAID_BYTES : SAID_BYTES / 2;

    if (guard_is_orphan(self)) {
        guard_speak(shared, 0);
        return false;
    }
    if (used > room || length > room - used)
        return true;
    for (size_t i = 0; i < length; i++)
        shared->said[(put + i) % SAID_BYTES] = bytes[i];
    shared->put = put + (unsigned)length;
    if (self->listens)
        wake_front(self);
    return true;
}

/* ---- while FRONT is stopped ---- */

/* The terminal stops all of us, one after the other: what FRONT is yet to take, is waited for. */
static void await_front(const struct guard *guard) {
    int looks = 0;

    do
        poll(NULL, 0, 1);
    while (++looks < STOP_LOOKS && !guard->shared->stopped &&
           guard_waits_for(guard->front, GUARD_FRONT_STOPS));
}

/* Rests while FRONT is stopped, and lives. This is where we wait anyway: nobody who needs what we
 * have in hand is kept waiting (a SIGSTOP could come in the middle of a store's work). */
static void rest_with_front(const struct guard *guard) {
    /* A SIGCONT that comes late takes a SIGTSTP back that waits, and with it FRONT's word. */
    struct timespec a_while = {.tv_sec = 1};
    sigset_t wakes;

    sigemptyset(&wakes);
    sigaddset(&wakes, GUARD_FRONT_STOPS);
    sigaddset(&wakes, GUARD_FRONT_GONE);
    while (guard->shared->stopped && !guard_is_orphan(guard))
        sigtimedwait(&wakes, NULL, &a_while);
    if (guard_is_orphan(guard))
        kill(guard->self, GUARD_FRONT_GONE); /* for the loop, which has not seen it */
}

bool guard_begin(const struct guard *guard) {
    struct guard_told *told = guard_told(guard);
    struct timespec at_once = {0};
    sigset_t stops;

    sigemptyset(&stops);
    sigaddset(&stops, GUARD_FRONT_STOPS);
    for (;;) {
        if (sigtimedwait(&stops, NULL, &at_once) > 0)
            await_front(guard);
        told->running = true;
        if (guard_is_orphan(guard))
            return false;
        if (!guard->shared->stopped)
            return true;
        told->running = false;
        rest_with_front(guard);
    }
}

/* ---- GUARD ---- */

/* Shows the job what FRONT has passed on. */
static bool show_passed(struct guard *guard) {
    struct notes *passed = &guard->shared->passed;
    struct signalfd_siginfo info = {0};
    struct note note;
    bool stop = false;

    uint64_t lost;

    while (guard_take_note(passed, &note)) {
        info.ssi_signo = (uint32_t)note.signo;
        stop = guard->job->on_signal(guard->job->signal_arg, &info) || stop;
    }
    lost = guard_take_lost(passed);
    for (uint32_t signo = 1; signo < SIGNALS; signo++) {
        info.ssi_signo = signo;
        if (lost >> signo & 1)
            stop = guard->job->on_signal(guard->job->signal_arg, &info) || stop;
    }
    return stop;
}

/* Until there is a command. */
static bool on_signal(void *arg, const struct signalfd_siginfo *info) {
    struct guard *guard = arg;

    if (info->ssi_signo == GUARD_WAKE)
        return show_passed(guard);
    if (info->ssi_signo != GUARD_FRONT_STOPS)
        return guard->job->on_signal(guard->job->signal_arg, info);
    if (!guard_from_front(guard, info))
        await_front(guard);
    rest_with_front(guard);
    return false;
}

/* GUARD's own signals: FRONT's word, that of FRONT's death and of its being stopped. No other must
 * end or stop GUARD: what a job's --signal sends to all of a tree, what reading and writing to a
 * terminal from another group brings. (The mask that the command gets is the loop's.) */
static enum outcome take_signals(struct guard *guard, struct trouble *why) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t quiet, extra;

    sigfillset(&quiet);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&quiet, faults[i]);
    sigprocmask(SIG_BLOCK, &quiet, NULL);
    sigemptyset(&extra);
    sigaddset(&extra, GUARD_WAKE);
    sigaddset(&extra, GUARD_FRONT_GONE);
    sigaddset(&extra, GUARD_FRONT_STOPS);
    return loop_retake_signals(guard->loop, &extra, on_signal, guard, why);
}

void guard_be(struct guard *guard) {
    struct guard_told *told = guard_told(guard);

    guard->self = getpid();
    title_set(guard->job->title, GUARD_NAME, GUARD_NAME);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (take_signals(guard, &guard->shared->why) != DONE) {
        told->ended = true;
        _exit(EXIT_SYSTEM);
    }
    prctl(PR_SET_PDEATHSIG, GUARD_FRONT_GONE);
    if (guard_is_orphan(guard)) { /* FRONT died before that; or it lives, and we cannot see it */
        trouble_say(&guard->shared->why, FAILED, EXIT_SYSTEM,
                    "what this process starts is in another pid namespace: use unshare --fork");
        _exit(EXIT_SYSTEM);
    }
    told->status = guard->job->work(guard, guard->job->arg);
    told->ended = true;
    _exit(EXIT_DONE);
}

/* Whether FRONT's session has a terminal: the fifth field behind the name in /proc/PID/stat. */
static bool has_terminal(pid_t front) {
    char path[48], text[512];
    unsigned long long number = 0;
    char *at;

    snprintf(path, sizeof path, "/proc/%ld/stat", (long)front);
    guard_read_text(path, text, sizeof text);
    at = strrchr(text, ')');
    for (int field = 0; at && field < 5; field++)
        at = strchr(at + 1, ' ');
    if (at)
        number = strtoull(at + 1, NULL, 10);
    return number != 0;
}

void guard_show_stopped(const struct guard *guard, int signo) {
    if (!guard_is_orphan(guard) && has_terminal(guard->front))
        kill(guard->front, signo ? signo : SIGCONT);
}
