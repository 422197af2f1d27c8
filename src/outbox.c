#include "outbox.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

bool outbox_add(struct outbox *outbox, unsigned argc, const char **argv, const size_t *lengths) {
    char *command, *larger;
    long long length = redisFormatCommandArgv(&command, (int)argc, argv, lengths);

    if (length < 0)
        return false;
    larger = malloc(outbox->length + (size_t)length);
    if (larger) {
        size_t total = outbox->length + (size_t)length, at = outbox->at;
        if (outbox->bytes)
            memcpy(larger, outbox->bytes, outbox->length);
        memcpy(larger + outbox->length, command, (size_t)length);
        outbox_clear(outbox);
        *outbox = (struct outbox){.bytes = larger, .at = at, .length = total};
    }
    explicit_bzero(command, (size_t)length);
    redisFreeCommand(command);
    return larger != NULL;
}

void outbox_sent(struct outbox *outbox, size_t count) {
    outbox->at += count;
    if (outbox->at >= outbox->length)
        outbox_clear(outbox);
}

void outbox_clear(struct outbox *outbox) {
    if (outbox->bytes)
        explicit_bzero(outbox->bytes, outbox->length);
    free(outbox->bytes);
    *outbox = (struct outbox){0};
}
