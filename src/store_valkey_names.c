/* store_valkey_names.c - the names of what stands beside a lock: see store_valkey.c. */
#include <stdio.h>
#include <string.h>

#include "store_valkey_part.h"

/* True if Redis would hash only a part of `key`: between the first { and the next }. */
static bool has_hash_tag(const char *key) {
    const char *open = strchr(key, '{');

    return open && open[1] != '}' && strchr(open + 1, '}');
}

/* Appends `text` at *at, which is moved, as far as it fits before `end`. */
static void add(char **at, const char *end, const char *text) {
    size_t length = strlen(text), room = (size_t)(end - *at) - 1;

    memcpy(*at, text, length < room ? length : room);
    *at += length < room ? length : room;
    **at = '\0';
}

/* Not snprintf: this is done between the end of one command and the start of the next. */
static void name_one(char name[NAME_BYTES], const char *key, const char *what, const char *more) {
    char *at = name, *end = name + NAME_BYTES;
    bool tagged = has_hash_tag(key);

    add(&at, end, tagged ? "" : "{");
    add(&at, end, key);
    add(&at, end, tagged ? ":vlock2:" : "}:vlock:");
    add(&at, end, what);
    add(&at, end, more);
}

void valkey_name_keys(struct keys *keys, const char *key, const char *id) {
    name_one(keys->fence, key, "fence", "");
    name_one(keys->mark, key, "gone:", id ? id : "");
    name_one(keys->queue, key, "queue", "");
    name_one(keys->waiters, key, "waiters", "");
}

void valkey_name_bell(char name[NAME_BYTES], const char *key, const char *id, unsigned database) {
    char number[16], half[BELL_DIGITS + 1];

    snprintf(number, sizeof number, "%u:", database);
    snprintf(half, sizeof half, "%s", id);
    name_one(name, key, number, half);
}
