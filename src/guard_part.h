/* guard_part.h - the parts of guard: guard.c is GUARD's side, guard_front.c FRONT's, guard_ear.c
 * the ear's. */
#ifndef VLOCK_GUARD_PART_H
#define VLOCK_GUARD_PART_H

#include "guard.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GUARD_SHARES_MEMORY 0
#else
#define GUARD_SHARES_MEMORY 1
#endif

enum {
    GUARD_STACK_BYTES = 1 << 20, /* what a name service may need; only what is used is ever there */
    GUARD_HOLE_BYTES = 1 << 16,  /* below the stack: a page on every machine */
    EAR_STACK_BYTES = 8192,
    SAID_BYTES = 8192, /* a power of two */
    SIGNALS = 65,
    FROM_TERMINAL = 1,   /* to GUARD, with a signal: the terminal sent it */
    GUARD_CALLS = SIGURG /* to FRONT: see guard_front.c; of no meaning to anybody else */
};

/* What GUARD and FRONT both see, also when each has a memory of its own. */
struct shared {
    char magic[16];
    size_t bytes; /* of this, the estate included */
    pid_t front, guard;
    char comm[16];    /* FRONT's name */
    sigset_t signals; /* what FRONT takes */
    struct guard_told told;
    volatile bool stopped;              /* FRONT is about to stop, or has */
    volatile bool apart;                /* FRONT has a memory of its own */
    volatile bool ear_wanted;           /* FRONT was asked for one */
    volatile pid_t ear;                 /* 0: there is none */
    volatile bool ear_reads;            /* it may have one in hand that it has not counted yet */
    volatile unsigned heard[SIGNALS];   /* how often the ear got each signal */
    volatile int64_t heard_ms[SIGNALS]; /* ... and when last: CLOCK_BOOTTIME */
    volatile unsigned put, taken;       /* bytes of `said` that GUARD wrote, FRONT passed on */
    char said[SAID_BYTES];              /* a ring: what FRONT is to write to stderr */
    char estate[];                      /* see guard_run() */
};

/* One mapping: a hole, GUARD's stack, and at its upper end this. */
struct post {
    struct guard guard;
    struct shared *volatile shared; /* at first the one below */
    struct loop *loop;
    guard_work *work;
    void *arg;
    loop_on_signal *on_signal;
    void *signal_arg;
    const void *estate;
    size_t estate_bytes;
    struct trouble why;     /* GUARD could not even begin */
    unsigned seen[SIGNALS]; /* how many of those that the ear got FRONT has passed on */
    bool called;            /* GUARD has called FRONT */
    bool unshares;          /* FRONT may call unshare(2) */
    volatile int memory;    /* the descriptor of what `shared` then is, -1: none */
    char **argv, **envp;    /* with which FRONT gets a memory of its own */
    char ear_stack[EAR_STACK_BYTES] __attribute__((aligned(64)));
    _Alignas(64) char first[sizeof(struct shared)];
};

#define GUARD_MAGIC    "vlock's front 1" /* with its NUL as long as the field */
#define GUARD_VARIABLE "VLOCK_FRONT"

/* Makes a process of the family, sharing what there is to share. */
pid_t guard_start(int (*body)(void *), void *arg, char *stack_end, int flags);

/* In FRONT: starts the ear, if one is wanted and there is none; `stack_end` is the upper end of
 * EAR_STACK_BYTES. Ends it. */
void guard_start_ear(struct shared *shared, char *stack_end);
void guard_end_ear(struct shared *shared);

/* Writes what is in the ring to stderr, and waits no longer than `patience_ms` for a reader who
 * does not read. One process at a time: FRONT, or GUARD when FRONT cannot. */
void guard_speak(struct shared *shared, int patience_ms);

/* In GUARD, the body. `arg` is the struct post. */
int guard_be(void *arg);

#endif
