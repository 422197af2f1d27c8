#include "address.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "address_part.h"
#include "text.h"

struct scheme {
    const char *name;
    enum address_kind kind;
    bool tls;
    bool later; /* known, not built yet */
};

static const struct scheme schemes[] = {
    {.name = "valkey", .kind = ADDRESS_TCP},
    {.name = "redis", .kind = ADDRESS_TCP},
    {.name = "valkeys", .kind = ADDRESS_TCP, .tls = true},
    {.name = "rediss", .kind = ADDRESS_TCP, .tls = true},
    {.name = "unix", .kind = ADDRESS_UNIX},
    {.name = "valkey+unix", .kind = ADDRESS_UNIX},
    {.name = "redis+unix", .kind = ADDRESS_UNIX},
    {.name = "local", .kind = ADDRESS_LOCAL},
    {.name = "valkey+sentinel", .later = true},
    {.name = "redis+sentinel", .later = true},
    {.name = "valkeys+sentinel", .later = true},
    {.name = "rediss+sentinel", .later = true},
    {.name = "valkey+cluster", .later = true},
    {.name = "redis+cluster", .later = true},
    {.name = "valkeys+cluster", .later = true},
    {.name = "rediss+cluster", .later = true},
};

/* The scheme that `url` begins with, its ':' included, or NULL. */
static const struct scheme *find_scheme(struct span url) {
    const char *colon = span_find(url, ':');

    for (size_t i = 0; colon && i < sizeof schemes / sizeof *schemes; i++) {
        const char *name = schemes[i].name;
        size_t at = 0;

        while (name[at] && address_lower(url.at[at]) == name[at])
            at++;
        if (!name[at] && url.at + at == colon)
            return &schemes[i];
    }
    return NULL;
}

/* Blanks and control characters, anywhere: nothing good comes of a URL with a line end in it. */
static enum outcome check_bytes(const struct reading *r) {
    const char *end = r->url.at + r->url.length;

    for (const char *c = r->url.at; c < end; c++) {
        if (strchr(ADDRESS_BLANKS, *c)) {
            c += strspn(c, ADDRESS_BLANKS);
            return address_refuse(r,
                                  find_scheme(span_from(r->url, c))
                                      ? "a quorum of several servers is not supported yet: name one"
                                      : "a blank inside it: write it as %20");
        }
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return address_refuse(r, "a control character inside it: write it percent-encoded");
    }
    return DONE;
}

/* Splits what follows the '//' at its first '/'. The last '@' before that ends the user and
 * password, which may hold an '@' that nobody encoded. *place is what is left of the authority,
 * *path begins with the '/' or is empty. */
static enum outcome read_authority(const struct reading *r, struct span rest, struct span *place,
                                   struct span *path) {
    const char *slash = span_find(rest, '/');
    struct span authority = slash ? span_before(rest, slash) : rest;
    const char *at = span_last(authority, '@');

    *path = span_from(rest, authority.at + authority.length);
    *place = at ? span_from(authority, at + 1) : authority;
    return at ? address_read_userinfo(r, span_before(authority, at)) : DONE;
}

/* Writes the URL as we show it: `user` percent-encoded, the password nowhere. */
static enum outcome show(const struct reading *r, const char *scheme, const char *place,
                         const char *query) {
    struct address *a = r->out;
    char user[3 * sizeof a->user], path[sizeof a->shown];
    int length;

    if (!text_percent_encode(user, sizeof user, a->user, "-._~") ||
        !text_percent_encode(path, sizeof path, a->path, "/-._~@+=,:"))
        return address_refuse(r, "it is too long");
    length = snprintf(a->shown, sizeof a->shown, "%s%s%s%s%s%s", scheme, user, *user ? "@" : "",
                      place, path, query);
    return (size_t)length < sizeof a->shown ? DONE : address_refuse(r, "it is too long");
}

static enum outcome show_tcp(const struct reading *r) {
    struct address *a = r->out;
    bool ipv6 = strchr(a->host, ':');
    size_t number = strcspn(a->host, "%");
    const char *zone = a->host + number;
    char place[sizeof a->host + 32], db[16] = "";

    /* In a URL the zone's '%' is itself escaped (RFC 6874). */
    snprintf(place, sizeof place, "%s%.*s%s%s%s:%s", ipv6 ? "[" : "", (int)number, a->host,
             *zone ? "%25" : "", *zone ? zone + 1 : "", ipv6 ? "]" : "", a->port);
    if (a->db)
        snprintf(db, sizeof db, "/%u", a->db);
    return show(r, a->tls ? "valkeys://" : "valkey://", place, db);
}

static enum outcome read_tcp(const struct reading *r, struct span rest) {
    struct span place, path, tail;
    enum outcome outcome;

    if (!span_begins(rest, "//"))
        return address_refuse(r, "no '//' after the scheme: write valkey://HOST");
    outcome = read_authority(r, span_from(rest, rest.at + 2), &place, &path);
    if (outcome != DONE)
        return outcome;
    tail = span_from(r->url, place.at);
    if (span_find(tail, '@'))
        return address_refuse(
            r, "an '@' behind the first '/': in a user or password '/' is written %2F");
    if (span_find(tail, '?') || span_find(tail, '#'))
        return address_refuse(
            r, "neither '?' nor '#' means anything here: the database is written /N, "
               "all else has its option");
    outcome = address_read_host(r, place);
    if (outcome == DONE && path.length > 1)
        outcome = address_read_database(r, span_from(path, path.at + 1));
    return outcome == DONE ? show_tcp(r) : outcome;
}

/* The socket's path, and behind it maybe '?db=N'. */
static enum outcome read_socket(const struct reading *r, struct span path) {
    const size_t room = sizeof((struct sockaddr_un *)NULL)->sun_path;
    const char *query = span_find(path, '?');

    if (query && !span_begins(span_from(path, query), "?db="))
        return address_refuse(r, "only '?db=N' may stand behind the socket's path");
    if (query && address_read_database(r, span_from(path, query + strlen("?db="))) != DONE)
        return FAILED;
    if (address_read_path(r, query ? span_before(path, query) : path) != DONE)
        return FAILED;
    if (!*r->out->path)
        return address_refuse(r, "the socket's path is missing: write unix:///path/to.sock");
    if (strlen(r->out->path) >= room)
        return address_refuse(r, "the socket's path is longer than the system's 107 bytes");
    return DONE;
}

static enum outcome read_unix(const struct reading *r, struct span rest) {
    struct span place = {0}, path = rest;
    char db[16] = "";

    /* As in redis-py, a user and a password may stand in unix://user:pass@/path.sock. */
    if (span_begins(rest, "//") &&
        read_authority(r, span_from(rest, rest.at + 2), &place, &path) != DONE)
        return FAILED;
    if (place.length > 0 || !span_begins(path, "/"))
        return address_refuse(r, "the socket's path is absolute: write unix:///path/to.sock");
    if (read_socket(r, path) != DONE)
        return FAILED;
    if (r->out->db)
        snprintf(db, sizeof db, "?db=%u", r->out->db);
    return show(r, "unix://", "", db);
}

static enum outcome read_local(const struct reading *r, struct span rest) {
    enum outcome outcome;

    /* 'local://dir' would be the directory /dir to us and a host called dir to everybody else. */
    if (span_begins(rest, "//") && !span_begins(rest, "///"))
        return address_refuse(r, "local: takes no host: write 'local:' or 'local:/dir'");
    if (rest.length > 0 && !span_begins(rest, "/"))
        return address_refuse(r, "local: takes an absolute directory");
    if (span_find(rest, '?'))
        return address_refuse(r, "'?' in a path is written %3F");
    outcome = address_read_path(r, rest);
    if (outcome != DONE)
        return outcome;
    /* An empty path is this user's own directory: 'local:/' must never turn into that. */
    if (rest.length > 0 && !*r->out->path)
        return address_refuse(r, "the root directory is no place for locks: write 'local:/dir'");
    return show(r, "local:", "", "");
}

static enum outcome read_url(struct reading *r) {
    const struct scheme *scheme = find_scheme(r->url);
    struct span rest;

    if (scheme)
        r->scheme = strlen(scheme->name) + 1;
    rest = span_from(r->url, r->url.at + r->scheme);
    if (check_bytes(r) != DONE)
        return FAILED;
    if (!scheme)
        return address_refuse(r, "no scheme that vlock knows: write valkey://HOST (valkeys:// for "
                                 "TLS), unix:///path/to.sock, local: or local:/dir");
    if (scheme->later)
        return trouble_say(r->why, FAILED, EXIT_CONFIG,
                           "'%s://' is not supported yet: name the server itself, valkey://HOST",
                           scheme->name);
    r->out->kind = scheme->kind;
    r->out->tls = scheme->tls;
    switch (scheme->kind) {
    case ADDRESS_TCP:
        return read_tcp(r, rest);
    case ADDRESS_UNIX:
        return read_unix(r, rest);
    case ADDRESS_LOCAL:
        return read_local(r, rest);
    }
    return FAILED;
}

/* All empty; the texts are large, and most of them stay so. */
static void clear(struct address *address) {
    address->kind = 0;
    address->tls = false;
    address->db = 0;
    *address->host = *address->port = *address->path = '\0';
    *address->user = *address->password = *address->shown = '\0';
}

enum outcome address_parse(const char *url, struct address *out, struct trouble *why) {
    struct reading reading = {.out = out, .why = why};
    enum outcome outcome;

    clear(out);
    url += strspn(url, ADDRESS_BLANKS);
    reading.url = (struct span){.at = url, .length = strlen(url)};
    while (reading.url.length > 0 && strchr(ADDRESS_BLANKS, url[reading.url.length - 1]))
        reading.url.length--;
    if (reading.url.length == 0)
        return trouble_say(why, FAILED, EXIT_CONFIG,
                           "the store's URL is empty: set it, or write local: for this machine");
    outcome = read_url(&reading);
    if (outcome != DONE)
        address_wipe(out);
    return outcome;
}

void address_wipe(struct address *address) {
    explicit_bzero(address, sizeof *address);
}

void access_note(const struct access *access, const char *format, ...) {
    char line[1024];
    va_list args;

    if (!access->wire_log)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    access->wire_log(access->wire_log_arg, line);
}
