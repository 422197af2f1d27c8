/* holder.h - who holds a lock, and who waits for it, in words for people.
 *
 * A token of vlock's own form names its process. Another one is either a foreign client's, or that
 * of a vlock that was given --token: the store knows (struct answer, fenced). Tokens are only ever
 * shown shortened, and what comes out of here may hold control characters: whoever prints it makes
 * it harmless (say.h, trouble.h, text_printable()). */
#ifndef VLOCK_HOLDER_H
#define VLOCK_HOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"

enum { HOLDER_WHO_BYTES = 320, HOLDER_WHEN_BYTES = 40, HOLDER_BYTES = 640 };

/* One sentence about who holds the lock ("held by pid 7 on host web1 since ..., 42s left"). */
void holder_describe(char *text, size_t size, const struct answer *answer);

/* Who presents `token`: "pid 7 on host web1", or the token shortened. `fenced`: a vlock does. */
void holder_who(char text[HOLDER_WHO_BYTES], const char *token, bool fenced);

/* An instant on the wall clock, in local time; "an unknown time" if it is none. */
void holder_when(char text[HOLDER_WHEN_BYTES], int64_t wall_ms);

/* What is left: "42s left", or "never expires". */
void holder_left(char text[HOLDER_WHEN_BYTES], int64_t ttl_ms);

/* When the lock was given, on the wall clock; for a vlock's token at least when that was made. 0 if
 * it is not known. */
int64_t holder_since_ms(const struct answer *answer);

/* True if what the key holds was not put there by a vlock. */
bool holder_is_foreign(const struct answer *answer);

#endif
