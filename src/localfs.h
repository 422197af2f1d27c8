/* localfs.h - whether a file system is this machine's own.
 *
 * Only there does a flock(2) tell for certain what every other process does: elsewhere it may reach
 * no further than this machine, while another one has the same file. */
#ifndef VLOCK_LOCALFS_H
#define VLOCK_LOCALFS_H

#include <stdbool.h>
#include <stdint.h>

/* True if the file system that `fd` is on keeps its files and their flocks in this kernel. False if
 * not, or if that is not known. *type is that of statfs(2), or 0 with errno if that failed. */
bool localfs_is(int fd, uint32_t *type);

#endif
