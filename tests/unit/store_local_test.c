/* store_local_test.c - what the requests of store.h mean on this machine. */
#include "local.h"

#include <sys/prctl.h>

static char directory[256];

static void test_acquire_and_release(struct local *local) {
    int64_t before_ms = clock_now_ms(), wall_ms = clock_wall_ms();
    uint64_t fence;

    check(local_is_free(local, "a") && local->answer.fence == 0, "a lock nobody ever had is free");
    check(local_ask(local, ASK_ACQUIRE, "a", "alice", ID_1, 60000) == DONE &&
              local->answer.ttl_ms == 60000 && local->answer.asked_ms >= before_ms &&
              local->answer.asked_ms <= clock_now_ms() && local->answer.since_ms >= wall_ms &&
              !local->answer.endless && strcmp(local->answer.holder, "alice") == 0,
          "a free lock is given, for its time, counted from when it was asked for");
    fence = local->answer.fence;
    check(fence >= (uint64_t)wall_ms * 1000, "its fence is the wall clock's microseconds");
    check(local_ask(local, ASK_ACQUIRE, "a", "bob", ID_2, 60000) == HELD &&
              strcmp(local->answer.holder, "alice") == 0 && local->answer.ttl_ms > 59000 &&
              local->answer.ttl_ms <= 60000 && local->answer.fence == fence,
          "a held lock is not, and its holder is named");
    check(local_ask(local, ASK_ACQUIRE, "a", "alice", ID_2, 60000) == HELD,
          "nor to a second process with the same token");
    check(local_ask(local, ASK_ACQUIRE, "a", "alice", ID_1, 90000) == DONE &&
              local->answer.ttl_ms == 90000 && local->answer.fence == fence,
          "the same acquire sent again succeeds again, its time set afresh");
    check(local_ask(local, ASK_RELEASE, "a", "alic", ID_2, 0) == LOST &&
              local_ask(local, ASK_RELEASE, "a", "alice2", ID_2, 0) == LOST &&
              local_is_held(local, "a", "alice"),
          "release by a stranger changes nothing");
    check(local_ask(local, ASK_PEEK, "a", "alice", 0, 0) == DONE &&
              local_ask(local, ASK_PEEK, "a", "bob", 0, 0) == LOST &&
              strcmp(local->answer.holder, "alice") == 0 &&
              local_ask(local, ASK_PEEK, "nobody's", "bob", 0, 0) == LOST,
          "who asks for a token learns whether it is the holder's");
    check(local_ask(local, ASK_RELEASE, "a", "alice", ID_1, 0) == DONE &&
              local->answer.ttl_ms == 0 && local_is_free(local, "a"),
          "release by the holder frees it");
    check(local_ask(local, ASK_RELEASE, "a", "alice", ID_1, 0) == LOST && !local->answer.released,
          "released again it is not ours");
    check(local_ask(local, ASK_ACQUIRE, "a", "bob", ID_3, TTL_NONE) == DONE &&
              local->answer.ttl_ms == TTL_NONE && local->answer.fence > fence,
          "the next holder's fence is greater, and its lock need not end");
    local_ask(local, ASK_RELEASE, "a", "bob", ID_3, 0);
}

static void test_withdraw(struct local *local) {
    check(local_ask(local, ASK_WITHDRAW, "never", "alice", ID_1, 0) == DONE,
          "an acquire that never arrived is withdrawn");
    local_ask(local, ASK_ACQUIRE, "w", "alice", ID_1, 60000);
    check(local_ask(local, ASK_WITHDRAW, "w", "alice", ID_2, 0) == DONE &&
              local_ask(local, ASK_WITHDRAW, "w", "bob", ID_1, 0) == DONE &&
              local_is_held(local, "w", "alice"),
          "withdrawing another's acquire changes nothing");
    check(local_ask(local, ASK_WITHDRAW, "w", "alice", ID_1, 0) == DONE &&
              local_is_free(local, "w"),
          "an acquire that was carried out is undone");
}

static void test_lapse(struct local *local) {
    uint64_t fence;
    int64_t end_ms;

    local_ask(local, ASK_ACQUIRE, "l", "alice", ID_1, 1000);
    fence = local->answer.fence;
    end_ms = local->answer.asked_ms + 1000;
    check(local_ask(local, ASK_ACQUIRE, "l", "bob", ID_2, 1000) == HELD,
          "a lock is held for its time");
    local_sleep_until(end_ms);
    check(local_is_free(local, "l") && local->answer.fence == fence,
          "and free after it, the fence remembered");
    check(local_ask(local, ASK_RENEW, "l", "alice", ID_1, 1000) == LOST &&
              local_ask(local, ASK_RELEASE, "l", "alice", ID_1, 0) == LOST,
          "a lapsed lock is not ours to renew or release");
    check(local_ask(local, ASK_RECOVER, "l", "alice", ID_1, 60000) == LOST,
          "nor to recover without its fence");
    check(local_send(local,
                     (struct request){.kind = ASK_RECOVER,
                                      .key = "l",
                                      .token = "alice",
                                      .ttl_ms = 60000,
                                      .fence = fence},
                     ID_2) == DONE &&
              local->answer.fence == fence && local->answer.ttl_ms == 60000 &&
              local_is_held(local, "l", "alice"),
          "with it, it is taken again under the same fence");
    local_ask(local, ASK_RELEASE, "l", "alice", ID_1, 0);
    local_ask(local, ASK_ACQUIRE, "l", "bob", ID_3, 1);
    local_sleep_until(local->answer.asked_ms + 1);
    check(local_send(local,
                     (struct request){.kind = ASK_RECOVER,
                                      .key = "l",
                                      .token = "alice",
                                      .ttl_ms = 60000,
                                      .fence = fence},
                     ID_2) == LOST &&
              local_is_free(local, "l"),
          "but not once somebody else was given it");
}

static enum outcome recover(struct local *local, const char *key, uint64_t fence) {
    struct request request = {
        .kind = ASK_RECOVER, .key = key, .token = "alice", .ttl_ms = 60000, .fence = fence};

    return local_send(local, request, ID_4);
}

static void test_recover(struct local *local) {
    uint64_t fence;

    local_ask(local, ASK_ACQUIRE, "r", "alice", ID_1, 60000);
    fence = local->answer.fence;
    local_ask(local, ASK_RELEASE, "r", "alice", ID_1, 0);
    check(recover(local, "r", fence) == LOST && local->answer.fence == fence &&
              local_is_free(local, "r"),
          "what was released on purpose is not recovered");
    local_ask(local, ASK_ACQUIRE, "r", "alice", ID_2, 60000);
    fence = local->answer.fence;
    local_ask(local, ASK_WITHDRAW, "r", "alice", ID_2, 0);
    check(recover(local, "r", fence) == LOST && local_is_free(local, "r"),
          "nor what was withdrawn");
    for (int round = 0; round < 2; round++) {
        local_ask(local, round ? ASK_RESET : ASK_ACQUIRE, "r", "alice", ID_3, 1);
        fence = local->answer.fence;
        local_sleep_until(local->answer.asked_ms + 1);
        check(local_ask(local, ASK_RELEASE, "r", "alice", ID_3, 0) == LOST &&
                  recover(local, "r", fence) == DONE && local->answer.fence == fence &&
                  local_is_held(local, "r", "alice"),
              "what lapsed is, %s", round ? "and again" : "also after a release came too late");
    }
    local_ask(local, ASK_RELEASE, "r", "alice", ID_3, 0);
}

static void test_prolong(struct local *local) {
    local_ask(local, ASK_ACQUIRE, "p", "alice", ID_1, 60000);
    check(local_ask(local, ASK_EXTEND, "p", "alice", ID_2, 60000) == DONE &&
              local->answer.ttl_ms > 119000 && local->answer.ttl_ms <= 120000,
          "extend adds to what is left");
    check(local_ask(local, ASK_EXTEND, "p", "alice", ID_2, 60000) == DONE &&
              local->answer.ttl_ms <= 120000,
          "sent again it adds nothing");
    check(local_ask(local, ASK_RENEW, "p", "alice", ID_1, 90000) == DONE &&
              local->answer.ttl_ms > 119000,
          "renewal never shortens");
    check(local_ask(local, ASK_RENEW, "p", "alice", ID_1, 180000) == DONE &&
              local->answer.ttl_ms == 180000,
          "it sets what is left");
    check(local_ask(local, ASK_RESET, "p", "alice", ID_3, 1000) == DONE &&
              local->answer.ttl_ms == 1000,
          "reset shortens as well");
    check(local_ask(local, ASK_RECOVER, "p", "alice", ID_3, 50000) == DONE &&
              local->answer.ttl_ms == 50000,
          "recovering what is still ours resets it");
    check(local_ask(local, ASK_EXTEND, "p", "alice", ID_4, TTL_MAX_MS) == FAILED &&
              local->why.status == EXIT_USAGE && local_is_held(local, "p", "alice") &&
              local->answer.ttl_ms <= 50000,
          "beyond 2^53 ms nothing is extended");
    check(local_ask(local, ASK_RESET, "p", "alice", ID_4, TTL_MAX_MS) == DONE &&
              local->answer.ttl_ms == TTL_MAX_MS,
          "2^53 ms is a time to live");
    check(local_ask(local, ASK_EXTEND, "p", "bob", ID_4, 1) == LOST &&
              local_ask(local, ASK_RESET, "p", "bob", ID_4, 1) == LOST &&
              local_ask(local, ASK_RENEW, "p", "bob", ID_4, 1) == LOST &&
              local_ask(local, ASK_RECOVER, "p", "bob", ID_4, 1) == LOST &&
              strcmp(local->answer.holder, "alice") == 0,
          "a stranger prolongs nothing, and is told who holds it");
    local_ask(local, ASK_RELEASE, "p", "alice", ID_1, 0);
}

static void test_no_expiry(struct local *local) {
    const enum request_kind kinds[] = {ASK_EXTEND, ASK_RESET, ASK_RECOVER};
    int wrong = 0;

    local_ask(local, ASK_ACQUIRE, "n", "alice", ID_1, TTL_NONE);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        wrong += local_ask(local, kinds[i], "n", "alice", ID_2, 1000) != FAILED ||
                 local->why.status != EXIT_DATA;
    check(wrong == 0 && local_is_held(local, "n", "alice") && local->answer.ttl_ms == TTL_NONE,
          "a lock without expiry has none to extend or reset");
    check(local_ask(local, ASK_RENEW, "n", "alice", ID_1, 1000) == DONE &&
              local->answer.ttl_ms == TTL_NONE && local_is_held(local, "n", "alice") &&
              local->answer.ttl_ms == TTL_NONE,
          "but its holder may go on renewing it, and learns that it has none");
    check(local_ask(local, ASK_RENEW, "n", "bob", ID_1, 1000) == LOST, "a stranger may not");
    local_ask(local, ASK_RELEASE, "n", "alice", ID_1, 0);
}

static void test_told(struct local *local) {
    local_ask(local, ASK_ACQUIRE, "t", "alice", ID_1, 60000);
    check(local_send(
              local,
              (struct request){.kind = ASK_RELEASE, .key = "t", .token = "alice", .tell = true},
              NOBODYS) == DONE,
          "a command gives its holder's lock back");
    local_ask(local, ASK_ACQUIRE, "t", "bob", ID_3, 60000);
    check(local_ask(local, ASK_RENEW, "t", "alice", ID_1, 60000) == LOST && local->answer.released,
          "and the holder learns that it was done on purpose, whoever has it now");
    check(local_ask(local, ASK_RENEW, "t", "alice", ID_4, 60000) == LOST && !local->answer.released,
          "which is true of that grant only");
    local_ask(local, ASK_RELEASE, "t", "bob", ID_3, 0);
}

static enum outcome ask_alive(struct local *local, enum request_kind kind, const char *token,
                              int id, int64_t ttl_ms) {
    return local_send(
        local,
        (struct request){.kind = kind, .key = "v", .token = token, .ttl_ms = ttl_ms, .alive = true},
        id);
}

/* A child that takes `v` for 20 ms, shows that it lives, says so, and stays until it is killed. */
static pid_t start_holder(int64_t *end_ms) {
    int ready[2];
    pid_t child;

    if (pipe2(ready, O_CLOEXEC) != 0 || (child = fork()) < 0)
        exit(2);
    if (child == 0) {
        struct local local;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (local_open(&local, directory) != DONE ||
            ask_alive(&local, ASK_ACQUIRE, "alice", ID_1, 20) != DONE || !local.answer.endless)
            _exit(1);
        *end_ms = local.answer.asked_ms + 20;
        if (write(ready[1], end_ms, sizeof *end_ms) != sizeof *end_ms)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    if (read(ready[0], end_ms, sizeof *end_ms) != sizeof *end_ms)
        *end_ms = 0;
    close(ready[0]);
    return child;
}

static void test_life_of_another(struct local *local) {
    int64_t end_ms;
    pid_t child = start_holder(&end_ms);

    check(end_ms != 0, "a process takes a lock and shows that it lives");
    local_sleep_until(end_ms + 5);
    check(local_ask(local, ASK_ACQUIRE, "v", "bob", ID_2, 1000) == HELD &&
              local->answer.ttl_ms == 1 && local_is_held(local, "v", "alice"),
          "its lock outlives its time");
    check(local_ask(local, ASK_EXTEND, "v", "alice", ID_3, 60000) == DONE &&
              local->answer.ttl_ms == 60000 && !local->answer.endless,
          "a lock that lives is still there to extend, and endless to its own process only");
    kill(child, SIGKILL);
    local_reap(child);
    check(local_is_held(local, "v", "alice"), "a holder that died keeps it for its time");
    local_ask(local, ASK_RESET, "v", "alice", ID_3, 1);
    local_sleep_until(local->answer.asked_ms + 1);
    check(local_ask(local, ASK_ACQUIRE, "v", "bob", ID_2, 1000) == DONE, "and no longer");
    local_ask(local, ASK_RELEASE, "v", "bob", ID_2, 0);
}

static void test_own_life(struct local *local) {
    struct local other;

    ask_alive(local, ASK_ACQUIRE, "alice", ID_1, 1);
    local_sleep_until(local->answer.asked_ms + 5);
    check(ask_alive(local, ASK_RENEW, "alice", ID_1, 1) == DONE && local->answer.endless,
          "a live holder renews after its time");
    if (local_open(&other, directory) != DONE)
        exit(2);
    check(ask_alive(&other, ASK_ACQUIRE, "alice", ID_1, 1) == DONE && other.answer.endless,
          "two can show that they live for one token");
    check(local_ask(&other, ASK_RELEASE, "v", "alice", ID_1, 0) == DONE &&
              ask_alive(&other, ASK_ACQUIRE, "bob", ID_2, 1) == DONE,
          "what was given back is free although its old holder lives on");
    local_sleep_until(other.answer.asked_ms + 5);
    check(local_ask(&other, ASK_ACQUIRE, "v", "carol", ID_3, 1) == HELD,
          "and the next holder's life shows as well");
    local_close(&other);
    if (local_open(&other, directory) != DONE)
        exit(2);
    check(local_is_free(&other, "v"),
          "a store that is closed shows no life, nor does the old holder for the new one");
    local_close(&other);
    check(ask_alive(local, ASK_RENEW, "alice", ID_1, 1000) == LOST, "whose lock is lost");
    local_ask(local, ASK_ACQUIRE, "v", "alice", ID_3, 60000);
    check(!local->answer.endless && ask_alive(local, ASK_RENEW, "alice", ID_3, 1) == DONE &&
              local->answer.endless,
          "a renewal may begin to show that its process lives");
    local_ask(local, ASK_RELEASE, "v", "alice", ID_3, 0);
}

static void test_several_keys(struct local *local) {
    int64_t end_ms;

    ask_alive(local, ASK_ACQUIRE, "alice", ID_1, 1);
    end_ms = local->answer.asked_ms + 1;
    for (int i = 0; i < 50; i++) {
        char key[16];

        snprintf(key, sizeof key, "key %d", i);
        local_ask(local, ASK_ACQUIRE, key, "alice", ID_1, 1);
    }
    local_sleep_until(end_ms);
    check(local_is_held(local, "v", "alice"), "asking for other locks ends no life");
    local_ask(local, ASK_RELEASE, "v", "alice", ID_1, 0);
}

static void test_names(struct local *local) {
    char longest[KEY_MAX_BYTES + 1], path[600];
    const char *names[] = {".",        "..",  "a/b",   "../../etc/passwd",
                           ".hidden",  "%2E", "=hash", "a b ",
                           "\xff\xfe", "-n",  "",      longest};
    struct stat status;
    int wrong = 0;

    names[10] = "new-line\nless";
    memset(longest, '/', KEY_MAX_BYTES);
    longest[KEY_MAX_BYTES] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        wrong +=
            local_ask(local, ASK_ACQUIRE, names[i], names[i == 11 ? 0 : i], ID_1, 60000) != DONE;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        wrong += !local_is_held(local, names[i], names[i == 11 ? 0 : i]);
    check(wrong == 0, "whatever the name, it is a lock of its own");
    longest[KEY_MAX_BYTES - 1] = 'x';
    check(local_is_free(local, longest), "two names of 1024 bytes are two locks");
    snprintf(path, sizeof path, "%s/%%2E%%2E", directory);
    check(stat(path, &status) != 0, "no name escapes: '..' is not encoded twice");
    snprintf(path, sizeof path, "%s/%%2E.", directory);
    check(stat(path, &status) == 0 && (status.st_mode & 07777) == (0600 | S_ISVTX),
          "its file is in the directory, sticky, ours alone");
}

int main(void) {
    struct local local;

    local_make(directory);
    if (local_open(&local, directory) != DONE) {
        fprintf(stderr, "%s\n", local.why.text);
        return 2;
    }
    test_acquire_and_release(&local);
    test_withdraw(&local);
    test_lapse(&local);
    test_recover(&local);
    test_prolong(&local);
    test_no_expiry(&local);
    test_told(&local);
    test_life_of_another(&local);
    test_own_life(&local);
    test_several_keys(&local);
    test_names(&local);
    local_close(&local);
    local_remove(directory);
    return check_done();
}
