#include "token.h"

#include <ctype.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "fuzz.h"

#define HEX    "0123456789abcdef0123456789abcdef"
#define SAMPLE "vl1:" HEX ":1700000000000:4711:host-1:a%20note"

static struct trouble why;

static bool printable(const char *token) {
    for (; *token; token++) {
        if (!isgraph((unsigned char)*token))
            return false;
    }
    return true;
}

static void test_made(void) {
    static const char note[] = "https://ci.example/job/7?x=1 \xc3\xbc:%\n";
    char token[TOKEN_MAX_BYTES + 1], other[TOKEN_MAX_BYTES + 1], host[256] = "";
    char id[REQUEST_ID_BYTES + 1] = "", id2[REQUEST_ID_BYTES + 1] = "";
    struct token_holder holder;
    int64_t before = clock_wall_ms();

    gethostname(host, sizeof host - 1);
    check(token_make(token, note, &why) == DONE && token_make(other, note, &why) == DONE,
          "tokens are made");
    check(printable(token), "a token is printable and holds no blanks");
    check(token_read(token, &holder), "a token is read as vlock's own");
    check(strcmp(holder.host, host) == 0 && holder.pid == getpid() &&
              strcmp(holder.note, note) == 0 && holder.made_ms >= before &&
              holder.made_ms <= clock_wall_ms(),
          "it tells host, pid, time and note");
    check(strcmp(token, other) != 0 && strncmp(token, "vl1:", 4) == 0 &&
              strncmp(token + 4, other + 4, 32) != 0,
          "no two tokens are the same");
    check(token_make(token, NULL, &why) == DONE && token_read(token, &holder) && !*holder.note,
          "a token without a note has none");
    check(token_make_id(id, &why) == DONE && token_make_id(id2, &why) == DONE &&
              strspn(id, "0123456789abcdef") == REQUEST_ID_BYTES && strcmp(id, id2) != 0,
          "a request's id is 32 hex digits, each another");
}

static void test_long(void) {
    char token[TOKEN_MAX_BYTES + 1] = "untouched", note[NOTE_MAX_BYTES + 2] = "";
    struct token_holder holder;

    memset(note, ' ', NOTE_MAX_BYTES + 1);
    check(token_make(token, note, &why) == FAILED && why.status == EXIT_USAGE &&
              strcmp(token, "untouched") == 0,
          "a note of 129 bytes is a usage error");
    note[NOTE_MAX_BYTES] = '\0';
    check(token_make(token, note, &why) == DONE && strlen(token) <= TOKEN_MAX_BYTES &&
              token_read(token, &holder) && strcmp(holder.note, note) == 0,
          "a note of 128 blanks fits, and is read back");
}

/* Makes a token under a host name; 0: the token is as it must be, 2: cannot be tried here. */
static int under_host_name(const char *name, const char *encoded) {
    char token[TOKEN_MAX_BYTES + 1], note[NOTE_MAX_BYTES + 1] = "", part[80];
    struct token_holder holder;

    if (unshare(CLONE_NEWUTS) != 0 || sethostname(name, strlen(name)) != 0)
        return 2;
    memset(note, ' ', NOTE_MAX_BYTES);
    snprintf(part, sizeof part, ":%s:", encoded);
    return token_make(token, note, &why) == DONE && strlen(token) <= TOKEN_MAX_BYTES &&
                   token_read(token, &holder) && strstr(token, part)
               ? 0
               : 1;
}

static void test_host(const char *name, const char *encoded, const char *sentence) {
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(under_host_name(name, encoded));
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
        check_skip(sentence, "the host's name cannot be changed here");
    else
        check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", sentence);
}

static void test_hosts(void) {
    char name[65] = "", encoded[65] = "";

    memset(name, 'h', 64);
    test_host(name, name, "a host's name of 64 bytes is there whole");
    memset(name, ' ', 64);
    for (int i = 0; i < 21; i++)
        strcat(encoded, "%20");
    test_host(name, encoded, "one of 64 blanks is cut between two of them");
    test_host("", "unknown", "a host without a name is unknown");
}

static void test_read(void) {
    static const char *const foreign[] = {
        "",
        "vl1",
        "vl1:",
        "4b1c9a52-5b0a-11ee-8c99-0242ac120002",
        "vl2:" HEX ":1:2:h:",
        "vl1:" HEX ":1:2:h",
        "vl1:" HEX ":1:2::",
        "vl1:" HEX ":1:0:h:",
        "vl1:" HEX ":1:-2:h:",
        "vl1:" HEX ":01:2:h:",
        "vl1:" HEX ":1:02:h:",
        "vl1:" HEX ":1:9999999999:h:",
        "vl1:" HEX ":9223372036854775808:2:h:",
        "vl1:" HEX ":1:2:h::",
        "vl1:" HEX ":1:2:h:n ",
        "vl1:" HEX ":1:2:h:%2f",
        "vl1:" HEX ":1:2:h:%41",
        "vl1:" HEX ":1:2:h/i:",
        "vl1:" HEX ":1:2:h:%",
        "vl1:" HEX ":1:2:h:%00",
        "vl1:" HEX "0:1:2:h:",
        "vl1:0123456789ABCDEF0123456789ABCDEF:1:2:h:",
        "vl1:0123:1:2:h:",
    };
    struct token_holder holder = {.pid = -7};
    bool well = true;

    check(token_read(SAMPLE, &holder) && holder.pid == 4711 && holder.made_ms == 1700000000000 &&
              strcmp(holder.host, "host-1") == 0 && strcmp(holder.note, "a note") == 0,
          "a token of another process is read");
    holder.pid = -7;
    for (size_t i = 0; well && i < sizeof foreign / sizeof *foreign; i++) {
        well = !token_read(foreign[i], &holder) && holder.pid == -7;
        if (!well)
            printf("# %s\n", foreign[i]);
    }
    check(well, "anything else is not vlock's, and touches nothing");
}

static bool shortened(const char *token, const char *expected) {
    char text[TOKEN_SHORT_BYTES];

    token_shorten(text, token);
    if (strcmp(text, expected) != 0)
        printf("# %s\n", text);
    return strcmp(text, expected) == 0;
}

static void test_shorten(void) {
    char longest[TOKEN_MAX_BYTES + 1] = "";

    memset(longest, 'x', TOKEN_MAX_BYTES);
    check(shortened(SAMPLE, "vl1:01234567..."), "a vlock token shows eight of its digits");
    check(shortened("4b1c9a52-5b0a-11ee-8c99-0242ac120002", "4b1c9a52..."),
          "a long foreign token shows eight bytes");
    check(shortened("hunter2", "h...") && shortened("abc", "...") && shortened("", "...") &&
              shortened("0123456789abcde", "012...") && shortened("0123456789abcdef", "0123..."),
          "a short one shows at most a quarter of itself");
    check(shortened("\x1b[2J\x07\x80\xc3\xbc-and much more after that",
                    "\x1b[2J\x07\x80\xc3\xbc..."),
          "what is not printable is left to whoever prints it");
    check(shortened("1234567\xc3\xbc and much more after that", "1234567..."),
          "no character is cut in two");
    check(shortened("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", "..."),
          "nor what looks like the middle of one");
    check(shortened(longest, "xxxxxxxx..."), "the longest token is shortened");
}

static void test_anything(void) {
    struct fuzz fuzz = fuzz_start();
    bool well = true;

    while (well && fuzz_goes_on(&fuzz)) {
        char token[700], shorter[TOKEN_SHORT_BYTES], *exact;
        struct token_holder holder;

        fuzz_mutate(&fuzz, token, sizeof token, SAMPLE);
        exact = strdup(token);
        if (token_read(exact, &holder))
            well = printable(exact) && *holder.host && holder.pid > 0 && holder.made_ms >= 0 &&
                   strlen(exact) <= TOKEN_MAX_BYTES;
        token_shorten(shorter, exact);
        well = well && strlen(shorter) < sizeof shorter && strlen(shorter) >= 3;
        free(exact);
    }
    check(well, "whatever is read as a token is a printable one");
}

int main(void) {
    test_made();
    test_long();
    test_hosts();
    test_read();
    test_shorten();
    test_anything();
    return check_done();
}
