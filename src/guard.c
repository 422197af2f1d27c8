#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SHARES_MEMORY 0
#else
#define SHARES_MEMORY 1
#endif

enum {
    STACK_BYTES = 1 << 20,     /* what a name service may need; only what is used is ever there */
    LOST_PAGE_BYTES = 1 << 16, /* below the stack: a page on every machine */
    EAR_STACK_BYTES = 8192,
    EAR_LOOKS = 100,
    SIGNALS = 65,
    FROM_TERMINAL = 1, /* to GUARD, with a signal: the terminal sent it */
    WANTS_EAR = SIGURG /* to FRONT; nothing by itself, and of no meaning to anybody else */
};

/* One mapping: a hole, GUARD's stack, and at its upper end this. */
struct post {
    struct guard guard;
    struct guard_told told;
    struct loop *loop;
    guard_work *work;
    void *arg;
    loop_on_signal *on_signal;
    void *signal_arg;
    struct trouble why;               /* GUARD could not even begin */
    volatile bool ear_wanted;         /* FRONT was asked for one */
    volatile unsigned heard[SIGNALS]; /* how often the ear got each signal */
    unsigned seen[SIGNALS];           /* ... and how many of those FRONT has passed on */
    char ear_stack[EAR_STACK_BYTES] __attribute__((aligned(64)));
};

static pid_t start(int (*body)(void *), struct post *post, char *stack_end, int flags) {
#if SHARES_MEMORY
    return clone(body, stack_end, CLONE_VM | CLONE_FILES | flags, post);
#else
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | flags, 0, 0, 0, 0);

    (void)stack_end;
    if (pid == 0)
        body(post);
    return pid;
#endif
}

/* ---- the ear ---- */

/* A process that does nothing, in FRONT's process group, but count the signals that it gets: those
 * were sent to the whole group. So they are told from those to FRONT alone, which must be passed
 * on. All signals are blocked before it starts. */
static int be_ear(void *arg) {
    struct post *post = arg;
    struct signalfd_siginfo info;
    sigset_t all;
    int signals;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "lock-ear");
    sigfillset(&all);
    signals = signalfd(-1, &all, SFD_CLOEXEC);
    if (getppid() != post->guard.front)
        _exit(EXIT_SYSTEM);
    while (signals >= 0 && read(signals, &info, sizeof info) == sizeof info)
        post->heard[info.ssi_signo % SIGNALS]++;
    _exit(EXIT_SYSTEM);
}

/* In FRONT, who is in the group. */
static void start_ear(struct post *post) {
    sigset_t all, before;
    pid_t pid;

    if (post->told.ear > 0 || !post->ear_wanted)
        return;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid = start(be_ear, post, post->ear_stack + EAR_STACK_BYTES, SIGCHLD);
    post->told.ear = pid > 0 ? pid : 0;
    sigprocmask(SIG_SETMASK, &before, NULL);
}

/* The beginning of a file; nothing if it cannot be read. */
static void read_text(const char *path, char *text, size_t bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, bytes - 1);

    if (fd >= 0)
        close(fd);
    text[length > 0 ? length : 0] = '\0';
}

/* The signals that wait there, as bits; 0 if that cannot be seen. */
static unsigned long long ear_hears(pid_t ear) {
    char path[48], text[4096];
    char *at;

    snprintf(path, sizeof path, "/proc/%ld/status", (long)ear);
    read_text(path, text, sizeof text);
    at = strstr(text, "\nShdPnd:");
    return at ? strtoull(at + strlen("\nShdPnd:"), NULL, 16) : 0;
}

void guard_listen(const struct guard *guard) {
    if (!guard->post->ear_wanted && !guard_is_orphan(guard))
        guard->post->ear_wanted = kill(guard->front, WANTS_EAR) == 0;
}

/* kill(2) holds the kernel's list of processes while it goes through a group, and FRONT may have
 * been quicker than its end: a call that changes that list waits for it. The ear may be slower than
 * we: what is pending there will be counted. */
static bool ear_has(const struct guard *guard, unsigned signo) {
    struct post *post = guard->post;

    if (post->told.ear <= 0 || signo >= SIGNALS)
        return false;
    setpgid(0, 0); /* refused to who leads a session, but not before that */
    for (int looks = 0; looks < EAR_LOOKS && post->heard[signo] == post->seen[signo]; looks++) {
        bool pending = ear_hears(post->told.ear) >> (signo - 1) & 1;
        if (!pending && post->heard[signo] == post->seen[signo])
            return false;
        if (pending)
            poll(NULL, 0, 1);
    }
    post->seen[signo]++;
    return true;
}

/* ---- GUARD ---- */

/* GUARD's own signals: FRONT's, the word of FRONT's death, and none that would stop it: those of
 * job control, and what writing to a terminal from another group brings. */
static enum outcome take_signals(struct post *post, struct trouble *why) {
    static const int stopping[] = {SIGTSTP, SIGTTIN, SIGTTOU};
    struct loop *loop = post->loop;
    sigset_t quiet;

    sigemptyset(&quiet);
    for (size_t i = 0; i < sizeof stopping / sizeof *stopping; i++)
        sigaddset(&quiet, stopping[i]);
    sigprocmask(SIG_BLOCK, &quiet, NULL);
    return loop_retake_signals(loop, GUARD_FRONT_GONE, post->on_signal, post->signal_arg, why);
}

static int be_guard(void *arg) {
    struct post *post = arg;

    post->guard.self = getpid();
    prctl(PR_SET_NAME, GUARD_NAME);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (take_signals(post, &post->why) != DONE) {
        post->told.ended = true;
        _exit(EXIT_SYSTEM);
    }
    prctl(PR_SET_PDEATHSIG, GUARD_FRONT_GONE);
    if (!guard_is_orphan(&post->guard)) { /* else FRONT died before that */
        post->told.status = post->work(&post->guard, post->arg);
        post->told.ended = true;
    }
    _exit(EXIT_DONE);
}

bool guard_is_orphan(const struct guard *guard) {
    return getppid() != guard->front;
}

bool guard_all_have_it(const struct guard *guard, const struct signalfd_siginfo *info) {
    if (info->ssi_code == SI_KERNEL ||
        (info->ssi_code == SI_QUEUE && info->ssi_pid == (uint32_t)guard->front &&
         info->ssi_int == FROM_TERMINAL))
        return true;
    return ear_has(guard, info->ssi_signo);
}

void guard_withdraw(void) {
    setsid();
}

/* Whether FRONT's session has a terminal: the fifth field behind the name in /proc/PID/stat. */
static bool has_terminal(pid_t front) {
    char path[48], text[512];
    unsigned long long number = 0;
    char *at;

    snprintf(path, sizeof path, "/proc/%ld/stat", (long)front);
    read_text(path, text, sizeof text);
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

/* ---- FRONT ---- */

/* Reaps whatever has ended (PID 1 inherits others' children; so does who was executed by a shell
 * with jobs). True once it was GUARD. */
static bool reap(pid_t guard, struct guard_told *told) {
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == guard) {
            told->killed_by = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
            return true;
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

/* Ctrl-Z is taken by FRONT, so that who still waits is stopped whole: he would otherwise start a
 * command in a stopped job. A command that runs is stopped by the terminal itself, and GUARD goes
 * on renewing. What the signal does by itself, to us, is left to the kernel, which spares those
 * whom no shell could continue. */
static void stop(pid_t guard, const struct guard_told *told) {
    bool waits = !told->running;
    sigset_t stops;

    if (waits) {
        siginfo_t info;
        kill(guard, SIGSTOP);
        waitid(P_PID, (id_t)guard, &info, WSTOPPED | WEXITED | WNOWAIT);
        waits = !told->running; /* now that he cannot start anything any more */
        if (!waits)
            kill(guard, SIGCONT);
    }
    sigemptyset(&stops);
    sigaddset(&stops, SIGTSTP);
    raise(SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &stops, NULL); /* here we sleep, until we are continued */
    sigprocmask(SIG_BLOCK, &stops, NULL);
    if (waits)
        kill(guard, SIGCONT);
}

/* What FRONT takes besides: Ctrl-Z, unless it is ignored, and GUARD's word. */
static void take_more(const struct loop *loop) {
    struct sigaction found;
    sigset_t set = loop->taken;

    sigaddset(&set, WANTS_EAR);
    if (sigaction(SIGTSTP, NULL, &found) == 0 && found.sa_handler != SIG_IGN)
        sigaddset(&set, SIGTSTP);
    if (signalfd(loop->signals, &set, SFD_CLOEXEC | SFD_NONBLOCK) >= 0)
        sigprocmask(SIG_BLOCK, &set, NULL);
}

/* Until GUARD has ended. One signal is read for each time that poll says there is one: to read
 * until there is none left would be a failing call. */
static void attend(int signals, pid_t guard, struct post *post) {
    struct guard_told *told = &post->told;

    for (;;) {
        struct pollfd fd = {.fd = signals, .events = POLLIN};
        struct signalfd_siginfo info;

        if (poll(&fd, 1, -1) != 1 || read(signals, &info, sizeof info) != sizeof info)
            continue;
        if (info.ssi_signo == SIGTSTP)
            stop(guard, told);
        else if (info.ssi_signo == WANTS_EAR)
            start_ear(post);
        else if (info.ssi_signo != SIGCHLD)
            pass_on(guard, &info);
        else if (reap(guard, told))
            return;
    }
}

enum outcome guard_run(struct loop *loop, loop_on_signal *on_signal, void *signal_arg,
                       guard_work *work, void *arg, struct guard_told *told, struct trouble *why) {
    size_t bytes = LOST_PAGE_BYTES + STACK_BYTES;
    int kind = SHARES_MEMORY ? MAP_PRIVATE | MAP_STACK | MAP_NORESERVE : MAP_SHARED;
    enum outcome outcome = loop_take_signals(loop, on_signal, signal_arg, why);
    struct loop before;
    struct post *post;
    char *room;
    pid_t pid = -1;

    if (outcome != DONE)
        return outcome;
    before = *loop;
    room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
    if (room != MAP_FAILED && mprotect(room, LOST_PAGE_BYTES, PROT_NONE) == 0) {
        post = (struct post *)(room + bytes - (sizeof *post + 63) / 64 * 64);
        *post = (struct post){.guard = {.front = getpid(), .told = &post->told, .post = post},
                              .loop = loop,
                              .work = work,
                              .arg = arg,
                              .on_signal = on_signal,
                              .signal_arg = signal_arg};
        take_more(loop);
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        pid = start(be_guard, post, (char *)post, SIGCHLD);
    }
    if (pid < 0)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot start a process: %s", strerror(errno));
    attend(before.signals, pid, post);
    if (post->told.ear > 0) {
        kill(post->told.ear, SIGKILL);
        waitpid(post->told.ear, NULL, 0);
    }
    *loop = before;
    *told = post->told;
    *why = post->why;
    return *why->text ? FAILED : DONE;
}
