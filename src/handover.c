#include "handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "duration.h"
#include "json.h"
#include "text.h"

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

/* What stands for itself, unquoted, to every reader of such a file that we know of: POSIX shells,
 * zsh, make, docker --env-file, systemd, and the dotenv libraries of node, Python, Ruby and Go.
 * Between them they give a meaning to blanks, to " # $ & ' ( ) ; < > \ ` | ~, and to some bytes
 * beyond ASCII; zsh moreover to = at the beginning and behind a colon. Some more is left out (* ? [
 * ] { } ! ^) that none of them minds today. */
static bool is_dotenv(const char *value) {
    return text_is_plain(value, "._-/:@%+,=") && *value != '=' && !strstr(value, ":=");
}

/* Checks one of the values that are written, or that the reader must know besides: `what`. */
static enum outcome check_value(enum handover_form form, const char *what, const char *value,
                                struct trouble *why) {
    if (form == FORM_DOTENV && !is_dotenv(value))
        return trouble_say(why, FAILED, EXIT_USAGE,
                           "%s has characters that not every reader of a dotenv file takes alike: "
                           "use letters, digits and . _ - / : @ %% + , = (no = at the beginning or "
                           "behind a colon), or another --format",
                           what);
    if (form == FORM_GITHUB && !text_is_utf8(value))
        return trouble_say(
            why, FAILED, EXIT_USAGE,
            "%s is not UTF-8, so the runner would read another one in GITHUB_ENV: use "
            "UTF-8, or another --format",
            what);
    return DONE;
}

static enum outcome check_values(enum handover_form form, const struct context *ctx,
                                 struct trouble *why) {
    enum outcome outcome = check_value(form, "NAME", ctx->name, why);

    if (outcome == DONE)
        outcome = check_value(form, "the prefix", ctx->prefix, why);
    return outcome == DONE ? check_value(form, "the token", ctx->token, why) : outcome;
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
        return check_values(out->form, ctx, why);
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

static void put_variables(FILE *to, const struct context *ctx, const struct lock *lock,
                          const char *ttl) {
    fprintf(to, "VLOCK_NAME=%s\nVLOCK_TOKEN=%s\nVLOCK_FENCE=%llu\nVLOCK_TTL=%s\n", ctx->name,
            lock->token, (unsigned long long)lock->fence, ttl);
}

static void put_json_object(FILE *to, const struct context *ctx, const struct lock *lock) {
    fputs("{\"name\":", to);
    json_string(to, ctx->name);
    fputs(",\"token\":", to);
    json_string(to, lock->token);
    fprintf(to, ",\"fence\":%llu,\"ttl_ms\":", (unsigned long long)lock->fence);
    if (lock->ttl_ms == TTL_NONE)
        fputs("null", to);
    else
        fprintf(to, "%lld", (long long)lock->ttl_ms);
    fputs(",\"store\":", to);
    json_string(to, ctx->address.shown);
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

/* True if what is appended to GITHUB_ENV begins a line of its own. A file that cannot be read may
 * get an empty line, which the runner passes over. */
static bool begins_line(int fd) {
    const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
    const char *path = getenv("GITHUB_ENV");
    struct stat status;
    char last = '\0';
    int readable;

    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0)
        return true;
    readable = path ? open(path, flags) : -1;
    if (readable >= 0) {
        if (pread(readable, &last, 1, status.st_size - 1) != 1)
            last = '\0';
        close(readable);
    }
    return last == '\n';
}

/* In one write: nobody's lines come between. What fits only in part (ENOSPC, EFBIG) is cut off
 * again, as half a line would be joined with the next writer's; not if that was already there. */
static bool write_github(int fd, const char *text, size_t length) {
    struct stat status;
    ssize_t written;
    off_t end;

    do
        written = write(fd, text, length);
    while (written < 0 && errno == EINTR);
    if (written < 0 || (size_t)written == length)
        return written >= 0;
    end = lseek(fd, 0, SEEK_CUR);
    if (end >= written && fstat(fd, &status) == 0 && status.st_size == end)
        (void)!ftruncate(fd, end - written);
    errno = ENOSPC; /* the kernel would say why only if it were asked for the rest */
    return false;
}

/* Has the runner show the token as ***. It decodes %25 in what it reads. */
static bool mask_token(const char *token) {
    char mask[3 * TOKEN_MAX_BYTES + 32] = "::add-mask::";
    size_t used = strlen(mask);
    bool said;

    for (; *token; token++) {
        mask[used++] = *token;
        if (*token == '%') {
            mask[used++] = '2';
            mask[used++] = '5';
        }
    }
    mask[used++] = '\n';
    said = say_answer(mask, used);
    explicit_bzero(mask, sizeof mask);
    return said;
}

static enum outcome give_text(struct handover *handover, const struct context *ctx,
                              const struct lock *lock, struct trouble *why) {
    const bool github = handover->form == FORM_GITHUB;
    char *text = NULL;
    size_t length = 0;
    FILE *to = open_memstream(&text, &length);
    bool given;

    if (!to)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "out of memory");
    if (github && !begins_line(handover->fd))
        putc('\n', to);
    put(to, handover->form, ctx, lock);
    given = fclose(to) == 0;
    if (given && github)
        given = mask_token(lock->token) && write_github(handover->fd, text, length);
    else if (given)
        given = say_answer(text, length);
    if (!given)
        trouble_say(why, FAILED, EXIT_CANNOT_WRITE, "cannot hand over the token: %s",
                    strerror(errno));
    explicit_bzero(text, length);
    free(text);
    return given ? DONE : FAILED;
}

void handover_clear(struct handover *handover, const char *holder) {
    if (handover->form == FORM_FILE && *holder)
        tokenfile_clear(&handover->draft, holder);
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
