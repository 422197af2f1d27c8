/* replies.h - hiredis' reader, with bounds that a hostile server cannot pass: on the size of a
 * reply, on the length of an array before it is allocated, and on arrays in arrays, which
 * hiredis frees by recursion. */
#ifndef VLOCK_REPLIES_H
#define VLOCK_REPLIES_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>

struct replies {
    redisReader *reader;
    redisReplyObjectFunctions functions; /* hiredis' own, but for arrays, where we ask first */
    void *(*make_array)(const redisReadTask *, size_t);
    size_t bytes; /* of the reply that is coming in */
};

/* False: out of memory. `replies` must not move until replies_end(). */
bool replies_begin(struct replies *replies);

/* Takes in bytes from the server. False: they go beyond every bound, or memory does. */
bool replies_feed(struct replies *replies, const char *bytes, size_t length);

/* The next whole reply in *reply, which becomes the caller's; NULL if there is none yet. False:
 * what came is no protocol we know. */
bool replies_next(struct replies *replies, redisReply **reply);

/* Frees it all. Safe on one that never began. */
void replies_end(struct replies *replies);

#endif
