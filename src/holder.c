#include "holder.h"

#include <stdio.h>
#include <time.h>

#include "duration.h"
#include "token.h"

void holder_when(char text[HOLDER_WHEN_BYTES], int64_t wall_ms) {
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm local;

    if (!localtime_r(&seconds, &local) ||
        !strftime(text, HOLDER_WHEN_BYTES, "%Y-%m-%d %H:%M:%S", &local))
        snprintf(text, HOLDER_WHEN_BYTES, "an unknown time");
}

void holder_left(char text[HOLDER_WHEN_BYTES], int64_t ttl_ms) {
    char span[DURATION_TEXT_BYTES];

    duration_format(span, ttl_ms);
    if (ttl_ms == TTL_NONE)
        snprintf(text, HOLDER_WHEN_BYTES, "never expires");
    else
        snprintf(text, HOLDER_WHEN_BYTES, "%s left", span);
}

void holder_who(char text[HOLDER_WHO_BYTES], const char *token, bool fenced) {
    char shortened[TOKEN_SHORT_BYTES];
    struct token_holder holder;

    if (token_read(token, &holder)) {
        snprintf(text, HOLDER_WHO_BYTES, "pid %ld on host %s", holder.pid, holder.host);
        return;
    }
    token_shorten(shortened, token);
    snprintf(text, HOLDER_WHO_BYTES, "'%s' (%s)", shortened,
             fenced ? "a vlock with --token" : "no vlock token");
}

int64_t holder_since_ms(const struct answer *answer) {
    struct token_holder holder;

    if (answer->since_ms)
        return answer->since_ms;
    return token_read(answer->holder, &holder) ? holder.made_ms : 0;
}

bool holder_is_foreign(const struct answer *answer) {
    struct token_holder holder;

    return !answer->fenced && !token_read(answer->holder, &holder);
}

void holder_describe(char *text, size_t size, const struct answer *answer) {
    char who[HOLDER_WHO_BYTES], when[HOLDER_WHEN_BYTES], left[HOLDER_WHEN_BYTES];
    int64_t since_ms = holder_since_ms(answer);
    struct token_holder holder = {.pid = 0};

    if (answer->no_lock) {
        snprintf(text, size, "the key holds a value of another type, which is no lock");
        return;
    }
    if (answer->ttl_ms == 0) {
        snprintf(text, size, "it is free");
        return;
    }
    if (answer->kept) {
        holder_left(left, answer->ttl_ms);
        snprintf(text, size,
                 "free, but kept for those who wait, or for a holder that the server has "
                 "forgotten: %s",
                 left);
        return;
    }
    token_read(answer->holder, &holder);
    holder_who(who, answer->holder, answer->fenced);
    holder_when(when, since_ms);
    holder_left(left, answer->ttl_ms);
    snprintf(text, size, "held by %s%s%s, %s%s%s%s", who, since_ms ? " since " : "",
             since_ms ? when : "", left, *holder.note ? " (" : "", holder.note,
             *holder.note ? ")" : "");
}
