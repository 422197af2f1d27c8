/* text.h - strings that came from outside: made harmless to show, encoded, compared. */
#ifndef VLOCK_TEXT_H
#define VLOCK_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the UTF-8 sequence at `s`, 0 if it is none: overlong forms, surrogates and what is
 * over U+10FFFF are none (the table of RFC 3629, section 4). Never reads past a NUL. */
size_t text_utf8_length(const unsigned char *s);

/* True if all of `s` is UTF-8. */
bool text_is_utf8(const char *s);

/* The code point of the sequence of `length` bytes at `s`, as text_utf8_length() gave it. */
uint32_t text_code_point(const unsigned char *s, size_t length);

/* Copies `from` into `to` so that it can be shown: what steers a terminal, is not seen, or makes
 * what stands beside it look like something else is written byte for byte as \xHH. That is control
 * characters (C1 included), marks and controls of direction, what is invisible by its nature
 * (Unicode calls it ignorable), separators of lines and paragraphs, and what is no UTF-8; if the
 * reader's terminal is not `utf8`, every byte beyond ASCII, which may be a control there.
 *
 * A backslash stands for itself, so that what was made harmless before stays as it is: the form is
 * for people, not to be read back. At most `size` bytes with the NUL; what is over is cut, at the
 * end of a character or of an escape. Returns the length of what is in `to`. */
size_t text_escape(char *to, size_t size, const char *from, bool utf8);

/* The same for whoever sees our output, as LC_ALL, LC_CTYPE or LANG says, the first of them that is
 * set and not empty. */
size_t text_printable(char *to, size_t size, const char *from);

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
