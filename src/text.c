#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Not <ctype.h>: what a letter is must not depend on the user's locale. */
static bool is_digit(unsigned char c) {
    return c >= '0' && c <= '9';
}

static bool is_letter(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_control(unsigned char c) {
    return c < 0x20 || c == 0x7f;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

size_t text_utf8_length(const unsigned char *s) {
    size_t length = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;

    if (length == 1)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4 || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++) {
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    }
    return length;
}

bool text_is_utf8(const char *s) {
    const unsigned char *at = (const unsigned char *)s;
    size_t length = 1;

    while (*at && length > 0) {
        length = text_utf8_length(at);
        at += length;
    }
    return length > 0;
}

uint32_t text_code_point(const unsigned char *s, size_t length) {
    static const unsigned char first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t point = s[0] & first_bits[length];

    for (size_t i = 1; i < length; i++)
        point = point << 6 | (s[i] & 0x3f);
    return point;
}

/* Whether a character is not shown as one of its own. Beyond ASCII: the C1 controls, the separators
 * of lines and paragraphs, the controls of annotations and of hieroglyphs, and all that Unicode's
 * DerivedCoreProperties.txt has as Default_Ignorable_Code_Point. */
static bool is_hidden(uint32_t point) {
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x0000, 0x001f},   {0x007f, 0x009f},   {0x00ad, 0x00ad},   {0x034f, 0x034f},
        {0x061c, 0x061c},   {0x115f, 0x1160},   {0x17b4, 0x17b5},   {0x180b, 0x180f},
        {0x200b, 0x200f},   {0x2028, 0x202e},   {0x2060, 0x206f},   {0x3164, 0x3164},
        {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0},   {0xfff0, 0xfffb},
        {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
    };
    size_t i = 0;

    while (i < sizeof ranges / sizeof *ranges && point > ranges[i].last)
        i++;
    return i < sizeof ranges / sizeof *ranges && point >= ranges[i].first;
}

size_t text_escape(char *to, size_t size, const char *from, bool utf8) {
    const unsigned char *s = (const unsigned char *)from;
    size_t used = 0;

    if (size == 0)
        return 0;
    while (*s) {
        size_t length = text_utf8_length(s);
        bool plain = length == 1 || (length > 1 && utf8);
        size_t bytes = plain ? length : 1; /* those that go together */

        plain = plain && !is_hidden(text_code_point(s, length));
        if ((plain ? bytes : 4 * bytes) > size - 1 - used)
            break;
        for (; bytes > 0; bytes--, s++) {
            if (plain)
                to[used++] = (char)*s;
            else
                used += (size_t)snprintf(to + used, size - used, "\\x%02x", *s);
        }
    }
    to[used] = '\0';
    return used;
}

/* As the C library would understand it once setlocale(3) was called, which would cost every start a
 * search for files. */
static bool locale_is_utf8(void) {
    static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    const char *name = NULL, *codeset;
    size_t length;

    for (size_t i = 0; i < sizeof variables / sizeof *variables && !(name && *name); i++)
        name = getenv(variables[i]);
    if (!name)
        return false;
    codeset = strchr(name, '.');
    codeset = codeset ? codeset + 1 : name; /* a Mac's, which ssh passes on: UTF-8 alone */
    length = strcspn(codeset, "@");
    return (length == 5 && strncasecmp(codeset, "utf-8", length) == 0) ||
           (length == 4 && strncasecmp(codeset, "utf8", length) == 0);
}

size_t text_printable(char *to, size_t size, const char *from) {
    return text_escape(to, size, from, locale_is_utf8());
}

bool text_has_control(const char *s) {
    for (; *s; s++) {
        if (is_control((unsigned char)*s))
            return true;
    }
    return false;
}

bool text_is_plain(const char *s, const char *others) {
    while (is_letter((unsigned char)*s) || is_digit((unsigned char)*s) ||
           (*s && strchr(others, *s)))
        s++;
    return !*s;
}

bool text_percent_encode(char *to, size_t size, const char *from, const char *keep) {
    static const char digits[] = "0123456789ABCDEF";
    size_t used = 0;

    if (size == 0)
        return false;
    for (const unsigned char *s = (const unsigned char *)from; *s; s++) {
        bool plain = is_letter(*s) || is_digit(*s) || strchr(keep, *s);

        if ((plain ? 1U : 3U) > size - 1 - used) {
            to[0] = '\0';
            return false;
        }
        if (plain) {
            to[used++] = (char)*s;
        } else {
            to[used++] = '%';
            to[used++] = digits[*s >> 4];
            to[used++] = digits[*s & 0xf];
        }
    }
    to[used] = '\0';
    return true;
}

/* The byte that stands at `from`, and in *width how many bytes it is written with. A NUL, plain
 * or escaped, is what cannot be in a string: 0 is the answer to that and to a broken escape. */
static unsigned char decode_one(const char *from, size_t length, size_t *width) {
    int high, low;

    *width = 1;
    if (from[0] != '%')
        return (unsigned char)from[0];
    if (length < 3)
        return '\0';
    high = hex_value(from[1]);
    low = hex_value(from[2]);
    *width = 3;
    return high < 0 || low < 0 ? '\0' : (unsigned char)(high * 16 + low);
}

bool text_percent_decode(char *to, size_t size, const char *from, size_t length) {
    size_t used = 0, width;

    if (size == 0)
        return false;
    for (size_t at = 0; at < length; at += width) {
        unsigned char c = decode_one(from + at, length - at, &width);

        if (c == '\0' || used + 1 >= size) {
            to[0] = '\0';
            return false;
        }
        to[used++] = (char)c;
    }
    to[used] = '\0';
    return true;
}

bool text_copy(char *to, size_t size, const char *from, size_t length) {
    bool fits = length < size;

    if (size == 0)
        return false;
    if (fits)
        memcpy(to, from, length);
    to[fits ? length : 0] = '\0';
    return fits;
}

bool text_number(const char *digits, unsigned long long most, unsigned long long *value) {
    unsigned long long sum = 0;

    if (!digits || !*digits)
        return false;
    for (; *digits; digits++) {
        unsigned long long digit = (unsigned long long)(*digits - '0');

        if (!is_digit((unsigned char)*digits) || digit > most || sum > (most - digit) / 10)
            return false;
        sum = sum * 10 + digit;
    }
    *value = sum;
    return true;
}

bool text_begins(const char *s, const char *prefix) {
    return s && strncmp(s, prefix, strlen(prefix)) == 0;
}

void text_redact(char *text, const char *secret) {
    size_t length = strlen(secret);

    if (length < 6)
        return;
    for (char *at = strstr(text, secret); at; at = strstr(at, secret))
        memset(at, '*', length);
}
