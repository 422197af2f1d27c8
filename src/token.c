#include "token.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "clock.h"
#include "text.h"

#define VERSION   "vl1:"
#define HOST_KEEP "._-"
#define NOTE_KEEP "._-/+@,"

enum {
    RANDOM_BYTES = 16,
    RANDOM_DIGITS = 2 * RANDOM_BYTES,
    HOST_MAX_BYTES = 64, /* encoded */
    SHOWN_DIGITS = 8     /* of RANDOM or of a foreign token */
};

/* A token taken apart and decoded. */
struct parts {
    char random[RANDOM_DIGITS + 1];
    struct token_holder holder;
};

static enum outcome random_digits(char digits[RANDOM_DIGITS + 1], struct trouble *why) {
    unsigned char bytes[RANDOM_BYTES];
    ssize_t got;

    /* Up to 256 bytes come whole or not at all; early in a boot a signal may interrupt. */
    do
        got = getrandom(bytes, sizeof bytes, 0);
    while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof bytes)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "the kernel gives no random bits: %s",
                           got < 0 ? strerror(errno) : "too few");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(digits + 2 * i, 3, "%02x", bytes[i]);
    explicit_bzero(bytes, sizeof bytes);
    return DONE;
}

/* Encodes `host` into HOST_MAX_BYTES at most: what is over is left out, whole characters of the
 * encoding at a time. */
static void encode_host(char to[HOST_MAX_BYTES + 1], const char *host) {
    char whole[3 * sizeof((struct token_holder *)NULL)->host];
    size_t used = 0;

    text_percent_encode(whole, sizeof whole, host, HOST_KEEP);
    for (;;) {
        size_t width = whole[used] == '%' ? 3 : 1;

        if (!whole[used] || used + width > HOST_MAX_BYTES)
            break;
        used += width;
    }
    text_copy(to, HOST_MAX_BYTES + 1, whole, used);
}

/* The one place that knows the form. At most "vl1:" 4, RANDOM 32, START 13 (the clock of the
 * kernel cannot be set to more digits), PID 10 (any 32 bits), HOST 64, NOTE 3 * 128, and four
 * ':': 4 + 32 + 13 + 10 + 64 + 384 + 4 = 511, which fits. False if it does not. */
static bool write_token(char token[TOKEN_MAX_BYTES + 1], const struct parts *parts) {
    char host[HOST_MAX_BYTES + 1], note[3 * NOTE_MAX_BYTES + 1];
    int length;

    encode_host(host, parts->holder.host);
    if (!text_percent_encode(note, sizeof note, parts->holder.note, NOTE_KEEP))
        return false;
    length = snprintf(token, TOKEN_MAX_BYTES + 1, VERSION "%s:%lld:%ld:%s:%s", parts->random,
                      (long long)parts->holder.made_ms, parts->holder.pid, host, note);
    return length > 0 && length <= TOKEN_MAX_BYTES;
}

enum outcome token_make(char token[TOKEN_MAX_BYTES + 1], const char *note, struct trouble *why) {
    struct parts parts = {.holder = {.pid = (long)getpid(), .made_ms = clock_wall_ms()}};
    char made[TOKEN_MAX_BYTES + 1];
    enum outcome outcome;

    if (note && !text_copy(parts.holder.note, sizeof parts.holder.note, note, strlen(note)))
        return trouble_say(why, FAILED, EXIT_USAGE, "the note is longer than %d bytes: shorten it",
                           NOTE_MAX_BYTES);
    /* A name that is cut may lack its NUL. A holder without a name is better than no lock. */
    if (gethostname(parts.holder.host, sizeof parts.holder.host - 1) != 0 || !*parts.holder.host)
        snprintf(parts.holder.host, sizeof parts.holder.host, "unknown");
    outcome = random_digits(parts.random, why);
    if (outcome == DONE && !write_token(made, &parts))
        outcome = trouble_say(why, FAILED, EXIT_BUG, "a token became too long");
    if (outcome == DONE)
        memcpy(token, made, sizeof made);
    explicit_bzero(&parts, sizeof parts);
    explicit_bzero(made, sizeof made);
    return outcome;
}

enum outcome token_make_id(char id[REQUEST_ID_BYTES + 1], struct trouble *why) {
    _Static_assert(REQUEST_ID_BYTES == (int)RANDOM_DIGITS, "an id is as random as a token");
    char made[RANDOM_DIGITS + 1];
    enum outcome outcome = random_digits(made, why);

    if (outcome == DONE)
        memcpy(id, made, sizeof made);
    return outcome;
}

/* The field at *at, up to `end` (a ':' or the NUL), and moves *at behind it. */
static bool take_field(const char **at, char end, const char **field, size_t *length) {
    *field = *at;
    *length = strcspn(*at, ":");
    if ((*field)[*length] != end)
        return false;
    *at += *length + (end != '\0');
    return true;
}

static bool take_number(const char **at, int64_t *number) {
    const char *field;
    size_t length;
    char digits[24];
    unsigned long long value;

    if (!take_field(at, ':', &field, &length) || !text_copy(digits, sizeof digits, field, length) ||
        !text_number(digits, INT64_MAX, &value))
        return false;
    *number = (int64_t)value;
    return true;
}

static bool take_text(const char **at, char end, char *to, size_t size) {
    const char *field;
    size_t length;

    return take_field(at, end, &field, &length) && text_percent_decode(to, size, field, length);
}

static bool take_parts(const char *token, struct parts *parts) {
    int64_t pid;

    if (!text_begins(token, VERSION))
        return false;
    token += strlen(VERSION);
    if (!take_text(&token, ':', parts->random, sizeof parts->random) ||
        strspn(parts->random, "0123456789abcdef") != RANDOM_DIGITS ||
        !take_number(&token, &parts->holder.made_ms) || !take_number(&token, &pid) || pid < 1 ||
        pid > INT32_MAX)
        return false;
    parts->holder.pid = (long)pid;
    return take_text(&token, ':', parts->holder.host, sizeof parts->holder.host) &&
           *parts->holder.host &&
           take_text(&token, '\0', parts->holder.note, sizeof parts->holder.note);
}

bool token_read(const char *token, struct token_holder *out) {
    struct parts parts = {0};
    char again[TOKEN_MAX_BYTES + 1];
    /* Ours is only what we would have written ourselves, to the byte: no second spelling of a
       number or an escape, nothing left out, nothing too long. */
    bool ours =
        take_parts(token, &parts) && write_token(again, &parts) && strcmp(again, token) == 0;

    if (ours)
        *out = parts.holder;
    explicit_bzero(&parts, sizeof parts);
    explicit_bzero(again, sizeof again);
    return ours;
}

void token_shorten(char text[TOKEN_SHORT_BYTES], const char *token) {
    struct token_holder holder;
    bool ours = token_read(token, &holder);
    size_t quarter = strlen(token) / 4;
    size_t shown = ours                     ? strlen(VERSION) + SHOWN_DIGITS
                   : quarter < SHOWN_DIGITS ? quarter
                                            : SHOWN_DIGITS;

    /* Not in the middle of a UTF-8 character. */
    while (shown > 0 && ((unsigned char)token[shown] & 0xc0) == 0x80)
        shown--;
    snprintf(text, TOKEN_SHORT_BYTES, "%.*s...", (int)shown, token);
}
