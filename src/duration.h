/* duration.h - DUR: how long, as people write it.
 *
 * A number with an optional unit, decimals and compounds: 500ms, 1.5s, .5s, 90, 1h30m, 2d. No
 * unit means seconds. In a compound every part has a unit, and units go from large to small,
 * each at most once. Precision is one millisecond; what is finer is an error, not rounded. */
#ifndef VLOCK_DURATION_H
#define VLOCK_DURATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DURATION_TEXT_BYTES = 32 };

/* The longest, 2^53, is TTL_MAX_MS in the store's terms: what a double, so Lua, counts exactly. */
#define DURATION_MAX_MS INT64_C(9007199254740992)

/* Parses all of `text` into *ms, 0 to DURATION_MAX_MS. False, *ms untouched, on anything that
 * is not a DUR: empty, sign, blank, exponent, nan, hex, trailing junk, over 2^53 ms, finer than
 * 1 ms. Zero parses ("-w 0" means something): who needs at least 1 ms looks for it. */
bool duration_parse(const char *text, int64_t *ms);

/* Writes `ms` as a DUR that duration_parse() reads back to the same value, in the usual form:
 * 500ms, 1.5s, 60s, 1h30m (whole seconds up to 119s, larger units from 2m on). Negative is 0s.
 * Used in messages, VLOCK_TTL and token files. */
void duration_format(char text[DURATION_TEXT_BYTES], int64_t ms);

#endif
