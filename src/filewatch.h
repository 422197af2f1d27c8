/* filewatch.h - waking up when something is done to a file: inotify(7) on one file, and on the
 * directory that it is in, of which only its own name matters.
 *
 * The watch is on the file that is open, whatever its name leads to by now. Of the kernel's event
 * for a descriptor that was closed: it comes a moment before the locks that were held through the
 * descriptor are gone, so who waits for that must look more than once. */
#ifndef VLOCK_FILEWATCH_H
#define VLOCK_FILEWATCH_H

#include <stdbool.h>

struct filewatch_seen {
    bool written; /* the file was changed */
    bool closed;  /* somebody who had it open for reading has closed it */
    bool moved;   /* its name, or the directory's, or what it leads to, has changed */
};

/* A descriptor that is readable when something happened to the file behind `file` or to the name of
 * the directory behind `directory` (where the kernel lets us watch it); -1 with errno if there is
 * none to be had (inotify is limited for each user). */
int filewatch_open(int file, int directory);

/* What happened since the last time. */
struct filewatch_seen filewatch_look(int watch);

/* Closes it, or does nothing for -1. Not close(), which waits until the kernel has forgotten the
 * watch: up to 20 ms, which the end of vlock would come later. */
void filewatch_close(int watch);

#endif
