/* outbox.h - commands that wait to be sent, in the protocol's form. Wiped when they are gone:
 * a password may be among them. */
#ifndef VLOCK_OUTBOX_H
#define VLOCK_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>

struct outbox {
    char *bytes;       /* NULL: empty */
    size_t at, length; /* what is left: from at to length */
};

/* Adds a command. False: out of memory. */
bool outbox_add(struct outbox *outbox, unsigned argc, const char **argv, const size_t *lengths);

/* Notes that `count` more bytes have been sent. */
void outbox_sent(struct outbox *outbox, size_t count);

/* Drops whatever is left. */
void outbox_clear(struct outbox *outbox);

#endif
