#include "outbox.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

static bool holds(const struct outbox *outbox, const char *text) {
    return outbox->length - outbox->at == strlen(text) &&
           memcmp(outbox->bytes + outbox->at, text, strlen(text)) == 0;
}

static bool add(struct outbox *outbox, const char *first, const char *second) {
    const char *argv[] = {first, second};
    size_t lengths[] = {strlen(first), strlen(second)};

    return outbox_add(outbox, 2, argv, lengths);
}

static void test_form(void) {
    struct outbox outbox = {0};

    check(outbox_empty(&outbox), "a new outbox is empty");
    check(add(&outbox, "GET", "") && holds(&outbox, "*2\r\n$3\r\nGET\r\n$0\r\n\r\n"),
          "a command is an array of strings, empty ones too");
    check(add(&outbox, "A", "0123456789ab") &&
              holds(&outbox,
                    "*2\r\n$3\r\nGET\r\n$0\r\n\r\n*2\r\n$1\r\nA\r\n$12\r\n0123456789ab\r\n"),
          "the next one stands behind it");
    outbox_sent(&outbox, strlen("*2\r\n$3\r\nGET\r\n$0\r\n\r\n"));
    check(holds(&outbox, "*2\r\n$1\r\nA\r\n$12\r\n0123456789ab\r\n"), "what was sent is gone");
    outbox_sent(&outbox, outbox.length - outbox.at);
    check(outbox_empty(&outbox), "when all was sent it is empty");
    outbox_free(&outbox);
}

/* True if `secret` stands nowhere in the memory that the outbox keeps. */
static bool wiped(const struct outbox *outbox, const char *secret) {
    return !memmem(outbox->bytes, outbox->room, secret, strlen(secret));
}

static void test_growth(void) {
    static char large[100000];
    struct outbox outbox = {0};
    const char *argv[] = {"SET", large};
    size_t lengths[] = {3, sizeof large};

    memset(large, 'x', sizeof large);
    check(add(&outbox, "AUTH", "secret-password"), "a small command is taken");
    check(outbox_add(&outbox, 2, argv, lengths), "a large one behind it, too");
    check(memcmp(outbox.bytes + outbox.length - 4, "xx\r\n", 4) == 0 &&
              memmem(outbox.bytes, outbox.length, "secret-password", 15) != NULL,
          "both are whole");
    outbox_sent(&outbox, outbox.length);
    memset(large, 0, sizeof large);
    check(wiped(&outbox, "secret-password") && wiped(&outbox, "xxxx"),
          "what was sent does not stay in memory");
    check(add(&outbox, "AUTH", "secret-password"), "it can be used again");
    outbox_clear(&outbox);
    check(outbox_empty(&outbox) && wiped(&outbox, "secret-password"),
          "nor does what was dropped unsent");
    outbox_free(&outbox);
    check(!outbox.bytes && outbox_empty(&outbox), "freed, it is as new");
}

int main(void) {
    test_form();
    test_growth();
    return check_done();
}
