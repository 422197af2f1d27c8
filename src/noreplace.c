#include "noreplace.h"

#include <sys/syscall.h>
#include <unistd.h>

enum { NOREPLACE = 1 }; /* RENAME_NOREPLACE of linux/fs.h */

int noreplace_rename(int directory, const char *from, const char *to) {
    return (int)syscall(SYS_renameat2, directory, from, directory, to, NOREPLACE);
}
