#include "estate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "exits.h"
#include "say.h"

enum { MOURNED_WITHIN_MS = 5000 };

/* Becomes the vlock that gives the lock back, or leaves it for as long as --hold-for says. The
 * token stands in the environment. */
static void become_release(const struct estate *estate, const struct guard_told *told) {
    int64_t left_ms = told->hold_until - clock_now_ms();
    bool holds = told->hold_until && left_ms > 0;
    const char *argv[16] = {"vlock", "-q"};
    char *words[16], ttl[32];
    unsigned argc = 2;

    if (estate->insecure)
        argv[argc++] = "--insecure";
    if (!estate->store_named) {
        argv[argc++] = "-u";
        argv[argc++] = "local:";
    }
    argv[argc++] = holds ? "reacquire" : "release";
    argv[argc++] = holds ? "-t" : "--if-held";
    if (holds) {
        snprintf(ttl, sizeof ttl, "%lldms", (long long)left_ms);
        argv[argc++] = ttl;
    }
    argv[argc++] = "--";
    argv[argc++] = estate->name;
    argv[argc] = NULL;
    memcpy(words, argv, sizeof words); /* as in execve(2), nobody writes to them */
    unsetenv("VLOCK_HELD"); /* else a lease of the command around us would not be shortened */
    execve("/proc/self/exe", words, environ);
}

/* A command that had ended is not hidden by what became of its guard. */
static int settled_status(const struct guard_told *told) {
    if (told->over)
        return told->status;
    return told->overdue ? EXIT_NOT_OWNED : EXIT_SIGNAL_BASE + told->killed_by;
}

/* Half of the time until then is for the guards of vlocks within the command, to release their
 * locks; the other half is for killing what is left. */
static int64_t half_way(int64_t due_ms) {
    int64_t now_ms = clock_now_ms();

    return due_ms == CLOCK_NEVER ? CLOCK_NEVER : now_ms + (due_ms - now_ms) / 2;
}

int estate_settle(struct estate *estate, const struct guard_told *told) {
    struct say say = {.name = estate->name, .quiet = estate->quiet};
    int status = settled_status(told), ended = 0;
    const char *left;
    pid_t pid;
    bool dead = told->over;

    if (told->beside)
        tree_spare(&estate->tree, told->beside);
    if (!told->over) {
        tree_kill_but(&estate->tree, GUARD_NAME, half_way(told->due_ms));
        dead = tree_kill(&estate->tree, clock_after(clock_now_ms(), MOURNED_WITHIN_MS));
    }
    left = dead ? "nothing of the command is left"
                : "not all of the command could be stopped, the lock is left to lapse";
    if (told->overdue)
        say_loud(&say,
                 "its guard did not do in time what was due (was it stopped, or the machine "
                 "busy?), "
                 "and was killed: %s",
                 left);
    else
        say_loud(&say, "its guard was killed (signal %d): %s", told->killed_by, left);
    if (!dead || estate->borrowed || !(told->armed || estate->ours))
        return status;
    pid = vfork();
    if (pid == 0) {
        become_release(estate, told);
        _exit(EXIT_SYSTEM);
    }
    while (pid > 0 && waitpid(pid, &ended, 0) < 0 && errno == EINTR)
        ;
    if (pid < 0 || (ended != 0 && told->armed))
        say_loud(&say, "the lock could not be given back: it lapses with its TTL");
    return status;
}
