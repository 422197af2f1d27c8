/* Whether a process runs our own program, which a name alone does not say. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tree_part.h"

/* Where the other one of two programs is installed, as seen from ours. */
#if defined VLOCK_SIBLING
#define ELSEWHERE VLOCK_SIBLING
#elif defined VLOCK_ORIGIN
#define ELSEWHERE VLOCK_ORIGIN
#else
#define ELSEWHERE "vlock"
#endif

/* Adds the file's device and inode to what is ours. */
static void note(struct tree *tree, int dir, const char *path) {
    struct stat found;

    if (tree->program_count < TREE_PROGRAMS && fstatat(dir, path, &found, 0) == 0)
        tree->programs[tree->program_count++] =
            (struct tree_program){.device = found.st_dev, .inode = found.st_ino};
}

/* The file that we run, and what stands where it was installed, which may be newer by now: vlock
 * and vlock-full (sibling.h), side by side as in a build tree, or each in its place. */
static void note_all(struct tree *tree) {
    static const char *const places[] = {"vlock", "vlock-full", ELSEWHERE};
    char path[4096 + 64];
    ssize_t length = readlinkat(tree->proc, "self/exe", path, 4096);
    char *slash;

    tree->program_count = 0;
    note(tree, tree->proc, "self/exe");
    path[length > 0 ? length : 0] = '\0';
    slash = strrchr(path, '/');
    for (size_t i = 0; slash && i < sizeof places / sizeof *places; i++) {
        memcpy(slash + 1, places[i], strlen(places[i]) + 1);
        note(tree, AT_FDCWD, path);
    }
}

bool tree_program_is_ours(struct tree *tree, int dir) {
    struct stat found;

    if (dir < 0 || fstatat(dir, "exe", &found, 0) < 0)
        return false; /* another user's, or one that is ending */
    if (!tree->program_count)
        note_all(tree);
    for (unsigned i = 0; i < tree->program_count; i++)
        if (tree->programs[i].device == found.st_dev && tree->programs[i].inode == found.st_ino)
            return true;
    return false;
}
