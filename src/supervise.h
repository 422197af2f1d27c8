/* supervise.h - the command under its lock: while it, or anything that it started, runs, the lock
 * is ours; once the lock may not be ours any more, nothing of it runs.
 *
 * Two things have states of their own:
 *
 *   the lease   KEPT --> LOST    broken, taken over, over, or not to be renewed in time
 *                    --> FREED   the command gave the lock back itself, or it was never ours to
 *                                keep (--reenter)
 *   the tree    RUNNING --> STOPPING --> KILLING --> KILLED --> gone
 *                                            --> STUCK    something cannot be killed
 *
 * The lease is renewed for as long as it is KEPT, whatever the tree is doing. The tree is stopped
 * (--signal, then SIGKILL) when the lease is LOST, at --max-runtime, when FRONT (guard.h) was
 * killed, and when the command has ended and left something behind. KILLING begins early enough
 * that all is gone when the lease ends: see lease.h for the instants. It goes on for 5 s at most,
 * under a lease that is renewed meanwhile; where that fails, it is given up before the lease ends.
 * A lock under which something is STUCK is not released: it expires.
 *
 * --on-lost=warn: a lease that is LOST is told, and no more; the tree goes on RUNNING, without any
 * lease, until one of the other reasons stops it. --on-lost=exec: as without it, and a hook is
 * started once the tree has been asked to stop: FRONT's child, not a part of the tree. In all three
 * LOST is for good: nothing is renewed any more.
 *
 * A lease that is FREED stops nothing. --max-runtime and the death of FRONT stop the tree as ever,
 * but what the command leaves behind lives on.
 *
 * After each sleep the lease's deadline is looked at before anything else: the machine may have
 * been suspended, or this process stopped. */
#ifndef VLOCK_SUPERVISE_H
#define VLOCK_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/signalfd.h>

#include "child.h"
#include "guard.h"
#include "lock.h"
#include "loop.h"
#include "say.h"
#include "tree.h"
#include "wishes.h"

enum lease_state { LEASE_KEPT, LEASE_LOST, LEASE_FREED };
enum stage { STAGE_RUNNING, STAGE_STOPPING, STAGE_KILLING, STAGE_KILLED, STAGE_STUCK };

struct supervised {
    /* set by the caller */
    struct lock *lock;
    struct loop *loop;
    const struct say *say;
    const struct wishes *wishes;
    struct guard *guard;
    const struct child_found *found;
    struct tree *tree; /* after tree_init(); not in here, as it is large and seldom touched */
    enum lease_state lease;
    /* what came of it */
    struct child child;
    bool gone;      /* LEASE_LOST: the store said so, there is nothing to give back */
    bool timed_out; /* --max-runtime */
    bool orphaned;  /* FRONT was killed */
    enum stage stage;
    /* its own */
    int64_t kill_at_ms;    /* STAGE_STOPPING: when it has had its time */
    int64_t give_up_at_ms; /* STAGE_KILLING: what lives then is stuck */
    int64_t end_at_ms;     /* of --max-runtime */
    int64_t watch_from_ms; /* a run that is over by then has cost nothing more */
    int64_t leave_at_ms;   /* the command has ended: what is left then was left behind; or 0 */
    bool starting;         /* until GUARD has left the command's process group */
    bool suspect;          /* the lock may have been lost: ask */
    bool warned;           /* of a renewal that failed; said once until one succeeds */
};

/* For loop_take_signals(), from before supervise_start(); `arg` is a struct supervised. */
bool supervise_on_signal(void *arg, const struct signalfd_siginfo *info);

/* Starts the command. As child_start(); LOST/79: the lease was over before. */
enum outcome supervise_start(struct supervised *s, char *const argv[], struct trouble *why);

/* Until the command has ended and nothing is left of its tree, STAGE_STUCK and --leave-children
 * excepted. */
void supervise(struct supervised *s);

#endif
