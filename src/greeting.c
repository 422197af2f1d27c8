#include "greeting.h"

#include <string.h>

#include "refusal.h"

/* A user without a password counts too: the server knows whether that will do. */
bool greeting_logs_in(const struct access *access) {
    return (access->password && *access->password) || (access->user && *access->user);
}

/* If the server does not accept the user, the connection stays what it was: perhaps one of a
 * default user who may do everything, in whose name the command behind would be done. But it
 * stays in RESP2 then, where a connection that has subscribed to something runs no other
 * commands; in RESP3, after a HELLO that succeeded, it does. So this subscription makes the
 * server itself drop what must not happen, without a round trip for its answer. */
static const struct greeting_command guard = {.words = {"SUBSCRIBE", "vlock:guard"},
                                              .count = 2,
                                              .shown = "SUBSCRIBE vlock:guard"};

unsigned greeting_commands(const struct access *access, bool without_hello,
                           struct greeting_command out[GREETING_COMMANDS]) {
    const char *user = access->user && *access->user ? access->user : NULL;
    const char *password = access->password ? access->password : "";

    if (!greeting_logs_in(access)) {
        out[0] = (struct greeting_command){.words = {"HELLO", "3", "SETNAME", "vlock"},
                                           .count = 4,
                                           .shown = "HELLO 3 SETNAME vlock"};
        return without_hello ? 0 : 1;
    }
    if (without_hello) {
        out[0] = (struct greeting_command){.words = {"AUTH", user ? user : password, password},
                                           .count = user ? 3 : 2,
                                           .shown = "AUTH (password)"};
        return 1;
    }
    out[0] = (struct greeting_command){.words = {"HELLO", "3", "AUTH", user ? user : "default",
                                                 password, "SETNAME", "vlock"},
                                       .count = 7,
                                       .shown = "HELLO 3 AUTH (user) (password) SETNAME vlock"};
    out[1] = guard;
    return user ? 2 : 1;
}

static bool knows_no_hello(const char *error) {
    return strstr(error, "unknown command") || refusal_is(error, "NOPROTO") ||
           strstr(error, "unsupported command") || strstr(error, "wrong number of arg");
}

enum greeting_answer greeting_read(const char *command, const redisReply *reply) {
    if (reply->type != REDIS_REPLY_ERROR)
        return GREETING_FINE;
    if (strcmp(command, "SUBSCRIBE") == 0) /* not allowed to: everything else is as it was */
        return GREETING_FINE;
    return strcmp(command, "HELLO") == 0 && knows_no_hello(reply->str) ? GREETING_NO_HELLO
                                                                       : GREETING_REFUSED;
}

bool greeting_is_answer(const char *command, const redisReply *reply) {
    return reply->type == REDIS_REPLY_PUSH && strcmp(command, "SUBSCRIBE") == 0 &&
           reply->elements > 0 && reply->element[0]->type == REDIS_REPLY_STRING &&
           strcmp(reply->element[0]->str, "subscribe") == 0;
}
