/* guard_front.c - FRONT's side: passes signals on, stops with its job, writes what GUARD has to
 * say, and kills a GUARD that is overdue. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "guard_part.h"
#include "output.h"

enum {
    DEAF_MS = 10,
    PATIENCE_MS = 100,
    MOST_SLEEP_MS = 5000, /* while something is due: poll's clock stops in a suspend */
    HELD_UP_MS = 300,     /* who comes so much too late was stopped or suspended, not only busy: */
    SECOND_LOOK_MS = 100, /* so may GUARD have been, and is given that; the lease is over anyway */
    DYING_MS = 10         /* GUARD, once it was killed, unless the kernel has it */
};

struct front {
    struct shared *shared;
    const struct title *title;
    pid_t guard;
    int signals;
    sigset_t taken;        /* what `signals` takes for the command */
    int stops;             /* readable when there is a SIGTSTP; -1: we take none */
    int64_t look_at_ms;    /* GUARD was overdue, but so were we: look again then; or 0 */
    int64_t give_up_at_ms; /* GUARD was killed by us: no longer waited for; or 0 */
};

/* A line at a time, as it was said. One that nobody takes costs the others their patience. */
static void speak(struct shared *shared, int patience_ms) {
    unsigned put = shared->put, taken = shared->taken;
    char line[PIPE_BUF];

    while (taken != put) {
        size_t length = 0;
        do
            line[length++] = shared->said[taken++ % SAID_BYTES];
        while (taken != put && length < sizeof line && line[length - 1] != '\n');
        if (!output_error(line, length, patience_ms))
            patience_ms = 0;
        shared->taken = taken;
    }
}

void guard_speak(struct shared *shared, int patience_ms) {
    if (shared->put != shared->taken)
        speak(shared, patience_ms);
}

/* How long to sleep, for poll(2). (In its first moments GUARD does not call us: but a SIGSTOP of it
 * does, by SIGCHLD.) */
static int until_due_ms(const struct front *front) {
    int64_t at_ms = front->shared->told.due_ms, left_ms;

    if (front->give_up_at_ms)
        at_ms = front->give_up_at_ms;
    else if (front->look_at_ms)
        at_ms = front->look_at_ms;
    if (at_ms == CLOCK_NEVER)
        return -1;
    left_ms = at_ms - clock_now_ms();
    return left_ms <= 0 ? 0 : left_ms < MOST_SLEEP_MS ? (int)left_ms : MOST_SLEEP_MS;
}

/* GUARD calls: the run has lasted, or there is something to say, which takes no longer than until
 * GUARD is due. */
static void hear(const struct front *front) {
    int left_ms = until_due_ms(front);

    guard_start_ear(front->shared, front->title, &front->taken);
    guard_speak(front->shared, left_ms < 0 || left_ms > PATIENCE_MS ? PATIENCE_MS : left_ms);
}

/* Reaps whatever has ended (PID 1 inherits others' children; so does who was executed by a shell
 * with jobs). True once it was GUARD. */
static bool reap(const struct front *front) {
    struct shared *shared = front->shared;
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == front->guard) {
            shared->told.killed_by = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
            return true;
        }
        if (pid == shared->ear)
            shared->ear = 0;
        if (pid == shared->told.beside)
            shared->told.beside = 0; /* the number may become another's */
    }
    return false;
}

/* For GUARD to decide (guard_signals.c). Not with the signal itself: one that GUARD has got already
 * and not read yet would swallow it. A hangup goes to the process that leads the session, alone. */
static void pass_on(const struct front *front, const struct signalfd_siginfo *info) {
    bool alone = info->ssi_signo == SIGHUP && getsid(0) == getpid();

    guard_put_note(&front->shared->passed,
                   &(struct note){.signo = (int)info->ssi_signo,
                                  .sender = (pid_t)info->ssi_pid,
                                  .terminal = info->ssi_code == SI_KERNEL && !alone});
    kill(front->guard, GUARD_WAKE);
}

/* Says whether FRONT stops, to a GUARD that may be about to start the command: it looks at
 * `stopped` once it has set `running`, we the other way round, so that one of us sees the other. */
static void tell_stopped(const struct front *front, bool stopped) {
    front->shared->stopped = stopped;
    if (!front->shared->told.running)
        kill(front->guard, GUARD_FRONT_STOPS);
}

/* Ctrl-Z is taken by FRONT, so that who still waits does not start a command in a stopped job. A
 * command that runs is stopped by the terminal itself, and GUARD goes on renewing. The signal was
 * not read: what it does by itself, to us, is left to the kernel, which spares those whom no shell
 * could continue, and takes it back when a SIGCONT comes before it was delivered. */
static void stop(const struct front *front) {
    sigset_t stops;

    tell_stopped(front, true);
    sigemptyset(&stops);
    sigaddset(&stops, SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &stops, NULL); /* here we sleep, until we are continued */
    sigprocmask(SIG_BLOCK, &stops, NULL);
    tell_stopped(front, false);
}

/* What FRONT takes besides: GUARD's word. */
static void take_more(const struct loop *loop) {
    sigset_t set = loop->taken;

    sigaddset(&set, GUARD_WAKE);
    if (signalfd(loop->signals, &set, SFD_CLOEXEC | SFD_NONBLOCK) >= 0)
        sigprocmask(SIG_BLOCK, &set, NULL);
}

/* ... and Ctrl-Z, unless it is ignored: the descriptor, or -1. */
static int take_stops(void) {
    struct sigaction found;
    sigset_t set;
    int fd = -1;

    sigemptyset(&set);
    sigaddset(&set, SIGTSTP);
    if (sigaction(SIGTSTP, NULL, &found) == 0 && found.sa_handler != SIG_IGN)
        fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    sigprocmask(fd >= 0 ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
    return fd;
}

/* GUARD is no more. If it was killed, there is something more urgent to do than to write. */
static void depart(const struct front *front) {
    struct shared *shared = front->shared;

    guard_end_ear(shared);
    shared->told.overdue = front->give_up_at_ms != 0;
    if (shared->told.ended)
        guard_speak(shared, PATIENCE_MS);
}

/* ---- GUARD is due ---- */

/* Kills a GUARD that is overdue. True once it was, but does not die: it is not waited for. */
static bool see_what_is_due(struct front *front) {
    int64_t now_ms = clock_now_ms();
    int64_t late_ms = now_ms - front->shared->told.due_ms;

    if (front->give_up_at_ms)
        return now_ms >= front->give_up_at_ms;
    if (late_ms < 0) {
        front->look_at_ms = 0;
        return false;
    }
    if (late_ms > HELD_UP_MS && !front->look_at_ms)
        front->look_at_ms = now_ms + SECOND_LOOK_MS;
    if (now_ms < front->look_at_ms)
        return false;
    kill(front->guard, SIGKILL);
    front->give_up_at_ms = now_ms + DYING_MS;
    return false;
}

/* Until GUARD has ended, or was killed. One signal is read for each time that poll says there is
 * one: to read until there is none left would be a failing call. */
static void attend(struct front *front) {
    while (!see_what_is_due(front)) {
        struct pollfd fds[] = {{.fd = front->signals, .events = POLLIN},
                               {.fd = front->stops, .events = POLLIN}};
        struct signalfd_siginfo info;

        int ready = poll(fds, 2, until_due_ms(front));

        if (ready < 0 && errno != EINTR) { /* more than RLIMIT_NOFILE allows now, or no memory */
            poll(NULL, 0, DEAF_MS);
            fds[0].revents = POLLIN; /* it can be read all the same */
            fds[1].revents = 0;
            ready = 1;
            if (reap(front))
                return;
        }
        if (ready <= 0)
            continue;
        if (fds[1].revents)
            stop(front);
        if (!fds[0].revents || read(front->signals, &info, sizeof info) != sizeof info)
            continue;
        if (info.ssi_signo == GUARD_WAKE)
            hear(front);
        else if (info.ssi_signo != SIGCHLD)
            pass_on(front, &info);
        else if (reap(front))
            return;
    }
}

/* ---- making GUARD ---- */

/* Memory that is seen by both, and the socket of guard_keep(): FRONT holds both of its ends. */
static bool prepare(struct front *front, struct guard *guard, bool keeps) {
    int ends[2] = {-1, -1};
    void *room = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (room == MAP_FAILED ||
        (keeps && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0))
        return false;
    front->shared = guard->shared = room;
    guard->keeping = ends[0];
    front->shared->told.due_ms = CLOCK_NEVER;
    return true;
}

enum outcome guard_run(struct loop *loop, const struct guard_job *job,
                       const struct guard_told **told, struct trouble *why) {
    struct front front = {.title = job->title, .guard = -1};
    struct guard guard = {.front = getpid(), .loop = loop, .job = job};
    enum outcome outcome = loop_take_signals(loop, job->on_signal, job->signal_arg, why);

    if (outcome != DONE)
        return outcome;
    front.signals = loop->signals;
    front.taken = loop->taken;
    sigdelset(&front.taken, SIGCHLD);
    if (!prepare(&front, &guard, job->keeps))
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot prepare to start a process: %s",
                           strerror(errno));
    take_more(loop);
    front.stops = take_stops();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    front.guard = fork();
    if (front.guard == 0)
        guard_be(&guard);
    if (front.guard < 0)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot start a process: %s", strerror(errno));
    attend(&front);
    depart(&front);
    *told = &front.shared->told;
    *why = front.shared->why;
    return *why->text ? FAILED : DONE;
}
