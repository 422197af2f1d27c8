/* tls.h - TLS over a connected socket, with the system's OpenSSL loaded only now.
 *
 * Linking libssl doubles the time of a whole run, so it is opened with dlopen() when an
 * address asks for it, and only its headers are needed to build (see CMakeLists.txt).
 * The server's certificate is verified, its host name included, against the system's CA
 * directory by hash (reading the whole bundle takes longer than everything else together). */
#ifndef VLOCK_TLS_H
#define VLOCK_TLS_H

#include <poll.h>
#include <stddef.h>
#include <sys/types.h>

#include "address.h"
#include "trouble.h"

struct tls_context;
struct tls;

/* ---- what the connections of one wire have in common ----
 *
 * OpenSSL, and what it has loaded from the files that were named. They are read for the first
 * connection, and again for each later one, as they may have been replaced. If they cannot be used
 * then, whatever the reason, what was loaded before stays. */

/* Begins to read what access->cacert, ->cert and ->key name; `access` must last. FAILED/71 no
 * OpenSSL on this machine; FAILED/78 a file is no good. On FAILED there is nothing to free. */
enum outcome tls_context_open(const struct access *access, struct tls_context **out,
                              struct trouble *why);

/* Goes on reading. DONE: connections can be made; STOPPED: a pipe's writer has more to write, wait
 * for tls_context_watch(); FAILED/78, /71. */
enum outcome tls_context_step(struct tls_context *context, struct trouble *why);

/* What to wait for. */
struct pollfd *tls_context_watch(struct tls_context *context, unsigned *count);

/* Says which file is still not read, though the time is over. FAILED/78: the server has nothing to
 * do with it, and trying again would not help. */
enum outcome tls_context_late(const struct tls_context *context, struct trouble *why);

/* Reads the files anew, for a connection that follows another. Nothing is waited for, as a lease is
 * running: what is not there at once cannot be used. */
void tls_context_reload(struct tls_context *context);

/* Safe on NULL. Sessions must have been closed. */
void tls_context_free(struct tls_context *context);

/* ---- one connection ---- */

/* Prepares TLS on the connected non-blocking socket `fd`, which stays the caller's. FAILED/78: the
 * name to ask for is none; FAILED/71. */
enum outcome tls_open(int fd, const struct address *address, const struct tls_context *context,
                      struct tls **out, struct trouble *why);

/* Goes on with the handshake. DONE: finished; STOPPED: wait for tls_events(); FAILED/77: the
 * server could not be verified or did not accept us; FAILED/76: it does not speak TLS;
 * UNSURE: the connection ended in the middle. */
enum outcome tls_handshake(struct tls *tls, struct trouble *why);

/* As read() and send(): a count, 0 at the end, -1 with errno EAGAIN (wait for tls_events()) or
 * another errno; EPROTO: tls_complain() has the sentence. */
ssize_t tls_read(struct tls *tls, void *bytes, size_t size);
ssize_t tls_write(struct tls *tls, const void *bytes, size_t size);

/* POLLIN or POLLOUT: what the last call that could not go on waits for. */
short tls_events(const struct tls *tls);

/* True if decrypted bytes are waiting that poll() knows nothing of. */
int tls_has_bytes(const struct tls *tls);

/* Says what went wrong in the last call that failed with EPROTO. FAILED/77 or FAILED/76. */
enum outcome tls_complain(const struct tls *tls, struct trouble *why);

void tls_close(struct tls *tls);

#endif
