#include "tokenfile_test.h"

#include "fuzz.h"

static void test_round_trip(struct play *play) {
    struct tokenfile content = play_content("a name = x ", "tok=en ");
    struct stat file;

    snprintf(content.prefix, sizeof content.prefix, "ci: =");
    snprintf(content.store, sizeof content.store, "valkey://h:6379/2");
    content.ttl_ms = 5400000;
    umask(0777);
    check(tokenfile_prepare("f", &content, &play->draft, &play->why) == DONE &&
              access("f", F_OK) != 0 && play_count(".f.vlock-", false) == 1,
          "prepare leaves a draft, and nothing at F");
    check(play_draft_holds(play, "tok=en ") && play->found.fence == 0 &&
              strcmp(play->found.store, content.store) == 0,
          "the draft is a token file whose fence is not known");
    check(play_publish(play, 1790000000000000, 0) == DONE && play_count(".", false) == 0 &&
              play_file_is("f",
                           "version=1\nname=a name = x \nprefix=ci: =\ntoken=tok=en \nttl=1h30m\n"
                           "store=valkey://h:6379/2\nfence=1790000000000000\n\n\n\n\n"),
          "publish puts it at F, with the fence, and leaves no draft");
    check(stat("f", &file) == 0 && (file.st_mode & 07777) == 0600, "F has mode 0600 at any umask");
    umask(022);
    check(play_open(play, "f", 0) == DONE && !play->found.bare &&
              strcmp(play->found.name, content.name) == 0 &&
              strcmp(play->found.prefix, content.prefix) == 0 &&
              strcmp(play->found.token, content.token) == 0 &&
              strcmp(play->found.store, content.store) == 0 && play->found.ttl_ms == 5400000 &&
              play->found.fence == 1790000000000000,
          "what was written is read, blanks and '=' included");
    check(fcntl(play->hold.fd, F_GETFD) & FD_CLOEXEC, "the descriptor is not inherited");
    check(tokenfile_remove(&play->hold, &play->why) == DONE && access("f", F_OK) != 0,
          "remove removes it");
    check(tokenfile_remove(&play->hold, &play->why) == DONE, "removing nothing is done");
}

static void test_longest(struct play *play) {
    struct tokenfile content = {.ttl_ms = TTL_NONE, .fence = 7};
    bool same;

    memset(content.name, 'n', sizeof content.name - 1);
    memset(content.prefix, '\xff', sizeof content.prefix - 1);
    memset(content.token, '=', sizeof content.token - 1);
    memset(content.store, 's', sizeof content.store - 1);
    same = tokenfile_prepare("f", &content, &play->draft, &play->why) == DONE &&
           play_publish(play, UINT64_MAX, 0) == DONE && play_open(play, "f", 0) == DONE &&
           play->found.fence == UINT64_MAX && play->found.ttl_ms == TTL_NONE;
    tokenfile_close(&play->hold);
    play->found.fence = 7;
    check(same && memcmp(&play->found, &content, sizeof content) == 0,
          "the longest values there are come back");
    check(tokenfile_prepare("f", &content, &play->draft, &play->why) == DONE &&
              play_publish(play, 0, 0) == DONE && play_open(play, "f", 0) == DONE &&
              play->found.fence == 0,
          "a fence that is not known is none when it is read");
    tokenfile_remove(&play->hold, &play->why);
}

static void test_content_refused(struct play *play) {
    static const char *const bad[] = {"a\nb", "a\tb", "\x7f", ""};
    bool well = true;

    for (size_t i = 0; well && i < sizeof bad / sizeof *bad; i++)
        well = play_prepare(play, "f", "n", bad[i]) == FAILED && play->why.status == EXIT_USAGE &&
               play_prepare(play, "f", bad[i], "t") == FAILED && play->why.status == EXIT_USAGE;
    check(well && play_count("", false) == 0,
          "a name or token that could not be read back is a usage error");
}

static enum outcome open_bytes(struct play *play, const char *bytes, size_t length) {
    enum outcome outcome;

    play_write("g", bytes, length);
    outcome = play_open(play, "g", 0);
    tokenfile_close(&play->hold);
    return outcome;
}

static void bare(struct play *play, const char *bytes, const char *token, const char *sentence) {
    check(open_bytes(play, bytes, strlen(bytes)) == DONE && play->found.bare &&
              strcmp(play->found.token, token) == 0 && !*play->found.name &&
              play->found.ttl_ms == 0,
          "%s", sentence);
}

static void test_bare(struct play *play) {
    char longest[TOKEN_MAX_BYTES + 2] = "";

    bare(play, "token\n", "token", "one line is a bare token");
    bare(play, "token", "token", "so it is without a line end");
    bare(play, "token\r\n", "token", "and with one from Windows");
    bare(play, "a=b c \n", "a=b c ", "a token may hold '=' and blanks");
    bare(play, "Name=x\n", "Name=x", "and begin with what is no key of ours");
    memset(longest, 'x', TOKEN_MAX_BYTES);
    bare(play, longest, longest, "it may have 512 bytes");
    longest[TOKEN_MAX_BYTES] = 'x';
    check(open_bytes(play, longest, TOKEN_MAX_BYTES + 1) == FAILED && play->why.status == EXIT_DATA,
          "but not 513");
}

static void test_malformed(struct play *play) {
    static const struct {
        const char *bytes, *because;
    } bad[] = {
        {"\n", "empty"},
        {"a\nb\n", "no key"},
        {"a\n\n", "no key"},
        {"a\tb\n", "control"},
        {"a\r", "control"},
        {"token=t\n", "missing"},
        {"version=1\n", "missing"},
        {"version=2\nname=n\ntoken=t\nttl=1s\n", "version"},
        {HEAD "x=1\n", "no key"},
        {HEAD "\nfence=1\n", "no key"},
        {HEAD "fence=1", "cut off"},
        {HEAD "name=m\n", "twice"},
        {HEAD "fence=\n", "empty"},
        {HEAD "fence=-1\n", "fence"},
        {HEAD "fence=1 \n", "fence"},
        {HEAD "fence=18446744073709551616\n", "fence"},
        {HEAD "prefix=a\tb\n", "control"},
        {HEAD "prefix=a\rb\n", "control"},
        {"version=1\nname=n\ntoken=t\nttl=0\n", "ttl"},
        {"version=1\nname=n\ntoken=t\nttl=forever\n", "ttl"},
        {"version=1\nname=n\nttl=60s\n", "missing"},
        {"version=1\ntoken=t\nttl=60s\n", "missing"},
        {"name=n\ntoken=t\nttl=60s\n", "missing"},
    };
    static const char nul[] = "ver\0sion";
    char *large = malloc(TOKENFILE_MAX_BYTES + 1);

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check(open_bytes(play, bad[i].bytes, strlen(bad[i].bytes)) == FAILED &&
                  play->why.status == EXIT_DATA && strstr(play->why.text, bad[i].because),
              "malformed file %zu is refused: %s", i + 1, bad[i].because);
    check(open_bytes(play, HEAD, strlen(HEAD)) == DONE && play->found.fence == 0,
          "a file without prefix, store and fence is whole");
    check(open_bytes(play, "ttl=none\r\ntoken=t\r\nname=n\r\nversion=1\r\n", 38) == DONE &&
              play->found.ttl_ms == TTL_NONE && strcmp(play->found.name, "n") == 0,
          "line ends from Windows and another order are read");
    check(open_bytes(play, HEAD "fence=17\n", strlen(HEAD) + 9) == DONE &&
              play->found.fence == 17 &&
              open_bytes(play, HEAD "fence=00017\n", strlen(HEAD) + 12) == DONE &&
              play->found.fence == 17,
          "a fence is read with leading zeros and without");
    check(open_bytes(play, nul, sizeof nul) == FAILED && strstr(play->why.text, "NUL"),
          "a NUL byte is refused");
    check(open_bytes(play, "", 0) == FAILED && play->why.status == EXIT_DATA,
          "an empty file is refused");
    memset(large, 'x', TOKENFILE_MAX_BYTES + 1);
    check(open_bytes(play, large, TOKENFILE_MAX_BYTES + 1) == FAILED &&
              strstr(play->why.text, "too large"),
          "a file that is too large is refused");
    free(large);
}

static void test_anything(struct play *play) {
    static const char *const seeds[] = {
        "version=1\nname=n\nprefix=p\ntoken=vl1:x\nttl=60s\nstore=valkey://h:6379\nfence=17\n",
        "token\r\n", HEAD "fence=00000000000000000000\n"};
    struct fuzz fuzz = fuzz_start();
    bool well = true;

    while (well && fuzz_goes_on(&fuzz)) {
        char bytes[400];
        size_t length = fuzz_mutate(&fuzz, bytes, sizeof bytes, seeds[fuzz_below(&fuzz, 3)]);

        if (length > 0 && fuzz_below(&fuzz, 8) == 0)
            bytes[fuzz_below(&fuzz, (unsigned)length)] = '\0';
        if (open_bytes(play, bytes, length) == DONE)
            well = *play->found.token &&
                   (play->found.bare || (*play->found.name && play->found.ttl_ms > 0));
        else
            well = play->why.status == EXIT_DATA;
    }
    check(well, "whatever is in a file, it is a token or status 65");
}

int main(void) {
    struct play play;

    play_begin(&play);
    test_round_trip(&play);
    test_longest(&play);
    test_content_refused(&play);
    test_bare(&play);
    test_malformed(&play);
    test_anything(&play);
    play_end(&play);
    return check_done();
}
