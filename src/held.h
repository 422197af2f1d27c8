/* held.h - VLOCK_HELD: the locks that the commands around this one hold, for as deep as they
 * are nested.
 *
 * `NAME=TOKEN,NAME=TOKEN,...`, outermost first, each percent-encoded. A lock that is held by one
 * of these tokens will not become free before we end: waiting for it would never end. */
#ifndef VLOCK_HELD_H
#define VLOCK_HELD_H

#include <stdbool.h>
#include <stddef.h>

#include "trouble.h"

/* True if the environment's VLOCK_HELD has the lock NAME with this token. */
bool held_has(const char *name, const char *token);

/* Copies the token that the innermost of them has for the lock NAME to `out`, of `bytes` bytes
 * with the NUL. False, `out` untouched, if there is none, or no room for it. */
bool held_token(const char *name, char *out, size_t bytes);

/* FAILED/78 if VLOCK_HELD is there and malformed. */
enum outcome held_check(struct trouble *why);

/* Adds the lock to VLOCK_HELD in this process's environment. FAILED/71 without memory. */
enum outcome held_add(const char *name, const char *token, struct trouble *why);

#endif
