/* loop.h - the one place where vlock sleeps.
 *
 * Everything that can happen while vlock waits (a reply, a deadline, a signal, the end of the
 * command it runs, that of a process it watches, a pipe whose reader has gone) wakes loop_wait().
 * Signals arrive through a signalfd, so no code runs in a handler: loop_wait() reads them and shows
 * each to the `on_signal` of the loop, which does its small duty (forward it, note it) and says
 * whether the current wait is to stop. Code that waits for a reply therefore reads as straight
 * lines, and a command's signals are forwarded while a renewal is on its way.
 *
 *     struct loop loop;
 *     loop_init(&loop);                        a loop that only waits for descriptors
 *     loop_take_signals(&loop, on_signal, arg, why);
 *     ... loop_wait() ...
 *     loop_close(&loop);                       gives the signal mask back
 *
 * Deadlines are CLOCK_BOOTTIME milliseconds and are kept by a timerfd on that clock: a
 * deadline that passed while the machine was suspended is seen on waking. */
#ifndef VLOCK_LOOP_H
#define VLOCK_LOOP_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/signalfd.h>

#include "trouble.h"

enum wake {
    WAKE_READY,    /* one of the descriptors has something: see its revents */
    WAKE_DEADLINE, /* the deadline has come */
    WAKE_STOP      /* on_signal said so, an output has lost its reader, or the watched one ended */
};

/* Called for each signal that was taken; true: the current wait ends with WAKE_STOP. */
typedef bool loop_on_signal(void *arg, const struct signalfd_siginfo *info);

struct loop {
    int signals;         /* signalfd, or -1 while signals keep their default effect */
    int timer;           /* timerfd on CLOCK_BOOTTIME, or -1 until first needed */
    sigset_t taken;      /* the signals that loop_take_signals() took */
    sigset_t mask_found; /* the signal mask as it was before loop_take_signals() */
    loop_on_signal *on_signal;
    void *arg;
    bool watch_outputs; /* stop when the reader of stdout or stderr has gone */
    bool output_gone;   /* that is what stopped the wait */
    int watched;        /* see loop_watch_end(), or -1 */
    bool watched_gone;  /* it has become readable */
};

/* Makes a loop that takes no signals yet. It holds no descriptor until it needs one. */
void loop_init(struct loop *loop);

/* `on_signal` may be NULL: signals are then taken and dropped.
 * Blocks the signals that end or concern a waiter or a command (HUP INT QUIT TERM USR1 USR2
 * WINCH CHLD), those that are ignored at this moment excepted (a command under nohup must not
 * see SIGHUP), and has them shown to `on_signal`. Calling it again only changes the handler.
 * FAILED/71 if the kernel has no descriptor left. */
enum outcome loop_take_signals(struct loop *loop, loop_on_signal *on_signal, void *arg,
                               struct trouble *why);

/* For a process that was made after loop_take_signals() and shares the descriptor: takes its own
 * signals, and `extra` with them, through one of its own. `extra` are taken even if they are
 * ignored. FAILED/71. */
enum outcome loop_retake_signals(struct loop *loop, const sigset_t *extra,
                                 loop_on_signal *on_signal, void *arg, struct trouble *why);

/* Whether a pipe or socket on stdout or stderr whose reader has gone ends every wait. */
void loop_watch_outputs(struct loop *loop, bool watch);

/* `fd`: a descriptor that becomes readable once and for all when something ends (a pidfd). That
 * stops the wait under way, or the next one: a single wait, as what is then to be done must not be
 * stopped by it again. -1: there is none. The loop does not close it. */
void loop_watch_end(struct loop *loop, int fd);

/* In a process that was forked: from here on the loop is this one's own. It keeps its signalfd,
 * which tells each process of its own signals. */
void loop_forked(struct loop *loop);

/* Sleeps until one of `count` descriptors (at most 8, fd < 0 is skipped) is ready, the
 * deadline has come, or a signal stopped the wait. A signal wins over a ready descriptor. */
enum wake loop_wait(struct loop *loop, struct pollfd *fds, unsigned count, int64_t deadline_ms);

/* Sleeps until the deadline. WAKE_DEADLINE or WAKE_STOP. */
enum wake loop_sleep(struct loop *loop, int64_t deadline_ms);

/* Closes what the loop holds and restores the signal mask. Signals that came meanwhile are
 * dropped: whoever closes the loop has decided how vlock ends. */
void loop_close(struct loop *loop);

#endif
