#include "refusal.h"

#include <stddef.h>
#include <string.h>

#include "text.h"

/* `code` is the first word of the error. Where a script passed the error on, old servers put
 * it after "@user_script:LINE: -". */
static const struct refusal {
    const char *code;
    enum exit_status status;
    const char *advice;
} refusals[] = {
    {"NOAUTH", EXIT_REFUSED, "it wants a password: see --password-file and --user"},
    {"ERR Protocol error: unauthenticated", EXIT_REFUSED,
     "it wants a password: see --password-file and --user"},
    {"WRONGPASS", EXIT_REFUSED, "check user and password"},
    {"NOPERM", EXIT_REFUSED, "the server's administrator has to allow it (ACL)"},
    {"ERR The user executing the script", EXIT_REFUSED,
     "the server's administrator has to allow it (ACL)"},
    {"ERR ACL failure", EXIT_REFUSED, "the server's administrator has to allow it (ACL)"},
    {"DENIED", EXIT_REFUSED, "the server takes no connections from here"},
    {"READONLY", EXIT_REFUSED, "it is a replica: name the primary"},
    {"OOM", EXIT_REFUSED, "the server is out of memory: raise its maxmemory"},
    {"MISCONF", EXIT_REFUSED, "the server cannot save to its disk: mend that first"},
    {"NOREPLICAS", EXIT_UNREACHABLE, "too few replicas are connected to the server"},
    {"LOADING", EXIT_UNREACHABLE, "it is loading its data: try again soon, or wait with -w"},
    {"BUSY", EXIT_UNREACHABLE, "a script of someone else is running there"},
    {"MASTERDOWN", EXIT_UNREACHABLE, "its primary is down"},
    {"TRYAGAIN", EXIT_UNREACHABLE, "the cluster is moving the key: try again"},
    {"CLUSTERDOWN", EXIT_UNREACHABLE, "the cluster is down"},
    {"MOVED", EXIT_CONFIG, "it is part of a cluster: clusters are not supported yet"},
    {"CROSSSLOT", EXIT_USAGE, "this name cannot be locked on a cluster"},
    {"ERR max number of clients", EXIT_UNREACHABLE, "raise its maxclients"},
    {"ERR DB index", EXIT_CONFIG, "it has no such database: check the URL"},
    {"ERR SELECT is not allowed", EXIT_CONFIG, "it has only database 0"},
    {"ERR AUTH", EXIT_REFUSED, "it wants no password, or another form of it"},
    {"ERR Client sent AUTH", EXIT_REFUSED, "it wants no password"},
    {"WRONGTYPE", EXIT_PROTOCOL, "the key holds something that is no lock: choose another name"},
};

/* The error's own words, behind what a script that passed it on has put in front. */
static const char *words(const char *error) {
    const char *inner = strstr(error, "@user_script:");

    if (!text_begins(error, "ERR Error running script") || !inner)
        return error;
    inner += strlen("@user_script:");
    inner += strspn(inner, " 0123456789:@user_script");
    return *inner == '-' ? inner + 1 : inner;
}

/* Of "unknown command" errors only the beginning: servers repeat the arguments in them, and ours
 * hold tokens and passwords. Nor is the script's hash and line, which stand at the end, for
 * people. */
int refusal_length(const char *error) {
    static const char tail[] = " script: ";
    const char *arguments = strstr(error, "with args"), *end = strstr(error, ", on @user_script");

    if (strstr(error, "unknown command") || arguments) {
        size_t first = strcspn(error, ",");
        return (int)(first < 80 ? first : 80);
    }
    while (end && end > error && strncmp(end, tail, sizeof tail - 1) != 0)
        end--;
    return (int)(end && end > error ? (size_t)(end - error) : strlen(error));
}

bool refusal_is(const char *error, const char *code) {
    const char *at = words(error);
    size_t length = strlen(code);

    return strncmp(at, code, length) == 0 && (at[length] == ' ' || at[length] == '\0');
}

bool refusal_may_pass(const char *error) {
    return refusal_is(error, "OOM") || refusal_is(error, "MISCONF");
}

static const struct refusal *find(const char *error) {
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        if (refusal_is(error, refusals[i].code))
            return &refusals[i];
    return NULL;
}

bool refusal_passes(const char *error) {
    const struct refusal *found = find(error);

    return found && found->status == EXIT_UNREACHABLE;
}

enum outcome refusal_say(struct trouble *why, const char *address, const char *request,
                         const char *error) {
    const struct refusal *found = find(error);

    if (!found && (strstr(error, "unknown command") || strstr(error, "wrong number of arg")))
        return trouble_say(why, FAILED, EXIT_PROTOCOL,
                           "%s answered '%.*s' to %s: it runs no scripts, so it cannot keep locks",
                           address, refusal_length(error), error, request);
    if (!found)
        return trouble_say(why, FAILED, EXIT_PROTOCOL,
                           "%s answered '%.*s' to %s: is it a lock server?", address,
                           refusal_length(error), error, request);
    return trouble_say(why, FAILED, found->status, "%s refused %s: %.*s: %s", address, request,
                       refusal_length(words(error)), words(error), found->advice);
}
