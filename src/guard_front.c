#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "guard_part.h"
#include "output.h"
#include "text.h"

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
    struct post *post; /* NULL: this image was executed in the place of the first */
    int signals;
    int stops;             /* readable when there is a SIGTSTP; -1: we take none */
    int64_t look_at_ms;    /* GUARD was overdue, but so were we: look again then; or 0 */
    int64_t give_up_at_ms; /* GUARD was killed by us: no longer waited for; or 0 */
};

static struct shared *at(const struct front *front) {
    return front->post ? front->post->shared : front->shared;
}

pid_t guard_start(int (*body)(void *), void *arg, char *stack_end, int flags) {
#if GUARD_SHARES_MEMORY
    return clone(body, stack_end, CLONE_VM | CLONE_FILES | flags, arg);
#else
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | flags, 0, 0, 0, 0);

    (void)stack_end;
    if (pid == 0)
        body(arg);
    return pid;
#endif
}

/* ---- FRONT ---- */

/* Executes vlock in this process, for a memory of its own: who kills what is in one memory (the
 * kernel, when it runs out of it) kills all processes in there. Children, signals that wait, and
 * GUARD's word of our death outlast that. Returns if it cannot be done. */
static void come_apart(struct post *post) {
    if (post->memory < 0)
        return;
    /* A table of descriptors of our own first: what GUARD starts meanwhile must not inherit it.
     * Where that is forbidden, execve makes one. */
    if (post->unshares)
        unshare(CLONE_FILES);
    if (fcntl(post->memory, F_SETFD, 0) == 0) {
        prctl(PR_GET_NAME, post->shared->comm);
        execve("/proc/self/exe", post->argv, post->envp);
        fcntl(post->memory, F_SETFD, FD_CLOEXEC);
    }
    post->memory = -1; /* GUARD does without */
}

/* A line at a time, as it was said. One that nobody takes costs the others their patience. */
void guard_speak(struct shared *shared, int patience_ms) {
    unsigned put = __atomic_load_n(&shared->put, __ATOMIC_SEQ_CST), taken = shared->taken;
    char line[PIPE_BUF];

    while (taken != put) {
        size_t length = 0;
        do
            line[length++] = shared->said[taken++ % SAID_BYTES];
        while (taken != put && length < sizeof line && line[length - 1] != '\n');
        if (!output_error(line, length, patience_ms))
            patience_ms = 0;
        __atomic_store_n(&shared->taken, taken, __ATOMIC_SEQ_CST);
    }
}

/* How long to sleep, for poll(2). (In its first moments GUARD does not call us: but a SIGSTOP of it
 * does, by SIGCHLD.) */
static int until_due_ms(const struct front *front) {
    int64_t at_ms = __atomic_load_n(&at(front)->told.due_ms, __ATOMIC_SEQ_CST), left_ms;

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
    static char ear_stack[EAR_STACK_BYTES] __attribute__((aligned(64)));

    if (front->post)
        come_apart(front->post);
    guard_start_ear(at(front),
                    (front->post ? front->post->ear_stack : ear_stack) + EAR_STACK_BYTES);
    if (!front->post || !GUARD_SHARES_MEMORY) /* else GUARD would find our errno */
        guard_speak(at(front), left_ms < 0 || left_ms > PATIENCE_MS ? PATIENCE_MS : left_ms);
}

/* Reaps whatever has ended (PID 1 inherits others' children; so does who was executed by a shell
 * with jobs). True once it was GUARD. */
static bool reap(const struct front *front) {
    struct shared *shared = at(front);
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == shared->guard) {
            shared->told.killed_by = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
            return true;
        }
        if (pid == shared->ear)
            shared->ear = 0;
    }
    return false;
}

/* To GUARD, and whether the terminal had sent it to the whole group: a hangup goes to who leads the
 * session, alone. A queue of signals that is full has room for one without that word. */
static void pass_on(pid_t guard, const struct signalfd_siginfo *info) {
    bool alone = info->ssi_signo == SIGHUP && getsid(0) == getpid();
    bool group = info->ssi_code == SI_KERNEL && !alone;
    union sigval value = {.sival_int = group ? FROM_TERMINAL : 0};

    if (sigqueue(guard, (int)info->ssi_signo, value) != 0)
        kill(guard, (int)info->ssi_signo);
}

/* Says whether FRONT stops, to a GUARD that may be about to start the command: it looks at
 * `stopped` once it has set `running`, we the other way round, so that one of us sees the other. */
static void tell_stopped(struct shared *shared, bool stopped) {
    __atomic_store_n(&shared->stopped, stopped, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&shared->told.running, __ATOMIC_SEQ_CST))
        kill(shared->guard, GUARD_FRONT_STOPS);
}

/* Ctrl-Z is taken by FRONT, so that who still waits does not start a command in a stopped job. A
 * command that runs is stopped by the terminal itself, and GUARD goes on renewing. The signal was
 * not read: what it does by itself, to us, is left to the kernel, which spares those whom no shell
 * could continue, and takes it back when a SIGCONT comes before it was delivered. */
static void stop(struct shared *shared) {
    sigset_t stops;

    tell_stopped(shared, true);
    sigemptyset(&stops);
    sigaddset(&stops, SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &stops, NULL); /* here we sleep, until we are continued */
    sigprocmask(SIG_BLOCK, &stops, NULL);
    tell_stopped(shared, false);
}

/* What FRONT takes besides: GUARD's word. */
static void take_more(const struct loop *loop, sigset_t *taken) {
    sigset_t set = loop->taken;

    sigaddset(&set, GUARD_CALLS);
    if (signalfd(loop->signals, &set, SFD_CLOEXEC | SFD_NONBLOCK) >= 0)
        sigprocmask(SIG_BLOCK, &set, NULL);
    *taken = set;
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
    struct shared *shared = at(front);

    guard_end_ear(shared);
    shared->told.overdue = front->give_up_at_ms != 0;
    if (shared->told.ended)
        guard_speak(shared, PATIENCE_MS);
}

/* ---- GUARD is due ---- */

/* Kills a GUARD that is overdue. True once it was, but does not die: it is not waited for. */
static bool see_what_is_due(struct front *front) {
    struct shared *shared = at(front);
    int64_t now_ms = clock_now_ms();
    int64_t late_ms = now_ms - __atomic_load_n(&shared->told.due_ms, __ATOMIC_SEQ_CST);

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
    kill(shared->guard, SIGKILL);
    front->give_up_at_ms = now_ms + DYING_MS;
    return false;
}

/* Until GUARD has ended, or was killed. One signal is read for each time that poll says there is
 * one: to read until there is none left would be a failing call. */
static void attend(struct front *front) {
    pid_t guard = front->shared->guard;

    while (!see_what_is_due(front)) {
        struct pollfd fds[] = {{.fd = front->signals, .events = POLLIN},
                               {.fd = front->stops, .events = POLLIN}};
        struct signalfd_siginfo info;

        int ready = poll(fds, 2, until_due_ms(front));

        if (ready < 0 && errno != EINTR) { /* more than RLIMIT_NOFILE allows now, or no memory */
            poll(NULL, 0, DEAF_MS);
            if (reap(front))
                return;
        }
        if (ready <= 0)
            continue;
        if (fds[1].revents)
            stop(at(front));
        if (!fds[0].revents || read(front->signals, &info, sizeof info) != sizeof info)
            continue;
        if (info.ssi_signo == GUARD_CALLS)
            hear(front);
        else if (info.ssi_signo != SIGCHLD)
            pass_on(guard, &info);
        else if (reap(front))
            return;
    }
}

/* Where the C library keeps its thread's number, the kernel writes 0 when FRONT ends, or executes
 * vlock anew, while GUARD uses that memory: glibc would then take locks that nobody has for GUARD's
 * own (EDEADLK), and OpenSSL could make no connection any more. */
static void keep_thread_number(void) {
    syscall(SYS_set_tid_address, NULL);
}

enum outcome guard_run(struct loop *loop, loop_on_signal *on_signal, void *signal_arg,
                       guard_work *work, void *arg, const void *estate, size_t estate_bytes,
                       char **argv, struct guard_told *told, struct trouble *why) {
    size_t bytes = GUARD_HOLE_BYTES + GUARD_STACK_BYTES;
    int kind = GUARD_SHARES_MEMORY ? MAP_PRIVATE | MAP_STACK | MAP_NORESERVE : MAP_SHARED;
    enum outcome outcome = loop_take_signals(loop, on_signal, signal_arg, why);
    struct loop before;
    struct shared *shared;
    struct front front = {.stops = -1};
    struct post *post;
    char *room;
    pid_t pid = -1;

    if (outcome != DONE)
        return outcome;
    before = *loop;
    room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
    if (room != MAP_FAILED && mprotect(room, GUARD_HOLE_BYTES, PROT_NONE) == 0) {
        post = (struct post *)(room + bytes - (sizeof *post + 63) / 64 * 64);
        shared = (struct shared *)post->first;
        post->guard = (struct guard){.front = getpid(), .told = &shared->told, .post = post};
        post->shared = shared;
        post->loop = loop;
        post->work = work;
        post->arg = arg;
        post->on_signal = on_signal;
        post->signal_arg = signal_arg;
        post->estate = estate;
        post->estate_bytes = estate_bytes;
        post->argv = argv;
        post->memory = -1;
        post->unshares = unshare(0) == 0; /* some containers forbid it: no failing call later */
        shared->front = post->guard.front;
        shared->told.due_ms = CLOCK_NEVER;
        take_more(loop, &shared->signals);
        front.stops = take_stops();
        keep_thread_number();
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        pid = guard_start(guard_be, post, (char *)post, SIGCHLD);
    }
    if (pid < 0)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot start a process: %s", strerror(errno));
    shared->guard = pid;
    front.shared = shared;
    front.post = post;
    front.signals = before.signals;
    attend(&front);
    depart(&front);
    *loop = before;
    *told = at(&front)->told;
    *why = post->why;
    return *why->text ? FAILED : DONE;
}

/* ---- FRONT, executed anew ---- */

/* What the variable names; NULL if that is not what GUARD made for this process. If it is, but
 * there is no memory for it, the process ends: GUARD sees to the rest. */
static struct shared *inherited(void) {
    const char *value = getenv(GUARD_VARIABLE);
    unsigned long long fd;
    struct shared *shared, look;
    struct stat status;

    if (!value || !text_number(value, 1 << 20, &fd) || fstat((int)fd, &status) != 0 ||
        pread((int)fd, &look, sizeof look, 0) != sizeof look ||
        memcmp(look.magic, GUARD_MAGIC, sizeof look.magic) != 0 ||
        look.bytes != (size_t)status.st_size || look.front != getpid())
        return NULL;
    shared = mmap(NULL, look.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
    if (shared == MAP_FAILED)
        _exit(EXIT_SYSTEM);
    close((int)fd);
    return shared;
}

void *guard_resume(struct guard_told *told) {
    struct shared *shared = inherited();
    struct front front = {.shared = shared};

    unsetenv(GUARD_VARIABLE);
    if (!shared)
        return NULL;
    prctl(PR_SET_NAME, shared->comm);
    shared->apart = true;
    front.signals = signalfd(-1, &shared->signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (front.signals >= 0) {
        front.stops = take_stops();
        hear(&front);
        if (!reap(&front)) /* it may have ended while nobody was there to hear it */
            attend(&front);
    } else {
        /* No descriptor is left: deaf to signals, but there. */
        while (!reap(&front) && !see_what_is_due(&front)) {
            guard_speak(shared, PATIENCE_MS);
            poll(NULL, 0, DEAF_MS);
        }
    }
    depart(&front);
    *told = shared->told;
    return shared->estate;
}
