#include "given.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "duration.h"
#include "held.h"
#include "options.h"
#include "store.h"

static bool set(const char *variable, const char *value) {
    return setenv(variable, value, 1) == 0;
}

/* An option that names a file, for a command that may change its directory. */
static bool set_path(const char *variable, const char *path) {
    char directory[4096], *whole = NULL;
    bool done;

    if (!path || *path == '/')
        return !path || set(variable, path);
    if (!getcwd(directory, sizeof directory) || asprintf(&whole, "%s/%s", directory, path) < 0)
        return false;
    done = set(variable, whole);
    free(whole);
    return done;
}

/* What came as an option is passed on, so that vlock in the command finds the same lock. */
static bool set_options(const struct options *options) {
    static const enum option words[] = {OPT_URL, OPT_PREFIX, OPT_USER, OPT_SNI};
    static const enum option paths[] = {OPT_PASSWORD_FILE, OPT_CACERT, OPT_CERT, OPT_KEY};
    bool done = true;

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (options->value[words[i]] && *options->value[words[i]])
            done = done && set(option_rows[words[i]].variable, options->value[words[i]]);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        done = done && set_path(option_rows[paths[i]].variable, options->value[paths[i]]);
    return done;
}

static bool set_ttl(const struct context *ctx, int64_t ttl_ms, bool borrowed) {
    const char *name = getenv("VLOCK_NAME"), *token = getenv("VLOCK_TOKEN");
    char ttl[DURATION_TEXT_BYTES] = "none";

    if (borrowed)
        return (name && strcmp(name, ctx->name) == 0 && token && strcmp(token, ctx->token) == 0) ||
               unsetenv("VLOCK_TTL") == 0;
    if (ttl_ms != TTL_NONE)
        duration_format(ttl, ttl_ms);
    return set("VLOCK_TTL", ttl);
}

enum outcome given_settle(const struct context *ctx, int64_t ttl_ms, bool borrowed,
                          struct trouble *why) {
    if (!set_ttl(ctx, ttl_ms, borrowed) || !set("VLOCK_NAME", ctx->name) ||
        !set("VLOCK_TOKEN", ctx->token) || unsetenv("VLOCK_TOKEN_FILE") != 0 ||
        !set_options(ctx->options))
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot set up the command's environment: %s",
                           strerror(errno));
    return DONE;
}

enum outcome given_grant(const struct context *ctx, uint64_t fence, bool borrowed,
                         struct trouble *why) {
    char number[24];

    snprintf(number, sizeof number, "%llu", (unsigned long long)fence);
    if (!set("VLOCK_FENCE", number))
        return trouble_say(why, FAILED, EXIT_SYSTEM, "out of memory");
    return borrowed ? DONE : held_add(ctx->name, ctx->token, why);
}
