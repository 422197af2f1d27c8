#include "held.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store.h"
#include "text.h"

enum { ENCODED_TOKEN_BYTES = 3 * TOKEN_MAX_BYTES + 1, ENCODED_NAME_BYTES = 3 * NAME_MAX_BYTES + 1 };

/* Decodes the entry at `entry`; returns the one after it, or NULL at the end. */
static const char *next_entry(const char *entry, bool *well_formed, char name[NAME_MAX_BYTES + 1],
                              char token[TOKEN_MAX_BYTES + 1]) {
    size_t length = strcspn(entry, ",");
    const char *equals = memchr(entry, '=', length);
    const char *value = equals ? equals + 1 : NULL;

    *well_formed =
        equals && equals > entry &&
        text_percent_decode(name, NAME_MAX_BYTES + 1, entry, (size_t)(equals - entry)) &&
        text_percent_decode(token, TOKEN_MAX_BYTES + 1, value, length - (size_t)(value - entry)) &&
        *token;
    return entry[length] == ',' ? entry + length + 1 : NULL;
}

bool held_has(const char *name, const char *token) {
    const char *entry = getenv("VLOCK_HELD");
    char of[NAME_MAX_BYTES + 1], each[TOKEN_MAX_BYTES + 1];
    bool well_formed;

    while (entry) {
        entry = next_entry(entry, &well_formed, of, each);
        if (well_formed && strcmp(of, name) == 0 && strcmp(each, token) == 0)
            return true;
    }
    return false;
}

bool held_token(const char *name, char *out, size_t bytes) {
    const char *entry = getenv("VLOCK_HELD");
    char of[NAME_MAX_BYTES + 1], each[TOKEN_MAX_BYTES + 1], last[TOKEN_MAX_BYTES + 1] = "";
    bool well_formed;

    while (entry) {
        entry = next_entry(entry, &well_formed, of, each);
        if (well_formed && strcmp(of, name) == 0)
            memcpy(last, each, sizeof last);
    }
    return *last && strlen(last) < bytes && text_copy(out, bytes, last, strlen(last));
}

enum outcome held_check(struct trouble *why) {
    const char *entry = getenv("VLOCK_HELD");
    char of[NAME_MAX_BYTES + 1], each[TOKEN_MAX_BYTES + 1];
    bool well_formed = true;

    while (entry && well_formed)
        entry = next_entry(entry, &well_formed, of, each);
    return well_formed ? DONE
                       : trouble_say(why, FAILED, EXIT_CONFIG,
                                     "VLOCK_HELD is malformed: only vlock run sets it, unset it");
}

enum outcome held_add(const char *name, const char *token, struct trouble *why) {
    const char *before = getenv("VLOCK_HELD");
    char encoded_name[ENCODED_NAME_BYTES], encoded_token[ENCODED_TOKEN_BYTES];
    char *whole = NULL;
    bool added;

    text_percent_encode(encoded_name, sizeof encoded_name, name, "-._/");
    text_percent_encode(encoded_token, sizeof encoded_token, token, "-._:");
    if (asprintf(&whole, "%s%s%s=%s", before ? before : "", before ? "," : "", encoded_name,
                 encoded_token) < 0)
        whole = NULL;
    added = whole && setenv("VLOCK_HELD", whole, 1) == 0;
    free(whole);
    return added ? DONE : trouble_say(why, FAILED, EXIT_SYSTEM, "out of memory");
}
