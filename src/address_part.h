/* address_part.h - the parts of a store's URL: for address.c alone.
 *
 * Each reader below takes its part, checks and decodes it into `out`, or answers FAILED/78 with
 * a sentence that does not repeat what may be a password. */
#ifndef VLOCK_ADDRESS_PART_H
#define VLOCK_ADDRESS_PART_H

#include <stddef.h>
#include <string.h>

#include "address.h"

#define ADDRESS_BLANKS " \t\r\n\v\f"

/* A piece of the URL, in place: nothing that may hold a password is copied about. */
struct span {
    const char *at;
    size_t length;
};

struct reading {
    struct span url; /* all of it */
    size_t scheme;   /* length of the scheme with its ':', 0 as long as it is not known */
    struct address *out;
    struct trouble *why;
};

static inline const char *span_find(struct span s, char c) {
    return s.length ? memchr(s.at, c, s.length) : NULL;
}

static inline const char *span_last(struct span s, char c) {
    return s.length ? memrchr(s.at, c, s.length) : NULL;
}

static inline struct span span_before(struct span s, const char *at) {
    return (struct span){.at = s.at, .length = (size_t)(at - s.at)};
}

static inline struct span span_from(struct span s, const char *at) {
    return (struct span){.at = at, .length = s.length - (size_t)(at - s.at)};
}

static inline bool span_begins(struct span s, const char *prefix) {
    size_t length = strlen(prefix);

    return s.length >= length && memcmp(s.at, prefix, length) == 0;
}

/* Not tolower(3): the user's locale must not change what a URL means. */
static inline char address_lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* FAILED/78: the URL, as far as it can be shown, and `reason`. */
enum outcome address_refuse(const struct reading *r, const char *reason);

/* What stands before the '@': user, or user and password. */
enum outcome address_read_userinfo(const struct reading *r, struct span info);

/* What stands between '@' and '/': a name, an IPv4 address, or an IPv6 address in brackets,
 * and maybe a port (6379 if there is none). */
enum outcome address_read_host(const struct reading *r, struct span place);

/* A database's number, without what leads to it. */
enum outcome address_read_database(const struct reading *r, struct span digits);

/* An absolute path; slashes that repeat or end it are left out ('/' alone leaves nothing). */
enum outcome address_read_path(const struct reading *r, struct span path);

#endif
