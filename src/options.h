/* options.h - every option, once: what it is called, who takes it, what its help says.
 *
 * The table serves parsing, `vlock help`, and the shell completions. How to add an option: an
 * enum value here, a row in options.c, and the man page (tests/agreement.bats tells). */
#ifndef VLOCK_OPTIONS_H
#define VLOCK_OPTIONS_H

#include <stdbool.h>

#include "trouble.h"

/* The commands an option can belong to, as bits. */
enum command_bit {
    FOR_ACQUIRE = 1 << 0,
    FOR_RELEASE = 1 << 1,
    FOR_EXTEND = 1 << 2,
    FOR_REACQUIRE = 1 << 3,
    FOR_OWNED = 1 << 4,
    FOR_LOCKED = 1 << 5,
    FOR_RUN = 1 << 6,
    FOR_STATUS = 1 << 7,
    FOR_WAIT = 1 << 8,
    FOR_BREAK = 1 << 9,
    FOR_LOCKS = (1 << 10) - 1, /* all that work on a lock */
    FOR_HELP = 1 << 10,
    FOR_COMPLETION = 1 << 11,
    FOR_ALL = (1 << 12) - 1,
    ONCE = 1 << 12 /* beside the commands: a second value is an error; else the last one counts */
};

enum option {
    OPT_NONBLOCK,
    OPT_WAIT,
    OPT_TTL,
    OPT_TOKEN,
    OPT_TOKEN_FILE,
    OPT_FORMAT,
    OPT_NOTE,
    OPT_CONFLICT,
    OPT_IF_HELD,
    OPT_REPLACE,
    OPT_RECOVER,
    OPT_SIGNAL,
    OPT_KILL_AFTER,
    OPT_MAX_RUNTIME,
    OPT_HOLD_FOR,
    OPT_LEAVE_CHILDREN,
    OPT_REENTER,
    OPT_ON_LOST,
    OPT_KEEP_ALIVE,
    OPT_JSON,
    OPT_FENCE,
    OPT_FOREIGN,
    OPT_YES,
    OPT_URL,
    OPT_PREFIX,
    OPT_USER,
    OPT_PASSWORD_FILE,
    OPT_CACERT,
    OPT_CERT,
    OPT_KEY,
    OPT_SNI,
    OPT_INSECURE,
    OPT_CONNECT_TIMEOUT,
    OPT_REPLY_TIMEOUT,
    OPT_QUIET,
    OPT_VERBOSE,
    OPT_HELP,
    OPT_VERSION,
    OPTIONS
};

struct option_row {
    char letter;          /* -u, or 0 */
    const char *name;     /* --url */
    const char *argument; /* what its value is called, NULL: takes none */
    const char *variable; /* the environment's variable for it, or NULL */
    const char *choices;  /* the values it can have, blank-separated, or NULL */
    unsigned commands;    /* FOR_..., ONCE */
    const char *help;
};

extern const struct option_row option_rows[OPTIONS];

/* What stood on the command line. Strings are argv's own. */
struct options {
    const char *value[OPTIONS]; /* NULL: not given; "" for one that takes no value */
    const char *command;        /* the first operand, or NULL */
    char **operands;            /* those behind it, in order, ended by NULL */
    unsigned operand_count;
    char **run; /* run: the command to run, ended by NULL; else NULL */
};

/* Sorts argv out (it is reordered in place). For `run` options end at NAME: what follows it is
 * "--" or the command. FAILED/64 with a hint for anything that is not understood. */
enum outcome options_parse(char **argv, struct options *out, struct trouble *why);

/* FAILED/64 if an option was given that the command `name` (bit `command`) does not take. */
enum outcome options_check(const struct options *options, const char *name, unsigned command,
                           struct trouble *why);

/* FAILED with `status`: `value` is no DUR for this option. `status` tells where the value came
 * from: EXIT_USAGE the option, EXIT_CONFIG its variable. */
enum outcome options_bad_duration(enum option option, const char *value, enum exit_status status,
                                  struct trouble *why);

#endif
