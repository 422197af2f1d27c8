#include "context.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "duration.h"
#include "sibling.h"
#include "text.h"

extern char **environ;

enum { DEFAULT_TTL_MS = 60000, DEFAULT_TIMEOUT_MS = 5000 };

/* A variable that is set but empty is what a missing CI secret looks like: a lock must not
 * quietly shrink to this machine, nor a token be looked for elsewhere. */
static enum outcome check_environment(struct trouble *why) {
    for (char **at = environ; *at; at++) {
        const char *equals = text_begins(*at, "VLOCK_") ? strchr(*at, '=') : NULL;
        int length = equals ? (int)(equals - *at) : 0;
        if (equals && !equals[1] && !text_begins(*at, "VLOCK_PREFIX="))
            return trouble_say(why, FAILED, EXIT_CONFIG,
                               "%.*s is set but empty: give it a value or unset it", length, *at);
    }
    for (unsigned i = 0; i < 2; i++) {
        static const char *const later[] = {"VLOCK_CONFIG", "VLOCK_PROFILE"};
        if (getenv(later[i]))
            return trouble_say(why, FAILED, EXIT_CONFIG,
                               "%s is set: configuration files are not supported yet", later[i]);
    }
    return DONE;
}

static enum outcome check_name(struct context *ctx, bool from_environment, struct trouble *why) {
    enum exit_status status = EXIT_USAGE;

    if (ctx->options->operand_count > 0)
        ctx->name = ctx->options->operands[0];
    else if (from_environment) {
        ctx->name = getenv("VLOCK_NAME");
        status = EXIT_CONFIG;
    }
    if (!ctx->name)
        return trouble_say(why, FAILED, EXIT_USAGE, "no NAME: say which lock (see 'vlock help %s')",
                           ctx->options->command);
    if (!*ctx->name)
        return trouble_say(why, FAILED, status, "an empty NAME is no lock: give it 1 to 512 bytes");
    if (strlen(ctx->name) > NAME_MAX_BYTES)
        return trouble_say(why, FAILED, status, "NAME is too long: 512 bytes at most");
    if (text_has_control(ctx->name))
        return trouble_say(why, FAILED, status, "NAME has control characters: leave them out");
    ctx->say.name = ctx->name;
    return DONE;
}

/* Joins prefix and NAME, once the prefix is known. */
static enum outcome make_key(struct context *ctx, const char *prefix, enum exit_status status,
                             struct trouble *why) {
    if (text_has_control(prefix))
        return trouble_say(why, FAILED, status, "the prefix has control characters");
    if (strlen(prefix) + strlen(ctx->name) > KEY_MAX_BYTES)
        return trouble_say(why, FAILED, status,
                           "prefix and NAME are too long together: %d bytes "
                           "at most",
                           KEY_MAX_BYTES);
    ctx->prefix = prefix;
    snprintf(ctx->key, sizeof ctx->key, "%s%s", prefix, ctx->name);
    return DONE;
}

static const char *option_or_variable(const struct context *ctx, enum option option,
                                      enum exit_status *status) {
    const char *value = ctx->options->value[option];

    if (status)
        *status = value ? EXIT_USAGE : EXIT_CONFIG;
    if (!value && option_rows[option].variable)
        value = getenv(option_rows[option].variable);
    return value;
}

static enum outcome timeout(const struct context *ctx, enum option option, int64_t *ms,
                            struct trouble *why) {
    const char *value = ctx->options->value[option];
    int64_t read = DEFAULT_TIMEOUT_MS;

    if (value && (!duration_parse(value, &read) || read == 0))
        return options_bad_duration(option, value, EXIT_USAGE, why);
    *ms = read;
    return DONE;
}

enum outcome context_open(struct context *ctx, const struct options *options,
                          const struct child_found *found, bool name_from_environment,
                          struct trouble *why) {
    enum exit_status status;
    const char *prefix;
    enum outcome outcome;

    ctx->options = options;
    ctx->found = found;
    ctx->hold.fd = -1;
    ctx->say.quiet = options->value[OPT_QUIET] != NULL;
    ctx->say.verbose = options->value[OPT_VERBOSE] != NULL;
    ctx->prefix = "";
    loop_init(&ctx->loop);
    outcome = check_name(ctx, name_from_environment, why);
    if (outcome == DONE)
        outcome = check_environment(why);
    prefix = option_or_variable(ctx, OPT_PREFIX, &status);
    if (outcome == DONE)
        outcome = make_key(ctx, prefix ? prefix : "", status, why);
    if (outcome == DONE)
        outcome = timeout(ctx, OPT_CONNECT_TIMEOUT, &ctx->access.connect_timeout_ms, why);
    if (outcome == DONE)
        outcome = timeout(ctx, OPT_REPLY_TIMEOUT, &ctx->access.reply_timeout_ms, why);
    return outcome;
}

static enum outcome read_token_file(struct context *ctx, const char *path, struct trouble *why) {
    enum outcome outcome =
        tokenfile_open(path, &ctx->loop, context_deadline(ctx), &ctx->file, &ctx->hold, why);

    if (outcome != DONE)
        return outcome;
    ctx->token_path = path;
    memcpy(ctx->token, ctx->file.token, sizeof ctx->token);
    ctx->fence = ctx->file.fence;
    if (ctx->file.bare)
        return DONE;
    if (strcmp(ctx->file.name, ctx->name) != 0)
        return trouble_say(why, FAILED, EXIT_DATA, "the token file '%s' is for the lock '%s'", path,
                           ctx->file.name);
    if (!option_or_variable(ctx, OPT_PREFIX, NULL))
        return make_key(ctx, ctx->file.prefix, EXIT_DATA, why);
    if (strcmp(ctx->file.prefix, ctx->prefix) != 0)
        return trouble_say(why, FAILED, EXIT_DATA,
                           "the token file '%s' is for the prefix '%s', not '%s'", path,
                           ctx->file.prefix, ctx->prefix);
    return DONE;
}

/* VLOCK_NAME, VLOCK_FENCE and VLOCK_TTL beside a VLOCK_TOKEN describe that one lock. */
static bool environment_is_of_another(const struct context *ctx) {
    const char *name = getenv("VLOCK_NAME");

    return getenv("VLOCK_TOKEN") && name && strcmp(name, ctx->name) != 0;
}

static enum outcome take_token(struct context *ctx, const char *token, enum exit_status status,
                               struct trouble *why) {
    if (!*token || strlen(token) > TOKEN_MAX_BYTES)
        return trouble_say(why, FAILED, status, "the token is empty or too long: 1 to %d bytes",
                           TOKEN_MAX_BYTES);
    text_copy(ctx->token, sizeof ctx->token, token, strlen(token));
    return DONE;
}

void context_keep_file(struct context *ctx) {
    tokenfile_unlock(&ctx->hold);
}

enum outcome context_token(struct context *ctx, struct trouble *why) {
    const char *token = ctx->options->value[OPT_TOKEN], *fence = getenv("VLOCK_FENCE");
    const char *path = option_or_variable(ctx, OPT_TOKEN_FILE, NULL);
    unsigned long long number;

    if (token)
        return take_token(ctx, token, EXIT_USAGE, why);
    if (path)
        return read_token_file(ctx, path, why);
    token = getenv("VLOCK_TOKEN");
    if (!token || environment_is_of_another(ctx))
        return trouble_say(why, LOST, EXIT_NO_TOKEN,
                           "no token%s: name it with --token-file, --token, VLOCK_TOKEN_FILE or "
                           "VLOCK_TOKEN",
                           token ? " for this lock (VLOCK_TOKEN is another's, see VLOCK_NAME)"
                                 : "");
    if (fence && !text_number(fence, UINT64_MAX, &number))
        return trouble_say(why, FAILED, EXIT_CONFIG, "VLOCK_FENCE is no fence: '%s'", fence);
    if (fence)
        ctx->fence = number;
    return take_token(ctx, token, EXIT_CONFIG, why);
}

/* Reads the password from the first line of a file, or of a pipe that answers soon. */
static enum outcome read_password(struct context *ctx, const char *path, struct trouble *why) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int64_t deadline_ms = context_deadline(ctx);
    size_t length = 0;
    ssize_t got = fd < 0 ? -1 : 1;

    while (got > 0 && length < sizeof ctx->password - 1) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        got = read(fd, ctx->password + length, sizeof ctx->password - 1 - length);
        if (got < 0 && errno == EAGAIN &&
            loop_wait(&ctx->loop, &ready, 1, deadline_ms) == WAKE_READY)
            got = 1; /* nothing yet: once more */
        else if (got > 0)
            length += (size_t)got;
    }
    if (got < 0)
        trouble_say(why, FAILED, EXIT_CONFIG, "cannot read the password file '%s': %s", path,
                    strerror(errno));
    if (fd >= 0)
        close(fd);
    if (got < 0)
        return FAILED;
    if (length == sizeof ctx->password - 1 || memchr(ctx->password, 0, length))
        return trouble_say(why, FAILED, EXIT_CONFIG, "the password file '%s' holds no password",
                           path);
    ctx->password[strcspn(ctx->password, "\r\n")] = '\0';
    if (!*ctx->password)
        return trouble_say(why, FAILED, EXIT_CONFIG,
                           "the first line of the password file '%s' is "
                           "empty",
                           path);
    ctx->access.password = ctx->password;
    return DONE;
}

/* Flags first, then the URL, then the environment. */
static enum outcome find_password(struct context *ctx, struct trouble *why) {
    const char *flag = ctx->options->value[OPT_PASSWORD_FILE];
    const char *file = getenv("VLOCK_PASSWORD_FILE");

    if (flag)
        return read_password(ctx, flag, why);
    if (*ctx->address.password)
        ctx->access.password = ctx->address.password;
    else if (file)
        return read_password(ctx, file, why);
    else
        ctx->access.password = getenv("VLOCK_PASSWORD");
    return DONE;
}

static void find_user(struct context *ctx) {
    ctx->access.user = ctx->options->value[OPT_USER];
    if (!ctx->access.user && *ctx->address.user)
        ctx->access.user = ctx->address.user;
    else if (!ctx->access.user)
        ctx->access.user = getenv("VLOCK_USER");
}

/* Whether `url` names the store at ctx->address, whoever logs in there. */
static bool is_store(const struct context *ctx, const char *url) {
    const struct address *ours = &ctx->address;
    struct address other;

    return address_parse(url, &other, NULL) == DONE && other.kind == ours->kind &&
           other.tls == ours->tls && other.db == ours->db && strcmp(other.host, ours->host) == 0 &&
           strcmp(other.port, ours->port) == 0 && strcmp(other.path, ours->path) == 0;
}

static enum outcome find_address(struct context *ctx, struct trouble *why) {
    const char *url = option_or_variable(ctx, OPT_URL, NULL), *of_file = ctx->file.store;
    enum outcome outcome;

    if (*of_file && ctx->file.doubt && !url)
        return trouble_say(why, FAILED, EXIT_REFUSED,
                           "the token file '%s' %s, so its store is not used: name the store with "
                           "-u or VLOCK_URL",
                           ctx->token_path, ctx->file.doubt);
    if (ctx->file.doubt)
        of_file = "";
    ctx->store_named = url || *of_file;
    outcome = address_parse(url ? url : *of_file ? of_file : "local:", &ctx->address, why);
    if (outcome == DONE && url && *of_file && !is_store(ctx, of_file))
        return trouble_say(why, FAILED, EXIT_DATA,
                           "the token file '%s' is for the store %s, not %s", ctx->token_path,
                           of_file, ctx->address.shown);
    return outcome == DONE ? sibling_become(&ctx->address, ctx->found, why) : outcome;
}

static const char *user_name(char *text, size_t size) {
    const char *user = getenv("LOGNAME");

    if (user && *user)
        return user;
    snprintf(text, size, "with uid %lu", (unsigned long)geteuid());
    return text;
}

enum outcome context_store(struct context *ctx, struct trouble *why) {
    struct access *access = &ctx->access;
    enum outcome outcome = find_address(ctx, why);
    char text[40];

    if (outcome == DONE && ctx->address.kind != ADDRESS_LOCAL)
        outcome = find_password(ctx, why);
    if (outcome != DONE)
        return outcome;
    find_user(ctx);
    access->cacert = option_or_variable(ctx, OPT_CACERT, NULL);
    access->cert = option_or_variable(ctx, OPT_CERT, NULL);
    access->key = option_or_variable(ctx, OPT_KEY, NULL);
    access->sni = option_or_variable(ctx, OPT_SNI, NULL);
    access->insecure = ctx->options->value[OPT_INSECURE] != NULL;
    if (ctx->say.verbose) {
        access->wire_log = say_wire;
        access->wire_log_arg = &ctx->say;
    }
    if (!ctx->store_named)
        say_loud(&ctx->say,
                 "no server is set: this lock covers only user %s on this machine (set VLOCK_URL, "
                 "or -u local: to mean it)",
                 user_name(text, sizeof text));
    return store_open(&ctx->address, access, &ctx->loop, &ctx->store, why);
}

enum outcome context_ttl(const struct context *ctx, int64_t *ttl_ms, bool *given,
                         struct trouble *why) {
    enum exit_status status;
    const char *value = option_or_variable(ctx, OPT_TTL, &status);
    int64_t read = DEFAULT_TTL_MS;

    if (status == EXIT_CONFIG && environment_is_of_another(ctx))
        value = NULL;
    if (value && strcmp(value, "none") == 0)
        read = TTL_NONE;
    else if (value && (!duration_parse(value, &read) || read == 0))
        return options_bad_duration(OPT_TTL, value, status, why);
    *ttl_ms = read;
    *given = value != NULL;
    return DONE;
}

enum outcome context_wait(const struct context *ctx, int64_t *wait_ms, struct trouble *why) {
    enum exit_status status;
    const char *value = option_or_variable(ctx, OPT_WAIT, &status);
    int64_t read = CLOCK_NEVER;

    if (ctx->options->value[OPT_NONBLOCK] && ctx->options->value[OPT_WAIT])
        return trouble_say(why, FAILED, EXIT_USAGE, "-n and -w together: use one of them");
    if (ctx->options->value[OPT_NONBLOCK])
        read = 0;
    else if (value && !duration_parse(value, &read))
        return options_bad_duration(OPT_WAIT, value, status, why);
    *wait_ms = read;
    return DONE;
}

enum outcome context_conflict(const struct context *ctx, int *status, struct trouble *why) {
    const char *value = ctx->options->value[OPT_CONFLICT];
    unsigned long long number = EXIT_BUSY;

    if (value && !text_number(value, 255, &number))
        return trouble_say(why, FAILED, EXIT_USAGE, "bad exit status '%s': use 0 to 255", value);
    *status = (int)number;
    return DONE;
}

int64_t context_deadline(const struct context *ctx) {
    return clock_after(clock_now_ms(),
                       ctx->access.connect_timeout_ms + ctx->access.reply_timeout_ms);
}

int context_end(struct context *ctx, enum outcome outcome, const struct trouble *why) {
    if (outcome != DONE)
        say_trouble(&ctx->say, why);
    context_close(ctx);
    return outcome == DONE ? EXIT_DONE : (int)why->status;
}

void context_close(struct context *ctx) {
    store_close(ctx->store);
    ctx->store = NULL;
    tokenfile_close(&ctx->hold);
    /* The loop's signals stay blocked until the end: what was to be done is done, and a signal that
     * comes now must not make a lock that was handed over look like one that was not. */
    explicit_bzero(ctx->password, sizeof ctx->password);
    explicit_bzero(ctx->address.password, sizeof ctx->address.password);
}
