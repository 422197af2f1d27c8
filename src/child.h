/* child.h - starting the command, telling it signals, and learning how it ended.
 *
 * The command starts as if there were no vlock: the signal mask, the ignored signals, the closed
 * descriptors and the limit of core files that vlock found are given back to it. child_found_take()
 * notes them and changes what vlock itself needs otherwise; it must come first in main().
 *
 * child does not know what a lock is. */
#ifndef VLOCK_CHILD_H
#define VLOCK_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "title.h"
#include "trouble.h"

/* What the process was started with. */
struct child_found {
    struct sigaction pipe, chld, xfsz;
    bool closed[3];     /* standard descriptors that were closed */
    struct rlimit core; /* what the kernel may write of a process that crashes */
    struct title title; /* with the arguments in their order: parsing reorders argv */
};

struct child {
    pid_t pid; /* 0: none was started */
    bool ended;
    int stopped; /* the signal that stopped it, 0: it runs */
    int status;  /* of waitpid(), once ended */
};

/* Fills closed standard descriptors with /dev/null, so that no socket becomes somebody's stdout
 * (they are closed again in the command); ignores SIGPIPE and SIGXFSZ, so that a lost reader and
 * a full file are errors that can be handled; lets SIGCHLD arrive even if our parent ignored it.
 * Has the kernel write no core file of this process or of those that it forks: the password and the
 * token would be in it.
 * argv points to copies of its words from then on (title.h); found->title.argv is NULL if there is
 * no memory. */
void child_found_take(struct child_found *found, char **argv);

void child_found_free(struct child_found *found);

/* Undoes child_found_take() in this process, and sets the signal mask `mask`. For a process
 * that is about to be something else. */
void child_found_restore(const struct child_found *found, const sigset_t *mask);

/* Starts argv (looked up in PATH) with the mask it is to have. FAILED/127 not found, /126 cannot
 * be executed, /71 the system has no process left. `bound`: it is killed when this process is
 * killed, whatever else becomes of its tree. */
enum outcome child_start(struct child *child, char *const argv[], const struct child_found *found,
                         const sigset_t *mask, bool bound, struct trouble *why);

/* Starts `command` with sh -c, as our parent's child and not ours. Its pid; -1 with errno. */
pid_t child_start_beside(const char *command, const struct child_found *found,
                         const sigset_t *mask);

/* Notes whether the command has ended, was stopped or continued, without waiting. Reaps all else
 * that has ended and was ours, or came to be (an orphan, for a subreaper). Returns false once there
 * is no child left, dead or alive. */
bool child_reap(struct child *child);

/* Sends a signal to the command, if it has not ended: its pid cannot be anybody else's before
 * child_reap() has seen its end. */
void child_signal(const struct child *child, int signo);

/* The exit status a shell would give the command's end: its own, or 128+N for signal N. */
int child_exit_status(const struct child *child);

/* The signal that ended the command, or 0. */
int child_end_signal(const struct child *child);

#endif
