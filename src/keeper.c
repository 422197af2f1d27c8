#include "keeper.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "keeper_part.h"
#include "text.h"

enum { START_MS = 20000 }; /* more than the slowest machine needs */

void keeper_init(struct keeper *keeper) {
    *keeper = (struct keeper){.pidfd = -1, .near = -1, .far = -1};
}

static bool has_ended(int pidfd) {
    struct pollfd end = {.fd = pidfd, .events = POLLIN};

    return poll(&end, 1, 0) != 0;
}

/* By number it is looked up this once. Its parent may not have noticed its end yet, then there is a
 * process of that number all the same. */
static enum outcome hold_process(struct keeper *keeper, const char *value, struct trouble *why) {
    keeper->pidfd = (int)syscall(SYS_pidfd_open, keeper->process, 0U);
    if (keeper->pidfd < 0 && errno != ESRCH && errno != EINVAL && errno != ENOENT)
        return trouble_say(why, FAILED, EXIT_SYSTEM,
                           "cannot watch process %s for --keep-alive: %s: it takes Linux 5.3, and "
                           "a container that does not forbid pidfd_open",
                           value, strerror(errno));
    if (keeper->pidfd < 0 || has_ended(keeper->pidfd))
        return trouble_say(why, FAILED, EXIT_USAGE,
                           "bad PID '%s' in --keep-alive: there is no such process, or it cannot "
                           "be seen from here: use $$ for the script's own",
                           value);
    return DONE;
}

enum outcome keeper_settle(struct keeper *keeper, struct context *ctx, struct trouble *why) {
    const char *value = ctx->options->value[OPT_KEEP_ALIVE];
    int ends[2];
    unsigned long long number;
    enum outcome outcome;

    if (!value)
        return DONE;
    if (!text_number(value, INT_MAX, &number) || number == 0)
        return trouble_say(why, FAILED, EXIT_USAGE,
                           "bad PID '%s' in --keep-alive: use the number of a process, $$ for the "
                           "script's own",
                           value);
    keeper->asked = true;
    keeper->process = (pid_t)number;
    outcome = hold_process(keeper, value, why);
    if (outcome != DONE)
        return outcome;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot prepare for --keep-alive: %s",
                           strerror(errno));
    keeper->near = ends[0];
    keeper->far = ends[1];
    loop_watch_end(&ctx->loop, keeper->pidfd);
    return DONE;
}

enum outcome keeper_explain(const struct keeper *keeper, const struct context *ctx,
                            enum outcome outcome, struct trouble *why) {
    struct trouble before = *why;

    if (outcome != STOPPED || !ctx->loop.watched_gone)
        return outcome;
    return trouble_say(why, FAILED, EXIT_USAGE, "process %ld of --keep-alive has ended: %s",
                       (long)keeper->process, before.text);
}

/* What the keeper has to say of its beginning: EXIT_DONE, or what went wrong. */
static enum outcome hear(struct keeper *keeper, struct loop *loop, struct trouble *why) {
    struct pollfd said = {.fd = keeper->near, .events = POLLIN};
    struct trouble heard;
    ssize_t length;

    switch (loop_wait(loop, &said, 1, clock_after(clock_now_ms(), START_MS))) {
    case WAKE_STOP:
        return trouble_say(why, STOPPED, EXIT_BUSY, "stopped");
    case WAKE_DEADLINE:
        return trouble_say(why, FAILED, EXIT_SYSTEM, "the keeper did not begin in time");
    case WAKE_READY:
        break;
    }
    length = recv(keeper->near, &heard, sizeof heard, 0);
    if (length != sizeof heard)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "the keeper ended before it had begun");
    if (heard.status == EXIT_DONE)
        return DONE;
    *why = heard;
    return FAILED;
}

enum outcome keeper_start(struct keeper *keeper, struct context *ctx, struct lock *lock,
                          struct trouble *why) {
    if (!keeper->asked)
        return DONE;
    keeper->pid = fork();
    if (keeper->pid == 0)
        keeper_live(keeper, ctx, lock);
    if (keeper->pid < 0) {
        keeper->pid = 0;
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot start a keeper: %s", strerror(errno));
    }
    close(keeper->far);
    keeper->far = -1;
    return hear(keeper, &ctx->loop, why);
}

enum outcome keeper_trust(struct keeper *keeper, const struct lock *lock, struct trouble *why) {
    const char word = KEEPER_TRUSTED;

    if (!keeper->asked)
        return DONE;
    if (clock_now_ms() >= lock->lease.ends_ms)
        return trouble_say(why, LOST, EXIT_NOT_OWNED,
                           "the lease was over before the token was handed over: use a longer -t");
    if (send(keeper->near, &word, sizeof word, MSG_NOSIGNAL) != sizeof word)
        return trouble_say(why, FAILED, EXIT_SYSTEM,
                           "the keeper ended before the token was handed over");
    keeper->pid = 0;
    return DONE;
}

static void close_one(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Killed before its end of the talk is closed: else it would give the lock back at the same time as
 * acquire does. */
void keeper_end(struct keeper *keeper) {
    if (keeper->pid > 0) {
        kill(keeper->pid, SIGKILL);
        while (waitpid(keeper->pid, NULL, 0) < 0 && errno == EINTR)
            ;
        keeper->pid = 0;
    }
    close_one(&keeper->near);
    close_one(&keeper->far);
    close_one(&keeper->pidfd);
}
