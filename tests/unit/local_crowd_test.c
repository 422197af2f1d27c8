/* local_crowd_test.c - the local store under many processes, and under SIGKILL. */
#include "local_queue.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>

enum { PROCESSES = 8, BIRTHS = 60 };

static char directory[256];

/* What the lock guards: changed in steps that another holder would show in. */
struct guarded {
    volatile int count;
    volatile uint64_t fence;
    volatile int disorder;
    volatile int winners;
};

/* How often each process adds one. */
static int increments(void) {
    return (int)rounds(60, 200);
}

static struct guarded *share(void) {
    void *memory = mmap(NULL, sizeof(struct guarded), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        exit(2);
    memset(memory, 0, sizeof(struct guarded));
    return memory;
}

/* Starts PROCESSES children that run `body`, and counts those that did not end well. */
static int crowd(int (*body)(struct guarded *, int), struct guarded *guarded) {
    pid_t children[PROCESSES];
    int wrong = 0;

    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            _exit(body(guarded, i));
        }
    }
    for (int i = 0; i < PROCESSES; i++)
        wrong += local_reap(children[i]) != 0;
    return wrong;
}

static int increment(struct guarded *guarded, int number) {
    struct local local;
    struct request request = {.kind = ASK_ACQUIRE, .key = "count", .ttl_ms = 60000};
    char token[32];

    snprintf(token, sizeof token, "process %d", number);
    request.token = token;
    request.alive = number % 2;
    if (local_open(&local, directory) != DONE)
        return 1;
    for (int i = 0; i < increments(); i++) {
        enum outcome outcome;
        int seen;

        while ((outcome = local_send(&local, request, i * PROCESSES + number + 1)) == HELD)
            usleep(50);
        if (outcome != DONE)
            return 1;
        guarded->disorder += local.answer.fence <= guarded->fence;
        guarded->fence = local.answer.fence;
        seen = guarded->count;
        if (i % 8 == 0)
            usleep(10);
        guarded->count = seen + 1;
        if (local_ask(&local, ASK_RELEASE, "count", token, NOBODYS, 0) != DONE)
            return 1;
    }
    local_close(&local);
    return 0;
}

/* The same, sleeping in the queue; some give up now and then, before they are served or just when
 * they are. */
static int increment_in_turn(struct guarded *guarded, int number) {
    struct local local;

    if (local_open(&local, directory) != DONE)
        return 1;
    for (int i = 0; i < increments(); i++) {
        int id = i * PROCESSES + number + 1, seen;
        enum outcome outcome = ask_waiting(&local, "turn", id);

        if (outcome == HELD && i % 10 == number) {
            if (local_ask(&local, ASK_WITHDRAW, "turn", token_of(id), id, 0) != DONE)
                return 1;
            id += increments() * PROCESSES;
            outcome = ask_waiting(&local, "turn", id);
        }
        while (outcome == HELD && wakes(&local, "turn", id))
            outcome = ask_waiting(&local, "turn", id);
        if (outcome != DONE)
            return 1;
        guarded->disorder += local.answer.fence <= guarded->fence;
        guarded->fence = local.answer.fence;
        seen = guarded->count;
        if (i % 8 == 0)
            usleep(10);
        guarded->count = seen + 1;
        if (release(&local, "turn", id) != DONE)
            return 1;
    }
    local_close(&local);
    return 0;
}

static int be_first(struct guarded *guarded, int number) {
    struct local local;
    char token[32];
    enum outcome outcome;

    snprintf(token, sizeof token, "process %d", number);
    if (local_open(&local, directory) != DONE)
        return 1;
    outcome = local_ask(&local, ASK_ACQUIRE, "birth", token, number + 1, 60000);
    if (outcome == DONE)
        __atomic_add_fetch(&guarded->winners, 1, __ATOMIC_SEQ_CST);
    local_close(&local);
    return outcome == DONE || outcome == HELD ? 0 : 1;
}

static void test_crowd(void) {
    struct guarded *guarded = share();
    char path[300];
    int wrong;

    wrong = crowd(increment, guarded);
    check(wrong == 0 && guarded->count == PROCESSES * increments(),
          "no increment is lost under the lock");
    check(guarded->disorder == 0, "every holder's fence is greater than the one before");
    memset(guarded, 0, sizeof *guarded);
    wrong = crowd(increment_in_turn, guarded);
    check(wrong == 0 && guarded->count == PROCESSES * increments() && guarded->disorder == 0,
          "nor when they queue for it, sleep, and some give up");
    check(count_bells(directory) == 0 && record_of(directory, "turn").queue.next == 0,
          "and nothing is left of the queue");
    snprintf(path, sizeof path, "%s/birth", directory);
    wrong = 0;
    for (int i = 0; i < BIRTHS; i++) {
        guarded->winners = 0;
        wrong += crowd(be_first, guarded) + (guarded->winners != 1);
        unlink(path);
    }
    check(wrong == 0, "of many that make a lock's file at once one gets the lock");
    munmap(guarded, sizeof *guarded);
}

/* Takes and gives back until it is killed. */
static void take_and_give_back(void) {
    struct local local;
    struct request request = {.kind = ASK_ACQUIRE,
                              .key = "k",
                              .token = "victim",
                              .ttl_ms = TTL_NONE};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int id = 1;; id++) {
        request.alive = id % 2;
        if (id % 20 == 1 && local_open(&local, directory) != DONE)
            _exit(1);
        if (local_send(&local, request, id) != DONE ||
            local_ask(&local, ASK_RELEASE, "k", "victim", NOBODYS, 0) != DONE)
            _exit(1);
        if (id % 20 == 0)
            local_close(&local);
    }
}

/* What the victim left: 1 free, 2 held; 0 anything else. Frees the lock. */
static int look_at_remains(struct local *local) {
    if (local_is_free(local, "k"))
        return 1;
    if (!local_is_held(local, "k", "victim") ||
        local_ask(local, ASK_RELEASE, "k", "victim", NOBODYS, 0) != DONE)
        return 0;
    return 2;
}

static void test_kills(void) {
    struct local local;
    char path[300];
    int found[3] = {0}, unreadable = 0, kills = (int)rounds(120, 500);

    snprintf(path, sizeof path, "%s/k", directory);
    if (local_open(&local, directory) != DONE)
        exit(2);
    /* More of them, and later, where the machine is too slow for one to get as far as a lock. */
    for (int i = 0; i < kills || (!(found[1] && found[2]) && i < 20 * kills); i++) {
        int64_t end_us = clock_wall_us() + random() % (3000 * (1 + i / kills));
        pid_t child;

        if (i % 2) /* so that some are killed while they make the file */
            unlink(path);
        child = fork();
        if (child == 0)
            take_and_give_back();
        do
            unreadable += local_ask(&local, ASK_PEEK, "k", NULL, 0, 0) != DONE;
        while (clock_wall_us() < end_us);
        kill(child, SIGKILL);
        if (local_reap(child) != 1000 + SIGKILL)
            unreadable++;
        found[look_at_remains(&local)]++;
    }
    local_close(&local);
    check(found[0] == 0, "killed at any instant, %d times, a process leaves the lock free or held",
          kills);
    check(found[1] > 0 && found[2] > 0, "and both were seen");
    check(unreadable == 0, "who looks meanwhile always sees one or the other");
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    local_make(directory);
    test_crowd();
    test_kills();
    local_remove(directory);
    return check_done();
}
