#include "supervise.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

enum {
    WATCH_AFTER_MS = 20, /* from then on a lost lock is noticed at once */
    LEFT_AFTER_MS = 100, /* what ends by itself with the command was not left behind: `> >(tee)` */
    KILLED_WITHIN_MS = 5000, /* what is not dead by then after SIGKILL is stuck */
    ENDLESS_ASK_MS = 10000,  /* for asking about a lease that does not end by time */
    OVERDUE_MS = 100,        /* so long after SIGKILL was to be sent, it will not be */
    AT_WORK_MS = 1000,       /* for the rest of us, when we are late already */
    KILL_AGAIN_MS = 100      /* what is not dead yet waits so long for a renewal */
};

/* ---- signals ---- */

/* Reaps what has ended (of the tree, too: it came to us), and shows a shell that the command
 * stopped. False if there is no child left. */
static bool see_children(struct supervised *s) {
    int stopped = s->child.stopped;
    bool there = child_reap(&s->child);

    if (s->child.stopped != stopped)
        guard_show_stopped(s->guard, s->child.stopped);
    return there;
}

bool supervise_on_signal(void *arg, const struct signalfd_siginfo *info) {
    struct supervised *s = arg;
    int signo = (int)info->ssi_signo;

    if (info->ssi_signo == SIGCHLD) {
        bool ended = s->child.ended, there = see_children(s);
        return s->child.ended && (!ended || !there);
    }
    if (info->ssi_signo == GUARD_FRONT_GONE) {
        s->orphaned = guard_is_orphan(s->guard);
        return s->orphaned;
    }
    if (signo == GUARD_FRONT_STOPS)
        return false; /* it went on again before there was a command */
    /* FRONT's copy is the one that counts. But one that was sent to our group before there was a
     * command in it has reached no command. */
    if (s->starting && !guard_from_front(s->guard, info))
        child_signal(&s->child, signo);
    guard_note(s->guard, info);
    /* After the command has ended there is nobody to tell, and releasing the lock must not be
     * stopped: it is bounded anyway, and a service manager signals the command first and then us.
     */
    while (!s->child.ended && (signo = guard_next_signal(s->guard, s->child.pid)) != 0)
        child_signal(&s->child, signo);
    return false;
}

/* ---- what FRONT sees to, should we be stopped, or stuck ---- */

static bool kept(const struct supervised *s) {
    return s->lease == LEASE_KEPT;
}

/* False if the lease is over, as far as FRONT is concerned, or was told to be. */
static bool runs(const struct supervised *s) {
    return (kept(s) || (s->lease == LEASE_LOST && !s->gone)) &&
           clock_now_ms() < lease_overdue_at(&s->lock->lease);
}

/* By then this has come to an end: but if there is a lease that runs, not beyond its end. */
static void tell_killing(const struct supervised *s) {
    int64_t now_ms = clock_now_ms(), due_ms = clock_after(now_ms, 2 * KILLED_WITHIN_MS);
    int64_t least_ms = clock_after(now_ms, OVERDUE_MS);

    if (runs(s) && s->wishes->on_lost != LOST_WARN)
        due_ms = clock_earlier(due_ms, lease_overdue_at(&s->lock->lease));
    guard_due(s->guard, due_ms > least_ms ? due_ms : least_ms);
}

static void tell_due(const struct supervised *s) {
    int64_t due_ms = CLOCK_NEVER, now_ms = clock_now_ms();

    if (s->stage == STAGE_KILLING) {
        tell_killing(s);
        return;
    }
    if (s->lease == LEASE_LOST && s->stage == STAGE_STOPPING)
        due_ms = clock_after(s->kill_at_ms > now_ms ? s->kill_at_ms : now_ms, OVERDUE_MS);
    if (kept(s) || runs(s))
        due_ms = clock_earlier(due_ms, lease_overdue_at(&s->lock->lease));
    guard_due(s->guard, s->wishes->on_lost == LOST_WARN ? CLOCK_NEVER : due_ms);
}

/* We are late, but at it. */
static void tell_losing(const struct supervised *s) {
    if (!runs(s) && s->wishes->on_lost != LOST_WARN)
        guard_due(s->guard, clock_after(clock_now_ms(), AT_WORK_MS));
}

/* ---- the tree ---- */

/* When killing is given up: not beyond a lease that runs and cannot be renewed any more, or FRONT
 * would take us for stuck. */
static int64_t give_up_at(const struct supervised *s) {
    int64_t kill_at_ms = lease_kill_at(&s->lock->lease);
    int64_t overdue_at_ms = lease_overdue_at(&s->lock->lease);

    if (!runs(s) || kill_at_ms == CLOCK_NEVER)
        return s->give_up_at_ms;
    return clock_earlier(s->give_up_at_ms, kill_at_ms + (overdue_at_ms - kill_at_ms) / 2);
}

/* A vlock within the command has a guard that releases its lock: it gets the time there is before
 * the rest must be killed, none under a lease that is lost. */
static void spare_guards(struct supervised *s) {
    tree_kill_but(s->tree, GUARD_NAME, kept(s) ? lease_stop_at(&s->lock->lease) : clock_now_ms());
}

/* Once more, until the lease is to be renewed. */
static void kill_tree(struct supervised *s) {
    bool first = s->stage != STAGE_KILLING;
    int64_t until_ms;

    s->stage = STAGE_KILLING;
    if (first)
        s->give_up_at_ms = clock_after(clock_now_ms(), KILLED_WITHIN_MS);
    tell_killing(s);
    if (first && s->orphaned)
        spare_guards(s);
    child_signal(&s->child, SIGKILL);
    until_ms = give_up_at(s);
    if (kept(s))
        until_ms = clock_earlier(until_ms, s->lock->lease.renew_at_ms);
    if (tree_kill(s->tree, until_ms))
        s->stage = STAGE_KILLED;
    else if (clock_now_ms() >= give_up_at(s))
        s->stage = STAGE_STUCK;
    see_children(s);
}

/* Asks the whole tree to end, and has it killed at `kill_at_ms`. */
static void stop_tree(struct supervised *s, int64_t kill_at_ms) {
    if (s->stage != STAGE_RUNNING) {
        s->kill_at_ms = clock_earlier(s->kill_at_ms, kill_at_ms);
        return;
    }
    s->stage = STAGE_STOPPING;
    s->kill_at_ms = s->wishes->signo == SIGKILL ? clock_now_ms() : kill_at_ms;
    if (clock_now_ms() >= s->kill_at_ms)
        return;                /* no time for that */
    s->tree->but = GUARD_NAME; /* it passes on what its own FRONT gets */
    tree_signal(s->tree, s->wishes->signo, s->kill_at_ms);
    s->tree->but = NULL;
    tree_signal(s->tree, SIGCONT, s->kill_at_ms);
}

static int64_t after_grace_ms(const struct supervised *s) {
    return clock_after(clock_now_ms(), s->wishes->kill_after_ms);
}

/* ---- the lease ---- */

/* --on-lost=exec: beside stopping the command, not waited for, and no part of its tree. */
static void run_hook(struct supervised *s, const struct trouble *lost) {
    char pid[24];
    pid_t hook = -1;

    snprintf(pid, sizeof pid, "%ld", (long)s->child.pid);
    if (setenv("VLOCK_LOST", lost->text, 1) == 0 && setenv("VLOCK_PID", pid, 1) == 0)
        hook = child_start_beside(s->wishes->hook, s->found, &s->loop->mask_found);
    if (hook < 0)
        say_loud(s->say, "the --on-lost command could not be started: %s", strerror(errno));
    else
        guard_told(s->guard)->beside = hook;
}

/* The lock is not ours any more, or soon may not be. */
static void lose(struct supervised *s, int64_t kill_at_ms, const struct trouble *why) {
    bool warn = s->wishes->on_lost == LOST_WARN;

    s->lease = LEASE_LOST;
    tell_losing(s);
    if (!warn)
        stop_tree(s, kill_at_ms); /* before anybody is told: that may take its time */
    tell_due(s);
    say_loud(s->say, "%s: %s", why->text,
             warn             ? "the command goes on without it"
             : s->child.ended ? "stopping what the command left behind"
                              : "stopping the command");
    if (s->wishes->on_lost == LOST_EXEC)
        run_hook(s, why);
}

/* What is to be done next whatever becomes of a renewal. */
static int64_t other_ms(const struct supervised *s) {
    int64_t at_ms = CLOCK_NEVER;

    if (s->stage == STAGE_STOPPING)
        at_ms = s->kill_at_ms;
    else if (s->stage == STAGE_KILLING)
        at_ms = clock_after(clock_now_ms(), KILL_AGAIN_MS);
    else if (s->stage == STAGE_RUNNING)
        at_ms = s->leave_at_ms ? s->leave_at_ms : s->end_at_ms;
    return kept(s) ? clock_earlier(at_ms, lease_stop_at(&s->lock->lease)) : at_ms;
}

static void renew(struct supervised *s) {
    struct lock *lock = s->lock;
    struct trouble why = {0}, late;
    int64_t until_ms = other_ms(s);
    bool on_purpose = false;

    s->suspect = false;
    if (until_ms == CLOCK_NEVER)
        until_ms = clock_after(clock_now_ms(), ENDLESS_ASK_MS);
    switch (lock_renew(lock, until_ms, &on_purpose, &why)) {
    case DONE:
        s->warned = false;
        return;
    case STOPPED: /* the command has ended, or FRONT, or the deadline is looked at next */
        lease_retry(&lock->lease, clock_now_ms());
        return;
    case LOST:
        s->gone = true;
        if (on_purpose)
            s->lease = LEASE_FREED;
        else
            lose(s, after_grace_ms(s), &why);
        return;
    case HELD:
    case UNSURE:
    case FAILED:
        break;
    }
    if (clock_now_ms() < lease_stop_at(&lock->lease)) {
        if (!s->warned)
            say_note(s->say, "the lease could not be renewed yet: %s", why.text);
        s->warned = true;
        lease_retry(&lock->lease, clock_now_ms());
        return;
    }
    trouble_say(&late, LOST, EXIT_NOT_OWNED, "the lease cannot be renewed: %s", why.text);
    lose(s, lease_kill_at(&lock->lease), &late);
}

/* ---- the whole ---- */

/* The command has ended: is what is left of its tree to be stopped? */
static void look_after_the_end(struct supervised *s) {
    char names[256];

    if (s->stage != STAGE_RUNNING || !see_children(s))
        return;
    if (!s->leave_at_ms)
        s->leave_at_ms = clock_after(clock_now_ms(), LEFT_AFTER_MS);
    if (clock_now_ms() < s->leave_at_ms)
        return;
    tree_names(s->tree, names, sizeof names);
    say_note(s->say,
             "the command has ended and left behind %s: stopping that too "
             "(--leave-children lets it live)",
             names);
    stop_tree(s, after_grace_ms(s));
}

/* What the passing of time, a signal or a message has made necessary. */
static void act(struct supervised *s) {
    const struct lease *lease = &s->lock->lease;
    struct trouble late;

    if (kept(s) && clock_now_ms() >= lease_stop_at(lease)) {
        trouble_say(&late, LOST, EXIT_NOT_OWNED, "the lease was not renewed in time");
        lose(s, lease_kill_at(lease), &late);
    }
    if (s->orphaned && (s->stage == STAGE_RUNNING || s->stage == STAGE_STOPPING)) {
        kill_tree(s);
        return;
    }
    if (s->stage == STAGE_RUNNING && !s->child.ended && clock_now_ms() >= s->end_at_ms) {
        s->timed_out = true;
        stop_tree(s, after_grace_ms(s));
    }
    if (s->child.ended)
        look_after_the_end(s);
    if (s->stage == STAGE_KILLING ||
        (s->stage == STAGE_STOPPING && clock_now_ms() >= s->kill_at_ms))
        kill_tree(s);
    if (kept(s) && s->stage <= STAGE_KILLING &&
        (s->suspect || clock_now_ms() >= lease->renew_at_ms))
        renew(s);
}

static bool over(struct supervised *s) {
    if (s->stage == STAGE_STUCK)
        return true;
    if (!s->child.ended)
        return false;
    if (s->stage == STAGE_KILLED) /* a dead one that a debugger holds is waited for by nobody */
        return true;
    /* The lock is not ours to guard, and nothing was to be stopped before it is given back. */
    if (s->stage == STAGE_RUNNING && (s->wishes->leave_children || s->lease == LEASE_FREED))
        return true;
    return !see_children(s);
}

/* Until there is something to do. */
static void rest(struct supervised *s) {
    bool lasts = clock_now_ms() >= s->watch_from_ms;
    int64_t until_ms = other_ms(s);
    struct trouble why = {0};

    tell_due(s);
    /* Seen already, during a renewal perhaps, and not acted on yet. */
    if (s->stage == STAGE_RUNNING && (s->orphaned || (s->child.ended && !s->leave_at_ms)))
        return;
    if (s->stage == STAGE_STOPPING && s->orphaned)
        return;
    if (s->stage == STAGE_KILLING) {
        loop_sleep(s->loop, 0); /* signals are seen */
        return;
    }
    if (kept(s))
        until_ms = clock_earlier(until_ms, s->lock->lease.renew_at_ms);
    if (lasts) {
        tree_hold(s->tree);
        guard_listen(s->guard);
    }
    if (kept(s) && lasts)
        lock_watch(s->lock, until_ms, &s->suspect, &why);
    else
        loop_sleep(s->loop, lasts ? until_ms : clock_earlier(until_ms, s->watch_from_ms));
}

/* Before we look whether it is too late, FRONT is told when it is (a SIGSTOP of ours wakes it). */
static enum outcome start_in_time(struct supervised *s, char *const argv[], struct trouble *why) {
    tell_due(s);
    if (kept(s) && clock_now_ms() >= lease_stop_at(&s->lock->lease))
        return trouble_say(why, LOST, EXIT_NOT_OWNED,
                           "the lease was over before the command could start: use a longer -t");
    return child_start(&s->child, argv, s->found, &s->loop->mask_found, true, why);
}

enum outcome supervise_start(struct supervised *s, char *const argv[], struct trouble *why) {
    enum outcome outcome = start_in_time(s, argv, why);
    int64_t now_ms;

    if (outcome != DONE)
        guard_due(s->guard, CLOCK_NEVER);
    s->starting = outcome == DONE;
    loop_sleep(s->loop, 0); /* what came until then */
    s->starting = false;
    now_ms = clock_now_ms();
    s->tree->keep = s->child.pid;
    s->end_at_ms = clock_after(now_ms, s->wishes->max_runtime_ms);
    s->watch_from_ms = now_ms + WATCH_AFTER_MS;
    return outcome;
}

void supervise(struct supervised *s) {
    while (!over(s)) {
        rest(s); /* signals are seen in every turn */
        if (!over(s))
            act(s);
    }
    guard_due(s->guard, CLOCK_NEVER);
}
