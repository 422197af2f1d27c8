/* output.h - bytes on stdout and stderr. */
#ifndef VLOCK_OUTPUT_H
#define VLOCK_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

/* Writes all of `length` bytes. False with errno set if they did not all go. */
bool output_all(int fd, const char *bytes, size_t length);

/* Writes to stderr, and waits no longer than `patience_ms` for a pipe, terminal or socket whose
 * reader does not read; what does not go then is dropped: false. At most PIPE_BUF bytes, which go
 * into a pipe whole or not at all. A file on a disk that hangs blocks nevertheless. No background
 * job is stopped for it (tostop). */
bool output_error(const char *bytes, size_t length, int patience_ms);

#endif
