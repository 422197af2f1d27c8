#include "command.h"

#include <stddef.h>
#include <string.h>

const struct command command_rows[] = {
    {"acquire", FOR_ACQUIRE, "NAME", 1, 1, "take a lock and print its token",
     "Waits for ever unless -n or -w is given. The lock stays when vlock ends: it is given back\n"
     "with 'vlock release', or ends with its time to live. With --keep-alive it is renewed until "
     "it\n"
     "is given back, at the latest when process PID ends.\n",
     cmd_acquire},
    {"release", FOR_RELEASE, "NAME", 1, 1, "give a lock back",
     "Needs the token. Removes the token file.\n", cmd_release},
    {"extend", FOR_EXTEND, "NAME DUR", 2, 2, "add DUR to what is left of a lock's time to live",
     "Needs the token.\n", cmd_extend},
    {"reacquire", FOR_REACQUIRE, "NAME", 1, 1, "set a lock's time to live back to the full",
     "Needs the token. The time to live is that of -t, else the token file's, else VLOCK_TTL's.\n",
     cmd_reacquire},
    {"owned", FOR_OWNED, "NAME", 1, 1, "exit 0 if the lock is held with our token, else 1", "",
     cmd_owned},
    {"locked", FOR_LOCKED, "NAME", 1, 1, "exit 0 if the lock is held by anybody, else 1", "",
     cmd_locked},
    {"run", FOR_RUN, "[NAME] [--] CMD [ARG...]", 0, 1, "run a command while holding a lock",
     "Options come before NAME. Without NAME, which needs the --, VLOCK_NAME is the lock. The\n"
     "lease is renewed until CMD ends; CMD and all that it started are stopped before the lease\n"
     "could end, and what CMD leaves in the background before the lock is given back. Returns "
     "CMD's\n"
     "own status; 79 if the lock was lost.\n",
     cmd_run},
    {"status", FOR_STATUS, "NAME", 1, 1, "show who holds a lock, and who waits for it",
     "Holder, since when, time to live, fence, note, and those who wait, in order. Exits 0 also\n"
     "when the lock is free.\n",
     cmd_status},
    {"wait", FOR_WAIT, "NAME", 1, 1, "wait until a lock is free, without taking it",
     "Waits for ever unless -w is given: then 75 if the lock is still held. When vlock has seen "
     "it\n"
     "free, somebody else may take it at once.\n",
     cmd_wait},
    {"break", FOR_BREAK, "NAME", 1, 1, "take a lock away from its holder",
     "For an operator: the holder is not asked. Shows him, and breaks only what was shown. Asks "
     "on\n"
     "a terminal; elsewhere --yes or --fence N is needed. The lock goes to the first who waits.\n",
     cmd_break},
    {"help", FOR_HELP, "[COMMAND]", 0, 1, "explain vlock or one of its commands", "", cmd_help},
    {"completion", FOR_COMPLETION, "bash|zsh|fish", 1, 1, "print a completion script for a shell",
     "", cmd_completion},
};

const unsigned command_count = sizeof command_rows / sizeof *command_rows;

const struct command *command_find(const char *name) {
    for (unsigned i = 0; i < command_count; i++)
        if (strcmp(command_rows[i].name, name) == 0)
            return &command_rows[i];
    return NULL;
}
