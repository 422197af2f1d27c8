#include "lock.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "duration.h"
#include "held.h"
#include "holder.h"
#include "text.h"
#include "token.h"

enum {
    /* -w ends on time, give or take 50 ms: the last question may still be answered, and what
     * was not answered is taken back. */
    GRACE_MS = 15,
    WITHDRAW_MS = 25,
    WITHDRAW_FREELY_MS = 500, /* where no -w bounds it */
    AGAIN_MS = 500,           /* for asking again, too */
    MOST_SPENT = 4,           /* ids of one acquire, see ask_anew() */
    /* A connection that swallowed a renewal is given up in time for others to be tried. */
    RENEWAL_TRIES = 3,
    LEAST_REPLY_MS = 100
};

static struct request request_for(const struct lock *lock, enum request_kind kind) {
    return (struct request){.kind = kind,
                            .key = lock->key,
                            .token = lock->token,
                            .id = lock->id,
                            .ttl_ms = lock->ttl_ms,
                            .alive = lock->alive};
}

static enum outcome busy(struct lock *lock, const struct answer *answer, struct trouble *why) {
    char holder[HOLDER_BYTES];

    holder_describe(holder, sizeof holder, answer);
    text_copy(lock->holder, sizeof lock->holder, answer->holder,
              answer->kept ? 0 : strlen(answer->holder));
    lock->held_around = held_has(lock->name, answer->holder);
    if (lock->held_around)
        return trouble_say(why, HELD, EXIT_BUSY,
                           "%s: this command runs under that very lock: waiting would never end",
                           holder);
    return trouble_say(why, HELD, EXIT_BUSY, "%s: try again later, or wait with -w", holder);
}

/* Takes back an acquire that was not answered. False if the store could not be told: `why` keeps
 * the sentence of what had happened, and says so. */
static bool withdraw(struct lock *lock, int64_t until_ms, enum outcome outcome,
                     struct trouble *why) {
    int64_t now_ms = clock_now_ms(), left_ms = WITHDRAW_FREELY_MS;
    struct request request = request_for(lock, ASK_WITHDRAW);
    struct answer ignored;
    struct trouble other = {0};
    struct trouble before = *why;
    char ttl[DURATION_TEXT_BYTES] = "30s";

    if (until_ms != 0 && until_ms - now_ms < left_ms)
        left_ms = until_ms > now_ms ? until_ms - now_ms : 0;
    if (left_ms < WITHDRAW_MS)
        left_ms = WITHDRAW_MS;
    loop_watch_outputs(lock->loop, false); /* that may be why, and must not end this too */
    if (store_ask(lock->store, &request, now_ms + left_ms, &ignored, &other) == DONE)
        return true;
    if (lock->ttl_ms != TTL_NONE)
        duration_format(ttl, lock->ttl_ms);
    trouble_say(why, outcome, before.status,
                "%s: if the lock was given all the same, it lapses after %s", before.text, ttl);
    return false;
}

/* Asks once. `heard`: the store has answered before, so it is worth coming back to. `answer` is
 * filled on DONE and HELD. */
static enum outcome ask_for_it(struct lock *lock, int64_t until_ms, bool heard,
                               struct answer *answer, struct trouble *why) {
    int64_t deadline_ms = until_ms ? clock_after(until_ms, GRACE_MS) : CLOCK_NEVER;
    struct request request = request_for(lock, ASK_ACQUIRE);
    enum outcome outcome;

    request.waits = heard && until_ms != 0;
    request.patient = until_ms != 0 && (until_ms != CLOCK_NEVER || heard);
    outcome = store_ask(lock->store, &request, deadline_ms, answer, why);
    if (outcome == DONE) {
        lock->fence = answer->fence;
        lease_given(&lock->lease, lock->ttl_ms, answer->asked_ms, answer->ttl_ms, answer->endless);
        text_copy(lock->holder, sizeof lock->holder, lock->token, strlen(lock->token));
    }
    return outcome;
}

/* The id is spent: a later copy of the request overtook this one. Asks with another from now on;
 * that this happens time and again is a server's invention. */
static enum outcome ask_anew(struct lock *lock, bool queued, int64_t until_ms, int spent,
                             struct trouble *why) {
    if (queued)
        withdraw(lock, until_ms, LOST, why);
    if (spent == MOST_SPENT)
        return trouble_say(why, FAILED, EXIT_PROTOCOL, "the server refuses every request");
    return token_make_id(lock->id, why);
}

/* The whole wait. `heard`: it has begun before; `queued`: a place in the queue may have been taken;
 * `held`: what the store said last, if it did. The first question only takes what is free; who is
 * to wait asks again, and joins the queue. */
static enum outcome take_or_wait(struct lock *lock, int64_t until_ms, bool heard, bool *queued,
                                 struct trouble *held, struct trouble *why) {
    struct request waiting = request_for(lock, ASK_ACQUIRE);
    struct answer answer = {0};

    waiting.waits = true;
    for (int spent = 0;;) {
        enum outcome outcome = ask_for_it(lock, until_ms, heard, &answer, why);

        if (outcome == LOST) {
            outcome = ask_anew(lock, heard, until_ms, ++spent, why);
            if (outcome == DONE)
                continue;
            return outcome;
        }
        *queued = heard && (outcome != DONE);
        if (outcome != HELD)
            return outcome;
        outcome = busy(lock, &answer, held);
        *why = *held;
        if (lock->held_around || until_ms == 0)
            return outcome;
        if (heard && store_await(lock->store, &waiting, until_ms, why) == STOPPED)
            return STOPPED;
        if (clock_now_ms() >= until_ms)
            return HELD;
        heard = true;
    }
}

/* The wait, and that nothing is left of it if it was in vain. */
static enum outcome acquire(struct lock *lock, int64_t until_ms, bool heard, struct trouble *why) {
    struct trouble held = {0};
    bool queued = false, late;
    enum outcome outcome = take_or_wait(lock, until_ms, heard, &queued, &held, why);

    if (outcome != UNSURE && outcome != STOPPED && (!queued || outcome == DONE))
        return outcome;
    /* The time ran out under a question, and that the store still answers is seen now. */
    late = outcome == UNSURE && *held.text && clock_now_ms() >= until_ms;
    if (withdraw(lock, until_ms, outcome, why) && late) {
        *why = held;
        return HELD;
    }
    return outcome == UNSURE ? FAILED : outcome;
}

enum outcome lock_acquire(struct lock *lock, int64_t until_ms, struct trouble *why) {
    enum outcome outcome = held_check(why);

    if (outcome == DONE)
        outcome = token_make_id(lock->id, why);
    return outcome == DONE ? acquire(lock, until_ms, false, why) : outcome;
}

enum outcome lock_acquire_again(struct lock *lock, int64_t until_ms, struct trouble *why) {
    int64_t least_ms = clock_after(clock_now_ms(), AGAIN_MS);

    if (until_ms < least_ms) /* the time ran out while nobody could look at it */
        until_ms = least_ms;
    return acquire(lock, until_ms, true, why);
}

/* One reply is waited for no longer than `reply_ms`. */
static struct request renewal(const struct lock *lock, int64_t reply_ms) {
    struct request request = request_for(lock, ASK_RENEW);

    request.patient = true;
    request.reply_ms = reply_ms < LEAST_REPLY_MS ? LEAST_REPLY_MS : reply_ms;
    return request;
}

enum outcome lock_renew(struct lock *lock, int64_t deadline_ms, bool *on_purpose,
                        struct trouble *why) {
    struct request request = renewal(lock, (deadline_ms - clock_now_ms()) / RENEWAL_TRIES);
    struct answer answer;
    enum outcome outcome;
    char holder[HOLDER_BYTES];

    outcome = store_ask(lock->store, &request, deadline_ms, &answer, why);
    *on_purpose = outcome == LOST && answer.released;
    if (outcome == DONE)
        lease_given(&lock->lease, lock->ttl_ms, answer.asked_ms, answer.ttl_ms, answer.endless);
    if (outcome == LOST) {
        holder_describe(holder, sizeof holder, &answer);
        trouble_say(why, LOST, EXIT_NOT_OWNED, "the lock was lost: %s", holder);
    }
    return outcome;
}

enum outcome lock_watch(struct lock *lock, int64_t until_ms, bool *suspect, struct trouble *why) {
    struct request request = request_for(lock, ASK_RENEW);

    return store_watch(lock->store, &request, until_ms, suspect, why);
}

/* The end of our part: `request` is its last word. */
static enum outcome part(struct lock *lock, const struct request *request, int64_t deadline_ms,
                         bool *on_purpose, struct trouble *why) {
    struct answer answer;
    enum outcome outcome = store_ask(lock->store, request, deadline_ms, &answer, why);
    char holder[HOLDER_BYTES];

    *on_purpose = outcome == LOST && answer.released;
    if (outcome == LOST) {
        holder_describe(holder, sizeof holder, &answer);
        trouble_say(why, LOST, EXIT_NOT_OWNED, "the lock was lost before it was given back: %s",
                    holder);
    }
    return outcome;
}

enum outcome lock_leave(struct lock *lock, int64_t ttl_ms, int64_t deadline_ms, bool *on_purpose,
                        struct trouble *why) {
    struct request request = request_for(lock, ASK_RESET);

    request.ttl_ms = ttl_ms;
    request.alive = false;
    return part(lock, &request, deadline_ms, on_purpose, why);
}

enum outcome lock_release(struct lock *lock, int64_t deadline_ms, bool *on_purpose,
                          struct trouble *why) {
    struct request request = request_for(lock, ASK_RELEASE);

    return part(lock, &request, deadline_ms, on_purpose, why);
}
