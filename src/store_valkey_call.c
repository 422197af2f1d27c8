/* store_valkey_call.c - one script: its arguments, its answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "refusal.h"
#include "scripts.h"
#include "store_valkey_part.h"
#include "text.h"

/* What a lock without expiry is waited for, if a server that was started anew has lost it: there is
 * no better guess. */
enum { RESTART_ENDLESS_MS = 60000 };

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
    case ASK_BREAK:
        return &script_break;
    case ASK_PEEK:
        return &script_peek;
    }
    return NULL;
}

/* Arguments beyond the fifth, as text. */
struct more {
    char words[48], attempt[12], hold[24], room[12], fence[24];
};

static void words_for(const struct valkey *v, const struct request *request, struct more *more) {
    switch (request->kind) {
    case ASK_ACQUIRE:
        snprintf(more->words, sizeof more->words, "%s%s%s%s%s", v->again ? "again," : "",
                 request->ttl_ms == TTL_NONE ? "endless," : "",
                 request->waits && v->wait.fenced ? "fenced," : "",
                 request->waits && v->on.queued ? "here," : "",
                 request->waits ? valkey_wait_kind(v) : "");
        return;
    case ASK_RECOVER:
    case ASK_BREAK:
        if (request->fence)
            snprintf(more->words, sizeof more->words, "%llu", (unsigned long long)request->fence);
        return;
    case ASK_RELEASE:
        text_copy(more->words, sizeof more->words, "tell", request->tell ? 4 : 0);
        return;
    case ASK_WITHDRAW:
    case ASK_EXTEND:
    case ASK_RESET:
    case ASK_RENEW:
    case ASK_PEEK:
        return;
    }
}

/* How long the lock is left alone should a server that was started anew not know it. */
static long long hold_ms(const struct wait *wait) {
    return wait->longest_ms == TTL_NONE ? RESTART_ENDLESS_MS : (long long)wait->longest_ms;
}

/* Adds to argv, from `argc` on, what only some scripts take. Returns the new count. */
static unsigned add_more(struct valkey *v, const struct request *request, struct more *more,
                         const char **argv, unsigned argc) {
    const struct wait *wait = &v->wait;
    const char *run = "";

    if (request->kind == ASK_PEEK && request->waiters) {
        snprintf(more->room, sizeof more->room, "%u", request->room);
        argv[argc++] = more->room;
    }
    if (request->kind != ASK_ACQUIRE)
        return argc;
    /* On a fresh connection: is it still the server that told us about the lock? */
    if (request->waits && !v->on.run_known)
        run = *wait->run ? wait->run : "?";
    snprintf(more->attempt, sizeof more->attempt, "%u", v->attempts);
    snprintf(more->hold, sizeof more->hold, "%lld", request->waits ? hold_ms(wait) : 0);
    argv[argc++] = more->attempt;
    argv[argc++] = request->waits ? wait->ticket : "";
    argv[argc++] = more->hold;
    argv[argc++] = run;
    snprintf(more->fence, sizeof more->fence, "%llu",
             (unsigned long long)(request->waits ? wait->fence : 0));
    argv[argc++] = more->fence;
    return argc;
}

/* A server writes first to the client that it had nothing to say to for the shortest time. With
 * this in front, which it answers before the release, that is the one whom the release hands the
 * lock to, and not we: on a machine with few processors our own end would delay his start. */
static enum outcome let_others_go_first(struct valkey *v, const struct request *request,
                                        struct trouble *why) {
    const char *read[] = {"PTTL", request->key};

    return wire_send_aside(v->wire, 2, read, why);
}

/* As decimal text. Not snprintf, either. */
static void write_number(char *at, unsigned long long number) {
    char digits[24], *from = digits + sizeof digits - 1;

    *from = '\0';
    do {
        *--from = (char)('0' + number % 10);
    } while (number /= 10);
    memcpy(at, from, (size_t)(digits + sizeof digits - from));
}

/* Sends `script` for `request`, by its hash or as its whole text. */
static enum outcome send_script(struct valkey *v, const struct script *script, bool whole,
                                const struct request *request, struct trouble *why) {
    enum { MOST_ARGS = 20 };
    struct keys keys;
    struct more more = {"", "", "", "", ""};
    char ms[24], database[16] = "";
    const char *argv[MOST_ARGS] = {whole ? "EVAL" : "EVALSHA",
                                   whole ? script->text : script->sha1,
                                   "5",
                                   request->key,
                                   keys.fence,
                                   keys.mark,
                                   keys.queue,
                                   keys.waiters,
                                   request->token ? request->token : "",
                                   request->id ? request->id : "",
                                   ms,
                                   more.words,
                                   database};
    enum outcome outcome = DONE;
    size_t lengths[MOST_ARGS];
    unsigned argc = 13;

    valkey_name_keys(&keys, request->key, request->id);
    if (request->kind == ASK_ACQUIRE && request->ttl_ms == TTL_NONE)
        write_number(ms, ENDLESS_CLAIM_MS);
    else
        write_number(ms, (unsigned long long)request->ttl_ms);
    if (v->address->db)
        write_number(database, v->address->db);
    if (script == &script_confirm) { /* takes no more, and is in a hurry */
        text_copy(more.words, sizeof more.words, "endless", request->ttl_ms == TTL_NONE ? 7 : 0);
    } else {
        words_for(v, request, &more);
        argc = add_more(v, request, &more, argv, argc);
    }
    for (unsigned i = 0; i < argc; i++)
        lengths[i] = strlen(argv[i]);
    access_note(v->access, "> %s %s %s", argv[0], script->name, request->key);
    if (request->kind == ASK_RELEASE)
        outcome = let_others_go_first(v, request, why);
    if (outcome != DONE)
        return outcome;
    wire_reply_within(v->wire, request->reply_ms);
    return wire_send(v->wire, argc, argv, lengths, why);
}

/* Copies a foreign value: shown, never compared. */
static void copy_token(char token[TOKEN_MAX_BYTES + 1], const char *bytes, size_t length) {
    if (length > TOKEN_MAX_BYTES)
        length = TOKEN_MAX_BYTES;
    memcpy(token, bytes, length);
    token[length] = '\0';
    for (size_t i = 0; i < length; i++)
        if (!token[i])
            token[i] = '?';
}

/* What every script answers: see answer() in scripts/note.lua. False if it is not that. */
static bool read_answer(const redisReply *reply, enum verdict *verdict, struct answer *out) {
    redisReply **part = reply->element;
    struct answer read = {.asked_ms = out->asked_ms, .place = -1};

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 5 ||
        part[0]->type != REDIS_REPLY_INTEGER || part[1]->type != REDIS_REPLY_STRING ||
        part[2]->type != REDIS_REPLY_INTEGER || part[3]->type != REDIS_REPLY_STRING ||
        part[4]->type != REDIS_REPLY_INTEGER)
        return false;
    if (part[0]->integer < 0 || part[0]->integer >= VERDICTS || part[2]->integer < -2 ||
        part[3]->len > TOKEN_MAX_BYTES)
        return false;
    *verdict = (enum verdict)part[0]->integer;
    read.fence = strtoull(part[1]->str, NULL, 10);
    read.fenced = part[4]->integer & 2;
    read.kept = part[4]->integer & 4;
    if (read.fenced)
        read.since_ms = (int64_t)(read.fence / 1000); /* a fence is the time of its grant in us */
    if (part[2]->integer == -1)
        read.ttl_ms = TTL_NONE;
    else if (part[2]->integer == 0)
        read.ttl_ms = 1; /* it still is there, for less than that */
    else if (part[2]->integer > 0)
        read.ttl_ms = part[2]->integer < TTL_MAX_MS ? part[2]->integer : TTL_MAX_MS;
    copy_token(read.holder, part[3]->str, part[3]->len);
    read.released = part[4]->integer & 1;
    *out = read;
    return true;
}

/* What acquire adds: ticket, place, run. */
static bool read_place(const redisReply *reply, struct answer *out, struct place_told *told) {
    redisReply **part = reply->element;

    if (reply->elements != 8 || part[5]->type != REDIS_REPLY_STRING ||
        part[6]->type != REDIS_REPLY_INTEGER || part[7]->type != REDIS_REPLY_STRING ||
        part[6]->integer < -1 || part[6]->integer > INT32_MAX)
        return false;
    out->place = (int)part[6]->integer;
    return text_copy(told->ticket, sizeof told->ticket, part[5]->str, part[5]->len) &&
           text_copy(told->run, sizeof told->run, part[7]->str, part[7]->len);
}

/* What peek adds: how many wait, and the first of them as 'TICKET TOKEN'. */
static bool read_waiters(const struct request *request, const redisReply *reply,
                         struct answer *out) {
    const redisReply *list;

    if (reply->elements != 7 || reply->element[5]->type != REDIS_REPLY_INTEGER ||
        reply->element[6]->type != REDIS_REPLY_ARRAY || reply->element[5]->integer < 0)
        return false;
    list = reply->element[6];
    if (list->elements > request->room || (long long)list->elements > reply->element[5]->integer)
        return false;
    for (size_t i = 0; i < list->elements; i++) {
        const redisReply *one = list->element[i];
        const char *blank = one->type == REDIS_REPLY_STRING ? strchr(one->str, ' ') : NULL;
        if (!blank)
            return false;
        /* A ticket is the time of arrival in us. */
        request->waiters[i].since_ms = (int64_t)(strtoull(one->str, NULL, 10) / 1000);
        copy_token(request->waiters[i].token, blank + 1, one->len - (size_t)(blank + 1 - one->str));
    }
    out->waiting = (unsigned)reply->element[5]->integer;
    return true;
}

static bool read_all(const struct request *request, const redisReply *reply, enum verdict *verdict,
                     struct answer *out, struct place_told *told) {
    if (!read_answer(reply, verdict, out))
        return false;
    if (request->kind == ASK_ACQUIRE && *verdict != ENDLESS)
        return reply->elements == 5 || read_place(reply, out, told);
    return request->kind != ASK_PEEK || !request->waiters || read_waiters(request, reply, out);
}

/* Sends one script and reads its verdict. Outcomes as wire_receive(), DONE with a verdict. */
static enum outcome call(struct valkey *v, const struct script *script,
                         const struct request *request, int64_t deadline_ms, enum verdict *verdict,
                         struct answer *out, struct trouble *why) {
    redisReply *reply = NULL;
    struct place_told told = {"", ""};
    enum outcome outcome = request->waits ? valkey_wait_prepare(v, request, why) : DONE;

    if (outcome != DONE)
        return outcome;

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
    } else if (reply->type == REDIS_REPLY_ERROR && valkey_wait_misled(v, request)) {
        wire_drop(v->wire);
        outcome = trouble_say(why, FAILED, EXIT_UNREACHABLE, "%s is not the server it was",
                              v->address->shown);
    } else if (reply->type == REDIS_REPLY_ERROR) {
        access_note(v->access, "< %.*s", refusal_length(reply->str), reply->str);
        outcome = refusal_say(why, v->address->shown, script->name, reply->str);
        if (request->waits && why && refusal_may_pass(reply->str))
            why->status = EXIT_UNREACHABLE; /* so it is asked again until the wait is over */
    } else if (!read_all(request, reply, verdict, out, &told)) {
        outcome = trouble_say(why, FAILED, EXIT_PROTOCOL,
                              "%s answered something that is no lock's answer: is it a proxy?",
                              v->address->shown);
    } else {
        access_note(v->access, "< %s: verdict %d, fence %llu", script->name, (int)*verdict,
                    (unsigned long long)out->fence);
    }
    freeReplyObject(reply);
    /* That a confirmation is refused says nothing about the lock: acquire follows. */
    if (outcome == DONE && !(script == &script_confirm && *verdict == NO))
        valkey_wait_answered(v, request, out, &told);
    return outcome;
}

/* A waiter that the lock was handed to asks only for that; should it not be so any more, whatever
 * the reason, he asks for the lock again. So he does if a question of his is unanswered: a copy of
 * it may come when he has given the lock back, and only acquire leaves the mark that refuses it. */
enum outcome valkey_call(struct valkey *v, const struct request *request, int64_t deadline_ms,
                         enum verdict *verdict, struct answer *out, struct trouble *why) {
    if (request->kind == ASK_ACQUIRE && request->waits && !v->again &&
        valkey_wait_granted(v, request)) {
        enum outcome outcome = call(v, &script_confirm, request, deadline_ms, verdict, out, why);

        if (outcome != DONE || *verdict != NO)
            return outcome;
    }
    return call(v, script_for(request->kind), request, deadline_ms, verdict, out, why);
}

enum outcome valkey_confirm(struct valkey *v, const struct request *request, int64_t deadline_ms,
                            enum verdict *verdict, struct answer *out, struct trouble *why) {
    return call(v, &script_confirm, request, deadline_ms, verdict, out, why);
}
