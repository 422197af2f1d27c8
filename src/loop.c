#include "loop.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "clock.h"

enum {
    MAX_WATCHED = 8,
    MAX_SIGNALS = 16, /* that are read in one go: more than there are kinds */
    SOON_MS =
        50 /* poll's own clock, which stops in a suspend, is good enough for so short a time */
};

void loop_init(struct loop *loop) {
    *loop = (struct loop){.signals = -1, .timer = -1, .watched = -1};
    sigemptyset(&loop->mask_found);
}

/* The signals that end a wait or that a command is to see. An ignored signal is left alone:
 * blocked, it would reach the signalfd although whoever started us wants it ignored. */
static void wanted_signals(sigset_t *set) {
    static const int wanted[] = {SIGHUP,  SIGINT,  SIGQUIT,  SIGTERM,
                                 SIGUSR1, SIGUSR2, SIGWINCH, SIGCHLD};

    sigemptyset(set);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        struct sigaction found;
        if (sigaction(wanted[i], NULL, &found) == 0 && found.sa_handler != SIG_IGN)
            sigaddset(set, wanted[i]);
    }
}

enum outcome loop_take_signals(struct loop *loop, loop_on_signal *on_signal, void *arg,
                               struct trouble *why) {
    sigset_t set;

    loop->on_signal = on_signal;
    loop->arg = arg;
    if (loop->signals >= 0)
        return DONE;
    wanted_signals(&set);
    loop->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (loop->signals < 0)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot watch signals: %s", strerror(errno));
    sigprocmask(SIG_BLOCK, &set, &loop->mask_found);
    loop->taken = set;
    return DONE;
}

enum outcome loop_retake_signals(struct loop *loop, const sigset_t *extra,
                                 loop_on_signal *on_signal, void *arg, struct trouble *why) {
    sigset_t set;
    int signals;

    sigorset(&set, &loop->taken, extra);
    signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot watch signals: %s", strerror(errno));
    sigprocmask(SIG_BLOCK, &set, NULL);
    loop->signals = signals;
    loop->on_signal = on_signal;
    loop->arg = arg;
    return DONE;
}

void loop_watch_outputs(struct loop *loop, bool watch) {
    loop->watch_outputs = watch;
}

void loop_watch_end(struct loop *loop, int fd) {
    loop->watched = fd;
}

/* The timer would be set by both. */
void loop_forked(struct loop *loop) {
    if (loop->timer >= 0)
        close(loop->timer);
    loop->timer = -1;
    loop->watch_outputs = false;
}

/* Shows the waiting signals to the handler; true if one of them ends the wait. All that wait are
 * read, as the last may be the one that matters; but a stream of them without end must not keep
 * anybody from looking at the time. */
static bool signals_stop(struct loop *loop) {
    struct signalfd_siginfo info;
    bool stop = false;

    for (int reads = 0; reads < MAX_SIGNALS && loop->signals >= 0 &&
                        read(loop->signals, &info, sizeof info) == sizeof info;
         reads++)
        if (loop->on_signal && loop->on_signal(loop->arg, &info))
            stop = true;
    return stop;
}

static bool timer_set(struct loop *loop, int64_t deadline_ms) {
    struct itimerspec at = {
        .it_value = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000}};

    if (loop->timer < 0)
        loop->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    return loop->timer >= 0 && timerfd_settime(loop->timer, TFD_TIMER_ABSTIME, &at, NULL) == 0;
}

static bool pipe_or_socket(int fd) {
    struct stat status;

    return fstat(fd, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
}

/* Adds stdout and stderr where somebody reads them: poll reports POLLERR when he has gone. */
static unsigned add_outputs(const struct loop *loop, struct pollfd *all, unsigned used) {
    for (int fd = 1; loop->watch_outputs && fd <= 2; fd++)
        if (pipe_or_socket(fd))
            all[used++] = (struct pollfd){.fd = fd};
    return used;
}

static bool ready_fds(struct pollfd *fds, const struct pollfd *all, unsigned count) {
    bool ready = false;

    for (unsigned i = 0; i < count; i++) {
        fds[i].revents = all[i].revents;
        ready = ready || (fds[i].fd >= 0 && fds[i].revents);
    }
    return ready;
}

static int left_ms(int64_t deadline_ms) {
    int64_t left = deadline_ms - clock_now_ms();

    return left > 0 ? (int)left : 0;
}

enum wake loop_wait(struct loop *loop, struct pollfd *fds, unsigned count, int64_t deadline_ms) {
    struct pollfd all[MAX_WATCHED + 5] = {0};
    unsigned outputs_from, used = count;
    bool soon = deadline_ms != CLOCK_NEVER && deadline_ms <= clock_now_ms() + SOON_MS;
    int timeout = -1;

    if (count > MAX_WATCHED)
        count = used = MAX_WATCHED;
    for (unsigned i = 0; i < count; i++)
        all[i] = fds[i];
    all[used++] = (struct pollfd){.fd = loop->signals, .events = POLLIN};
    all[used] = (struct pollfd){.fd = -1, .events = POLLIN};
    if (deadline_ms != CLOCK_NEVER && !soon && timer_set(loop, deadline_ms))
        all[used].fd = loop->timer;
    else if (deadline_ms != CLOCK_NEVER)
        timeout = 10; /* no timerfd to be had: look at the clock ourselves */
    all[++used] = (struct pollfd){.fd = loop->watched, .events = POLLIN};
    outputs_from = ++used;
    used = add_outputs(loop, all, used);

    for (;;) {
        int ready = poll(all, used, soon ? left_ms(deadline_ms) : timeout);
        if (ready < 0) { /* a signal that is not ours to read, or a moment's lack of memory; */
            if (errno == EINVAL) /* or more than RLIMIT_NOFILE allows: then without the outputs */
                used = outputs_from;
            if (deadline_ms == CLOCK_NEVER || clock_now_ms() < deadline_ms)
                continue;
            return WAKE_DEADLINE;
        }
        if (all[count].revents && signals_stop(loop))
            return WAKE_STOP;
        if (all[outputs_from - 1].revents) {
            loop->watched = -1;
            loop->watched_gone = true;
            return WAKE_STOP;
        }
        for (unsigned i = outputs_from; i < used; i++)
            if (all[i].revents & (POLLERR | POLLHUP | POLLNVAL)) {
                loop->output_gone = true;
                return WAKE_STOP;
            }
        if (ready_fds(fds, all, count))
            return WAKE_READY;
        if (deadline_ms != CLOCK_NEVER && clock_now_ms() >= deadline_ms)
            return WAKE_DEADLINE;
    }
}

enum wake loop_sleep(struct loop *loop, int64_t deadline_ms) {
    return loop_wait(loop, NULL, 0, deadline_ms);
}

void loop_close(struct loop *loop) {
    if (loop->timer >= 0)
        close(loop->timer);
    if (loop->signals >= 0) {
        loop->on_signal = NULL;
        signals_stop(loop); /* what was to be done is done: they have nothing left to end */
        close(loop->signals);
        sigprocmask(SIG_SETMASK, &loop->mask_found, NULL);
    }
    loop->timer = loop->signals = -1;
}
