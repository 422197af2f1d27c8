/* tls_file.h - a file with certificates or a key, by a name that OpenSSL can open at any time.
 *
 * For a regular file that is its own name. Anything else (a FIFO, the pipe of a shell's <(...)) can
 * be read only once, and OpenSSL would wait for its writer without end. So its content is read
 * here, without blocking, into an anonymous file in memory, which is gone when it is closed. */
#ifndef VLOCK_TLS_FILE_H
#define VLOCK_TLS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "trouble.h"

struct tls_file {
    const char *what; /* "key", for messages */
    const char *path; /* as it was named; NULL: there is none */
    /* If it is no regular file: */
    int from;      /* it, until all of it has been read; else -1 */
    int copy;      /* what was read; else -1 */
    size_t length; /* of that */
    bool fifo;     /* nothing to read may mean that no writer has opened it yet */
    dev_t device;  /* which file it is */
    ino_t inode;
    const struct tls_file *same; /* it is being read there, or NULL */
    char name[32];               /* of the copy */
};

/* No file. `what` must last. */
void tls_file_init(struct tls_file *file, const char *what);

/* Opens what is no regular file; nothing is waited for. One that is among the `count` files at
 * `others` is read there, once for both. `path` must last. FAILED/78. */
enum outcome tls_file_open(struct tls_file *file, const char *path, const struct tls_file *others,
                           size_t count, struct trouble *why);

/* Reads what has come. DONE: all of it. STOPPED: wait until file->from is readable. `revents`: what
 * poll() has said of it. FAILED/78: it is empty, too long or cannot be read; FAILED/71. */
enum outcome tls_file_read(struct tls_file *file, short revents, struct trouble *why);

/* What OpenSSL opens, once that was DONE. */
const char *tls_file_name(const struct tls_file *file);

/* "cannot use the key 'F': REASON". FAILED/78. */
enum outcome tls_file_refuse(const struct tls_file *file, const char *reason, struct trouble *why);

/* Forgets the file. Safe on one that was closed. */
void tls_file_close(struct tls_file *file);

#endif
