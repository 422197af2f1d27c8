/* queue.pml - the queue of one lock on one server, for spin: what clients, connections and the
 * server may do to each other, in whatever order. check.sh explores it; how to go on by hand:
 *
 *     spin -a -DKILLS=1 queue.pml && cc -O1 -DSAFETY -DNOREDUCE -o pan pan.c && ./pan -E -m50000
 *     spin -t -DKILLS=1 queue.pml              what happened, in words, if something was found
 *
 * WHAT IS MODELLED. CLIENTS clients want the lock once each: a client is one acquire, with its id
 * and its token. A stranger knows nothing of vlock: SET NX, DEL, or it dies.
 *
 *   the server     Each script is one step (serve): acquire.lua is ask() and join(), which are to
 *                  be read beside it; confirm.lua, withdraw.lua and release.lua have inlines of
 *                  their names; so have hand_over, ring_first, ring_near, first (find_first) and
 *                  let_go of queue.lua; swift.lua is release.lua in other words, and as one step
 *                  the same. `lock` is NAME, `grant` that field of the fence hash,
 *                  `mark` the mark of a withdrawn or re-sent acquire, `score` the sorted set,
 *                  `subs` what PUBSUB NUMSUB counts, `tracks` what CLIENT TRACKING remembers (a
 *                  write ends it, and by NOLOOP the writer is not told).
 *   connections    A client has one at a time, CONNS in all. What it sent over one is carried out
 *                  in that order; over two, in any. A connection that breaks loses every reply and
 *                  message on its way; a request on its way is carried out later (a server that
 *                  was frozen, a network that was cut; even when the client has long ended) or
 *                  never; when the server notices, NUMSUB no longer counts it. Replies and
 *                  messages are heard in any order.
 *   the client     lock.c, store_valkey.c and store_valkey_wait.c: join, wait, confirm what was
 *                  handed over and ask if that is refused, enter with the confirmation, release;
 *                  ask again over a new connection with the same id, ticket, and a greater
 *                  attempt; withdraw behind the request on the same connection, then over another
 *                  one, or end unheard. It may be killed at any moment, stopped and continued at
 *                  any other, or its host may go dark: it is gone, and its connection looks alive
 *                  for ever (which is also what a client is that was stopped and never goes on).
 *   time           There is none, but for its order. A lease or claim may end at any moment,
 *                  except while its client trusts in it (`trust`, which it has from the reply to
 *                  its confirmation to its own deadline): that the client's deadline, counted from
 *                  before the request was sent and less a margin, comes before the server's is
 *                  what lease.c and the clocks are there for, and is taken for granted. If a lease
 *                  ends while the reply that tells of it is on its way, that reply comes too LATE:
 *                  its deadline has passed when it is read. A client inside may stay, or leave, or
 *                  be stopped inside; renewals are not modelled, as they only move the end.
 *
 * WHAT IS LEFT OUT. The first question, which takes and never joins (a joining one does all that
 * it does); locks without expiry; fences; extend, reset, recover, break; several locks; waiters
 * that poll; ACLs and memory that refuse; a FLUSHALL under one who holds, or is about to begin; a restart's pause; that queues expire. Clients do not
 * come back: with another id they would be other clients. MARK_MS and a month are for ever.
 *
 * HOW A WAITER WAKES UP. By 'granted', 'first' and 'come' on its bell; by a push when the first
 * has the key tracked; by a connection that breaks; by its timer, if it is among the RANKS first
 * as far as it knows. Time being absent, a timer is in time (HELP 0) if the waiter knows of the
 * very lease that has ended (`fresh`). If it knows only of an earlier one it may sleep for as long
 * as that would have lasted, which is allowed with HELP 1. HELP 2 has the slow check of everybody
 * too: it would hide every wake-up that is lost, so all that is promised is shown without it, and
 * check.sh lists what it is needed for. LOOKS are questions for no reason at all.
 *
 * WHAT MUST HOLD
 *   mutual_exclusion          no two are inside, the stranger included
 *   no_lost_wake_up           when nothing can happen any more, nobody who lives is still waiting.
 *                             As no run goes round in circles (check.sh has spin show that), this
 *                             is progress: every run comes to that point, whoever is slow
 *   order                     nobody who lives and has a ticket is overtaken by a later one,
 *                             unless he was thought dead or let his claim lapse, and has not come
 *                             back yet; and he keeps the ticket that he was told
 *   the_dead_are_passed       nothing is handed to one whose connection is known to be gone; a
 *                             host that went dark costs one claim for each of its waiters
 *   the_ended_stay_ended      who was told that his release or withdrawal is done never gets the
 *                             lock, or a place, by a copy of his that comes late
 *   the_living_are_not_refused  a mark never hits the request that somebody waits for
 *   nothing_left              in the end the lock is free, and only the dead have a place (which
 *                             expires with the queue)
 * MUTANT=1 and up are mistakes that the scripts or the client could make; check.sh says what each
 * is and which property has to find it. 7, 10 and 17 are no inventions: vlock had them when the
 * model was first run. */

/* ---- configuration (check.sh sets these) ---- */
#ifndef CLIENTS
#define CLIENTS 3
#endif
#ifndef CONNS /* connections that one client may use up, one after the other */
#define CONNS 2
#endif
#ifndef RANKS /* so many of the first have a timer: 3 in store_valkey_wait.c */
#define RANKS 2
#endif
#ifndef BREAKS /* connections that break */
#define BREAKS 0
#endif
#ifndef CUTS /* ... and only the server notices */
#define CUTS 0
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef DARKS /* hosts that lose their power: their connections stay open on the server */
#define DARKS 0
#endif
#ifndef STOPS /* SIGSTOP; SIGCONT may follow, or not */
#define STOPS 0
#endif
#ifndef LEAVES /* -w that ends, signals */
#define LEAVES 0
#endif
#ifndef LAPSES /* claims and leases that end before a client which lives and runs has its answer */
#define LAPSES 0
#endif
#ifndef LOOKS /* questions for no reason: a timer that was early, a push about something else */
#define LOOKS 0
#endif
#ifndef PAUSES
#define PAUSES 0
#endif
#ifndef FOREIGN /* how often the foreign client takes the lock */
#define FOREIGN 0
#endif
#ifndef FLUSHES
#define FLUSHES 0
#endif
#ifndef HELP
#define HELP 0
#endif
#ifndef MUTANT
#define MUTANT 0
#endif

/* ---- a client's state, in this order ---- */
#define NEW 0
#define ASKING 1
#define WAITING 2
#define INSIDE 3
#define RELEASING 4
#define LEAVING 5
#define OVER 6    /* ended, and the server has said so */
#define UNHEARD 7 /* ended, and the last word was not answered */
#define DEAD 8
#define DARK 9
#define alive(c) (st[c] < OVER)
#define runs(c) (alive(c) && !stopped[c])

/* requests, and replies */
#define ASK 1
#define WITHDRAW 2
#define RELEASE 3
#define CONFIRM 4
#define NO 1
#define YES 2
#define LATE 3    /* YES, but its deadline passes before it is read */
#define REFUSED 4
#define DONE 5
#define NOT_OURS 6

#define STRANGER (CLIENTS + 1)
#define GONE 15 /* the mark that a withdrawal leaves */
#define AT(c, k) ((c) * CONNS + (k))
#define NOW(c) AT(c, conn[c])

/* ---- the server ---- */
byte lock;                /* NAME: 0, a client's token, or STRANGER */
byte grant;               /* the hash's field of that name */
bool claimed;             /* what is left of the lease is an unconfirmed claim's */
bool paused;              /* free, but no vlock takes it for a moment */
byte score[CLIENTS + 1];  /* the queue; 0: not in it */
byte last_ticket;
byte mark[CLIENTS + 1];
byte subs[CLIENTS + 1];   /* a bit for each connection that listens to the client's bell */
bool tracks[CLIENTS + 1]; /* the connection tracks NAME */

/* ---- what is under way: on each connection up to two requests, in their order ---- */
byte q1[(CLIENTS + 1) * CONNS], q2[(CLIENTS + 1) * CONNS];
byte q_attempt[(CLIENTS + 1) * CONNS], q_ticket[(CLIENTS + 1) * CONNS];
bool q_again[(CLIENTS + 1) * CONNS], q_track[(CLIENTS + 1) * CONNS];
byte reply[CLIENTS + 1], r_ticket[CLIENTS + 1], r_place[CLIENTS + 1];
bool r_handed[CLIENTS + 1];
bool granted[CLIENTS + 1], rung[CLIENTS + 1], changed[CLIENTS + 1], come[CLIENTS + 1];

/* ---- the clients ---- */
byte st[CLIENTS + 1], conn[CLIENTS + 1], attempt[CLIENTS + 1], ticket[CLIENTS + 1];
byte place[CLIENTS + 1]; /* as last heard: 1 is the first; 0: not known, or too far behind */
bool stopped[CLIENTS + 1], cut[CLIENTS + 1];
bool thinks_tracked[CLIENTS + 1];
bool confirms[CLIENTS + 1], again[CLIENTS + 1]; /* what it asks; it asked before, unanswered */
bool fresh[CLIENTS + 1]; /* it knows when the present lease ends, or an earlier moment */
bool trust[CLIENTS + 2]; /* its own deadline has not passed: it is inside */

/* ---- only for the properties ---- */
byte came[CLIENTS + 1];    /* its ticket, by its first join */
bool excused[CLIENTS + 1]; /* was thought dead, or let its claim lapse: may be overtaken */
bool flushed;
bool mutual_exclusion = true, no_lost_wake_up = true, order = true, the_dead_are_passed = true,
     the_ended_stay_ended = true, nothing_left = true, the_living_are_not_refused = true;
#define MUST(property, holds) property = (holds); assert(property)

/* ---- what may still go wrong ---- */
byte breaks = BREAKS, cuts = CUTS, kills = KILLS, darks = DARKS, stops = STOPS, leaves = LEAVES,
     lapses = LAPSES, looks = LOOKS, pauses = PAUSES, flushes = FLUSHES;

hidden byte first, i, rank, tk, best, handed, was_first;

/* ==== the scripts' parts ==== */

/* queue.lua first(): ZRANGE 0 0; PUBSUB NUMSUB; the dead are forgotten. */
inline find_first() {
    do
    :: first = 0; i = 1;
       do
       :: i > CLIENTS -> break
       :: else ->
          if
          :: score[i] && (!first || score[i] < score[first]) -> first = i
          :: else
          fi;
          i++
       od;
       if
#if MUTANT != 4
       :: first && !subs[first] ->
          printf(", %d dropped as dead", first);
          score[first] = 0;
          excused[first] = alive(first)
#endif
       :: else -> break
       fi
    od;
    i = 0
}

/* A new lease, or none: what anybody knew of the old one's end is of no use now. */
inline new_lease() {
    i = 1;
    do
    :: i > CLIENTS -> break
    :: else -> fresh[i] = false; i++
    od;
    i = 0
}

/* NAME was written by `actor`: CLIENT TRACKING OPTIN NOLOOP. */
inline written(actor) {
    i = 1;
    do
    :: i > CLIENTS -> break
    :: else ->
       if
       :: tracks[i] ->
          tracks[i] = false;
          changed[i] = (i != actor && alive(i) && !cut[i])
       :: else
       fi;
       i++
    od;
    i = 0
}

/* PUBLISH reaches whoever listens on the connection that he uses now. */
#define hears(c) (alive(c) && (subs[c] & (1 << conn[c])))

inline ring_first() {
    find_first();
    if
    :: first && hears(first) ->
       printf(", first rung: %d", first);
       rung[first] = true; fresh[first] = true
    :: else
    fi
}

/* Nobody who has a ticket and lives is overtaken by one who came later; who has ended is not
 * given anything any more. */
inline judge_grant(x) {
    MUST(the_ended_stay_ended, st[x] != OVER || flushed);
    i = 1;
    do
    :: i > CLIENTS -> break
    :: else ->
       MUST(order, i == x || (st[i] != ASKING && st[i] != WAITING) || !came[i] || excused[i] ||
                   (came[x] && came[x] < came[i]));
       i++
    od;
    i = 0
}

/* queue.lua hand_over(): PUBLISH granted, ZREM, SET with a claim, ring the new first. */
inline hand_over(actor) {
    find_first();
    handed = (first != 0);
    if
    :: first ->
       printf(", handed to %d", first);
       judge_grant(first);
       MUST(the_dead_are_passed, alive(first) || subs[first]);
       if
       :: hears(first) -> granted[first] = true
       :: else
       fi;
       score[first] = 0;
       lock = first;
       grant = first;
       claimed = true;
       written(actor);
       new_lease();
#if MUTANT != 6
       ring_first();
#endif
    :: else
    fi
}

/* queue.lua let_go() */
inline let_go(actor) {
    hand_over(actor);
    if
    :: !handed -> lock = 0; claimed = false; written(actor); new_lease()
    :: else
    fi
}

/* ==== the scripts ==== */

inline answer(c, k, what) {
    if
    :: k == conn[c] && st[c] == ASKING && !cut[c] -> reply[c] = what; printf(", answer %d", what)
    :: else
    fi
}

/* queue.lua ring_near(): the first has looked, and those behind him are told where they stand and
 * when the lease ends. They do not ask because of that. */
inline ring_near(c) {
    i = 1;
    do
    :: i > CLIENTS -> break
    :: score[i] && !subs[i] -> score[i] = 0; excused[i] = alive(i); i++
    :: else -> i++
    od;
    i = 1;
    do
    :: i > CLIENTS -> break
    :: i != c && score[i] && hears(i) ->
       best = 1; rank = 1;
       do
       :: best > CLIENTS -> break
       :: else -> rank = rank + (score[best] && score[best] < score[i]); best++
       od;
       if
       :: rank <= RANKS -> place[i] = rank; fresh[i] = true; printf(", near: %d", i)
       :: else
       fi;
       i++
    :: else -> i++
    od;
    i = 0
}

/* 'come', on the bell of all */
inline come_all(c) {
    i = 1;
    do
    :: i > CLIENTS -> break
    :: else -> come[i] = come[i] || (i != c && hears(i)); i++
    od;
    i = 0
}

/* acquire.lua, `if kind`: ZADD NX with the ticket, ZRANK. */
inline join(c, k) {
    MUST(the_ended_stay_ended, st[c] != OVER || flushed);
    i = 1; best = 0;
    do /* the queue was lost: 'come' */
    :: i > CLIENTS -> break
    :: else -> best = best + (score[i] != 0); i++
    od;
    if
    :: tk && !best -> come_all(c)
    :: else
    fi;
    if
#if MUTANT != 10
    :: !tk && score[c] -> tk = score[c]
#endif
    :: !tk -> last_ticket++; tk = last_ticket;
       if
       :: !score[c] && !ticket[c] -> came[c] = tk
       :: else
       fi
    :: else
    fi;
    if
    :: !score[c] -> score[c] = tk; excused[c] = false
    :: else
    fi;
    /* What is told is the place that it has; and a place once told is kept. */
    MUST(order, score[c] == tk && (!ticket[c] || k != conn[c] || tk == ticket[c]));
    i = 1; rank = 1;
    do
    :: i > CLIENTS -> break
    :: else -> rank = rank + (score[i] && score[i] < score[c]); i++
    od;
    i = 0;
    answer(c, k, NO);
    if
    :: reply[c] == NO ->
       r_ticket[c] = tk;
       r_place[c] = (rank <= RANKS -> rank : 0);
       r_handed[c] = handed; /* under another fence than before */
       fresh[c] = (lock || paused)
    :: else
    fi;
    if
    :: rank == 1 && (lock || paused) -> ring_near(c)
    :: else
    fi;
    rank = 0; best = 0
}

/* acquire.lua with 'bell', behind SUBSCRIBE and, of the first, CLIENT CACHING and GET. */
inline ask(c, k) {
    tk = q_ticket[AT(c, k)];
    subs[c] = subs[c] | (1 << k);
    if
    :: q_track[AT(c, k)] && k == conn[c] -> tracks[c] = true
    :: else
    fi;
#if MUTANT != 7
    if /* behind a re-send the earlier copies must do nothing */
    :: q_again[AT(c, k)] && mark[c] <= q_attempt[AT(c, k)] -> mark[c] = q_attempt[AT(c, k)]
    :: else
    fi;
#endif
    if
#if MUTANT == 15
    :: grant == c -> /* not: NAME holds our token */
#else
    :: lock == c && grant == c -> /* ours and granted == id: a re-send, or a confirmation */
#endif
       claimed = false;
       answer(c, k, YES)
    :: else ->
#if MUTANT == 7
       if
       :: q_again[AT(c, k)] && mark[c] <= q_attempt[AT(c, k)] -> mark[c] = q_attempt[AT(c, k)]
       :: else
       fi;
#endif
       if
       :: mark[c] > q_attempt[AT(c, k)] -> answer(c, k, REFUSED)
       :: else ->
          if /* the queue was lost: all come back before the first takes the lock */
          :: flushed && tk && !score[c] && !lock && !paused -> paused = true; come_all(c)
          :: else
          fi;
          if
          :: !lock && !paused -> find_first()
          :: else -> first = STRANGER
          fi;
          if
#if MUTANT == 8
          :: first <= CLIENTS -> /* whoever asks takes it */
#else
          :: first == 0 || first == c ->
#endif
             judge_grant(c);
             lock = c;
             grant = c;
             claimed = false;
             written(c);
             new_lease();
             was_first = (first != 0);
             score[c] = 0;
             if
             :: was_first -> ring_first()
             :: else
             fi;
             answer(c, k, YES)
          :: else ->
             if
             :: first <= CLIENTS -> hand_over(c)
             :: else -> handed = 0
             fi;
             join(c, k)
          fi
       fi
    fi;
    tk = 0
}

/* confirm.lua */
inline confirm(c, k) {
    subs[c] = subs[c] | (1 << k);
    if
#if MUTANT == 15
    :: grant == c -> answer(c, k, YES)
#else
    :: lock == c && grant == c -> claimed = false; answer(c, k, YES)
#endif
    :: else -> answer(c, k, NOT_OURS)
    fi
}

/* withdraw.lua */
inline withdraw(c, k) {
#if MUTANT != 2
    mark[c] = GONE;
#endif
    i = 1; was_first = (score[c] != 0);
    do
    :: i > CLIENTS -> break
    :: else -> was_first = was_first && !(score[i] && score[i] < score[c]); i++
    od;
    i = 0;
    score[c] = 0;
    if
    :: lock == c && grant == c ->
       grant = 0;
#if MUTANT == 3
       lock = 0; claimed = false; written(c); new_lease()
#else
       let_go(c)
#endif
    :: else ->
       if
#if MUTANT != 11
       :: was_first -> ring_first()
#endif
       :: else
       fi
    fi;
    if
    :: k == conn[c] && st[c] == LEAVING -> reply[c] = DONE
    :: else
    fi
}

/* release.lua; `pausing`: the lock went from waiter to waiter for a second. */
inline release(c, k, pausing) {
    if
#if MUTANT == 13
    :: true ->
#else
    :: lock == c ->
#endif
       grant = 0;
       first = 0;
       if
       :: pausing -> find_first()
       :: else
       fi;
       if
       :: first -> lock = 0; claimed = false; paused = true; pauses--; written(c); new_lease();
          ring_first();
          ring_near(first)
       :: else ->
#if MUTANT == 5
          lock = 0; claimed = false; written(c); new_lease()
#else
          let_go(c)
#endif
       fi
    :: else
    fi;
    if
    :: k == conn[c] && st[c] == RELEASING -> reply[c] = DONE
    :: else
    fi
}

/* The server takes the oldest request of a connection: one script, one step. */
inline serve(c, k, pausing) {
    if
    :: q1[AT(c, k)] == ASK ->
       printf("server: acquire of %d, copy %d, from its connection %d", c, q_attempt[AT(c, k)], k);
       ask(c, k)
    :: q1[AT(c, k)] == CONFIRM ->
       printf("server: confirm of %d, from its connection %d", c, k);
       confirm(c, k)
    :: q1[AT(c, k)] == WITHDRAW ->
       printf("server: withdraw of %d, from its connection %d", c, k);
       withdraw(c, k)
    :: q1[AT(c, k)] == RELEASE ->
       printf("server: release of %d, from its connection %d", c, k);
       release(c, k, pausing)
    fi;
    if
    :: lock -> printf(": the lock holds %d\n", lock)
    :: else -> printf(": the lock is free\n")
    fi;
    q1[AT(c, k)] = q2[AT(c, k)]; q2[AT(c, k)] = 0;
    q_attempt[AT(c, k)] = 0; q_ticket[AT(c, k)] = 0; q_again[AT(c, k)] = 0; q_track[AT(c, k)] = 0;
    first = 0; handed = false; was_first = false
}

/* The server, or the network, is done with a connection that its client has left: what was not
 * carried out never will be. */
#define closed(c, k) (k < conn[c] || (st[c] >= OVER && st[c] != DARK))
inline forget_connection(c, k) {
    printf("server: connection %d of %d is gone\n", k, c);
    q1[AT(c, k)] = 0; q2[AT(c, k)] = 0;
    q_attempt[AT(c, k)] = 0; q_ticket[AT(c, k)] = 0; q_again[AT(c, k)] = 0; q_track[AT(c, k)] = 0;
    if
    :: closed(c, k) -> subs[c] = subs[c] & ~(1 << k)
    :: else
    fi;
    if
    :: k == conn[c] -> tracks[c] = false
    :: else
    fi
}

/* ==== the client ==== */

/* 'granted' was heard: valkey_call() confirms first, and asks only if that fails. */
inline send_confirm(c) {
    st[c] = ASKING;
    confirms[c] = true;
    q1[NOW(c)] = CONFIRM
}

inline send_ask(c) {
    st[c] = ASKING;
    confirms[c] = false;
    q1[NOW(c)] = ASK;
    q_attempt[NOW(c)] = attempt[c];
    q_again[NOW(c)] = again[c];
#if MUTANT != 9
    q_ticket[NOW(c)] = ticket[c];
#endif
#if FOREIGN && MUTANT != 14
    if /* wants_tracking() */
    :: place[c] == 1 && !thinks_tracked[c] ->
       q_track[NOW(c)] = true;
       thinks_tracked[c] = true
    :: else
    fi
#endif
}

inline hear_nothing(c) {
    reply[c] = 0; r_ticket[c] = 0; r_place[c] = 0;
    granted[c] = false; rung[c] = false; changed[c] = false; come[c] = false
}

inline reconnect(c) {
    hear_nothing(c);
    tracks[c] = false;
    thinks_tracked[c] = false;
    cut[c] = false;
    fresh[c] = false;
    conn[c]++
}

inline end_as(c, what) {
    st[c] = what;
    hear_nothing(c);
    trust[c] = trust[c] && what >= DEAD; /* CMD may outlive vlock, until its deadline */
    attempt[c] = 0; ticket[c] = 0; place[c] = 0; stopped[c] = false; cut[c] = false;
    thinks_tracked[c] = false; fresh[c] = false; excused[c] = false;
    again[c] = false; confirms[c] = false
}

inline look(c) {
    if
    :: cut[c] -> reconnect(c)
    :: else
    fi;
    fresh[c] = false;
    send_ask(c)
}

/* A timer ends. HELP 0: the lease that it knew of is over. 1: that of an earlier lease; 2: the slow
 * check. */
#if HELP == 0
#define due(c) (fresh[c] && place[c])
#elif HELP == 1
#define due(c) (place[c])
#else
#define due(c) (true)
#endif

inline go_inside(c) {
    trust[c] = true;
    st[c] = INSIDE;
    i = 1; best = 0;
    do
    :: i > CLIENTS + 1 -> break
    :: else -> best = best + trust[i]; i++
    od;
    MUST(mutual_exclusion, best == 1);
    i = 0; best = 0
}

inline send_release(c) {
    again[c] = false; confirms[c] = false;
    printf("%d: releases\n", c);
    trust[c] = false;
    ticket[c] = 0; place[c] = 0; attempt[c] = 0; fresh[c] = false;
    st[c] = RELEASING;
    q1[NOW(c)] = RELEASE
}

inline read_reply(c) {
    if
    :: reply[c] == YES -> again[c] = false; confirms[c] = false;
       printf("%d: has the lock\n", c); hear_nothing(c); go_inside(c)
#if MUTANT == 12
    :: reply[c] == LATE -> printf("%d: has the lock\n", c); hear_nothing(c); go_inside(c)
#else
    :: reply[c] == LATE -> printf("%d: is told too late that it has the lock\n", c);
       hear_nothing(c); send_release(c)
#endif
    :: reply[c] == NOT_OURS ->
       printf("%d: it is not so any more\n", c);
       reply[c] = 0; place[c] = 0; send_ask(c)
    :: reply[c] == NO ->
       again[c] = false;
       printf("%d: waits\n", c);
       st[c] = WAITING;
       ticket[c] = r_ticket[c];
       place[c] = r_place[c];
       if
       :: r_handed[c] -> thinks_tracked[c] = false
       :: else
       fi;
       reply[c] = 0; r_ticket[c] = 0; r_place[c] = 0; r_handed[c] = false
    :: reply[c] == REFUSED ->
       printf("%d: is refused\n", c);
       MUST(the_living_are_not_refused, flushed)
    :: reply[c] == DONE -> printf("%d: has ended\n", c); end_as(c, OVER)
    fi
}

/* The connection breaks, or is given up because it is silent. */
inline break_off(c) {
    printf("%d: its connection breaks, it asks again over another one\n", c);
    if
    :: st[c] == ASKING -> attempt[c]++; again[c] = true;
       confirms[c] = false;
#if MUTANT == 17
       confirms[c] = granted[c];
#endif
       reconnect(c);
       if
       :: confirms[c] -> send_confirm(c)
       :: else -> send_ask(c)
       fi
    :: st[c] == WAITING -> reconnect(c);
#if MUTANT != 16
       send_ask(c)
#endif
    :: st[c] == RELEASING -> reconnect(c); q1[NOW(c)] = RELEASE
    :: st[c] == LEAVING -> reconnect(c); q1[NOW(c)] = WITHDRAW
    fi
}

inline leave(c) {
    printf("%d: gives up\n", c);
    st[c] = LEAVING; again[c] = false; confirms[c] = false;
    ticket[c] = 0; place[c] = 0; attempt[c] = 0; fresh[c] = false; excused[c] = false;
    hear_nothing(c);
    if
    :: cut[c] -> reconnect(c)
    :: else
    fi;
    if
    :: q1[NOW(c)] -> q2[NOW(c)] = WITHDRAW
    :: else -> q1[NOW(c)] = WITHDRAW
    fi
}

/* The server, as far as one connection is concerned. */
proctype line(byte c, k) {
end:
    do
    :: d_step { q1[AT(c, k)] -> serve(c, k, false) }
#if PAUSES
    :: d_step { pauses && q1[AT(c, k)] == RELEASE && lock == c -> serve(c, k, true) }
#endif
    :: d_step { (closed(c, k) && (q1[AT(c, k)] || (subs[c] & (1 << k)))) ||
                (st[c] == DARK && q1[AT(c, k)]) -> forget_connection(c, k) }
    od
}

proctype client(byte c) {
end:
    do
    /* All are alike before their first question: this order costs nothing and saves states. */
    :: d_step { st[c] == NEW && (c == 1 || st[c - 1] != NEW) ->
                printf("%d: comes\n", c); send_ask(c) }
    :: d_step { runs(c) && reply[c] -> read_reply(c) }
    /* the bell and the pushes */
#if MUTANT == 1
    :: d_step { runs(c) && st[c] == WAITING && granted[c] ->
                printf("%d: hears 'granted' and begins\n", c); hear_nothing(c); go_inside(c) }
#else
    :: d_step { runs(c) && st[c] == WAITING && granted[c] ->
                printf("%d: hears 'granted'\n", c); granted[c] = false; send_confirm(c) }
#endif
    :: d_step { runs(c) && st[c] == WAITING && rung[c] ->
                printf("%d: hears 'first'\n", c); rung[c] = false; place[c] = 1; look(c) }
    :: d_step { runs(c) && st[c] == WAITING && come[c] ->
                printf("%d: hears 'come'\n", c); come[c] = false; look(c) }
    :: d_step { runs(c) && st[c] == WAITING && changed[c] ->
                printf("%d: hears that the key was changed\n", c);
                changed[c] = false; thinks_tracked[c] = false; look(c) }
#if MUTANT != 14
    :: d_step { runs(c) && st[c] == WAITING && FOREIGN && place[c] == 1 && !thinks_tracked[c] ->
                printf("%d: is first and looks with tracking\n", c); look(c) }
#endif
    /* timers */
    :: d_step { runs(c) && st[c] == WAITING && !lock && !paused && due(c) ->
                printf("%d: its timer ends\n", c); look(c) }
    :: d_step { runs(c) && st[c] == WAITING && looks ->
                printf("%d: looks for no reason\n", c); looks--; look(c) }
    /* CMD ends, or is ended because its deadline has come */
    :: d_step { runs(c) && st[c] == INSIDE -> send_release(c) }
    :: d_step { alive(c) && stopped[c] && trust[c] ->
                printf("%d: its deadline passes\n", c); trust[c] = false }
    :: d_step { st[c] >= DEAD && trust[c] ->
                printf("%d: its deadline passes\n", c); trust[c] = false }
    /* what goes wrong */
    :: d_step { runs(c) && breaks && conn[c] + 1 < CONNS && st[c] != NEW && st[c] != INSIDE ->
                breaks--; break_off(c) }
    :: d_step { runs(c) && breaks && (st[c] == RELEASING || st[c] == LEAVING) ->
                printf("%d: ends without an answer\n", c); breaks--; end_as(c, UNHEARD) }
    :: d_step { runs(c) && cuts && conn[c] + 1 < CONNS && st[c] == WAITING && !cut[c] ->
                printf("%d: its connection is cut, and only the server knows\n", c);
                cuts--; cut[c] = true; hear_nothing(c); tracks[c] = false;
                subs[c] = subs[c] & ~(1 << conn[c]) }
    :: d_step { runs(c) && leaves && (st[c] == ASKING || st[c] == WAITING) -> leaves--; leave(c) }
    :: d_step { alive(c) && kills && st[c] != NEW ->
                printf("%d: is killed\n", c); kills--; end_as(c, DEAD) }
    :: d_step { alive(c) && darks && st[c] != NEW ->
                printf("%d: its host goes dark\n", c); darks--; end_as(c, DARK) }
    :: d_step { runs(c) && stops && st[c] != NEW ->
                printf("%d: is stopped\n", c); stops--; stopped[c] = true }
    :: d_step { stopped[c] -> printf("%d: goes on\n", c); stopped[c] = false }
    od
}

/* SET NX PX and DEL, and polls; may die while it holds the lock. */
proctype stranger() {
    byte rounds = FOREIGN;
end:
    do
    :: d_step { rounds && !lock ->
                printf("stranger: SET NX\n");
                rounds--; lock = STRANGER; claimed = false; written(STRANGER); new_lease();
                trust[STRANGER] = true; i = 1; best = 0;
                do
                :: i > CLIENTS + 1 -> break
                :: else -> best = best + trust[i]; i++
                od;
                MUST(mutual_exclusion, best == 1);
                i = 0; best = 0 }
    :: d_step { trust[STRANGER] -> printf("stranger: DEL\n"); trust[STRANGER] = false;
                lock = 0; written(STRANGER); new_lease() }
    :: d_step { trust[STRANGER] && kills ->
                printf("stranger: is killed\n"); kills--; trust[STRANGER] = false }
    od
}

/* A claim or lease of one who lives and runs, and will ask or be answered, may lapse so many
 * times; of everybody else whenever he does not trust in it any more. */
#define may_lapse(c) (!runs(c) || st[c] >= RELEASING || lapses || \
                      (st[c] == WAITING && !granted[c] && !rung[c] && !come[c] && !changed[c]))

proctype world() {
end:
    do
    :: d_step { lock == STRANGER && !trust[STRANGER] ->
                printf("the lease of the stranger ends\n"); lock = 0 }
    :: d_step { lock && lock <= CLIENTS && !trust[lock] && may_lapse(lock) ->
                printf("the lease of %d ends\n", lock);
                if
                :: runs(lock) && (st[lock] == ASKING ||
                                  (st[lock] == WAITING && (granted[lock] || rung[lock] ||
                                                           come[lock] || changed[lock]))) ->
                   lapses--
                :: else
                fi;
                excused[lock] = alive(lock);
                if
                :: reply[lock] == YES -> reply[lock] = LATE
                :: else
                fi;
                lock = 0; claimed = false }
    :: d_step { paused -> printf("the pause ends\n"); paused = false }
    :: d_step { flushes && st[CLIENTS] != NEW && !(lock && trust[lock]) ->
                printf("everything is flushed\n");
                flushes--; flushed = true; lock = 0; grant = 0; claimed = false; paused = false;
                written(0); new_lease();
                i = 1;
                do
                :: i > CLIENTS -> break
                :: else -> score[i] = 0; mark[i] = 0; excused[i] = alive(i);
                   if
                   :: reply[i] == YES -> reply[i] = LATE
                   :: else
                   fi;
                   i++
                od;
                i = 0 }
    :: timeout ->
       d_step {
           printf("nothing can happen any more\n");
           i = 1;
           do
           :: i > CLIENTS -> break
           :: else ->
              MUST(no_lost_wake_up, !runs(i));
              MUST(nothing_left, !lock && (!score[i] || st[i] >= UNHEARD || stopped[i]));
              i++
           od;
           i = 0
       };
       break
    od
}

init {
    atomic {
        i = 1;
        do
        :: i > CLIENTS -> break
        :: else ->
           run client(i); run line(i, 0);
           if
           :: CONNS > 1 -> run line(i, 1)
           :: else
           fi;
           if
           :: CONNS > 2 -> run line(i, 2)
           :: else
           fi;
           i++
        od;
        i = 0;
        run world();
        if
        :: FOREIGN -> run stranger()
        :: else
        fi
    }
}
