/* handover_test.c - how a token is handed over: what is written, where, and all of it or nothing.
 */
#include "handover.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "local.h"

#define TOKEN "50%tok%25en"

static char directory[256], file[300], said[4096], found[4096];

static void read_back(const char *path, char text[4096]) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = read(fd, text, 4095);

    text[length > 0 ? length : 0] = '\0';
    close(fd);
}

/* Hands a lock over in `form`; what was printed is in `said`, what GITHUB_ENV holds in `found`. */
static enum outcome give(enum handover_form form, const char *name, struct trouble *why) {
    struct options options = {0};
    struct child_found started = {0};
    struct context ctx = {.options = &options, .name = name, .prefix = ""};
    struct lock lock = {.token = TOKEN, .ttl_ms = 60000, .fence = 7};
    struct handover handover;
    char path[300];
    int output = dup(STDOUT_FILENO), fd;
    enum outcome outcome;

    snprintf(path, sizeof path, "%s/stdout", directory);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    dup2(fd, STDOUT_FILENO);
    handover_init(&handover);
    handover.form = form;
    outcome = handover_prepare(&handover, &ctx, 60000, &started, why);
    if (outcome == DONE)
        outcome = handover_give(&handover, &ctx, &lock, why);
    handover_end(&handover);
    dup2(output, STDOUT_FILENO);
    close(output);
    close(fd);
    chmod(file, 0600);
    read_back(path, said);
    read_back(file, found);
    return outcome;
}

static bool becomes(const char *before, const char *after) {
    struct trouble why;

    local_put(file, before, strlen(before));
    return give(FORM_GITHUB, "n", &why) == DONE && strcmp(found, after) == 0;
}

#define LINES "VLOCK_NAME=n\nVLOCK_TOKEN=" TOKEN "\nVLOCK_FENCE=7\nVLOCK_TTL=60s\n"

static void test_github(void) {
    check(becomes("", LINES), "a step's file gets lines");
    check(strcmp(said, "::add-mask::50%25tok%2525en\n") == 0,
          "the token is masked, its '%%' as the runner decodes it");
    check(becomes("A=1\n", "A=1\n" LINES), "they are appended");
    check(becomes("A=1", "A=1\n" LINES), "behind a line without an end as well");
    check(becomes("\n", "\n" LINES), "and an empty line is one");
    chmod(file, 0200);
    if (access(file, R_OK) != 0)
        check(becomes("A=1", "A=1\n" LINES), "whether it may be read or not");
    chmod(file, 0600);
}

/* What becomes of a file of `before` bytes where files have room for 1000. */
static bool fails_with(size_t before) {
    struct rlimit all, few;
    struct trouble why = {0};
    enum outcome outcome;
    char text[1000];

    memset(text, 'x', sizeof text);
    text[before - 1] = '\n';
    local_put(file, text, before);
    getrlimit(RLIMIT_FSIZE, &all);
    few = (struct rlimit){.rlim_cur = 1000, .rlim_max = all.rlim_max};
    setrlimit(RLIMIT_FSIZE, &few);
    outcome = give(FORM_GITHUB, "n", &why);
    setrlimit(RLIMIT_FSIZE, &all);
    return outcome == FAILED && why.status == EXIT_CANNOT_WRITE && strlen(found) == before &&
           memcmp(found, text, before) == 0;
}

static void test_no_room(void) {
    signal(SIGXFSZ, SIG_IGN);
    check(fails_with(1000), "a file that takes no more is status 73");
    check(fails_with(970), "so is one that takes a part, of which nothing stays");
    check(fails_with(999), "be it a single byte");
}

static void test_json(void) {
    struct trouble why;

    check(give(FORM_JSON, "gr\xc3\xbc\xc3\x9f \"\\\t\x7f\xff\xed\xa0\x80", &why) == DONE &&
              strstr(said, "{\"name\":\"gr\\u00fc\\u00df \\\"\\\\\\u0009\\u007f\\ufffd"
                           "\\ufffd\\ufffd\\ufffd\",") == said,
          "JSON is ASCII, whatever the name");
    check(give(FORM_JSON, "\xe2\x80\xae\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", &why) ==
                  DONE &&
              strstr(said, "{\"name\":\"\\u202e\\uffff\\ud800\\udc00\\udbff\\udfff\",") == said,
          "with pairs of surrogates for what is beyond U+FFFF");
}

int main(void) {
    local_make(directory);
    snprintf(file, sizeof file, "%s/env", directory);
    local_put(file, "", 0);
    setenv("GITHUB_ENV", file, 1);
    test_github();
    test_no_room();
    test_json();
    local_remove(directory);
    return check_done();
}
