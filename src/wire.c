#include "wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "dial.h"
#include "greeting.h"
#include "outbox.h"
#include "refusal.h"
#include "replies.h"
#include "text.h"
#include "tls.h"

enum state { CLOSED, DIALING, SECURING, OPEN };

struct wire {
    const struct address *address;
    const struct access *access;
    struct loop *loop;
    enum state state;
    struct dial dial;
    int fd;
    struct tls *tls;
    struct replies replies;
    struct outbox out;
    bool spoken;                             /* the server has said something on this connection */
    bool asked;                              /* something was sent on it */
    const char *greeting[GREETING_COMMANDS]; /* those that are unanswered, in order */
    unsigned greetings;
    unsigned owed;
    int64_t reply_ms; /* see wire_reply_within() */
    int64_t limit_ms; /* the connection is to be there, or the reply, by then */
    bool refused;     /* the greeting was: see refusal */
    struct trouble refusal;
    bool without_hello; /* this server does not know HELLO: AUTH alone */
    bool greets_anew;
};

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

void wire_drop(struct wire *wire) {
    if (wire->state != CLOSED)
        access_note(wire->access, "disconnect from %s", wire->address->shown);
    dial_end(&wire->dial);
    tls_close(wire->tls);
    if (wire->fd >= 0)
        close(wire->fd);
    replies_end(&wire->replies);
    outbox_clear(&wire->out);
    wire->tls = NULL;
    wire->fd = -1;
    wire->spoken = wire->asked = wire->refused = false;
    wire->greetings = wire->owed = 0;
    wire->state = CLOSED;
}

void wire_free(struct wire *wire) {
    if (!wire)
        return;
    wire_drop(wire);
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
    unsigned count = greeting_commands(wire->access, wire->without_hello, commands);
    bool queued = true;

    for (unsigned i = 0; i < count && queued; i++) {
        size_t lengths[GREETING_WORDS];
        for (unsigned j = 0; j < commands[i].count; j++)
            lengths[j] = strlen(commands[i].words[j]);
        wire->greeting[wire->greetings++] = commands[i].words[0];
        access_note(wire->access, "> %s", commands[i].shown);
        queued = outbox_add(&wire->out, commands[i].count, commands[i].words, lengths);
    }
    return queued;
}

void wire_reply_within(struct wire *wire, int64_t ms) {
    int64_t most_ms = wire->access->reply_timeout_ms;

    wire->reply_ms = ms > 0 && ms < most_ms ? ms : most_ms;
}

static int64_t reply_limit(const struct wire *wire) {
    return clock_after(clock_now_ms(), wire->reply_ms);
}

static enum outcome connected(struct wire *wire, int fd, struct trouble *why) {
    enum outcome outcome = DONE;

    dial_end(&wire->dial);
    wire->fd = fd;
    wire->state = wire->address->tls ? SECURING : OPEN;
    if (wire->address->tls)
        outcome = tls_open(fd, wire->address, wire->access, &wire->tls, why);
    if (wire->state == OPEN)
        wire->limit_ms = reply_limit(wire);
    return outcome;
}

static enum outcome no_memory(struct trouble *why) {
    return trouble_say(why, FAILED, EXIT_SYSTEM, "out of memory");
}

static enum outcome start(struct wire *wire, struct trouble *why) {
    enum outcome outcome;
    int fd;

    access_note(wire->access, "connect to %s", wire->address->shown);
    wire->state = DIALING;
    wire->limit_ms = clock_after(clock_now_ms(), wire->access->connect_timeout_ms);
    if (!replies_begin(&wire->replies) || !greet(wire))
        return no_memory(why);
    outcome = dial_start(&wire->dial, wire->address, &fd, why);
    return outcome == DONE && fd >= 0 ? connected(wire, fd, why) : outcome;
}

enum outcome wire_send(struct wire *wire, unsigned argc, const char **argv, const size_t *lengths,
                       struct trouble *why) {
    enum outcome outcome = DONE;
    char byte;

    /* A connection that ended while nothing was asked is replaced before the command goes out:
     * sent into it, the command would count as one that may have been carried out. */
    if (wire->state == OPEN && !wire->owed) {
        ssize_t got = recv(wire->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
            wire_drop(wire);
    }
    if (wire->state == CLOSED)
        outcome = start(wire, why);
    if (outcome == DONE && !outbox_add(&wire->out, argc, argv, lengths))
        outcome = no_memory(why);
    if (outcome != DONE)
        wire_drop(wire);
    else if (wire->state == OPEN)
        wire->limit_ms = reply_limit(wire);
    return outcome;
}

/* The connection is gone: whatever was asked on it may have been carried out. */
static enum outcome broken(struct wire *wire, const char *reason, struct trouble *why) {
    enum outcome outcome = wire->asked ? UNSURE : FAILED;
    bool refused = wire->refused, mute = !wire->spoken && !wire->tls;
    struct trouble refusal = wire->refusal;

    access_note(wire->access, "the connection to %s broke: %s", wire->address->shown, reason);
    wire_drop(wire);
    if (refused) { /* that is why it was closed, as with 'max number of clients reached' */
        if (why)
            *why = refusal;
        return FAILED;
    }
    return trouble_say(why, outcome, EXIT_UNREACHABLE, "the connection to %s broke: %s%s",
                       wire->address->shown, reason,
                       mute && wire->address->kind == ADDRESS_TCP
                           ? ": if it wants TLS, use valkeys://"
                           : "");
}

static enum outcome nonsense(struct wire *wire, const char *what, struct trouble *why) {
    enum outcome outcome = trouble_say(why, FAILED, EXIT_PROTOCOL, "%s %s: check the address",
                                       wire->address->shown, what);

    access_note(wire->access, "%s %s", wire->address->shown, what);
    wire_drop(wire);
    return outcome;
}

/* Sends what is queued, as far as the socket takes it. */
static void flush(struct wire *wire) {
    while (wire->out.bytes) {
        const char *from = wire->out.bytes + wire->out.at;
        size_t left = wire->out.length - wire->out.at;
        ssize_t sent =
            wire->tls ? tls_write(wire->tls, from, left) : send(wire->fd, from, left, MSG_NOSIGNAL);
        if (sent > 0) {
            wire->asked = true;
            outbox_sent(&wire->out, (size_t)sent);
        } else if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return;
        } else if (sent == 0 || errno != EINTR) {
            /* Broken. What the server said before it closed (why, perhaps) is still to be read. */
            outbox_clear(&wire->out);
        }
    }
}

/* Reads what has come. */
static enum outcome take_in(struct wire *wire, struct trouble *why) {
    char bytes[8192];
    ssize_t got = wire->tls ? tls_read(wire->tls, bytes, sizeof bytes)
                            : recv(wire->fd, bytes, sizeof bytes, 0);

    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return DONE;
    if (got < 0 && errno == EPROTO && wire->tls) {
        enum outcome outcome = tls_complain(wire->tls, why);
        wire_drop(wire);
        return outcome;
    }
    if (got <= 0)
        return broken(wire, got < 0 ? strerror(errno) : "the server closed it", why);
    if (!wire->spoken && !wire->tls && (bytes[0] == 0x15 || bytes[0] == 0x16))
        return nonsense(wire, "speaks TLS: use valkeys://", why);
    wire->spoken = true;
    if (!replies_feed(&wire->replies, bytes, (size_t)got))
        return nonsense(wire, "answers without end", why);
    return DONE;
}

/* Goes on with whatever is under way. */
static enum outcome step(struct wire *wire, bool readable, struct trouble *why) {
    enum outcome outcome = DONE;
    int fd = -1;

    if (wire->state == DIALING) {
        outcome = dial_step(&wire->dial, &fd, why);
        if (outcome == DONE && fd >= 0)
            outcome = connected(wire, fd, why);
    }
    if (outcome == DONE && wire->state == SECURING) {
        outcome = tls_handshake(wire->tls, why);
        if (outcome == STOPPED)
            return DONE;
        wire->state = OPEN;
        wire->limit_ms = reply_limit(wire);
    }
    if (outcome == DONE && wire->state == OPEN && wire->out.bytes)
        flush(wire);
    else if (outcome == DONE && wire->state == OPEN && readable)
        return take_in(wire, why); /* drops the connection itself */
    if (outcome != DONE) {
        outcome = wire->asked ? outcome : FAILED;
        wire_drop(wire);
    }
    return outcome;
}

/* Takes the reply to the oldest unanswered greeting. */
static void greeting_answered(struct wire *wire, const redisReply *reply) {
    const char *command = wire->greeting[0];

    wire->greetings--;
    memmove(wire->greeting, wire->greeting + 1, sizeof wire->greeting - sizeof *wire->greeting);
    if (reply->type == REDIS_REPLY_ERROR)
        access_note(wire->access, "< %s: %.*s", command, refusal_length(reply->str), reply->str);
    switch (greeting_read(command, reply)) {
    case GREETING_FINE:
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

/* The next reply that somebody waits for, if it is there: *reply, else NULL. */
static enum outcome next_reply(struct wire *wire, redisReply **reply, struct trouble *why) {
    for (;;) {
        redisReply *one = NULL;
        bool push;
        if (!replies_next(&wire->replies, &one))
            return nonsense(wire, "answers something that is no Redis protocol", why);
        if (!one)
            return DONE;
        push = one->type == REDIS_REPLY_PUSH;
        if (one->type == REDIS_REPLY_ERROR && wire->access->password)
            text_redact(one->str, wire->access->password);
        if (wire->greetings && (!push || greeting_is_answer(wire->greeting[0], one))) {
            greeting_answered(wire, one);
        } else if (!push && wire->owed) {
            wire->owed--;
        } else if (!push) {
            *reply = one;
            return DONE;
        }
        freeReplyObject(one);
    }
}

static enum outcome too_late(struct wire *wire, struct trouble *why) {
    const char *shown = wire->address->shown;
    bool securing = wire->state == SECURING;

    if (wire->state != OPEN || !wire->asked) {
        wire_drop(wire);
        if (securing)
            return trouble_say(why, FAILED, EXIT_UNREACHABLE,
                               "%s did not set up TLS in time: does it speak TLS?", shown);
        return trouble_say(why, FAILED, EXIT_UNREACHABLE,
                           "%s did not accept the connection in time: is it up?", shown);
    }
    wire->owed++;
    return trouble_say(why, UNSURE, EXIT_UNREACHABLE, "%s did not answer in time", shown);
}

/* Sleeps until something can go on. STOPPED, or the trouble of a limit that was reached. */
static enum outcome sleep_on(struct wire *wire, int64_t deadline_ms, bool *readable,
                             struct trouble *why) {
    struct pollfd own = {.fd = wire->fd}, *watched = &own;
    int64_t until_ms = clock_earlier(deadline_ms, wire->limit_ms), wake_ms = until_ms;
    unsigned count = 1;
    enum wake wake;

    if (wire->state == DIALING)
        watched = dial_watch(&wire->dial, &count, &wake_ms);
    else if (wire->state == SECURING)
        own.events = tls_events(wire->tls);
    else if (wire->tls)
        own.events = POLLIN | (wire->out.bytes ? tls_events(wire->tls) : 0);
    else
        own.events = wire->out.bytes ? POLLIN | POLLOUT : POLLIN;
    wake = loop_wait(wire->loop, watched, count, wake_ms);
    *readable = wake == WAKE_READY;
    if (wake == WAKE_STOP) {
        wire->owed++;
        return trouble_say(why, STOPPED, EXIT_UNREACHABLE, "stopped while waiting for an answer");
    }
    return wake == WAKE_DEADLINE && clock_now_ms() >= until_ms ? too_late(wire, why) : DONE;
}

enum outcome wire_receive(struct wire *wire, int64_t deadline_ms, redisReply **reply,
                          struct trouble *why) {
    redisReply *got = NULL;
    bool readable = false, first = true;
    enum outcome outcome;

    if (wire->state == CLOSED)
        return trouble_say(why, FAILED, EXIT_UNREACHABLE, "not connected");
    for (;;) {
        outcome = step(wire, readable, why);
        if (outcome == DONE)
            outcome = next_reply(wire, &got, why);
        if (outcome != DONE)
            return outcome;
        if (got) {
            *reply = got;
            return DONE;
        }
        /* Looked at each time: a server that never stops talking wakes us all the time. */
        if (clock_now_ms() >= clock_earlier(deadline_ms, wire->limit_ms) && !first)
            return too_late(wire, why);
        first = false;
        if (wire->tls && wire->state == OPEN && tls_has_bytes(wire->tls))
            readable = true; /* decrypted already: poll() would not tell */
        else
            outcome = sleep_on(wire, deadline_ms, &readable, why);
        if (outcome != DONE)
            return outcome;
    }
}
