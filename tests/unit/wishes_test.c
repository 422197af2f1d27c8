#include "wishes.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "store.h"

enum { MOST_WORDS = 16 };

/* `vlock run LINE x -- true`, settled for a lock of `ttl_ms`. Words of the line are separated by
 * one blank. */
static enum outcome settle(const char *line, int64_t ttl_ms, struct wishes *wishes,
                           struct trouble *why) {
    static char words[512];
    char *argv[MOST_WORDS + 5] = {NULL}, *at = words;
    struct options options;
    size_t count = 0;

    snprintf(words, sizeof words, "run %s%sx -- true", line, *line ? " " : "");
    for (char *word; (word = strsep(&at, " ")) && count < MOST_WORDS;)
        argv[count++] = word;
    *wishes = (struct wishes){.signo = -7};
    *why = (struct trouble){0};
    if (options_parse(argv, &options, why) != DONE ||
        options_check(&options, "run", FOR_RUN, why) != DONE)
        return FAILED;
    return wishes_settle(wishes, &options, ttl_ms, why);
}

static struct wishes settled(const char *line, int64_t ttl_ms) {
    struct wishes wishes;
    struct trouble why;

    if (settle(line, ttl_ms, &wishes, &why) != DONE)
        check(false, "'%s' is understood, but: %s", line, why.text);
    return wishes;
}

static void refused(const char *line, int64_t ttl_ms, const char *sentence) {
    struct wishes wishes;
    struct trouble why;
    bool well = settle(line, ttl_ms, &wishes, &why) == FAILED && why.status == EXIT_USAGE &&
                wishes.signo == -7 && strcmp(why.text, sentence) == 0;

    check(well, "'%s' is 64: %s%s%s", line, sentence, well ? "" : ", not: ", well ? "" : why.text);
}

static void test_defaults(void) {
    struct wishes wishes = settled("", 60000);

    check(wishes.signo == SIGTERM && wishes.kill_after_ms == 5000 &&
              wishes.max_runtime_ms == CLOCK_NEVER && wishes.hold_for_ms == 0 &&
              !wishes.leave_children && !wishes.reenter && wishes.on_lost == LOST_STOP &&
              !wishes.hook,
          "nothing asked for is TERM, KILL after 5 s, no bound, stop");
    check(settled("", 6000).kill_after_ms == 1000, "a short lease has a sixth of itself for KILL");
    check(settled("", 1).kill_after_ms == 0, "and the shortest nothing");
    check(settled("", TTL_NONE).kill_after_ms == 5000, "a lock that never expires 5 s");
}

static void test_given(void) {
    struct wishes wishes =
        settled("--signal=sigint --kill-after 250ms --max-runtime 1h30m --hold-for .5 "
                "--leave-children --on-lost warn",
                60000);

    check(wishes.signo == SIGINT && wishes.kill_after_ms == 250 &&
              wishes.max_runtime_ms == 5400000 && wishes.hold_for_ms == 500 &&
              wishes.leave_children && !wishes.reenter && wishes.on_lost == LOST_WARN &&
              !wishes.hook,
          "what is given is taken");
    wishes = settled("--reenter --on-lost=exec:page=me --signal 9", TTL_NONE);
    check(wishes.signo == SIGKILL && wishes.reenter && wishes.on_lost == LOST_EXEC &&
              strcmp(wishes.hook, "page=me") == 0,
          "a hook is everything behind exec:");
    check(settled("--on-lost stop", 60000).on_lost == LOST_STOP, "stop can be said");
    check(settled("--kill-after 10m", TTL_NONE).kill_after_ms == 600000,
          "without a lease to lose KILL may come late");
    check(settled("--kill-after 29.148s", 60000).kill_after_ms == 29148,
          "the longest time for KILL that a refusal names is taken");
    check(settled("--leave-children --leave-children", 60000).leave_children,
          "to say yes twice is once");
}

static void test_refused(void) {
    refused("--kill-after 29.149s", 60000,
            "--kill-after 29.149s leaves too little of a lease of 60s to renew it: use 29.148s at "
            "most, or use a longer -t");
    refused("--kill-after 1ms", 5,
            "--kill-after 1ms does not fit into a lease of 5ms: leave it out, or use a longer -t");
    refused("--hold-for 5m --reenter", 60000,
            "--hold-for and --reenter together: a lock that is another's is not ours to keep, use "
            "one of them");
    refused("--hold-for 5m", TTL_NONE,
            "--hold-for with a lock that never expires: it would never end, give it a time to "
            "live with -t");
    refused("--on-lost=exec:", 60000, "no command in --on-lost=exec: write --on-lost=exec:CMD");
    refused("--on-lost=exec:\t", 60000, "no command in --on-lost=exec: write --on-lost=exec:CMD");
    refused("--on-lost=kill", 60000, "bad value 'kill' in --on-lost: use stop, warn or exec:CMD");
    refused("--on-lost=", 60000, "bad value '' in --on-lost: use stop, warn or exec:CMD");
    refused("--on-lost=Stop", 60000, "bad value 'Stop' in --on-lost: use stop, warn or exec:CMD");
    refused("--leave-children=no", 60000, "option '--leave-children' takes no value");
    refused("--reenter=", 60000, "option '--reenter' takes no value");
    refused("--keep-alive 1", 60000, "'run' takes no option '--keep-alive'");
    refused("-k 5", 60000,
            "unknown option '-k': for the time from TERM to KILL: --kill-after DUR; for the "
            "lease: --ttl TTL");
}

static void test_signals_refused(void) {
    static const char *const none[] = {"", "0", "TREM", "32", "65", "-1", "RTMIN+31"};
    static const char *const freezing[] = {"STOP", "SIGTSTP", "ttin", "22"};
    char line[64], sentence[256];

    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        snprintf(line, sizeof line, "--signal=%s", none[i]);
        snprintf(sentence, sizeof sentence,
                 "unknown signal '%s' in --signal: use a name or number, as in TERM, INT or 15",
                 none[i]);
        refused(line, 60000, sentence);
    }
    for (size_t i = 0; i < sizeof freezing / sizeof *freezing; i++) {
        snprintf(line, sizeof line, "--signal %s", freezing[i]);
        snprintf(sentence, sizeof sentence,
                 "--signal %s would freeze the command, not end it: use TERM, INT or another",
                 freezing[i]);
        refused(line, 60000, sentence);
    }
}

static void test_durations_refused(void) {
    static const char *const options[] = {"kill-after", "max-runtime", "hold-for"};
    static const char *const bad[] = {"", "0", "0ms", "-1", "1e3", "5x", "none", "0.0001"};
    char line[64], sentence[256];

    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < sizeof bad / sizeof *bad; j++) {
            snprintf(line, sizeof line, "--%s=%s", options[i], bad[j]);
            snprintf(
                sentence, sizeof sentence,
                "bad DUR '%s' in --%s: use a number with ms, s, m, h or d, as in 1.5s or 1h30m",
                bad[j], options[i]);
            refused(line, 60000, sentence);
        }
}

static void test_twice(void) {
    static const char *const twice[] = {"signal TERM", "kill-after 1s", "max-runtime 1s",
                                        "hold-for 1s", "on-lost stop"};
    char line[128], sentence[64];

    for (size_t i = 0; i < sizeof twice / sizeof *twice; i++) {
        snprintf(line, sizeof line, "--%s --%s", twice[i], twice[i]);
        snprintf(sentence, sizeof sentence, "--%.*s given twice: give it once",
                 (int)strcspn(twice[i], " "), twice[i]);
        refused(line, 60000, sentence);
    }
}

int main(void) {
    test_defaults();
    test_given();
    test_refused();
    test_signals_refused();
    test_durations_refused();
    test_twice();
    return check_done();
}
