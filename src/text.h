/* text.h - strings that came from outside: made harmless to show, encoded, compared. */
#ifndef VLOCK_TEXT_H
#define VLOCK_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the UTF-8 sequence at `s`, 0 if it is none: overlong forms, surrogates and what is
 * over U+10FFFF are none (the table of RFC 3629, section 4). Never reads past a NUL. */
size_t text_utf8_length(const unsigned char *s);

/* True if all of `s` is UTF-8. */
bool text_is_utf8(const char *s);

/* Copies `from` into `to` (at most `size` bytes with the NUL, cut at the end if need be) with
 * every control character, C1 controls and broken UTF-8 included, replaced by '?'. */
void text_printable(char *to, size_t size, const char *from);

/* True if `s` holds a control character (0x01 to 0x1f, 0x7f). */
bool text_has_control(const char *s);

/* True if `s` has nothing but letters, digits and bytes of `others`. */
bool text_is_plain(const char *s, const char *others);

/* Overwrites every occurrence of `secret` in `text` with '*'. Secrets of under 6 bytes are left:
 * they stand in every text. */
void text_redact(char *text, const char *secret);

/* Percent-encodes `from` into `to`: every byte except letters, digits and those in `keep`
 * becomes %XX. Returns false, with `to` empty, if it does not fit into `size` bytes. */
bool text_percent_encode(char *to, size_t size, const char *from, const char *keep);

/* The reverse, for `length` bytes at `from`. Returns false, with `to` empty, on a malformed
 * escape, on %00, or if it does not fit. */
bool text_percent_decode(char *to, size_t size, const char *from, size_t length);

/* Copies `length` bytes at `from` and a NUL into `to`; false, with `to` empty, if too long. */
bool text_copy(char *to, size_t size, const char *from, size_t length);

/* Parses an unsigned decimal without sign, blanks or anything after it, at most `most`.
 * Returns false, with *value untouched, on anything else. */
bool text_number(const char *digits, unsigned long long most, unsigned long long *value);

/* True if `s` is not NULL and begins with `prefix`. */
bool text_begins(const char *s, const char *prefix);

#endif
