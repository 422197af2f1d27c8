/* dial.h - from an address to a connected socket, without ever blocking.
 *
 * A name is looked up in a thread of its own: getaddrinfo() takes no deadline, and a silent
 * name server must hold up neither a signal nor a lease. Literal addresses and sockets of this
 * machine need no look-up and no thread. Of several addresses the next is tried a quarter of a
 * second after the one before, or as soon as that failed, and the first that answers is taken
 * (RFC 8305 in its simplest form): a dead IPv6 route costs a moment, not a timeout. */
#ifndef VLOCK_DIAL_H
#define VLOCK_DIAL_H

#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "trouble.h"

enum { DIAL_AT_ONCE = 6 }; /* attempts under way at one time */

struct dial {
    const struct address *address;
    struct lookup *lookup;  /* the thread's, until it has answered */
    struct addrinfo *found; /* of the look-up; freed at the end */
    struct addrinfo *next;  /* the next address to try */
    struct pollfd pending[DIAL_AT_ONCE];
    unsigned count;
    int64_t next_ms; /* when to try the next address although others are pending */
    int last_error;  /* errno of the last attempt that failed */
};

/* Begins. FAILED/69 if that fails at once, FAILED/71 without descriptors or memory. On DONE
 * *fd is a connected socket (non-blocking, close-on-exec) or -1: not yet, see below. */
enum outcome dial_start(struct dial *dial, const struct address *address, int *fd,
                        struct trouble *why);

/* What to wait for: the descriptors and, in *deadline_ms, a time after which dial_step() has
 * something to do in any case (the value is only ever lowered). */
struct pollfd *dial_watch(struct dial *dial, unsigned *count, int64_t *deadline_ms);

/* Goes on after loop_wait(). As dial_start(). */
enum outcome dial_step(struct dial *dial, int *fd, struct trouble *why);

/* Gives up what is pending. Safe on a dial that never began or has ended. */
void dial_end(struct dial *dial);

#endif
