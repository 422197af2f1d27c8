/* store.h - where locks live: one contract, several kinds of store.
 *
 * A store answers requests about one key. Each request is one atomic step on the store (a
 * script on a server, a change under flock(2) on this machine), so the meaning of a lock does
 * not depend on where it lives; tests/contract.bats runs whole against every kind. What the
 * answers MEAN for a lock is lock.h's business.
 *
 * Lost answers. A connection that breaks after a request was sent leaves open whether it was
 * carried out. The store connects again and sends the same request with the same `id` until
 * the deadline: every request is made so that carrying it out twice is the same as once
 * (acquire: the last grant's id is remembered beside the lock; extend: the last addition's;
 * all others set what they say). If no answer comes by the deadline, the outcome is UNSURE,
 * never FAILED.
 *
 * Waiting. An ASK_ACQUIRE that waits is answered HELD and has then a place in the queue of the
 * key, in order of arrival. store_await() sleeps until it is worth asking again. A lock that was
 * handed off meanwhile is only a short claim: the waiter holds it once that ask is DONE, which
 * confirms it.
 * The store remembers the place, for one acquire at a time, by its id; it outlives a broken
 * connection. ASK_WITHDRAW gives it up.
 *
 * Holding. Whoever holds a lock sleeps in store_watch() between two renewals, so that it knows at
 * once that the lock was taken from it.
 *
 * How to add a kind: a file store_KIND.c that fills a `struct store_kind` at its foot, a kind
 * in address.h, and a row in store.c. */
#ifndef VLOCK_STORE_H
#define VLOCK_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "loop.h"
#include "trouble.h"

struct address;
struct access;
struct store;

enum {
    NAME_MAX_BYTES = 512,  /* NAME, without prefix */
    KEY_MAX_BYTES = 1024,  /* prefix and NAME */
    TOKEN_MAX_BYTES = 512, /* the value of the key */
    REQUEST_ID_BYTES = 32  /* hex digits of 128 random bits */
};

/* A time to live that does not end, in requests and answers; 0 never stands for it. */
#define TTL_NONE INT64_MAX
/* The longest time to live: what a Lua number holds exactly (2^53 ms). */
#define TTL_MAX_MS ((int64_t)1 << 53)

enum request_kind {
    ASK_ACQUIRE,  /* take the key for `token` if it is free (SET NX, PX ttl_ms) */
    ASK_WITHDRAW, /* undo the ASK_ACQUIRE with this id, whether it was carried out, is still on
                     its way (it will then be refused), or never arrived */
    ASK_RELEASE,  /* delete the key if it holds `token` */
    ASK_EXTEND,   /* add ttl_ms to what is left, if the key holds `token` */
    ASK_RESET,    /* set what is left to ttl_ms, if the key holds `token` */
    ASK_RENEW,    /* set what is left to ttl_ms unless more is left: never shortens; TTL_NONE: no
                     expiry, whoever has set one */
    ASK_RECOVER,  /* as ASK_RESET; but if the key is free and the last fence given is `fence`,
                     take it again under `token` with that same fence */
    ASK_BREAK,    /* as ASK_RELEASE by somebody who holds nothing: if the key holds `token`, and,
                     unless `fence` is 0, got it under that fence */
    ASK_PEEK      /* who holds the key, for how long, who waits; changes nothing */
};

/* One who waits for the key. */
struct waiter {
    int64_t since_ms; /* wall clock of its arrival */
    char token[TOKEN_MAX_BYTES + 1];
};

struct request {
    enum request_kind kind;
    const char *key;   /* prefix and NAME, 1 to KEY_MAX_BYTES bytes */
    const char *token; /* 1 to TOKEN_MAX_BYTES bytes; ASK_PEEK: NULL, or the one that is
                          asked for */
    const char *id;    /* REQUEST_ID_BYTES hex digits, the same in every re-send of one request, and
                          in all that one who waits asks. ASK_WITHDRAW: that of the
                          acquire that is undone. ASK_RELEASE, ASK_RENEW: that of the acquire if the
                          holder itself asks (another one may have been given the same token),
                          else NULL */
    int64_t ttl_ms;    /* 1 to TTL_MAX_MS, or TTL_NONE (ASK_ACQUIRE, ASK_RECOVER, ASK_RENEW) */
    uint64_t fence;    /* ASK_RECOVER: the fence the lost lease was given with; ASK_BREAK */
    bool waits;        /* ASK_ACQUIRE: if the key is held, join the queue, or stay in it: until an
                          ask is DONE, or an ASK_WITHDRAW. ASK_PEEK: store_await() follows */
    bool alive;        /* ASK_ACQUIRE, ASK_RENEW: this process shows as long as it lives that the
                          lock is held; a store that can see that (local) then never lets the
                          lease end by time alone */
    bool tell;         /* ASK_RELEASE: a process other than this one may renew the lock: leave
                          word for its next ASK_RENEW or ASK_RELEASE that this was deliberate */
    int64_t reply_ms;  /* wait for one reply no longer than this; 0: as struct access says */
    struct waiter *waiters; /* ASK_PEEK: those who wait, the first `room` of them, are written here;
                               NULL: not asked for */
    unsigned room;
    bool patient; /* a store that cannot be reached is tried again until the deadline
                     instead of being reported at once */
};

/* Filled completely on DONE, HELD and LOST; untouched otherwise.
 *  kind          DONE                          HELD               LOST
 *  ACQUIRE       ours: fence, ttl              busy: the holder   the id is spent: ask with another
 *  WITHDRAW      nothing of ours is left       -                  -
 *  RELEASE       freed                         -                  not ours (free or a holder)
 *  EXTEND RESET  ours: ttl as it is now        -                  not ours
 *  RENEW RECOVER ours: ttl as it is now        -                  not ours
 *  BREAK         freed                         -                  not held so (any more)
 *  PEEK          ttl_ms == 0: free             -                  token is not the holder's
 * A key without expiry answers EXTEND, RESET and RECOVER with FAILED/65 (nothing changed).
 * EXTEND whose result would be over TTL_MAX_MS is FAILED/64. */
struct answer {
    int64_t asked_ms; /* CLOCK_BOOTTIME just before the request that was answered
                         was sent: a lease counts from here */
    int64_t ttl_ms;   /* left on the key; TTL_NONE: no expiry; 0: key is free */
    int64_t since_ms; /* wall clock ms of the grant, 0 if not known */
    uint64_t fence;   /* last fence given for this key, 0 if none is known */
    bool fenced;      /* what the key holds now was given under that fence */
    bool kept;        /* HELD: free, but kept for others for ttl_ms */
    int place;        /* HELD: how many wait before us; -1 if not known */
    unsigned waiting; /* PEEK with waiters: how many wait */
    bool released;    /* LOST on RENEW, RELEASE: somebody who had the token gave
                         the lock back on purpose (`tell`) */
    bool no_lock;     /* LOST: the key holds a value of another type */
    bool endless;     /* our lease does not end by time while this process lives */
    char holder[TOKEN_MAX_BYTES +
                1]; /* what the key holds now, cut if longer; empty if it is free */
};

struct store_kind {
    bool shows_life; /* by a descriptor: store_share() */
    /* Opens without talking to anybody yet: *out is set on DONE only. */
    enum outcome (*open)(const struct address *, const struct access *, struct loop *,
                         struct store **out, struct trouble *why);
    enum outcome (*ask)(struct store *, const struct request *, int64_t deadline_ms,
                        struct answer *out, struct trouble *why);
    enum outcome (*await)(struct store *, const struct request *, int64_t until_ms,
                          struct trouble *why);
    enum outcome (*watch)(struct store *, const struct request *, int64_t until_ms, bool *suspect,
                          struct trouble *why);
    unsigned (*forked)(struct store *, int kept[]);
    void (*close)(struct store *);
};

enum { STORE_KEEPS = 4 };

/* Has another process keep what this descriptor stands for open, too. False with errno. */
typedef bool store_sharer(void *arg, int fd);

/* Every kind's struct begins with this. */
struct store {
    const struct store_kind *kind;
    store_sharer *share; /* or NULL */
    void *share_arg;
};

/* Opens the store at `address`. `address`, `access` and `loop` must outlive it. */
enum outcome store_open(const struct address *address, const struct access *access,
                        struct loop *loop, struct store **out, struct trouble *why);

/* Sends `request` and waits for its answer, at most until `deadline_ms` (CLOCK_BOOTTIME), and
 * never longer for one connection or reply than `access` says.
 * `why` must not be NULL. STOPPED: the loop's handler ended the wait. UNSURE or STOPPED for
 * ASK_ACQUIRE: the caller owes an ASK_WITHDRAW with the same id. */
enum outcome store_ask(struct store *store, const struct request *request, int64_t deadline_ms,
                       struct answer *out, struct trouble *why);

/* Sleeps until it is worth sending `request` again: an ASK_ACQUIRE that waits and was answered
 * HELD (the lock was handed to us, is free or may be), or an ASK_PEEK that waits; at most until
 * `until_ms`. DONE: ask again, or look at the clock. STOPPED. */
enum outcome store_await(struct store *store, const struct request *request, int64_t until_ms,
                         struct trouble *why);

/* For the holder: sleeps until it is worth asking (the ASK_RENEW `request`) before its time,
 * because the lock may have been broken, deleted or taken over, or because nothing would tell any
 * more (the connection broke); at most until `until_ms`. *suspect: ask now. The first call after an
 * ask also begins to watch (on the wire: without sleeping for an answer); nothing is done for it
 * before. Where nothing can be watched it only sleeps. DONE, STOPPED (the loop's handler). */
enum outcome store_watch(struct store *store, const struct request *request, int64_t until_ms,
                         bool *suspect, struct trouble *why);

/* In a process that was forked by the one that has asked and that may go on asking: lets go,
 * without a word, of what two must not use. What shows that the holder lives is from now on shown
 * by both. Writes the descriptors that it needs on to `kept` and returns how many; the rest may be
 * closed. */
unsigned store_forked(struct store *store, int kept[STORE_KEEPS]);

/* True if a descriptor shows that the holder lives (`alive`), and store_share() has an effect. */
bool store_shows_life(const struct store *store);

/* What shows that the holder lives must not end before another process has ended, too: each such
 * descriptor is given to `share`. One that cannot be shared shows nothing: the lease then ends by
 * time. */
void store_share(struct store *store, store_sharer *share, void *arg);

void store_close(struct store *store);

#endif
