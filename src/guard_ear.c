#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "guard_part.h"

/* A process that does nothing, in FRONT's process group, but count the signals that it gets: those
 * were sent to the whole group. So they are told from those to FRONT alone, which must be passed
 * on. All signals are blocked before it starts. */
static int be_ear(void *arg) {
    struct shared *shared = arg;
    struct signalfd_siginfo info;
    struct pollfd fd = {.events = POLLIN};
    sigset_t all;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "lock-ear");
    sigfillset(&all);
    fd.fd = signalfd(-1, &all, SFD_CLOEXEC);
    if (getppid() != shared->front)
        _exit(EXIT_SYSTEM);
    while (fd.fd >= 0 && poll(&fd, 1, -1) == 1) {
        __atomic_store_n(&shared->ear_reads, true, __ATOMIC_SEQ_CST);
        if (read(fd.fd, &info, sizeof info) != sizeof info)
            break;
        shared->heard_ms[info.ssi_signo % SIGNALS] = clock_now_ms();
        shared->heard[info.ssi_signo % SIGNALS]++;
        __atomic_store_n(&shared->ear_reads, false, __ATOMIC_SEQ_CST);
    }
    _exit(EXIT_SYSTEM);
}

/* It is FRONT's child, as GUARD's are the command's tree. */
void guard_start_ear(struct shared *shared, char *stack_end) {
    sigset_t all, before;
    pid_t pid;

    if (shared->ear > 0 || !shared->ear_wanted)
        return;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid = guard_start(be_ear, shared, stack_end, SIGCHLD);
    shared->ear = pid > 0 ? pid : 0;
    sigprocmask(SIG_SETMASK, &before, NULL);
}

void guard_end_ear(struct shared *shared) {
    if (shared->ear <= 0)
        return;
    kill(shared->ear, SIGKILL);
    waitpid(shared->ear, NULL, 0);
    shared->ear = 0;
}
