#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"
#include "wire_part.h"

int64_t wire_link_limit(const struct wire *wire) {
    return clock_after(clock_now_ms(), wire->reply_ms);
}

/* The files may have changed since they were read for an earlier connection. */
static enum outcome secure(struct wire *wire, struct trouble *why) {
    wire->state = SECURING;
    if (wire->context_of != wire->number)
        tls_context_reload(wire->context);
    wire->context_of = wire->number;
    return tls_open(wire->fd, wire->address, wire->context, &wire->tls, why);
}

static enum outcome connected(struct wire *wire, int fd, struct trouble *why) {
    dial_end(&wire->dial);
    wire->fd = fd;
    if (wire->address->tls)
        return secure(wire, why);
    wire->state = OPEN;
    wire->limit_ms = wire_link_limit(wire);
    return DONE;
}

static enum outcome dial(struct wire *wire, struct trouble *why) {
    enum outcome outcome;
    int fd;

    wire->state = DIALING;
    outcome = dial_start(&wire->dial, wire->address, &fd, why);
    return outcome == DONE && fd >= 0 ? connected(wire, fd, why) : outcome;
}

/* For the first connection. The server is not dialed before they are loaded. */
static enum outcome read_files(struct wire *wire, struct trouble *why) {
    enum outcome outcome = tls_context_step(wire->context, why);

    if (outcome == STOPPED)
        return DONE; /* not yet */
    wire->context_of = wire->number;
    return outcome == DONE ? dial(wire, why) : outcome;
}

enum outcome wire_link_start(struct wire *wire, struct trouble *why) {
    enum outcome outcome;

    access_note(wire->access, "connect to %s", wire->address->shown);
    wire->limit_ms = clock_after(clock_now_ms(), wire->access->connect_timeout_ms);
    if (!wire->address->tls || wire->context)
        return dial(wire, why);
    wire->state = READING;
    outcome = tls_context_open(wire->access, &wire->context, why);
    return outcome == DONE ? read_files(wire, why) : outcome;
}

/* The connection is gone: whatever was asked on it may have been carried out. */
static enum outcome broken(struct wire *wire, const char *reason, struct trouble *why) {
    enum outcome outcome = wire->asked ? UNSURE : FAILED;
    bool refused = wire->refused, mute = !wire->spoken && !wire->tls;
    struct trouble refusal = wire->refusal;

    /* A proxy may close the connection because of HELLO. A server that is just ending does, too:
     * so the connection behind the next one begins with HELLO again. */
    wire->mute_at_hello = wire->hello && wire->asked && !wire->spoken;
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

enum outcome wire_link_nonsense(struct wire *wire, const char *what, struct trouble *why) {
    enum outcome outcome = trouble_say(why, FAILED, EXIT_PROTOCOL, "%s %s: check the address",
                                       wire->address->shown, what);

    access_note(wire->access, "%s %s", wire->address->shown, what);
    wire_drop(wire);
    return outcome;
}

/* Sends what is queued, as far as the socket takes it. */
static void flush(struct wire *wire) {
    while (!outbox_empty(&wire->out)) {
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
        return wire_link_nonsense(wire, "speaks TLS: use valkeys://", why);
    wire->spoken = wire->answered = true;
    if (!replies_feed(&wire->replies, bytes, (size_t)got))
        return wire_link_nonsense(wire, "answers without end", why);
    return DONE;
}

/* Goes on with whatever is under way. */
enum outcome wire_link_step(struct wire *wire, bool readable, struct trouble *why) {
    enum outcome outcome = DONE;
    int fd = -1;

    if (wire->state == READING) {
        outcome = read_files(wire, why);
    } else if (wire->state == DIALING) {
        outcome = dial_step(&wire->dial, &fd, why);
        if (outcome == DONE && fd >= 0)
            outcome = connected(wire, fd, why);
    }
    if (outcome == DONE && wire->state == SECURING) {
        outcome = tls_handshake(wire->tls, why);
        if (outcome == STOPPED)
            return DONE;
        wire->state = OPEN;
        wire->limit_ms = wire_link_limit(wire);
    }
    if (outcome == DONE && wire->state == OPEN && !outbox_empty(&wire->out))
        flush(wire);
    else if (outcome == DONE && wire->state == OPEN && readable)
        return take_in(wire, why); /* drops the connection itself */
    if (outcome != DONE) {
        outcome = wire->asked ? outcome : FAILED;
        wire_drop(wire);
    }
    return outcome;
}

enum wake wire_link_sleep(struct wire *wire, int64_t until_ms, bool *readable) {
    struct pollfd own = {.fd = wire->fd}, *watched = &own;
    int64_t wake_ms = until_ms;
    unsigned count = 1;
    enum wake wake;

    *readable = true;
    if (wire->tls && wire->state == OPEN && tls_has_bytes(wire->tls))
        return WAKE_READY; /* decrypted already: poll() would not tell */
    if (wire->state == READING)
        watched = tls_context_watch(wire->context, &count);
    else if (wire->state == DIALING)
        watched = dial_watch(&wire->dial, &count, &wake_ms);
    else if (wire->state == SECURING)
        own.events = tls_events(wire->tls);
    else if (wire->tls)
        own.events = POLLIN | (!outbox_empty(&wire->out) ? tls_events(wire->tls) : 0);
    else
        own.events = outbox_empty(&wire->out) ? POLLIN : POLLIN | POLLOUT;
    wake = loop_wait(wire->loop, watched, count, wake_ms);
    *readable = wake == WAKE_READY;
    return wake;
}
