#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void child_found_take(struct child_found *found) {
    struct sigaction ignore = {.sa_handler = SIG_IGN}, normal = {.sa_handler = SIG_DFL};

    *found = (struct child_found){0};
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            found->closed[fd] = true;
            open("/dev/null", O_RDWR | O_CLOEXEC); /* becomes fd, the lowest that is free */
        }
    sigaction(SIGPIPE, &ignore, &found->pipe);
    sigaction(SIGCHLD, &normal, &found->chld);
}

void child_found_restore(const struct child_found *found, const sigset_t *mask) {
    sigaction(SIGPIPE, &found->pipe, NULL);
    sigaction(SIGCHLD, &found->chld, NULL);
    sigprocmask(SIG_SETMASK, mask, NULL);
}

/* vfork: the child borrows our memory until it executes the command, and we sleep meanwhile.
 * fork would copy page tables for nothing, at 30 to 80 % of a hand-over. Between the two only
 * system calls happen, nothing is returned from, and no handler of ours can run: vlock has
 * none. */
enum outcome child_start(struct child *child, char *const argv[], const struct child_found *found,
                         const sigset_t *mask, struct trouble *why) {
    volatile int error = 0;
    pid_t pid = vfork();

    if (pid == 0) {
        child_found_restore(found, mask);
        execvp(argv[0], argv);
        error = errno;
        _exit(EXIT_NOT_FOUND);
    }
    if (pid < 0)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot start a process: %s", strerror(errno));
    if (error) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return trouble_say(why, FAILED, error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE,
                           "cannot run '%s': %s", argv[0], strerror(error));
    }
    *child = (struct child){.pid = pid};
    return DONE;
}

void child_reap(struct child *child) {
    if (child->pid && !child->ended && waitpid(child->pid, &child->status, WNOHANG) == child->pid)
        child->ended = true;
}

void child_signal(const struct child *child, int signo) {
    if (child->pid && !child->ended)
        kill(child->pid, signo);
}

int child_end_signal(const struct child *child) {
    return WIFSIGNALED(child->status) ? WTERMSIG(child->status) : 0;
}

int child_exit_status(const struct child *child) {
    if (WIFSIGNALED(child->status))
        return EXIT_SIGNAL_BASE + WTERMSIG(child->status);
    return WEXITSTATUS(child->status);
}
