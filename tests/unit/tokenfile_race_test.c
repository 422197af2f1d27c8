/* Two vlocks and one token file: releases against acquires, and acquires that are killed. */
#include <signal.h>
#include <time.h>

#include "fuzz.h"
#include "tokenfile_test.h"

/* What has not been done by then is left out. */
enum { ROUNDS_MS = 15000 };

static void nap(unsigned microseconds) {
    const struct timespec t = {.tv_nsec = (long)microseconds * 1000};

    nanosleep(&t, NULL);
}

/* Waits until the other end of the pipe is closed everywhere: all start together. */
static void wait_for_start(int fd) {
    char byte;

    while (read(fd, &byte, 1) > 0)
        continue;
}

/* A release: it read the old token, is told by the store that this is over, removes the file. */
static int remover(struct play *play, unsigned pause) {
    enum outcome outcome = play_open(play, "f", PATIENCE_MS);

    if (outcome == FAILED && play->why.status == EXIT_NO_TOKEN)
        return 0;
    if (outcome != DONE)
        return 1;
    if (strcmp(play->found.token, "old") != 0) {
        tokenfile_close(&play->hold);
        return 0;
    }
    nap(pause);
    return tokenfile_remove(&play->hold, &play->why) == DONE ? 0 : 1;
}

/* The acquire that was given the lock by that release. */
static int publisher(struct play *play, unsigned pause) {
    nap(pause);
    return play_publish(play, 2, PATIENCE_MS) == DONE ? 0 : 1;
}

/* One round of `removers` and `publishers`; true if all went well and a new file is there. */
static bool race(struct play *play, struct fuzz *fuzz, unsigned removers, unsigned publishers) {
    int start[2], status;
    bool well = play_prepare(play, "f", "n", "old") == DONE &&
                play_publish(play, 1, PATIENCE_MS) == DONE && pipe(start) == 0;

    for (unsigned i = 0; well && i < removers + publishers; i++) {
        unsigned pause = fuzz_below(fuzz, 300);
        pid_t child = fork();

        if (child == 0) {
            close(start[1]);
            if (i >= removers && play_prepare(play, "f", "n", "new") != DONE)
                _exit(1);
            wait_for_start(start[0]);
            _exit(i < removers ? remover(play, pause) : publisher(play, pause));
        }
    }
    close(start[0]);
    close(start[1]);
    while (wait(&status) > 0)
        well = well && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return well && play_holds(play, "f", "new") && play_count(".f.", false) == 0;
}

static void test_race(struct play *play, unsigned removers, unsigned publishers, unsigned times) {
    struct fuzz fuzz = fuzz_start();
    int64_t end_ms = clock_now_ms() + ROUNDS_MS;
    unsigned round = 0;
    bool well = true;

    while (well && round < times && clock_now_ms() < end_ms) {
        well = race(play, &fuzz, removers, publishers);
        round++;
    }
    check(well, "%u releases never remove what %u acquires publish meanwhile", removers,
          publishers);
    printf("# %u rounds\n", round);
}

/* Publishes one complete file after the other: twenty times one letter, and its number. */
static void publish_for_ever(struct play *play) {
    for (unsigned letter = 0;; letter = (letter + 1) % 26) {
        char token[21];

        memset(token, 'a' + (int)letter, 20);
        token[20] = '\0';
        if (play_prepare(play, "f", "n", token) != DONE ||
            play_publish(play, letter + 1, PATIENCE_MS) != DONE)
            _exit(1);
    }
}

/* True if the file at `path` is whole: one letter, and its number, or none in a draft. */
static bool is_whole(struct play *play, const char *path, bool draft) {
    bool whole = play_open(play, path, PATIENCE_MS) == DONE && !play->found.bare &&
                 strspn(play->found.token, (char[]){play->found.token[0], '\0'}) == 20 &&
                 strlen(play->found.token) == 20 &&
                 (play->found.fence == (uint64_t)(play->found.token[0] - 'a' + 1) ||
                  (draft && play->found.fence == 0));
    struct stat file;

    tokenfile_close(&play->hold);
    return whole && stat(path, &file) == 0 && (file.st_mode & 07777) == 0600;
}

/* Kills a publisher at some instant. False if F is not whole then, or more than one draft is. */
static bool killed(struct play *play, unsigned pause) {
    pid_t child = fork();
    int status;

    if (child == 0)
        publish_for_ever(play);
    nap(pause);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && is_whole(play, "f", false) && play_count(".f.", true) <= 1;
}

static void test_kill(struct play *play) {
    struct fuzz fuzz = fuzz_start();
    int64_t end_ms = clock_now_ms() + ROUNDS_MS;
    unsigned round = 0, times = rounds(80, 300);
    bool well = play_prepare(play, "f", "n", "aaaaaaaaaaaaaaaaaaaa") == DONE &&
                play_publish(play, 1, 0) == DONE;

    while (well && round < times && clock_now_ms() < end_ms) {
        well = killed(play, fuzz_below(&fuzz, 3000));
        round++;
    }
    check(well, "F is whole after each kill -9 of a publisher, and one draft is left at most");
    printf("# %u kills\n", round);
    check(play_prepare(play, "f", "n", "bbbbbbbbbbbbbbbbbbbb") == DONE &&
              play_draft_holds(play, "bbbbbbbbbbbbbbbbbbbb") &&
              is_whole(play, play->draft.temporary, true),
          "the draft that a killed acquire leaves can be used in F's place");
    tokenfile_discard(&play->draft);
}

int main(void) {
    struct play play;

    play_begin(&play);
    test_race(&play, 1, 1, rounds(100, 400));
    test_race(&play, 2, 2, rounds(30, 100));
    test_race(&play, 1, 4, rounds(30, 100));
    test_kill(&play);
    play_end(&play);
    return check_done();
}
