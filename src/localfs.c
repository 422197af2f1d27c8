#include "localfs.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "text.h"

/* statfs(2) types that keep their files, and their flocks, in this kernel. The read-only ones
 * are here for the better message: that nothing can be written. The numbers are those of
 * linux/magic.h or of the file system's own source; not all headers have all of them. */
static bool type_is_local(uint32_t type) {
    static const uint32_t local[] = {
        0xef53,     /* ext2, ext3, ext4 */
        0x58465342, /* xfs */
        0x9123683e, /* btrfs */
        0x01021994, /* tmpfs */
        0x858458f6, /* ramfs */
        0x794c7630, /* overlayfs */
        0x2fc12fc1, /* zfs */
        0xca451a4e, /* bcachefs */
        0xf2f52010, /* f2fs */
        0x3153464a, /* jfs */
        0x52654973, /* reiserfs */
        0x3434,     /* nilfs2 */
        0x24051905, /* ubifs */
        0x72b6,     /* jffs2 */
        0x4d44,     /* vfat */
        0x2011bab0, /* exfat */
        0x7366746e, /* ntfs3 */
        0x482b,     /* hfsplus */
        0x15013346, /* udf */
        0x61756673, /* aufs */
        0x73717368, /* squashfs */
        0xe0f5e1e2, /* erofs */
        0x9660,     /* iso9660 */
    };

    for (size_t i = 0; i < sizeof local / sizeof *local; i++) {
        if (type == local[i])
            return true;
    }
    return false;
}

/* FUSE is one type for everything from a network to a disk. Of its kinds those that are known
 * to stay on this machine are let in: ntfs-3g and its like (fuseblk), and the root of rootless
 * containers on older kernels. The kind is only in the table of mounts, by device number. */
static bool fuse_is_local(dev_t device) {
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    char line[4096];
    bool local = false;

    while (mounts && !local && fgets(line, sizeof line, mounts)) {
        const char *kind = strstr(line, " - ");
        unsigned major_number, minor_number;

        /* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers do not overflow. */
        if (!kind || sscanf(line, "%*d %*d %u:%u", &major_number, &minor_number) != 2 ||
            makedev(major_number, minor_number) != device)
            continue;
        local = text_begins(kind, " - fuseblk ") || text_begins(kind, " - fuse.fuse-overlayfs ");
    }
    if (mounts)
        fclose(mounts);
    return local;
}

bool localfs_is(int fd, uint32_t *type) {
    const uint32_t fuse = 0x65735546;
    struct statfs system;
    struct stat status;

    *type = 0;
    if (fstatfs(fd, &system) != 0)
        return false;
    *type = (uint32_t)system.f_type;
    return type_is_local(*type) ||
           (*type == fuse && fstat(fd, &status) == 0 && fuse_is_local(status.st_dev));
}
