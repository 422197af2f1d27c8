/* store_valkey_part.h - the parts of store_valkey: store_valkey.c has what a request means and
 * what is done when no answer comes, store_valkey_names.c what the keys are called,
 * store_valkey_call.c how one script is asked, store_valkey_reply.c how its answer is read,
 * store_valkey_role.c whether the server is the primary, store_valkey_wait.c how one who
 * waits hears that it is worth asking again, and store_valkey_watch.c how a holder hears that it is
 * worth asking. */
#ifndef VLOCK_STORE_VALKEY_PART_H
#define VLOCK_STORE_VALKEY_PART_H

#include "address.h"
#include "store.h"
#include "wire.h"

enum {
    SUFFIX_BYTES = 96,
    BELL_DIGITS = 16, /* of the name of a bell */
    BELL_BYTES = 64,
    TICKET_BYTES = 24,
    RUN_BYTES = 41,
    ENDLESS_CLAIM_MS = 30000 /* a lock without expiry, until it is confirmed */
};

/* The place in the queue, and what is known of the lock there. Kept for one acquire at a time. */
struct wait {
    char id[REQUEST_ID_BYTES + 1]; /* of the acquire; empty: of an ASK_PEEK, or nobody's */
    char ticket[TICKET_BYTES];     /* empty: none yet */
    char run[RUN_BYTES];           /* the server's run when we asked last; empty: not known */
    int place;
    uint64_t fence;     /* of the last answer */
    int64_t known_ms;   /* when the lock was last asked about; what follows was so then */
    int64_t left_ms;    /* of its time to live */
    int64_t longest_ms; /* the most that was ever left of this holder's */
    bool fenced;        /* the holder got it under that fence */
    char holder[TOKEN_MAX_BYTES + 1];
    int64_t slow_ms;  /* look again after this, whatever we hear */
    int64_t pause_ms; /* ... and after this where we hear nothing */
    int64_t lazy_ms;  /* look at this moment, because of a message; 0: there was none */
    bool rung;        /* ask at once */
    bool granted;     /* the lock was handed to us: to be confirmed */
    bool woken;       /* something was heard that changes when to look */
};

/* What a holder knows who sleeps in store_watch(). */
struct hold {
    const struct request *request; /* while it sleeps there, else NULL */
    bool begun;                    /* it has looked since the last ask */
    bool sure;                     /* that was answered: ours */
    int64_t asked_ms, left_ms;     /* when it was sent, and what was left of the lease */
    int64_t looked_ms, look_at_ms; /* the last look, and the next one or CLOCK_NEVER */
    bool blind;                    /* a part of the last look was refused */
    int64_t alarm_at_ms;           /* it is worth asking from then on, or CLOCK_NEVER */
    int64_t alarmed_ms, pause_ms;  /* the last time that it was, and the pause to the next */
    bool woken;                    /* something was heard that changes one of these */
    bool deaf;                     /* and that was said */
};

/* What the present connection has been asked for, and what it refused. All of it anew for each. */
struct on_connection {
    unsigned number;       /* of wire_number() */
    bool bell;             /* it listens to our bell */
    bool queued;           /* our ticket was given over it, and the lock not handed to us since */
    bool asked;            /* a script was sent over it */
    enum server_role role; /* as ROLE said; else what HELLO said counts */
    bool role_refused;
    bool tracking;  /* it can track keys */
    bool selected;  /* the database is chosen for what is no script */
    bool tracked;   /* it tells us when somebody changes the key */
    bool run_known; /* the server on the other end has said which run it is */
    bool bell_refused, tracking_refused;
    int64_t retry_ms; /* a server that was busy: have the key tracked from this moment on; or 0 */
};

/* The last lock that was asked for, and what the names of all that stands beside it begin with. */
struct companions {
    char key[KEY_MAX_BYTES + 1];
    char prefix[KEY_MAX_BYTES + SUFFIX_BYTES / 2];
};

struct valkey {
    struct store store;
    const struct address *address;
    const struct access *access;
    struct loop *loop;
    struct wire *wire;
    /* An earlier attempt at the request may have been carried out, now or later; how often that has
     * been so. */
    bool again;
    unsigned attempts;
    bool pushes;      /* the server speaks RESP3; on a fresh connection: the last one did */
    bool served;      /* a script has been answered: the URL leads to a primary, or has done so */
    bool moved;       /* the last request found that it does not any more */
    bool old_scripts; /* the server does not know '#!lua': see scripts/head.lua */
    char bell[BELL_DIGITS + 1]; /* ours, for all that is waited for; empty: none yet */
    struct companions companions;
    struct wait wait;
    struct hold hold;
    struct on_connection on;
};

/* What a script answers, see scripts/head.lua. */
enum verdict { NO, YES, ENDLESS, TOO_LONG, WITHDRAWN, VERDICTS };

enum { NAME_BYTES = KEY_MAX_BYTES + SUFFIX_BYTES };

struct keys {
    char fence[NAME_BYTES], mark[NAME_BYTES], queue[NAME_BYTES], waiters[NAME_BYTES];
};

/* What the answer to acquire tells beyond struct answer; the texts are empty if it does not. */
struct place_told {
    char ticket[TICKET_BYTES];
    char run[RUN_BYTES];
};

/* Reads the reply of the script that was sent for `request` (not an error reply). out->asked_ms
 * stays as it is. False: it is none, and the other end no server of locks. */
bool valkey_read_reply(const struct request *request, const redisReply *reply,
                       enum verdict *verdict, struct answer *out, struct place_told *told);

/* The keys beside the lock `key`. `id` may be NULL. */
void valkey_name_keys(struct valkey *v, struct keys *keys, const char *key, const char *id);

/* Sends the script for `request` and reads its verdict and answer. Outcomes as wire_receive(), DONE
 * with a verdict; FAILED for an error reply; LOST, with an answer but no verdict, for a holder
 * whose key holds a value of another type. */
enum outcome valkey_call(struct valkey *v, const struct request *request, int64_t deadline_ms,
                         enum verdict *verdict, struct answer *out, struct trouble *why);

/* The second step of an acquire without expiry: as valkey_call(). */
enum outcome valkey_confirm(struct valkey *v, const struct request *request, int64_t deadline_ms,
                            enum verdict *verdict, struct answer *out, struct trouble *why);

/* The server turned out to be a replica. If it has answered before as a primary, the connection is
 * given up, and the address is asked anew where the primary is: FAILED/69, v->moved. Else
 * FAILED/77. */
enum outcome valkey_demoted(struct valkey *v, struct trouble *why);

/* Has ROLE asked in front of an ASK_PEEK, unless the connection is so fresh that HELLO tells.
 * Outcomes as wire_send_aside(). */
enum outcome valkey_ask_role(struct valkey *v, struct trouble *why);

/* The answer to ROLE. */
void valkey_hear_role(struct valkey *v, const redisReply *reply);

/* What is known of the role of the server that has just been asked. */
enum server_role valkey_role(const struct valkey *v);

/* What a waiter sends before its question: it listens to its bell, and has the key tracked if it is
 * the first. Outcomes as wire_send_aside(). */
enum outcome valkey_wait_prepare(struct valkey *v, const struct request *request,
                                 struct trouble *why);

/* 'bell' or 'poll': how the waiter is to be told, for the words of acquire. */
const char *valkey_wait_kind(const struct valkey *v);

/* True if a message has said that the lock was handed to this acquire: confirm is enough then. */
bool valkey_wait_granted(const struct valkey *v, const struct request *request);

/* Notes the answer to a question; for one that waits, the place in the queue as well. */
void valkey_wait_answered(struct valkey *v, const struct request *request,
                          const struct answer *answer, const struct place_told *told);

/* Says that the server, spoken to in RESP2 after all, refused the question for our subscription:
 * true. The connection is then of no use. */
bool valkey_wait_misled(struct valkey *v, const struct request *request);

/* store_await() */
enum outcome valkey_await(struct store *store, const struct request *request, int64_t until_ms,
                          struct trouble *why);

/* What is heard meanwhile, for wire_hear(); the argument is the struct valkey. */
extern const struct wire_ears valkey_wait_ears;

/* Notes which connection there is: nothing was asked for on a new one. */
void valkey_note_connection(struct valkey *v);

/* Has the key tracked, over the connection there is: the next change is pushed. Outcomes as
 * wire_send_aside(). */
enum outcome valkey_track(struct valkey *v, const struct request *request, struct trouble *why);

/* Notes that something of that was refused with `error`: for now (v->on.retry_ms says until when),
 * or true: for good, and that is news. */
bool valkey_track_refused(struct valkey *v, const char *error);

/* Notes for store_watch() what came of an ask. */
void valkey_watch_asked(struct valkey *v, enum outcome outcome, const struct answer *answer);

/* store_watch() */
enum outcome valkey_watch(struct store *store, const struct request *request, int64_t until_ms,
                          bool *suspect, struct trouble *why);

#endif
