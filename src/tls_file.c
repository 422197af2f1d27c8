/* tls_file.c - reads what is no regular file into one that has no name. */
#include "tls_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif

enum { MOST_BYTES = 4 << 20, CHUNK_BYTES = 4096 };

void tls_file_init(struct tls_file *file, const char *what) {
    *file = (struct tls_file){.what = what, .from = -1, .copy = -1};
}

enum outcome tls_file_refuse(const struct tls_file *file, const char *reason, struct trouble *why) {
    return trouble_say(why, FAILED, EXIT_CONFIG, "cannot use the %s '%s': %s", file->what,
                       file->path, reason);
}

static const struct tls_file *find_same(const struct tls_file *file, const struct tls_file *others,
                                        size_t count) {
    for (size_t i = 0; i < count; i++)
        if (others[i].from >= 0 && others[i].device == file->device &&
            others[i].inode == file->inode)
            return &others[i];
    return NULL;
}

enum outcome tls_file_open(struct tls_file *file, const char *path, const struct tls_file *others,
                           size_t count, struct trouble *why) {
    struct stat found;

    file->path = path;
    if (stat(path, &found) != 0 || S_ISREG(found.st_mode))
        return DONE; /* OpenSSL says what is wrong with it */
    file->fifo = S_ISFIFO(found.st_mode);
    file->device = found.st_dev;
    file->inode = found.st_ino;
    file->same = find_same(file, others, count);
    if (file->same)
        return DONE;
    file->from = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    return file->from >= 0 ? DONE : tls_file_refuse(file, strerror(errno), why);
}

static int anonymous_file(void) {
    int fd = memfd_create("tls", MFD_CLOEXEC | MFD_NOEXEC_SEAL);

    return fd < 0 && errno == EINVAL ? memfd_create("tls", MFD_CLOEXEC) : fd;
}

/* Adds to the copy. False with errno. */
static bool keep(struct tls_file *file, const char *bytes, size_t size) {
    if (file->copy < 0)
        file->copy = anonymous_file();
    if (file->copy < 0)
        return false;
    for (size_t kept = 0; kept < size;) {
        ssize_t wrote = write(file->copy, bytes + kept, size - kept);
        if (wrote < 0 && errno != EINTR)
            return false;
        kept += wrote > 0 ? (size_t)wrote : 0;
    }
    file->length += size;
    return true;
}

/* All of it has been read. */
static enum outcome finish(struct tls_file *file, struct trouble *why) {
    if (file->length == 0)
        return tls_file_refuse(file, "it is empty", why);
    close(file->from);
    file->from = -1;
    snprintf(file->name, sizeof file->name, "/proc/self/fd/%d", file->copy);
    return DONE;
}

enum outcome tls_file_read(struct tls_file *file, short revents, struct trouble *why) {
    while (file->from >= 0) {
        char bytes[CHUNK_BYTES];
        ssize_t got = read(file->from, bytes, sizeof bytes);
        bool kept = got <= 0 || keep(file, bytes, (size_t)got);

        explicit_bzero(bytes, sizeof bytes);
        if (!kept)
            return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot keep the %s in memory: %s",
                               file->what, strerror(errno));
        if (file->length > MOST_BYTES)
            return tls_file_refuse(file, "it is longer than 4 MiB", why);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return STOPPED;
        if (got < 0 && errno != EINTR)
            return tls_file_refuse(file, strerror(errno), why);
        if (got == 0 && file->fifo && file->length == 0 && !(revents & POLLHUP))
            return STOPPED; /* its writer is still to come */
        if (got == 0)
            return finish(file, why);
    }
    return DONE;
}

const char *tls_file_name(const struct tls_file *file) {
    const struct tls_file *read = file->same ? file->same : file;

    return read->copy >= 0 ? read->name : read->path;
}

void tls_file_close(struct tls_file *file) {
    if (file->from >= 0)
        close(file->from);
    if (file->copy >= 0)
        close(file->copy);
    tls_file_init(file, file->what);
}
