/* check.h - what a unit test needs: sentences that hold or do not.
 *
 *     check(strcmp(text, "1h30m") == 0, "90 minutes are written 1h30m");
 *     ...
 *     return check_done();
 *
 * prints 'ok N - sentence' or 'not ok N - sentence' for each, and at the end the plan, 1..N.
 * A test that forks does its checks in the parent: the numbers are counted here. */
#ifndef VLOCK_CHECK_H
#define VLOCK_CHECK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static int check_count, check_failed;

/* Notes whether the sentence holds, and returns it, so that a caller can tell more. */
__attribute__((format(printf, 2, 3))) static inline bool check(bool holds, const char *sentence,
                                                               ...) {
    va_list args;

    check_count++;
    check_failed += !holds;
    printf("%s %d - ", holds ? "ok" : "not ok", check_count);
    va_start(args, sentence);
    vprintf(sentence, args);
    va_end(args);
    putchar('\n');
    /* A child of a test must not print again what its parent had in the buffer. */
    fflush(stdout);
    return holds;
}

/* Notes that `sentence` could not be looked at here, and why. */
static inline void check_skip(const char *sentence, const char *reason) {
    printf("ok %d - %s # SKIP %s\n", ++check_count, sentence, reason);
    fflush(stdout);
}

/* How often something is tried that goes wrong only now and then: `few` times by default, `many`
 * with run.sh --all. */
static inline unsigned rounds(unsigned few, unsigned many) {
    return getenv("VLOCK_TEST_FULL") ? many : few;
}

/* Prints the plan; the exit status of the test. */
static inline int check_done(void) {
    printf("1..%d\n", check_count);
    return check_failed ? 1 : 0;
}

#endif
