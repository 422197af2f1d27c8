/* store_valkey_reply.c - what a script answers, read and checked: see answer() in scripts/note.lua.
 * Nothing that a server can send is taken for granted. */
#include <stdlib.h>
#include <string.h>

#include "store_valkey_part.h"
#include "text.h"

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

bool valkey_read_reply(const struct request *request, const redisReply *reply,
                       enum verdict *verdict, struct answer *out, struct place_told *told) {
    if (!read_answer(reply, verdict, out))
        return false;
    if (request->kind == ASK_ACQUIRE) /* five: confirm, which adds nothing */
        return reply->elements == 5 || read_place(reply, out, told);
    return request->kind != ASK_PEEK || !request->waiters || read_waiters(request, reply, out);
}
