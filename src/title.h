/* title.h - what ps, pidof and pgrep see of a process: its name and its command line.
 *
 * The helper processes of vlock must not answer to the words that a user started vlock with:
 * `kill $(pidof vlock)` and `pkill -f "vlock run NAME"` mean the one process that was started.
 * Those tools read the command line in the process's own memory, so it is overwritten there, after
 * the words were copied. */
#ifndef VLOCK_TITLE_H
#define VLOCK_TITLE_H

#include <stdbool.h>
#include <stddef.h>

struct title {
    char *at; /* where the kernel shows the command line */
    size_t bytes;
    char **argv; /* copies of the words, in their order, ended by NULL */
};

/* Notes where the words of `argv` stand, and has argv, too, point to copies of them. False without
 * memory: nothing was changed, title->argv is NULL. */
bool title_take(struct title *title, char **argv);

/* Frees the copies: what was in argv means nothing from then on. */
void title_free(struct title *title);

/* In a process that was forked: it is called `name` (/proc/PID/comm, 15 bytes of it count), and its
 * command line is `line`, cut to the room that there is. */
void title_set(const struct title *title, const char *name, const char *line);

#endif
