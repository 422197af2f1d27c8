#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tree_part.h"

/* A directory entry of getdents64(2): the kernel's own form, which the C library's headers do
 * not all declare. */
struct entry {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

/* Appends to a path without the stdio of the C library. Room is the caller's concern. */
static char *put(char *to, const char *text) {
    size_t length = strlen(text);

    memcpy(to, text, length + 1);
    return to + length;
}

static char *put_number(char *to, pid_t pid) {
    char digits[12];
    size_t at = sizeof digits;
    unsigned rest = (unsigned)pid;

    digits[--at] = '\0';
    do
        digits[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    return put(to, digits + at);
}

/* The number that begins `text`, and where it ends; a sign in front counts as a digit 0. */
static uint64_t take_number(const char **text) {
    uint64_t value = 0;

    if (**text == '-')
        ++*text;
    while (**text >= '0' && **text <= '9')
        value = value * 10 + (uint64_t)(*(*text)++ - '0');
    return value;
}

/* A name that is a number, or 0. */
static pid_t number_of(const char *name) {
    uint64_t value = take_number(&name);

    return *name ? 0 : (pid_t)value;
}

int tree_proc_open(const struct tree *tree, pid_t pid) {
    char path[16];

    put_number(path, pid);
    return openat(tree->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

bool tree_proc_is_gone(int error) {
    return error == ENOENT || error == ESRCH;
}

static ssize_t read_at(int fd, char *to, size_t bytes, off_t offset) {
    ssize_t length;

    do
        length = pread(fd, to, bytes, offset);
    while (length < 0 && errno == EINTR);
    return length;
}

/* Reads dir/NAME into text, with a NUL. */
static bool read_small(int dir, const char *name, char *text, size_t bytes) {
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC), error;
    ssize_t length;

    if (fd < 0)
        return false;
    length = read_at(fd, text, bytes - 1, 0);
    error = errno;
    close(fd);
    errno = length < 0 ? error : ESRCH; /* an empty file belongs to nobody any more */
    text[length > 0 ? length : 0] = '\0';
    return length > 0;
}

/* "PID (COMM) STATE PPID ...", proc_pid_stat(5): COMM may hold anything, a bracket too. */
static bool parse(const char *stat, struct tree_sight *sight) {
    const char *name = strchr(stat, '('), *at = strrchr(stat, ')');
    size_t length;

    if (!name || !at || at < name || strlen(at) < 4)
        return false;
    length = (size_t)(at - name) - 1;
    if (length >= sizeof sight->comm)
        length = sizeof sight->comm - 1;
    memcpy(sight->comm, name + 1, length);
    sight->comm[length] = '\0';
    sight->state = at[2];
    at += 3;
    for (int field = 4; field <= 22 && *at == ' '; field++) {
        uint64_t value;
        at++;
        value = take_number(&at);
        if (field == 4)
            sight->parent = (pid_t)value;
        else if (field == 20)
            sight->threads = (unsigned)value;
        else if (field == 22) {
            sight->born_ticks = value;
            return true;
        }
    }
    return false;
}

/* Calls each() with a context for every entry of dir/NAME that is a number, until it says stop. */
typedef bool each_entry(void *context, int dir, const char *name);
static bool each_number(int parent, const char *name, each_entry *each, void *context) {
    _Alignas(struct entry) char buffer[4096];
    int dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error;
    long length = dir < 0 ? -1 : 1;
    bool more = true;

    while (more && length > 0) {
        length = syscall(SYS_getdents64, dir, buffer, sizeof buffer);
        for (long at = 0; more && at < length;) {
            const struct entry *entry = (const void *)(buffer + at);
            at += entry->length;
            if (number_of(entry->name) > 0)
                more = each(context, dir, entry->name);
        }
    }
    error = errno;
    if (dir >= 0)
        close(dir);
    errno = error;
    return length >= 0;
}

/* Notes in *context whether this thread runs, and goes on if not. One that cannot be read runs. */
static bool thread_is_dead(void *context, int dir, const char *name) {
    char path[32], stat[1024];
    struct tree_sight sight;
    bool *lives = context;

    put(put(path, name), "/stat");
    if (read_small(dir, path, stat, sizeof stat))
        *lives = !parse(stat, &sight) || (sight.state != 'Z' && sight.state != 'X');
    else
        *lives = !tree_proc_is_gone(errno);
    return !*lives;
}

bool tree_proc_look(int dir, struct tree_sight *sight) {
    char stat[1024];
    bool lives = false;

    /* 0 threads: it ended, or another thread executed something, between the kernel's note of
     * the state and that of the threads. */
    do {
        if (!read_small(dir, "stat", stat, sizeof stat))
            return false;
        if (!parse(stat, sight)) {
            errno = EIO;
            return false;
        }
    } while (sight->state == 'Z' && sight->threads == 0);
    sight->dead = sight->state == 'X' || sight->state == 'Z';
    /* A main thread that has ended is a zombie while the others run; and others that have ended
     * are still counted while a debugger has not waited for them. */
    if (sight->state == 'Z' && sight->threads > 1) {
        sight->dead = each_number(dir, "task", thread_is_dead, &lives) && !lives;
    }
    return true;
}

struct call {
    tree_each *each;
    struct tree *tree;
    bool failed;
};

/* Calls for every number in the file, a list with blanks behind each. */
static bool call_listed(const struct call *call, int fd) {
    char text[4096];
    ssize_t length;
    off_t offset = 0;
    pid_t pid = 0;

    for (; (length = read_at(fd, text, sizeof text, offset)) > 0; offset += length)
        for (ssize_t i = 0; i < length; i++) {
            if (text[i] >= '0' && text[i] <= '9') {
                pid = pid * 10 + (text[i] - '0');
            } else {
                if (pid)
                    call->each(call->tree, pid);
                pid = 0;
            }
        }
    return length == 0;
}

static bool call_each(const struct call *call, int dir, const char *name) {
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC), error;
    bool done = fd >= 0 && call_listed(call, fd);

    error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return done;
}

static bool call_thread(void *context, int dir, const char *name) {
    struct call *call = context;
    char path[32];

    put(put(path, name), "/children");
    /* A thread that ended meanwhile has left its children to another one. */
    if (!call_each(call, dir, path) && !tree_proc_is_gone(errno))
        call->failed = true;
    return true;
}

bool tree_proc_children(int dir, pid_t pid, unsigned threads, tree_each *each, struct tree *tree) {
    struct call call = {each, tree, false};
    char path[40];

    if (threads != 1)
        return each_number(dir, "task", call_thread, &call) && !call.failed;
    put(put_number(put(path, "task/"), pid), "/children");
    return call_each(&call, dir, path);
}

/* The list that is kept open outlives a /proc that was unmounted or covered, and needs no
 * descriptor when there is none. */
bool tree_proc_own(tree_each *each, struct tree *tree) {
    struct call call = {each, tree, false};
    bool done = tree->own >= 0 && call_listed(&call, tree->own);
    int dir = done ? -1 : tree_proc_open(tree, tree->self);

    if (dir >= 0) {
        done = tree_proc_children(dir, tree->self, 0, each, tree);
        close(dir);
    }
    return done;
}

static bool call_entry(void *context, int dir, const char *name) {
    const struct call *call = context;

    (void)dir;
    call->each(call->tree, number_of(name));
    return true;
}

bool tree_proc_all(tree_each *each, struct tree *tree) {
    struct call call = {each, tree, false};

    return each_number(tree->proc, ".", call_entry, &call);
}
