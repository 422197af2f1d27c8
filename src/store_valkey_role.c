/* store_valkey_role.c - whether the server on the other end is the primary.
 *
 * A primary that was demoted goes on serving the connections that it has. A script that may write
 * it refuses by itself (scripts/head.lua). What a request that only reads (ASK_PEEK) is told may be
 * old there: so the server is asked for its role in the same write, or has just told it with HELLO.
 */
#include <string.h>

#include "store_valkey_part.h"

enum outcome valkey_demoted(struct valkey *v, struct trouble *why) {
    if (!v->served)
        return trouble_say(why, FAILED, EXIT_REFUSED, "%s is a replica: name the primary",
                           v->address->shown);
    access_note(v->access, "%s is a replica by now: connecting anew", v->address->shown);
    v->moved = true;
    wire_drop(v->wire);
    return trouble_say(why, FAILED, EXIT_UNREACHABLE,
                       "%s has become a replica, and the address leads to no other server",
                       v->address->shown);
}

enum outcome valkey_ask_role(struct valkey *v, struct trouble *why) {
    const char *role[] = {"ROLE"};
    enum outcome outcome = wire_connect(v->wire, why);

    valkey_note_connection(v);
    wire_hear(v->wire, &valkey_wait_ears, v);
    v->on.role = ROLE_UNKNOWN;
    if (outcome != DONE || !v->on.asked || v->on.role_refused)
        return outcome;
    return wire_send_aside(v->wire, 1, role, why);
}

void valkey_hear_role(struct valkey *v, const redisReply *reply) {
    v->on.role_refused = reply->type == REDIS_REPLY_ERROR;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
        reply->element[0]->type == REDIS_REPLY_STRING)
        v->on.role = strcmp(reply->element[0]->str, "master") == 0 ? ROLE_PRIMARY : ROLE_REPLICA;
}

enum server_role valkey_role(const struct valkey *v) {
    return v->on.role != ROLE_UNKNOWN ? v->on.role : wire_role(v->wire);
}
