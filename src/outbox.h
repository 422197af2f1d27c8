/* outbox.h - commands that wait to be sent, in the protocol's form. Wiped when they are gone:
 * a password may be among them.
 *
 * The memory is kept from one command to the next: with musl, every allocation of this size is a
 * mapping made and taken away again (measured: some 4 us a command). */
#ifndef VLOCK_OUTBOX_H
#define VLOCK_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>

struct outbox {
    char *bytes;
    size_t at, length; /* what is left: from at to length */
    size_t room;       /* of bytes */
};

/* Adds a command. False: out of memory. */
bool outbox_add(struct outbox *outbox, unsigned argc, const char **argv, const size_t *lengths);

/* True if there is nothing left to send. */
bool outbox_empty(const struct outbox *outbox);

/* Notes that `count` more bytes have been sent. */
void outbox_sent(struct outbox *outbox, size_t count);

/* Drops whatever is left. */
void outbox_clear(struct outbox *outbox);

/* The same, and gives the memory back. */
void outbox_free(struct outbox *outbox);

#endif
