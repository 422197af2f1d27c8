/* store_valkey.c - locks on one Valkey or Redis server.
 *
 * Keys of a lock NAME (protocol, not ours to change alone: redis-py and others share NAME):
 *
 *     NAME                     string: the holder's token, PX = TTL, nothing else
 *     {NAME}:vlock:fence       hash: see scripts/head.lua; kept a month beyond its last use
 *     {NAME}:vlock:queue       sorted set: the ids of those who wait, by their tickets
 *     {NAME}:vlock:waiters     hash: what each of them waits with, see scripts/head.lua
 *     {NAME}:vlock:gone:ID     string: which copies of the acquire with this id are refused, as it
 *                              was withdrawn or sent again; kept two minutes
 *
 * A NAME with a hash tag of its own gets NAME:vlock2:... instead, so that `job` and `{job}`
 * share nothing and everything of one lock lies in one slot; and one with a } but no tag gets
 * {T}:vlock3:NAME:..., where T is the smallest number in the slot of NAME.
 *
 * Each request is one script (EVALSHA, EVAL after NOSCRIPT). What can be lost at each instant:
 *   before the request was sent        nothing; it is sent on the next connection
 *   sent, and no reply                 it may have been carried out, or may be later, even by a
 *                                      server that had stopped, when we are long gone. It is
 *                                      sent again; after an acquire that is given up, the
 *                                      caller's withdrawal leaves a mark that refuses it
 *   an acquire without expiry          takes the lock with a claim and confirms it in a second
 *                                      step: what nobody confirms lapses
 *   the lock was handed to us          it is a short claim until we have asked again: unheard, or
 *                                      too late, it goes to the next
 *   the server has become a replica    nothing was carried out: each script that may write has the
 *                                      server see to that first (scripts/head.lua). Whoever holds
 *                                      or waits asks again where the address leads now
 *   the greeting was refused           the acquire behind it was perhaps carried out, as the
 *                                      server's default user: it is undone on the spot */
#include <stdlib.h>

#include "clock.h"
#include "store_valkey_part.h"

extern const struct store_kind store_valkey;

enum {
    PAUSE_FIRST_MS = 5,  /* before connecting again, doubled each time, ... */
    PAUSE_MOST_MS = 250, /* ... up to this */
    LAST_TRY_MS = 10,    /* so long before the deadline it is tried once more */
    MUTE_TRIES = 4       /* to ask a server that has never said a word */
};

/* The server did what it should not have been asked for. It has answered that, so there is nothing
 * on its way that a mark would have to refuse: a release undoes it. */
static enum outcome undo(struct valkey *v, const struct request *request, enum verdict verdict,
                         int64_t deadline_ms) {
    struct request last_word = *request;
    struct answer ignored = {0};
    enum outcome undone = DONE;

    last_word.kind = verdict == YES ? ASK_RELEASE : ASK_WITHDRAW;
    last_word.waits = false;
    if (request->kind == ASK_ACQUIRE && (verdict == YES || request->waits))
        undone = valkey_call(v, &last_word, deadline_ms, &verdict, &ignored, NULL);
    return undone == DONE ? FAILED : UNSURE;
}

/* The greeting was refused, and what stood behind it was done all the same. */
static enum outcome undo_unknown(struct valkey *v, const struct request *request,
                                 enum verdict verdict, int64_t deadline_ms, struct trouble *why) {
    enum outcome outcome;

    *why = *wire_refused(v->wire);
    outcome = undo(v, request, verdict, deadline_ms);
    wire_drop(v->wire);
    return outcome;
}

/* A replica that may be written to (replica-read-only no) has done it: it said with HELLO what it
 * is. */
static enum outcome undo_on_replica(struct valkey *v, const struct request *request,
                                    enum verdict verdict, int64_t deadline_ms,
                                    struct trouble *why) {
    undo(v, request, verdict, deadline_ms);
    return valkey_demoted(v, why);
}

/* The second step of an acquire without expiry. */
static enum outcome confirm(struct valkey *v, const struct request *request, int64_t deadline_ms,
                            struct answer *out, struct trouble *why) {
    struct answer got = {0};
    enum verdict verdict = NO;
    enum outcome outcome = valkey_confirm(v, request, deadline_ms, &verdict, &got, why);

    if (outcome != DONE)
        return outcome;
    if (verdict != YES) /* stopped for longer than the claim: ask anew */
        return trouble_say(why, UNSURE, EXIT_UNREACHABLE, "%s did not answer in time",
                           v->address->shown);
    *out = got;
    return DONE;
}

static bool gives_up(const struct request *request) {
    return request->kind == ASK_RELEASE || request->kind == ASK_BREAK;
}

static enum outcome verdict_means(const struct valkey *v, const struct request *request,
                                  enum verdict verdict, const struct answer *answer,
                                  struct trouble *why) {
    switch (verdict) {
    case YES:
        return DONE;
    case NO:
        if (request->kind == ASK_ACQUIRE)
            return HELD;
        /* An earlier attempt, whose reply was lost, has released it; who holds it now, if
         * anybody, came later. */
        return gives_up(request) && v->again && !answer->released ? DONE : LOST;
    case ENDLESS:
        return trouble_say(why, FAILED, EXIT_DATA, "the lock has no expiry to extend or reset");
    case TOO_LONG:
        return trouble_say(why, FAILED, EXIT_USAGE,
                           "the lease would become longer than a server can count");
    case WITHDRAWN:
        return trouble_say(why, LOST, EXIT_UNREACHABLE, "the request was given up before");
    case VERDICTS:
        break;
    }
    return trouble_say(why, FAILED, EXIT_BUG, "no such verdict: report this");
}

/* One attempt over the connection there is, or a new one. */
static enum outcome attempt(struct valkey *v, const struct request *request, int64_t deadline_ms,
                            struct answer *out, struct trouble *why) {
    struct answer got = {0};
    enum verdict verdict = NO;
    enum outcome outcome;

    outcome = valkey_call(v, request, deadline_ms, &verdict, &got, why);
    if (outcome == LOST)
        *out = got;
    if (outcome != DONE)
        return outcome;
    if (wire_refused(v->wire))
        return undo_unknown(v, request, verdict, deadline_ms, why);
    if (wire_role(v->wire) == ROLE_REPLICA)
        return undo_on_replica(v, request, verdict, deadline_ms, why);
    outcome = verdict_means(v, request, verdict, &got, why);
    if (outcome == DONE && request->kind == ASK_ACQUIRE && request->ttl_ms == TTL_NONE)
        outcome = confirm(v, request, deadline_ms, &got, why);
    if (outcome == DONE || outcome == HELD || outcome == LOST)
        *out = got;
    return outcome;
}

/* A request without an answer is sent again for as long as a connection and a reply may take;
 * one that may be patient (a waiter, a renewal), until its deadline. */
static int64_t give_up_at(const struct valkey *v, const struct request *request,
                          int64_t deadline_ms) {
    int64_t budget_ms = v->access->connect_timeout_ms + v->access->reply_timeout_ms;

    return request->patient ? deadline_ms
                            : clock_earlier(deadline_ms, clock_after(clock_now_ms(), budget_ms));
}

/* A withdrawal follows an acquire that was not answered, so its connection may be dead. It goes
 * out there first, behind the acquire, and then over a connection of its own: its mark refuses
 * the acquire in whatever order the two arrive. */
static enum outcome withdraw(struct valkey *v, const struct request *request, int64_t deadline_ms,
                             struct answer *out, struct trouble *why) {
    int64_t now_ms = clock_now_ms();
    enum outcome outcome = UNSURE;

    if (wire_connected(v->wire))
        outcome = attempt(v, request, now_ms + (deadline_ms - now_ms) / 2, out, why);
    if (outcome == DONE)
        return DONE;
    wire_drop(v->wire);
    return attempt(v, request, deadline_ms, out, why);
}

/* What was sent may be carried out although nobody has heard of it. */
static void note_again(struct valkey *v) {
    v->again = true;
    v->attempts++;
}

/* True if it is of no use to ask again. Somebody else is on the other end of a connection that is
 * closed again and again without a word: few tries will do, unless the caller is patient. */
static bool gives_up_now(const struct valkey *v, const struct request *request, bool silent) {
    if (request->patient || v->moved)
        return false;
    return !v->again || silent || (!wire_was_answered(v->wire) && v->attempts >= MUTE_TRIES);
}

/* Asks until there is an answer. */
static enum outcome insist(struct valkey *v, const struct request *request, int64_t deadline_ms,
                           struct answer *out, struct trouble *why) {
    int64_t give_up_ms = give_up_at(v, request, deadline_ms), pause_ms = PAUSE_FIRST_MS;

    v->again = v->moved = false;
    if (request->kind == ASK_WITHDRAW)
        return withdraw(v, request, deadline_ms, out, why);
    for (;;) {
        bool silent;
        int64_t left_ms;
        enum outcome outcome = attempt(v, request, give_up_ms, out, why);
        if (wire_greets_anew(v->wire)) { /* it may have worked without the password */
            if (outcome == DONE || outcome == UNSURE)
                note_again(v);
            wire_drop(v->wire);
            continue;
        }
        if (outcome != UNSURE && !(outcome == FAILED && why->status == EXIT_UNREACHABLE))
            return v->again && outcome == FAILED ? UNSURE : outcome;
        silent = outcome == UNSURE && wire_connected(v->wire);
        if (outcome == UNSURE)
            note_again(v);
        if (gives_up_now(v, request, silent))
            return v->again ? UNSURE : outcome;
        left_ms = give_up_ms - clock_now_ms() - LAST_TRY_MS;
        if (left_ms <= 0)
            return v->again ? UNSURE : outcome;
        if (silent)
            wire_drop(v->wire); /* behind a request that hangs ours would hang too */
        left_ms = clock_earlier(left_ms, clock_spread_ms(pause_ms));
        if (loop_sleep(v->loop, clock_now_ms() + left_ms) == WAKE_STOP)
            return trouble_say(why, STOPPED, EXIT_UNREACHABLE, "stopped");
        pause_ms = pause_ms * 2 < PAUSE_MOST_MS ? pause_ms * 2 : PAUSE_MOST_MS;
    }
}

static enum outcome valkey_ask(struct store *store, const struct request *request,
                               int64_t deadline_ms, struct answer *out, struct trouble *why) {
    struct valkey *v = (struct valkey *)store;
    enum outcome outcome = insist(v, request, deadline_ms, out, why);

    valkey_watch_asked(v, outcome, out);
    return outcome;
}

/* The other process goes on using the connection: ours is a new one. */
static unsigned valkey_forked(struct store *store, int kept[]) {
    struct valkey *v = (struct valkey *)store;

    (void)kept;
    wire_drop(v->wire);
    return 0;
}

static void valkey_close(struct store *store) {
    struct valkey *v = (struct valkey *)store;

    wire_free(v->wire);
    free(v);
}

static enum outcome valkey_open(const struct address *address, const struct access *access,
                                struct loop *loop, struct store **out, struct trouble *why) {
    struct valkey *v = calloc(1, sizeof *v);

    if (v)
        v->wire = wire_new(address, access, loop);
    if (!v || !v->wire) {
        free(v);
        return trouble_say(why, FAILED, EXIT_SYSTEM, "out of memory");
    }
    v->store.kind = &store_valkey;
    v->address = address;
    v->access = access;
    v->loop = loop;
    *out = &v->store;
    return DONE;
}

const struct store_kind store_valkey = {
    .open = valkey_open,
    .ask = valkey_ask,
    .await = valkey_await,
    .watch = valkey_watch,
    .forked = valkey_forked,
    .close = valkey_close,
};
