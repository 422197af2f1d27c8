/* local_queue_test.c - first come, first served on this machine: who is handed the lock. */
#include "local_queue.h"

enum { CROWD = 20 };

static char directory[256];

static enum outcome peek(struct local *local, const char *key, struct waiter *waiters,
                         unsigned room) {
    return local_send(
        local, (struct request){.kind = ASK_PEEK, .key = key, .waiters = waiters, .room = room}, 0);
}

/* The lock is held by number 0, and 1 to `count` wait for it. */
static void queue_up(struct local *all, const char *key, int count) {
    if (local_open(&all[0], directory) != DONE ||
        local_ask(&all[0], ASK_ACQUIRE, key, token_of(0), 0, WAIT_TTL_MS) != DONE)
        exit(2);
    for (int i = 1; i <= count; i++)
        if (stand(&all[i], directory, key, i) != HELD || all[i].answer.place != i - 1)
            exit(2);
}

/* `number` is handed the lock, and confirms. */
static bool is_served(struct local *all, const char *key, int number) {
    return local_is_held(&all[number], key, token_of(number)) && was_rung(&all[number]) &&
           ask_waiting(&all[number], key, number) == DONE &&
           all[number].answer.ttl_ms == WAIT_TTL_MS;
}

static void close_all(struct local *all, int count) {
    for (int i = 0; i <= count; i++)
        local_close(&all[i]);
}

static void test_order(void) {
    struct local all[CROWD + 1];
    struct waiter waiters[CROWD];
    uint64_t fence;
    int wrong = 0;

    queue_up(all, "order", CROWD);
    fence = all[0].answer.fence;
    check(peek(&all[0], "order", waiters, CROWD) == DONE && all[0].answer.waiting == CROWD,
          "all who wait are counted");
    for (int i = 0; i < CROWD; i++)
        wrong += strcmp(waiters[i].token, token_of(i + 1)) != 0 ||
                 waiters[i].since_ms > clock_wall_ms() ||
                 waiters[i].since_ms < clock_wall_ms() - 60000;
    check(wrong == 0, "and listed in the order they came, with their arrivals");
    memset(waiters, 0, sizeof waiters);
    check(peek(&all[0], "order", waiters, 3) == DONE && all[0].answer.waiting == CROWD &&
              *waiters[2].token && !*waiters[3].token,
          "as far as there is room");
    check(ask_waiting(&all[7], "order", 7) == HELD && all[7].answer.place == 6 &&
              local_ask(&all[0], ASK_PEEK, "order", NULL, 0, 0) == DONE &&
              all[0].answer.waiting == 0,
          "who asks again keeps his place; who does not ask for them is not told");
    for (int i = 1; i <= CROWD; i++) {
        wrong += release(&all[i - 1], "order", i - 1) != DONE || !is_served(all, "order", i) ||
                 all[i].answer.fence <= fence;
        wrong += i < CROWD &&
                 (!was_rung(&all[i + 1]) || ask_waiting(&all[i + 1], "order", i + 1) != HELD ||
                  all[i + 1].answer.place != 0);
        wrong += i + 2 <= CROWD && was_rung(&all[i + 2]);
        fence = all[i].answer.fence;
    }
    check(wrong == 0,
          "each is served in his turn, under a fence of his own, and his successor told");
    check(release(&all[CROWD], "order", CROWD) == DONE && local_is_free(&all[0], "order") &&
              record_of(directory, "order").queue.next == 0 && count_bells(directory) == 0,
          "after the last one nothing is left");
    close_all(all, CROWD);
}

static void test_barging(void) {
    struct local all[4], stranger;

    queue_up(all, "barge", 2);
    if (local_open(&stranger, directory) != DONE)
        exit(2);
    lapse(directory, "barge");
    check(local_ask(&stranger, ASK_ACQUIRE, "barge", "stranger", 99, 1000) == HELD &&
              strcmp(stranger.answer.holder, token_of(1)) == 0,
          "a lock that lapsed is not for who comes by, but for the first who waits");
    check(is_served(all, "barge", 1), "who has it once he confirms");
    lapse(directory, "barge");
    check(ask_waiting(&all[2], "barge", 2) == DONE && record_of(directory, "barge").claims == 0,
          "who waits and finds it free at his turn takes it");
    local_close(&stranger);
    close_all(all, 2);
}

static void test_dead_claim(void) {
    struct local all[4];

    queue_up(all, "claimed", 3);
    release(&all[0], "claimed", 0);
    check(ask_waiting(&all[2], "claimed", 2) == HELD &&
              strcmp(all[2].answer.holder, token_of(1)) == 0,
          "a lock that was handed over is held by who is to confirm it");
    drop_dead(&all[1]);
    check(ask_waiting(&all[3], "claimed", 3) == HELD && is_served(all, "claimed", 2) &&
              count_bells(directory) == 1,
          "until he dies: then it is the next one's turn, long before the claim is over");
    local_ask(&all[3], ASK_WITHDRAW, "claimed", token_of(3), 3, 0);
    for (int i = 0; i < 4; i++)
        if (i != 1)
            local_close(&all[i]);
}

static void test_the_dead(void) {
    struct local all[7];

    queue_up(all, "dead", 6);
    drop_dead(&all[1]);
    drop_dead(&all[2]);
    drop_dead(&all[4]);
    check(peek(&all[0], "dead", (struct waiter[1]){{0}}, 1) == DONE && all[0].answer.waiting == 3,
          "the dead are not counted");
    check(count_bells(directory) == 6 && release(&all[0], "dead", 0) == DONE &&
              is_served(all, "dead", 3) && count_bells(directory) == 2,
          "the dead are passed over, and their bells taken down");
    check(was_rung(&all[5]), "also those behind the one who is served");
    drop_dead(&all[5]);
    drop_dead(&all[6]);
    check(release(&all[3], "dead", 3) == DONE && local_is_free(&all[0], "dead") &&
              count_bells(directory) == 0,
          "where all are dead the lock is free");
    local_close(&all[0]);
    local_close(&all[3]);
}

/* Claims are 2 s, or the TTL if that is shorter; nobody here confirms them. */
static void test_claims(void) {
    static const int64_t spans_ms[] = {2000, 1000, 500, 250, 125, 100, 100};
    struct local all[8];
    int64_t before_ms;
    int wrong = 0;

    queue_up(all, "claims", 7);
    before_ms = clock_now_ms();
    release(&all[0], "claims", 0);
    for (int i = 1; i <= 7; i++) {
        /* The record, for a claim may be over before it is asked for. */
        struct record record = record_of(directory, "claims");

        wrong += strcmp(record.token, token_of(i)) != 0 || record.claims != (unsigned)i;
        wrong += record.expires_ms < before_ms + spans_ms[i - 1] ||
                 record.expires_ms > clock_now_ms() + spans_ms[i - 1];
        lapse(directory, "claims");
        before_ms = clock_now_ms();
        local_ask(&all[0], ASK_ACQUIRE, "claims", "stranger", 99, WAIT_TTL_MS);
    }
    check(wrong == 0, "each claim in a row that nobody confirms is half as long, 100 ms at least");
    check(local_is_held(&all[0], "claims", "stranger") &&
              record_of(directory, "claims").claims == 0,
          "when there is nobody left, who asks gets the lock");
    close_all(all, 7);
}

static void test_late_confirmation(void) {
    struct local all[5];

    queue_up(all, "late", 4);
    release(&all[0], "late", 0);
    lapse(directory, "late");
    check(ask_waiting(&all[1], "late", 1) == DONE, "a claim that lapsed is good while nobody came");
    close_all(all, 4);
    queue_up(all, "later", 4);
    release(&all[0], "later", 0);
    lapse(directory, "later");
    check(ask_waiting(&all[2], "later", 2) == DONE && ask_waiting(&all[1], "later", 1) == HELD &&
              all[1].answer.place == 0 && ask_waiting(&all[3], "later", 3) == HELD &&
              all[3].answer.place == 1,
          "who confirms too late waits again, before those who came after him");
    release(&all[2], "later", 2);
    check(is_served(all, "later", 1), "and is the next");
    close_all(all, 4);
}

static void test_withdrawal(void) {
    struct local all[6];

    queue_up(all, "leave", 5);
    check(local_ask(&all[3], ASK_WITHDRAW, "leave", token_of(3), 3, 0) == DONE &&
              count_bells(directory) == 4 && ask_waiting(&all[4], "leave", 4) == HELD &&
              all[4].answer.place == 2 && !was_rung(&all[2]),
          "who leaves the queue makes room");
    check(local_ask(&all[1], ASK_WITHDRAW, "leave", token_of(1), 1, 0) == DONE &&
              was_rung(&all[2]) && ask_waiting(&all[2], "leave", 2) == HELD &&
              all[2].answer.place == 0,
          "who is first after that is told");
    release(&all[0], "leave", 0);
    check(local_is_held(&all[0], "leave", token_of(2)) &&
              local_ask(&all[2], ASK_WITHDRAW, "leave", token_of(2), 2, 0) == DONE &&
              is_served(all, "leave", 4),
          "who leaves when the lock was just handed to him hands it on");
    check(local_ask(&all[5], ASK_WITHDRAW, "leave", token_of(5), 5, 0) == DONE &&
              record_of(directory, "leave").queue.next == 0 && count_bells(directory) == 0,
          "and the last one leaves nothing");
    close_all(all, 5);
}

static void test_break(void) {
    struct local all[4];
    struct request breaks = {.kind = ASK_BREAK, .key = "break", .token = "waiter 0"};
    uint64_t fence;

    queue_up(all, "break", 2);
    fence = all[0].answer.fence;
    breaks.fence = fence - 1;
    check(local_send(&all[0], breaks, 0) == LOST, "another's fence is not broken");
    breaks.fence = fence;
    breaks.token = token_of(1);
    check(local_send(&all[0], breaks, 0) == LOST && local_is_held(&all[0], "break", token_of(0)),
          "nor another's token");
    breaks.token = token_of(0);
    check(local_send(&all[0], breaks, 77) == DONE && is_served(all, "break", 1),
          "what is broken is handed over");
    check(local_ask(&all[0], ASK_RENEW, "break", token_of(0), 0, 1000) == LOST &&
              !all[0].answer.released &&
              local_send(&all[0],
                         (struct request){.kind = ASK_RECOVER,
                                          .key = "break",
                                          .token = "waiter 0",
                                          .fence = fence,
                                          .ttl_ms = 1000},
                         78) == LOST,
          "its holder has lost it, not given it back, and does not get it again");
    breaks.token = token_of(1);
    breaks.fence = 0;
    breaks.tell = true;
    check(local_send(&all[0], breaks, 79) == DONE && is_served(all, "break", 2) &&
              local_ask(&all[1], ASK_RENEW, "break", token_of(1), 1, 1000) == LOST &&
              !all[1].answer.released,
          "without a fence the token decides");
    check(local_send(&all[2],
                     (struct request){
                         .kind = ASK_RELEASE, .key = "break", .token = "waiter 2", .tell = true},
                     NOBODYS) == DONE &&
              local_send(&all[2], breaks, 81) == LOST,
          "what is free is not broken");
    close_all(all, 2);
}

/* Released by a command of the holder: it is told, whoever has the lock now. */
static void test_told(void) {
    struct local all[2];

    queue_up(all, "told", 1);
    local_send(
        &all[0],
        (struct request){.kind = ASK_RELEASE, .key = "told", .token = "waiter 0", .tell = true},
        NOBODYS);
    check(is_served(all, "told", 1) &&
              local_ask(&all[0], ASK_RENEW, "told", token_of(0), 0, 1000) == LOST &&
              all[0].answer.released,
          "a lock that was handed over by a command of its holder was given back on purpose");
    close_all(all, 1);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    local_make(directory);
    test_order();
    test_barging();
    test_the_dead();
    test_dead_claim();
    test_claims();
    test_late_confirmation();
    test_withdrawal();
    test_break();
    test_told();
    check(count_bells(directory) == 0, "no bell is left");
    local_remove(directory);
    return check_done();
}
