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

/* Whether the server refuses us, whatever we say, for now, or our name and password. Any other
 * refusal of HELLO means that it, or a proxy in between, knows no HELLO: they say so in words of
 * their own. */
static bool refuses_us(const char *error) {
    static const char *const codes[] = {"NOAUTH",
                                        "WRONGPASS",
                                        "DENIED",
                                        "ERR AUTH",
                                        "ERR Client sent AUTH",
                                        "ERR invalid password",
                                        "ERR max number of clients"};

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (refusal_is(error, codes[i]))
            return true;
    return refusal_passes(error);
}

enum greeting_answer greeting_read(const char *command, const redisReply *reply) {
    if (reply->type != REDIS_REPLY_ERROR)
        return GREETING_FINE;
    if (strcmp(command, "SUBSCRIBE") == 0) /* not allowed to: everything else is as it was */
        return GREETING_FINE;
    return strcmp(command, "HELLO") == 0 && !refuses_us(reply->str) ? GREETING_NO_HELLO
                                                                    : GREETING_REFUSED;
}

enum server_role greeting_role(const redisReply *reply) {
    if (reply->type != REDIS_REPLY_MAP)
        return ROLE_UNKNOWN;
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const redisReply *key = reply->element[i], *value = reply->element[i + 1];

        if (key->type == REDIS_REPLY_STRING && value->type == REDIS_REPLY_STRING &&
            strcmp(key->str, "role") == 0)
            return strcmp(value->str, "master") == 0 ? ROLE_PRIMARY : ROLE_REPLICA;
    }
    return ROLE_UNKNOWN;
}

bool greeting_is_answer(const char *command, const redisReply *reply) {
    return reply->type == REDIS_REPLY_PUSH && reply->elements > 0 &&
           reply->element[0]->type == REDIS_REPLY_STRING &&
           ((strcmp(command, "SUBSCRIBE") == 0 &&
             strcmp(reply->element[0]->str, "subscribe") == 0) ||
            (strcmp(command, "SSUBSCRIBE") == 0 &&
             strcmp(reply->element[0]->str, "ssubscribe") == 0));
}
