/* tokenfile_leftover.c - drafts that acquires have left behind because they were killed.
 *
 * A draft is flocked by its maker from before it has a name, or else from before it has a content,
 * until the maker ends. One whose flock can be had
 *
 *   - and that is empty was never asked with: it is removed where it is found;
 *   - and that is for another lock, or another store, is another acquire's to remove;
 *   - and that is for this lock is noted before the store is asked. Its token may be the holder's:
 *     then it is the only copy there is. The store says who holds the lock; with any other token
 *     that was left behind before it was asked nobody holds it, so those go. (A request that a
 *     frozen server still has in a buffer may take the lock yet; it ends with its TTL then.)
 *
 * Only files of our own user are looked at, under a name that a draft of F can have (one of a name
 * that had to be cut can be another file's), and none where a flock may reach no further than this
 * machine. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "localfs.h"
#include "text.h"
#include "tokenfile_part.h"

/* A directory entry of getdents64(2): the kernel's own form, which the C library's headers do
 * not all declare. */
struct entry {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

/* A draft that nobody works on: open and flocked, so nobody else removes it. */
struct leftover {
    int fd;
    bool empty;
    struct tokenfile content;
};

/* What the name of a draft of F ends with; NULL if `name` is none. */
static const char *letters_of(const char *name, const char *base) {
    const char *letters;

    if (name[0] != '.' || !text_begins(name + 1, base) ||
        !text_begins(name + 1 + strlen(base), DRAFT_SUFFIX))
        return NULL;
    letters = name + 1 + strlen(base) + strlen(DRAFT_SUFFIX);
    return strlen(letters) == DRAFT_LETTERS && strspn(letters, DRAFT_LETTERS_FROM) == DRAFT_LETTERS
               ? letters
               : NULL;
}

/* Whether nobody has the file flocked. (The flock of an NFS client is a lock of ranges on the
 * server whose file it is.) */
static bool is_idle(int fd) {
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return flock(fd, LOCK_EX | LOCK_NB) == 0 && fcntl(fd, F_OFD_GETLK, &range) == 0 &&
           range.l_type == F_UNLCK;
}

static bool same_lock(const struct tokenfile *one, const struct tokenfile *other) {
    return !one->bare && strcmp(one->name, other->name) == 0 &&
           strcmp(one->prefix, other->prefix) == 0 && strcmp(one->store, other->store) == 0;
}

/* True if it was left behind by an acquire for the lock of `mine`, or by one that had not yet
 * written for which: end it with close_leftover(). */
static bool open_leftover(int directory, const char *name, const struct tokenfile *mine,
                          struct leftover *out) {
    int fd = tokenfile_open_regular(directory, name);
    enum tokenfile_load load = LOAD_UNREADABLE;
    const char *fault;
    struct stat file;
    bool same;

    if (fd < 0)
        return false;
    /* Last, as it may have been given the name of F just before we had the flock. */
    if (fstat(fd, &file) == 0 && file.st_uid == geteuid() && is_idle(fd) &&
        tokenfile_look_again(directory, name, fd, &same) == 0 && same)
        load = tokenfile_load(fd, &out->content, &fault);
    out->fd = fd;
    out->empty = load == LOAD_EMPTY;
    if (out->empty || (load == LOAD_GOOD && same_lock(&out->content, mine)))
        return true;
    close(fd);
    return false;
}

static void close_leftover(struct leftover *leftover) {
    close(leftover->fd);
    explicit_bzero(&leftover->content, sizeof leftover->content);
}

static void look_at(struct tokenfile_draft *draft, const char *name, const char *letters,
                    const struct tokenfile *mine) {
    struct leftover leftover;

    if (draft->leftover_count == LEFTOVERS_MAX ||
        !open_leftover(draft->directory, name, mine, &leftover))
        return;
    if (leftover.empty)
        unlinkat(draft->directory, name, 0);
    else
        memcpy(draft->leftovers[draft->leftover_count++], letters, DRAFT_LETTERS);
    close_leftover(&leftover);
}

void tokenfile_find_leftovers(struct tokenfile_draft *draft, const struct tokenfile *mine) {
    _Alignas(struct entry) char buffer[4096];
    bool local = false;
    uint32_t type;
    long length;

    /* Fails at once where the directory may not be listed. */
    while ((length = syscall(SYS_getdents64, draft->directory, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < length;) {
            const struct entry *entry = (const void *)(buffer + at);
            const char *letters = letters_of(entry->name, draft->base);

            at += entry->length;
            if (letters && !local && !localfs_is(draft->directory, &type))
                return;
            if (!letters)
                continue;
            local = true;
            look_at(draft, entry->name, letters, mine);
        }
    }
}

/* One with our own token, which the user has chosen then, is only another copy of it. */
static bool is_useless(const struct leftover *leftover, const struct tokenfile *mine,
                       const char *holder) {
    const char *token = leftover->content.token;

    return !leftover->empty && (strcmp(token, holder) != 0 || strcmp(token, mine->token) == 0);
}

void tokenfile_clear(struct tokenfile_draft *draft, const char *holder) {
    struct tokenfile mine;
    struct leftover leftover;
    const char *fault;
    char name[280];

    if (draft->leftover_count == 0 || tokenfile_load(draft->fd, &mine, &fault) != LOAD_GOOD)
        return;
    for (unsigned i = 0; i < draft->leftover_count; i++) {
        snprintf(name, sizeof name, ".%s" DRAFT_SUFFIX "%.*s", draft->base, DRAFT_LETTERS,
                 draft->leftovers[i]);
        if (!open_leftover(draft->directory, name, &mine, &leftover))
            continue;
        if (is_useless(&leftover, &mine, holder))
            unlinkat(draft->directory, name, 0);
        close_leftover(&leftover);
    }
    draft->leftover_count = 0;
    explicit_bzero(&mine, sizeof mine);
}
