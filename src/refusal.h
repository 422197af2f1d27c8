/* refusal.h - what a server's error reply means for a lock, in one table. */
#ifndef VLOCK_REFUSAL_H
#define VLOCK_REFUSAL_H

#include <stdbool.h>

#include "trouble.h"

/* Explains the error reply `error` ("NOPERM this user has ...") of the server shown as
 * `address`, to the request called `request`. FAILED with the status that belongs to it:
 * EXIT_UNREACHABLE for errors that pass by themselves (loading, failing over, too many clients). */
enum outcome refusal_say(struct trouble *why, const char *address, const char *request,
                         const char *error);

/* True for an error that lasts until somebody has done something about it, but does not speak
 * against those who wait: a server that takes no writes for want of memory or disk, or because it
 * is being replaced. */
bool refusal_may_pass(const char *error);

/* True for an error that says that the server cannot answer now, but may soon (status 69). */
bool refusal_passes(const char *error);

/* How many bytes of `error` may be shown: not the arguments that some errors repeat. */
int refusal_length(const char *error);

/* True if the error's code is `code` ("NOSCRIPT"), directly or as a script passed it on. */
bool refusal_is(const char *error, const char *code);

#endif
