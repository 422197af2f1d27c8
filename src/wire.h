/* wire.h - one connection to a server, and the replies that come over it.
 *
 * Commands are queued with wire_send() and leave together: what a fresh connection has to say
 * first (HELLO 3 with AUTH and name) goes out in the same write as the first command, so it
 * costs no round trip of its own. Its answer is read before that command's. If the server
 * refused it, the command behind it was perhaps carried out all the same, as the user that a
 * connection has by default: wire_refused() tells, and the caller must undo it. (The database
 * is not selected here for that reason: each script selects it before it touches a key.)
 *
 * Replies come in order. A reply that nobody waits for any more (the wait was stopped) is dropped
 * when it comes, before the reply to the next command. What the server says unasked (pushes), and
 * the answers to commands that were sent aside, go to the ears while somebody receives or listens.
 */
#ifndef VLOCK_WIRE_H
#define VLOCK_WIRE_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "greeting.h"
#include "loop.h"
#include "trouble.h"

struct wire;

/* Makes a wire without connecting it. NULL: out of memory. */
struct wire *wire_new(const struct address *address, const struct access *access,
                      struct loop *loop);

/* Queues one command, connecting first if need be. Nothing is waited for. FAILED/69 if the
 * connection is refused at once, FAILED/71 without memory, FAILED/78 if a TLS file is no good. */
enum outcome wire_send(struct wire *wire, unsigned argc, const char **argv, const size_t *lengths,
                       struct trouble *why);

/* The same for a command whose answer nobody sleeps for: it goes to ears->on_aside. `argc` is at
 * most WIRE_ASIDE_WORDS, argv[0] must last. */
enum outcome wire_send_aside(struct wire *wire, unsigned argc, const char **argv,
                             struct trouble *why);

/* Begins to connect if there is no connection (any more), as wire_send() does. */
enum outcome wire_connect(struct wire *wire, struct trouble *why);

enum { WIRE_ASIDE_WORDS = 8 };

struct wire_ears {
    void (*on_push)(void *arg, const redisReply *push);
    void (*on_aside)(void *arg, const char *command, const redisReply *reply);
};

/* Who hears pushes and answers to what was sent aside. */
void wire_hear(struct wire *wire, const struct wire_ears *ears, void *arg);

/* The reply to what is sent from now on is waited for no longer than `ms`; 0: struct access'
 * timeout. */
void wire_reply_within(struct wire *wire, int64_t ms);

/* Waits for the reply to the oldest command whose reply was not received yet, until
 * `deadline_ms` and within the timeouts of struct access.
 * DONE     *reply is the caller's: freeReplyObject(). It may be an error reply.
 * UNSURE   the connection broke, or no reply came in time, after something had been sent. A
 *          broken connection is closed; one that is only silent stays.
 * FAILED   /69 no connection came about: nothing was sent. /76 no protocol we know; /77, /78
 *          refused before the command could be read.
 * STOPPED  the loop said so. */
enum outcome wire_receive(struct wire *wire, int64_t deadline_ms, redisReply **reply,
                          struct trouble *why);

/* Waits until something that the ears heard set *enough, or until `until_ms`: DONE. FAILED, UNSURE:
 * the connection is gone. STOPPED. */
enum outcome wire_listen(struct wire *wire, const bool *enough, int64_t until_ms,
                         struct trouble *why);

/* A number for the connection, another one for each; 0: there is none. */
unsigned wire_number(const struct wire *wire);

/* True if the server pushes (RESP3), as far as it has said. */
bool wire_hears_pushes(const struct wire *wire);

/* The role of the server as HELLO said when this connection was made. */
enum server_role wire_role(const struct wire *wire);

/* True if it refuses what it does not know in words. False: it has closed a connection because of
 * HELLO, and may close this one because of another command. */
bool wire_refuses_politely(const struct wire *wire);

/* True if a server, or whatever is in its place, has ever said a word to this process. */
bool wire_was_answered(const struct wire *wire);

/* What the server refused of the greeting of this connection, or NULL. */
const struct trouble *wire_refused(const struct wire *wire);

/* True while a connection is there or on its way. */
bool wire_connected(const struct wire *wire);

/* True, once, if the server turned out not to know HELLO on a connection that needs a password. The
 * caller must wire_drop() that connection and send the command again: the next one says AUTH. */
bool wire_greets_anew(struct wire *wire);

/* Closes the connection; the next wire_send() makes a new one. */
void wire_drop(struct wire *wire);

void wire_free(struct wire *wire);

#endif
