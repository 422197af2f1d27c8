/* vlock run: a command that runs while the lock is held, and only then.
 *
 * States:   TAKING -> RUNNING -> ENDED -> the lock is given back
 *                        |
 *                        +--> STOPPING -> KILLED -> ENDED      the lock is not ours any more, or
 *                        |                                     soon may not be: status 79
 *                        +--> FREED -> ENDED                   CMD gave the lock back itself
 *
 * One loop, no work in handlers: the loop shows signals to on_signal(), which forwards them;
 * deadlines are those of the lease (lease.h). What can be lost at each instant: if vlock is
 * killed, the lock lapses with its TTL while CMD goes on; the supervision of whole trees is to
 * close that. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "command.h"
#include "context.h"
#include "duration.h"
#include "held.h"
#include "take.h"

enum phase { RUNNING, FREED, STOPPING, KILLED };

struct run {
    struct context ctx;
    struct take take;
    struct child child;
    enum phase phase;
    int64_t kill_at_ms; /* STOPPING: when TERM has had its time */
    bool lost;
    bool gone;   /* the store said so itself: there is nothing to give back */
    bool warned; /* of a renewal that failed; said once until one succeeds */
};

/* Signals for the command are passed on; those that the terminal sent went to its whole
 * process group, and so to the command, already. */
static bool on_signal(void *arg, const struct signalfd_siginfo *info) {
    struct run *run = arg;

    if (info->ssi_signo == SIGCHLD) {
        bool ended = run->child.ended; /* some later child's end, of one we inherited, is nothing */
        child_reap(&run->child);
        return run->child.ended && !ended;
    }
    /* After CMD has ended there is nobody to tell, and giving the lock back must not be stopped:
     * it is bounded anyway, and who stops a service signals CMD first and then us. */
    if (info->ssi_code != SI_KERNEL)
        child_signal(&run->child, (int)info->ssi_signo);
    return false;
}

static bool set(const char *variable, const char *value) {
    return setenv(variable, value, 1) == 0;
}

/* An option that names a file, for a command that may change its directory. */
static bool set_path(const char *variable, const char *path) {
    char directory[4096], *whole = NULL;
    bool done;

    if (!path || *path == '/')
        return !path || set(variable, path);
    if (!getcwd(directory, sizeof directory) || asprintf(&whole, "%s/%s", directory, path) < 0)
        return false;
    done = set(variable, whole);
    free(whole);
    return done;
}

/* What came as an option is passed on, so that vlock in the command finds the same lock. */
static bool set_options(const struct options *options) {
    static const enum option words[] = {OPT_URL, OPT_PREFIX, OPT_USER, OPT_SNI};
    static const enum option paths[] = {OPT_PASSWORD_FILE, OPT_CACERT, OPT_CERT, OPT_KEY};
    bool done = true;

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (options->value[words[i]] && *options->value[words[i]])
            done = done && set(option_rows[words[i]].variable, options->value[words[i]]);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        done = done && set_path(option_rows[paths[i]].variable, options->value[paths[i]]);
    return done;
}

static enum outcome set_environment(struct run *run, struct trouble *why) {
    const struct lock *lock = &run->take.lock;
    char ttl[DURATION_TEXT_BYTES] = "none", fence[24];

    if (lock->ttl_ms != TTL_NONE)
        duration_format(ttl, lock->ttl_ms);
    snprintf(fence, sizeof fence, "%llu", (unsigned long long)lock->fence);
    if (!set("VLOCK_NAME", run->ctx.name) || !set("VLOCK_TOKEN", lock->token) ||
        !set("VLOCK_FENCE", fence) || !set("VLOCK_TTL", ttl) || unsetenv("VLOCK_TOKEN_FILE") != 0 ||
        !set_options(run->ctx.options))
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot set up the command's environment: %s",
                           strerror(errno));
    return held_add(run->ctx.name, lock->token, why);
}

/* Ends the command: at once if its time is over already. */
static void stop(struct run *run, int64_t kill_at_ms, const struct trouble *why) {
    run->lost = true;
    run->phase = STOPPING;
    run->kill_at_ms = kill_at_ms;
    child_signal(&run->child, SIGTERM);
    child_signal(&run->child, SIGCONT);
    say_loud(&run->ctx.say, "%s: stopping the command", why->text);
}

static void renew(struct run *run) {
    struct lock *lock = &run->take.lock;
    struct trouble why = {0}, late;
    bool on_purpose = false;

    switch (lock_renew(lock, lease_stop_at(&lock->lease), &on_purpose, &why)) {
    case DONE:
        run->warned = false;
        return;
    case STOPPED: /* the command has ended, or the lease's deadline is looked at next */
        return;
    case LOST:
        run->gone = true;
        if (on_purpose)
            run->phase = FREED;
        else
            stop(run, clock_now_ms() + lease_kill_after_ms(&lock->lease), &why);
        return;
    case HELD:
    case UNSURE:
    case FAILED:
        break;
    }
    if (clock_now_ms() < lease_stop_at(&lock->lease)) {
        if (!run->warned)
            say_note(&run->ctx.say, "the lease could not be renewed yet: %s", why.text);
        run->warned = true;
        lease_retry(&lock->lease, clock_now_ms());
        return;
    }
    trouble_say(&late, LOST, EXIT_NOT_OWNED, "the lease cannot be renewed: %s", why.text);
    stop(run, lease_kill_at(&lock->lease), &late);
}

/* When there is something to do next if nothing happens. */
static int64_t next_ms(const struct run *run) {
    const struct lease *lease = &run->take.lock.lease;

    switch (run->phase) {
    case RUNNING:
        return clock_earlier(lease->renew_at_ms, lease_stop_at(lease));
    case STOPPING:
        return run->kill_at_ms;
    case FREED:
    case KILLED:
        break;
    }
    return CLOCK_NEVER;
}

static void supervise(struct run *run) {
    const struct lease *lease = &run->take.lock.lease;
    struct trouble late;

    while (!run->child.ended) {
        int64_t now_ms;
        loop_sleep(&run->ctx.loop, next_ms(run)); /* signals are seen in every turn */
        now_ms = clock_now_ms();
        if (run->child.ended || now_ms < next_ms(run)) {
            continue;
        } else if (run->phase == STOPPING) {
            run->phase = KILLED;
            child_signal(&run->child, SIGKILL);
        } else if (now_ms >= lease_stop_at(lease)) { /* slept through it: suspended, stopped */
            trouble_say(&late, LOST, EXIT_NOT_OWNED, "the lease was not renewed in time");
            stop(run, lease_kill_at(lease), &late);
        } else {
            renew(run);
        }
    }
}

/* Gives the lock back and returns the status of the whole. */
static int finish(struct run *run) {
    int status = child_exit_status(&run->child);
    struct lock *lock = &run->take.lock;
    char left[DURATION_TEXT_BYTES];
    bool on_purpose = false;
    struct trouble why = {0};
    enum outcome outcome;

    if (run->lost && !run->gone) /* perhaps it still is ours: nobody needs to wait for its end */
        lock_release(lock, clock_earlier(context_deadline(&run->ctx), lock->lease.ends_ms),
                     &on_purpose, &why);
    if (run->lost)
        return EXIT_NOT_OWNED;
    if (run->phase == FREED)
        return status;
    outcome = lock_release(lock, context_deadline(&run->ctx), &on_purpose, &why);
    if (outcome == DONE || on_purpose)
        return status;
    if (outcome == LOST) {
        say_trouble(&run->ctx.say, &why);
        return EXIT_NOT_OWNED;
    }
    if (lock->lease.ends_ms == CLOCK_NEVER) {
        say_loud(&run->ctx.say,
                 "the command ended, but the lock could not be given back: %s: it "
                 "never expires, release it by hand",
                 why.text);
        return status;
    }
    duration_format(left, lock->lease.ends_ms > clock_now_ms()
                              ? lock->lease.ends_ms - clock_now_ms()
                              : 0);
    say_loud(&run->ctx.say,
             "the command ended, but the lock could not be given back: %s: it lapses in %s",
             why.text, left);
    return status;
}

static enum outcome take(struct run *run, struct trouble *why) {
    enum outcome outcome = take_settle(&run->take, &run->ctx, why);

    if (outcome == DONE)
        outcome = context_store(&run->ctx, why);
    if (outcome == DONE)
        outcome = take_signals(&run->take, &run->ctx, why);
    run->take.lock.alive = true;
    return outcome == DONE ? take_lock(&run->take, &run->ctx, why) : outcome;
}

static enum outcome start(struct run *run, const struct child_found *found, struct trouble *why) {
    const struct lock *lock = &run->take.lock;
    enum outcome outcome = DONE;

    if (clock_now_ms() >= lease_stop_at(&lock->lease))
        outcome = trouble_say(why, LOST, EXIT_NOT_OWNED,
                              "the lease was over before the command could start: use a longer -t");
    if (outcome == DONE)
        outcome = set_environment(run, why);
    if (outcome == DONE)
        outcome = loop_take_signals(&run->ctx.loop, on_signal, run, why);
    if (outcome == DONE)
        outcome =
            child_start(&run->child, run->ctx.options->run, found, &run->ctx.loop.mask_found, why);
    run->ctx.say.hurried = outcome == DONE; /* from here on a lease depends on us */
    return outcome == DONE ? DONE : take_back(&run->take, &run->ctx, outcome, why);
}

int cmd_run(const struct options *options, const struct child_found *found) {
    struct run run = {.take.conflict = EXIT_BUSY, .phase = RUNNING};
    struct trouble why = {0};
    enum outcome outcome;
    int status, signal;

    outcome = context_open(&run.ctx, options, found, true, &why);
    if (outcome == DONE)
        outcome = take(&run, &why);
    if (outcome == DONE)
        outcome = start(&run, found, &why);
    if (outcome != DONE) {
        status = take_status(&run.take, &run.ctx, outcome, &why);
        signal = outcome == STOPPED ? run.take.ending.signo : 0;
    } else {
        supervise(&run);
        signal = child_end_signal(&run.child);
        status = finish(&run);
    }
    if (signal == SIGINT)
        ending_die(status, found, &run.ctx.loop);
    context_close(&run.ctx);
    return status;
}
