#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tree_part.h"

static bool is_spared(const struct tree *tree, pid_t pid) {
    for (unsigned i = 0; i < tree->spared_count; i++)
        if (tree->spared[i] == pid)
            return true;
    return false;
}

static bool is_in(const struct tree *tree, pid_t pid) {
    const struct tree_member *member = tree_list_find(tree, pid);

    return pid == tree->self ||
           (member && (member->state == TREE_MEMBER || member->state == TREE_HIDDEN));
}

static void become(struct tree *tree, struct tree_member *member, enum tree_state state) {
    /* One that was only named is new, which was noted then. */
    if (member->state != state && (member->state != TREE_NAMED || state == TREE_GONE))
        tree->changed = true;
    member->state = state;
}

/* What waitid() says of a process: our child and alive, our child and dead, or not our child. */
enum kinship { CHILD_LIVES, CHILD_DEAD, NO_CHILD };

static enum kinship kinship_of(pid_t pid) {
    siginfo_t info = {.si_pid = 0};

    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return NO_CHILD;
    return info.si_pid ? CHILD_DEAD : CHILD_LIVES;
}

/* Takes note of somebody's child. */
static void name_one(struct tree *tree, pid_t pid) {
    struct tree_member *member = tree_list_find(tree, pid);

    if (!member || member->state == TREE_GONE)
        tree->changed = true;
    if (!member)
        member = tree_list_add(tree, pid);
    else if (member->state == TREE_GONE)
        *member = (struct tree_member){.pid = pid};
    if (member)
        member->listed = true;
}

/* Takes note of a process if its parent is `tree->self`, or on the list unless only our own
 * children are wanted. */
static void name_if(struct tree *tree, pid_t pid, bool own) {
    const struct tree_member *member = tree_list_find(tree, pid), *parent;
    struct tree_sight sight;
    int dir;

    if (pid == tree->self || (member && member->state != TREE_GONE))
        return;
    dir = tree_proc_open(tree, pid);
    if (dir >= 0 && tree_proc_look(dir, &sight)) {
        parent = own ? NULL : tree_list_find(tree, sight.parent);
        if (sight.parent == tree->self ||
            (parent && parent->state != TREE_GONE && parent->state != TREE_APART))
            name_one(tree, pid);
    } else if (kinship_of(pid) != NO_CHILD) {
        name_one(tree, pid);
    }
    if (dir >= 0)
        close(dir);
}

static void name_child(struct tree *tree, pid_t pid) {
    name_if(tree, pid, true);
}

static void name_descendant(struct tree *tree, pid_t pid) {
    name_if(tree, pid, false);
}

/* Names our own children; with TREE_BY_SCAN and unless `own`, everybody. If that cannot be done,
 * there still is the child that we know of. */
static void name_all(struct tree *tree, bool own) {
    bool done;

    if (tree->how == TREE_BY_SCAN)
        done = tree_proc_all(own ? name_child : name_descendant, tree);
    else
        done = tree_proc_own(name_one, tree);
    tree->unlisted = !done;
    if (!done && tree->keep && kinship_of(tree->keep) != NO_CHILD)
        name_one(tree, tree->keep);
}

/* A process that is dead: if it is ours to wait for, it goes. */
static void bury(struct tree *tree, struct tree_member *member) {
    if (member->parent == tree->self && member->pid != tree->keep &&
        waitpid(member->pid, NULL, WNOHANG) == member->pid)
        become(tree, member, TREE_GONE);
    else
        become(tree, member, TREE_ZOMBIE);
}

/* /proc does not show the process: it is gone, or hidden, or /proc is not to be had. One whose age
 * is not to be seen may be a stranger, where there are any: then it is doubted. */
static void guess(struct tree *tree, struct tree_member *member) {
    enum kinship kinship = kinship_of(member->pid);
    bool doubted = tree->since_ticks && member->pid != tree->keep;

    if (kinship == NO_CHILD) {
        bool there = kill(member->pid, 0) == 0 || errno == EPERM;
        /* A number that stood in no list of this look may be another's by now. */
        become(tree, member, there && member->listed ? TREE_HIDDEN : TREE_GONE);
    } else if (is_spared(tree, member->pid)) {
        become(tree, member, TREE_APART);
    } else if (kinship == CHILD_LIVES) {
        become(tree, member, doubted ? TREE_DOUBTED : TREE_HIDDEN);
    } else if (doubted) {
        become(tree, member, TREE_ZOMBIE);
    } else {
        member->parent = tree->self;
        bury(tree, member);
    }
}

/* Judges what was seen of a process. True if it is a living member. */
static bool judge(struct tree *tree, struct tree_member *member, const struct tree_sight *sight) {
    bool ours = sight->parent == tree->self;

    if (member->state == TREE_MEMBER || member->state == TREE_ZOMBIE) {
        if (member->born_ticks != sight->born_ticks) {
            become(tree, member, TREE_GONE);
            return false;
        }
    } else if (!is_in(tree, sight->parent)) {
        /* The number is a stranger's by now; or it has just been orphaned, then another look
         * finds it where it went. */
        become(tree, member, TREE_GONE);
        return false;
    }
    member->born_ticks = sight->born_ticks;
    member->parent = sight->parent;
    if (ours && (is_spared(tree, member->pid) ||
                 (tree->since_ticks && sight->born_ticks <= tree->since_ticks)))
        become(tree, member, TREE_APART);
    else if (sight->dead)
        bury(tree, member);
    else
        become(tree, member, TREE_MEMBER);
    return member->state == TREE_MEMBER;
}

bool tree_walk_open(struct tree *tree, struct tree_member *member, int *dir,
                    struct tree_sight *sight) {
    *dir = -1;
    *sight = (struct tree_sight){.comm = "?"};
    if (member->state == TREE_GONE || member->state == TREE_APART)
        return false;
    *dir = tree_proc_open(tree, member->pid);
    if (*dir >= 0 && tree_proc_look(*dir, sight)) {
        if (judge(tree, member, sight))
            return true;
    } else {
        guess(tree, member);
    }
    if (*dir >= 0)
        close(*dir);
    *dir = -1;
    return member->state == TREE_HIDDEN;
}

bool tree_walk_send(const struct tree_member *member, int dir, int signo) {
    if (dir >= 0) {
        if (syscall(SYS_pidfd_send_signal, dir, signo, NULL, 0) == 0)
            return true;
        if (errno == ESRCH)
            return false;
    }
    /* An old kernel, or a filter of system calls that says EPERM to what it does not know. */
    return kill(member->pid, signo) == 0;
}

bool tree_walk_leaves(struct tree *tree, int dir, const struct tree_sight *sight) {
    if (!tree->but || strcmp(sight->comm, tree->but) != 0 || !tree_program_is_ours(tree, dir))
        return false;
    tree->left++;
    return true;
}

/* Looks at one process on the list; unless `own`, its children join the list. */
static bool visit(struct tree *tree, unsigned index, int signo, bool own) {
    struct tree_member *member = &tree->members[index];
    struct tree_sight sight;
    int dir;

    if (!tree_walk_open(tree, member, &dir, &sight))
        return false;
    if (signo && !member->told) {
        member->told = true;
        if (!tree_walk_leaves(tree, dir, &sight))
            tree_walk_send(member, dir, signo);
    }
    /* From here on `member` may have moved: the list grows. */
    if (dir >= 0 && !own && tree->how == TREE_BY_CHILDREN &&
        !tree_proc_children(dir, member->pid, sight.threads, name_one, tree))
        tree->changed = true;
    if (dir >= 0)
        close(dir);
    return true;
}

static void begin_look(struct tree *tree) {
    tree->changed = false;
    for (unsigned i = 0; i < tree->count; i++)
        tree->members[i].listed = false;
}

void tree_walk(struct tree *tree, int signo) {
    begin_look(tree);
    name_all(tree, false);
    for (unsigned i = 0; i < tree->count; i++)
        visit(tree, i, signo, false);
}

bool tree_walk_own(struct tree *tree) {
    begin_look(tree);
    name_all(tree, true);
    for (unsigned i = 0; i < tree->count; i++)
        if (visit(tree, i, 0, true))
            return true;
    return false;
}
