/* tokenfile_test.h - what the tests of token files share: a directory to play in, short calls. */
#ifndef VLOCK_TOKENFILE_TEST_H
#define VLOCK_TOKENFILE_TEST_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "tokenfile.h"

#define HEAD "version=1\nname=n\ntoken=t\nttl=60s\n"

enum { PATIENCE_MS = 20000 };

/* One test's surroundings: the current directory is its own. */
struct play {
    char directory[64];
    struct loop loop;
    struct trouble why;
    struct tokenfile_draft draft;
    struct tokenfile_hold hold;
    struct tokenfile found;
};

static inline void play_begin(struct play *play) {
    /* In memory where that is: nobody needs a disk's seconds for hundreds of syncs. */
    const char *place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

    *play = (struct play){0};
    snprintf(play->directory, sizeof play->directory, "%s/vlock-tokenfile.XXXXXX", place);
    loop_init(&play->loop);
    if (!mkdtemp(play->directory) || chmod(play->directory, 0755) != 0 ||
        chdir(play->directory) != 0) {
        perror(play->directory);
        exit(2);
    }
}

/* How many entries of the current directory begin with `prefix`; with `removing` they go. */
static inline unsigned play_count(const char *prefix, bool removing) {
    DIR *here = opendir(".");
    unsigned count = 0;

    for (struct dirent *entry; here && (entry = readdir(here));) {
        const char *name = entry->d_name;

        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
            strncmp(name, prefix, strlen(prefix)) != 0)
            continue;
        count++;
        if (removing && unlink(name) != 0)
            rmdir(name);
    }
    if (here)
        closedir(here);
    return count;
}

static inline void play_end(struct play *play) {
    play_count("", true);
    if (chdir("/") == 0)
        rmdir(play->directory);
    loop_close(&play->loop);
}

static inline void play_write(const char *path, const char *bytes, size_t length) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0 || write(fd, bytes, length) != (ssize_t)length)
        perror(path);
    close(fd);
}

static inline bool play_file_is(const char *path, const char *expected) {
    char bytes[TOKENFILE_MAX_BYTES] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = read(fd, bytes, sizeof bytes - 1);

    close(fd);
    return length == (ssize_t)strlen(expected) && strcmp(bytes, expected) == 0;
}

static inline struct tokenfile play_content(const char *name, const char *token) {
    struct tokenfile content = {.ttl_ms = 60000};

    snprintf(content.name, sizeof content.name, "%s", name);
    snprintf(content.token, sizeof content.token, "%s", token);
    return content;
}

static inline enum outcome play_prepare(struct play *play, const char *path, const char *name,
                                        const char *token) {
    struct tokenfile content = play_content(name, token);

    return tokenfile_prepare(path, &content, &play->draft, &play->why);
}

static inline enum outcome play_publish(struct play *play, uint64_t fence, int64_t wait_ms) {
    return tokenfile_publish(&play->draft, fence, &play->loop, clock_now_ms() + wait_ms,
                             &play->why);
}

static inline enum outcome play_open(struct play *play, const char *path, int64_t wait_ms) {
    return tokenfile_open(path, &play->loop, clock_now_ms() + wait_ms, &play->found, &play->hold,
                          &play->why);
}

/* True if the file at `path` is whole and holds `token`. */
static inline bool play_holds(struct play *play, const char *path, const char *token) {
    bool same = play_open(play, path, PATIENCE_MS) == DONE && strcmp(play->found.token, token) == 0;

    tokenfile_close(&play->hold);
    return same;
}

/* The same of our own draft, as it would be once we were killed: no longer flocked. */
static inline bool play_draft_holds(struct play *play, const char *token) {
    return flock(play->draft.fd, LOCK_UN) == 0 && play_holds(play, play->draft.temporary, token);
}

/* Runs `child` in a process of its own; what it returned, 99 if it died. */
static inline int play_child(struct play *play, int (*child)(struct play *)) {
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(child(play));
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

#endif
