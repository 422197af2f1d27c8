/* replies.h - hiredis' reader, with bounds that a hostile server cannot pass: on the size of a
 * reply, on the length of an array before it is allocated, and on arrays in arrays, which
 * hiredis frees by recursion. */
#ifndef VLOCK_REPLIES_H
#define VLOCK_REPLIES_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>

enum { REPLIES_SIZES = 32, REPLIES_STEP_BYTES = 16, REPLIES_EACH = 8 };

struct replies {
    redisReader *reader;
    redisReplyObjectFunctions functions; /* hiredis' own, but for arrays, where we ask first */
    void *(*make_array)(const redisReadTask *, size_t);
    size_t bytes; /* of the reply that is coming in */
    void *kept[REPLIES_SIZES];
};

/* False: out of memory. `replies` must not move until replies_end(). */
bool replies_begin(struct replies *replies);

/* Takes in bytes from the server. False: they go beyond every bound, or memory does. */
bool replies_feed(struct replies *replies, const char *bytes, size_t length);

/* The next whole reply in *reply, which becomes the caller's; NULL if there is none yet. False:
 * what came is no protocol we know. */
bool replies_next(struct replies *replies, redisReply **reply);

/* Makes the next replies cheap, for one who has time now and is in a hurry when they come. Where an
 * allocator (that of musl) gives a page back to the system with the last block in it, each reply
 * costs a mapping, two page faults and an unmapping, several times over: 4 % of a hand-over. With a
 * block of each size kept, and others beside it freed, there is always room. Once is enough. */
void replies_make_room(struct replies *replies);

/* Frees it all. Safe on one that never began. */
void replies_end(struct replies *replies);

#endif
