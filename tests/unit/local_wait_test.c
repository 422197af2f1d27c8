/* local_wait_test.c - who waits on this machine sleeps, and is woken by all that matters. */
#include "local_queue.h"

#include <sys/prctl.h>
#include <sys/resource.h>

static char directory[256];

/* Runs `body` in another process. */
static pid_t start(void (*body)(const void *arg), const void *arg) {
    pid_t child = fork();

    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        body(arg);
        _exit(0);
    }
    return child;
}

static void release_soon(const void *key) {
    struct local local;

    usleep(50000);
    if (local_open(&local, directory) != DONE || release(&local, key, 0) != DONE)
        _exit(1);
}

/* Late enough for whoever is to sleep before. */
static void release_late(const void *key) {
    usleep(1000000);
    release_soon(key);
}

static void test_hand_over(void) {
    struct local holder, waiter, next;
    pid_t child;

    hold(directory, &holder, "wake");
    stand(&waiter, directory, "wake", 1);
    stand(&next, directory, "wake", 2);
    child = start(release_soon, "wake");
    check(is_woken(&waiter, "wake", 1) && wait_for(&waiter, "wake", 1) && local_reap(child) == 0,
          "who is handed the lock wakes up");
    check(is_woken(&next, "wake", 2) && ask_waiting(&next, "wake", 2) == HELD &&
              next.answer.place == 0,
          "and who is first after him, to look how long it may take");
    release(&waiter, "wake", 1);
    check(is_woken(&next, "wake", 2) && ask_waiting(&next, "wake", 2) == DONE, "and is the next");
    local_close(&holder);
    local_close(&waiter);
    local_close(&next);
}

/* Nobody gives it back. */
static int64_t take_for(struct local *holder, const char *key, int64_t ttl_ms) {
    if (local_open(holder, directory) != DONE ||
        local_ask(holder, ASK_ACQUIRE, key, "nobody", 50, ttl_ms) != DONE)
        exit(2);
    return holder->answer.asked_ms + ttl_ms;
}

static void test_end_of_lease(void) {
    struct local holder, first, second, third;
    int64_t end_ms = take_for(&holder, "end", 100);
    int asks;

    stand(&first, directory, "end", 1);
    asks = wait_for(&first, "end", 1);
    check(asks > 0 && asks < 5 && clock_now_ms() >= end_ms,
          "when the lease is over the first takes the lock");
    local_close(&first);
    local_close(&holder);
    end_ms = take_for(&holder, "end 2", 2000);
    stand(&first, directory, "end 2", 1);
    stand(&second, directory, "end 2", 2);
    stand(&third, directory, "end 2", 3);
    check(wakes(&third, "end 2", 3) && ask_waiting(&third, "end 2", 3) == HELD &&
              clock_now_ms() >= end_ms && was_rung(&first) &&
              local_is_held(&third, "end 2", token_of(1)),
          "if he does not, one behind him sees to it that he gets it");
    local_close(&third);
    local_close(&second);
    local_close(&first);
    local_close(&holder);
}

/* A holder whose time is over, but who lives. */
static void live_on(const void *ready) {
    struct local local;

    if (local_open(&local, directory) != DONE ||
        local_send(&local,
                   (struct request){.kind = ASK_ACQUIRE,
                                    .key = "life",
                                    .token = "living",
                                    .ttl_ms = 10,
                                    .alive = true},
                   0) != DONE ||
        write(*(const int *)ready, "", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

static void kill_soon(const void *holder) {
    usleep(100000);
    kill(*(const pid_t *)holder, SIGKILL);
}

static void test_end_of_life(void) {
    struct local waiter;
    int ready[2];
    pid_t holder, killer;
    bool watched;
    char byte;

    if (pipe2(ready, O_CLOEXEC) != 0)
        exit(2);
    holder = start(live_on, &ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        exit(2);
    usleep(15000);
    check(stand(&waiter, directory, "life", 1) == HELD, "a holder that lives outlives its lease");
    /* The first look is for what happened before the file was watched. */
    watched = wakes(&waiter, "life", 1) && ask_waiting(&waiter, "life", 1) == HELD;
    killer = start(kill_soon, &holder);
    check(watched && is_woken(&waiter, "life", 1) && wait_for(&waiter, "life", 1),
          "when it dies its successor wakes up");
    local_reap(killer);
    local_reap(holder);
    close(ready[0]);
    close(ready[1]);
    local_close(&waiter);
}

/* As `vlock wait` does; `told`: nothing but an event wakes us. */
static int look_on(struct local *local, const char *key, bool told) {
    struct request request = {.kind = ASK_PEEK, .key = key, .waits = true};
    int64_t until_ms = clock_now_ms() + 20000;
    int looks = 1;

    while (local_send(local, request, 0) == DONE && local->answer.ttl_ms != 0 &&
           clock_now_ms() < until_ms) {
        if (told)
            wait_of(local)->known_ms = CLOCK_NEVER;
        if (store_local.await(local->store, &request, until_ms, &local->why) != DONE)
            return 0;
        looks++;
    }
    return local->answer.ttl_ms == 0 && clock_now_ms() < until_ms ? looks : 0;
}

static void test_looking_on(void) {
    struct local holder, watcher;
    struct rlimit found, few;
    pid_t child;
    int looks, fd;

    hold(directory, &holder, "look");
    if (local_open(&watcher, directory) != DONE)
        exit(2);
    child = start(release_soon, "look");
    looks = look_on(&watcher, "look", true);
    check(looks > 0 && looks < 10 && local_reap(child) == 0, "who only looks on wakes up");
    local_ask(&holder, ASK_ACQUIRE, "look", token_of(0), 3, 50);
    looks = look_on(&watcher, "look", true);
    check(looks > 0 && looks < 10, "also when a lease ends");
    local_ask(&holder, ASK_ACQUIRE, "look", token_of(0), 4, WAIT_TTL_MS);
    local_close(&watcher);
    if (local_open(&watcher, directory) != DONE ||
        local_ask(&watcher, ASK_PEEK, "look", NULL, 0, 0))
        exit(2);
    loop_sleep(&watcher.loop, clock_now_ms() + 60); /* its timer is there */
    child = start(release_late, "look");
    fd = dup(0);
    close(fd);
    getrlimit(RLIMIT_NOFILE, &found);
    few = (struct rlimit){.rlim_cur = (rlim_t)fd, .rlim_max = found.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    looks = look_on(&watcher, "look", false);
    setrlimit(RLIMIT_NOFILE, &found);
    check(looks > 0 && wait_of(&watcher)->watch_refused && local_reap(child) == 0,
          "who cannot watch the file looks again and again");
    local_close(&watcher);
    local_close(&holder);
}

static bool stop(void *arg, const struct signalfd_siginfo *info) {
    (void)arg, (void)info;
    return true;
}

static void test_signal(void) {
    struct local holder, waiter;
    struct request request = {.kind = ASK_ACQUIRE, .key = "sig", .waits = true};

    hold(directory, &holder, "sig");
    stand(&waiter, directory, "sig", 1);
    loop_take_signals(&waiter.loop, stop, NULL, NULL);
    raise(SIGUSR1);
    check(store_local.await(waiter.store, &request, clock_now_ms() + 20000, &waiter.why) == STOPPED,
          "a signal ends the sleep");
    check(store_local.await(waiter.store, &request, clock_now_ms() + 20, &waiter.why) == DONE,
          "so does the end of the time");
    local_close(&waiter);
    local_close(&holder);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    local_make(directory);
    test_hand_over();
    test_end_of_lease();
    test_end_of_life();
    test_looking_on();
    test_signal();
    check(count_bells(directory) == 0, "no bell is left");
    local_remove(directory);
    return check_done();
}
