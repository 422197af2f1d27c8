/* record_test.c - the file of one lock: complete or not at all, and nothing hostile believed. */
#include "record.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "local.h"
#include "text.h"

/* Places in a slot that the tests forge; record.c has the layout. */
enum {
    VERSION_AT = 16,
    SEQUENCE_AT = 24,
    FENCE_AT = 32,
    LENGTHS_AT = 160,
    LEVEL_AT = 168,
    CLAIMS_AT = 172,
    FIRST_AT = 176,
    NEXT_AT = 184,
    GONE_AT = 192,
    TICKET_AT = 200,
    HEAD_BYTES = 208
};

static const char id[] = "0123456789abcdef0123456789abcdef";

static int new_file(const char *key) {
    int fd = memfd_create("record", MFD_CLOEXEC);

    if (fd < 0 || !record_create(fd, key)) {
        perror("memfd");
        exit(2);
    }
    return fd;
}

static void fill(char *text, size_t size, char with) {
    memset(text, with, size - 1);
    text[size - 1] = '\0';
}

static void test_round_trip(void) {
    int fd = new_file("a name");
    struct record record, again;
    struct stat status;

    check(record_read(fd, &record) == RECORD_GOOD && strcmp(record.key, "a name") == 0 &&
              !*record.token && record.fence == 0,
          "a new file is a free lock of that name");
    fstat(fd, &status);
    check(status.st_size == RECORD_BYTES && status.st_blocks * 512 >= RECORD_BYTES,
          "both slots are allocated");
    fill(record.key, sizeof record.key, 'k');
    fill(record.token, sizeof record.token, '\xff');
    fill(record.place.machine, sizeof record.place.machine, 'm');
    fill(record.place.boot, sizeof record.place.boot, 'b');
    fill(record.freed, sizeof record.freed, 'f');
    memcpy(record.grant_id, id, sizeof id);
    memcpy(record.extend_id, id, sizeof id);
    record.fence = RECORD_FENCE_MAX - 1;
    record.expires_ms = INT64_MAX;
    record.since_ms = -1;
    record.alive = true;
    record.claims = RECORD_CLAIMS_MAX;
    record.queue = (struct record_queue){.level = RECORD_QUEUE_LEVELS - 1,
                                         .first = 77,
                                         .next = 77 + 16384,
                                         .gone = 16384,
                                         .last_ticket = RECORD_TICKET_MAX - 1,
                                         .kept_from = 77};
    check(record_write(fd, &record), "the largest record is written");
    memset(&again, 0x55, sizeof again);
    check(record_read(fd, &again) == RECORD_GOOD && again.fence == record.fence &&
              again.sequence == record.sequence && again.slot == record.slot &&
              again.expires_ms == INT64_MAX && again.since_ms == -1 && again.alive &&
              again.claims == RECORD_CLAIMS_MAX && again.queue.level == RECORD_QUEUE_LEVELS - 1 &&
              again.queue.first == 77 && again.queue.next == 77 + 16384 &&
              again.queue.gone == 16384 && again.queue.last_ticket == RECORD_TICKET_MAX - 1 &&
              strcmp(again.key, record.key) == 0 && strcmp(again.token, record.token) == 0 &&
              strcmp(again.freed, record.freed) == 0 &&
              strcmp(again.place.machine, record.place.machine) == 0 &&
              strcmp(again.place.boot, record.place.boot) == 0 && strcmp(again.grant_id, id) == 0 &&
              strcmp(again.extend_id, id) == 0,
          "and read back as it was");
    close(fd);
}

/* A file whose newest record, of `length` bytes in `slot`, has fence 2; the one before it 1. */
static int two_records(char bytes[RECORD_BYTES], unsigned *slot) {
    int fd = new_file("two");
    struct record record;

    record_read(fd, &record);
    for (uint64_t fence = 1; fence <= 2; fence++) {
        record.fence = fence;
        snprintf(record.token, sizeof record.token, "token %d", (int)fence);
        record_write(fd, &record);
    }
    *slot = record.slot;
    if (pread(fd, bytes, RECORD_BYTES, 0) != RECORD_BYTES)
        exit(2);
    return fd;
}

static void test_torn_writes(void) {
    char bytes[RECORD_BYTES], before[SLOT_BYTES];
    unsigned slot;
    int fd = two_records(bytes, &slot), wrong = 0, used = 0;
    struct record record;
    off_t at;

    /* The write of the third record, cut after each of its bytes. */
    record_read(fd, &record);
    record.fence = 3;
    at = (off_t)!slot * SLOT_BYTES;
    memcpy(before, bytes + at, sizeof before);
    record_write(fd, &record);
    if (pread(fd, bytes, RECORD_BYTES, 0) != RECORD_BYTES)
        exit(2);
    for (used = 0; memcmp(bytes + at + used, before + used, (size_t)(SLOT_BYTES - used)) != 0;)
        used++;
    for (int cut = 0; cut < used; cut++) {
        if (pwrite(fd, before, sizeof before, at) < 0 ||
            pwrite(fd, bytes + at, (size_t)cut, at) < 0)
            exit(2);
        wrong += record_read(fd, &record) != RECORD_GOOD || record.fence != 2;
    }
    check(wrong == 0 && used > HEAD_BYTES / 4,
          "a write that was cut after any of its bytes leaves the record before it");
    close(fd);
}

static void test_flipped_bits(void) {
    char bytes[RECORD_BYTES];
    unsigned slot;
    int fd = two_records(bytes, &slot), wrong = 0;
    struct record record;
    enum record_state state;

    for (unsigned bit = 0; bit < (HEAD_BYTES + 10) * 8; bit++) {
        off_t at = (off_t)slot * SLOT_BYTES + bit / 8;
        char flipped = (char)(bytes[at] ^ (1 << bit % 8));

        if (pwrite(fd, &flipped, 1, at) != 1)
            exit(2);
        state = record_read(fd, &record);
        if (bit / 8 >= VERSION_AT && bit / 8 < VERSION_AT + 4)
            wrong += state != RECORD_OTHER_VERSION;
        else
            wrong +=
                state != RECORD_GOOD || record.fence != 1 || strcmp(record.token, "token 1") != 0;
        if (pwrite(fd, bytes + at, 1, at) != 1)
            exit(2);
    }
    check(wrong == 0, "a flipped bit is never believed, another version is told");
    close(fd);
}

static void test_damaged_files(void) {
    char bytes[RECORD_BYTES];
    unsigned slot;
    int fd = two_records(bytes, &slot), good = 0;
    struct record record;

    for (int length = 0; length <= HEAD_BYTES; length++) {
        if (ftruncate(fd, length) != 0)
            exit(2);
        good += record_read(fd, &record) != RECORD_DAMAGED;
    }
    check(good == 0, "an empty or truncated file is damaged, not free");
    if (ftruncate(fd, RECORD_BYTES) != 0)
        exit(2);
    check(record_read(fd, &record) == RECORD_DAMAGED, "a file of zeros is damaged");
    if (ftruncate(fd, (off_t)1 << 40) != 0 || pwrite(fd, bytes, sizeof bytes, 0) < 0)
        exit(2);
    check(record_read(fd, &record) == RECORD_GOOD && record.fence == 2,
          "what stands behind the slots does not matter, however long");
    for (int i = 0; i < 2000; i++) {
        for (size_t at = 0; at < sizeof bytes; at++)
            bytes[at] = (char)random();
        if (pwrite(fd, bytes, sizeof bytes, 0) < 0)
            exit(2);
        good += record_read(fd, &record) != RECORD_DAMAGED;
    }
    check(good == 0, "random bytes are damaged");
    close(fd);
    check(record_read(-1, &record) == RECORD_UNREADABLE && errno == EBADF,
          "what cannot be read says why");
}

static void forge(int fd, char *slot, size_t used) {
    size_t end = used < SLOT_BYTES ? used : SLOT_BYTES;
    uint64_t sum = record_hash(slot + sizeof sum, end - sizeof sum);

    memcpy(slot, &sum, sizeof sum);
    if (pwrite(fd, slot, SLOT_BYTES, 0) < 0 || pwrite(fd, slot, SLOT_BYTES, SLOT_BYTES) < 0)
        exit(2);
}

/* The sanitizers look on: a checksum that fits is no reason to trust a length. */
static void test_forged_lengths(void) {
    char bytes[RECORD_BYTES];
    unsigned slot;
    int fd = two_records(bytes, &slot), believed = 0, times = (int)rounds(4000, 20000);
    struct record record;

    for (int i = 0; i < times; i++) {
        size_t used = HEAD_BYTES;

        for (int part = 0; part < 4; part++) {
            uint16_t length = (uint16_t)(random() >> (15 + random() % 16));

            memcpy(bytes + LENGTHS_AT + 2 * part, &length, sizeof length);
            used += length;
        }
        for (size_t at = HEAD_BYTES; at < SLOT_BYTES; at++)
            bytes[at] = (char)(random() % 10000 ? '!' + random() % 90 : 0);
        forge(fd, bytes, used);
        if (record_read(fd, &record) != RECORD_GOOD)
            continue;
        believed++;
        record_was_freed(&record, id);
        record_note_freed(&record, id);
        record_write(fd, &record);
    }
    check(believed > 0 && believed < times, "forged lengths lead nowhere");
    close(fd);
}

static void test_forged_numbers(void) {
    const uint64_t last = ((uint64_t)1 << 62) - 1, over = (uint64_t)1 << 62;
    char bytes[RECORD_BYTES];
    unsigned slot;
    int fd = two_records(bytes, &slot);
    size_t used = HEAD_BYTES + strlen("two") + strlen("token 2");
    char *newest = bytes + slot * SLOT_BYTES;
    struct record record;

    memcpy(newest + SEQUENCE_AT, &last, sizeof last);
    forge(fd, newest, used);
    check(record_read(fd, &record) == RECORD_GOOD && record.sequence == last &&
              !record_write(fd, &record) && errno == EOVERFLOW,
          "a sequence at its end is an error, not a record that cannot be read back");
    memcpy(newest + SEQUENCE_AT, &over, sizeof over);
    forge(fd, newest, used);
    check(record_read(fd, &record) == RECORD_DAMAGED, "beyond its end it is damage");
    memcpy(newest + SEQUENCE_AT, "\1\0\0\0\0\0\0", 8);
    memcpy(newest + FENCE_AT, &over, sizeof over);
    forge(fd, newest, used);
    check(record_read(fd, &record) == RECORD_DAMAGED, "so is a fence beyond its end");
    close(fd);
}

static void test_forged_queue(void) {
    const uint64_t over = (uint64_t)1 << 62;
    const struct {
        int at, bytes;
        uint64_t value;
    } wrong[] = {{FIRST_AT, 8, 4},
                 {FIRST_AT, 8, UINT64_MAX},
                 {NEXT_AT, 8, 18},
                 {NEXT_AT, 8, over},
                 {GONE_AT, 8, 4},
                 {GONE_AT, 8, UINT64_MAX},
                 {TICKET_AT, 8, over},
                 {TICKET_AT, 8, UINT64_MAX},
                 {LEVEL_AT, 4, RECORD_QUEUE_LEVELS},
                 {CLAIMS_AT, 4, RECORD_CLAIMS_MAX + 1}};
    char bytes[RECORD_BYTES], right[SLOT_BYTES];
    unsigned slot;
    int fd = two_records(bytes, &slot), believed = 0;
    size_t used = HEAD_BYTES + strlen("two") + strlen("token 2");
    char *newest = bytes + slot * SLOT_BYTES;
    struct record record;

    newest[FIRST_AT] = 1;
    newest[NEXT_AT] = 3;
    forge(fd, newest, used);
    check(record_read(fd, &record) == RECORD_GOOD && record.queue.first == 1 &&
              record.queue.next == 3 && record.queue.kept_from == 1,
          "a queue of two is read");
    memcpy(right, newest, sizeof right);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memcpy(newest, right, sizeof right);
        memcpy(newest + wrong[i].at, &wrong[i].value, (size_t)wrong[i].bytes);
        forge(fd, newest, used);
        believed += record_read(fd, &record) != RECORD_DAMAGED;
    }
    check(believed == 0, "a queue that cannot be is damage");
    close(fd);
}

static void test_freed_ids(void) {
    struct record record = {0};
    char one[REQUEST_ID_BYTES + 1];

    for (int i = 0; i < RECORD_FREED_IDS + 3; i++) {
        snprintf(one, sizeof one, "%032d", i);
        record_note_freed(&record, one);
    }
    check(record_was_freed(&record, one), "the newest freed grant is remembered");
    snprintf(one, sizeof one, "%032d", 3);
    check(record_was_freed(&record, one), "so is the oldest that there is room for");
    snprintf(one, sizeof one, "%032d", 2);
    check(!record_was_freed(&record, one), "and the one before it is forgotten");
    check(!record_was_freed(&record, "") && !record_was_freed(&record, "00"),
          "what is no id was never freed");
}

/* What record_here() says of the machine when /etc/machine-id is what was put there. */
static bool machine_is(const char *expected) {
    struct record_place here;
    struct trouble why;

    if (record_here(&here, &why) == DONE)
        return expected && text_begins(here.machine, expected);
    return !expected && why.status == EXIT_SYSTEM && strstr(why.text, "/etc/machine-id");
}

static int machine_ids(void) {
    static const char line[] = "0123456789abcdef0123456789abcdef\n";
    int wrong = 0;

    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", "/etc", "tmpfs", 0, "mode=755") != 0)
        return 99;
    wrong += !machine_is("host:");
    local_put("/etc/machine-id", "", 0);
    wrong += !machine_is("host:");
    local_put("/etc/machine-id", "uninitialized\n", 14);
    wrong += !machine_is("host:");
    local_put("/etc/machine-id", line, sizeof line - 1);
    wrong += !machine_is(id);
    /* Nothing is mapped at address 0: to read there is EIO. */
    if (mount("/proc/self/mem", "/etc/machine-id", NULL, MS_BIND, NULL) != 0)
        return 99;
    return wrong + !machine_is(NULL);
}

static void test_machine(void) {
    static const char sentence[] =
        "a machine is its id, or its host name if it has none; an unreadable id is an error";
    pid_t child = fork();
    int result;

    if (child == 0)
        _exit(machine_ids());
    result = local_reap(child);
    if (result == 99)
        check_skip(sentence, "nothing can be mounted here");
    else
        check(result == 0, "%s", sentence);
}

static void test_hash(void) {
    check(record_hash("", 0) == 0xcbf29ce484222325 && record_hash("a", 1) == 0xaf63dc4c8601ec8c &&
              record_hash("foobar", 6) == 0x85944171f73967e8,
          "the checksum is FNV-1a, as its authors' test vectors have it");
}

int main(void) {
    test_hash();
    test_round_trip();
    test_torn_writes();
    test_flipped_bits();
    test_damaged_files();
    test_forged_lengths();
    test_forged_numbers();
    test_forged_queue();
    test_freed_ids();
    test_machine();
    return check_done();
}
