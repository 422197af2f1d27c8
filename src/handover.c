#include "handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "duration.h"

static const struct {
    const char *name;
    enum handover_form form;
    bool needs_store; /* what is read on another machine must not mean this one */
} forms[] = {
    {"shell", FORM_SHELL, false},
    {"json", FORM_JSON, false},
    {"github", FORM_GITHUB, true},
    {"dotenv", FORM_DOTENV, true},
};

void handover_init(struct handover *handover) {
    *handover = (struct handover){.form = FORM_TOKEN, .fd = -1};
    handover->draft.fd = handover->draft.directory = -1;
}

enum outcome handover_choose(struct handover *out, const struct context *ctx, struct trouble *why) {
    const char *format = ctx->options->value[OPT_FORMAT];

    handover_init(out);
    if (format && ctx->options->value[OPT_TOKEN_FILE])
        return trouble_say(why, FAILED, EXIT_USAGE, "--token-file and --format: use one of them");
    if (ctx->options->value[OPT_TOKEN_FILE])
        out->form = FORM_FILE;
    if (!format)
        return DONE;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (strcmp(format, forms[i].name) != 0)
            continue;
        if (forms[i].needs_store && !ctx->options->value[OPT_URL] && !getenv("VLOCK_URL"))
            return trouble_say(why, FAILED, EXIT_CONFIG,
                               "--format %s needs a named store: set VLOCK_URL or -u", format);
        out->form = forms[i].form;
        return DONE;
    }
    return trouble_say(why, FAILED, EXIT_USAGE,
                       "unknown format '%s': use shell, json, github or dotenv", format);
}

static enum outcome prepare_file(struct handover *handover, const struct context *ctx,
                                 int64_t ttl_ms, struct trouble *why) {
    struct tokenfile content = {.ttl_ms = ttl_ms};

    snprintf(content.name, sizeof content.name, "%s", ctx->name);
    snprintf(content.prefix, sizeof content.prefix, "%s", ctx->prefix);
    snprintf(content.token, sizeof content.token, "%s", ctx->token);
    snprintf(content.store, sizeof content.store, "%s", ctx->address.shown);
    return tokenfile_prepare(ctx->options->value[OPT_TOKEN_FILE], &content, &handover->draft, why);
}

static enum outcome prepare_github(struct handover *handover, struct trouble *why) {
    const char *path = getenv("GITHUB_ENV");

    if (!path || !*path)
        return trouble_say(why, FAILED, EXIT_CANNOT_WRITE,
                           "GITHUB_ENV is not set: is this a step of a GitHub workflow?");
    handover->fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (handover->fd < 0)
        return trouble_say(why, FAILED, EXIT_CANNOT_WRITE, "cannot write to GITHUB_ENV '%s': %s",
                           path, strerror(errno));
    return DONE;
}

enum outcome handover_prepare(struct handover *handover, const struct context *ctx, int64_t ttl_ms,
                              const struct child_found *found, struct trouble *why) {
    if (handover->form == FORM_FILE)
        return prepare_file(handover, ctx, ttl_ms, why);
    if (found->closed[1])
        return trouble_say(why, FAILED, EXIT_CANNOT_WRITE,
                           "stdout is closed: the token could not be handed over");
    return handover->form == FORM_GITHUB ? prepare_github(handover, why) : DONE;
}

/* A value as one word of a POSIX shell. */
static void put_shell(FILE *to, const char *value) {
    putc('\'', to);
    for (; *value; value++) {
        if (*value == '\'')
            fputs("'\\''", to);
        else
            putc(*value, to);
    }
    putc('\'', to);
}

/* Length of the well-formed UTF-8 sequence at `s`, 0 if it is none. */
static size_t utf8_length(const unsigned char *s) {
    size_t length = s[0] < 0x80                   ? 1
                    : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
                    : (s[0] & 0xf0) == 0xe0       ? 3
                    : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                                  : 0;

    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return length;
}

/* A JSON string. JSON is UTF-8; a byte that is not becomes the character of its number. */
static void put_json(FILE *to, const char *value) {
    const unsigned char *at = (const unsigned char *)value;

    putc('"', to);
    while (*at) {
        size_t length = utf8_length(at);
        if (*at == '"' || *at == '\\')
            fprintf(to, "\\%c", *at);
        else if (*at < 0x20 || length == 0)
            fprintf(to, "\\u%04x", *at);
        else
            fwrite(at, 1, length, to);
        at += length ? length : 1;
    }
    putc('"', to);
}

static void put_variables(FILE *to, const struct context *ctx, const struct lock *lock,
                          const char *ttl) {
    fprintf(to, "VLOCK_NAME=%s\nVLOCK_TOKEN=%s\nVLOCK_FENCE=%llu\nVLOCK_TTL=%s\n", ctx->name,
            lock->token, (unsigned long long)lock->fence, ttl);
}

static void put_json_object(FILE *to, const struct context *ctx, const struct lock *lock) {
    fputs("{\"name\":", to);
    put_json(to, ctx->name);
    fputs(",\"token\":", to);
    put_json(to, lock->token);
    fprintf(to, ",\"fence\":%llu,\"ttl_ms\":", (unsigned long long)lock->fence);
    if (lock->ttl_ms == TTL_NONE)
        fputs("null", to);
    else
        fprintf(to, "%lld", (long long)lock->ttl_ms);
    fputs(",\"store\":", to);
    put_json(to, ctx->address.shown);
    fputs("}\n", to);
}

static void put_exports(FILE *to, const struct context *ctx, const struct lock *lock,
                        const char *ttl) {
    fputs("export VLOCK_NAME=", to);
    put_shell(to, ctx->name);
    fputs(" VLOCK_TOKEN=", to);
    put_shell(to, lock->token);
    fprintf(to, " VLOCK_FENCE=%llu VLOCK_TTL=%s\n", (unsigned long long)lock->fence, ttl);
}

static void put(FILE *to, enum handover_form form, const struct context *ctx,
                const struct lock *lock) {
    char ttl[DURATION_TEXT_BYTES] = "none";

    if (lock->ttl_ms != TTL_NONE)
        duration_format(ttl, lock->ttl_ms);
    switch (form) {
    case FORM_TOKEN:
        fprintf(to, "%s\n", lock->token);
        break;
    case FORM_SHELL:
        put_exports(to, ctx, lock, ttl);
        break;
    case FORM_JSON:
        put_json_object(to, ctx, lock);
        break;
    case FORM_GITHUB:
    case FORM_DOTENV:
        put_variables(to, ctx, lock, ttl);
        break;
    case FORM_FILE:
        break;
    }
}

static bool write_github(int fd, const char *text, size_t length) {
    ssize_t written;

    do
        written = write(fd, text, length);
    while (written < 0 && errno == EINTR);
    if (written >= 0 && (size_t)written < length)
        errno = ENOSPC;
    return written >= 0 && (size_t)written == length;
}

static enum outcome give_text(struct handover *handover, const struct context *ctx,
                              const struct lock *lock, struct trouble *why) {
    char *text = NULL, mask[TOKEN_MAX_BYTES + 32];
    size_t length = 0;
    FILE *to = open_memstream(&text, &length);
    bool given;

    if (!to)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "out of memory");
    put(to, handover->form, ctx, lock);
    given = fclose(to) == 0;
    if (given && handover->form == FORM_GITHUB) {
        int mask_length = snprintf(mask, sizeof mask, "::add-mask::%s\n", lock->token);
        given = say_answer(mask, (size_t)mask_length) && write_github(handover->fd, text, length);
    } else if (given) {
        given = say_answer(text, length);
    }
    if (!given)
        trouble_say(why, FAILED, EXIT_CANNOT_WRITE, "cannot hand over the token: %s",
                    strerror(errno));
    explicit_bzero(text, length);
    free(text);
    return given ? DONE : FAILED;
}

enum outcome handover_give(struct handover *handover, struct context *ctx, const struct lock *lock,
                           struct trouble *why) {
    if (handover->form == FORM_FILE)
        return tokenfile_publish(&handover->draft, lock->fence, &ctx->loop, context_deadline(ctx),
                                 why);
    return give_text(handover, ctx, lock, why);
}

void handover_end(struct handover *handover) {
    tokenfile_discard(&handover->draft);
    if (handover->fd >= 0)
        close(handover->fd);
    handover->fd = -1;
}
