#include "outbox.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD_BYTES = 24, FIRST_ROOM = 2048 }; /* "$" or "*", a number, CR LF */

/* Makes room for `more` bytes. What was there is wiped where it was. */
static bool reserve(struct outbox *outbox, size_t more) {
    size_t room = outbox->room ? outbox->room : FIRST_ROOM;
    char *larger;

    if (outbox->room - outbox->length >= more)
        return true;
    while (room - outbox->length < more)
        room *= 2;
    larger = malloc(room);
    if (!larger)
        return false;
    if (outbox->bytes) {
        memcpy(larger, outbox->bytes, outbox->length);
        explicit_bzero(outbox->bytes, outbox->length);
        free(outbox->bytes);
    }
    outbox->bytes = larger;
    outbox->room = room;
    return true;
}

static void add_bytes(struct outbox *outbox, const char *bytes, size_t length) {
    memcpy(outbox->bytes + outbox->length, bytes, length);
    outbox->length += length;
}

static void add_head(struct outbox *outbox, char kind, size_t number) {
    char head[HEAD_BYTES], *at = head + sizeof head;

    *--at = '\n';
    *--at = '\r';
    do {
        *--at = (char)('0' + number % 10);
    } while (number /= 10);
    *--at = kind;
    add_bytes(outbox, at, (size_t)(head + sizeof head - at));
}

bool outbox_add(struct outbox *outbox, unsigned argc, const char **argv, const size_t *lengths) {
    size_t more = HEAD_BYTES;

    for (unsigned i = 0; i < argc; i++)
        more += HEAD_BYTES + lengths[i] + 2;
    if (!reserve(outbox, more))
        return false;
    add_head(outbox, '*', argc);
    for (unsigned i = 0; i < argc; i++) {
        add_head(outbox, '$', lengths[i]);
        add_bytes(outbox, argv[i], lengths[i]);
        add_bytes(outbox, "\r\n", 2);
    }
    return true;
}

bool outbox_empty(const struct outbox *outbox) {
    return outbox->at == outbox->length;
}

void outbox_sent(struct outbox *outbox, size_t count) {
    outbox->at += count;
    if (outbox->at >= outbox->length)
        outbox_clear(outbox);
}

void outbox_clear(struct outbox *outbox) {
    if (outbox->bytes)
        explicit_bzero(outbox->bytes, outbox->length);
    outbox->at = outbox->length = 0;
}

void outbox_free(struct outbox *outbox) {
    outbox_clear(outbox);
    free(outbox->bytes);
    *outbox = (struct outbox){0};
}
