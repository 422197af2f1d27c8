#include "text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fuzz.h"

static bool shows(const char *from, const char *as) {
    char to[64];

    text_printable(to, sizeof to, from);
    return strcmp(to, as) == 0;
}

static void test_printable(void) {
    char to[6];

    check(shows("plain text", "plain text"), "plain text shows as it is");
    check(shows("a\tb\nc\x1b[2Jd\x7f", "a?b?c?[2Jd?"), "control characters show as '?'");
    check(shows("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x94\x92",
                "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x94\x92"),
          "UTF-8 of two, three and four bytes shows as it is");
    check(shows("a\xc2\x9b"
                "2J",
                "a?2J"),
          "C1 controls, encoded in UTF-8, show as one '?'");
    check(shows("\x80\xbf\xc0\xaf", "????"), "bytes that begin no character show as '?' each");
    check(shows("\xe0\x80\xaf \xf0\x80\x80\xaf", "??? ????"), "overlong forms are broken");
    check(shows("\xed\xa0\x80 \xf4\x90\x80\x80", "??? ????"),
          "surrogates and what is over U+10FFFF are broken");
    check(shows("\xe2\x82", "??"), "a character that is cut off is broken");
    text_printable(to, sizeof to, "abcd\xe2\x82\xac");
    check(strcmp(to, "abcd") == 0, "a character that does not fit is left out whole");
    text_printable(to, 1, "abc");
    check(*to == '\0', "room for the NUL alone holds the empty string");
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

    text_printable(again, sizeof again, printable);
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
        text_printable(to, size, exact);
        well = strlen(to) < size && !broken(to);
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
    test_printable();
    test_utf8_length();
    test_percent();
    test_the_rest();
    test_anything();
    return check_done();
}
