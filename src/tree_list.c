#include <string.h>
#include <sys/mman.h>

#include "tree_part.h"

static size_t bytes_of(unsigned room) {
    return room * (sizeof(struct tree_member) + 2 * sizeof(uint32_t));
}

static void unmap(struct tree *tree) {
    if (tree->mapped)
        munmap(tree->mapped, bytes_of(tree->room));
    tree->mapped = NULL;
}

void tree_list_clear(struct tree *tree) {
    unmap(tree);
    tree->members = tree->near_members;
    tree->slots = tree->near_slots;
    tree->room = TREE_NEAR;
    tree->count = 0;
    memset(tree->near_slots, 0, sizeof tree->near_slots);
}

/* The slot of the pid, or the free one where it belongs. There always is one: the table is twice
 * as large as the list. */
static uint32_t *slot_of(const struct tree *tree, pid_t pid) {
    unsigned mask = 2 * tree->room - 1, at = (unsigned)pid & mask;

    while (tree->slots[at] && tree->members[tree->slots[at] - 1].pid != pid)
        at = (at + 1) & mask;
    return &tree->slots[at];
}

struct tree_member *tree_list_find(const struct tree *tree, pid_t pid) {
    uint32_t index = *slot_of(tree, pid);

    return index ? &tree->members[index - 1] : NULL;
}

/* A mapping is asked of the kernel, not of the heap. */
static bool grow(struct tree *tree) {
    unsigned room = tree->room * 4;
    struct tree_member *members =
        mmap(NULL, bytes_of(room), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (members == MAP_FAILED)
        return false;
    memcpy(members, tree->members, tree->count * sizeof *members);
    unmap(tree);
    tree->mapped = members;
    tree->members = members;
    tree->room = room;
    tree->slots = (uint32_t *)(void *)(members + room);
    for (unsigned i = 0; i < tree->count; i++)
        *slot_of(tree, members[i].pid) = i + 1;
    return true;
}

struct tree_member *tree_list_add(struct tree *tree, pid_t pid) {
    struct tree_member *member;

    if (tree->count == tree->room && !grow(tree))
        return NULL;
    member = &tree->members[tree->count++];
    *member = (struct tree_member){.pid = pid};
    *slot_of(tree, pid) = tree->count;
    return member;
}
