/* address.h - what a store's URL says, and what is needed to get in.
 *
 *     valkey://[user[:pass]@]host[:port][/db]     redis:// alike; valkeys://, rediss:// with TLS
 *     unix:///path/to.sock[?db=N]                 valkey+unix:, redis+unix: alike
 *     local:    local:/dir
 *
 * User and password are percent-decoded; the last '@' before the path ends them. The password is
 * in `password` and nowhere else: neither `shown` nor a message has it. `shown` is canonical: two
 * URLs of one store have the same, whatever their scheme's spelling, port or slashes. */
#ifndef VLOCK_ADDRESS_H
#define VLOCK_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "trouble.h"

enum address_kind { ADDRESS_TCP, ADDRESS_UNIX, ADDRESS_LOCAL };

struct address {
    enum address_kind kind;
    bool tls;            /* ADDRESS_TCP only */
    char host[256];      /* ADDRESS_TCP: name, IPv4, or IPv6 without brackets */
    char port[6];        /* ADDRESS_TCP: decimal, 1 to 65535 */
    char path[4096];     /* ADDRESS_UNIX: the socket; ADDRESS_LOCAL: the directory, absolute, no
                            slash at the end, or empty for this user's own */
    unsigned db;         /* database number, 0 if none is named */
    char user[256];      /* from the URL, decoded; empty: none */
    char password[1024]; /* from the URL, decoded; empty: none */
    char shown[4608];    /* the URL without password, canonical */
};

/* How to get in, wherever it came from. Strings may be NULL: not given. */
struct access {
    const char *user;
    const char *password;
    const char *cacert, *cert, *key, *sni; /* TLS files and server name, as redis-cli names them */
    bool insecure;                         /* TLS without any verification */
    int64_t connect_timeout_ms;            /* for one connection, look-up of the name included */
    int64_t reply_timeout_ms;              /* for one reply */
    void (*wire_log)(void *arg, const char *line); /* -v: what happens on the wire, or NULL */
    void *wire_log_arg;
};

/* With -v: a line about the wire. */
void access_note(const struct access *access, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Parses `url` (blanks around it are trimmed). FAILED/78 with a message that does not repeat
 * the password, *out wiped, on anything that is not such a URL, and on the kinds that are not
 * built yet (sentinel, cluster, several servers). */
enum outcome address_parse(const char *url, struct address *out, struct trouble *why);

/* Overwrites all of it, the password above all. */
void address_wipe(struct address *address);

#endif
