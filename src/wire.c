#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "refusal.h"
#include "text.h"
#include "wire_part.h"

struct wire *wire_new(const struct address *address, const struct access *access,
                      struct loop *loop) {
    struct wire *wire = calloc(1, sizeof *wire);

    if (!wire)
        return NULL;
    wire->address = address;
    wire->access = access;
    wire->loop = loop;
    wire->fd = -1;
    wire->reply_ms = access->reply_timeout_ms;
    return wire;
}

static void forget_context(struct wire *wire) {
    tls_context_free(wire->context);
    wire->context = NULL;
}

void wire_drop(struct wire *wire) {
    if (wire->state != CLOSED)
        access_note(wire->access, "disconnect from %s", wire->address->shown);
    dial_end(&wire->dial);
    tls_close(wire->tls);
    if (wire->state == READING) /* it is of no use half read */
        forget_context(wire);
    if (wire->fd >= 0)
        close(wire->fd);
    replies_end(&wire->replies);
    outbox_clear(&wire->out);
    wire->tls = NULL;
    wire->fd = -1;
    expected_clear(&wire->expected);
    wire->spoken = wire->asked = wire->refused = wire->resp3 = wire->hello = false;
    wire->role = ROLE_UNKNOWN;
    wire->state = CLOSED;
}

void wire_free(struct wire *wire) {
    if (!wire)
        return;
    wire_drop(wire);
    forget_context(wire);
    outbox_free(&wire->out);
    free(wire);
}

bool wire_connected(const struct wire *wire) {
    return wire->state != CLOSED;
}

const struct trouble *wire_refused(const struct wire *wire) {
    return wire->refused ? &wire->refusal : NULL;
}

bool wire_greets_anew(struct wire *wire) {
    bool anew = wire->greets_anew;

    wire->greets_anew = false;
    return anew;
}

/* Queues what a fresh connection says before anything else. */
static bool greet(struct wire *wire) {
    struct greeting_command commands[GREETING_COMMANDS];
    bool queued = true;
    unsigned count;

    /* Where nobody has to log in, HELLO is tried again: its refusal costs nothing, and the next
     * server may know it. */
    if (!greeting_logs_in(wire->access))
        wire->without_hello = false;
    wire->hello = !wire->without_hello && !wire->mute_at_hello;
    wire->mute_at_hello = false;
    count = greeting_commands(wire->access, !wire->hello, commands);
    for (unsigned i = 0; i < count && queued; i++) {
        size_t lengths[GREETING_WORDS];
        for (unsigned j = 0; j < commands[i].count; j++)
            lengths[j] = strlen(commands[i].words[j]);
        access_note(wire->access, "> %s", commands[i].shown);
        queued = expected_add(&wire->expected, EXPECT_GREETING, commands[i].words[0]) &&
                 outbox_add(&wire->out, commands[i].count, commands[i].words, lengths);
    }
    return queued;
}

void wire_reply_within(struct wire *wire, int64_t ms) {
    int64_t most_ms = wire->access->reply_timeout_ms;

    wire->reply_ms = ms > 0 && ms < most_ms ? ms : most_ms;
}

static enum outcome no_memory(struct trouble *why) {
    return trouble_say(why, FAILED, EXIT_SYSTEM, "out of memory");
}

/* A connection that ended while nothing was asked is replaced before the command goes out: sent
 * into it, the command would count as one that may have been carried out. */
static void leave_what_ended(struct wire *wire) {
    char byte;
    ssize_t got;

    if (wire->state != OPEN || wire->expected.count)
        return;
    got = recv(wire->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        wire_drop(wire);
}

static enum outcome send_command(struct wire *wire, enum expected_kind kind, unsigned argc,
                                 const char **argv, const size_t *lengths, struct trouble *why) {
    enum outcome outcome = wire_connect(wire, why);

    if (outcome == DONE && (!expected_add(&wire->expected, kind, argv[0]) ||
                            !outbox_add(&wire->out, argc, argv, lengths)))
        outcome = no_memory(why);
    if (outcome != DONE)
        wire_drop(wire);
    else if (wire->state == OPEN)
        wire->limit_ms = wire_link_limit(wire);
    return outcome;
}

enum outcome wire_connect(struct wire *wire, struct trouble *why) {
    enum outcome outcome = DONE;

    leave_what_ended(wire);
    if (wire->state != CLOSED)
        return DONE;
    wire->number++;
    if (!replies_begin(&wire->replies) || !greet(wire))
        outcome = no_memory(why);
    if (outcome == DONE)
        outcome = wire_link_start(wire, why);
    if (outcome != DONE)
        wire_drop(wire);
    return outcome;
}

enum outcome wire_send(struct wire *wire, unsigned argc, const char **argv, const size_t *lengths,
                       struct trouble *why) {
    return send_command(wire, EXPECT_REPLY, argc, argv, lengths, why);
}

enum outcome wire_send_aside(struct wire *wire, unsigned argc, const char **argv,
                             struct trouble *why) {
    size_t lengths[WIRE_ASIDE_WORDS];

    for (unsigned i = 0; i < argc && i < WIRE_ASIDE_WORDS; i++)
        lengths[i] = strlen(argv[i]);
    return send_command(wire, EXPECT_ASIDE, argc, argv, lengths, why);
}

void wire_hear(struct wire *wire, const struct wire_ears *ears, void *arg) {
    wire->ears = ears;
    wire->ears_arg = arg;
}

unsigned wire_number(const struct wire *wire) {
    return wire->state == CLOSED ? 0 : wire->number;
}

enum server_role wire_role(const struct wire *wire) {
    return wire->role;
}

bool wire_refuses_politely(const struct wire *wire) {
    return wire->hello || wire->without_hello;
}

bool wire_was_answered(const struct wire *wire) {
    return wire->answered;
}

bool wire_hears_pushes(const struct wire *wire) {
    return wire->resp3;
}

/* Takes the reply to a command of the greeting. */
static void greeting_answered(struct wire *wire, const char *command, const redisReply *reply) {
    if (reply->type == REDIS_REPLY_ERROR)
        access_note(wire->access, "< %s: %.*s", command, refusal_length(reply->str), reply->str);
    switch (greeting_read(command, reply)) {
    case GREETING_FINE:
        if (strcmp(command, "HELLO") == 0) {
            wire->resp3 = true;
            wire->role = greeting_role(reply);
        }
        return;
    case GREETING_NO_HELLO:
        wire->without_hello = true;
        wire->greets_anew = greeting_logs_in(wire->access);
        return;
    case GREETING_REFUSED:
        if (!wire->refused)
            refusal_say(&wire->refusal, wire->address->shown, command, reply->str);
        wire->refused = true;
        return;
    }
}

/* Does with `one` what is to be done. True: it is the reply that somebody waits for. */
static bool heard(struct wire *wire, const redisReply *one) {
    const char *next = expected_command(&wire->expected);
    struct expected_one answered = {EXPECT_NOTHING, ""};

    if (one->type == REDIS_REPLY_PUSH && !(next && greeting_is_answer(next, one))) {
        if (wire->ears)
            wire->ears->on_push(wire->ears_arg, one);
        return false;
    }
    /* What answers nothing that was asked is for whoever listens, a refusal most likely. */
    if (!expected_take(&wire->expected, &answered))
        return true;
    switch (answered.kind) {
    case EXPECT_GREETING:
        greeting_answered(wire, answered.command, one);
        return false;
    case EXPECT_ASIDE:
        if (wire->ears)
            wire->ears->on_aside(wire->ears_arg, answered.command, one);
        return false;
    case EXPECT_NOTHING:
        return false;
    case EXPECT_REPLY:
        break;
    }
    return true;
}

/* The next reply that somebody waits for, if it is there: *reply, else NULL. */
static enum outcome next_reply(struct wire *wire, redisReply **reply, struct trouble *why) {
    for (;;) {
        redisReply *one = NULL;
        if (!replies_next(&wire->replies, &one))
            return wire_link_nonsense(wire, "answers something that is no Redis protocol", why);
        if (!one)
            return DONE;
        if (one->type == REDIS_REPLY_ERROR && wire->access->password)
            text_redact(one->str, wire->access->password);
        if (heard(wire, one)) {
            *reply = one;
            return DONE;
        }
        freeReplyObject(one);
    }
}

static enum outcome too_late(struct wire *wire, struct trouble *why) {
    const char *shown = wire->address->shown;
    bool securing = wire->state == SECURING;

    if (wire->state == READING) {
        enum outcome outcome = tls_context_late(wire->context, why);
        wire_drop(wire);
        return outcome;
    }
    if (wire->state != OPEN || !wire->asked) {
        wire_drop(wire);
        if (securing)
            return trouble_say(why, FAILED, EXIT_UNREACHABLE,
                               "%s did not set up TLS in time: does it speak TLS?", shown);
        return trouble_say(why, FAILED, EXIT_UNREACHABLE,
                           "%s did not accept the connection in time: is it up?", shown);
    }
    expected_give_up(&wire->expected);
    return trouble_say(why, UNSURE, EXIT_UNREACHABLE, "%s did not answer in time", shown);
}

enum outcome wire_receive(struct wire *wire, int64_t deadline_ms, redisReply **reply,
                          struct trouble *why) {
    redisReply *got = NULL;
    bool readable = false;

    if (wire->state == CLOSED)
        return trouble_say(why, FAILED, EXIT_UNREACHABLE, "not connected");
    for (bool first = true;; first = false) {
        enum outcome outcome = wire_link_step(wire, readable, why);
        if (outcome == DONE)
            outcome = next_reply(wire, &got, why);
        if (outcome != DONE)
            return outcome;
        if (got) {
            *reply = got;
            return DONE;
        }
        /* Looked at each time: a server that never stops talking wakes us all the time. (The limit
         * may move with each step: connecting has one of its own.) */
        if (clock_now_ms() >= clock_earlier(deadline_ms, wire->limit_ms) && !first)
            return too_late(wire, why);
        if (wire_link_sleep(wire, clock_earlier(deadline_ms, wire->limit_ms), &readable) ==
            WAKE_STOP) {
            expected_give_up(&wire->expected);
            return trouble_say(why, STOPPED, EXIT_UNREACHABLE,
                               "stopped while waiting for an answer");
        }
    }
}

enum outcome wire_listen(struct wire *wire, const bool *enough, int64_t until_ms,
                         struct trouble *why) {
    redisReply *stray = NULL;
    bool readable = false;

    if (wire->state == CLOSED)
        return trouble_say(why, FAILED, EXIT_UNREACHABLE, "not connected");
    replies_make_room(&wire->replies);
    for (;;) {
        enum outcome outcome = wire_link_step(wire, readable, why);
        if (outcome == DONE)
            outcome = next_reply(wire, &stray, why);
        if (outcome == DONE && stray) {
            freeReplyObject(stray);
            return wire_link_nonsense(wire, "answers what was not asked", why);
        }
        if (outcome != DONE || *enough || clock_now_ms() >= until_ms)
            return outcome;
        if (wire_link_sleep(wire, until_ms, &readable) == WAKE_STOP)
            return trouble_say(why, STOPPED, EXIT_UNREACHABLE, "stopped while waiting");
    }
}
