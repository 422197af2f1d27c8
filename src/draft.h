/* draft.h - a file of the locks' directory gets its name only when it is whole.
 *
 * It is written and synced without a name (O_TMPFILE), then linked; where that is not to be had,
 * under a temporary name, then renamed where nothing stands yet. (Not linked and unlinked: killed
 * in between, that leaves a file with two names.) A kill leaves no file, or a '.new-...' that means
 * nothing and is removed one day (store_local_reclaim.c). If two make one at the same time, the
 * second throws its own away and opens the other's. */
#ifndef VLOCK_DRAFT_H
#define VLOCK_DRAFT_H

#include <stdbool.h>

#include "localdir.h"

#define DRAFT_BEGINS ".new-"

/* Writes what the file is to hold. False with errno. */
typedef bool draft_fill(int fd, const char *arg);

/* Makes the file `name` in `dir`, with the group and mode of the directory. 0: it stands there now,
 * or another one does, or the draft was removed meanwhile: look again; else the errno. */
int draft_make(const struct localdir *dir, const char *name, draft_fill *fill, const char *arg);

#endif
