/* guard_signals.c - which of the signals that vlock gets the command must be sent.
 *
 * A signal that reached FRONT is for the command. Where it was sent to the whole process group the
 * command has it already, and to send it again would make two of it. kill(2) does not say whom else
 * a signal was sent to, so FRONT's copy, which carries its sender, is compared with what others
 * got:
 *
 *   the command is in another group        it has nothing: send        (timeout, setsid, a shell)
 *   the terminal sent it                   the group has it: do not    (Ctrl-C)
 *   GUARD got one from that sender         it went from process to process: send   (pidof, killall)
 *   the ear got one from that sender       it went to the group: do not
 *   nobody else got one                    it went to FRONT alone: send
 *
 * The third and the fourth line can come in either order: after the first 20 ms GUARD is in a
 * session of its own, so what reaches GUARD and the ear was sent to each of them by number, but
 * whichever has the higher number gets it later. A copy that comes to GUARD after the command was
 * not sent one is sent then; one that comes to the ear after the command was sent one is dropped.
 * So a signal is never sent zero times, and twice at worst. Evidence of over a second ago does not
 * count: numbers of senders come again. */
#include <poll.h>
#include <stdatomic.h>
#include <unistd.h>

#include "clock.h"
#include "guard_part.h"

enum {
    EAR_LOOKS = 100, /* of 1 ms */
    EAR_FIRST = 5,   /* so many of them before it is taken for certain that it has not heard */
    OLD_MS = 1000
};

/* ---- notes, from one process to another ---- */

void guard_put_note(struct notes *notes, const struct note *note) {
    unsigned put = notes->put;

    if (put - notes->taken >= NOTES) {
        atomic_fetch_or(&notes->lost, (uint64_t)1 << note->signo % 64);
        return;
    }
    notes->note[put % NOTES] = *note;
    notes->put = put + 1;
}

bool guard_take_note(struct notes *notes, struct note *note) {
    unsigned taken = notes->taken;

    if (taken == notes->put)
        return false;
    *note = notes->note[taken % NOTES];
    notes->taken = taken + 1;
    return true;
}

/* ---- evidence ---- */

static void add(struct evidence *evidence, pid_t sender, int64_t at_ms) {
    if (evidence->sender != sender || at_ms - evidence->at_ms > OLD_MS)
        evidence->count = 0;
    *evidence = (struct evidence){.sender = sender, .count = evidence->count + 1, .at_ms = at_ms};
}

/* True, and used up, if there is some. */
static bool use(struct evidence *evidence, pid_t sender) {
    if (!evidence->count || evidence->sender != sender || clock_now_ms() - evidence->at_ms > OLD_MS)
        return false;
    evidence->count--;
    return true;
}

/* What the ear has noted since. */
static void gather(struct guard *guard) {
    struct note note;

    while (guard_take_note(&guard->shared->heard, &note))
        if (!use(&guard->unheard[note.signo], note.sender))
            add(&guard->heard[note.signo], note.sender, note.at_ms);
}

static bool in_group_of(pid_t pid, pid_t command) {
    pid_t group = getpgid(command);

    return group >= 0 && group == getpgid(pid);
}

/* kill(2) holds the kernel's list of processes while it goes through a group, and FRONT may have
 * been quicker than its end: a call that changes that list waits for it. A sender that signals one
 * process after the other (a service manager) is given a few milliseconds. The ear may be slower
 * than we: what is pending there will be noted. */
static bool ear_has(struct guard *guard, const struct note *note, pid_t command) {
    const struct shared *shared = guard->shared;

    if (shared->ear <= 0 || !in_group_of(shared->ear, command))
        return false;
    setpgid(0, 0); /* refused to a process that leads a session, but not before that */
    for (int looks = 0; looks < EAR_LOOKS; looks++) {
        /* In this order: what it takes, it has in hand before it is not pending any more. */
        bool pending = guard_waits_for(shared->ear, (unsigned)note->signo);
        bool reads = shared->ear_reads;

        gather(guard);
        if (use(&guard->heard[note->signo], note->sender))
            return true;
        if (!pending && !reads && looks >= EAR_FIRST)
            return false;
        poll(NULL, 0, 1);
    }
    return false;
}

/* The table at the head of this file. */
static bool command_has(struct guard *guard, const struct note *note, pid_t command) {
    if (!in_group_of(guard->front, command))
        return false;
    if (note->terminal)
        return true;
    if (use(&guard->own[note->signo], note->sender)) {
        gather(guard);
        if (!use(&guard->heard[note->signo], note->sender))
            add(&guard->unheard[note->signo], note->sender, clock_now_ms());
        return false;
    }
    if (!ear_has(guard, note, command))
        return false;
    add(&guard->hushed[note->signo], note->sender, clock_now_ms());
    return true;
}

/* ---- for the loop of GUARD ---- */

bool guard_from_front(const struct guard *guard, const struct signalfd_siginfo *info) {
    return info->ssi_pid == (uint32_t)guard->front;
}

void guard_note(struct guard *guard, const struct signalfd_siginfo *info) {
    pid_t sender = (pid_t)info->ssi_pid;
    unsigned signo = info->ssi_signo;

    if (signo == GUARD_WAKE || signo >= SIGNALS || guard_from_front(guard, info))
        return;
    if (use(&guard->hushed[signo], sender))
        guard->late |= (uint64_t)1 << signo % 64;
    else
        add(&guard->own[signo], sender, clock_now_ms());
}

int guard_next_signal(struct guard *guard, pid_t command) {
    struct note note;

    gather(guard);
    while (guard_take_note(&guard->shared->passed, &note))
        if (!command_has(guard, &note, command))
            return note.signo;
    guard->late |= atomic_exchange(&guard->shared->passed.lost, 0);
    for (int signo = 1; guard->late && signo < SIGNALS; signo++) {
        uint64_t bit = (uint64_t)1 << signo % 64;
        if (guard->late & bit) {
            guard->late &= ~bit;
            return signo;
        }
    }
    return 0;
}
