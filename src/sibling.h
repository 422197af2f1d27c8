/* sibling.h - the other vlock.
 *
 * Most of what a short run costs is its own start, and most of that is libc's. So where musl is
 * to be had there are two programs of the same source: `vlock`, static with musl, which starts
 * several times faster, and `vlock-full`, with the system's own libc, which can load what a
 * static program cannot: the system's name service and OpenSSL. vlock becomes vlock-full
 * (execve: same process, same arguments) before it has done anything, when the address needs
 * one of these: TLS, or a host that is a name other than localhost. Where there is only one
 * program, nothing of this happens. cmake/musl.cmake has the figures. */
#ifndef VLOCK_SIBLING_H
#define VLOCK_SIBLING_H

#include "address.h"
#include "child.h"
#include "trouble.h"

/* DONE: this program can do it itself. Does not return if the other one takes over. FAILED/71 if
 * that cannot be run. */
enum outcome sibling_become(const struct address *address, const struct child_found *found,
                            struct trouble *why);

#endif
