/* store_valkey.c - locks on one Valkey or Redis server.
 *
 * Keys of a lock NAME (protocol, not ours to change alone: redis-py and others share NAME):
 *
 *     NAME                     string: the holder's token, PX = TTL, nothing else
 *     {NAME}:vlock:fence       hash: see scripts/head.lua; kept a month beyond its last use
 *     {NAME}:vlock:gone:ID     the acquire with this id was withdrawn; kept two minutes
 *
 * A NAME with a hash tag of its own gets NAME:vlock2:... instead, so that `job` and `{job}`
 * share nothing and everything of one lock lies in one slot.
 *
 * Each request is one script (EVALSHA, EVAL after NOSCRIPT). What can be lost at each instant:
 *   before the request was sent        nothing; it is sent on the next connection
 *   sent, and no reply                 it may have been carried out, or may be later, even by a
 *                                      server that had stopped, when we are long gone. It is
 *                                      sent again; after an acquire that is given up, the
 *                                      caller's withdrawal leaves a mark that refuses it
 *   an acquire without expiry          takes the lock with CLAIM_MS and confirms it in a second
 *                                      step: what nobody confirms lapses
 *   the greeting was refused           the acquire behind it was perhaps carried out, as the
 *                                      server's default user: it is undone on the spot */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "clock.h"
#include "refusal.h"
#include "scripts.h"
#include "store.h"
#include "text.h"
#include "wire.h"

extern const struct store_kind store_valkey;

enum {
    CLAIM_MS = 30000,    /* a lock without expiry, until it is confirmed */
    PAUSE_FIRST_MS = 5,  /* before connecting again, doubled each time, ... */
    PAUSE_MOST_MS = 250, /* ... up to this */
    SUFFIX_BYTES = 64
};

struct valkey {
    struct store store;
    const struct address *address;
    const struct access *access;
    struct loop *loop;
    struct wire *wire;
    bool again; /* an earlier attempt at the request may have been carried out, now or later */
};

/* What a script answers, see head.lua. */
enum verdict { NO, YES, ENDLESS, TOO_LONG, WITHDRAWN, VERDICTS };

struct keys {
    char fence[KEY_MAX_BYTES + SUFFIX_BYTES];
    char mark[KEY_MAX_BYTES + SUFFIX_BYTES];
};

/* True if Redis would hash only a part of `key`: between the first { and the next }. */
static bool has_hash_tag(const char *key) {
    const char *open = strchr(key, '{');

    return open && open[1] != '}' && strchr(open + 1, '}');
}

static void name_keys(struct keys *keys, const char *key, const char *id) {
    const char *form = has_hash_tag(key) ? "%s:vlock2:%s%s" : "{%s}:vlock:%s%s";

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(keys->fence, sizeof keys->fence, form, key, "fence", "");
    snprintf(keys->mark, sizeof keys->mark, form, key, "gone:", id ? id : "");
#pragma GCC diagnostic pop
}

static const struct script *script_for(enum request_kind kind) {
    switch (kind) {
    case ASK_ACQUIRE:
        return &script_acquire;
    case ASK_WITHDRAW:
        return &script_withdraw;
    case ASK_RELEASE:
        return &script_release;
    case ASK_EXTEND:
        return &script_extend;
    case ASK_RESET:
        return &script_reset;
    case ASK_RENEW:
        return &script_renew;
    case ASK_RECOVER:
        return &script_recover;
    case ASK_PEEK:
        return &script_peek;
    }
    return NULL;
}

/* Sends `script` for `request`, by its hash or as its whole text. */
static enum outcome send_script(struct valkey *v, const struct script *script, bool whole,
                                const struct request *request, struct trouble *why) {
    struct keys keys;
    char ms[24] = "0", last[24] = "", database[16] = "";
    const char *token = request->token ? request->token : "";
    const char *id = request->id ? request->id : "";
    const char *argv[] = {whole ? "EVAL" : "EVALSHA",
                          whole ? script->text : script->sha1,
                          "3",
                          request->key,
                          keys.fence,
                          keys.mark,
                          token,
                          id,
                          ms,
                          last,
                          database};
    enum { ARGC = sizeof argv / sizeof *argv };
    size_t lengths[ARGC];

    name_keys(&keys, request->key, request->id);
    if (request->kind == ASK_ACQUIRE && request->ttl_ms == TTL_NONE)
        snprintf(ms, sizeof ms, "%d", CLAIM_MS);
    else
        snprintf(ms, sizeof ms, "%lld", (long long)request->ttl_ms);
    if (request->kind == ASK_ACQUIRE)
        snprintf(last, sizeof last, "%s%s", v->again ? "again" : "",
                 request->ttl_ms == TTL_NONE ? ",endless" : "");
    else if (request->kind == ASK_RECOVER)
        snprintf(last, sizeof last, "%llu", (unsigned long long)request->fence);
    else if (request->kind == ASK_RELEASE && request->tell)
        snprintf(last, sizeof last, "tell");
    if (v->address->db)
        snprintf(database, sizeof database, "%u", v->address->db);
    for (unsigned i = 0; i < ARGC; i++)
        lengths[i] = strlen(argv[i]);
    access_note(v->access, "> %s %s %s", argv[0], script->name, request->key);
    wire_reply_within(v->wire, request->reply_ms);
    return wire_send(v->wire, ARGC, argv, lengths, why);
}

/* Reads what a script answered into *out. False if it is not such an answer. */
static bool read_answer(const redisReply *reply, enum verdict *verdict, struct answer *out) {
    redisReply **part = reply->element;
    struct answer read = {.asked_ms = out->asked_ms};

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 5 ||
        part[0]->type != REDIS_REPLY_INTEGER || part[1]->type != REDIS_REPLY_STRING ||
        part[2]->type != REDIS_REPLY_INTEGER || part[3]->type != REDIS_REPLY_STRING ||
        part[4]->type != REDIS_REPLY_INTEGER)
        return false;
    if (part[0]->integer < 0 || part[0]->integer >= VERDICTS || part[2]->integer < -2 ||
        part[3]->len > TOKEN_MAX_BYTES)
        return false;
    *verdict = (enum verdict)part[0]->integer;
    read.fence = strtoull(part[1]->str, NULL, 10);
    read.since_ms = (int64_t)(read.fence / 1000); /* a fence is the time of its grant in us */
    if (part[2]->integer == -1)
        read.ttl_ms = TTL_NONE;
    else if (part[2]->integer == 0)
        read.ttl_ms = 1; /* it still is there, for less than that */
    else if (part[2]->integer > 0)
        read.ttl_ms = part[2]->integer;
    memcpy(read.holder, part[3]->str, part[3]->len);
    for (size_t i = 0; i < part[3]->len; i++)
        if (!read.holder[i])
            read.holder[i] = '?'; /* a foreign value: shown, never compared */
    read.released = part[4]->integer == 1;
    *out = read;
    return true;
}

/* Sends one script and reads its verdict. Outcomes as wire_receive(), DONE with a verdict. */
static enum outcome call(struct valkey *v, const struct script *script,
                         const struct request *request, int64_t deadline_ms, enum verdict *verdict,
                         struct answer *out, struct trouble *why) {
    redisReply *reply = NULL;
    enum outcome outcome = DONE;

    /* A withdrawal may be the last that the server hears from us: it must not depend on a script
     * that is loaded, nor on our being there to be told that it is not. */
    for (int whole = request->kind == ASK_WITHDRAW; whole <= 1; whole++) {
        out->asked_ms = clock_now_ms();
        outcome = send_script(v, script, whole, request, why);
        if (outcome == DONE)
            outcome = wire_receive(v->wire, deadline_ms, &reply, why);
        if (outcome != DONE)
            return outcome;
        if (reply->type != REDIS_REPLY_ERROR || !refusal_is(reply->str, "NOSCRIPT"))
            break;
        access_note(v->access, "< %s is not loaded yet", script->name);
        if (!whole) {
            freeReplyObject(reply);
            reply = NULL;
        }
    }
    if (reply->type == REDIS_REPLY_ERROR && request->token)
        text_redact(reply->str, request->token);
    if (wire_refused(v->wire) && reply->type == REDIS_REPLY_ERROR) {
        if (why)
            *why = *wire_refused(v->wire); /* NOAUTH is only the echo of a wrong password */
        outcome = FAILED;
    } else if (reply->type == REDIS_REPLY_ERROR) {
        access_note(v->access, "< %.*s", refusal_length(reply->str), reply->str);
        outcome = refusal_say(why, v->address->shown, script->name, reply->str);
    } else if (!read_answer(reply, verdict, out)) {
        outcome = trouble_say(why, FAILED, EXIT_PROTOCOL,
                              "%s answered something that is no lock's answer: is it a proxy?",
                              v->address->shown);
    } else {
        access_note(v->access, "< %s: verdict %d, fence %llu", script->name, (int)*verdict,
                    (unsigned long long)out->fence);
    }
    freeReplyObject(reply);
    return outcome;
}

/* The server refused the greeting, and still did what stood behind it. It has answered that, so
 * there is nothing on its way that a mark would have to refuse: a release undoes it. */
static enum outcome undo(struct valkey *v, const struct request *request, enum verdict verdict,
                         int64_t deadline_ms, struct trouble *why) {
    struct request release = *request;
    struct answer ignored = {0};
    enum outcome undone = DONE;

    *why = *wire_refused(v->wire);
    release.kind = ASK_RELEASE;
    if (request->kind == ASK_ACQUIRE && verdict == YES)
        undone = call(v, &script_release, &release, deadline_ms, &verdict, &ignored, NULL);
    wire_drop(v->wire);
    return undone == DONE ? FAILED : UNSURE;
}

/* The second step of an acquire without expiry. */
static enum outcome confirm(struct valkey *v, const struct request *request, int64_t deadline_ms,
                            struct answer *out, struct trouble *why) {
    struct answer got = {0};
    enum verdict verdict = NO;
    enum outcome outcome = call(v, &script_confirm, request, deadline_ms, &verdict, &got, why);

    if (outcome != DONE)
        return outcome;
    if (verdict != YES) /* stopped for longer than CLAIM_MS: ask anew */
        return trouble_say(why, UNSURE, EXIT_UNREACHABLE, "%s did not answer in time",
                           v->address->shown);
    *out = got;
    return DONE;
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
        return request->kind == ASK_RELEASE && v->again && !answer->released ? DONE : LOST;
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

    outcome = call(v, script_for(request->kind), request, deadline_ms, &verdict, &got, why);
    if (outcome != DONE)
        return outcome;
    if (wire_refused(v->wire))
        return undo(v, request, verdict, deadline_ms, why);
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

static enum outcome valkey_ask(struct store *store, const struct request *request,
                               int64_t deadline_ms, struct answer *out, struct trouble *why) {
    struct valkey *v = (struct valkey *)store;
    int64_t give_up_ms = give_up_at(v, request, deadline_ms), pause_ms = PAUSE_FIRST_MS;

    v->again = false;
    if (request->kind == ASK_WITHDRAW)
        return withdraw(v, request, deadline_ms, out, why);
    for (;;) {
        bool silent;
        enum outcome outcome = attempt(v, request, give_up_ms, out, why);
        if (wire_greets_anew(v->wire)) { /* it may have worked without the password */
            v->again = v->again || outcome == DONE || outcome == UNSURE;
            wire_drop(v->wire);
            continue;
        }
        if (outcome != UNSURE && !(outcome == FAILED && why->status == EXIT_UNREACHABLE))
            return v->again && outcome == FAILED ? UNSURE : outcome;
        silent = outcome == UNSURE && wire_connected(v->wire);
        v->again = v->again || outcome == UNSURE;
        if (!request->patient && (!v->again || silent))
            return v->again ? UNSURE : outcome;
        if (clock_now_ms() + pause_ms >= give_up_ms)
            return v->again ? UNSURE : outcome;
        if (silent)
            wire_drop(v->wire); /* behind a request that hangs ours would hang too */
        if (loop_sleep(v->loop, clock_now_ms() + clock_spread_ms(pause_ms)) == WAKE_STOP)
            return trouble_say(why, STOPPED, EXIT_UNREACHABLE, "stopped");
        pause_ms = pause_ms * 2 < PAUSE_MOST_MS ? pause_ms * 2 : PAUSE_MOST_MS;
    }
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
    .name = "valkey",
    .open = valkey_open,
    .ask = valkey_ask,
    .close = valkey_close,
};
