/* expected.h - what a connection still has to answer, in the order of the protocol.
 *
 * Every command is answered once, in order. SUBSCRIBE and SSUBSCRIBE are answered by a push if they
 * succeed (greeting_is_answer()), and by an error reply if not; all other pushes answer nothing. */
#ifndef VLOCK_EXPECTED_H
#define VLOCK_EXPECTED_H

#include <stdbool.h>

enum expected_kind {
    EXPECT_GREETING, /* of what a fresh connection says first */
    EXPECT_ASIDE,    /* of a command sent on the way: nobody sleeps for it */
    EXPECT_REPLY,    /* of a command that somebody waits for */
    EXPECT_NOTHING   /* nobody waits any more: to be dropped */
};

struct expected_one {
    enum expected_kind kind;
    const char *command; /* its first word; a string that lasts */
};

enum { EXPECTED_MOST = 64 };

struct expected {
    struct expected_one all[EXPECTED_MOST];
    unsigned first, count;
};

/* Adds what is answered last. False: too many are unanswered. */
bool expected_add(struct expected *expected, enum expected_kind kind, const char *command);

/* Takes the one that is answered next into *out. False: nothing is. */
bool expected_take(struct expected *expected, struct expected_one *out);

/* The command that is answered next, or NULL. */
const char *expected_command(const struct expected *expected);

/* From now on nobody waits for what is not of the greeting. */
void expected_give_up(struct expected *expected);

void expected_clear(struct expected *expected);

#endif
