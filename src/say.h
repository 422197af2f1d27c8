/* say.h - what vlock tells people: on stderr, a line at a time, each in one write.
 *
 *     vlock: NAME: what happened: what to do
 *
 * A stderr that nobody reads (a full pipe, a terminal stopped with Ctrl-S) never holds vlock up for
 * long, and not at all while a command depends on its lease: the line is dropped. */
#ifndef VLOCK_SAY_H
#define VLOCK_SAY_H

#include <stdbool.h>
#include <stddef.h>

#include "trouble.h"

struct say {
    const char *name; /* the lock's NAME, NULL while there is none */
    bool quiet;       /* -q: errors only */
    bool verbose;     /* -v: the wire too */
    bool hurried;     /* drop a line that does not go out at once */
};

/* An error: always printed. */
void say_trouble(const struct say *say, const struct trouble *why);

/* Something to know that is no error; silent with -q. */
void say_note(const struct say *say, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same, but not even -q silences it. */
void say_loud(const struct say *say, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A question whose answer is typed behind it. */
void say_question(const struct say *say, const char *text);

/* A line about the wire, with -v only. A function for struct access: `say` is a struct say. */
void say_wire(void *say, const char *text);

/* Writes all of `length` bytes to stdout. False with errno set if they did not all go. */
bool say_answer(const char *bytes, size_t length);

#endif
