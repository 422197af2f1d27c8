#include "signame.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fuzz.h"

static void is(const char *text, int expected) {
    int signo = -1;

    check(signame_parse(text, &signo) && signo == expected, "'%s' is signal %d", text, expected);
}

static void is_none(const char *text) {
    int signo = -7;

    check(!signame_parse(text, &signo) && signo == -7, "'%s' is no signal", text);
}

static void test_fuzz(void) {
    struct fuzz fuzz = fuzz_start();
    bool well = true;

    while (well && fuzz_goes_on(&fuzz)) {
        char text[100], *exact;
        int signo = -7;

        fuzz_mutate(&fuzz, text, sizeof text, fuzz_below(&fuzz, 2) ? "SIGRTMIN+12" : "sigTERM15");
        exact = strdup(text);
        well = signame_parse(exact, &signo) ? signo >= 1 && signo <= SIGRTMAX : signo == -7;
        free(exact);
    }
    check(well, "whatever is parsed is a signal, and else nothing is touched");
}

int main(void) {
    static const char *const none[] = {
        "",         "0",      "-1",       "-TERM", "SIG",     "SIG15",   "SIGSIGTERM",
        "TERM ",    " TERM",  "TER",      "TERMS", "EXIT",    "32",      "33",
        "65",       "143",    "15x",      "+15",   "RTMIN-1", "RTMAX+1", "RTMIN+31",
        "RTMAX-31", "RTMIN+", "RTMIN+-1", "RTMI",  "RTMINA",  "RTMIN1",  "99999999999999999999"};

    is("TERM", SIGTERM);
    is("SIGTERM", SIGTERM);
    is("sigterm", SIGTERM);
    is("SigTerm", SIGTERM);
    is("term", SIGTERM);
    is("15", 15);
    is("9", SIGKILL);
    is("KILL", SIGKILL);
    is("IOT", SIGABRT);
    is("CLD", SIGCHLD);
    is("POLL", SIGIO);
    is("WINCH", SIGWINCH);
    is("1", SIGHUP);
    is("31", SIGSYS);
    is("34", 34);
    is("RTMIN", 34); /* as in kill -l of a GNU system */
    is("SIGRTMIN+1", 35);
    is("rtmin+30", 64);
    is("RTMAX", 64);
    is("RTMAX-30", 34);
    is("64", 64);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        is_none(none[i]);
    test_fuzz();
    return check_done();
}
