/* wire_part.h - the parts of wire: wire.c has what is asked and answered over a connection,
 * wire_link.c the connection itself. */
#ifndef VLOCK_WIRE_PART_H
#define VLOCK_WIRE_PART_H

#include "dial.h"
#include "expected.h"
#include "outbox.h"
#include "replies.h"
#include "tls.h"
#include "wire.h"

enum wire_state { CLOSED, READING, DIALING, SECURING, OPEN };

struct wire {
    const struct address *address;
    const struct access *access;
    struct loop *loop;
    enum wire_state state;
    struct dial dial;
    int fd;
    struct tls_context *context; /* with TLS: kept from one connection to the next */
    unsigned context_of;         /* the connection (its number) that it was last read for */
    struct tls *tls;
    struct replies replies;
    struct outbox out;
    unsigned number; /* of this connection */
    bool spoken;     /* the server has said something on this connection */
    bool asked;      /* something was sent on it */
    struct expected expected;
    const struct wire_ears *ears; /* see wire_hear() */
    void *ears_arg;
    int64_t reply_ms; /* see wire_reply_within() */
    int64_t limit_ms; /* the connection is to be there, or the reply, by then */
    bool refused;     /* the greeting was: see refusal */
    struct trouble refusal;
    bool resp3; /* HELLO 3 has been accepted */
    enum server_role role;
    bool without_hello; /* this server does not know HELLO: AUTH alone */
    bool mute_at_hello; /* the last connection was closed instead of an answer to HELLO: the next
                           one does without it */
    bool hello;         /* this connection began with HELLO */
    bool answered;      /* see wire_was_answered() */
    bool greets_anew;
};

/* Begins to connect; what is in the outbox goes out then. FAILED as wire_send(). */
enum outcome wire_link_start(struct wire *wire, struct trouble *why);

/* Goes on with whatever is under way: connects, sends, reads if `readable`. Trouble closes the
 * connection: UNSURE if something had been sent, else FAILED. */
enum outcome wire_link_step(struct wire *wire, bool readable, struct trouble *why);

/* Sleeps until something can go on, or until `until_ms`. */
enum wake wire_link_sleep(struct wire *wire, int64_t until_ms, bool *readable);

/* Closes the connection to a server that does not speak as it should. FAILED/76 */
enum outcome wire_link_nonsense(struct wire *wire, const char *what, struct trouble *why);

/* When a reply to what is sent now is late. */
int64_t wire_link_limit(const struct wire *wire);

#endif
