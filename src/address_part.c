#include "address_part.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>

#include "text.h"

/* How much of the URL can be shown: with an '@' the scheme at most, else all that cannot be
 * part of a password whose '@' was forgotten or encoded ('redis://:secret', 'u:p%40host'), and
 * no query, where other tools put a password. A host and its port are no secret. */
static size_t showable(const struct reading *r) {
    struct span url = r->url, rest;
    const char *slashes = memmem(url.at, url.length, "://", 3);
    const char *start = slashes ? slashes + 3 : url.at + r->scheme;
    size_t shown, digits;

    if (span_find(url, '@'))
        return r->scheme;
    rest = span_from(url, start);
    /* The span is no string of its own: strcspn() stops at latest at the string's NUL. */
    shown = strcspn(rest.at, ADDRESS_BLANKS ":?#%");
    if (shown > 0 && shown < rest.length && rest.at[shown] == ':') {
        digits = strspn(rest.at + shown + 1, "0123456789");
        if (digits <= 5 &&
            (shown + 1 + digits >= rest.length || rest.at[shown + 1 + digits] == '/'))
            shown += 1 + strcspn(rest.at + shown + 1, ADDRESS_BLANKS ":?#%");
    }
    return (size_t)(start - url.at) + (shown < rest.length ? shown : rest.length);
}

enum outcome address_refuse(const struct reading *r, const char *reason) {
    size_t shown = showable(r);
    bool all = shown == r->url.length;

    if (shown == 0)
        return trouble_say(r->why, FAILED, EXIT_CONFIG, "bad URL: %s", reason);
    return trouble_say(r->why, FAILED, EXIT_CONFIG, "bad URL '%.*s%s': %s",
                       shown > 200 ? 200 : (int)shown, r->url.at, all && shown <= 200 ? "" : "...",
                       reason);
}

enum outcome address_read_userinfo(const struct reading *r, struct span info) {
    const char *colon = span_find(info, ':');
    struct span user = colon ? span_before(info, colon) : info;
    struct span password = {0};

    if (colon)
        password = span_from(info, colon + 1);
    if (span_find(info, '?') || span_find(info, '#'))
        return address_refuse(r, "'?' and '#' before the '@' are written %3F and %23");
    if (!text_percent_decode(r->out->user, sizeof r->out->user, user.at, user.length))
        return address_refuse(r,
                              "the user is too long, or holds a broken escape: '%' is written %25");
    if (colon && !text_percent_decode(r->out->password, sizeof r->out->password, password.at,
                                      password.length))
        return address_refuse(
            r, "the password is too long, or holds a broken escape: '%' is written %25");
    return DONE;
}

static enum outcome read_port(const struct reading *r, struct span port) {
    char digits[16];
    unsigned long long number;

    if (!text_copy(digits, sizeof digits, port.at, port.length) ||
        !text_number(digits, 65535, &number) || number == 0)
        return address_refuse(r, "the port is not a number from 1 to 65535");
    snprintf(r->out->port, sizeof r->out->port, "%u", (unsigned)number & 0xffffU);
    return DONE;
}

/* What stands in the brackets. The address takes its one canonical form; a zone (RFC 6874 has
 * '%25' before it, people write '%') names one of this machine's interfaces. */
static enum outcome read_ipv6(const struct reading *r, struct span inside) {
    const char *percent = span_find(inside, '%');
    struct span number = percent ? span_before(inside, percent) : inside;
    char text[INET6_ADDRSTRLEN], zone[64] = "";
    struct in6_addr address;

    if (percent) {
        struct span rest = span_from(inside, percent + 1);

        if (span_begins(rest, "25"))
            rest = span_from(rest, rest.at + 2);
        if (rest.length == 0 || !text_copy(zone, sizeof zone, rest.at, rest.length))
            return address_refuse(r, "the zone in the brackets is empty or too long");
        for (const char *c = zone; *c; c++) {
            if (*c == '%' || *c == '[' || *c == '?' || *c == '#')
                return address_refuse(r, "the zone in the brackets is no interface's name");
        }
    }
    if (!text_copy(text, sizeof text, number.at, number.length) ||
        inet_pton(AF_INET6, text, &address) != 1 ||
        !inet_ntop(AF_INET6, &address, text, sizeof text))
        return address_refuse(r, "what stands in the brackets is no IPv6 address");
    snprintf(r->out->host, sizeof r->out->host, "%s%s%s", text, *zone ? "%" : "", zone);
    return DONE;
}

static enum outcome read_name(const struct reading *r, struct span name) {
    if (span_find(name, ','))
        return address_refuse(r, "several servers in one URL are not supported yet: name one");
    if (!text_copy(r->out->host, sizeof r->out->host, name.at, name.length))
        return address_refuse(r, "the host's name is too long");
    if (name.length == 0)
        return address_refuse(r, "the host is missing");
    for (char *c = r->out->host; *c; c++) {
        *c = address_lower(*c);
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789.-_", *c))
            return address_refuse(r, "the host is no name and no address");
    }
    return DONE;
}

enum outcome address_read_host(const struct reading *r, struct span place) {
    bool bracket = span_begins(place, "[");
    const char *end = bracket ? span_find(place, ']') : span_find(place, ':');
    enum outcome outcome;

    if (bracket && !end)
        return address_refuse(r, "the ']' after the IPv6 address is missing");
    if (!bracket && end != span_last(place, ':'))
        return address_refuse(r, "more than one ':': an IPv6 address stands in brackets, as in "
                                 "valkey://[::1]:6379, and '@' ends a password");
    if (!end)
        end = place.at + place.length;
    outcome = bracket ? read_ipv6(r, span_from(span_before(place, end), place.at + 1))
                      : read_name(r, span_before(place, end));
    if (outcome != DONE)
        return outcome;
    place = span_from(place, end + bracket);
    snprintf(r->out->port, sizeof r->out->port, "6379");
    if (place.length == 0)
        return DONE;
    if (place.at[0] != ':')
        return address_refuse(r, "after the ']' comes ':' and the port, or nothing");
    return read_port(r, span_from(place, place.at + 1));
}

enum outcome address_read_database(const struct reading *r, struct span digits) {
    char text[16];
    unsigned long long number;

    if (!text_copy(text, sizeof text, digits.at, digits.length) ||
        !text_number(text, INT_MAX, &number))
        return address_refuse(r, "the database is not a number from 0 to 2147483647");
    r->out->db = (unsigned)number;
    return DONE;
}

enum outcome address_read_path(const struct reading *r, struct span path) {
    char *to = r->out->path;

    if (span_find(path, '#'))
        return address_refuse(r, "'#' in a path is written %23");
    if (!text_percent_decode(r->out->path, sizeof r->out->path, path.at, path.length))
        return address_refuse(r,
                              "the path is too long, or holds a broken escape: '%' is written %25");
    for (const char *c = r->out->path; *c; c++) {
        if (*c != '/' || (c[1] != '/' && c[1] != '\0'))
            *to++ = *c;
    }
    *to = '\0';
    return DONE;
}
