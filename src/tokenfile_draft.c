#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "localfs.h"
#include "text.h"
#include "tokenfile_part.h"

enum { NAME_ATTEMPTS = 100 };

/* Opens the directory that `path` is in and copies the last component into `base`. -1 and errno
 * if that is no name a file can have, or the directory cannot be opened. */
static int open_directory(const char *path, char base[256]) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t length = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;
    char directory[PATH_MAX] = ".";
    int fd;

    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        errno = *path ? EISDIR : ENOENT;
        return -1;
    }
    if (strlen(name) > NAME_MAX || length >= sizeof directory) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (length > 0) {
        memcpy(directory, path, length);
        directory[length] = '\0';
    }
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* A directory that may be written and searched but not listed serves too. */
    if (fd < 0 && errno == EACCES)
        fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        text_copy(base, 256, name, strlen(name));
    return fd;
}

/* A new name for a draft of `base`, which is cut where the file system would find it too long. */
static bool name_draft(char name[280], const char *base, int directory) {
    unsigned char bytes[DRAFT_LETTERS];
    long longest = fpathconf(directory, _PC_NAME_MAX);
    size_t most = longest > 0 && longest < NAME_MAX ? (size_t)longest : NAME_MAX;
    size_t length = strlen(base), others = 1 + strlen(DRAFT_SUFFIX) + DRAFT_LETTERS;

    if (length + others > most)
        length = most > others ? most - others : 0;
    /* Not in the middle of a UTF-8 character: some file systems take no half ones. */
    while (length > 0 && base[length] && ((unsigned char)base[length] & 0xc0) == 0x80)
        length--;
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return false;
    length = (size_t)snprintf(name, 280, ".%.*s" DRAFT_SUFFIX, (int)length, base);
    for (size_t i = 0; i < DRAFT_LETTERS; i++)
        name[length++] = DRAFT_LETTERS_FROM[bytes[i] % 32];
    name[length] = '\0';
    return true;
}

/* Writes all of it at `offset`. 0 or errno. */
static int write_at(int fd, const char *bytes, size_t length, int64_t offset) {
    while (length > 0) {
        ssize_t written = pwrite(fd, bytes, length, (off_t)offset);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? errno : ENOSPC;
        bytes += written;
        length -= (size_t)written;
        offset += written;
    }
    return 0;
}

/* Marks the draft as a living acquire's. 0 or errno; EWOULDBLOCK: another acquire is just looking
 * at it. Where there may be no flock, nobody goes by it. */
static int mark(int fd) {
    uint32_t type;
    int error = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;

    return error && (error == EWOULDBLOCK || localfs_is(fd, &type)) ? error : 0;
}

/* Gives the draft `fd`, which is whole and marked, a name. 0 or errno. */
static int name_file(struct tokenfile_draft *draft, int fd) {
    char path[32];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    for (int i = 0; i < NAME_ATTEMPTS; i++) {
        if (!name_draft(draft->temporary, draft->base, draft->directory))
            break;
        if (linkat(AT_FDCWD, path, draft->directory, draft->temporary, AT_SYMLINK_FOLLOW) == 0) {
            draft->fd = fd;
            return 0;
        }
        if (errno != EEXIST)
            break;
    }
    draft->temporary[0] = '\0';
    return errno;
}

/* Makes a draft that is empty, and marked. Until it is marked another acquire may take it for one
 * that was left behind, and remove it. 0 or errno; EEXIST: another name is to be tried. */
static int create_empty(struct tokenfile_draft *draft) {
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(draft->directory, draft->temporary, flags, 0600), error;
    bool same = false;

    if (fd < 0)
        return errno;
    error = mark(fd);
    if (error)
        unlinkat(draft->directory, draft->temporary, 0);
    else
        tokenfile_look_again(draft->directory, draft->temporary, fd, &same);
    if (same)
        draft->fd = fd;
    else
        close(fd);
    return same ? 0 : error && error != EWOULDBLOCK ? error : EEXIST;
}

/* The same under a name that is free. */
static int create_named(struct tokenfile_draft *draft) {
    int error = EEXIST;

    for (int i = 0; i < NAME_ATTEMPTS && error == EEXIST; i++)
        error = name_draft(draft->temporary, draft->base, draft->directory) ? create_empty(draft)
                                                                            : errno;
    if (error)
        draft->temporary[0] = '\0';
    return error;
}

/* The mode first: the umask can have taken from the owner, never given to others. 0 or errno. */
static int fill(int fd, const char *text, size_t length) {
    return fchmod(fd, 0600) == 0 ? write_at(fd, text, length, 0) : errno;
}

/* Makes the draft's file: whole before it has a name, where the system lets us. 0 or errno. */
static int create(struct tokenfile_draft *draft, const char *text, size_t length) {
    int fd = openat(draft->directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), error;

    if (fd >= 0) {
        if (fill(fd, text, length) == 0 && mark(fd) == 0 && name_file(draft, fd) == 0)
            return 0;
        close(fd);
    }
    /* Whatever failed: if it was more than files without a name it fails again, and says why. */
    error = create_named(draft);
    return error ? error : fill(draft->fd, text, length);
}

/* 0 or errno. A file system that cannot sync (EINVAL), or a directory that may not even be read
 * (EBADF: O_PATH), is no reason to lock nothing. */
static int sync_file(int fd, int (*sync)(int)) {
    int failed;

    do
        failed = sync(fd);
    while (failed && errno == EINTR);
    return failed && errno != EINVAL && errno != EBADF && errno != ENOSYS ? errno : 0;
}

/* The whole content but the fence, to the disk, and the draft's name too: with 0 in the fence's
 * place, publishing needs no more room (where files are overwritten in place). 0 or errno. */
static int make(struct tokenfile_draft *draft, const struct tokenfile *content) {
    char text[TOKENFILE_MAX_BYTES];
    size_t length = tokenfile_write(text, content, &draft->fence_at);
    int error = create(draft, text, length);

    explicit_bzero(text, sizeof text);
    if (!error)
        error = sync_file(draft->fd, fdatasync);
    return error ? error : sync_file(draft->directory, fsync);
}

enum outcome tokenfile_prepare(const char *path, const struct tokenfile *content,
                               struct tokenfile_draft *out, struct trouble *why) {
    struct tokenfile_draft draft = {.fd = -1, .directory = -1};
    const char *fault = tokenfile_fault(content);
    enum outcome outcome;
    int error;

    if (fault)
        return trouble_say(why, FAILED, EXIT_USAGE, "no token file can be written: %s", fault);
    draft.directory = open_directory(path, draft.base);
    if (draft.directory < 0)
        return tokenfile_say_unwritable(path, errno, why);
    outcome = tokenfile_check_replaceable(draft.directory, draft.base, path, content, why);
    if (outcome != DONE) {
        tokenfile_discard(&draft);
        return outcome;
    }
    tokenfile_find_leftovers(&draft, content);
    error = make(&draft, content);
    if (error) {
        outcome = tokenfile_say_unwritable(path, error, why);
        tokenfile_discard(&draft);
        return outcome;
    }
    *out = draft;
    return DONE;
}

/* Writes the fence over the room kept for it, in one piece: the draft is a token file before
 * and after. 0 or errno. */
static int fill_fence(const struct tokenfile_draft *draft, uint64_t fence) {
    char line[32];
    size_t length = tokenfile_write_fence(line, fence);
    int error = write_at(draft->fd, line, length, draft->fence_at);

    return error ? error : sync_file(draft->fd, fdatasync);
}

enum outcome tokenfile_publish(struct tokenfile_draft *draft, uint64_t fence, struct loop *loop,
                               int64_t deadline_ms, struct trouble *why) {
    struct tokenfile mine;
    const char *fault;
    enum outcome outcome;
    int error = fill_fence(draft, fence);

    if (error)
        return tokenfile_say_unwritable(draft->base, error, why);
    if (tokenfile_load(draft->fd, &mine, &fault) != LOAD_GOOD)
        return tokenfile_say_unwritable(draft->base, EIO, why);
    outcome = tokenfile_replace(draft, &mine, loop, deadline_ms, why);
    explicit_bzero(&mine, sizeof mine);
    if (outcome != DONE)
        return outcome;
    error = sync_file(draft->directory, fsync);
    if (error) {
        /* After a power cut the name might be gone, the lock not: so it is not given. */
        renameat(draft->directory, draft->base, draft->directory, draft->temporary);
        return tokenfile_say_unwritable(draft->base, error, why);
    }
    draft->temporary[0] = '\0';
    tokenfile_discard(draft);
    return DONE;
}

void tokenfile_discard(struct tokenfile_draft *draft) {
    if (!draft->base[0])
        return;
    if (draft->temporary[0])
        unlinkat(draft->directory, draft->temporary, 0);
    if (draft->fd >= 0)
        close(draft->fd);
    close(draft->directory);
    *draft = (struct tokenfile_draft){.fd = -1, .directory = -1};
}
