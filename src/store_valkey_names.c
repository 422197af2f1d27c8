/* store_valkey_names.c - the names of what stands beside a lock: see store_valkey.c. */
#include <stdio.h>
#include <string.h>

#include "store_valkey_part.h"

enum { SLOTS = 16384, MOST_SLOT_TAG = 109758 };

/* What a cluster hashes of `key`: what stands between the first { and the next }, or all of it.
 * True if that is a part, a hash tag. */
static bool has_hash_tag(const char *key) {
    const char *open = strchr(key, '{');

    return open && open[1] != '}' && strchr(open + 1, '}');
}

/* CRC16/XMODEM, as the cluster specification has it. */
static unsigned slot_of(const char *text) {
    unsigned crc = 0;

    for (; *text; text++) {
        crc ^= (unsigned)(unsigned char)*text << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? (crc << 1 ^ 0x1021) & 0xffff : crc << 1;
    }
    return crc % SLOTS;
}

/* The smallest number whose digits have the slot of `key`. Each slot has one below MOST_SLOT_TAG;
 * to find it takes a millisecond or so, which only names pay that hold a } and have no tag. */
static unsigned slot_tag(const char *key) {
    unsigned slot = slot_of(key), tag;
    char digits[12];

    for (tag = 0; tag < MOST_SLOT_TAG; tag++) {
        snprintf(digits, sizeof digits, "%u", tag);
        if (slot_of(digits) == slot)
            break;
    }
    return tag;
}

/* What all names beside the lock `key` begin with. Kept, as one store has to do with one lock, and
 * a hand-off should not wait for this. */
static const struct companions *companions_of(struct valkey *v, const char *key) {
    struct companions *kept = &v->companions;

    if (*kept->prefix && strcmp(kept->key, key) == 0)
        return kept;
    snprintf(kept->key, sizeof kept->key, "%s", key);
    if (has_hash_tag(key))
        snprintf(kept->prefix, sizeof kept->prefix, "%s:vlock2:", key);
    else if (!strchr(key, '}'))
        snprintf(kept->prefix, sizeof kept->prefix, "{%s}:vlock:", key);
    else
        snprintf(kept->prefix, sizeof kept->prefix, "{%u}:vlock3:%s:", slot_tag(key), key);
    return kept;
}

/* Not snprintf: this is done between the end of one command and the start of the next. */
static void name_one(char name[NAME_BYTES], const struct companions *of, const char *what,
                     const char *more) {
    stpcpy(stpcpy(stpcpy(name, of->prefix), what), more);
}

void valkey_name_keys(struct valkey *v, struct keys *keys, const char *key, const char *id) {
    const struct companions *of = companions_of(v, key);

    name_one(keys->fence, of, "fence", "");
    name_one(keys->mark, of, "gone:", id ? id : "");
    name_one(keys->queue, of, "queue", "");
    name_one(keys->waiters, of, "waiters", "");
}
