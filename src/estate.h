/* estate.h - what is left to be done when GUARD (guard.h) was killed, and what FRONT needs to know
 * for it. */
#ifndef VLOCK_ESTATE_H
#define VLOCK_ESTATE_H

#include <stdbool.h>

#include "guard.h"
#include "store.h"
#include "tree.h"

struct estate {
    bool quiet;
    bool insecure, store_named;
    bool ours; /* the token is nobody else's: it can be released whether it was told or not that
                  we have the lock */
    bool borrowed;
    char name[NAME_MAX_BYTES + 1];
    struct tree tree; /* what has come to FRONT */
};

/* In FRONT: kills what has come to it, and has a vlock of its own release the lock, whose token
 * stands in the environment. Returns the exit status. */
int estate_settle(struct estate *estate, const struct guard_told *told);

#endif
