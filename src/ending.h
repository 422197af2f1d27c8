/* ending.h - how a wait ends early: a signal, or a reader who has gone.
 *
 * The handler only notes what happened and stops the wait; everything else is done in the
 * straight line of the command, which then asks for its exit status here. */
#ifndef VLOCK_ENDING_H
#define VLOCK_ENDING_H

#include <stdbool.h>
#include <sys/signalfd.h>

#include "child.h"
#include "loop.h"

struct ending {
    int signo; /* the signal that ended the wait, 0: none */
};

/* A loop_on_signal for a process that waits and runs nothing yet: `arg` is a struct ending. */
bool ending_on_signal(void *arg, const struct signalfd_siginfo *info);

/* The exit status for a wait that was STOPPED. */
int ending_status(const struct ending *ending, const struct loop *loop);

/* If `status` says that SIGINT was the end, dies of it, so that the script around vlock stops
 * too; returns `status` otherwise, and for PID 1, which cannot die of it. */
int ending_die(int status, const struct child_found *found, const struct loop *loop);

#endif
