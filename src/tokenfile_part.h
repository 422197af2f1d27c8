/* tokenfile_part.h - what the files of tokenfile share: for them alone.
 *
 * tokenfile_text.c   the content: what is read, what is written
 * tokenfile.c        a file that is there: opened under its flock, removed
 * tokenfile_draft.c  a file that comes to be
 * tokenfile_replace.c  whether and how it takes the place of another
 * tokenfile_leftover.c  those that never did */
#ifndef VLOCK_TOKENFILE_PART_H
#define VLOCK_TOKENFILE_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "tokenfile.h"

#define DRAFT_SUFFIX       ".vlock-" /* between F's name and the letters */
#define DRAFT_LETTERS_FROM "abcdefghijklmnopqrstuvwxyz234567"

enum tokenfile_load { LOAD_GOOD, LOAD_EMPTY, LOAD_MALFORMED, LOAD_UNREADABLE };

/* Reads the whole file behind `fd` into *out. *fault says in a few words what is malformed, or
 * why it cannot be read; *out is filled on LOAD_GOOD only. */
enum tokenfile_load tokenfile_load(int fd, struct tokenfile *out, const char **fault);

/* Writes `content` into `text`, with 0 for the fence: a draft can so be read, as a file
 * whose fence is not known. Returns the length, and in *fence_at where the fence's line begins. */
size_t tokenfile_write(char text[TOKENFILE_MAX_BYTES], const struct tokenfile *content,
                       int64_t *fence_at);

enum { FENCE_LINE_BYTES = 32 };

/* The fence's line, as it is published, and behind it empty lines up to the same length whatever
 * the fence: numbers are read by shells, to which leading zeros mean octal. `line` has room for
 * FENCE_LINE_BYTES. Returns that length. */
size_t tokenfile_write_fence(char *line, uint64_t fence);

/* Why `content` could not be read back once it is written, in a few words; NULL if it can. */
const char *tokenfile_fault(const struct tokenfile *content);

enum tokenfile_take {
    TAKEN,       /* *fd is open, flocked, and still the file at that path */
    TAKE_BUSY,   /* somebody else had the flock until the deadline */
    TAKE_STOP,   /* the loop was told to stop */
    TAKE_NONE,   /* there is no such file */
    TAKE_ODD,    /* there is something that is not a regular file */
    TAKE_REFUSED /* errno says why it cannot be opened */
};

/* Opens and flocks the file at `path`, looked up from `directory`. */
enum tokenfile_take tokenfile_take(int directory, const char *path, struct loop *loop,
                                   int64_t deadline_ms, int *fd);

/* Opens the regular file at `path` for reading, and writing if the system lets us, without ever
 * following a link there or waiting for a FIFO's other end. -1 and errno if it cannot be. */
int tokenfile_open_regular(int directory, const char *path);

/* Whether the file at `path` is the very one that is open. 0 or errno: if that is set, and not
 * ENOENT, nothing is known. */
int tokenfile_look_again(int directory, const char *path, int fd, bool *same);

/* Notes in `draft`, which is not made yet, the drafts beside it that acquires for the same lock
 * (`mine`) have left behind. */
void tokenfile_find_leftovers(struct tokenfile_draft *draft, const struct tokenfile *mine);

/* FAILED/73: `path` and what the system says. */
enum outcome tokenfile_say_unwritable(const char *path, int error, struct trouble *why);

/* Whether F (`base` in `directory`, `path` to the user), if there is one, may be replaced by a
 * file for the name and prefix of `mine`. The outcomes are those of tokenfile_prepare(). */
enum outcome tokenfile_check_replaceable(int directory, const char *base, const char *path,
                                         const struct tokenfile *mine, struct trouble *why);

/* Gives the draft, whose content is `mine`, F's name. The outcomes are those of
 * tokenfile_publish(). */
enum outcome tokenfile_replace(const struct tokenfile_draft *draft, const struct tokenfile *mine,
                               struct loop *loop, int64_t deadline_ms, struct trouble *why);

#endif
