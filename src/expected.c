#include "expected.h"

#include <stddef.h>

/* Where the one stands that is answered `i` others after the next. */
static unsigned slot(const struct expected *expected, unsigned i) {
    return (expected->first + i) % EXPECTED_MOST;
}

bool expected_add(struct expected *expected, enum expected_kind kind, const char *command) {
    if (expected->count == EXPECTED_MOST)
        return false;
    expected->all[slot(expected, expected->count++)] = (struct expected_one){kind, command};
    return true;
}

bool expected_take(struct expected *expected, struct expected_one *out) {
    if (!expected->count)
        return false;
    *out = expected->all[slot(expected, 0)];
    expected->first = (expected->first + 1) % EXPECTED_MOST;
    expected->count--;
    return true;
}

const char *expected_command(const struct expected *expected) {
    return expected->count ? expected->all[slot(expected, 0)].command : NULL;
}

void expected_give_up(struct expected *expected) {
    for (unsigned i = 0; i < expected->count; i++)
        if (expected->all[slot(expected, i)].kind != EXPECT_GREETING)
            expected->all[slot(expected, i)].kind = EXPECT_NOTHING;
}

void expected_clear(struct expected *expected) {
    expected->first = expected->count = 0;
}
