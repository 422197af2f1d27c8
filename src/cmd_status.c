/* vlock status: who holds a lock, and who waits for it.
 *
 * What is shown comes from other machines, and from whoever may write to the key: it is made
 * harmless for a terminal line by line, for JSON string by string. No token is shown whole: it is
 * a secret. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "command.h"
#include "context.h"
#include "holder.h"
#include "json.h"
#include "text.h"
#include "token.h"

enum {
    SHOWN_WAITERS = 20,
    LISTED_WAITERS = 1000 /* with --json: what one reply of a server holds easily */
};

struct status {
    struct context ctx;
    struct answer answer;
    struct waiter *waiters; /* room for LISTED_WAITERS */
};

/* How many of those who wait are listed, when at most `most` are. (A store may know of more than it
 * has told.) */
static unsigned listed(const struct status *s, unsigned most) {
    unsigned count = 0;

    while (count < most && count < s->answer.waiting && *s->waiters[count].token)
        count++;
    return count;
}

/* ---- for people ---- */

__attribute__((format(printf, 2, 3))) static void put_line(FILE *to, const char *format, ...) {
    char text[2048], safe[4 * sizeof text];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    text_printable(safe, sizeof safe, text);
    fprintf(to, "%s\n", safe);
}

static void put_holder(FILE *to, const struct answer *answer) {
    char who[HOLDER_WHO_BYTES], text[HOLDER_WHEN_BYTES];
    int64_t since_ms = holder_since_ms(answer);
    struct token_holder holder = {.pid = 0};

    token_read(answer->holder, &holder);
    holder_who(who, answer->holder, answer->fenced);
    put_line(to, "  holder   %s", who);
    if (since_ms) {
        holder_when(text, since_ms);
        put_line(to, "  since    %s", text);
    }
    holder_left(text, answer->ttl_ms);
    put_line(to, "  ttl      %s", text);
    if (answer->fenced)
        put_line(to, "  fence    %llu", (unsigned long long)answer->fence);
    if (*holder.note)
        put_line(to, "  note     %s", holder.note);
}

static void put_waiters(FILE *to, const struct status *s) {
    unsigned count = listed(s, SHOWN_WAITERS);

    put_line(to, "  waiting  %u", s->answer.waiting);
    for (unsigned i = 0; i < count; i++) {
        char who[HOLDER_WHO_BYTES], since[HOLDER_WHEN_BYTES];
        struct token_holder holder = {.pid = 0};

        token_read(s->waiters[i].token, &holder);
        holder_who(who, s->waiters[i].token, true);
        holder_when(since, s->waiters[i].since_ms);
        put_line(to, "   %5u.  %s since %s%s%s%s", i + 1, who, since, *holder.note ? " (" : "",
                 holder.note, *holder.note ? ")" : "");
    }
    if (s->answer.waiting > count)
        put_line(to, "           and %u more", s->answer.waiting - count);
}

static void put_text(FILE *to, const struct status *s) {
    bool held = s->answer.ttl_ms != 0;

    put_line(to, "%s: %s", s->ctx.name, held ? "held" : "free");
    if (held)
        put_holder(to, &s->answer);
    if (held || s->answer.waiting)
        put_waiters(to, s);
}

/* ---- for programs ---- */

/* An instant as RFC 3339 has it, in UTC; null if it is not known, or none. */
static void put_instant(FILE *to, int64_t wall_ms) {
    time_t seconds = (time_t)(wall_ms / 1000);
    char text[HOLDER_WHEN_BYTES];
    struct tm utc;

    if (wall_ms > 0 && gmtime_r(&seconds, &utc) && utc.tm_year < 9999 - 1900 &&
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc))
        fprintf(to, "\"%s.%03dZ\"", text, (int)(wall_ms % 1000));
    else
        fputs("null", to);
}

/* One process: {"vlock":...,"host":...,"pid":...,"note":...,"token":...,"since":...}. */
static void put_process(FILE *to, const char *token, bool vlock, int64_t since_ms) {
    char shortened[TOKEN_SHORT_BYTES];
    struct token_holder holder;
    bool named = token_read(token, &holder);

    token_shorten(shortened, token);
    fprintf(to, "{\"vlock\":%s,\"host\":", vlock || named ? "true" : "false");
    json_string(to, named ? holder.host : NULL);
    if (named)
        fprintf(to, ",\"pid\":%ld,\"note\":", holder.pid);
    else
        fputs(",\"pid\":null,\"note\":", to);
    json_string(to, named && *holder.note ? holder.note : NULL);
    fputs(",\"token\":", to);
    json_string(to, shortened);
    fputs(",\"since\":", to);
    put_instant(to, since_ms);
    putc('}', to);
}

static void put_json(FILE *to, const struct status *s) {
    const struct answer *answer = &s->answer;
    bool held = answer->ttl_ms != 0;
    unsigned count = listed(s, LISTED_WAITERS);

    fputs("{\"name\":", to);
    json_string(to, s->ctx.name);
    fputs(",\"key\":", to);
    json_string(to, s->ctx.key);
    fputs(",\"store\":", to);
    json_string(to, s->ctx.address.shown);
    fprintf(to, ",\"held\":%s,\"holder\":", held ? "true" : "false");
    if (held)
        put_process(to, answer->holder, answer->fenced, holder_since_ms(answer));
    else
        fputs("null", to);
    if (held && answer->ttl_ms != TTL_NONE)
        fprintf(to, ",\"ttl_ms\":%lld", (long long)answer->ttl_ms);
    else
        fputs(",\"ttl_ms\":null", to);
    if (held && answer->fenced)
        fprintf(to, ",\"fence\":%llu", (unsigned long long)answer->fence);
    else
        fputs(",\"fence\":null", to);
    fprintf(to, ",\"waiting\":%u,\"waiters\":[", answer->waiting);
    for (unsigned i = 0; i < count; i++) {
        fputs(i ? "," : "", to);
        put_process(to, s->waiters[i].token, true, s->waiters[i].since_ms);
    }
    fputs("]}\n", to);
}

/* ---- the command ---- */

static enum outcome look(struct status *s, struct trouble *why) {
    bool json = s->ctx.options->value[OPT_JSON];
    struct request request = {.kind = ASK_PEEK,
                              .key = s->ctx.key,
                              .room = json ? LISTED_WAITERS : SHOWN_WAITERS};

    s->waiters = calloc(LISTED_WAITERS, sizeof *s->waiters);
    request.waiters = s->waiters;
    if (!s->waiters)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "out of memory");
    return store_ask(s->ctx.store, &request, context_deadline(&s->ctx), &s->answer, why);
}

static enum outcome show(const struct status *s, const struct child_found *found,
                         struct trouble *why) {
    char *text = NULL;
    size_t length = 0;
    FILE *to = found->closed[1] ? NULL : open_memstream(&text, &length);
    enum outcome outcome = DONE;

    if (found->closed[1])
        return trouble_say(why, FAILED, EXIT_CANNOT_WRITE, "cannot write to stdout: it is closed");
    if (!to)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "out of memory");
    if (s->ctx.options->value[OPT_JSON])
        put_json(to, s);
    else
        put_text(to, s);
    if (fclose(to) != 0)
        outcome = trouble_say(why, FAILED, EXIT_SYSTEM, "out of memory");
    else if (!say_answer(text, length))
        outcome = trouble_say(why, FAILED, EXIT_CANNOT_WRITE, "cannot write to stdout: %s",
                              strerror(errno));
    free(text);
    return outcome;
}

int cmd_status(const struct options *options, const struct child_found *found) {
    struct trouble why = {0};
    struct status s = {.waiters = NULL};
    enum outcome outcome;
    int status;

    outcome = context_open(&s.ctx, options, found, false, &why);
    if (outcome == DONE)
        outcome = context_store(&s.ctx, &why);
    if (outcome == DONE)
        outcome = look(&s, &why);
    if (outcome == DONE)
        outcome = show(&s, found, &why);
    status = context_end(&s.ctx, outcome, &why);
    free(s.waiters);
    return status;
}
