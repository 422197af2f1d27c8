#include "address.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fuzz.h"
#include "text.h"

static struct address address;
static struct trouble why;

static bool parses(const char *url) {
    why = (struct trouble){0};
    return address_parse(url, &address, &why) == DONE;
}

/* What `url` shows as; "" if it is refused. */
static bool shown_as(const char *url, const char *shown) {
    bool same = parses(url) && strcmp(address.shown, shown) == 0;
    char line[80];

    text_printable(line, sizeof line, url);
    return check(same, "'%s' is %s%s%s", line, shown,
                 same ? "" : " not: ", same ? "" : address.shown);
}

static bool refused(const char *url, const char *because) {
    struct address nothing;
    char line[80];
    bool well;

    text_printable(line, sizeof line, url);
    memset(&nothing, 0, sizeof nothing);
    well = !parses(url) && why.status == EXIT_CONFIG && strstr(why.text, because) &&
           memcmp(&address, &nothing, sizeof nothing) == 0;
    return check(well, "'%s' is refused: ...%s...%s%s", line, because,
                 well ? "" : " not: ", well ? "" : why.text);
}

static void test_canonical(void) {
    shown_as("redis://:pw@H/", "valkey://h:6379");
    shown_as("valkey://h", "valkey://h:6379");
    shown_as("VALKEY://Host.Example:06380/0", "valkey://host.example:6380");
    shown_as("redis://h/2", "valkey://h:6379/2");
    shown_as("redis://h:65535/2147483647", "valkey://h:65535/2147483647");
    shown_as("rediss://user:secret@h", "valkeys://user@h:6379");
    shown_as("valkeys://us%65r%20x@h", "valkeys://user%20x@h:6379");
    shown_as(" \t valkey://h \n", "valkey://h:6379");
    shown_as("redis://[::1]", "valkey://[::1]:6379");
    shown_as("redis://u:p@[2001:DB8:0::1]:7/3", "valkey://u@[2001:db8::1]:7/3");
    shown_as("redis://[fe80::1%25eth0]", "valkey://[fe80::1%25eth0]:6379");
    shown_as("redis://[fe80::1%eth0]", "valkey://[fe80::1%25eth0]:6379");
    check(strcmp(address.host, "fe80::1%eth0") == 0, "and the resolver gets '%%eth0'");
    shown_as("unix:///run/valkey.sock", "unix:///run/valkey.sock");
    shown_as("unix:/run//valkey.sock/", "unix:///run/valkey.sock");
    shown_as("valkey+unix:///s?db=2", "unix:///s?db=2");
    shown_as("redis+unix:///s?db=0", "unix:///s");
    shown_as("unix://u:p@/s", "unix://u@/s");
    shown_as("unix:///a%20b@c", "unix:///a%20b@c");
    shown_as("local:", "local:");
    shown_as("local:/srv//locks/", "local:/srv/locks");
    shown_as("local:///srv/locks", "local:/srv/locks");
}

static void test_parts(void) {
    check(parses("redis://al%40ice:p%3Aw%2F@h:1/9") && strcmp(address.user, "al@ice") == 0 &&
              strcmp(address.password, "p:w/") == 0 && strcmp(address.host, "h") == 0 &&
              strcmp(address.port, "1") == 0 && address.db == 9 && !address.tls &&
              address.kind == ADDRESS_TCP,
          "user and password are decoded, the rest is in its place");
    check(parses("redis://u:p@ss:w@h/1@") == false && parses("redis://u:p@ss:w@h/1") &&
              strcmp(address.password, "p@ss:w") == 0 && strcmp(address.host, "h") == 0,
          "the last '@' before the path ends the password");
    check(parses("rediss://h") && address.tls && parses("valkeys://h") && address.tls &&
              parses("valkey://h") && !address.tls,
          "TLS is what the scheme says");
    check(parses("unix:///s?db=3") && address.kind == ADDRESS_UNIX && address.db == 3 &&
              strcmp(address.path, "/s") == 0,
          "a socket has a path and a database");
    check(parses("local:/d%20e") && address.kind == ADDRESS_LOCAL &&
              strcmp(address.path, "/d e") == 0,
          "a directory is decoded");
    check(parses("local:") && address.kind == ADDRESS_LOCAL && !*address.path,
          "local: alone names no directory");
    address_wipe(&address);
    check(!*address.shown, "address_wipe() leaves nothing");
}

static void test_refused(void) {
    refused("", "empty");
    refused(" \t\n", "empty");
    refused("h:6379", "no scheme");
    refused("http://h", "no scheme");
    refused("local", "no scheme");
    refused("redis:h", "write valkey://HOST");
    refused("redis://", "host is missing");
    refused("redis:///2", "host is missing");
    refused("redis://:6379", "host is missing");
    refused("redis://h:", "the port");
    refused("redis://h:0", "the port");
    refused("redis://h:65536", "the port");
    refused("redis://h:+1", "the port");
    refused("redis://h:99999999999999999999", "the port");
    refused("redis://h/x", "the database");
    refused("redis://h/2147483648", "the database");
    refused("redis://h/1/", "the database");
    refused("redis://h//", "the database");
    refused("redis://h/-1", "the database");
    refused("redis://h?db=1", "written /N");
    refused("redis://h/1#f", "'#'");
    refused("redis://::1", "in brackets");
    refused("redis://[::1", "']'");
    refused("redis://[::1]6379", "':' and the port");
    refused("redis://[1.2.3.4]", "no IPv6 address");
    refused("redis://[::1%25]", "zone");
    refused("redis://h%41", "no name");
    refused("redis://h\xc3\xbc", "no name");
    refused("redis://a b@h", "a blank");
    refused("redis://h\x01", "control character");
    refused("redis://h1,h2", "not supported yet");
    refused("redis://h1 redis://h2 redis://h3", "not supported yet");
    refused("unix://s", "absolute");
    refused("unix:s", "absolute");
    refused("unix:", "absolute");
    refused("unix:///", "path is missing");
    refused("unix:///s?db=", "the database");
    refused("unix:///s?db=1&db=2", "the database");
    refused("unix:///s?timeout=1", "only '?db=N'");
    refused("unix:///s#f", "'#'");
    refused("unix:///a%00b", "broken escape");
    refused("local:dir", "local: takes an absolute directory");
    refused("local://dir", "takes no host");
    refused("local://", "takes no host");
    refused("local:/", "root directory");
    refused("local:////", "root directory");
    refused("local:/d?db=1", "'?'");
    refused("redis://u%zz@h", "broken escape");
    refused("redis://u:%00@h", "broken escape");
}

static void test_later(void) {
    static const char *const later[] = {"valkey+sentinel://h/s",    "redis+sentinel://u:p@h/s",
                                        "valkeys+sentinel://h,i/s", "valkey+cluster://h",
                                        "redis+cluster://h",        "valkeys+cluster://u:p@h"};

    for (size_t i = 0; i < sizeof later / sizeof *later; i++)
        refused(later[i], "is not supported yet");
}

/* A URL of `count` letters between `before` and `after`. */
static const char *long_url(const char *before, size_t count, const char *after) {
    static char url[8192];

    snprintf(url, sizeof url, "%s%*s%s", before, (int)count, "", after);
    memset(url + strlen(before), 'a', count);
    return url;
}

static void test_long(void) {
    check(parses(long_url("redis://", 255, "")), "a host has up to 255 bytes");
    refused(long_url("redis://", 256, ""), "too long");
    check(parses(long_url("redis://u:", 1023, "@h")), "a password has up to 1023 bytes");
    refused(long_url("redis://u:", 1024, "@h"), "too long");
    check(parses(long_url("redis://", 255, "@h")), "a user has up to 255 bytes");
    refused(long_url("redis://", 256, "@h"), "too long");
    check(parses(long_url("unix:///", 106, "")), "a socket's path has up to 107 bytes");
    refused(long_url("unix:///", 107, ""), "longer");
    check(parses(long_url("local:/", 4094, "")), "a directory has up to 4095 bytes");
    refused(long_url("local:/", 4095, ""), "too long");
}

static void test_password_is_not_shown(void) {
    static const char *const urls[] = {"redis://u:hunter@h:x",
                                       "redis://:hunter@h/x",
                                       "redis://u:hunter/a@h",
                                       "redis://:hunter@",
                                       "redis://u:hunter@h?a",
                                       "redis://u:hunter@h#a",
                                       "redis://u:hunter@h redis:h",
                                       "redis://u:hunter %@h",
                                       "redis://u:hunter%@h",
                                       "redis://u:hunter",
                                       "redis://:hunter",
                                       "redis://u:hunter%40h",
                                       "redis://h?password=hunter",
                                       "unix:///s?password=hunter",
                                       "unix://u:hunter@h/s",
                                       "u:hunter@h",
                                       "u:hunter",
                                       "http://u:hunter@h",
                                       "local://u:hunter@h/d",
                                       "valkey+cluster://:hunter@",
                                       "redis://u:hunter\n@h",
                                       "redis://u:hunter@[::1",
                                       "redis://u@:hunter",
                                       "redis://u:@hunter%",
                                       "redis:u:hunter@h",
                                       "redis://h/0?auth=hunter",
                                       "redis://h/0#hunter",
                                       "redis://u:?hunter@h",
                                       "redis://u:#hunter@h",
                                       "local:hunter@h"};

    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        bool kept = !parses(urls[i]) && !strstr(why.text, "hunter");

        check(kept, "the message for '%.12s...' shows no password", urls[i]);
    }
    check(parses("redis://u:hunter@h") && !strstr(address.shown, "hunter"),
          "nor does what is shown of a good one");
    check(!parses("redis://h:x") && strstr(why.text, "redis://h"),
          "a URL that can hold no password is shown");
}

static void test_anything(void) {
    static const char *const seeds[] = {"valkey://user:pass@host.example:6379/2",
                                        "redis://[fe80::1%25eth0]:7/0",
                                        "unix:///path/to%20x.sock?db=2",
                                        "local:/srv//locks/",
                                        "rediss://u:hunter2@h redis://i",
                                        "valkey+sentinel://u:p@h1:1,h2/s/0"};
    struct fuzz fuzz = fuzz_start();
    bool well = true;
    char url[200];

    while (well && fuzz_goes_on(&fuzz)) {
        struct address first;
        char *exact;

        fuzz_mutate(&fuzz, url, sizeof url, seeds[fuzz_below(&fuzz, 6)]);
        exact = strdup(url);
        if (parses(exact)) {
            first = address;
            /* What is shown is a URL of the same store, and already canonical. */
            well = !text_has_control(first.shown) && !strpbrk(first.shown, " \t\n") &&
                   parses(first.shown) && strcmp(address.shown, first.shown) == 0 &&
                   first.kind == address.kind && first.tls == address.tls &&
                   first.db == address.db && strcmp(first.host, address.host) == 0 &&
                   strcmp(first.port, address.port) == 0 && strcmp(first.path, address.path) == 0 &&
                   strcmp(first.user, address.user) == 0 && !*address.password;
        } else {
            well = why.status == EXIT_CONFIG && *why.text;
        }
        free(exact);
    }
    check(well, "whatever is parsed shows as what parses to the same%s%s", well ? "" : ": ",
          well ? "" : url);
}

int main(void) {
    test_canonical();
    test_parts();
    test_refused();
    test_later();
    test_long();
    test_password_is_not_shown();
    test_anything();
    return check_done();
}
