/* store_valkey_watch.c - a holder hears at once that the lock is not what it was.
 *
 * The first call after an ask has the server track the key and then looks at it, all in one write
 * that nobody sleeps for:
 *
 *   CLIENT CACHING YES, PTTL NAME              from here on the next change is pushed to us, ...
 *   GET NAME, HGET {NAME}:vlock:fence grant    ... and this tells what was changed before
 *
 * So no change between the ask and the end of the watch is missed. Who is told that the key was
 * changed looks again in the same way: an extend by somebody who has our token is no loss, and must
 * cost no renewal. It is worth asking when the key does not hold our token, when another acquire
 * got it, and when less time is left than we were told. What we write ourselves ends the tracking
 * without a word (NOLOOP), so it is begun anew after each ask.
 *
 * Where nothing can be tracked only the end of the connection is heard. */
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "refusal.h"
#include "store_valkey_part.h"

enum {
    LOOK_MS = 5,         /* between two looks, whoever writes how often, ... */
    ALARM_FIRST_MS = 5,  /* ... and between two alarms, doubled each time, ... */
    ALARM_MOST_MS = 200, /* ... up to this, ... */
    CALM_MS = 1000,      /* ... until there was none for so long */
    SHORTER_MS = 2       /* so much, and 1 %, two clocks may disagree about a lease */
};

/* It is worth asking: at once, but not again and again. There are proxies that close each
 * connection, or that read from another server than the one they write to. */
static void alarm_for(struct valkey *v, const char *reason) {
    struct hold *hold = &v->hold;

    if (hold->alarm_at_ms != CLOCK_NEVER)
        return;
    access_note(v->access, "the lock may be lost: %s", reason);
    if (clock_now_ms() >= clock_after(hold->alarmed_ms, CALM_MS))
        hold->pause_ms = 0;
    hold->alarm_at_ms = clock_after(hold->alarmed_ms, hold->pause_ms);
    hold->pause_ms =
        hold->pause_ms ? clock_earlier(hold->pause_ms * 2, ALARM_MOST_MS) : ALARM_FIRST_MS;
    hold->woken = true;
}

static void look_from(struct hold *hold, int64_t at_ms) {
    hold->look_at_ms = clock_earlier(hold->look_at_ms, at_ms);
    hold->woken = true;
}

void valkey_watch_asked(struct valkey *v, enum outcome outcome, const struct answer *answer) {
    v->hold.begun = false;
    v->hold.sure = outcome == DONE;
    if (!v->hold.sure)
        return;
    v->hold.asked_ms = answer->asked_ms;
    v->hold.left_ms = answer->ttl_ms;
}

/* ---- what is heard ---- */

static void on_push(void *arg, const redisReply *push) {
    static const char wanted[] = "invalidate";
    struct valkey *v = arg;

    if (push->elements < 2 || push->element[0]->type != REDIS_REPLY_STRING ||
        strcmp(push->element[0]->str, wanted) != 0)
        return; /* of a bell that was listened to */
    access_note(v->access, "< the key was changed");
    look_from(&v->hold, clock_after(v->hold.looked_ms, LOOK_MS));
}

static bool is_text(const redisReply *reply, const char *text) {
    return reply->type == REDIS_REPLY_STRING && strcmp(reply->str, text) == 0;
}

/* True if it is over sooner than we were told, or has an expiry that it should not have, or none
 * although it is a lease: that would be left behind without end if we died. */
static bool is_changed(const struct hold *hold, int64_t left_ms) {
    int64_t since_ms = clock_now_ms() - hold->asked_ms;

    if (left_ms == -2) /* not there: GET tells */
        return false;
    if (left_ms == -1 || hold->left_ms == TTL_NONE)
        return (left_ms == -1) != (hold->left_ms == TTL_NONE);
    return left_ms < hold->left_ms - since_ms - since_ms / 100 - SHORTER_MS;
}

static void on_refusal(struct valkey *v, const char *command, const char *error) {
    access_note(v->access, "< %s: %.*s", command, refusal_length(error), error);
    v->hold.blind = true;
    if (refusal_is(error, "WRONGTYPE")) {
        if (strcmp(command, "GET") == 0)
            alarm_for(v, "the key is no lock");
        return;
    }
    if (valkey_track_refused(v, error))
        access_note(v->access, "nothing is tracked: a lost lock is noticed at the next renewal");
    if (!v->on.tracking_refused)
        look_from(&v->hold, v->on.retry_ms);
}

static void on_aside(void *arg, const char *command, const redisReply *reply) {
    struct valkey *v = arg;
    const struct request *request = v->hold.request;

    if (!request) /* an ask is under way, which finds out for itself */
        return;
    if (reply->type == REDIS_REPLY_ERROR)
        on_refusal(v, command, reply->str);
    else if (v->hold.blind)
        return;
    else if (strcmp(command, "GET") == 0 && !is_text(reply, request->token))
        alarm_for(v, "the key does not hold its token");
    else if (strcmp(command, "HGET") == 0 && request->id && reply->type == REDIS_REPLY_STRING &&
             !is_text(reply, request->id))
        alarm_for(v, "another one was given it under the same token");
    else if (strcmp(command, "PTTL") == 0 && reply->type == REDIS_REPLY_INTEGER &&
             is_changed(&v->hold, reply->integer))
        alarm_for(v, "its lease was changed");
}

static const struct wire_ears ears = {.on_push = on_push, .on_aside = on_aside};

/* ---- what is said ---- */

/* Of commands that are no scripts: those choose for themselves, and for nobody else. */
static enum outcome choose_database(struct valkey *v, struct trouble *why) {
    char number[16];
    const char *select[] = {"SELECT", number};

    if (v->on.selected || !v->address->db)
        return DONE;
    v->on.selected = true;
    snprintf(number, sizeof number, "%u", v->address->db);
    return wire_send_aside(v->wire, 2, select, why);
}

static void look(struct valkey *v) {
    const struct request *request = v->hold.request;
    struct keys keys;
    const char *get[] = {"GET", request->key}, *grant[] = {"HGET", keys.fence, "grant"};
    struct trouble why;
    enum outcome outcome;

    valkey_name_keys(v, &keys, request->key, NULL);
    v->hold.look_at_ms = CLOCK_NEVER;
    v->hold.looked_ms = clock_now_ms();
    v->hold.blind = false;
    outcome = choose_database(v, &why);
    if (outcome == DONE)
        outcome = valkey_track(v, request, &why);
    if (outcome == DONE)
        outcome = wire_send_aside(v->wire, 2, get, &why);
    if (outcome == DONE)
        outcome = wire_send_aside(v->wire, 3, grant, &why);
    v->on.tracked = false; /* one who waits could not count on it: see above */
    if (outcome != DONE)
        alarm_for(v, why.text);
}

static void begin(struct valkey *v) {
    struct hold *hold = &v->hold;
    unsigned number = wire_number(v->wire);
    struct trouble why = {0};

    hold->begun = true;
    hold->alarm_at_ms = hold->look_at_ms = CLOCK_NEVER;
    if (!hold->sure)
        return;
    if (!number || wire_connect(v->wire, &why) != DONE || wire_number(v->wire) != number) {
        alarm_for(v, "the connection has ended");
        return;
    }
    valkey_note_connection(v);
    if (wire_hears_pushes(v->wire))
        hold->look_at_ms = clock_now_ms();
    else if (!hold->deaf)
        access_note(v->access, "the server does not push (no RESP3): a lost lock is noticed at the "
                               "next renewal");
    hold->deaf = hold->deaf || !wire_hears_pushes(v->wire);
}

/* ---- the sleep ---- */

static enum outcome stopped(struct trouble *why) {
    return trouble_say(why, STOPPED, EXIT_UNREACHABLE, "stopped while watching the lock");
}

/* A connection over which nothing was answered is left to the next ask. */
static enum outcome nap(struct valkey *v, int64_t until_ms, struct trouble *why) {
    struct trouble broken = {0};
    enum outcome outcome;

    v->hold.woken = false;
    if (!v->hold.sure || !wire_connected(v->wire))
        return loop_sleep(v->loop, until_ms) == WAKE_STOP ? stopped(why) : DONE;
    outcome = wire_listen(v->wire, &v->hold.woken, until_ms, &broken);
    if (outcome == STOPPED)
        return stopped(why);
    if (outcome != DONE)
        alarm_for(v, broken.text);
    return DONE;
}

static enum outcome sleep_until(struct valkey *v, int64_t until_ms, bool *suspect,
                                struct trouble *why) {
    struct hold *hold = &v->hold;

    for (;;) {
        int64_t now_ms = clock_now_ms();

        if (now_ms >= hold->alarm_at_ms) {
            hold->alarmed_ms = now_ms;
            hold->alarm_at_ms = clock_after(now_ms, hold->pause_ms); /* if nobody asks */
            *suspect = true;
            return DONE;
        }
        if (now_ms >= hold->look_at_ms && !wire_connected(v->wire))
            hold->look_at_ms = CLOCK_NEVER;
        if (now_ms >= hold->look_at_ms) {
            look(v);
            continue;
        }
        if (now_ms >= until_ms) {
            *suspect = false;
            return DONE;
        }
        if (nap(v, clock_earlier(until_ms, clock_earlier(hold->alarm_at_ms, hold->look_at_ms)),
                why) == STOPPED)
            return STOPPED;
    }
}

enum outcome valkey_watch(struct store *store, const struct request *request, int64_t until_ms,
                          bool *suspect, struct trouble *why) {
    struct valkey *v = (struct valkey *)store;
    enum outcome outcome;

    if (loop_sleep(v->loop, 0) == WAKE_STOP) /* signals are seen in every call */
        return stopped(why);
    v->hold.request = request;
    wire_hear(v->wire, &ears, v);
    if (!v->hold.begun)
        begin(v);
    outcome = sleep_until(v, until_ms, suspect, why);
    v->hold.request = NULL;
    return outcome;
}
