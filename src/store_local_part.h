/* store_local_part.h - what the files of the local store share among themselves.
 *
 *     store_local.c        an ask: what the file says, what is asked, the next record
 *     store_local_grant.c  what the requests change in the record
 *     store_local_queue.c  who waits, and whom the lock is handed to
 *     store_local_wait.c   sleeping until it is worth asking again
 *     store_local_watch.c  sleeping, as the holder, until something was done to the lock
 *     store_local_reclaim.c  removing the files that nobody needs */
#ifndef VLOCK_STORE_LOCAL_PART_H
#define VLOCK_STORE_LOCAL_PART_H

#include "address.h"
#include "hostclock.h"
#include "localdir.h"
#include "lockfile.h"
#include "queue.h"
#include "record.h"
#include "store.h"

/* What is known of the wait that is under way: one at a time. */
struct local_wait {
    char id[REQUEST_ID_BYTES + 1]; /* of the acquire; empty: none, or somebody who only looks on */
    bool looks_on;                 /* for an ASK_PEEK */
    int bell;                      /* our bell, or -1 */
    int watch;                     /* on the lock's file, or -1 */
    dev_t device;                  /* which file is watched */
    ino_t inode;
    int64_t ticket;    /* 0: none yet */
    uint64_t position; /* where our entry was last */
    int place;         /* of the last answer; -1: not in the queue, so we poll */
    int64_t known_ms;  /* when that was */
    int64_t ends_ms;   /* when the holder's lease ends, or CLOCK_NEVER */
    bool overdue;      /* it has ended, but the holder lives */
    bool told_first;   /* by our bell, and not looked since */
    int64_t look_ms;   /* when to look because of something that was seen, or CLOCK_NEVER */
    int64_t echo_ms;   /* look again after this, doubled each time: see filewatch.h; or 0 */
    int64_t pause_ms;  /* between two looks of one who polls */
    bool watch_refused;
    bool queue_refused; /* and that was said */
};

/* What a holder knows who sleeps in store_watch(). */
struct local_hold {
    bool sure;       /* the last ask was DONE; what follows was so then */
    uint64_t fence;  /* of the record */
    int64_t ends_ms; /* when it says (by the machine's clock) that the lease ends, or CLOCK_NEVER */
    bool begun;      /* looked since that ask */
    int watch;       /* on the lock's file, or -1 */
    dev_t device;    /* which file that is */
    ino_t inode;
    int64_t looked_ms, look_at_ms; /* the last look, and the next one or CLOCK_NEVER */
    bool refused;                  /* nothing can be watched, and that was said */
};

struct local_store {
    struct store base;
    const struct access *access;
    struct loop *loop;
    struct localdir dir;
    struct lockfile *files; /* those that show that we live, and the one asked about last */
    struct record_place here;
    struct hostclock clock;
    struct local_wait wait;
    struct local_hold hold;
    bool reclaim_due; /* after this ask */
};

/* One ask under way: what the file says, and what that means at this instant. */
struct local_step {
    struct local_store *store;
    const struct request *request;
    struct lockfile *file;
    struct trouble *why;
    struct record record; /* all zero: there is no file yet */
    int64_t now_ms;       /* by our clock */
    int64_t host_ms;      /* the same instant by the machine's, as the record has it */
    int place;            /* in the queue; -1: not in it */
    unsigned waiting;     /* ASK_PEEK: how many wait */
    bool held;            /* by anybody */
    bool ours;            /* by the token of the request */
    bool lives;           /* the holder shows it */
    bool handed;          /* it lay free, and the asker has handed it on */
    bool kept;            /* free, but for one who waits and cannot be told just now */
    bool changed;         /* `record` is to be written */
};

/* ---- store_local_grant.c ---- */

/* Carries the request out in step->record. */
enum outcome local_carry_out(struct local_step *step);

/* The lock is for `entry`, who waited, once he has confirmed it. */
void local_grant_claim(struct local_step *step, const struct queue_entry *entry);

/* ---- store_local_queue.c ---- */

/* The lock is free: true if it is the asker's turn, who is then out of the queue; if not, it is
 * handed over now, or kept. */
bool local_queue_turn(struct local_step *step);

/* Hands the lock over; false if nobody waits for it, or nobody who can be told. */
bool local_queue_hand_over(struct local_step *step);

/* True if the lock was handed to one who died before he confirmed: his bell is silent, and would
 * not be before that. */
bool local_queue_claim_is_dead(const struct local_step *step);

/* Tells who is first now. */
void local_queue_tell_first(struct local_step *step);

/* Held: the asker joins the queue, or stays in it. Sets step->place. */
void local_queue_stay(struct local_step *step);

/* The asker leaves the queue. */
void local_queue_leave(struct local_step *step);

/* Fills what ASK_PEEK asks for of those who wait. */
void local_queue_list(struct local_step *step);

/* ---- store_local_reclaim.c ---- */

/* Looks through the directory for what nobody needs, once the others who do have let go of it,
 * until `deadline_ms` at most. True if it did: there may be room now. */
bool local_reclaim(struct local_store *store, int64_t deadline_ms);

/* ---- store_local_wait.c ---- */

/* Before an ask that waits. */
void local_wait_begin(struct local_store *store, const struct request *request);

/* After one that was answered. */
void local_wait_answered(const struct local_step *step, enum outcome outcome);

/* Nothing is waited for any more. */
void local_wait_end(struct local_store *store);

enum outcome local_await(struct store *base, const struct request *request, int64_t until_ms,
                         struct trouble *why);

/* ---- store_local_watch.c ---- */

/* After an ask. */
void local_watch_asked(const struct local_step *step, enum outcome outcome);

/* Nothing is watched any more. */
void local_watch_end(struct local_store *store);

enum outcome local_watch(struct store *base, const struct request *request, int64_t until_ms,
                         bool *suspect, struct trouble *why);

#endif
