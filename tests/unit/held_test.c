#include "held.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

static const char *token_of(const char *name) {
    static char token[64];

    strcpy(token, "untouched");
    return held_token(name, token, sizeof token) ? token : "";
}

static void test_none(void) {
    char token[64] = "untouched";

    unsetenv("VLOCK_HELD");
    check(!held_token("a", token, sizeof token) && strcmp(token, "untouched") == 0,
          "without VLOCK_HELD no lock is held around us, and nothing is touched");
    setenv("VLOCK_HELD", "nonsense,=x,a=,%zz=t,a", 1);
    check(!held_token("a", token, sizeof token) && strcmp(token, "untouched") == 0,
          "nor with nonsense in it");
}

static void test_innermost(void) {
    unsetenv("VLOCK_HELD");
    check(held_add("a", "t:1", NULL) == DONE && held_add("b b,=%", "t,=2", NULL) == DONE &&
              held_add("a", "t:3", NULL) == DONE && held_add("c", "t:4", NULL) == DONE,
          "four commands hold a lock around one another");
    check(strcmp(token_of("a"), "t:3") == 0, "the innermost token of a lock counts");
    check(held_has("a", "t:1") && held_has("a", "t:3"), "the outer ones are known as well");
    check(strcmp(token_of("b b,=%"), "t,=2") == 0, "names and tokens of any bytes come back");
    check(!*token_of("") && !*token_of("b") && !*token_of("A"), "another lock has none");
}

static void test_room(void) {
    char exact[4], small[3] = "ab";

    unsetenv("VLOCK_HELD");
    held_add("a", "xyz", NULL);
    check(held_token("a", exact, sizeof exact) && strcmp(exact, "xyz") == 0, "it may just fit");
    check(!held_token("a", small, sizeof small) && strcmp(small, "ab") == 0,
          "what has no room is not cut");
}

int main(void) {
    test_none();
    test_innermost();
    test_room();
    return check_done();
}
