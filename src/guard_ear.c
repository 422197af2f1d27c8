/* guard_ear.c - a process that does nothing, in FRONT's process group, but note the signals that it
 * gets: guard_signals.c tells from that which were sent to the whole group. */
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "guard_part.h"

/* All signals are blocked before it starts. */
_Noreturn static void be_ear(struct shared *shared, const sigset_t *taken, pid_t front) {
    struct signalfd_siginfo info;
    struct pollfd fd = {.events = POLLIN};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    fd.fd = signalfd(-1, taken, SFD_CLOEXEC);
    if (getppid() != front)
        _exit(EXIT_SYSTEM);
    while (fd.fd >= 0 && poll(&fd, 1, -1) == 1) {
        shared->ear_reads = true;
        if (read(fd.fd, &info, sizeof info) != sizeof info)
            break;
        if (info.ssi_signo < SIGNALS)
            guard_put_note(&shared->heard, &(struct note){.signo = (int)info.ssi_signo,
                                                          .sender = (pid_t)info.ssi_pid,
                                                          .at_ms = clock_now_ms()});
        shared->ear_reads = false;
    }
    _exit(EXIT_SYSTEM);
}

/* It is FRONT's child, as GUARD's are the command's tree. */
void guard_start_ear(struct shared *shared, const struct title *title, const sigset_t *taken) {
    pid_t front = getpid(), pid;
    sigset_t all, before;

    if (shared->ear > 0 || !shared->ear_wanted)
        return;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0) {
        title_set(title, "lock-ear", "lock-ear");
        be_ear(shared, taken, front);
    }
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
