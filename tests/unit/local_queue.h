/* local_queue.h - what the tests of waiting on the local store share. Those who wait are all in
 * one process: each has a store, a bell and a place of its own. */
#ifndef VLOCK_TESTS_LOCAL_QUEUE_H
#define VLOCK_TESTS_LOCAL_QUEUE_H

#include <poll.h>

#include "local.h"
#include "store_local_part.h"

enum { WAIT_TTL_MS = 60000 };

/* The token of the one with this number; his id is made of the number, too. */
static inline const char *token_of(int number) {
    static char token[4][24];
    static int at;

    at = (at + 1) % 4;
    snprintf(token[at], sizeof token[at], "waiter %d", number);
    return token[at];
}

static inline enum outcome ask_waiting(struct local *local, const char *key, int number) {
    return local_send(local,
                      (struct request){.kind = ASK_ACQUIRE,
                                       .key = key,
                                       .token = token_of(number),
                                       .ttl_ms = WAIT_TTL_MS,
                                       .waits = true},
                      number);
}

static inline enum outcome stand(struct local *local, const char *path, const char *key,
                                 int number) {
    if (local_open(local, path) != DONE)
        exit(2);
    return ask_waiting(local, key, number);
}

static inline struct local_wait *wait_of(struct local *local) {
    return &((struct local_store *)local->store)->wait;
}

/* Sleeps as one who waits would, for a long time at most; true if there was a reason to wake. */
static inline bool wakes(struct local *local, const char *key, int number) {
    char id[REQUEST_ID_BYTES + 1];
    int64_t until_ms = clock_now_ms() + 20000;
    struct request request = {.kind = ASK_ACQUIRE,
                              .key = key,
                              .token = token_of(number),
                              .ttl_ms = WAIT_TTL_MS,
                              .waits = true};

    snprintf(id, sizeof id, "%032d", number);
    request.id = id;
    return store_local.await(local->store, &request, until_ms, &local->why) == DONE &&
           clock_now_ms() < until_ms;
}

/* The same, but no look now and then wakes him: something must happen. */
static inline bool is_woken(struct local *local, const char *key, int number) {
    wait_of(local)->known_ms = CLOCK_NEVER;
    return wakes(local, key, number);
}

/* True if his bell was rung and he has not heard it yet. */
static inline bool was_rung(struct local *local) {
    struct pollfd bell = {.fd = wait_of(local)->bell, .events = POLLIN};

    return bell.fd >= 0 && poll(&bell, 1, 0) == 1;
}

/* As SIGKILL: his bell is silent, but still hangs there. */
static inline void drop_dead(struct local *local) {
    close(wait_of(local)->bell);
    wait_of(local)->bell = -1;
    local_close(local);
}

static inline enum outcome release(struct local *local, const char *key, int number) {
    return local_ask(local, ASK_RELEASE, key, token_of(number), NOBODYS, 0);
}

/* What the record of `key` says. */
static inline struct record record_of(const char *directory, const char *key) {
    char path[600];
    struct record record;
    int fd;

    snprintf(path, sizeof path, "%s/%s", directory, key);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || record_read(fd, &record) != RECORD_GOOD)
        exit(2);
    close(fd);
    return record;
}

/* The lease that the record speaks of is over. */
static inline void lapse(const char *directory, const char *key) {
    struct record record = record_of(directory, key);
    char path[600];
    int fd;

    snprintf(path, sizeof path, "%s/%s", directory, key);
    fd = open(path, O_RDWR | O_CLOEXEC);
    record.expires_ms = clock_now_ms();
    if (fd < 0 || !record_write(fd, &record))
        exit(2);
    close(fd);
}

/* The lock is held by number 0. */
static inline void hold(const char *directory, struct local *local, const char *key) {
    if (local_open(local, directory) != DONE ||
        local_ask(local, ASK_ACQUIRE, key, token_of(0), 0, WAIT_TTL_MS) != DONE)
        exit(2);
}

/* Asks and sleeps until the lock is ours; how often it was asked for, 0: in vain. */
static inline int wait_for(struct local *local, const char *key, int number) {
    enum outcome outcome = ask_waiting(local, key, number);
    int asks = 1;

    for (; outcome == HELD && wakes(local, key, number); asks++)
        outcome = ask_waiting(local, key, number);
    return outcome == DONE ? asks : 0;
}

/* How many bells hang in the directory. */
static inline int count_bells(const char *directory) {
    char command[400];
    FILE *out;
    int count = -1;

    snprintf(command, sizeof command, "find '%s' -name '.bell-*' | wc -l", directory);
    out = popen(command, "re");
    if (!out || fscanf(out, "%d", &count) != 1)
        exit(2);
    pclose(out);
    return count;
}

#endif
