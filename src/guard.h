/* guard.h - `vlock run` as two processes, so that a SIGKILL of either finds the other at work.
 *
 *     the starter --> FRONT --> GUARD --> the command --> ...
 *
 * FRONT is the process that was started, the one that people see and signal. It passes signals on
 * to GUARD, stops when its shell must see that, writes to stderr what GUARD has to say once there
 * is a command (a log on a disk that hangs must hold up no GUARD), and waits for GUARD's end. GUARD
 * does all the rest. Both are child subreapers, so that whatever the command starts, and however it
 * detaches itself, descends from GUARD, and from FRONT once GUARD is dead:
 *
 *     FRONT is killed      the kernel tells GUARD, which kills all of its descendants and releases
 *                          the lock over the connection that it has
 *     GUARD is killed      the command dies with it (child.h); FRONT kills the rest, which has
 *                          become its own, and has a vlock of its own release the lock (estate.h)
 *     both are killed      the command dies; what it had started lives on, and the lock expires
 *     GUARD does not act   (SIGSTOP, a debugger, a disk that hangs) though it is due, guard_due():
 *                          FRONT kills it, with the same consequence
 *
 * What shows to others that GUARD lives (a kernel lock of the local store) is shared with FRONT,
 * guard_keep(): it must not end before the command's tree is dead.
 *
 * GUARD is a plain fork(): the two share one mapping, `struct shared`, and nothing else. That costs
 * an address space more than sharing the memory of FRONT would: 12 % (a server) to 27 % (local) of
 * a run of a command that does nothing, measured where page tables are shadowed in software and a
 * fork takes 0.6 ms.
 *
 * FRONT stays in its process group, as the command does: Ctrl-Z stops both and shows the shell a
 * stopped job. (Before there is a command, GUARD rests as well, where nobody else needs what it
 * has in hand, and starts none before FRONT goes on.) Once the command has lasted,
 * GUARD has a session of its own, where no terminal and no `kill -- -GROUP` reaches it, and goes on
 * renewing. It must not be in another group of the same session: the kernel would take it for a
 * shell that can continue the command's group when that is stopped. (So a SIGKILL to the group
 * before that, in the first 20 ms, is the case 'both'. A session costs 12 us, 1 % of a short run.)
 *
 * Signals. A signal for vlock is for the command: once, if it can be told whether the command has
 * it already, else twice, never zero times. The rule and its evidence stand in guard_signals.c.
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
#include "title.h"
#include "trouble.h"

/* What GUARD sees when FRONT has been killed. */
enum { GUARD_FRONT_GONE = SIGPWR };

/* What FRONT tells GUARD when Ctrl-Z stops it, and when it goes on; or the terminal itself has sent
 * it to both. */
enum { GUARD_FRONT_STOPS = SIGTSTP };

/* What GUARD is called (/proc/PID/comm, and its command line). */
#define GUARD_NAME "lock-guard"

/* What GUARD leaves for FRONT, in shared memory. */
struct guard_told {
    _Atomic bool ended;         /* GUARD came to its end: `status` and `signo` count */
    _Atomic bool over;          /* nothing of the command is left to stop: `status` counts */
    _Atomic int status;         /* the exit status of the whole */
    _Atomic int signo;          /* the signal that the whole is to die of, or 0 */
    _Atomic bool running;       /* the command may run from here on: guard_begin() */
    _Atomic bool armed;         /* there is something to release */
    _Atomic int64_t hold_until; /* ... but not before this (CLOCK_BOOTTIME ms); 0: at once */
    _Atomic pid_t beside;       /* a child of FRONT that is no part of the command's tree, or 0 */
    _Atomic int64_t due_ms;     /* guard_due() */
    /* FRONT's own */
    int killed_by; /* GUARD did not end: the signal that killed it */
    bool overdue;  /* FRONT has killed GUARD, as due_ms had passed */
};

struct guard;

/* Does the work, in GUARD; what it returns becomes told->status. */
typedef int guard_work(struct guard *guard, void *arg);

/* What GUARD is made for. */
struct guard_job {
    guard_work *work;
    void *arg;
    loop_on_signal *on_signal; /* shown the loop's signals, in GUARD, until the work says otherwise;
                                  those that FRONT passed on, too */
    void *signal_arg;
    const struct title *title; /* FRONT's; its helpers have another */
    bool keeps;                /* guard_keep() will be used */
};

/* Takes the loop's signals, makes GUARD, has it do the job, and returns in FRONT when GUARD has
 * ended. DONE: see **told, which stays. FAILED/71: the system has no process, memory or descriptor
 * left, nothing was done. */
enum outcome guard_run(struct loop *loop, const struct guard_job *job,
                       const struct guard_told **told, struct trouble *why);

/* ---- in GUARD ---- */

/* What FRONT is told. */
struct guard_told *guard_told(const struct guard *guard);

/* Just before the command is started: waits while FRONT is stopped. False if FRONT has been killed.
 * The lease may be over then: look at the deadline afterwards. */
bool guard_begin(const struct guard *guard);

/* Whatever happens to GUARD, nothing of the command may run after `at_ms` (CLOCK_BOOTTIME;
 * CLOCK_NEVER: there is no such instant): GUARD sees to that before, or moves it. At that instant
 * FRONT, if it has been told that the run has lasted, kills GUARD. (Before that, only if something
 * wakes it: a SIGSTOP of GUARD does.) Cheap, called all the time. */
void guard_due(const struct guard *guard, int64_t at_ms);

/* FRONT keeps what `fd` stands for (the open file description) open until its own end, whatever
 * becomes of GUARD: `guard` is a struct guard whose job `keeps`. False with errno if the kernel
 * refuses. It costs one system call; FRONT has nothing to do for it. */
bool guard_keep(void *guard, int fd);

/* Has FRONT write this line to stderr, which may take its time: GUARD, whose command depends on a
 * lease, cannot afford that. `guard` is a struct guard. Before the run has lasted, FRONT does it
 * when GUARD has ended; while FRONT is stopped, nobody does. What there is no room for is dropped;
 * half of the room is for lines that are `needed`. False if FRONT was killed.
 *
 * While such a write hangs, FRONT passes no signal on, and does not see it if GUARD is killed. */
bool guard_say(const void *guard, const char *bytes, size_t length, bool needed);

/* True if FRONT has been killed: asked when GUARD_FRONT_GONE was seen. */
bool guard_is_orphan(const struct guard *guard);

/* Called again and again once a run has lasted. Leaves FRONT's session and group, and has FRONT
 * make the ear, a process that does nothing but note which signals were sent to the whole process
 * group. */
void guard_listen(struct guard *guard);

/* Notes what the loop has shown: a signal to GUARD itself, or FRONT's word that there is one to
 * pass on. Ask for the next signal then. */
void guard_note(struct guard *guard, const struct signalfd_siginfo *info);

/* The next signal that `command`, a child of GUARD, must be sent; 0: none. */
int guard_next_signal(struct guard *guard, pid_t command);

/* True if FRONT sent this, or the kernel for it, and nobody else. */
bool guard_from_front(const struct guard *guard, const struct signalfd_siginfo *info);

/* The command was stopped by `signo`, perhaps alone (less, a shell's suspend), or continued (0):
 * the same is done to FRONT, where there is a terminal, whose shell looks at it. */
void guard_show_stopped(const struct guard *guard, int signo);

#endif
