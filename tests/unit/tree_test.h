/* tree_test.h - process trees for tests of tree: made, counted, and seen to be gone.
 *
 * Every process of a stage holds a pipe open, so its end of file says that all are gone, and
 * ends by itself after a while, so that a failing test leaves nothing behind. */
#ifndef VLOCK_TREE_TEST_H
#define VLOCK_TREE_TEST_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "tree.h"

#define STAGE_LONG_S 120 /* more than any test needs on a slow machine */

/* Shared by the processes of a test. */
struct stage {
    atomic_int ready;   /* processes that stand where they should */
    atomic_int told;    /* signals that arrived */
    atomic_int forks;   /* of a storm */
    atomic_int pid[16]; /* of those that a test names */
    int ends[2];
};

static struct stage *stage;

static inline void stage_set(void) {
    stage = mmap(NULL, sizeof *stage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (stage == MAP_FAILED || pipe2(stage->ends, O_CLOEXEC | O_NONBLOCK) < 0)
        abort();
}

/* True if nobody is left who was started on the stage; the next one is set. */
static inline bool stage_empty(void) {
    char byte;
    bool empty;

    close(stage->ends[1]);
    empty = read(stage->ends[0], &byte, 1) == 0;
    close(stage->ends[0]);
    munmap(stage, sizeof *stage);
    stage_set();
    return empty;
}

static inline void stage_ready(int name) {
    stage->pid[name] = getpid();
    atomic_fetch_add(&stage->ready, 1);
}

/* Waits for `count` processes; false if they do not come. */
static inline bool stage_wait(atomic_int *number, int count) {
    int64_t end_ms = clock_after(clock_now_ms(), STAGE_LONG_S * 1000);

    while (atomic_load(number) < count && clock_now_ms() < end_ms)
        poll(NULL, 0, 1);
    return atomic_load(number) >= count;
}

_Noreturn static inline void stage_sleep(void) {
    for (;;)
        pause();
}

/* Starts a process that plays `part` and ends. */
static inline pid_t stage_start(void (*part)(void)) {
    pid_t pid = fork();

    if (pid == 0) {
        alarm(STAGE_LONG_S);
        part();
        _exit(0);
    }
    return pid;
}

static inline int64_t stage_soon(void) {
    return clock_after(clock_now_ms(), STAGE_LONG_S * 1000 / 2);
}

#endif
