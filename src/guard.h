/* guard.h - `vlock run` as two processes, so that a SIGKILL of either finds the other at work.
 *
 *     whoever started it --> FRONT --> GUARD --> the command --> ...
 *
 * FRONT is the process that was started, the one that people see and signal. It passes signals on
 * to GUARD, stops when its shell is to see that, writes to stderr what GUARD has to say once there
 * is a command (a log on a disk that hangs must hold up no GUARD), and waits for GUARD's end. GUARD
 * does all the rest. Both are child subreapers, so that whatever the command starts, and however it
 * detaches itself, descends from GUARD, and from FRONT once GUARD is dead:
 *
 *     FRONT is killed      GUARD is told by the kernel: it stops all of its descendants and gives
 *                          the lock back, over the connection that it has
 *     GUARD is killed      the command dies with it (child.h); FRONT stops the rest, which has
 *                          come to it, and gives the lock back by a vlock of its own (estate.h)
 *     both                 the command dies; what it had started lives on, and the lock lapses
 *     GUARD does not act   (SIGSTOP, a debugger, a disk that hangs) though it is due, guard_due():
 *                          FRONT kills it, with the same consequence
 *
 * FRONT stays in its process group, as the command does: Ctrl-Z stops both and shows the shell a
 * stopped job. (Before there is a command, GUARD rests as well, where nobody else needs what it
 * has in hand, and starts none before FRONT goes on.) Once the command has lasted,
 * GUARD has a session of its own, where no terminal and no `kill -- -GROUP` reaches it, and goes on
 * renewing. It must not be in another group of the same session: the kernel would take it for a
 * shell that can continue the command's group when that is stopped. (So a SIGKILL to the group
 * before that, in the first 20 ms, is the case 'both'. A session costs 12 us, 1 % of a short run.)
 *
 * A whole run of a short command must not cost much more for that: GUARD is made with CLONE_VM and
 * CLONE_FILES. fork would copy page tables; measured, that is 8 % of such a run, this 3 %. So the
 * two share memory, errno included, and descriptors: FRONT makes no call that allocates, and none
 * that fails in the ordinary course of things. (Under the sanitizers, which take memory for a
 * process's own, only the descriptors and `struct shared` are shared.)
 *
 * Once a run has lasted (guard_listen()), that is mended: FRONT executes itself for a memory of its
 * own, as the kernel, when memory runs out, kills all who share one; and it starts the ear, a
 * process in the command's group that tells signals to the whole group, which the command has got,
 * from those to FRONT alone, which must be passed on.
 *
 * guard does not know what a lock is. */
#ifndef VLOCK_GUARD_H
#define VLOCK_GUARD_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <sys/types.h>

#include "loop.h"
#include "trouble.h"

/* What GUARD sees when FRONT has been killed. */
enum { GUARD_FRONT_GONE = SIGPWR };

/* What FRONT tells GUARD when Ctrl-Z stops it, and when it goes on; or the terminal itself has sent
 * it to both. */
enum { GUARD_FRONT_STOPS = SIGTSTP };

/* What GUARD is called (/proc/PID/comm). */
#define GUARD_NAME "lock-guard"

/* What GUARD leaves for FRONT, in shared memory. */
struct guard_told {
    volatile bool ended;         /* GUARD came to its end: `status` and `signo` count */
    volatile bool over;          /* nothing of the command is left to stop: `status` counts */
    volatile int status;         /* the exit status of the whole */
    volatile int signo;          /* the signal that the whole is to die of, or 0 */
    volatile bool running;       /* the command may run from here on: guard_begin() */
    volatile bool armed;         /* there is something to give back */
    volatile int64_t hold_until; /* ... but not before this (CLOCK_BOOTTIME ms); 0: at once */
    volatile pid_t beside;       /* a child of FRONT that is no part of the command's tree, or 0 */
    volatile int killed_by;      /* GUARD did not end: the signal that killed it */
    volatile int64_t due_ms;     /* guard_due() */
    volatile bool overdue;       /* FRONT has killed GUARD, as that had passed */
};

/* What GUARD knows of FRONT. */
struct guard {
    pid_t self;
    pid_t front;
    struct guard_told *told;
    struct post *post; /* guard.c's */
};

/* Does the work, in GUARD; what it returns becomes told->status. */
typedef int guard_work(const struct guard *guard, void *arg);

/* Takes the loop's signals (shown to `on_signal` with `signal_arg`, in GUARD), makes GUARD, has it
 * do the work with `arg`, and returns in FRONT when it has ended. DONE: see *told. FAILED/71: the
 * system has no process or descriptor left, nothing was done.
 *
 * Once the work has lasted, FRONT is executed anew, with argv, and returns from guard_resume()
 * instead, with a copy of `estate`: what it needs if GUARD is killed. */
enum outcome guard_run(struct loop *loop, loop_on_signal *on_signal, void *signal_arg,
                       guard_work *work, void *arg, const void *estate, size_t estate_bytes,
                       char **argv, struct guard_told *told, struct trouble *why);

/* The first thing in main(). NULL: this process is no FRONT that was executed anew. */
void *guard_resume(struct guard_told *told);

/* Just before the command is started: waits while FRONT is stopped. False if FRONT has been killed.
 * The lease may be over then: look at the deadline afterwards. */
bool guard_begin(const struct guard *guard);

/* Whatever happens to GUARD, nothing of the command is to run after `at_ms` (CLOCK_BOOTTIME;
 * CLOCK_NEVER: there is no such instant): GUARD sees to that before, or moves it. At that instant
 * FRONT, if it has been told that the run has lasted, kills GUARD. (Before that, only if something
 * wakes it: a SIGSTOP of GUARD does.) Cheap, called all the time. */
void guard_due(const struct guard *guard, int64_t at_ms);

/* Has FRONT write this line to stderr, which may take its time: GUARD, whose command depends on a
 * lease, cannot afford that. Before the run has lasted, FRONT does it when GUARD has ended; while
 * FRONT is stopped, nobody does. What there is no room for is dropped; half of the room is for
 * lines that are `needed`. False if FRONT cannot: it was killed, or has no memory of its own.
 *
 * While such a write hangs, FRONT passes no signal on, and does not see it if GUARD is killed. */
bool guard_say(const void *guard, const char *bytes, size_t length, bool needed);

/* True if FRONT has been killed: asked when GUARD_FRONT_GONE was seen. */
bool guard_is_orphan(const struct guard *guard);

/* Called again and again once a run has lasted. Leaves FRONT's session and group; has FRONT get a
 * memory of its own (the kernel, when it is out of memory, kills all who share one), and make the
 * ear, a process that does nothing but tell a signal which was sent to the whole process group, and
 * so has reached the command, from one that was sent to FRONT alone. */
void guard_listen(const struct guard *guard);

/* True if FRONT has passed the signal on, and nobody else has sent it to GUARD. */
bool guard_from_front(const struct guard *guard, const struct signalfd_siginfo *info);

/* True if the signal went to the command's whole process group: the terminal sent it, or, as far as
 * there is an ear, somebody else (a shell's `kill %1`). */
bool guard_all_have_it(const struct guard *guard, const struct signalfd_siginfo *info);

/* The command was stopped by `signo`, perhaps alone (less, a shell's suspend), or continued (0):
 * the same is done to FRONT, where there is a terminal, whose shell looks at it. */
void guard_show_stopped(const struct guard *guard, int signo);

#endif
