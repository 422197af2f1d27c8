/* Which /proc the tree is looked for in, and what is kept open of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "tree_part.h"

#define PROC_MAGIC 0x9fa0 /* PROC_SUPER_MAGIC of linux/magic.h, which musl does not bring along */

/* What /proc/self/status says of us, in the numbers of that /proc. */
struct self {
    long pid, parent;
    long own;        /* the last number of NSpid, which is that of our own namespace */
    unsigned levels; /* numbers in NSpid, one for each namespace from that of /proc to ours */
};

static void read_line(struct self *self, const char *line) {
    char *rest;

    if (strncmp(line, "Tgid:", 5) == 0)
        self->pid = strtol(line + 5, NULL, 10);
    else if (strncmp(line, "PPid:", 5) == 0)
        self->parent = strtol(line + 5, NULL, 10);
    else if (strncmp(line, "NSpid:", 6) == 0)
        for (const char *at = line + 6;; at = rest) {
            long number = strtol(at, &rest, 10);
            if (rest == at)
                break;
            self->own = number;
            self->levels++;
        }
}

/* Line by line, as far as NSpid: the list of groups, which comes before it, may be long. */
static bool read_self(int proc, struct self *self) {
    char text[2048], line[512];
    size_t used = 0;
    int fd = openat(proc, "self/status", O_RDONLY | O_CLOEXEC), error;
    ssize_t length = -1;

    *self = (struct self){0};
    while (fd >= 0 && !self->levels && (length = read(fd, text, sizeof text)) > 0)
        for (ssize_t i = 0; i < length; i++) {
            if (text[i] != '\n') {
                if (used < sizeof line - 1)
                    line[used++] = text[i];
                continue;
            }
            line[used] = '\0';
            used = 0;
            read_line(self, line);
        }
    error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return length >= 0;
}

/* /proc/self leads to us in the /proc of every namespace around ours, and our numbers there and
 * here may agree by accident: NSpid has them all. A kernel before 4.1 has no NSpid: there two
 * numbers that agree have to do. */
static bool is_us(const struct self *self) {
    if (self->levels)
        return self->levels == 1 && self->own == getpid();
    return self->pid == getpid() && self->parent == getppid();
}

/* True if we are in the namespace that is in no other: who sees us can be no other's /proc. Asked
 * first, as it takes half the time. The number is fixed: PROC_PID_INIT_INO of the kernel. */
static bool is_outermost(int proc) {
    static const char outermost[] = "pid:[4026531836]";
    char name[64];
    ssize_t length = readlinkat(proc, "self/ns/pid", name, sizeof name);

    return length == sizeof outermost - 1 && memcmp(name, outermost, sizeof outermost - 1) == 0;
}

/* What is wrong with the /proc behind `dir`, for people; NULL: nothing. It was opened, or errno
 * says why not. */
static const char *fault_of(int dir) {
    static const char missing[] =
        "no proc file system is mounted there: mount it with 'mount -t proc proc /proc'";
    static const char foreign[] =
        "it belongs to another pid namespace: mount the one of this namespace (unshare: "
        "--mount-proc)";
    struct statfs found;
    struct self self;

    if (dir < 0)
        return errno == ENOENT || errno == ENOTDIR ? missing : strerror(errno);
    if (fstatfs(dir, &found) < 0)
        return strerror(errno);
    if (found.f_type != PROC_MAGIC)
        return missing;
    if (is_outermost(dir))
        return NULL;
    if (!read_self(dir, &self))
        return errno == ENOENT ? foreign : strerror(errno);
    return is_us(&self) ? NULL : foreign;
}

enum outcome tree_find_proc(int *proc, struct trouble *why) {
    int dir = openat(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    const char *fault = fault_of(dir);

    if (!fault) {
        *proc = dir;
        return DONE;
    }
    if (dir >= 0)
        close(dir);
    return trouble_say(why, FAILED, EXIT_SYSTEM,
                       "cannot find the processes that the command starts in /proc: %s", fault);
}

/* The number may have become another file's: see tree_hold(). */
static bool is_open(const struct tree *tree) {
    return tree->proc >= 0 && faccessat(tree->proc, "thread-self", F_OK, 0) == 0;
}

void tree_find_how(struct tree *tree) {
    if (!is_open(tree)) {
        tree->proc = -1;
        tree_find_proc(&tree->proc, NULL);
    }
    if (tree->proc < 0 || tree->how != TREE_UNTRIED)
        return;
    if (faccessat(tree->proc, "thread-self/children", R_OK, 0) == 0)
        tree->how = TREE_BY_CHILDREN;
    else if (errno == ENOENT)
        tree->how = TREE_BY_SCAN;
}

void tree_hold(struct tree *tree) {
    if (tree->own >= 0)
        return;
    if (tree->proc < 0)
        tree_find_how(tree);
    tree->own = openat(tree->proc, "thread-self/children", O_RDONLY | O_CLOEXEC);
    if (tree->own < 0 && errno == EMFILE && tree->proc >= 0) {
        close(tree->proc); /* of the two, the list is the one that suffices alone */
        tree->proc = -1;
        tree->own = openat(AT_FDCWD, "/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    }
}
