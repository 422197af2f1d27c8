/* vlock break: an operator takes a lock away from its holder.
 *
 * Only the holder that was shown is broken: the store compares his token, and his fence where there
 * is one, in the step that frees the lock. Whoever came in between keeps it (79). */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "clock.h"
#include "command.h"
#include "context.h"
#include "ending.h"
#include "holder.h"
#include "text.h"

enum { LINE_BYTES = 4096 }; /* a terminal gives a line of up to this at once */

struct breaking {
    struct context ctx;
    struct ending ending;
    uint64_t fence; /* --fence, 0: not given */
    struct answer seen;
    char shown[HOLDER_BYTES + 40]; /* who is broken, in words */
};

static enum outcome read_fence(struct breaking *b, struct trouble *why) {
    const char *text = b->ctx.options->value[OPT_FENCE];
    unsigned long long fence = 0;

    if (text && (!text_number(text, UINT64_MAX, &fence) || fence == 0))
        return trouble_say(why, FAILED, EXIT_USAGE,
                           "bad fence '%s': use the number that 'vlock status' shows", text);
    b->fence = fence;
    return DONE;
}

static enum outcome look(struct breaking *b, struct trouble *why) {
    struct request request = {.kind = ASK_PEEK, .key = b->ctx.key};
    enum outcome outcome =
        store_ask(b->ctx.store, &request, context_deadline(&b->ctx), &b->seen, why);
    char holder[HOLDER_BYTES];

    if (outcome != DONE)
        return outcome;
    holder_describe(holder, sizeof holder, &b->seen);
    if (b->seen.ttl_ms && b->seen.fenced)
        snprintf(b->shown, sizeof b->shown, "%s, fence %llu", holder,
                 (unsigned long long)b->seen.fence);
    else
        snprintf(b->shown, sizeof b->shown, "%s", holder);
    return DONE;
}

/* Reads a line from the terminal. DONE for y and yes; HELD/75 for everything else, and for a line
 * that has no end. */
static enum outcome read_answer(struct breaking *b, struct trouble *why) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    char line[LINE_BYTES] = "", *end;
    size_t length = 0;
    ssize_t got = 1;

    while (got > 0 && length < sizeof line - 1 && !strpbrk(line, "\r\n")) {
        if (loop_wait(&b->ctx.loop, &in, 1, CLOCK_NEVER) == WAKE_STOP)
            return trouble_say(why, STOPPED, EXIT_BUSY, "stopped");
        got = read(STDIN_FILENO, line + length, sizeof line - 1 - length);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            got = 1;
        else if (got > 0)
            line[length += (size_t)got] = '\0';
    }
    end = strpbrk(line, "\r\n");
    if (end)
        *end = '\0';
    else
        fputc('\n', stderr); /* what is said next stands on a line of its own */
    if (end && (strcasecmp(line, "y") == 0 || strcasecmp(line, "yes") == 0))
        return DONE;
    return trouble_say(why, HELD, EXIT_BUSY, "not confirmed: nothing is broken");
}

static enum outcome confirm(struct breaking *b, struct trouble *why) {
    enum outcome outcome;

    if (b->fence || b->ctx.options->value[OPT_YES])
        return DONE;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return trouble_say(why, FAILED, EXIT_USAGE, "%s: to break it say %s", b->shown,
                           b->seen.fenced ? "--yes, or --fence with that number" : "--yes");
    outcome = loop_take_signals(&b->ctx.loop, ending_on_signal, &b->ending, why);
    if (outcome != DONE)
        return outcome;
    say_loud(&b->ctx.say, "%s", b->shown);
    say_question(&b->ctx.say, "break it? [y/N]");
    return read_answer(b, why);
}

/* Whether what was shown may be broken at all. */
static enum outcome permit(const struct breaking *b, struct trouble *why) {
    if (holder_is_foreign(&b->seen) && !b->ctx.options->value[OPT_FOREIGN])
        return trouble_say(why, FAILED, EXIT_USAGE,
                           "%s: to break what another client holds say --foreign", b->shown);
    if (b->fence && !(b->seen.fenced && b->seen.fence == b->fence))
        return trouble_say(why, LOST, EXIT_NOT_OWNED,
                           "%s: that is not fence %llu, nothing is broken", b->shown,
                           (unsigned long long)b->fence);
    return DONE;
}

static enum outcome break_it(struct breaking *b, struct trouble *why) {
    struct request request = {.kind = ASK_BREAK,
                              .key = b->ctx.key,
                              .token = b->seen.holder,
                              .fence = b->seen.fenced ? b->seen.fence : 0};
    struct answer now;
    enum outcome outcome = store_ask(b->ctx.store, &request, context_deadline(&b->ctx), &now, why);
    char holder[HOLDER_BYTES];

    if (outcome != LOST)
        return outcome;
    if (now.ttl_ms && now.fenced == b->seen.fenced && now.fence == b->seen.fence &&
        strcmp(now.holder, b->seen.holder) == 0)
        return trouble_say(why, LOST, EXIT_NOT_OWNED,
                           "%s: its value is longer than a token, or has a NUL, and cannot be "
                           "compared: delete the key on the server",
                           b->shown);
    holder_describe(holder, sizeof holder, &now);
    return trouble_say(why, LOST, EXIT_NOT_OWNED,
                       "the holder changed meanwhile, nothing is broken: now %s", holder);
}

static enum outcome break_lock(struct breaking *b, struct trouble *why) {
    enum outcome outcome = read_fence(b, why);

    if (outcome == DONE)
        outcome = context_store(&b->ctx, why);
    if (outcome == DONE)
        outcome = look(b, why);
    if (outcome != DONE)
        return outcome;
    if (b->seen.ttl_ms == 0) {
        say_note(&b->ctx.say, "%s: there is nothing to break", b->shown);
        return DONE;
    }
    outcome = permit(b, why);
    if (outcome == DONE)
        outcome = confirm(b, why);
    if (outcome == DONE)
        outcome = break_it(b, why);
    if (outcome == DONE)
        say_note(&b->ctx.say, "broken: it was %s", b->shown);
    return outcome;
}

int cmd_break(const struct options *options, const struct child_found *found) {
    struct breaking b = {.ending.signo = 0};
    struct trouble why = {0};
    enum outcome outcome = context_open(&b.ctx, options, found, false, &why);
    int status;

    if (outcome == DONE)
        outcome = break_lock(&b, &why);
    if (outcome != STOPPED)
        return context_end(&b.ctx, outcome, &why);
    status = ending_status(&b.ending, &b.ctx.loop);
    ending_die(status, found, &b.ctx.loop);
    context_close(&b.ctx);
    return status;
}
