#include "text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fuzz.h"

static bool shows_in(const char *from, const char *as, bool utf8) {
    char to[64];
    size_t length = text_escape(to, sizeof to, from, utf8);

    if (strcmp(to, as) != 0)
        printf("# %s\n", to);
    return strcmp(to, as) == 0 && length == strlen(as);
}

static bool shows(const char *from, const char *as) {
    return shows_in(from, as, true);
}

static void test_escape(void) {
    check(shows("plain \\ text", "plain \\ text"), "plain text shows as it is, a backslash too");
    check(shows("a\tb\nc\x1b[2Jd\x7f", "a\\x09b\\x0ac\\x1b[2Jd\\x7f"),
          "control characters are escaped");
    check(shows("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x94\x92",
                "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x94\x92"),
          "UTF-8 of two, three and four bytes shows as it is");
    check(shows("a\xc2\x9b"
                "2J",
                "a\\xc2\\x9b2J"),
          "C1 controls are escaped byte for byte");
    check(shows("user\xe2\x80\xaegnp.exe", "user\\xe2\\x80\\xaegnp.exe"),
          "so is what changes the direction");
    check(shows("\xf3\xa0\x81\xa1", "\\xf3\\xa0\\x81\\xa1"), "so is what is invisible");
    check(shows("\x80\xbf\xc0\xaf", "\\x80\\xbf\\xc0\\xaf"), "bytes that begin no character are");
    check(shows("\xe0\x80\xaf \xf0\x80\x80\xaf", "\\xe0\\x80\\xaf \\xf0\\x80\\x80\\xaf"),
          "overlong forms are");
    check(shows("\xed\xa0\x80 \xf4\x90\x80\x80", "\\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80"),
          "surrogates and what is over U+10FFFF are");
    check(shows("a\xe2\x82", "a\\xe2\\x82"), "a character that is cut off is");
    check(shows_in("\xc3\x9b"
                   "2J \xe2\x82\xac",
                   "\\xc3\\x9b2J \\xe2\\x82\\xac", false),
          "where the terminal is no UTF-8, all beyond ASCII is");
}

static void test_room(void) {
    static const char text[] = "a\xe2\x82\xac\x1b\xc3\xbc\xe2\x80\xae\xff.";
    char whole[64], to[64];
    size_t length = text_escape(whole, sizeof whole, text, true);
    bool well = true;

    for (size_t size = 1; well && size <= length + 1; size++) {
        size_t used = text_escape(memset(to, '#', sizeof to), size, text, true);

        /* a, EUR, ESC, u umlaut, the override, 0xff, a full stop */
        well = used < size && strlen(to) == used && strncmp(to, whole, used) == 0 &&
               (used == 0 || used == 1 || used == 4 || used == 8 || used == 10 || used == 22 ||
                used == 26 || used == 27);
    }
    check(well && length == 27, "what is cut is cut between characters, and between escapes");
    check(text_escape(to, 0, text, true) == 0, "room for nothing takes nothing");
}

/* ---- every character there is ---- */

static size_t encode(char *to, uint32_t point) {
    size_t length = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char heads[] = {0, 0, 0xc0, 0xe0, 0xf0};

    for (size_t i = length; i-- > 1; point >>= 6)
        to[i] = (char)(0x80 | (point & 0x3f));
    to[0] = (char)(heads[length] | point);
    to[length] = '\0';
    return length;
}

/* Written with no eye to the table of text.c. */
static bool must_be_escaped(uint32_t point) {
    return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x61c ||
           (point >= 0x200b && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
           point == 0x2060 || (point >= 0x2066 && point <= 0x2069) || point == 0xfeff ||
           (point >= 0xe0000 && point <= 0xe007f);
}

/* Letters, digits, signs and pictures of living scripts, and blanks that are seen as such. */
static bool must_be_shown(uint32_t point) {
    return (point >= 0x20 && point < 0x7f) || (point >= 0xa0 && point < 0x300 && point != 0xad) ||
           (point >= 0x370 && point < 0x600) || (point >= 0x620 && point < 0x700) ||
           (point >= 0x900 && point < 0x1100) || (point >= 0x1e00 && point < 0x200b) ||
           (point >= 0x2010 && point < 0x2028) || (point >= 0x2070 && point < 0x3100) ||
           (point >= 0x4e00 && point < 0xd800) || (point >= 0x1f300 && point < 0x1fb00) ||
           (point >= 0x20000 && point < 0x30000);
}

/* True if `shown` is `bytes`, each of them as \xHH. */
static bool is_escaped(const char *shown, const char *bytes, size_t length) {
    char expected[17];

    for (size_t i = 0; i < length; i++)
        snprintf(expected + 4 * i, 5, "\\x%02x", (unsigned char)bytes[i]);
    return strcmp(shown, expected) == 0;
}

static void test_every_character(void) {
    bool well = true, alone = true;
    unsigned hidden = 0;

    for (uint32_t point = 1; point <= 0x10ffff && well && alone; point++) {
        char bytes[5], shown[17];
        size_t length = encode(bytes, point);
        bool escaped;

        if (point >= 0xd800 && point <= 0xdfff)
            continue;
        text_escape(shown, sizeof shown, bytes, true);
        escaped = is_escaped(shown, bytes, length);
        hidden += escaped;
        well = text_code_point((const unsigned char *)bytes, length) == point &&
               (escaped || strcmp(shown, bytes) == 0) && (escaped || !must_be_escaped(point)) &&
               !(escaped && must_be_shown(point));
        text_escape(shown, sizeof shown, bytes, false);
        alone = point < 0x80 || is_escaped(shown, bytes, length);
        if (!well || !alone)
            printf("# U+%04X\n", (unsigned)point);
    }
    check(well, "of all characters those are escaped that steer, turn or hide");
    check(alone, "and all beyond ASCII where the terminal is no UTF-8");
    printf("# %u are escaped\n", hidden);
}

/* ---- which terminal it is ---- */

static bool takes_utf8(const char *all, const char *ctype, const char *lang) {
    const char *values[] = {all, ctype, lang};
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    char to[16];

    for (int i = 0; i < 3; i++) {
        unsetenv(names[i]);
        if (values[i])
            setenv(names[i], values[i], 1);
    }
    text_printable(to, sizeof to, "\xc3\xbc");
    return strcmp(to, "\xc3\xbc") == 0;
}

static void test_locale(void) {
    check(!takes_utf8(NULL, NULL, NULL) && !takes_utf8("", "", ""), "no locale is C");
    check(takes_utf8("C.UTF-8", NULL, NULL) && takes_utf8(NULL, "de_DE.utf8", NULL) &&
              takes_utf8(NULL, NULL, "en_US.UTF-8") && takes_utf8("", "", "tr_TR.UTF8@x") &&
              takes_utf8(NULL, "UTF-8", NULL),
          "UTF-8 is known in all its spellings");
    check(!takes_utf8("C", "C.UTF-8", "C.UTF-8") && !takes_utf8(NULL, "POSIX", "C.UTF-8") &&
              takes_utf8("", "C.UTF-8", "C"),
          "the first that is set and not empty says it");
    check(!takes_utf8("en_US", NULL, NULL) && !takes_utf8("en_US.ISO-8859-1", NULL, NULL) &&
              !takes_utf8("ja_JP.eucJP", NULL, NULL) && !takes_utf8("en_US.utf", NULL, NULL) &&
              !takes_utf8("en_US.utf-16", NULL, NULL) && !takes_utf8("de_DE@utf8", NULL, NULL),
          "no other one is UTF-8");
    setenv("LC_ALL", "C.UTF-8", 1);
}

/* How many bytes the character that `s` begins with has. */
static size_t length_of(const char *s) {
    return text_utf8_length((const unsigned char *)s);
}

static void test_utf8_length(void) {
    check(length_of("") == 1 && length_of("a") == 1 && length_of("\x7f") == 1 &&
              length_of("\xc2\x80") == 2 && length_of("\xdf\xbf") == 2 &&
              length_of("\xe0\xa0\x80") == 3 && length_of("\xed\x9f\xbf") == 3 &&
              length_of("\xef\xbf\xbf") == 3 && length_of("\xf0\x90\x80\x80") == 4 &&
              length_of("\xf4\x8f\xbf\xbf") == 4,
          "the first and the last character of each length have it");
    check(length_of("\x80") == 0 && length_of("\xc1\xbf") == 0 && length_of("\xe0\x9f\xbf") == 0 &&
              length_of("\xed\xa0\x80") == 0 && length_of("\xf0\x8f\xbf\xbf") == 0 &&
              length_of("\xf4\x90\x80\x80") == 0 && length_of("\xf5\x80\x80\x80") == 0 &&
              length_of("\xff") == 0 && length_of("\xe2\x82") == 0 && length_of("\xc3") == 0,
          "what lies beside them has none");
}

static void test_percent(void) {
    char to[16], all[256], encoded[3 * 256], decoded[256];

    check(text_percent_encode(to, sizeof to, "a b/\xc3\xbc%", "/") &&
              strcmp(to, "a%20b/%C3%BC%25") == 0,
          "all but letters, digits and what is kept is encoded");
    check(!text_percent_encode(to, sizeof to, "      ", "") && !*to,
          "what does not fit when encoded leaves nothing");
    check(text_percent_encode(to, sizeof to, "     ", "") && strlen(to) == 15,
          "what just fits when encoded fits");
    for (int i = 1; i < 256; i++)
        all[i - 1] = (char)i;
    all[255] = '\0';
    check(text_percent_encode(encoded, sizeof encoded, all, "") &&
              text_percent_decode(decoded, sizeof decoded, encoded, strlen(encoded)) &&
              strcmp(decoded, all) == 0,
          "every byte survives encoding and decoding");
    check(text_percent_decode(to, sizeof to, "%2f%2Fxyz", 6) && strcmp(to, "//") == 0,
          "either case of hex digits decodes, and only as far as asked");
    check(!text_percent_decode(to, sizeof to, "a%00", 4) && !*to, "%%00 does not decode");
    check(!text_percent_decode(to, sizeof to, "a\0b", 3), "nor does a NUL itself");
    check(!text_percent_decode(to, sizeof to, "%4", 2) &&
              !text_percent_decode(to, sizeof to, "%41", 2) &&
              !text_percent_decode(to, sizeof to, "%", 1) &&
              !text_percent_decode(to, sizeof to, "%g1", 3) &&
              !text_percent_decode(to, sizeof to, "%1g", 3),
          "broken escapes do not decode");
    check(text_percent_decode(to, 3, "%41b", 4) && !text_percent_decode(to, 2, "%41b", 4),
          "what does not fit when decoded does not decode");
}

static void test_the_rest(void) {
    unsigned long long number = 7;
    char to[4];

    check(text_has_control("a\tb") && text_has_control("\x7f") && !text_has_control("a b\xc3\xbc"),
          "control characters are found, and nothing else");
    check(text_is_utf8("") && text_is_utf8("gr\xc3\xbc\xc3\x9f \xf0\x9f\x94\x92") &&
              !text_is_utf8("a\xff") && !text_is_utf8("\xc3") && !text_is_utf8("\xed\xa0\x80"),
          "text_is_utf8() is told by every byte");
    check(text_is_plain("", "") && text_is_plain("azAZ09", "") && text_is_plain("a-b", "_-") &&
              !text_is_plain("a-b", "_") && !text_is_plain("a b", "_") &&
              !text_is_plain("\xc3\xbc", "_"),
          "text_is_plain() knows letters, digits, and what it is told");
    check(text_copy(to, sizeof to, "abcdef", 3) && strcmp(to, "abc") == 0,
          "a copy that fits is whole");
    check(!text_copy(to, sizeof to, "abcdef", 4) && !*to, "a copy that does not fit is empty");
    check(text_number("18446744073709551615", UINT64_MAX, &number) && number == UINT64_MAX,
          "the largest number is read");
    check(text_number("007", 7, &number) && number == 7 && !text_number("8", 7, &number) &&
              !text_number("10", 7, &number),
          "a number is at most what it may be");
    check(!text_number("18446744073709551616", UINT64_MAX, &number) && number == 7,
          "a larger one is not, and the value stays");
    check(!text_number("", 9, &number) && !text_number(NULL, 9, &number) &&
              !text_number("-1", 9, &number) && !text_number("+1", 9, &number) &&
              !text_number(" 1", 9, &number) && !text_number("1 ", 9, &number) &&
              !text_number("0x1", 9, &number),
          "a number has no sign, no blanks and nothing behind it");
    check(text_begins("valkey", "val") && text_begins("x", "") && !text_begins("va", "val") &&
              !text_begins(NULL, ""),
          "text_begins() compares the beginning, and NULL begins with nothing");
}

static bool broken(const char *printable) {
    char again[256];

    text_escape(again, sizeof again, printable, true);
    return text_has_control(printable) || strcmp(again, printable) != 0;
}

static void test_anything(void) {
    struct fuzz fuzz = fuzz_start();
    bool well = true;

    while (well && fuzz_goes_on(&fuzz)) {
        /* On the heap, to the byte: there the sanitizer sees what reads or writes past it. */
        size_t size = fuzz_below(&fuzz, 40) + 1;
        char from[200], *exact, *to = malloc(size), whole[200];
        size_t length =
            fuzz_mutate(&fuzz, from, sizeof from,
                        "gr\xc3\xbc\xc3\x9f%41 \xe2\x82\xac\xf0\x9f\x94\x92\xc2\x9b%20");

        exact = strdup(from);
        text_escape(to, size, exact, true);
        well = strlen(to) < size && !broken(to);
        text_escape(to, size, exact, false);
        well = well && strlen(to) < size && !broken(to);
        text_percent_encode(to, size, exact, "%");
        if (well && text_percent_encode(whole, sizeof whole, exact, "")) {
            char back[200];

            well = text_percent_decode(back, sizeof back, whole, strlen(whole)) &&
                   strcmp(back, from) == 0;
        }
        text_percent_decode(to, size, exact, length);
        free(exact);
        free(to);
    }
    check(well, "whatever comes in, what comes out is printable, and decodes to what it was");
}

int main(void) {
    test_escape();
    test_room();
    test_every_character();
    test_locale();
    test_utf8_length();
    test_percent();
    test_the_rest();
    test_anything();
    return check_done();
}
