#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "noreplace.h"
#include "tokenfile_part.h"

enum outcome tokenfile_say_unwritable(const char *path, int error, struct trouble *why) {
    return trouble_say(why, FAILED, EXIT_CANNOT_WRITE,
                       "cannot write the token file '%s' (%s): name a place that can be written",
                       path, strerror(error));
}

/* Whether rename(2) could put another file in the place of this one, as far as that can be said
 * without doing it; 0 or what errno it would give. Write permission is not looked at here: that
 * a draft can be made beside it proves more. */
static int why_not_replaceable(int directory, const char *base, const struct stat *file) {
    struct stat around;
    uid_t user = geteuid();

    if (fstat(directory, &around) == 0 && (around.st_mode & S_ISVTX) && user != 0 &&
        user != file->st_uid && user != around.st_uid)
        return EPERM;
#ifdef STATX_ATTR_MOUNT_ROOT
    struct statx more;

    if (statx(directory, base, AT_SYMLINK_NOFOLLOW, 0, &more) != 0)
        return 0;
    if (more.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND))
        return EPERM;
    /* A file that was mounted into a container cannot be renamed over. */
    if (more.stx_attributes & STATX_ATTR_MOUNT_ROOT)
        return EBUSY;
#else
    (void)base;
#endif
    return 0;
}

/* Whether the file behind `fd` may be overwritten by one for `mine`: see tokenfile.h, step 1. */
static enum outcome check_content(int fd, const char *path, const struct tokenfile *mine,
                                  struct trouble *why) {
    struct tokenfile there;
    const char *fault;
    enum outcome outcome = FAILED;

    switch (tokenfile_load(fd, &there, &fault)) {
    case LOAD_EMPTY:
        return DONE;
    case LOAD_UNREADABLE:
        return trouble_say(why, FAILED, EXIT_CANNOT_WRITE,
                           "cannot read the file '%s' that is to be replaced: %s", path, fault);
    case LOAD_MALFORMED:
        return trouble_say(why, FAILED, EXIT_DATA,
                           "'%s' is no token file and is not overwritten (%s): name another", path,
                           fault);
    case LOAD_GOOD:
        break;
    }
    if (there.bare ||
        (strcmp(there.name, mine->name) == 0 && strcmp(there.prefix, mine->prefix) == 0))
        outcome = DONE;
    else
        trouble_say(why, FAILED, EXIT_DATA,
                    "the token file '%s' is for the lock '%s%s' and is not overwritten: name "
                    "another, or remove it",
                    path, there.prefix, there.name);
    explicit_bzero(&there, sizeof there);
    return outcome;
}

enum outcome tokenfile_check_replaceable(int directory, const char *base, const char *path,
                                         const struct tokenfile *mine, struct trouble *why) {
    struct stat file;
    enum outcome outcome;
    int fd, error;

    if (fstatat(directory, base, &file, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? DONE : tokenfile_say_unwritable(path, errno, why);
    if (!S_ISREG(file.st_mode))
        return trouble_say(why, FAILED, EXIT_CANNOT_WRITE,
                           "'%s' is %s, which a token file never replaces: name another place",
                           path, S_ISLNK(file.st_mode) ? "a symbolic link" : "no regular file");
    error = why_not_replaceable(directory, base, &file);
    if (error)
        return tokenfile_say_unwritable(path, error, why);
    fd = tokenfile_open_regular(directory, base);
    if (fd < 0)
        return errno == ENOENT ? DONE : tokenfile_say_unwritable(path, errno, why);
    outcome = check_content(fd, path, mine, why);
    close(fd);
    return outcome;
}

/* Gives the draft its name where nothing has that name: EEXIST if something has. That is never
 * replaced, because whoever has its flock may be about to remove it. 0 or errno. */
static int rename_to_nothing(const struct tokenfile_draft *draft) {
    int directory = draft->directory;

    if (noreplace_rename(directory, draft->temporary, draft->base) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
    /* NFS and old kernels: link(2) never replaces either. The name may then be there twice. */
    if (linkat(directory, draft->temporary, directory, draft->base, 0) == 0) {
        unlinkat(directory, draft->temporary, 0);
        return 0;
    }
    if (errno == EEXIST)
        return EEXIST;
    /* Neither: what is left is that a file that appeared just now is replaced. */
    return renameat(directory, draft->temporary, directory, draft->base) == 0 ? 0 : errno;
}

/* One attempt at what tokenfile_replace() does; *again: what was found there changed meanwhile. */
static enum outcome replace_once(const struct tokenfile_draft *draft, const struct tokenfile *mine,
                                 struct loop *loop, int64_t deadline_ms, bool *again,
                                 struct trouble *why) {
    enum outcome outcome;
    int fd = -1, error = 0;

    *again = false;
    switch (tokenfile_take(draft->directory, draft->base, loop, deadline_ms, &fd)) {
    case TAKEN:
        outcome = check_content(fd, draft->base, mine, why);
        if (outcome == DONE &&
            renameat(draft->directory, draft->temporary, draft->directory, draft->base) != 0)
            outcome = tokenfile_say_unwritable(draft->base, errno, why);
        close(fd);
        return outcome;
    case TAKE_NONE:
        error = rename_to_nothing(draft);
        *again = error == EEXIST;
        return error == 0 ? DONE : tokenfile_say_unwritable(draft->base, error, why);
    case TAKE_BUSY:
        return trouble_say(why, FAILED, EXIT_CANNOT_WRITE,
                           "another vlock is using the token file '%s': try again when it is done",
                           draft->base);
    case TAKE_STOP:
        return trouble_say(why, STOPPED, EXIT_BUSY, "stopped while waiting for the token file");
    case TAKE_ODD:
        error = EEXIST;
        break;
    case TAKE_REFUSED:
        error = errno;
        break;
    }
    return tokenfile_say_unwritable(draft->base, error, why);
}

enum outcome tokenfile_replace(const struct tokenfile_draft *draft, const struct tokenfile *mine,
                               struct loop *loop, int64_t deadline_ms, struct trouble *why) {
    enum outcome outcome;
    bool again;

    do
        outcome = replace_once(draft, mine, loop, deadline_ms, &again, why);
    while (again);
    return outcome;
}
