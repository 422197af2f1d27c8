/* store_valkey_call.c - one script: its arguments, and what an error reply means. */
#include <stdio.h>
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
    case ASK_RENEW:
        text_copy(more->words, sizeof more->words, "endless", request->ttl_ms == TTL_NONE ? 7 : 0);
        return;
    case ASK_WITHDRAW:
    case ASK_EXTEND:
    case ASK_RESET:
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
    argv[argc++] = request->waits && *v->bell ? v->bell : "-";
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

/* How many keys are declared. Those who wait are in two more, and behind the mark. */
static const char *count_keys(const struct script *script, const struct request *request) {
    return request->kind == ASK_PEEK && request->waiters ? "5" : script->keys;
}

/* Sends `script` for `request`, by its hash or as its whole text. */
static enum outcome send_script(struct valkey *v, const struct script *script, bool whole,
                                const struct request *request, struct trouble *why) {
    enum { MOST_ARGS = 20 };
    const struct script_text *text = v->old_scripts ? &script->old_text : &script->text;
    struct keys keys;
    struct more more = {"", "", "", "", ""};
    char ms[24], database[16] = "";
    const char *argv[MOST_ARGS] = {whole ? "EVAL" : "EVALSHA", whole ? text->text : text->sha1,
                                   count_keys(script, request), request->key, keys.fence};
    enum outcome outcome = DONE;
    size_t lengths[MOST_ARGS];
    unsigned argc = 5;

    if (strcmp(argv[2], "5") == 0) {
        argv[argc++] = keys.mark;
        argv[argc++] = keys.queue;
        argv[argc++] = keys.waiters;
    }
    argv[argc++] = request->token ? request->token : "";
    argv[argc++] = request->id ? request->id : "";
    argv[argc++] = ms;
    argv[argc++] = more.words;
    argv[argc++] = database;
    valkey_name_keys(v, &keys, request->key, request->id);
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
    v->on.asked = true;
    wire_reply_within(v->wire, request->reply_ms);
    return wire_send(v->wire, argc, argv, lengths, why);
}

/* Whether the server refused a script for its first line: it is older than Redis 7.0, or something
 * that is much like Redis. */
static bool knows_no_first_line(const char *error) {
    return strstr(error, "compiling script") || strstr(error, "shebang") ||
           strstr(error, "scripting engine");
}

/* Sends one script in a form that the server knows, and receives the reply. Outcomes as
 * wire_receive(). */
static enum outcome exchange(struct valkey *v, const struct script *script,
                             const struct request *request, int64_t deadline_ms, struct answer *out,
                             redisReply **reply, struct trouble *why) {
    /* A withdrawal may be the last that the server hears from us: it must not depend on a script
     * that is loaded, nor on our being there to be told that it is not. (Nor on the form: a server
     * that does not know the new one has not carried out what is withdrawn, either, until we knew.)
     */
    const bool whole_at_once = request->kind == ASK_WITHDRAW;

    for (bool whole = whole_at_once;;) {
        enum outcome outcome;

        out->asked_ms = clock_now_ms();
        outcome = send_script(v, script, whole, request, why);
        if (outcome == DONE)
            outcome = wire_receive(v->wire, deadline_ms, reply, why);
        if (outcome != DONE || (*reply)->type != REDIS_REPLY_ERROR)
            return outcome;
        if (!whole && refusal_is((*reply)->str, "NOSCRIPT")) {
            access_note(v->access, "< %s is not loaded yet", script->name);
            whole = true;
        } else if (!v->old_scripts && knows_no_first_line((*reply)->str)) {
            access_note(v->access, "< %s: the server does not know '#!lua': without it from now on",
                        script->name);
            v->old_scripts = true;
            whole = whole_at_once;
        } else {
            return DONE;
        }
        freeReplyObject(*reply);
    }
}

/* What an error reply to `script` means. It is shown with -v, without the token. */
static enum outcome refused(struct valkey *v, const struct script *script,
                            const struct request *request, char *error, struct answer *out,
                            struct trouble *why) {
    bool by_holder = request->id && (request->kind == ASK_RENEW || request->kind == ASK_RELEASE);
    enum outcome outcome;

    if (request->token)
        text_redact(error, request->token);
    if (wire_refused(v->wire)) {
        if (why)
            *why = *wire_refused(v->wire); /* NOAUTH is only the echo of a wrong password */
        return FAILED;
    }
    if (valkey_wait_misled(v, request)) {
        wire_drop(v->wire);
        return trouble_say(why, FAILED, EXIT_UNREACHABLE, "%s is not the server it was",
                           v->address->shown);
    }
    access_note(v->access, "< %.*s", refusal_length(error), error);
    if (refusal_is(error, "READONLY"))
        return valkey_demoted(v, why);
    if (by_holder && refusal_is(error, "WRONGTYPE")) {
        *out = (struct answer){.no_lock = true, .ttl_ms = TTL_NONE, .place = -1};
        return LOST;
    }
    outcome = refusal_say(why, v->address->shown, script->name, error);
    if (request->waits && why && refusal_may_pass(error))
        why->status = EXIT_UNREACHABLE; /* so it is asked again until the wait is over */
    return outcome;
}

/* Sends one script and reads its verdict. Outcomes as wire_receive(), DONE with a verdict, LOST
 * without one. */
static enum outcome call(struct valkey *v, const struct script *script,
                         const struct request *request, int64_t deadline_ms, enum verdict *verdict,
                         struct answer *out, struct trouble *why) {
    redisReply *reply = NULL;
    struct place_told told = {"", ""};
    enum outcome outcome = request->waits ? valkey_wait_prepare(v, request, why) : DONE;

    if (outcome == DONE && request->kind == ASK_PEEK)
        outcome = valkey_ask_role(v, why);
    if (outcome == DONE)
        outcome = exchange(v, script, request, deadline_ms, out, &reply, why);
    if (outcome != DONE)
        return outcome;
    if (reply->type == REDIS_REPLY_ERROR)
        outcome = refused(v, script, request, reply->str, out, why);
    else if (!valkey_read_reply(request, reply, verdict, out, &told))
        outcome = trouble_say(why, FAILED, EXIT_PROTOCOL,
                              "%s answered something that is no lock's answer: is it a proxy?",
                              v->address->shown);
    else
        access_note(v->access, "< %s: verdict %d, fence %llu", script->name, (int)*verdict,
                    (unsigned long long)out->fence);
    freeReplyObject(reply);
    if (outcome == DONE && request->kind != ASK_PEEK && wire_role(v->wire) != ROLE_REPLICA)
        v->served = true;
    /* That a confirmation is refused says nothing about the lock: acquire follows. */
    if (outcome == DONE && !(script == &script_confirm && *verdict == NO))
        valkey_wait_answered(v, request, out, &told);
    return outcome;
}

/* A replica answers, too, but what it says may be old: whoever asks is told so instead. */
static enum outcome peek(struct valkey *v, const struct request *request, int64_t deadline_ms,
                         enum verdict *verdict, struct answer *out, struct trouble *why) {
    for (int round = 0;; round++) {
        enum outcome outcome = call(v, &script_peek, request, deadline_ms, verdict, out, why);
        enum server_role role = valkey_role(v);

        if (outcome == DONE && role == ROLE_REPLICA)
            return valkey_demoted(v, why);
        /* Unknown at first: the server does not know HELLO, and is asked for ROLE. */
        if (outcome != DONE || role == ROLE_PRIMARY || round > 0 ||
            !wire_refuses_politely(v->wire)) {
            v->served = v->served || outcome == DONE;
            return outcome;
        }
    }
}

/* A waiter that the lock was handed to asks only for that; should it not be so any more, whatever
 * the reason, he asks for the lock again. So he does if a question of his is unanswered: a copy of
 * it may come when he has given the lock back, and only acquire leaves the mark that refuses it. */
enum outcome valkey_call(struct valkey *v, const struct request *request, int64_t deadline_ms,
                         enum verdict *verdict, struct answer *out, struct trouble *why) {
    if (request->kind == ASK_PEEK)
        return peek(v, request, deadline_ms, verdict, out, why);
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
