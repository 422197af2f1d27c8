/* noreplace.h - rename(2) that never replaces: a call of the kernel's that not every libc has. */
#ifndef VLOCK_NOREPLACE_H
#define VLOCK_NOREPLACE_H

/* Renames `from` to `to`, both in the open directory `directory`. 0, or -1 with errno: EEXIST if
 * something is called `to` already, EINVAL or ENOSYS where the file system or kernel cannot. */
int noreplace_rename(int directory, const char *from, const char *to);

#endif
