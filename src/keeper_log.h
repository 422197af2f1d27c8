/* keeper_log.h - where a process tells its trouble that nobody sees.
 *
 * A file of mode 0600, made when there is something to say, appended to:
 *
 *     2026-11-21T11:03:04Z vlock[4711]: NAME: what happened
 *
 * What stands under its name and is no plain file of ours alone (a symbolic link, a FIFO, another
 * user's file, one with a second name) is left alone: then, or without a file, it is syslog that is
 * told, as LOG_USER. */
#ifndef VLOCK_KEEPER_LOG_H
#define VLOCK_KEEPER_LOG_H

/* `path` may be NULL. */
void keeper_log(const char *path, const char *name, const char *text);

#endif
