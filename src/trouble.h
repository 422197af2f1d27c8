/* trouble.h - what came of an operation, and the sentence that goes with it.
 *
 * A lock has more answers than yes and error. Every operation that can fail returns an
 * `enum outcome` and leaves the sentence for the user in the caller's `struct trouble`:
 * nothing below cmd_* prints, nothing below cmd_* exits. A failing path is one line:
 *
 *     return trouble_say(why, UNSURE, EXIT_UNREACHABLE, "no answer from %s", address);
 */
#ifndef VLOCK_TROUBLE_H
#define VLOCK_TROUBLE_H

#include "exits.h"

enum outcome {
    DONE,    /* it is so, on the store's own word */
    HELD,    /* someone else holds the lock */
    LOST,    /* our token does not hold the lock (any more) */
    UNSURE,  /* asked, and no answer came: it may or may not have happened */
    STOPPED, /* the loop was told to stop waiting (signal, child's end): nothing is wrong */
    FAILED   /* it did not happen; why->status says what kind of failure */
};

struct trouble {
    enum exit_status status; /* what vlock exits with if nobody handles it */
    char text[1024];         /* "what happened: what to do", no NAME, no full stop */
};

/* Writes the sentence (truncated to fit, made harmless by text_printable()) and the exit status
 * into `why`, which may be NULL, and returns `outcome`, so that the caller can return it. */
enum outcome trouble_say(struct trouble *why, enum outcome outcome, enum exit_status status,
                         const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
