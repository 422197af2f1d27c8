/* exits.h - every exit status vlock gives, once.
 *
 * The numbers are those of the command-line contract (mostly sysexits.h). The list is an
 * X-macro so that `vlock help` prints the same sentences; tests/agreement.bats holds the
 * manual against that. `run` moreover returns its command's own status, and 128+N when
 * signal N ended the command or the wait. */
#ifndef VLOCK_EXITS_H
#define VLOCK_EXITS_H

#define EXIT_STATUSES(X)                                                                     \
    X(EXIT_DONE, 0, "done; for owned and locked: yes")                                       \
    X(EXIT_NO, 1, "for owned and locked: no")                                                \
    X(EXIT_USAGE, 64, "usage: unknown option, bad duration, bad name")                       \
    X(EXIT_DATA, 65,                                                                         \
      "the token file is malformed or for another lock or store, or the "                    \
      "lock has no expiry to extend or reset")                                               \
    X(EXIT_NO_TOKEN, 66, "no token, or the named token file is missing")                     \
    X(EXIT_UNREACHABLE, 69, "the store cannot be reached, or did not answer in time")        \
    X(EXIT_BUG, 70, "a bug in vlock")                                                        \
    X(EXIT_SYSTEM, 71, "the system refused something (fork, memory, local I/O)")             \
    X(EXIT_CANNOT_WRITE, 73,                                                                 \
      "the token file, the answer, or the local store's directory "                          \
      "cannot be written")                                                                   \
    X(EXIT_BUSY, 75, "busy: someone else holds the lock and the wait, if any, is over")      \
    X(EXIT_PROTOCOL, 76, "the server answered something that is no lock operation's answer") \
    X(EXIT_REFUSED, 77,                                                                      \
      "refused: authentication, ACL, read-only replica, a server that "                      \
      "takes no writes, TLS verification, a directory or token file of another user")        \
    X(EXIT_CONFIG, 78, "configuration: empty or malformed URL or variable")                  \
    X(EXIT_NOT_OWNED, 79,                                                                    \
      "not owned: the token no longer holds the lock; for run: the "                         \
      "lock was lost while the command ran")                                                 \
    X(EXIT_TIMED_OUT, 124, "run: stopped by --max-runtime")                                  \
    X(EXIT_CANNOT_EXECUTE, 126, "run: the command cannot be executed")                       \
    X(EXIT_NOT_FOUND, 127, "run: the command was not found")

enum exit_status {
#define X(name, number, sentence) name = (number),
    EXIT_STATUSES(X)
#undef X
        EXIT_SIGNAL_BASE = 128 /* + N: signal N ended the command, or the wait */
};

#endif
