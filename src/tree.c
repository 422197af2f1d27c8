#include "tree.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "text.h"
#include "tree_part.h"

#define LOOKS       64 /* at a tree that changes all the time, before something is done */
#define AGREE_MS    50 /* and no longer than this, when nobody is stopped meanwhile */
#define SLICE_MS    50 /* how long one process is waited for, before all are looked at again */
#define AGAIN_MS    5
#define OTHERS_MS   200
#define NAMED       3
#define TICK_MS     10 /* USER_HZ is 100 wherever Linux runs */
#define NO_PIDFD_MS 1

static void begin(struct tree *tree) {
    tree_find_how(tree);
    tree->self = getpid();
    tree->program_count = 0;
    tree_list_clear(tree);
}

static int64_t now_ticks(void) {
    return clock_now_ms() / TICK_MS;
}

void tree_init(struct tree *tree, int proc) {
    siginfo_t info;

    tree->mapped = NULL;
    tree->how = TREE_UNTRIED; /* the lists are cleared when they are needed, too */
    tree->proc = proc;
    tree->own = -1;
    tree->keep = 0;
    tree->but = NULL;
    tree->left = tree->spared_count = tree->program_count = 0;
    tree->changed = tree->unlisted = false;
    tree->since_ticks = 0;
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return;
    tree->since_ticks = (uint64_t)now_ticks();
    while (now_ticks() <= (int64_t)tree->since_ticks)
        poll(NULL, 0, TICK_MS);
}

bool tree_spare(struct tree *tree, pid_t pid) {
    if (tree->spared_count == TREE_SPARED)
        return false;
    tree->spared[tree->spared_count++] = pid;
    return true;
}

/* For `pause_ms`, but not beyond `until_ms`. */
static void pause_until(int64_t pause_ms, int64_t until_ms) {
    int64_t left_ms = clock_earlier(pause_ms, until_ms - clock_now_ms());

    if (left_ms > 0)
        poll(NULL, 0, (int)left_ms);
}

/* Looks until two looks agree. A storm never agrees: then what is on the list has to do. */
static void gather(struct tree *tree, int signo, int64_t until_ms) {
    int looks = 0;

    do
        tree_walk(tree, signo);
    while (tree->changed && ++looks < LOOKS && clock_now_ms() < until_ms);
}

/* Whoever is found runs on, so a family that grows does so the faster the longer it is looked at.
 * Two looks at least, however slow the machine. */
static void gather_running(struct tree *tree, int64_t until_ms) {
    tree_walk(tree, 0);
    if (tree->changed)
        gather(tree, 0, clock_earlier(until_ms, clock_now_ms() + AGREE_MS));
}

/* True if it was reached. */
static bool send_one(struct tree *tree, struct tree_member *member, int signo) {
    struct tree_sight sight;
    bool reached;
    int dir;

    if (!tree_walk_open(tree, member, &dir, &sight))
        return false;
    reached = !tree_walk_leaves(tree, dir, &sight) && tree_walk_send(member, dir, signo);
    if (dir >= 0)
        close(dir);
    return reached;
}

/* Parents first: a shell whose child has ended would start the next one. */
unsigned tree_signal(struct tree *tree, int signo, int64_t until_ms) {
    unsigned reached = 0;

    begin(tree);
    tree->left = 0;
    gather_running(tree, until_ms);
    for (unsigned i = 0; i < tree->count; i++)
        reached += send_one(tree, &tree->members[i], signo);
    tree_list_clear(tree);
    return reached;
}

/* Waits for the dead of our children, as far as they can be told without a look. False if there
 * is no child left; *lives: none that is dead, some that are not. */
static bool bury_all(const struct tree *tree, bool *lives) {
    siginfo_t info = {.si_pid = 0};

    *lives = false;
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0) {
        if (!info.si_pid) {
            *lives = true;
            return true;
        }
        if (info.si_pid == tree->keep || tree->spared_count || tree->since_ticks)
            return true;
        waitpid(info.si_pid, NULL, WNOHANG);
        info.si_pid = 0;
    }
    return false;
}

/* What lives has a chain of living ancestors, which ends with a child of ours. */
bool tree_lives(struct tree *tree) {
    bool lives, found = false, explained = false;
    int looks = 0;

    if (!bury_all(tree, &lives))
        return false;
    begin(tree);
    do
        found = tree_walk_own(tree);
    while (!found && tree->changed && ++looks < LOOKS);
    /* A dead one that another process traces is no child of ours that waitid() tells apart. */
    for (unsigned i = 0; i < tree->count; i++) {
        enum tree_state state = tree->members[i].state;
        explained = explained || state == TREE_ZOMBIE || state == TREE_APART;
        found = found || state == TREE_DOUBTED;
    }
    tree_list_clear(tree);
    if (!found && lives && !explained)
        found = bury_all(tree, &lives) && lives;
    return found || tree->changed || tree->unlisted;
}

/* Children first: a process group whose last parent outside it ends is continued by the kernel
 * if it was stopped, and could fork again. */
static unsigned kill_all(struct tree *tree) {
    unsigned reached = 0;

    for (unsigned i = tree->count; i-- > 0;)
        reached += send_one(tree, &tree->members[i], SIGKILL);
    return reached;
}

/* Waits for the end of a member, or the end of the slice. */
static bool await_one(struct tree *tree, struct tree_member *member, int64_t until_ms) {
    struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, member->pid, 0), .events = POLLIN};
    struct tree_sight sight;
    int64_t left_ms;
    int dir;
    /* Opened first and looked at then: it means the member and no later process. */
    bool lives = tree_walk_open(tree, member, &dir, &sight), ended = !lives;

    if (dir >= 0)
        close(dir);
    while (!ended && (left_ms = until_ms - clock_now_ms()) > 0) {
        if (end.fd >= 0) {
            ended = poll(&end, 1, (int)left_ms) > 0;
        } else {
            poll(NULL, 0, NO_PIDFD_MS); /* a kernel before 5.3 */
            break;
        }
    }
    if (end.fd >= 0)
        close(end.fd);
    return ended;
}

/* Waits until all on the list have ended, or for a slice. */
static void await_all(struct tree *tree, int64_t deadline_ms) {
    int64_t until_ms = clock_earlier(clock_after(clock_now_ms(), SLICE_MS), deadline_ms);
    bool ended = true;

    for (unsigned i = tree->count; ended && i-- > 0;)
        ended = await_one(tree, &tree->members[i], until_ms);
}

bool tree_kill(struct tree *tree, int64_t deadline_ms) {
    unsigned reached;
    bool lives;

    do {
        begin(tree);
        gather(tree, SIGSTOP, deadline_ms);
        reached = kill_all(tree);
        await_all(tree, deadline_ms);
        lives = tree_lives(tree);
        if (lives && !reached)
            pause_until(AGAIN_MS, deadline_ms);
    } while (lives && clock_now_ms() < deadline_ms);
    return !lives;
}

static size_t add_text(char *out, size_t bytes, size_t used, const char *text) {
    return used + text_printable(out + used, bytes - used, text);
}

static size_t add_number(char *out, size_t bytes, size_t used, unsigned number) {
    char digits[12] = {0};
    size_t at = sizeof digits - 1;

    do
        digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    return add_text(out, bytes, used, digits + at);
}

void tree_kill_but(struct tree *tree, const char *name, int64_t until_ms) {
    until_ms = clock_earlier(until_ms, clock_now_ms() + OTHERS_MS);
    tree->but = name;
    do {
        begin(tree);
        tree->left = 0;
        gather(tree, SIGKILL, until_ms);
        tree_list_clear(tree);
        if (tree->left)
            pause_until(AGAIN_MS, until_ms);
    } while (tree->left && clock_now_ms() < until_ms);
    tree->but = NULL;
}

/* Adds those that live to `out`, NAMED of them at most; returns how many. */
static unsigned add_names(struct tree *tree, char *out, size_t bytes, unsigned living,
                          size_t *used) {
    unsigned shown = 0;

    for (unsigned i = 0; i < tree->count && shown < NAMED; i++) {
        struct tree_sight sight;
        int dir;
        if (!tree_walk_open(tree, &tree->members[i], &dir, &sight))
            continue;
        if (dir >= 0)
            close(dir);
        if (shown++)
            *used = add_text(out, bytes, *used, shown < living ? ", " : " and ");
        *used = add_text(out, bytes, *used, sight.comm);
        *used = add_text(out, bytes, *used, " (pid ");
        *used = add_number(out, bytes, *used, (unsigned)tree->members[i].pid);
        *used = add_text(out, bytes, *used, ")");
    }
    return shown;
}

void tree_names(struct tree *tree, char *out, size_t bytes) {
    unsigned shown, living = 0;
    size_t used = 0;

    if (!bytes)
        return;
    *out = '\0';
    begin(tree);
    gather_running(tree, CLOCK_NEVER);
    for (unsigned i = 0; i < tree->count; i++)
        living += tree->members[i].state == TREE_MEMBER || tree->members[i].state == TREE_HIDDEN;
    shown = add_names(tree, out, bytes, living, &used);
    if (shown && living > shown) {
        used = add_text(out, bytes, used, " and ");
        used = add_number(out, bytes, used, living - shown);
        add_text(out, bytes, used, " more");
    }
    if (!shown && tree->unlisted)
        add_text(out, bytes, used, "processes that cannot be listed");
    tree_list_clear(tree);
}
