/* greeting.h - what a fresh connection says before anything else: HELLO 3, with AUTH and our
 * name in it; to a server that does not know HELLO only AUTH. */
#ifndef VLOCK_GREETING_H
#define VLOCK_GREETING_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "address.h"

enum { GREETING_WORDS = 7, GREETING_COMMANDS = 2 };

struct greeting_command {
    const char *words[GREETING_WORDS];
    unsigned count;
    const char *shown; /* the same without user and password */
};

/* Fills `out` and returns how many commands there are, 0 to GREETING_COMMANDS. */
unsigned greeting_commands(const struct access *access, bool without_hello,
                           struct greeting_command out[GREETING_COMMANDS]);

/* True if there is somebody to log in as. */
bool greeting_logs_in(const struct access *access);

/* What the answer to a greeting command means. */
enum greeting_answer {
    GREETING_FINE,
    GREETING_NO_HELLO, /* the server knows no HELLO: it wants the older greeting */
    GREETING_REFUSED   /* reply->str says why */
};

/* Reads the answer to the command whose first word is `command`. */
enum greeting_answer greeting_read(const char *command, const redisReply *reply);

/* Whether the server may be written to, as it says itself. */
enum server_role { ROLE_UNKNOWN, ROLE_PRIMARY, ROLE_REPLICA };

/* Reads the role from the answer to HELLO. */
enum server_role greeting_role(const redisReply *reply);

/* True if the push `reply` is the answer to `command`, as it is in RESP3 to SUBSCRIBE and
 * SSUBSCRIBE. */
bool greeting_is_answer(const char *command, const redisReply *reply);

#endif
