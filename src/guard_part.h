/* guard_part.h - the parts of guard: guard.c is GUARD's side, guard_signals.c what GUARD decides
 * about signals, guard_front.c FRONT's side, guard_ear.c the ear. */
#ifndef VLOCK_GUARD_PART_H
#define VLOCK_GUARD_PART_H

#include "guard.h"

enum {
    SAID_BYTES = 8192,  /* a power of two */
    SIGNALS = 32,       /* none that is passed on has a higher number */
    NOTES = 64,         /* a power of two */
    SENDERS = 4,        /* that are told apart, of one signal */
    GUARD_WAKE = SIGURG /* between FRONT and GUARD: look into the shared memory; of no meaning to
                           anybody else */
};

/* A signal that somebody got. */
struct note {
    int signo;
    pid_t sender;  /* 0: the kernel, or a process outside of our pid namespace */
    bool terminal; /* the terminal sent it to its foreground process group */
    int64_t at_ms; /* CLOCK_BOOTTIME when that was seen */
};

/* One process writes, one reads. What there is no room for is in `lost`, a bit each. */
struct notes {
    _Atomic unsigned put, taken;
    _Atomic uint64_t lost;
    struct note note[NOTES];
};

/* All that FRONT, GUARD and the ear share. A short run touches the first page alone. */
struct shared {
    struct guard_told told;
    _Atomic bool stopped;        /* FRONT is about to stop, or has */
    _Atomic bool ear_wanted;     /* FRONT was asked for one */
    _Atomic bool ear_reads;      /* it may have one in hand that it has not noted yet */
    _Atomic pid_t ear;           /* 0: there is none */
    _Atomic unsigned put, taken; /* bytes of `said` that GUARD wrote, FRONT passed on */
    struct trouble why;          /* GUARD could not even begin */
    struct notes passed;         /* by FRONT: what it was sent, for GUARD */
    struct notes heard;          /* by the ear: what the process group was sent, for GUARD */
    char said[SAID_BYTES];       /* a ring: what FRONT is to write to stderr */
};

/* How often one signal was seen from a sender, and not matched with FRONT's copy yet: see
 * guard_signals.c. */
struct sighting {
    pid_t sender;
    unsigned count;
    int64_t at_ms;
};
struct evidence {
    struct sighting of[SENDERS];
};

struct guard {
    struct shared *shared;
    pid_t self, front;
    int keeping; /* a socket to nobody, whose queue FRONT holds: guard_keep(); or -1 */
    struct loop *loop;
    const struct guard_job *job;
    bool listens;                     /* guard_listen() has asked for the ear */
    struct evidence own[SIGNALS];     /* GUARD got it too */
    struct evidence heard[SIGNALS];   /* the ear got it too */
    struct evidence unheard[SIGNALS]; /* the ear will get it, and that will mean nothing */
    struct evidence hushed[SIGNALS];  /* not sent to the command, as the ear had it */
    uint64_t late;                    /* to be sent all the same, a bit each */
    unsigned due_notes;               /* `passed` is looked at up to here, then at the loop again */
    int64_t waits_from_ms;            /* the ear has been waited for since then, so long: */
    int64_t waited_ms;
};

/* The beginning of a file, with a NUL; nothing if it cannot be read. */
void guard_read_text(const char *path, char *text, size_t bytes);

/* Whether this signal waits for this process; false if that cannot be seen. */
bool guard_waits_for(pid_t pid, unsigned signo);

/* Adds to what one process writes and another reads. One that waits there already is not added
 * again, as the kernel does it with pending signals. */
void guard_put_note(struct notes *notes, const struct note *note);

/* Takes the next, or false. */
bool guard_take_note(struct notes *notes, struct note *note);

/* Takes those that there was no room for, a bit each. */
uint64_t guard_take_lost(struct notes *notes);

/* In FRONT: starts the ear, if one is wanted and there is none, for the signals that FRONT takes.
 * Ends it. */
void guard_start_ear(struct shared *shared, const struct title *title, const sigset_t *taken);
void guard_end_ear(struct shared *shared);

/* Writes what is in the ring to stderr, and waits no longer than `patience_ms` for a reader that
 * does not read. One process at a time: FRONT, or GUARD when FRONT is no more. */
void guard_speak(struct shared *shared, int patience_ms);

/* In GUARD, which is a child of `front`: its whole life. */
_Noreturn void guard_be(struct guard *guard);

#endif
