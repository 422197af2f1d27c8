#include "signame.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "text.h"

/* RTMIN is what kill(1) and the shells of a GNU system mean by it, whatever libc we are linked
 * with: musl keeps a signal more for itself and would count from 35. */
enum { FIRST_REALTIME = 34 };

static const struct {
    const char *name;
    int signo;
} names[] = {
    {"HUP", SIGHUP},       {"INT", SIGINT},   {"QUIT", SIGQUIT},     {"ILL", SIGILL},
    {"TRAP", SIGTRAP},     {"ABRT", SIGABRT}, {"IOT", SIGABRT},      {"BUS", SIGBUS},
    {"FPE", SIGFPE},       {"KILL", SIGKILL}, {"USR1", SIGUSR1},     {"SEGV", SIGSEGV},
    {"USR2", SIGUSR2},     {"PIPE", SIGPIPE}, {"ALRM", SIGALRM},     {"TERM", SIGTERM},
#ifdef SIGSTKFLT
    {"STKFLT", SIGSTKFLT},
#endif
    {"CHLD", SIGCHLD},     {"CLD", SIGCHLD},  {"CONT", SIGCONT},     {"STOP", SIGSTOP},
    {"TSTP", SIGTSTP},     {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU},     {"URG", SIGURG},
    {"XCPU", SIGXCPU},     {"XFSZ", SIGXFSZ}, {"VTALRM", SIGVTALRM}, {"PROF", SIGPROF},
    {"WINCH", SIGWINCH},   {"IO", SIGIO},     {"POLL", SIGIO},       {"PWR", SIGPWR},
    {"SYS", SIGSYS},
};

/* RTMIN, RTMIN+N, RTMAX, RTMAX-N. */
static bool parse_realtime(const char *name, int *signo) {
    bool from_end = strncasecmp(name, "RTMAX", 5) == 0;
    unsigned long long step = 0;

    if (!from_end && strncasecmp(name, "RTMIN", 5) != 0)
        return false;
    if (name[5] && (name[5] != (from_end ? '-' : '+') ||
                    !text_number(name + 6, (unsigned)(SIGRTMAX - FIRST_REALTIME), &step)))
        return false;
    *signo = from_end ? SIGRTMAX - (int)step : FIRST_REALTIME + (int)step;
    return true;
}

bool signame_parse(const char *text, int *signo) {
    const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
    unsigned long long number;

    if (text_number(text, (unsigned)SIGRTMAX, &number)) {
        if (number == 0 || (number > SIGSYS && number < FIRST_REALTIME))
            return false;
        *signo = (int)number;
        return true;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(name, names[i].name) == 0) {
            *signo = names[i].signo;
            return true;
        }
    return parse_realtime(name, signo);
}
