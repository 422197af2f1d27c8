#include "wishes.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>

#include "clock.h"
#include "duration.h"
#include "lease.h"
#include "signame.h"
#include "store.h"
#include "text.h"

static enum outcome settle_signal(int *signo, const char *value, struct trouble *why) {
    int read = SIGTERM;

    if (value && !signame_parse(value, &read))
        return trouble_say(why, FAILED, EXIT_USAGE,
                           "unknown signal '%s' in --signal: use a name or number, as in TERM, INT "
                           "or 15",
                           value);
    /* CMD would hang, half done, until KILL: that is never what somebody wants. */
    if (read == SIGSTOP || read == SIGTSTP || read == SIGTTIN || read == SIGTTOU)
        return trouble_say(why, FAILED, EXIT_USAGE,
                           "--signal %s would freeze the command, not end it: use TERM, INT or "
                           "another",
                           value);
    *signo = read;
    return DONE;
}

/* A DUR of at least 1 ms, if the option was given; else *ms stays as it is. */
static enum outcome settle_duration(int64_t *ms, const struct options *options, enum option option,
                                    struct trouble *why) {
    const char *value = options->value[option];
    int64_t read = 0;

    if (value && (!duration_parse(value, &read) || read == 0))
        return options_bad_duration(option, value, EXIT_USAGE, why);
    if (value)
        *ms = read;
    return DONE;
}

/* The lease must have time to be renewed, and that to be tried again, before TERM is due. */
static enum outcome check_room(int64_t kill_after_ms, int64_t ttl_ms, struct trouble *why) {
    char given[DURATION_TEXT_BYTES], ttl[DURATION_TEXT_BYTES], longest[DURATION_TEXT_BYTES];
    int64_t longest_ms = lease_longest_kill_after_ms(ttl_ms);

    if (kill_after_ms <= longest_ms)
        return DONE;
    duration_format(given, kill_after_ms);
    duration_format(ttl, ttl_ms);
    duration_format(longest, longest_ms);
    if (longest_ms < 1)
        return trouble_say(why, FAILED, EXIT_USAGE,
                           "--kill-after %s does not fit into a lease of %s: leave it out, or use "
                           "a longer -t",
                           given, ttl);
    return trouble_say(why, FAILED, EXIT_USAGE,
                       "--kill-after %s leaves too little of a lease of %s to renew it: use %s at "
                       "most, or use a longer -t",
                       given, ttl, longest);
}

static enum outcome settle_kill_after(int64_t *kill_after_ms, const struct options *options,
                                      int64_t ttl_ms, struct trouble *why) {
    int64_t read = lease_kill_after_ms(&(struct lease){.ttl_ms = ttl_ms});
    enum outcome outcome = settle_duration(&read, options, OPT_KILL_AFTER, why);

    if (outcome == DONE && options->value[OPT_KILL_AFTER] && ttl_ms != TTL_NONE)
        outcome = check_room(read, ttl_ms, why);
    if (outcome == DONE)
        *kill_after_ms = read;
    return outcome;
}

static enum outcome settle_hold_for(int64_t *hold_for_ms, const struct options *options,
                                    int64_t ttl_ms, struct trouble *why) {
    if (options->value[OPT_HOLD_FOR] && options->value[OPT_REENTER])
        return trouble_say(why, FAILED, EXIT_USAGE,
                           "--hold-for and --reenter together: a lock that is another's is not "
                           "ours to keep, use one of them");
    if (options->value[OPT_HOLD_FOR] && ttl_ms == TTL_NONE)
        return trouble_say(why, FAILED, EXIT_USAGE,
                           "--hold-for with a lock that never expires: it would never end, give it "
                           "a time to live with -t");
    return settle_duration(hold_for_ms, options, OPT_HOLD_FOR, why);
}

static enum outcome settle_on_lost(struct wishes *wishes, const char *value, struct trouble *why) {
    if (!value || strcmp(value, "stop") == 0) {
        wishes->on_lost = LOST_STOP;
    } else if (strcmp(value, "warn") == 0) {
        wishes->on_lost = LOST_WARN;
    } else if (text_begins(value, "exec:")) {
        wishes->on_lost = LOST_EXEC;
        wishes->hook = value + strlen("exec:");
        if (!wishes->hook[strspn(wishes->hook, " \t\n")])
            return trouble_say(why, FAILED, EXIT_USAGE,
                               "no command in --on-lost=exec: write --on-lost=exec:CMD");
    } else {
        return trouble_say(why, FAILED, EXIT_USAGE,
                           "bad value '%s' in --on-lost: use stop, warn or exec:CMD", value);
    }
    return DONE;
}

enum outcome wishes_settle(struct wishes *wishes, const struct options *options, int64_t ttl_ms,
                           struct trouble *why) {
    struct wishes read = {.max_runtime_ms = CLOCK_NEVER,
                          .leave_children = options->value[OPT_LEAVE_CHILDREN] != NULL,
                          .reenter = options->value[OPT_REENTER] != NULL};
    enum outcome outcome = settle_signal(&read.signo, options->value[OPT_SIGNAL], why);

    if (outcome == DONE)
        outcome = settle_kill_after(&read.kill_after_ms, options, ttl_ms, why);
    if (outcome == DONE)
        outcome = settle_duration(&read.max_runtime_ms, options, OPT_MAX_RUNTIME, why);
    if (outcome == DONE)
        outcome = settle_hold_for(&read.hold_for_ms, options, ttl_ms, why);
    if (outcome == DONE)
        outcome = settle_on_lost(&read, options->value[OPT_ON_LOST], why);
    if (outcome == DONE)
        *wishes = read;
    return outcome;
}
