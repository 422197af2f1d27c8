#include "duration.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fuzz.h"
#include "store.h"

static void is(const char *text, int64_t expected) {
    int64_t ms = -7;
    bool well = duration_parse(text, &ms) && ms == expected;

    check(well, "'%s' is %lld ms%s", text, (long long)expected, well ? "" : ", but is not");
}

static void is_none(const char *text) {
    int64_t ms = -7;
    bool well = !duration_parse(text, &ms) && ms == -7;

    check(well, "'%s' is no duration", text);
}

static void shows(int64_t ms, const char *expected) {
    char text[DURATION_TEXT_BYTES];

    duration_format(text, ms);
    check(strcmp(text, expected) == 0, "%lld ms are written %s", (long long)ms, expected);
}

static void test_parse(void) {
    is("500ms", 500);
    is("1.5s", 1500);
    is("90", 90000);
    is("0", 0);
    is("0ms", 0);
    is(".5", 500);
    is(".5s", 500);
    is("1h30m", 5400000);
    is("1.5h", 5400000);
    is("1.5h30m", 7200000);
    is("1d2h3m4s5ms", 93784005);
    is("2d", 172800000);
    is("0.001", 1);
    is("1.1", 1100);
    is("1.10000000000000000000000000000", 1100);
    is("0001m", 60000);
    is("0.0009765625d", 84375);
    is("9007199254740992ms", TTL_MAX_MS);
    is("9007199254740.992", TTL_MAX_MS);
    is("104249991d8h59m0.992s", TTL_MAX_MS);
}

static void test_refused(void) {
    static const char *const none[] = {"",
                                       " ",
                                       " 1",
                                       "1 ",
                                       "1 s",
                                       "-1",
                                       "+1",
                                       "s",
                                       ".",
                                       ".s",
                                       "1.",
                                       "1.s",
                                       "1..5",
                                       "1.5.5",
                                       "1e3",
                                       "0x10",
                                       "nan",
                                       "inf",
                                       "infinity",
                                       "1,5",
                                       "1S",
                                       "1M",
                                       "1sec",
                                       "1w",
                                       "1y",
                                       "1us",
                                       "1m1h",
                                       "1h1h",
                                       "1ms1s",
                                       "1h30",
                                       "30 1h",
                                       "1hm",
                                       "0.5ms",
                                       "1.0001s",
                                       "0.00000000001d",
                                       "0.33333m",
                                       "9007199254740993ms",
                                       "9007199254740.993",
                                       "9007199254740992ms1ms",
                                       "104249991d8h59m0.993s",
                                       "104249991d9h",
                                       "99999999999999999999999999d",
                                       "18446744073709551616",
                                       "18446744073709552616ms",
                                       "1\n",
                                       "none",
                                       "1\xc2\xa0s"};

    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        if (strchr(none[i], '\n')) {
            int64_t ms;

            check(!duration_parse(none[i], &ms), "a line end is no part of a duration");
        } else {
            is_none(none[i]);
        }
    }
}

static void test_format(void) {
    shows(0, "0s");
    shows(-5, "0s");
    shows(1, "1ms");
    shows(999, "999ms");
    shows(1000, "1s");
    shows(1500, "1.5s");
    shows(1001, "1.001s");
    shows(60000, "60s");
    shows(90000, "90s");
    shows(119000, "119s");
    shows(120000, "2m");
    shows(150000, "2m30s");
    shows(3600000, "1h");
    shows(5400000, "1h30m");
    shows(86400000, "1d");
    shows(86400001, "1d0.001s");
    shows(TTL_MAX_MS, "104249991d8h59m0.992s");
}

static bool comes_back(int64_t ms) {
    char text[DURATION_TEXT_BYTES];
    int64_t again = -1;

    duration_format(text, ms);
    return duration_parse(text, &again) && again == ms;
}

static void test_round_trip(void) {
    struct fuzz fuzz = fuzz_start();
    bool well = true;

    for (int64_t ms = 0; well && ms < 200000; ms++)
        well = comes_back(ms);
    for (int64_t bit = 1; well && bit <= TTL_MAX_MS; bit *= 2)
        well = comes_back(bit) && comes_back(bit - 1) && (bit == TTL_MAX_MS || comes_back(bit + 1));
    check(well, "what is written is read back to the millisecond");
    while (well && fuzz_goes_on(&fuzz)) {
        char text[100], *exact;
        int64_t ms = -7;

        fuzz_mutate(&fuzz, text, sizeof text,
                    fuzz_below(&fuzz, 2) ? "1d12h30m5.25s7ms" : "90071992547409.92");
        exact = strdup(text);
        well =
            duration_parse(exact, &ms) ? ms >= 0 && ms <= TTL_MAX_MS && comes_back(ms) : ms == -7;
        free(exact);
    }
    check(well, "whatever is parsed is within bounds, and else nothing is touched");
}

int main(void) {
    test_parse();
    test_refused();
    test_format();
    test_round_trip();
    return check_done();
}
