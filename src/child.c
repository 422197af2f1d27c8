#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NO_CORE = 1 };

/* With a soft limit of 1 a core is neither written nor sent to the program that core_pattern names;
 * 0 would not prevent the latter (do_coredump() in the kernel's fs/coredump.c). Not
 * PR_SET_DUMPABLE: a user's vlocks must be able to read each other's /proc/PID/exe. */
static void forbid_core(struct rlimit *found) {
    struct rlimit none = {.rlim_cur = NO_CORE};
    bool can = getrlimit(RLIMIT_CORE, found) == 0 && found->rlim_max >= NO_CORE;

    none.rlim_max = found->rlim_max;
    if (!can || setrlimit(RLIMIT_CORE, &none) != 0)
        found->rlim_cur = NO_CORE; /* there is nothing to restore */
}

static void allow_core(const struct rlimit *found) {
    if (found->rlim_cur != NO_CORE)
        setrlimit(RLIMIT_CORE, found);
}

void child_found_free(struct child_found *found) {
    title_free(&found->title);
}

void child_found_take(struct child_found *found, char **argv) {
    struct sigaction ignore = {.sa_handler = SIG_IGN}, normal = {.sa_handler = SIG_DFL};

    *found = (struct child_found){0};
    forbid_core(&found->core);
    title_take(&found->title, argv);
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            found->closed[fd] = true;
            open("/dev/null", O_RDWR | O_CLOEXEC); /* becomes fd, the lowest that is free */
        }
    sigaction(SIGPIPE, &ignore, &found->pipe);
    sigaction(SIGXFSZ, &ignore, &found->xfsz);
    sigaction(SIGCHLD, &normal, &found->chld);
}

void child_found_restore(const struct child_found *found, const sigset_t *mask) {
    sigaction(SIGPIPE, &found->pipe, NULL);
    sigaction(SIGXFSZ, &found->xfsz, NULL);
    sigaction(SIGCHLD, &found->chld, NULL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    allow_core(&found->core); /* last: a signal that was pending has ended us by now */
}

/* Executes the file at `path`; as a shell script if it is executable but in no format that the
 * kernel knows, as execvp(3) of some C libraries does and users of flock(1) expect. Returns only
 * if it failed. `shell` has room for "sh" and the path in front of the arguments. */
static void execute(const char *path, char *const argv[], char **shell) {
    execve(path, argv, environ);
    if (errno != ENOEXEC)
        return;
    memcpy(&shell[1], &path, sizeof path); /* as in execve(2), nobody writes to it */
    execve("/bin/sh", shell, environ);
}

/* Looks for the program as a shell does. Returns the errno of the failure. */
static int search_and_execute(char *const argv[], char **shell) {
    const char *path = getenv("PATH"), *name = argv[0];
    char file[4096 + 256];
    int error = ENOENT;

    if (!*name)
        return ENOENT;
    if (strchr(name, '/')) {
        execute(name, argv, shell);
        return errno;
    }
    for (path = path ? path : "/usr/local/bin:/bin:/usr/bin"; path;) {
        size_t length = strcspn(path, ":"), rest = strlen(name) + 2;
        if (length + rest <= sizeof file) {
            memcpy(file, path, length);
            file[length] = '/';
            memcpy(file + length + 1, name, rest - 1);
            execute(length ? file : name, argv, shell); /* an empty part is this directory */
            if (errno == EACCES)
                error = EACCES; /* there may be another one further on */
            else if (errno != ENOENT && errno != ENOTDIR)
                return errno;
        }
        path = path[length] ? path + length + 1 : NULL;
    }
    return error;
}

/* Room for argv with "sh" and a path in front. */
static char **shell_arguments(char *const argv[]) {
    static char sh[] = "sh";
    size_t count = 0;
    char **made;

    while (argv[count])
        count++;
    made = calloc(count + 2, sizeof *made);
    if (made) {
        made[0] = sh;
        memcpy(made + 2, argv + 1, count * sizeof *made);
    }
    return made;
}

/* In the child: it must not outlive a parent that dies just now, or ever. */
static void bind(pid_t parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(EXIT_SIGNAL_BASE + SIGKILL);
}

/* vfork: the child borrows our memory until it executes the command, and we sleep meanwhile.
 * fork would copy page tables for nothing, at 30 to 80 % of a hand-over. Between the two only
 * system calls happen and nothing is allocated, and no handler of ours can run: vlock has
 * none. */
enum outcome child_start(struct child *child, char *const argv[], const struct child_found *found,
                         const sigset_t *mask, bool bound, struct trouble *why) {
    char **shell = shell_arguments(argv);
    volatile int error = 0;
    pid_t parent = getpid(), pid = shell ? vfork() : -1;
    int fork_error = errno;

    if (pid == 0) {
        if (bound)
            bind(parent);
        child_found_restore(found, mask);
        error = search_and_execute(argv, shell);
        _exit(EXIT_NOT_FOUND);
    }
    free(shell);
    if (pid < 0)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot start a process: %s",
                           strerror(fork_error));
    if (error) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return trouble_say(why, FAILED, error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE,
                           "cannot run '%s': %s", argv[0], strerror(error));
    }
    *child = (struct child){.pid = pid};
    return DONE;
}

/* What the process that is made runs, on a stack of its own. */
struct beside {
    const char *command;
    const struct child_found *found;
    const sigset_t *mask;
    char stack[16384] __attribute__((aligned(64)));
};

static int execute_beside(void *arg) {
    const struct beside *beside = arg;
    const char *argv[] = {"sh", "-c", beside->command, NULL};
    char *words[4];

    memcpy(words, argv, sizeof words); /* as in execve(2), nobody writes to them */
    child_found_restore(beside->found, beside->mask);
    execve("/bin/sh", words, environ);
    _exit(EXIT_NOT_FOUND);
}

/* As vfork, but for whose child it is. */
pid_t child_start_beside(const char *command, const struct child_found *found,
                         const sigset_t *mask) {
    struct beside *beside = calloc(1, sizeof *beside);
    pid_t pid = -1;

    if (beside) {
        beside->command = command;
        beside->found = found;
        beside->mask = mask;
        pid = clone(execute_beside, beside->stack + sizeof beside->stack,
                    CLONE_VM | CLONE_VFORK | CLONE_PARENT | SIGCHLD, beside);
    }
    free(beside);
    return pid;
}

bool child_reap(struct child *child) {
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0)
        if (pid == child->pid && !child->ended) {
            child->stopped = WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
            child->ended = WIFEXITED(status) || WIFSIGNALED(status);
            child->status = status;
        }
    return pid == 0;
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
