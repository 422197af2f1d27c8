/* doorbell.h - how one who waits for a lock is known to live, and is woken.
 *
 * His bell is a FIFO of his own in the directory of the locks, `.bell-ID`, which he keeps open for
 * reading. Opening it for writing without waiting fails when nobody has it open: so the kernel
 * says, at once and whatever became of him, whether he lives. One byte in it wakes him.
 * It is taken down by him when he need not wait any more, and by whoever finds him dead.
 *
 * What stands under a bell's name may be anybody's work: no link is followed, nothing waited for,
 * and what is no FIFO is no bell. */
#ifndef VLOCK_DOORBELL_H
#define VLOCK_DOORBELL_H

#include <stdbool.h>

#include "localdir.h"

#define DOORBELL_BEGINS ".bell-"

/* What is said with it. */
enum doorbell_call {
    DOORBELL_GRANTED = 'g', /* the lock is about to be handed to you: come and confirm */
    DOORBELL_FIRST = 'f',   /* nobody is before you now */
    DOORBELL_NEAR = 'n'     /* few are before you: look when the lease of the holder ends */
};

enum doorbell_state {
    DOORBELL_LIVES,
    DOORBELL_DEAD,
    DOORBELL_CLOSED, /* we have no right to ring: he may live */
    DOORBELL_UNKNOWN /* we have no descriptor left, or the like: nothing is known */
};

/* Hangs up a bell; its descriptor, or -1 with errno. */
int doorbell_hang(const struct localdir *dir, const char *id);

/* True if `bell` still hangs there. */
bool doorbell_hangs(const struct localdir *dir, const char *id, int bell);

/* Finds out whether the one whose bell it is lives. Then *bell is a descriptor to ring it with. */
enum doorbell_state doorbell_reach(const struct localdir *dir, const char *id, int *bell);

/* Rings, and closes `bell`. False if nobody is there any more. */
bool doorbell_ring(int bell, enum doorbell_call call);

/* What was rung at our own bell since the last time, `call` among it? */
struct doorbell_heard {
    bool granted, first, near;
};
struct doorbell_heard doorbell_listen(int bell);

void doorbell_take_down(const struct localdir *dir, const char *id);

/* The same, if nobody hears it. */
void doorbell_take_down_dead(const struct localdir *dir, const char *id);

#endif
