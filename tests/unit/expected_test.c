#include "expected.h"

#include <stddef.h>
#include <string.h>

#include "check.h"

static bool takes(struct expected *expected, enum expected_kind kind, const char *command) {
    struct expected_one one;

    return expected_take(expected, &one) && one.kind == kind && strcmp(one.command, command) == 0;
}

static void test_order(void) {
    struct expected expected = {0};
    struct expected_one untouched = {EXPECT_REPLY, "untouched"};

    check(!expected_take(&expected, &untouched) && strcmp(untouched.command, "untouched") == 0,
          "nothing is expected at first");
    check(expected_command(&expected) == NULL, "nor any command answered");
    expected_add(&expected, EXPECT_GREETING, "HELLO");
    expected_add(&expected, EXPECT_ASIDE, "SUBSCRIBE");
    expected_add(&expected, EXPECT_REPLY, "EVALSHA");
    check(strcmp(expected_command(&expected), "HELLO") == 0, "the first is answered first");
    check(takes(&expected, EXPECT_GREETING, "HELLO") &&
              takes(&expected, EXPECT_ASIDE, "SUBSCRIBE") &&
              takes(&expected, EXPECT_REPLY, "EVALSHA") && !expected_take(&expected, &untouched),
          "all are answered in order, once");
}

static void test_giving_up(void) {
    struct expected expected = {0};

    expected_add(&expected, EXPECT_GREETING, "HELLO");
    expected_add(&expected, EXPECT_ASIDE, "GET");
    expected_add(&expected, EXPECT_REPLY, "EVALSHA");
    expected_give_up(&expected);
    expected_add(&expected, EXPECT_REPLY, "EVAL");
    check(takes(&expected, EXPECT_GREETING, "HELLO"), "the greeting matters still");
    check(takes(&expected, EXPECT_NOTHING, "GET") && takes(&expected, EXPECT_NOTHING, "EVALSHA"),
          "what was given up is dropped when it is answered");
    check(takes(&expected, EXPECT_REPLY, "EVAL"), "the next question gets its own answer");
}

static void test_bounds(void) {
    struct expected expected = {0};
    bool all = true;

    for (int round = 0; round < 3; round++) { /* the places come round */
        for (int i = 0; i < EXPECTED_MOST; i++)
            all = expected_add(&expected, EXPECT_REPLY, "X") && all;
        check(all && !expected_add(&expected, EXPECT_REPLY, "Y"), "%d can be unanswered, no more",
              EXPECTED_MOST);
        for (int i = 0; i < EXPECTED_MOST - 5; i++)
            all = takes(&expected, EXPECT_REPLY, "X") && all;
        check(all && expected.count == 5, "those that are answered make room");
        expected_clear(&expected);
        check(expected_command(&expected) == NULL, "cleared, nothing is expected");
    }
}

int main(void) {
    test_order();
    test_giving_up();
    test_bounds();
    return check_done();
}
