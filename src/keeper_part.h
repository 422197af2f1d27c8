/* keeper_part.h - the parts of keeper: keeper.c has acquire's side, keeper_alone.c how the new
 * process becomes one of its own, keeper_life.c what it then does. */
#ifndef VLOCK_KEEPER_PART_H
#define VLOCK_KEEPER_PART_H

#include "keeper.h"

/* What the two say to each other. */
enum keeper_word { KEEPER_TRUSTED = 't' };

/* In the new process: from here on it shares nothing with anybody but its end of the talk.
 * FAILED/71. What is open is what was open before. */
enum outcome keeper_become(struct keeper *keeper, struct context *ctx, struct trouble *why);

/* The life of the keeper. */
_Noreturn void keeper_live(struct keeper *keeper, struct context *ctx, struct lock *lock);

#endif
