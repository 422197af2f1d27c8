#include "replies.h"

#include <stdlib.h>

enum {
    MOST_BYTES = 1 << 20, /* of one reply; ours have at most some hundred */
    MOST_ELEMENTS = 1024,
    MOST_DEPTH = 8
};

static void *make_array(const redisReadTask *task, size_t elements) {
    const struct replies *replies = task->privdata;
    unsigned depth = 0;

    for (const redisReadTask *up = task; up; up = up->parent)
        depth++;
    return depth > MOST_DEPTH ? NULL : replies->make_array(task, elements);
}

bool replies_begin(struct replies *replies) {
    *replies = (struct replies){.reader = redisReaderCreate()};
    if (!replies->reader)
        return false;
    replies->functions = *replies->reader->fn;
    replies->make_array = replies->functions.createArray;
    replies->functions.createArray = make_array;
    replies->reader->fn = &replies->functions;
    replies->reader->privdata = replies;
    replies->reader->maxelements = MOST_ELEMENTS;
    return true;
}

bool replies_feed(struct replies *replies, const char *bytes, size_t length) {
    replies->bytes += length;
    return replies->bytes <= MOST_BYTES &&
           redisReaderFeed(replies->reader, bytes, length) == REDIS_OK;
}

bool replies_next(struct replies *replies, redisReply **reply) {
    void *got = NULL;

    if (redisReaderGetReply(replies->reader, &got) != REDIS_OK)
        return false;
    if (got)
        replies->bytes = 0;
    *reply = got;
    return true;
}

/* What is kept is the last of several, so that those which are freed have been beside it. */
void replies_make_room(struct replies *replies) {
    for (size_t i = 0; i < REPLIES_SIZES && !replies->kept[i]; i++) {
        void *blocks[REPLIES_EACH];
        for (size_t j = 0; j < REPLIES_EACH; j++)
            blocks[j] = malloc((i + 1) * REPLIES_STEP_BYTES - sizeof(void *) / 2);
        for (size_t j = 0; j + 1 < REPLIES_EACH; j++)
            free(blocks[j]);
        replies->kept[i] = blocks[REPLIES_EACH - 1];
    }
}

void replies_end(struct replies *replies) {
    if (replies->reader)
        redisReaderFree(replies->reader);
    for (size_t i = 0; i < REPLIES_SIZES; i++)
        free(replies->kept[i]);
    *replies = (struct replies){0};
}
