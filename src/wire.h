/* wire.h - one connection to a server, and the replies that come over it.
 *
 * Commands are queued with wire_send() and leave together: what a fresh connection has to say
 * first (HELLO 3 with AUTH and name) goes out in the same write as the first command, so it
 * costs no round trip of its own. Its answer is read before that command's. If the server
 * refused it, the command behind it was perhaps carried out all the same, as the user that a
 * connection has by default: wire_refused() tells, and the caller must undo it. (The database
 * is not selected here for that reason: each script selects it before it touches a key.)
 *
 * Replies come in order. A reply that nobody waits for any more (the wait was stopped) is owed:
 * wire_receive() drops it when it comes, before the reply to the next command. */
#ifndef VLOCK_WIRE_H
#define VLOCK_WIRE_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "loop.h"
#include "trouble.h"

struct wire;

/* Makes a wire without connecting it. NULL: out of memory. */
struct wire *wire_new(const struct address *address, const struct access *access,
                      struct loop *loop);

/* Queues one command, connecting first if need be. Nothing is waited for. FAILED/69 if the
 * connection is refused at once, FAILED/71 without memory. */
enum outcome wire_send(struct wire *wire, unsigned argc, const char **argv, const size_t *lengths,
                       struct trouble *why);

/* The reply to what is sent from now on is waited for no longer than `ms`; 0: struct access'
 * timeout. */
void wire_reply_within(struct wire *wire, int64_t ms);

/* Waits for the reply to the oldest command whose reply was not received yet, until
 * `deadline_ms` and within the timeouts of struct access.
 * DONE     *reply is the caller's: freeReplyObject(). It may be an error reply.
 * UNSURE   the connection broke, or no reply came in time, after something had been sent. A
 *          broken connection is closed; one that is only silent stays, its reply owed.
 * FAILED   /69 no connection came about: nothing was sent. /76 no protocol we know; /77, /78
 *          refused before the command could be read.
 * STOPPED  the loop said so; the reply is owed. */
enum outcome wire_receive(struct wire *wire, int64_t deadline_ms, redisReply **reply,
                          struct trouble *why);

/* What the server refused of the greeting of this connection, or NULL. */
const struct trouble *wire_refused(const struct wire *wire);

/* True while a connection is there or on its way. */
bool wire_connected(const struct wire *wire);

/* True if the server turned out not to know HELLO on a connection that needs a password: that
 * connection is closed, the next one will say AUTH, and the command is to be sent again. */
bool wire_greets_anew(struct wire *wire);

/* Closes the connection; the next wire_send() makes a new one. */
void wire_drop(struct wire *wire);

void wire_free(struct wire *wire);

#endif
