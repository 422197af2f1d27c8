/* floor.h - the fences of files that are gone: `.fence`, one file of each directory of locks.
 *
 * A lock's last fence stands in its file. Before that is removed, the floor is raised to it at
 * least, and a new file's first fence is above the floor: so fences grow also when the wall clock,
 * which they follow, was set back meanwhile. One floor for all names: it only has to be high
 * enough.
 *
 * Also counted here: the files that were made since the last look at all of them. Looking is due
 * when there are FLOOR_MADE_MOST of them, or as many as the last look had to leave: so the files
 * that nobody needs stay few, and each look is paid by as many new files.
 *
 * Only those who remove files must have the flock of it, and they can wait, or do without: a
 * process that was stopped with it, or keeps it on purpose, stops the removing and nothing else.
 * Others read without it if need be; the checksum tells a write that is under way.
 *
 * In a shared directory all who take part may write it, and what stands under its name may be
 * anybody's work. It is written only after it was read and found valid; what is damaged or no file
 * of this kind is left alone, nothing is removed as long as it is there, and fences follow the
 * clock alone. A floor above FLOOR_MAX is taken for FLOOR_MAX: no clock says more before the year
 * 2255, programs that read JSON keep it exact, and it leaves room for all the fences to come. */
#ifndef VLOCK_FLOOR_H
#define VLOCK_FLOOR_H

#include <stdbool.h>
#include <stdint.h>

#include "localdir.h"
#include "loop.h"

enum { FLOOR_MADE_MOST = 16 };

#define FLOOR_NAME ".fence"
#define FLOOR_MAX  ((uint64_t)1 << 53)

struct floor {
    int fd;          /* -1: not open; flocked */
    uint64_t fence;  /* no fence that was forgotten is above it */
    uint32_t made;   /* so many files since the last look */
    uint32_t kept;   /* so many it had to leave */
    bool unreliable; /* there is one, and it is damaged, or no such file */
};

/* A new file is about to be used: counts it, and returns what its first fence must be above (0: not
 * known). *due: it is time to look. */
uint64_t floor_of_new_file(const struct localdir *dir, bool *due);

/* Opens, or makes, and flocks the file, waiting for it until `deadline_ms` at most. False if that
 * is not to be had. */
bool floor_enter(struct floor *floor, const struct localdir *dir, struct loop *loop,
                 int64_t deadline_ms);

/* Raises it to `fence` at least, on the disk too. False with errno: then the file with that fence
 * must stay. */
bool floor_raise(struct floor *floor, uint64_t fence);

/* The look is over, and `kept` files are left. Gives the flock back. */
void floor_leave(struct floor *floor, uint32_t kept);

#endif
