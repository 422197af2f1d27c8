#include "duration.h"

#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t ms;
};

/* From large to small: the order in which a compound names them. */
static const struct unit units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};
enum { UNITS = sizeof units / sizeof *units, SECONDS = 3 };

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Reads the digits at *text as a number of `unit_ms` each and adds it to *ms. */
static bool add_whole(const char *digits, size_t count, int64_t unit_ms, int64_t *ms) {
    int64_t number = 0;

    for (size_t i = 0; i < count; i++) {
        number = number * 10 + (digits[i] - '0');
        if (number > DURATION_MAX_MS)
            return false;
    }
    return !__builtin_mul_overflow(number, unit_ms, &number) &&
           !__builtin_add_overflow(*ms, number, ms);
}

/* The same for the digits behind the point, exactly: in floating point 1.1s would be a
 * millisecond short, and a lease must be what was asked for. */
static bool add_fraction(const char *digits, size_t count, int64_t unit_ms, int64_t *ms) {
    int64_t number = 0, scale = 1;

    while (count > 0 && digits[count - 1] == '0')
        count--;
    /* A day has 2^10 * 5^5 * 27 ms, so that after ten digits, the last not 0, no millisecond
       comes out whole. That also keeps the product below under 2^63. */
    if (count > 10)
        return false;
    for (size_t i = 0; i < count; i++) {
        number = number * 10 + (digits[i] - '0');
        scale *= 10;
    }
    if (number * unit_ms % scale != 0)
        return false;
    return !__builtin_add_overflow(*ms, number * unit_ms / scale, ms);
}

static size_t count_digits(const char *text) {
    size_t count = 0;

    while (is_digit(text[count]))
        count++;
    return count;
}

/* The unit named at `text`, at `first` or a smaller one; UNITS if there is none. */
static unsigned find_unit(const char *text, size_t length, unsigned first) {
    while (first < UNITS &&
           (strlen(units[first].name) != length || memcmp(units[first].name, text, length) != 0))
        first++;
    return first;
}

/* Reads one number and its unit at *text, moves *text behind it, adds to *ms. *next is the
 * largest unit that may still come: first any, then only smaller ones than the last. */
static bool read_part(const char **text, unsigned *next, int64_t *ms) {
    const char *whole = *text, *fraction, *name;
    size_t whole_count = count_digits(whole), fraction_count = 0, length;
    unsigned unit;

    fraction = whole + whole_count;
    if (*fraction == '.') {
        fraction_count = count_digits(++fraction);
        /* ".5" is a number, "." and "1." are what is left when digits got lost. */
        if (fraction_count == 0)
            return false;
    }
    if (whole_count + fraction_count == 0)
        return false;
    name = fraction + fraction_count;
    length = strcspn(name, "0123456789.");
    /* Only a number that stands alone goes without a unit. */
    unit = length == 0 && *next == 0 && !*name ? SECONDS : find_unit(name, length, *next);
    if (unit == UNITS)
        return false;
    *text = name + length;
    *next = unit + 1;
    return add_whole(whole, whole_count, units[unit].ms, ms) &&
           add_fraction(fraction, fraction_count, units[unit].ms, ms) && *ms <= DURATION_MAX_MS;
}

bool duration_parse(const char *text, int64_t *ms) {
    int64_t sum = 0;
    unsigned next = 0;

    do {
        if (!read_part(&text, &next, &sum))
            return false;
    } while (*text);
    *ms = sum;
    return true;
}

/* Whole units of d, h, m, then what is left in seconds. */
static void format_compound(char text[DURATION_TEXT_BYTES], int64_t ms) {
    size_t used = 0;

    for (unsigned i = 0; i < SECONDS; i++) {
        if (ms >= units[i].ms)
            used += (size_t)snprintf(text + used, DURATION_TEXT_BYTES - used, "%lld%s",
                                     (long long)(ms / units[i].ms), units[i].name);
        ms %= units[i].ms;
    }
    if (ms == 0 && used > 0)
        return;
    used += (size_t)snprintf(text + used, DURATION_TEXT_BYTES - used, "%lld.%03lld",
                             (long long)(ms / 1000), (long long)(ms % 1000));
    while (text[used - 1] == '0')
        used--;
    if (text[used - 1] == '.')
        used--;
    snprintf(text + used, DURATION_TEXT_BYTES - used, "s");
}

void duration_format(char text[DURATION_TEXT_BYTES], int64_t ms) {
    if (ms <= 0)
        snprintf(text, DURATION_TEXT_BYTES, "0s");
    else if (ms < 1000)
        snprintf(text, DURATION_TEXT_BYTES, "%lldms", (long long)ms);
    else if (ms < 120000 && ms % 1000 == 0) /* 60s and 90s, not 1m and 1m30s */
        snprintf(text, DURATION_TEXT_BYTES, "%llds", (long long)(ms / 1000));
    else
        format_compound(text, ms);
}
