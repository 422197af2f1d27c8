/* store_valkey_wait.c - waiting without asking.
 *
 * One who waits listens to a channel of his own, his bell, which tells the scripts that he lives,
 * and to that of all. He asks again (scripts/acquire.lua, with his id: that confirms a lock which
 * was handed to him, and otherwise renews his place in the queue) when
 *
 *   his bell says 'granted'        at once: the lock is his once he has confirmed it
 *   his bell says 'first MS'       LAZY_MS later, unless it was 'granted' before that: only then it
 *                                  is worth having the key tracked. In a fast queue everybody is
 *                                  first for less than that, and need not ask
 *   the key was changed            at once; only the first has it tracked, so that a lock that a
 *                                  foreign client or an operator deleted wakes one and not all
 *   the lease must have ended      the first three, one after the other, RANK_MS apart: who is
 *                                  first may be stopped, or gone. Their bells tell the other two
 *                                  when that is ('near PLACE MS'), each time the first has looked
 *   the bell of all says 'come'    at a moment of his own within COME_MS: the queue was lost
 *   the connection broke           at once, over another one; his ticket keeps his place
 *   none of these                  after SLOW_MS, so that nobody waits for ever, whatever was lost;
 *                                  those who would be next, if the first were gone and had told
 *                                  nobody, sooner: SLOW_STEP_MS for each place
 *
 * Where the server has no RESP3 or no sharded channels (before Redis 7.0), or its ACL permits none,
 * he polls; the first does, too, where nothing can be tracked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "refusal.h"
#include "store_valkey_part.h"
#include "text.h"

enum {
    /* Between two looks of one who polls: doubled each time, up to the most; after five times that
     * scripts/queue.lua takes him for dead. */
    POLL_FIRST_MS = 8,
    POLL_MOST_MS = 200,
    SLOW_MS = 30000, /* queues live three times as long: scripts/queue.lua */
    SLOW_STEP_MS = 1500,
    LAZY_MS = 5,
    RANK_MS = 20,
    RANKS = 3,
    LATE_MS = 2,   /* a lease is over when it is over on the server's clock too */
    COME_MS = 250, /* scripts/queue.lua lets the lock rest for longer than that */
    RETRY_MS = 1000
};

static bool polls(const struct valkey *v) {
    return !v->pushes || v->on.bell_refused;
}

const char *valkey_wait_kind(const struct valkey *v) {
    return polls(v) ? "poll" : "bell";
}

/* True if nothing would tell that the lock has become free. */
static bool deaf(const struct valkey *v) {
    const struct wait *wait = &v->wait;

    if (polls(v) || (*wait->id && wait->place < 0))
        return true;
    return v->on.tracking_refused && wait->place == 0;
}

static bool wants_tracking(const struct valkey *v) {
    return !polls(v) && !v->on.tracking_refused && v->wait.place == 0 && !v->wait.granted &&
           clock_now_ms() >= v->on.retry_ms;
}

static bool is_tracked(const struct valkey *v) {
    return v->on.tracked && v->on.number == wire_number(v->wire);
}

void valkey_note_connection(struct valkey *v) {
    if (v->on.number != wire_number(v->wire))
        v->on = (struct on_connection){.number = wire_number(v->wire)};
}

static enum outcome subscribe(struct valkey *v, const struct request *request,
                              struct trouble *why) {
    char bell[BELL_BYTES], bell_of_all[BELL_BYTES];
    const char *own[] = {"SSUBSCRIBE", bell}, *all[] = {"SSUBSCRIBE", bell_of_all};
    enum outcome outcome;

    if (!*v->bell) /* as random as the id, and known to no one else yet */
        text_copy(v->bell, sizeof v->bell, request->id, BELL_DIGITS);
    snprintf(bell, sizeof bell, "vlock:bell:%s", v->bell);
    snprintf(bell_of_all, sizeof bell_of_all, "vlock:come:%u", v->address->db);
    access_note(v->access, "> SSUBSCRIBE %s", bell);
    outcome = wire_send_aside(v->wire, 2, own, why);
    v->on.bell = true;
    return outcome == DONE ? wire_send_aside(v->wire, 2, all, why) : outcome;
}

/* Only what the one command behind CACHING YES reads is remembered (OPTIN): with a script there,
 * the server would remember all that the script reads. PTTL and not GET, as a foreign value may be
 * large. Keys are remembered by name, whatever the database. */
enum outcome valkey_track(struct valkey *v, const struct request *request, struct trouble *why) {
    const char *on[] = {"CLIENT", "TRACKING", "ON", "OPTIN", "NOLOOP"};
    const char *caching[] = {"CLIENT", "CACHING", "YES"}, *read[] = {"PTTL", request->key};
    enum outcome outcome = DONE;

    access_note(v->access, "> CLIENT CACHING YES, PTTL %s", request->key);
    if (!v->on.tracking)
        outcome = wire_send_aside(v->wire, 5, on, why);
    if (outcome == DONE)
        outcome = wire_send_aside(v->wire, 3, caching, why);
    if (outcome == DONE)
        outcome = wire_send_aside(v->wire, 2, read, why);
    v->on.tracking = true;
    v->on.tracked = outcome == DONE;
    return outcome;
}

static int64_t slow_ms(const struct wait *wait) {
    int64_t most_ms = ((int64_t)wait->place + 1) * SLOW_STEP_MS;

    if (wait->place <= 0 || most_ms > SLOW_MS)
        most_ms = SLOW_MS;
    return clock_spread_ms(most_ms);
}

static void begin(struct valkey *v, const struct request *request) {
    const char *id = request->kind == ASK_PEEK ? "" : request->id;

    if (v->wait.slow_ms && strcmp(v->wait.id, id) == 0)
        return;
    v->wait = (struct wait){.place = *id ? -1 : 0,
                            .slow_ms = clock_spread_ms(SLOW_MS),
                            .pause_ms = clock_spread_ms(POLL_FIRST_MS)};
    text_copy(v->wait.id, sizeof v->wait.id, id, strlen(id));
}

enum outcome valkey_wait_prepare(struct valkey *v, const struct request *request,
                                 struct trouble *why) {
    enum outcome outcome = wire_connect(v->wire, why);

    begin(v, request);
    valkey_note_connection(v);
    v->wait.rung = false; /* from here on a bell rings for what this question does not see */
    v->wait.lazy_ms = 0;
    wire_hear(v->wire, &valkey_wait_ears, v);
    if (outcome == DONE && *v->wait.id && !polls(v) && !v->on.bell)
        outcome = subscribe(v, request, why);
    if (outcome == DONE && wants_tracking(v) && !is_tracked(v))
        outcome = valkey_track(v, request, why);
    return outcome;
}

bool valkey_wait_misled(struct valkey *v, const struct request *request) {
    if (!request->waits || !v->pushes || wire_hears_pushes(v->wire))
        return false;
    v->pushes = false;
    return v->on.bell;
}

bool valkey_wait_granted(const struct valkey *v, const struct request *request) {
    return v->wait.granted && strcmp(v->wait.id, request->id) == 0;
}

/* Notes what the lock is like now. */
static void know(struct valkey *v, const struct answer *answer) {
    struct wait *wait = &v->wait;
    bool same = wait->fence == answer->fence && strcmp(wait->holder, answer->holder) == 0;

    if (!answer->kept) { /* else what is known of the last holder is what counts, if it was lost */
        /* Perhaps our own question has handed the lock on, and what we write ourselves ends our
         * tracking without a word (NOLOOP). */
        if (!same)
            v->on.tracked = false;
        if (!same || answer->ttl_ms > wait->longest_ms)
            wait->longest_ms = answer->ttl_ms;
        wait->fence = answer->fence;
        wait->fenced = answer->fenced;
        text_copy(wait->holder, sizeof wait->holder, answer->holder, strlen(answer->holder));
    }
    wait->known_ms = answer->asked_ms;
    wait->left_ms = answer->ttl_ms;
}

void valkey_wait_answered(struct valkey *v, const struct request *request,
                          const struct answer *answer, const struct place_told *told) {
    struct wait *wait = &v->wait;

    v->pushes = wire_hears_pushes(v->wire);
    if (!request->waits)
        return;
    if (!v->pushes && !*wait->holder)
        access_note(v->access,
                    "the server does not push (no RESP3): asking again and again instead");
    if (*told->ticket)
        text_copy(wait->ticket, sizeof wait->ticket, told->ticket, strlen(told->ticket));
    if (*told->run) { /* else not asked for, or no permission to say */
        text_copy(wait->run, sizeof wait->run, told->run, strlen(told->run));
        v->on.run_known = true;
    }
    know(v, answer);
    wait->place = *wait->id ? answer->place : 0;
    if (!wait->rung) { /* a bell may ring before the answer to what was asked earlier is read */
        wait->granted = false;
        v->on.queued = answer->place >= 0 && !polls(v);
    }
    wait->slow_ms = slow_ms(wait);
    wait->pause_ms = clock_earlier(wait->pause_ms * 2, POLL_MOST_MS);
}

/* When to look if nothing is heard. */
static int64_t look_at(const struct valkey *v) {
    const struct wait *wait = &v->wait;
    int64_t at_ms = clock_after(wait->known_ms, wait->slow_ms);

    if (deaf(v))
        at_ms = clock_after(wait->known_ms, clock_spread_ms(wait->pause_ms));
    if (wait->place >= 0 && wait->place < RANKS && wait->left_ms && wait->left_ms != TTL_NONE)
        at_ms = clock_earlier(at_ms, clock_after(clock_after(wait->known_ms, wait->left_ms),
                                                 LATE_MS + wait->place * RANK_MS));
    if (wait->place == 0 && v->on.retry_ms)
        at_ms = clock_earlier(at_ms, v->on.retry_ms);
    return wait->lazy_ms ? clock_earlier(at_ms, wait->lazy_ms) : at_ms;
}

enum outcome valkey_await(struct store *store, const struct request *request, int64_t until_ms,
                          struct trouble *why) {
    struct valkey *v = (struct valkey *)store;
    int64_t at_ms = look_at(v);

    (void)request;
    for (;;) {
        enum outcome outcome;
        /* Refused a moment ago what we asked for, or first a moment ago: then differently. */
        if (v->wait.rung || (wants_tracking(v) && !is_tracked(v) && !v->wait.lazy_ms))
            return DONE;
        if (clock_now_ms() >= clock_earlier(at_ms, until_ms))
            return DONE;
        v->wait.woken = false;
        if (wire_connected(v->wire))
            outcome = wire_listen(v->wire, &v->wait.woken, clock_earlier(at_ms, until_ms), why);
        else
            outcome = loop_sleep(v->loop, clock_earlier(at_ms, until_ms)) == WAKE_STOP
                          ? trouble_say(why, STOPPED, EXIT_UNREACHABLE, "stopped while waiting")
                          : DONE;
        if (outcome == STOPPED)
            return STOPPED;
        if (outcome != DONE) /* the connection is gone: ask over another one */
            return DONE;
        if (v->wait.woken)
            at_ms = look_at(v);
    }
}

/* ---- what is heard ---- */

static void moved(struct wait *wait, int place, int64_t left_ms) {
    wait->place = place;
    wait->known_ms = clock_now_ms();
    wait->left_ms = left_ms;
    wait->slow_ms = slow_ms(wait);
    if (left_ms > wait->longest_ms)
        wait->longest_ms = left_ms;
}

/* At `at_ms`, unless that was to be sooner anyway. */
static void look_soon(struct wait *wait, int64_t at_ms) {
    wait->lazy_ms = wait->lazy_ms ? clock_earlier(wait->lazy_ms, at_ms) : at_ms;
}

/* What stands in `text` behind `word`, a blank and `of`, if those are there; else NULL. */
static const char *behind(const char *text, const char *word, const char *of) {
    size_t first = strlen(word), second = strlen(of);

    if (strncmp(text, word, first) != 0 || text[first] != ' ' || !second ||
        strncmp(text + first + 1, of, second) != 0)
        return NULL;
    return text + first + 1 + second;
}

/* Messages: see scripts/queue.lua. What is said to another id, of a wait that is over, or makes no
 * sense, changes nothing. */
static void hear_message(struct valkey *v, const char *text) {
    struct wait *wait = &v->wait;
    const char *granted = behind(text, "granted", wait->id),
               *first = behind(text, "first", wait->id), *near = behind(text, "near", wait->id),
               *come = behind(text, "come", v->companions.key);
    unsigned long long left_ms;

    if (granted && !*granted) {
        wait->rung = wait->granted = true;
        v->on.queued = false;
    } else if (come && !*come) {
        look_soon(wait, clock_now_ms() + clock_spread_ms(COME_MS));
    } else if (first && *first == ' ' && text_number(first + 1, TTL_MAX_MS, &left_ms)) {
        moved(wait, 0, (int64_t)left_ms);
        look_soon(wait, clock_now_ms() + LAZY_MS);
    } else if (near && (text_begins(near, " 1 ") || text_begins(near, " 2 ")) &&
               text_number(near + strlen(" 1 "), TTL_MAX_MS, &left_ms)) {
        moved(wait, near[1] - '0', (int64_t)left_ms);
    }
    wait->woken = true;
}

static bool is_text(const redisReply *reply, const char *text) {
    return reply->type == REDIS_REPLY_STRING && strcmp(reply->str, text) == 0;
}

static void on_push(void *arg, const redisReply *push) {
    struct valkey *v = arg;

    if (push->elements >= 3 && is_text(push->element[0], "smessage") &&
        push->element[2]->type == REDIS_REPLY_STRING) {
        access_note(v->access, "< the bell: %.40s", push->element[2]->str);
        hear_message(v, push->element[2]->str);
    } else if (push->elements >= 2 && is_text(push->element[0], "invalidate")) {
        access_note(v->access, "< the key was changed");
        v->on.tracked = false;
        v->wait.rung = v->wait.woken = true;
    }
}

/* A server that is busy, or starting, says so to everything. */
static bool is_transient(const char *error) {
    return refusal_is(error, "BUSY") || refusal_is(error, "LOADING");
}

bool valkey_track_refused(struct valkey *v, const char *error) {
    v->on.tracked = false;
    v->on.retry_ms = clock_now_ms() + RETRY_MS;
    if (is_transient(error)) {
        v->on.tracking = false; /* perhaps it was that which was refused */
        return false;
    }
    if (!v->on.tracking || v->on.tracking_refused)
        return false;
    v->on.tracking_refused = true;
    return true;
}

static void on_aside(void *arg, const char *command, const redisReply *reply) {
    struct valkey *v = arg;

    if (strcmp(command, "ROLE") == 0)
        valkey_hear_role(v, reply);
    if (reply->type != REDIS_REPLY_ERROR || strcmp(command, "ROLE") == 0)
        return;
    access_note(v->access, "< %s: %.*s", command, refusal_length(reply->str), reply->str);
    v->wait.woken = true;
    if (strcmp(command, "SSUBSCRIBE") == 0) {
        if (!v->on.bell_refused)
            access_note(v->access, "no channel to listen to: asking again and again instead");
        v->on.bell_refused = v->wait.rung = true;
        return;
    }
    if (valkey_track_refused(v, reply->str))
        access_note(v->access, "nothing is tracked: the first who waits asks again and again");
}

const struct wire_ears valkey_wait_ears = {.on_push = on_push, .on_aside = on_aside};
