/* local.h - what the tests of the local store share: a directory to play in, and short asks. */
#ifndef VLOCK_TESTS_LOCAL_H
#define VLOCK_TESTS_LOCAL_H

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "address.h"
#include "check.h"
#include "clock.h"
#include "record.h"
#include "store.h"

extern const struct store_kind store_local;

enum { ID_1 = 1, ID_2, ID_3, ID_4 };

struct local {
    struct address address;
    struct access access;
    struct loop loop;
    struct store *store;
    struct answer answer; /* of the last ask */
    struct trouble why;
};

static inline enum outcome local_open(struct local *local, const char *path) {
    *local = (struct local){.address.kind = ADDRESS_LOCAL, .access.reply_timeout_ms = 5000};
    snprintf(local->address.path, sizeof local->address.path, "%s", path);
    loop_init(&local->loop);
    return store_local.open(&local->address, &local->access, &local->loop, &local->store,
                            &local->why);
}

static inline void local_close(struct local *local) {
    if (local->store)
        store_local.close(local->store);
    local->store = NULL;
    loop_close(&local->loop);
}

/* Asks for `key` with a request id made of `id`. */
/* `id` is the request's; NOBODYS: it has none, as what the holder's commands and strangers ask. */
enum { NOBODYS = -1 };

static inline enum outcome local_send(struct local *local, struct request request, int id) {
    char text[REQUEST_ID_BYTES + 1];

    snprintf(text, sizeof text, "%032d", id);
    request.id = id == NOBODYS ? NULL : text;
    memset(&local->answer, 0x55, sizeof local->answer);
    return store_local.ask(local->store, &request,
                           clock_after(clock_now_ms(), 2 * local->access.reply_timeout_ms),
                           &local->answer, &local->why);
}

static inline enum outcome local_ask(struct local *local, enum request_kind kind, const char *key,
                                     const char *token, int id, int64_t ttl_ms) {
    return local_send(local,
                      (struct request){.kind = kind, .key = key, .token = token, .ttl_ms = ttl_ms},
                      id);
}

static inline bool local_is_free(struct local *local, const char *key) {
    return local_ask(local, ASK_PEEK, key, NULL, 0, 0) == DONE && local->answer.ttl_ms == 0 &&
           !local->answer.holder[0];
}

static inline bool local_is_held(struct local *local, const char *key, const char *token) {
    return local_ask(local, ASK_PEEK, key, NULL, 0, 0) == DONE && local->answer.ttl_ms > 0 &&
           strcmp(local->answer.holder, token) == 0;
}

/* Waits until the clock shows `at_ms`. */
static inline void local_sleep_until(int64_t at_ms) {
    while (clock_now_ms() < at_ms)
        usleep(500);
}

static inline int local_remove_one(const char *path, const struct stat *status, int type,
                                   struct FTW *at) {
    (void)status, (void)type, (void)at;
    return remove(path);
}

/* A new directory, its own path resolved; local_remove() removes it and all below. */
static inline void local_make(char path[256]) {
    const char *parent = getenv("TMPDIR");

    snprintf(path, 256, "%s/vlock-unit-XXXXXX", parent && *parent ? parent : "/tmp");
    if (!mkdtemp(path)) {
        perror(path);
        exit(2);
    }
}

static inline void local_remove(const char *path) {
    nftw(path, local_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void local_put(const char *path, const void *bytes, size_t length) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, bytes, length) != (ssize_t)length || close(fd) != 0) {
        perror(path);
        exit(2);
    }
}

/* The exit status of a child, or 1000 and the signal that ended it. */
static inline int local_reap(pid_t child) {
    int status = 0;

    while (waitpid(child, &status, 0) < 0)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

#endif
