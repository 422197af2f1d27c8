#include "ending.h"

#include <signal.h>
#include <stddef.h>

#include "exits.h"

bool ending_on_signal(void *arg, const struct signalfd_siginfo *info) {
    struct ending *ending = arg;

    if (info->ssi_signo == SIGCHLD || info->ssi_signo == SIGWINCH)
        return false; /* no reason to end, and none of our business yet */
    if (!ending->signo)
        ending->signo = (int)info->ssi_signo;
    return true;
}

int ending_status(const struct ending *ending, const struct loop *loop) {
    if (ending->signo)
        return EXIT_SIGNAL_BASE + ending->signo;
    return loop->output_gone ? EXIT_SIGNAL_BASE + SIGPIPE : EXIT_BUG;
}

int ending_die(int status, const struct child_found *found, const struct loop *loop) {
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigset_t mask = loop->mask_found;

    if (status != EXIT_SIGNAL_BASE + SIGINT)
        return status;
    sigaction(SIGINT, &normal, NULL);
    sigdelset(&mask, SIGINT);
    raise(SIGINT); /* pending while it is blocked, and ours as soon as it is not */
    child_found_restore(found, &mask);
    return status;
}
