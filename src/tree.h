/* tree.h - all processes that descend from this one, whatever they did to get away.
 *
 * The calling process is a child subreaper (PR_SET_CHILD_SUBREAPER): what one of its descendants
 * leaves behind when it ends becomes its own child. So the descendants are found from parent to
 * child, through changed groups, sessions, users, pid namespaces, threads and daemons, and a
 * process that lives has a chain of living ancestors up to us: while anything lives, one of our
 * own children does.
 *
 * Nobody else is ever signalled: a process is opened first (/proc/PID as a descriptor, which
 * never means a later process of the same number), then seen to be the one that was found and to
 * have its parent in the tree, and then signalled through that descriptor. Where the kernel has
 * no such call (before 5.1, or a filter forbids it) kill() comes straight after the look.
 *
 * How they are found, the better one first:
 *   TREE_BY_CHILDREN  /proc/PID/task/TID/children, at the price of the tree alone
 *   TREE_BY_SCAN      the parent in every /proc/PID/stat: a kernel without CONFIG_PROC_CHILDREN
 *
 * Both need a /proc whose numbers are ours: tree_find_proc(), without which nothing should be
 * started. /proc is kept open, so it does not matter what is mounted there later; and so is, by
 * tree_hold(), the list of our own children, which is enough to stop the tree, as everything comes
 * to us once what stood above it is dead. It is what is left when there is no descriptor to open
 * /proc/PID with; tree_signal() then reaches no further. A process that hidepid hides is signalled;
 * its children are not seen until it ends. If not even our own children can be listed, the answer
 * is that something lives, as far as waitid() does not say that there is no child at all.
 *
 * tree allocates nothing, uses no stdio and no directory streams (but tree_find_proc(), for its
 * sentence), so it works where there is no memory left; lists of over TREE_NEAR processes lie
 * in a mapping of their own, and if there is none, work is done in rounds. It needs 24 KiB of stack
 * at most, and `errno`. The calling process has one thread.
 *
 * Limit: a descendant of a child that we had before tree_init() is told from ours while its
 * ancestors live, or by its age. If it started later AND its ancestors end, it looks like ours. */
#ifndef VLOCK_TREE_H
#define VLOCK_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "trouble.h"

#define TREE_NEAR     256 /* processes that are listed without a mapping; a power of two */
#define TREE_SPARED   16
#define TREE_PROGRAMS 4

enum tree_how { TREE_UNTRIED, TREE_BY_CHILDREN, TREE_BY_SCAN };

/* A process on the list, as last seen. */
enum tree_state {
    TREE_NAMED,   /* somebody's child by number, not looked at yet */
    TREE_MEMBER,  /* seen in the tree, alive */
    TREE_HIDDEN,  /* alive, and listed by its parent, but /proc/PID is not to be seen */
    TREE_DOUBTED, /* as that, a child of ours that may have been there before us: not touched */
    TREE_ZOMBIE,  /* dead, not yet waited for by its parent */
    TREE_APART,   /* not ours: spared, there before us, or no longer in the tree */
    TREE_GONE
};

/* An executable file. */
struct tree_program {
    uint64_t device, inode;
};

struct tree_member {
    uint64_t born_ticks; /* since boot; with the pid, who it is */
    pid_t pid, parent;
    enum tree_state state;
    bool told;   /* signalled already, when it was found */
    bool listed; /* by its parent, in this look */
};

/* Everything is private except what has a comment. */
struct tree {
    const char *but; /* tree_signal() leaves out who goes by this name and runs the same program as
                        we do; NULL: nobody */
    unsigned left;   /* how many those were, in the last call */
    pid_t keep;      /* our child whose status the caller wants itself: signalled as all are, never
                        waited for. 0: none. Set it after tree_init(). */
    enum tree_how how;
    int proc, own; /* /proc, and the list of our children there; -1: not open */
    pid_t self;
    uint64_t since_ticks; /* children of ours that are not younger are strangers */
    struct tree_program programs[TREE_PROGRAMS]; /* what counts as the same; empty: not known yet */
    unsigned program_count;
    pid_t spared[TREE_SPARED];
    unsigned spared_count;
    bool changed;
    bool unlisted; /* our own children, or some of them, could not be listed */
    void *mapped;  /* NULL: the list is near */
    struct tree_member *members;
    uint32_t *slots; /* index + 1 into members, by pid; twice `room` */
    unsigned count, room;
    struct tree_member near_members[TREE_NEAR];
    uint32_t near_slots[2 * TREE_NEAR];
};

/* Opens /proc as *proc, for tree_init(): one that shows our own children by the numbers that we
 * know them by. FAILED/71: there is none, it is that of another pid namespace, or it cannot be
 * read. Takes 8 us, in a container 19. */
enum outcome tree_find_proc(int *proc, struct trouble *why);

/* Must come before the process has children of its own. Those that it has ALREADY (a shell with
 * background jobs executed it) are strangers: they and theirs are never signalled, never waited
 * for, and do not count. One system call if there are none, else up to 20 ms, so that
 * whatever starts from now on is younger. `proc` is of tree_find_proc(), in this process or one
 * that shares its descriptors; -1: found when it is needed. */
void tree_init(struct tree *tree, int proc);

/* Opens the list of our children, unless it is open: to be called, again and again, once what was
 * started has lasted. (8 us, which a short command need not pay.) */
void tree_hold(struct tree *tree);

/* Nor is this child (a guard, a hook), nor what descends from it, part of the tree. False if
 * there are TREE_SPARED of them already. */
bool tree_spare(struct tree *tree, pid_t pid);

/* Sends `signo` once to every descendant that lives at this moment, to none that starts only
 * because of the signal (what a trap runs is left to do its work). Returns how many it reached.
 * A family that grows is looked at until 50 ms have passed, or it is `until_ms` (CLOCK_BOOTTIME).
 * A stopped process takes notice only when it is continued: send SIGCONT after SIGTERM. */
unsigned tree_signal(struct tree *tree, int signo, int64_t until_ms);

/* True if any descendant lives, or if that cannot be told. Waits for those of our own children that
 * are dead, except `keep` and the spared. One system call when there is no child at all. */
bool tree_lives(struct tree *tree);

/* Stops all descendants until no new ones appear (so that a fork storm does not outrun us), kills
 * them, and waits until they are gone, dead children of ours waited for as in tree_lives().
 * False if anything lives at `deadline_ms` (CLOCK_BOOTTIME): it may not be signalled, or does
 * not come out of the kernel. Kills once even if the deadline has passed. */
bool tree_kill(struct tree *tree, int64_t deadline_ms);

/* Kills each descendant as it is found, but those that go by this name and run the same program as
 * we do, which see to themselves when what they look after is gone: waits until they are gone too,
 * until `until_ms` (CLOCK_BOOTTIME), and a fifth of a second at most. tree_kill() has the rest. */
void tree_kill_but(struct tree *tree, const char *name, int64_t until_ms);

/* Writes the names of those that live, for people: "sleep (pid 123), nc (pid 130) and 4 more",
 * without control characters, cut at the end if need be; the empty string if none does. */
void tree_names(struct tree *tree, char *out, size_t bytes);

#endif
