/* tree_part.h - what the files of tree share. */
#ifndef VLOCK_TREE_PART_H
#define VLOCK_TREE_PART_H

#include "tree.h"

#define TREE_COMM 72 /* bytes that hold a name of /proc/PID/stat: 15 of a process, escaped */

/* What /proc/PID/stat says. */
struct tree_sight {
    pid_t parent;
    uint64_t born_ticks;
    unsigned threads;
    char state;
    bool dead; /* none of its threads runs, nor will */
    char comm[TREE_COMM];
};

/* Finds /proc and how the tree is found there, as far as that is not known: tree->proc, tree->how.
 */
void tree_find_how(struct tree *tree);

/* Opens /proc/PID, -1 with errno if that fails. The descriptor goes on meaning this process, or
 * nothing, when the number becomes another's. */
int tree_proc_open(const struct tree *tree, pid_t pid);

/* True if the error says that there is no such process, and not that it could not be looked at. */
bool tree_proc_is_gone(int error);

/* Looks at the process behind the descriptor. False if it is gone, with errno. */
bool tree_proc_look(int dir, struct tree_sight *sight);

/* Calls each() for every number listed: the children of all threads of the process behind `dir`
 * (`threads` of it, if there is one its pid names it), our own children, or all processes there
 * are. False if something could not be read, with errno. */
typedef void tree_each(struct tree *tree, pid_t pid);
bool tree_proc_children(int dir, pid_t pid, unsigned threads, tree_each *each, struct tree *tree);
bool tree_proc_own(tree_each *each, struct tree *tree);
bool tree_proc_all(tree_each *each, struct tree *tree);

/* The list: empty it (a larger one is given back), find, add. add returns NULL when there is no
 * memory. Pointers hold until the next add. */
void tree_list_clear(struct tree *tree);
struct tree_member *tree_list_find(const struct tree *tree, pid_t pid);
struct tree_member *tree_list_add(struct tree *tree, pid_t pid);

/* One look at everything (tree_walk), or at our own children alone (tree_walk_own), adding what
 * is found to the list and updating what is there. `signo`, unless 0, goes to each member when it
 * is first seen. tree->changed says whether anything was different from what the list said:
 * then another look may find more. tree_walk_own() stops at the first that lives: true. */
void tree_walk(struct tree *tree, int signo);
bool tree_walk_own(struct tree *tree);

/* True if the member is there, alive, in the tree, and opened as *dir (-1 if /proc does not show
 * it): close it. */
bool tree_walk_open(struct tree *tree, struct tree_member *member, int *dir,
                    struct tree_sight *sight);

/* True, and counted, if the member that was opened is left out: it goes by that name, and it runs
 * our own program. */
bool tree_walk_leaves(struct tree *tree, int dir, const struct tree_sight *sight);

/* True if the process behind `dir` runs the same program as we do, or the other one that was
 * installed with it. */
bool tree_program_is_ours(struct tree *tree, int dir);

/* Sends a signal to a member that was opened. False if it is gone, or may not be signalled. */
bool tree_walk_send(const struct tree_member *member, int dir, int signo);

#endif
