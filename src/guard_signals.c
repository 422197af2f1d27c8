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
 * So a signal is never sent zero times, and twice at worst. (A sender that picks the ear and FRONT
 * out of the three is taken for one that signals the group.) Evidence of over a second ago does not
 * count: numbers of senders come again. */
#include <poll.h>
#include <stdatomic.h>
#include <unistd.h>

#include "clock.h"
#include "guard_part.h"

enum {
    EAR_LOOKS = 100, /* of 1 ms */
    EAR_FIRST = 5,   /* so many of them before it is taken for certain that it has not heard */
    WAITS_WITHIN_MS =
        2000,            /* of so long, no more than a seventh is spent on waiting for the ear: */
    WAITS_MOST_MS = 300, /* a stream of signals must not keep GUARD from renewing the lease */
    OLD_MS = 1000
};

/* ---- notes, from one process to another ---- */

static bool same(const struct note *a, const struct note *b) {
    return a->signo == b->signo && a->sender == b->sender && a->terminal == b->terminal;
}

/* What the reader takes at this very moment, it acts upon after this. */
void guard_put_note(struct notes *notes, const struct note *note) {
    unsigned put = notes->put, taken = notes->taken;

    for (unsigned i = taken; i != put; i++)
        if (same(&notes->note[i % NOTES], note))
            return;
    if (put - taken >= NOTES) {
        atomic_fetch_or(&notes->lost, (uint64_t)1 << note->signo);
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

uint64_t guard_take_lost(struct notes *notes) {
    return atomic_exchange(&notes->lost, 0);
}

/* ---- evidence ---- */

static bool counts(const struct sighting *sighting, int64_t now_ms) {
    return sighting->count && now_ms - sighting->at_ms <= OLD_MS;
}

/* True if that has thrown out what still counts, of another sender. */
static bool add(struct evidence *evidence, pid_t sender, int64_t at_ms) {
    struct sighting *to = &evidence->of[0];
    bool out;

    for (unsigned i = 0; i < SENDERS; i++) {
        struct sighting *sighting = &evidence->of[i];
        if (counts(sighting, at_ms) && sighting->sender == sender) {
            sighting->count++;
            sighting->at_ms = at_ms;
            return false;
        }
        if (!counts(sighting, at_ms) || (counts(to, at_ms) && sighting->at_ms < to->at_ms))
            to = sighting;
    }
    out = counts(to, at_ms);
    *to = (struct sighting){.sender = sender, .count = 1, .at_ms = at_ms};
    return out;
}

/* True, and used up, if there is some. */
static bool use(struct evidence *evidence, pid_t sender) {
    int64_t now_ms = clock_now_ms();

    for (unsigned i = 0; i < SENDERS; i++)
        if (counts(&evidence->of[i], now_ms) && evidence->of[i].sender == sender) {
            evidence->of[i].count--;
            return true;
        }
    return false;
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

/* False if too much time went into that already: then CMD may get a signal twice. */
static bool wait_a_moment(struct guard *guard) {
    int64_t now_ms = clock_now_ms();

    if (now_ms - guard->waits_from_ms > WAITS_WITHIN_MS) {
        guard->waits_from_ms = now_ms;
        guard->waited_ms = 0;
    }
    if (guard->waited_ms >= WAITS_MOST_MS)
        return false;
    poll(NULL, 0, 1);
    guard->waited_ms += clock_now_ms() - now_ms;
    return true;
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
        if ((!pending && !reads && looks >= EAR_FIRST) || !wait_a_moment(guard))
            return false;
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
    if (add(&guard->hushed[note->signo], note->sender, clock_now_ms()))
        guard->late |= (uint64_t)1 << note->signo; /* GUARD's copy of that may still come */
    return true;
}

/* ---- for the loop of GUARD ---- */

bool guard_from_front(const struct guard *guard, const struct signalfd_siginfo *info) {
    return info->ssi_pid == (uint32_t)guard->front;
}

void guard_note(struct guard *guard, const struct signalfd_siginfo *info) {
    pid_t sender = (pid_t)info->ssi_pid;
    unsigned signo = info->ssi_signo;

    guard->due_notes = guard->shared->passed.put; /* those that come later wake us again */
    if (signo == GUARD_WAKE || signo >= SIGNALS || guard_from_front(guard, info))
        return;
    if (use(&guard->hushed[signo], sender))
        guard->late |= (uint64_t)1 << signo;
    else
        add(&guard->own[signo], sender, clock_now_ms());
}

int guard_next_signal(struct guard *guard, pid_t command) {
    struct notes *passed = &guard->shared->passed;
    struct note note;

    gather(guard);
    while (passed->taken != guard->due_notes && guard_take_note(passed, &note))
        if (!command_has(guard, &note, command))
            return note.signo;
    guard->late |= guard_take_lost(passed);
    for (int signo = 1; guard->late && signo < SIGNALS; signo++) {
        uint64_t bit = (uint64_t)1 << signo;
        if (guard->late & bit) {
            guard->late &= ~bit;
            return signo;
        }
    }
    return 0;
}
