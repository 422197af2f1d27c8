/* say.h - what vlock tells people: on stderr, a line at a time, each in one write.
 *
 *     vlock: NAME: what happened: what to do
 *
 * Whatever is in it, none of it steers a terminal or hides there: text_printable().
 *
 * A stderr that nobody reads (a full pipe, a terminal stopped with Ctrl-S) never holds vlock up for
 * long: the line is dropped. While a command depends on its lease nothing may hold vlock up, not
 * even a log file on a disk that hangs: another process writes it then. */
#ifndef VLOCK_SAY_H
#define VLOCK_SAY_H

#include <stdbool.h>
#include <stddef.h>

#include "trouble.h"

/* Takes a line to whoever writes it; false: it is to be written here, if it goes out at once. Never
 * waits. `by` is from struct say. `needed`: drop rather those that are not. */
typedef bool say_carry(const void *by, const char *bytes, size_t length, bool needed);

struct say {
    const char *name; /* the lock's NAME, NULL while there is none */
    bool quiet;       /* -q: errors only */
    bool verbose;     /* -v: the wire too */
    say_carry *carry; /* who writes the lines in our place, or NULL */
    const void *by;
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
