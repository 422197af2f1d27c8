/* queue_test.c - the queue in a lock's file: its order, its areas, and what is not believed. */
#include "queue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

enum { ENTRIES_AT = RECORD_BYTES, MOST = 16384 };

struct play {
    int fd;
    struct record_queue queue; /* as the record has it */
    int kept;                  /* keep() was asked so often */
};

static void play_begin(struct play *play) {
    *play = (struct play){.fd = memfd_create("queue", MFD_CLOEXEC)};
    if (play->fd < 0)
        exit(2);
}

/* As record_write() after each step. */
static void commit(struct play *play) {
    queue_settle(&play->queue);
    play->queue.kept_from = play->queue.first;
}

/* Those with an odd number live. */
static bool keep_odd(void *arg, const struct queue_entry *entry) {
    struct play *play = arg;

    play->kept++;
    return atoi(entry->token) % 2;
}

static bool join(struct play *play, int number, int64_t ticket, uint64_t *position) {
    struct queue_entry entry = {.ticket = ticket, .ttl_ms = number};
    uint64_t ignored;
    bool joined;

    snprintf(entry.id, sizeof entry.id, "%032d", number);
    snprintf(entry.token, sizeof entry.token, "%d", number);
    snprintf(entry.machine, sizeof entry.machine, "machine of %d", number);
    joined =
        queue_join(play->fd, &play->queue, &entry, position ? position : &ignored, keep_odd, play);
    if (joined)
        commit(play);
    return joined;
}

/* The number of who waits at the front, who is taken out; -1: nobody, or nonsense. */
static int pop(struct play *play) {
    struct queue_entry entry;
    enum queue_state state = QUEUE_LEFT;
    char machine[RECORD_MACHINE_BYTES], id[REQUEST_ID_BYTES + 1];

    while (state != QUEUE_WAITS && play->queue.first < play->queue.next) {
        state = queue_read(play->fd, &play->queue, play->queue.first, &entry);
        queue_pop(&play->queue, state);
    }
    commit(play);
    if (state != QUEUE_WAITS)
        return -1;
    snprintf(machine, sizeof machine, "machine of %d", (int)entry.ttl_ms);
    snprintf(id, sizeof id, "%032d", (int)entry.ttl_ms);
    return strcmp(machine, entry.machine) == 0 && strcmp(id, entry.id) == 0 &&
                   atoi(entry.token) == entry.ttl_ms
               ? (int)entry.ttl_ms
               : -1;
}

static void test_order(void) {
    struct play play;
    int wrong = 0;

    play_begin(&play);
    for (int i = 1; i <= 10; i++)
        wrong += !join(&play, i, 0, NULL);
    for (int i = 1; i <= 10; i++)
        wrong += pop(&play) != i;
    check(wrong == 0, "first in, first out");
    check(pop(&play) == -1 && play.queue.next == 0 && play.queue.last_ticket == 0,
          "an empty queue begins anew");
    /* A ring of 16, round and round. */
    for (int i = 1; i <= 9; i++)
        wrong += !join(&play, i, 0, NULL);
    for (int i = 10; i <= 500; i++)
        wrong += !join(&play, i, 0, NULL) || pop(&play) != i - 9;
    check(wrong == 0 && play.queue.level == 0 && play.queue.next == 500,
          "a queue that is never empty goes round in its area");
    close(play.fd);
}

static void test_tickets(void) {
    struct play play;
    int64_t far = (int64_t)1 << 60;
    uint64_t position = 99;

    play_begin(&play);
    check(join(&play, 1, far, NULL) && join(&play, 2, 0, NULL) && play.queue.last_ticket == far + 1,
          "tickets grow, whatever the clock says");
    check(join(&play, 3, 7, &position) && position == 0 && play.queue.level == 1 &&
              join(&play, 4, far - 1, &position) && position == 1 && play.queue.level == 0 &&
              join(&play, 5, far + 1, &position) && position == 4,
          "an old ticket has its old place");
    check(pop(&play) == 3 && pop(&play) == 4 && pop(&play) == 1 && pop(&play) == 2 &&
              pop(&play) == 5,
          "and is served there");
    check(!join(&play, 1, RECORD_TICKET_MAX, NULL) && errno == EOVERFLOW,
          "no ticket is beyond its end");
    close(play.fd);
}

static void test_leaving(void) {
    struct play play;
    uint64_t at[7];
    int wrong = 0;

    play_begin(&play);
    for (int i = 1; i <= 6; i++)
        wrong += !join(&play, i, 0, &at[i]);
    wrong += !queue_leave(play.fd, &play.queue, at[3]);
    wrong += !queue_leave(play.fd, &play.queue, at[6]);
    check(wrong == 0 && play.queue.gone == 1 && play.queue.next == 5,
          "who leaves from the end leaves nothing, who leaves from within a gap");
    check(queue_before(play.fd, &play.queue, at[5]) == 3 &&
              queue_before(play.fd, &play.queue, at[1]) == 0,
          "a gap is nobody before us");
    check(queue_find(play.fd, &play.queue, "00000000000000000000000000000005", &at[1]) &&
              at[1] == at[5] &&
              !queue_find(play.fd, &play.queue, "00000000000000000000000000000003", &at[3]),
          "one who waits is found, one who left is not");
    check(pop(&play) == 1 && pop(&play) == 2 && pop(&play) == 4 && play.queue.gone == 0 &&
              pop(&play) == 5 && pop(&play) == -1,
          "and a gap is passed over");
    close(play.fd);
}

static void test_growth(void) {
    struct play play;
    int wrong = 0;

    play_begin(&play);
    for (int i = 1; i <= 20; i++)
        wrong += !join(&play, i * 2 - 1, 0, NULL);
    check(wrong == 0 && play.queue.level == 1 && play.kept == 16,
          "a full area is left for one twice as large, once it has been asked who lives");
    for (int i = 20; i < 40; i++)
        wrong += !join(&play, i * 2, 0, NULL);
    for (int i = 1; i <= 20; i++)
        wrong += pop(&play) != i * 2 - 1;
    check(wrong == 0, "in the same order");
    close(play.fd);
    play_begin(&play);
    for (int i = 2; i <= 17; i++)
        wrong += !join(&play, i * 2, 0, NULL);
    wrong += !join(&play, 1, 0, NULL);
    check(wrong == 0 && play.queue.next == 1 && pop(&play) == 1, "who is dead is not taken along");
    close(play.fd);
}

/* What the record in the file speaks of is not overwritten before another record is written. */
static void test_uncommitted(void) {
    struct play play;
    struct record_queue committed;
    struct queue_entry entry;
    int wrong = 0;

    play_begin(&play);
    for (int i = 1; i <= 16; i++)
        wrong += !join(&play, i, 0, NULL);
    committed = play.queue;
    queue_pop(&play.queue, QUEUE_WAITS);
    wrong += !join(&play, 17, 0, NULL);
    for (uint64_t at = committed.first; at < committed.next; at++)
        wrong += queue_read(play.fd, &committed, at, &entry) != QUEUE_WAITS ||
                 entry.ttl_ms != (int64_t)at + 1;
    check(wrong == 0, "who joins takes no place that may still be needed");
    close(play.fd);
}

/* The largest area, and what becomes of it. */
static void test_largest(void) {
    struct play play;
    struct stat status;
    int wrong = 0, refused;

    play_begin(&play);
    for (int i = 0; i < MOST; i++)
        wrong += !join(&play, i < MOST / 2 ? i * 2 + 1 : i * 2, 0, NULL);
    check(wrong == 0 && play.queue.level == RECORD_QUEUE_LEVELS - 1, "16384 may wait");
    refused = !join(&play, 3, 0, NULL) && errno == EOVERFLOW;
    /* keep_odd() dropped the second half, and the first filled the smaller area. */
    check(refused && play.queue.next - play.queue.first == MOST,
          "one more is refused, and nothing has changed, as long as so many live");
    pop(&play);
    pop(&play);
    wrong += !join(&play, 2, 0, NULL) || !join(&play, 4, 0, NULL) || !join(&play, 1, 0, NULL);
    check(wrong == 0 && play.queue.level == RECORD_QUEUE_LEVELS - 2,
          "when there is room, the living move to a smaller area");
    for (int i = 2; i < MOST / 2; i++)
        wrong += pop(&play) != i * 2 + 1;
    check(wrong == 0 && pop(&play) == 1 && pop(&play) == -1, "in their order");
    fstat(play.fd, &status);
    check(status.st_size <= ENTRIES_AT + 2 * MOST * QUEUE_ENTRY_BYTES, "the file has its bounds");
    close(play.fd);
}

/* Bytes of an entry that is at position 0, changed at random; the checksum made to fit. */
static void test_forged(void) {
    struct play play;
    char right[QUEUE_ENTRY_BYTES] = {0}, bytes[QUEUE_ENTRY_BYTES];
    struct queue_entry entry;
    int believed = 0, wrong = 0;

    play_begin(&play);
    join(&play, 1, 0, NULL);
    join(&play, 3, 0, NULL);
    if (pread(play.fd, right, sizeof right, ENTRIES_AT) != sizeof right)
        exit(2);
    for (int i = 0; i < 200000; i++) {
        uint64_t sum;
        uint16_t machine, token;
        size_t at = (size_t)(random() % 120), used;

        memcpy(bytes, right, sizeof bytes);
        for (int n = 0; n < 3; n++, at = (size_t)(random() % 100))
            bytes[at] = (char)(random() % 3 ? random() : 0);
        memcpy(&machine, bytes + 72, sizeof machine);
        memcpy(&token, bytes + 74, sizeof token);
        used = (size_t)80 + machine + token;
        sum = record_hash(bytes + 16, (used < sizeof bytes ? used : sizeof bytes) - 16);
        memcpy(bytes + 8, &sum, sizeof sum);
        if (pwrite(play.fd, bytes, sizeof bytes, ENTRIES_AT) < 0)
            exit(2);
        memset(&entry, 0x55, sizeof entry);
        if (queue_read(play.fd, &play.queue, 0, &entry) != QUEUE_WAITS)
            continue;
        believed++;
        wrong += entry.ticket <= 0 || entry.ttl_ms <= 0 || !*entry.token ||
                 strlen(entry.id) != REQUEST_ID_BYTES ||
                 strspn(entry.id, "0123456789abcdef") != REQUEST_ID_BYTES ||
                 strlen(entry.token) > TOKEN_MAX_BYTES;
    }
    check(believed > 0 && wrong == 0, "a forged entry makes sense, or is none");
    check(pop(&play) == 3 || pop(&play) == 3, "and who stands behind it is served");
    close(play.fd);
}

static void test_damage(void) {
    struct play play;
    struct queue_entry entry;
    int believed = 0, bits = 8 * (80 + 13);
    char byte;

    play_begin(&play);
    join(&play, 1, 0, NULL);
    for (int bit = 64; bit < bits; bit++) { /* what is before may say that he has left */
        off_t at = ENTRIES_AT + bit / 8;

        if (pread(play.fd, &byte, 1, at) != 1)
            exit(2);
        byte = (char)(byte ^ (1 << bit % 8));
        if (pwrite(play.fd, &byte, 1, at) != 1)
            exit(2);
        believed += queue_read(play.fd, &play.queue, 0, &entry) != QUEUE_DAMAGED;
        byte = (char)(byte ^ (1 << bit % 8));
        if (pwrite(play.fd, &byte, 1, at) != 1)
            exit(2);
    }
    check(believed == 0 && queue_read(play.fd, &play.queue, 0, &entry) == QUEUE_WAITS,
          "a flipped bit is never believed");
    play.queue.next = 17;
    check(queue_read(play.fd, &play.queue, 16, &entry) == QUEUE_DAMAGED,
          "nor is an entry of an earlier round");
    if (ftruncate(play.fd, ENTRIES_AT + 90) != 0)
        exit(2);
    check(queue_read(play.fd, &play.queue, 0, &entry) == QUEUE_DAMAGED && pop(&play) == -1 &&
              play.queue.next == 0,
          "a file that was cut off has nobody who waits");
    close(play.fd);
}

int main(void) {
    test_order();
    test_tickets();
    test_leaving();
    test_growth();
    test_uncommitted();
    test_largest();
    test_forged();
    test_damage();
    return check_done();
}
