/* token.h - the token that shows ownership, and what it tells about its holder.
 *
 * A token that vlock makes is 128 random bits from the kernel and then who asked for it:
 *
 *     vl1:RANDOM:START:PID:HOST:NOTE
 *
 * RANDOM 32 lower-case hex digits, START milliseconds since 1970 when it was made, PID decimal,
 * HOST (cut to 64 bytes) and NOTE percent-encoded: letters, digits, '.', '_', '-' stand for
 * themselves, in NOTE '/', '+', '@', ',' too. NOTE may be empty. Printable, no blanks, at
 * most 512 bytes, and nothing that means something to a shell or in a dotenv file (zsh takes
 * ':=word' for a command's path). Only whole-string equality ever decides ownership; the parts are
 * for people. */
#ifndef VLOCK_TOKEN_H
#define VLOCK_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"
#include "trouble.h"

enum { NOTE_MAX_BYTES = 128, TOKEN_SHORT_BYTES = 24 };

struct token_holder {
    char host[256];
    long pid;
    int64_t made_ms; /* wall clock, when the token was made: not when the lock was given */
    char note[NOTE_MAX_BYTES + 1];
};

/* Makes a new token for this process. `note` may be NULL or at most NOTE_MAX_BYTES bytes.
 * FAILED/71 if the kernel gives no random bits, FAILED/64 if the note is too long. */
enum outcome token_make(char token[TOKEN_MAX_BYTES + 1], const char *note, struct trouble *why);

/* Fills `id` with REQUEST_ID_BYTES hex digits from the kernel's random bits. */
enum outcome token_make_id(char id[REQUEST_ID_BYTES + 1], struct trouble *why);

/* Reads a token of vlock's own form strictly. False, *out untouched, for any other value
 * (a redis-py uuid, somebody's word). */
bool token_read(const char *token, struct token_holder *out);

/* A few leading characters of a token and "...": enough to tell two apart for a person, never
 * enough to present it. A vlock token shows 8 digits of RANDOM; a foreign one 8 bytes, but at
 * most a quarter of it, as they are: whoever prints them makes them harmless. */
void token_shorten(char text[TOKEN_SHORT_BYTES], const char *token);

#endif
