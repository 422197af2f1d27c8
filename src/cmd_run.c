/* vlock run: a command that runs while the lock is held, and only then.
 *
 *     FRONT   settles what is wanted, makes GUARD (guard.h), waits for it
 *     GUARD   TAKING --> the command runs (supervise.h) --> the lock is given back
 *
 * What can be lost at each instant: FRONT is killed while GUARD waits: the place in the queue is
 * given up; later: GUARD ends everything. GUARD is killed: FRONT does, see estate.h. A signal that
 * comes before the command runs ends the wait. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "command.h"
#include "context.h"
#include "duration.h"
#include "ending.h"
#include "estate.h"
#include "given.h"
#include "guard.h"
#include "held.h"
#include "holder.h"
#include "supervise.h"
#include "take.h"
#include "text.h"
#include "tree.h"
#include "wishes.h"

enum {
    TRY_MS = 100,
    LATE_MS = 1000 /* for giving the lock back, beyond the time that it has */
};

struct run {
    struct context ctx;
    struct take take;
    struct wishes wishes;
    struct supervised supervised;
    struct tree *tree;  /* the command's, seen from GUARD */
    int proc;           /* what it is found in: tree_find_proc() */
    bool borrowed;      /* --reenter: the lock of a command around us, whose business it is */
    int64_t hold_until; /* --hold-for: CLOCK_BOOTTIME ms, 0: not */
};

/* ---- taking ---- */

/* --reenter: the token of the command around us, if it holds this lock. */
static void borrow(struct run *run) {
    char token[TOKEN_MAX_BYTES + 1];

    run->borrowed = run->wishes.reenter && held_token(run->ctx.name, token, sizeof token);
    if (run->borrowed)
        text_copy(run->ctx.token, sizeof run->ctx.token, token, strlen(token));
}

/* Everything that can be wrong with what was asked for. */
static enum outcome settle(struct run *run, struct trouble *why) {
    struct lock *lock = &run->take.lock;
    enum outcome outcome = take_settle(&run->take, &run->ctx, why);

    if (outcome == DONE)
        outcome = wishes_settle(&run->wishes, run->ctx.options, lock->ttl_ms, why);
    if (outcome == DONE)
        outcome = context_store(&run->ctx, why);
    if (outcome == DONE)
        outcome = tree_find_proc(&run->proc, why);
    if (outcome != DONE)
        return outcome;
    borrow(run);
    lock->lease.kill_after_ms = run->wishes.kill_after_ms;
    lock->alive = true;
    return given_settle(&run->ctx, lock->ttl_ms, run->borrowed, why);
}

/* The lock of the command around us is to be there. */
static enum outcome look_at_borrowed(struct run *run, struct trouble *why) {
    struct context *ctx = &run->ctx;
    struct request request = {.kind = ASK_PEEK, .key = ctx->key, .token = ctx->token};
    struct answer answer;
    enum outcome outcome = store_ask(ctx->store, &request, context_deadline(ctx), &answer, why);
    char holder[HOLDER_BYTES];

    if (outcome == LOST) {
        holder_describe(holder, sizeof holder, &answer);
        return trouble_say(why, LOST, EXIT_NOT_OWNED,
                           "the command around this one has lost the lock: %s", holder);
    }
    run->take.lock.fence = answer.fence;
    return outcome;
}

/* --hold-for: whatever becomes of us, the lock is to stay for that long, so it is taken with that
 * time to live. From then on it is renewed as ever, which does not shorten it. `again`: what was
 * taken before is over. */
static enum outcome take_own(struct run *run, struct guard *guard, bool again,
                             struct trouble *why) {
    struct lock *lock = &run->take.lock;
    int64_t ttl_ms = lock->ttl_ms;
    enum outcome outcome;

    if (run->wishes.hold_for_ms > ttl_ms)
        lock->ttl_ms = run->wishes.hold_for_ms;
    outcome =
        again ? take_again(&run->take, &run->ctx, why) : take_lock(&run->take, &run->ctx, why);
    lock->ttl_ms = ttl_ms;
    if (outcome != DONE)
        return outcome;
    if (run->wishes.hold_for_ms) {
        run->hold_until = clock_after(clock_now_ms(), run->wishes.hold_for_ms);
        lock->lease.ttl_ms = ttl_ms;
        lock->lease.renew_at_ms = clock_after(clock_now_ms(), ttl_ms / 3);
    }
    guard_told(guard)->hold_until = run->hold_until;
    guard_told(guard)->armed = true;
    return DONE;
}

static enum outcome take(struct run *run, struct guard *guard, struct trouble *why) {
    return run->borrowed ? look_at_borrowed(run, why) : take_own(run, guard, false, why);
}

/* The command does not come about: what we have taken is given back. */
static enum outcome give_up(struct run *run, enum outcome outcome, struct trouble *why) {
    return run->borrowed ? outcome : take_back(&run->take, &run->ctx, outcome, why);
}

/* Waits while FRONT is stopped. If the lease has ended meanwhile, the lock is asked for again:
 * while it is not sure that the lock is ours nothing is to be given back. */
static enum outcome begin(struct run *run, struct guard *guard, struct trouble *why) {
    const struct lease *lease = &run->take.lock.lease;

    for (;;) {
        bool in_time = run->borrowed || clock_now_ms() < lease_stop_at(lease);
        enum outcome outcome;

        if (!guard_begin(guard))
            return give_up(run, trouble_say(why, STOPPED, EXIT_BUSY, "stopped"), why);
        /* One that is too short to begin under at all is not asked for again and again. */
        if (run->borrowed || !in_time || clock_now_ms() < lease_stop_at(lease))
            return DONE;
        guard_told(guard)->running = false;
        guard_told(guard)->armed = false;
        outcome = take_own(run, guard, true, why);
        if (outcome != DONE)
            return outcome;
    }
}

static enum outcome start_now(struct run *run, struct trouble *why) {
    struct supervised *s = &run->supervised;
    struct loop *loop = &run->ctx.loop;
    enum outcome outcome = given_grant(&run->ctx, run->take.lock.fence, run->borrowed, why);

    if (outcome == DONE)
        outcome = loop_take_signals(loop, supervise_on_signal, s, why);
    if (outcome == DONE)
        outcome = supervise_start(s, run->ctx.options->run, why);
    if (outcome == DONE) { /* from here on a lease depends on us */
        run->ctx.say.carry = guard_say;
        run->ctx.say.by = s->guard;
    }
    return outcome;
}

static enum outcome start(struct run *run, struct guard *guard, struct trouble *why) {
    struct supervised *s = &run->supervised;
    enum outcome outcome;

    s->lock = &run->take.lock;
    s->loop = &run->ctx.loop;
    s->say = &run->ctx.say;
    s->wishes = &run->wishes;
    s->guard = guard;
    s->found = run->ctx.found;
    s->tree = run->tree;
    s->lease = run->borrowed ? LEASE_FREED : LEASE_KEPT;
    outcome = begin(run, guard, why);
    if (outcome != DONE)
        return outcome;
    outcome = start_now(run, why);
    return outcome == DONE ? DONE : give_up(run, outcome, why);
}

/* ---- giving back ---- */

/* That the lock was not given back, and what becomes of it. */
static void say_kept(const struct run *run, const char *reason) {
    const struct lease *lease = &run->take.lock.lease;
    int64_t now_ms = clock_now_ms();
    char left[DURATION_TEXT_BYTES];

    if (run->take.lock.ttl_ms == TTL_NONE) {
        say_loud(&run->ctx.say, "%s: it never expires, release it by hand", reason);
        return;
    }
    if (lease->ends_ms == CLOCK_NEVER) { /* while we live; renewed, perhaps */
        duration_format(left, run->take.lock.ttl_ms);
        say_loud(&run->ctx.say, "%s: it lapses within %s", reason, left);
        return;
    }
    duration_format(left, lease->ends_ms > now_ms ? lease->ends_ms - now_ms : 0);
    say_loud(&run->ctx.say, "%s: it lapses in %s", reason, left);
}

/* Gives it back, or leaves it to end by itself when --hold-for says. */
static enum outcome let_go(struct run *run, bool *on_purpose, struct trouble *why) {
    struct lock *lock = &run->take.lock;
    int64_t until_ms = context_deadline(&run->ctx), left_ms = run->hold_until - clock_now_ms();
    int64_t lapses_in_ms = lock->lease.ends_ms - clock_now_ms();

    if (run->hold_until && left_ms > 0)
        return lock_leave(lock, left_ms, until_ms, on_purpose, why);
    /* Once it has lapsed there is nothing to give back. But it is tried. */
    if (lock->lease.ends_ms != CLOCK_NEVER)
        until_ms =
            clock_earlier(until_ms, clock_after(clock_now_ms(),
                                                lapses_in_ms > TRY_MS ? lapses_in_ms : TRY_MS));
    return lock_release(lock, until_ms, on_purpose, why);
}

static int give_back(struct run *run, int status) {
    const struct supervised *s = &run->supervised;
    bool on_purpose = false;
    struct trouble why = {0};
    enum outcome outcome;
    char text[sizeof why.text + 80];

    if (s->lease == LEASE_LOST) { /* perhaps it still is ours: nobody needs to wait for its end */
        if (!s->gone && s->stage != STAGE_STUCK)
            let_go(run, &on_purpose, &why);
        return EXIT_NOT_OWNED;
    }
    if (s->lease == LEASE_FREED)
        return status;
    if (s->stage == STAGE_STUCK) {
        say_kept(run, "the lock is not given back, as something of the command still runs");
        return status;
    }
    outcome = let_go(run, &on_purpose, &why);
    if (outcome == DONE || on_purpose)
        return status;
    if (outcome == LOST) {
        say_trouble(&run->ctx.say, &why);
        return EXIT_NOT_OWNED;
    }
    snprintf(text, sizeof text, "the command ended, but the lock could not be given back: %s",
             why.text);
    say_kept(run, text);
    return status;
}

/* The status of the whole, once the command has run. */
static int finish(struct run *run, struct guard *guard) {
    const struct supervised *s = &run->supervised;
    char names[256];
    int status = EXIT_SYSTEM;

    if (s->stage == STAGE_STUCK) {
        tree_names(s->tree, names, sizeof names);
        say_loud(&run->ctx.say, "this could not be stopped: %s", names);
    }
    if (s->child.ended)
        status = child_exit_status(&s->child);
    if (s->timed_out)
        status = EXIT_TIMED_OUT;
    else if (s->child.ended)
        guard_told(guard)->signo = child_end_signal(&s->child);
    guard_told(guard)->status = s->lease == LEASE_LOST ? EXIT_NOT_OWNED : status;
    guard_told(guard)->over = s->stage != STAGE_STUCK;
    guard_due(guard, clock_after(context_deadline(&run->ctx), LATE_MS));
    return give_back(run, status);
}

/* ---- the two processes ---- */

/* In GUARD. */
static int guard_work_of(struct guard *guard, void *arg) {
    struct run *run = arg;
    struct trouble why = {0};
    enum outcome outcome;
    int status;

    tree_init(run->tree, run->proc);
    store_share(run->ctx.store, guard_keep, guard);
    outcome = take(run, guard, &why);
    if (outcome == DONE)
        outcome = start(run, guard, &why);
    if (outcome != DONE) {
        status = take_status(&run->take, &run->ctx, outcome, &why);
        guard_told(guard)->signo = outcome == STOPPED ? run->take.ending.signo : 0;
    } else {
        supervise(&run->supervised);
        loop_take_signals(&run->ctx.loop, NULL, NULL, &why); /* none must stop what follows */
        status = finish(run, guard);
    }
    return status;
}

/* In FRONT, at the end of all. */
_Noreturn static void conclude(struct estate *estate, const struct guard_told *told,
                               const struct child_found *found, const struct loop *loop) {
    int status = told->ended ? told->status : estate_settle(estate, told);

    if ((told->ended || told->over) && told->signo == SIGINT)
        ending_die(status, found, loop);
    /* Nothing is closed, freed or cleaned up: the kernel does that, in one go. */
    _exit(status);
}

static void note_estate(struct estate *estate, const struct run *run) {
    const struct options *options = run->ctx.options;

    estate->quiet = run->ctx.say.quiet;
    estate->insecure = options->value[OPT_INSECURE] != NULL;
    estate->store_named = run->ctx.store_named;
    estate->ours = !options->value[OPT_TOKEN];
    estate->borrowed = run->borrowed;
    text_copy(estate->name, sizeof estate->name, run->ctx.name, strlen(run->ctx.name));
    tree_init(&estate->tree, run->proc);
}

int cmd_run(const struct options *options, const struct child_found *found) {
    /* Large, and seldom touched: on the stack each of their pages would be cleared or probed. */
    static struct run run;
    static struct tree of_guard;
    static struct estate estate;
    const struct guard_told *told = NULL;
    struct guard_job job = {.work = guard_work_of,
                            .arg = &run,
                            .on_signal = ending_on_signal,
                            .signal_arg = &run.take.ending,
                            .title = &found->title};
    struct trouble why = {0};
    enum outcome outcome;

    run.take.conflict = EXIT_BUSY;
    run.tree = &of_guard;
    outcome = context_open(&run.ctx, options, found, true, &why);
    if (outcome == DONE)
        outcome = settle(&run, &why);
    if (outcome == DONE) {
        note_estate(&estate, &run);
        job.keeps = store_shows_life(run.ctx.store);
        outcome = guard_run(&run.ctx.loop, &job, &told, &why);
    }
    if (outcome != DONE)
        return context_end(&run.ctx, outcome, &why);
    conclude(&estate, told, found, &run.ctx.loop);
}
