#include "sibling.h"

#ifndef VLOCK_SIBLING

enum outcome sibling_become(const struct address *address, const struct child_found *found,
                            struct trouble *why) {
    (void)address;
    (void)found;
    (void)why;
    return DONE;
}

#else

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool needed(const struct address *address) {
    unsigned char bytes[16];

    if (address->kind != ADDRESS_TCP)
        return false;
    return address->tls || (strcmp(address->host, "localhost") != 0 &&
                            inet_pton(AF_INET, address->host, bytes) != 1 &&
                            inet_pton(AF_INET6, address->host, bytes) != 1);
}

/* Runs DIRECTORY/RELATIVE; returns if that cannot be done. */
static void try_at(const char *directory, const char *relative, char **argv) {
    char path[8192];

    if ((size_t)snprintf(path, sizeof path, "%s/%s", directory, relative) < sizeof path)
        execv(path, argv);
}

enum outcome sibling_become(const struct address *address, const struct child_found *found,
                            struct trouble *why) {
    char own[4096];
    ssize_t length;
    char *slash;
    sigset_t mask;

    if (!needed(address))
        return DONE;
    length = readlink("/proc/self/exe", own, sizeof own - 1);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    child_found_restore(found, &mask);
    own[length > 0 ? length : 0] = '\0';
    slash = strrchr(own, '/');
    if (slash) {
        *slash = '\0';
        try_at(own, "vlock-full", found->title.argv);  /* beside us: a build tree */
        try_at(own, VLOCK_SIBLING, found->title.argv); /* from bin to libexec */
    }
    return trouble_say(why, FAILED, EXIT_SYSTEM,
                       "TLS and host names need 'vlock-full', which cannot be run: %s: install "
                       "vlock completely, or name the server by its address",
                       strerror(errno));
}

#endif
