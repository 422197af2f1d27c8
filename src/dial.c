#include "dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"

enum { NEXT_ADDRESS_MS = 250, BACKLOG_FULL_MS = 10 };

/* A look-up belongs to two: the thread that makes it and the dial that waits for it. Whoever
 * lets go last frees it, so a dial may leave a name server that never answers behind. */
struct lookup {
    char host[256], port[6];
    int done; /* eventfd: readable when the answer is there */
    int error;
    struct addrinfo *found;
    atomic_int owners;
};

static const struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

static void lookup_let_go(struct lookup *lookup) {
    if (atomic_fetch_sub(&lookup->owners, 1) != 1)
        return;
    if (lookup->found)
        freeaddrinfo(lookup->found);
    close(lookup->done);
    free(lookup);
}

static void *lookup_run(void *arg) {
    struct lookup *lookup = arg;
    uint64_t one = 1;

    lookup->error = getaddrinfo(lookup->host, lookup->port, &wanted, &lookup->found);
    if (lookup->error)
        lookup->found = NULL;
    while (write(lookup->done, &one, sizeof one) < 0 && errno == EINTR)
        ;
    lookup_let_go(lookup);
    return NULL;
}

/* Every signal is blocked in the thread: they belong to the loop. */
static int thread_start(struct lookup *lookup) {
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_t thread;
    int error;

    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&thread, &attributes, lookup_run, lookup);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

static struct lookup *lookup_start(const struct address *address) {
    struct lookup *lookup = calloc(1, sizeof *lookup);
    int error;

    if (!lookup)
        return NULL;
    memcpy(lookup->host, address->host, sizeof lookup->host);
    memcpy(lookup->port, address->port, sizeof lookup->port);
    lookup->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (lookup->done < 0) {
        free(lookup);
        return NULL;
    }
    atomic_init(&lookup->owners, 2);
    error = thread_start(lookup);
    if (error) {
        close(lookup->done);
        free(lookup);
        errno = error;
        return NULL;
    }
    return lookup;
}

static enum outcome no_connection(const struct dial *dial, struct trouble *why) {
    if (dial->last_error == EMFILE || dial->last_error == ENFILE)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot connect to %s: %s",
                           dial->address->shown, strerror(dial->last_error));
    return trouble_say(why, FAILED, EXIT_UNREACHABLE,
                       "cannot connect to %s: %s: check the address and that the server runs",
                       dial->address->shown, strerror(dial->last_error));
}

static int open_socket(int family) {
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    if (fd >= 0 && family != AF_UNIX) {
        /* Requests are small and are waited for; a peer that vanished is to be noticed. */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
    return fd;
}

/* One attempt. *fd is the socket if it is connected already (usual on loopback), else -1 and
 * the socket joins the pending ones; false if it failed at once. */
static bool attempt(struct dial *dial, int family, const struct sockaddr *to, socklen_t length,
                    int *fd) {
    int made = open_socket(family);

    *fd = -1;
    if (made < 0) {
        dial->last_error = errno;
        return false;
    }
    if (connect(made, to, length) == 0) {
        *fd = made;
        return true;
    }
    if (errno != EINPROGRESS) {
        dial->last_error = errno;
        close(made);
        return false;
    }
    dial->pending[dial->count++] = (struct pollfd){.fd = made, .events = POLLOUT};
    return true;
}

/* Tries addresses until one is connected, one is pending, or none is left. */
static void try_next(struct dial *dial, int *fd) {
    bool begun = false;

    *fd = -1;
    while (dial->next && dial->count < DIAL_AT_ONCE && !begun) {
        struct addrinfo *to = dial->next;
        dial->next = to->ai_next;
        begun = attempt(dial, to->ai_family, to->ai_addr, to->ai_addrlen, fd);
    }
    dial->next_ms = dial->next ? clock_now_ms() + NEXT_ADDRESS_MS : CLOCK_NEVER;
}

static enum outcome dial_unix(struct dial *dial, int *fd, struct trouble *why) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t length = strlen(dial->address->path);

    if (length >= sizeof to.sun_path)
        return trouble_say(why, FAILED, EXIT_CONFIG, "the socket's path is too long: %s",
                           dial->address->path);
    memcpy(to.sun_path, dial->address->path, length + 1);
    dial->next_ms = CLOCK_NEVER;
    if (attempt(dial, AF_UNIX, (const struct sockaddr *)&to, sizeof to, fd))
        return DONE;
    /* EAGAIN: the server lives, but its backlog is full (a crowd of waiters has come at the
     * same time). A blocking connect would queue up; we come back in a moment. */
    if (dial->last_error != EAGAIN)
        return no_connection(dial, why);
    dial->next_ms = clock_now_ms() + BACKLOG_FULL_MS;
    return DONE;
}

/* Literal addresses without getaddrinfo(): it opens files and sockets of its own. */
static bool dial_literal(struct dial *dial, int *fd) {
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    in_port_t port = htons((in_port_t)strtoul(dial->address->port, NULL, 10));

    *fd = -1;
    if (inet_pton(AF_INET, dial->address->host, &four.sin_addr) == 1) {
        four.sin_port = port;
        attempt(dial, AF_INET, (const struct sockaddr *)&four, sizeof four, fd);
        return true;
    }
    if (inet_pton(AF_INET6, dial->address->host, &six.sin6_addr) == 1) {
        six.sin6_port = port;
        attempt(dial, AF_INET6, (const struct sockaddr *)&six, sizeof six, fd);
        return true;
    }
    return false;
}

enum outcome dial_start(struct dial *dial, const struct address *address, int *fd,
                        struct trouble *why) {
    *dial = (struct dial){.address = address, .next_ms = CLOCK_NEVER};
    *fd = -1;
    if (address->kind == ADDRESS_UNIX)
        return dial_unix(dial, fd, why);
    if (dial_literal(dial, fd))
        return *fd >= 0 || dial->count > 0 ? DONE : no_connection(dial, why);
    dial->lookup = lookup_start(address);
    if (!dial->lookup)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot look up '%s': %s", address->host,
                           strerror(errno));
    return DONE;
}

struct pollfd *dial_watch(struct dial *dial, unsigned *count, int64_t *deadline_ms) {
    if (dial->lookup) {
        dial->pending[0] = (struct pollfd){.fd = dial->lookup->done, .events = POLLIN};
        *count = 1;
        return dial->pending;
    }
    *count = dial->count;
    *deadline_ms = clock_earlier(*deadline_ms, dial->next_ms);
    return dial->pending;
}

static enum outcome lookup_answered(struct dial *dial, int *fd, struct trouble *why) {
    struct lookup *lookup = dial->lookup;
    uint64_t done;

    if (read(lookup->done, &done, sizeof done) != sizeof done)
        return DONE; /* not yet */
    dial->lookup = NULL;
    if (lookup->error) {
        int error = lookup->error;
        lookup_let_go(lookup);
        return trouble_say(why, FAILED, EXIT_UNREACHABLE, "cannot look up '%s': %s",
                           dial->address->host, gai_strerror(error));
    }
    dial->found = dial->next = lookup->found;
    lookup->found = NULL;
    lookup_let_go(lookup);
    try_next(dial, fd);
    return *fd >= 0 || dial->count > 0 ? DONE : no_connection(dial, why);
}

/* The first attempt that has connected; those that failed are closed. */
static int collect(struct dial *dial) {
    for (unsigned i = 0; i < dial->count;) {
        int fd = dial->pending[i].fd, error = 0;
        socklen_t length = sizeof error;
        if (!dial->pending[i].revents) {
            i++;
            continue;
        }
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
        dial->pending[i] = dial->pending[--dial->count];
        if (!error)
            return fd;
        dial->last_error = error;
        close(fd);
    }
    return -1;
}

enum outcome dial_step(struct dial *dial, int *fd, struct trouble *why) {
    *fd = -1;
    if (dial->lookup)
        return lookup_answered(dial, fd, why);
    if (dial->address->kind == ADDRESS_UNIX && dial->count == 0)
        return clock_now_ms() < dial->next_ms ? DONE : dial_unix(dial, fd, why);
    *fd = collect(dial);
    if (*fd < 0 && (dial->count == 0 || clock_now_ms() >= dial->next_ms))
        try_next(dial, fd);
    if (*fd < 0 && dial->count == 0)
        return no_connection(dial, why);
    return DONE;
}

void dial_end(struct dial *dial) {
    for (unsigned i = 0; i < dial->count && !dial->lookup; i++)
        close(dial->pending[i].fd);
    if (dial->lookup)
        lookup_let_go(dial->lookup);
    if (dial->found)
        freeaddrinfo(dial->found);
    *dial = (struct dial){.next_ms = CLOCK_NEVER};
}
