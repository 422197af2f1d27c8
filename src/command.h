/* command.h - the commands: one table for dispatch, help and completion.
 *
 * How to add a command: a file cmd_NAME.c with the function, a line here, a row in command.c, a
 * bit in options.h, a section in the manual. */
#ifndef VLOCK_COMMAND_H
#define VLOCK_COMMAND_H

#include "child.h"
#include "options.h"

struct command {
    const char *name;
    unsigned bit;         /* FOR_... */
    const char *operands; /* as in its synopsis: "NAME DUR" */
    unsigned least, most; /* how many operands it takes */
    const char *summary;  /* one line */
    const char *text;     /* what else its help says, whole lines */
    int (*run)(const struct options *options, const struct child_found *found);
};

extern const struct command command_rows[];
extern const unsigned command_count;

/* The command called `name`, or NULL. */
const struct command *command_find(const char *name);

int cmd_acquire(const struct options *options, const struct child_found *found);
int cmd_release(const struct options *options, const struct child_found *found);
int cmd_extend(const struct options *options, const struct child_found *found);
int cmd_reacquire(const struct options *options, const struct child_found *found);
int cmd_owned(const struct options *options, const struct child_found *found);
int cmd_locked(const struct options *options, const struct child_found *found);
int cmd_run(const struct options *options, const struct child_found *found);
int cmd_status(const struct options *options, const struct child_found *found);
int cmd_wait(const struct options *options, const struct child_found *found);
int cmd_break(const struct options *options, const struct child_found *found);
int cmd_help(const struct options *options, const struct child_found *found);
int cmd_completion(const struct options *options, const struct child_found *found);

#endif
