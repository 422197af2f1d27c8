/* keeper_alone.c - how the forked process lets go of everything that is not its own.
 *
 * Whoever waits for the end of acquire's output (x=$(vlock acquire ...)), for the terminal to hang
 * up, or for a file system to be unmounted, must not wait for the keeper. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "keeper_part.h"
#include "text.h"

enum { MINE = STORE_KEEPS + 3, PATH_BYTES = 4096 };

/* `path` and `suffix`, absolute. */
static char *absolute(const char *path, const char *suffix) {
    char directory[PATH_BYTES] = "", *made = NULL;

    if (*path != '/' && !getcwd(directory, sizeof directory))
        return NULL;
    if (asprintf(&made, "%s%s%s%s", directory, *directory ? "/" : "", path, suffix) < 0)
        return NULL;
    return made;
}

/* Files that are looked up from the directory, which is about to be left. */
static bool own_paths(struct keeper *keeper, struct context *ctx) {
    const char *file = ctx->options->value[OPT_TOKEN_FILE];
    struct access *access = &ctx->access;
    const char **paths[] = {&access->cacert, &access->cert, &access->key};
    bool done;

    keeper->log = file ? absolute(file, ".log") : NULL;
    done = !file || keeper->log;
    for (size_t i = 0; i < sizeof paths / sizeof *paths && done; i++)
        if (*paths[i])
            done = (*paths[i] = absolute(*paths[i], "")) != NULL;
    return done;
}

static bool is_mine(int fd, const int *mine, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (mine[i] == fd)
            return true;
    return fd < 3;
}

/* For a kernel before 5.9. */
static void close_listed(const int *mine, unsigned count) {
    DIR *all = opendir("/proc/self/fd");
    const struct dirent *entry;
    unsigned long long fd;

    while (all && (entry = readdir(all)))
        if (text_number(entry->d_name, INT32_MAX, &fd) && !is_mine((int)fd, mine, count) &&
            (int)fd != dirfd(all))
            close((int)fd);
    if (all)
        closedir(all);
}

/* Closes all but `mine` and 0 to 2. */
static void close_others(const int *mine, unsigned count) {
    unsigned from = 3;

    for (;;) {
        unsigned next = ~0U;

        for (unsigned i = 0; i < count; i++)
            if (mine[i] >= (int)from && (unsigned)mine[i] < next)
                next = (unsigned)mine[i];
        if (next > from && syscall(SYS_close_range, from, next - 1, 0U) != 0) {
            close_listed(mine, count);
            return;
        }
        if (next == ~0U)
            return;
        from = next + 1;
    }
}

/* False if there is no /dev/null here. */
static bool leave_outputs(void) {
    int null = open("/dev/null", O_RDWR | O_NOCTTY | O_CLOEXEC);
    bool done = null >= 0;

    for (int fd = 0; fd < 3 && done; fd++)
        done = dup2(null, fd) == fd;
    return done;
}

/* What ps shows; its words are not those of the command line, the token perhaps among them. */
static void rename_process(const struct keeper *keeper, const struct title *title) {
    char line[NAME_MAX_BYTES + 64];

    snprintf(line, sizeof line, "lock-keeper: keeps %s for process %ld", keeper->name,
             (long)keeper->process);
    title_set(title, "lock-keeper", line);
}

/* A keeper is told to end whatever acquire's parent had it ignore. */
static bool on_signal(void *arg, const struct signalfd_siginfo *info) {
    struct keeper *keeper = arg;

    switch (info->ssi_signo) {
    case SIGTERM:
    case SIGINT:
    case SIGHUP:
    case SIGQUIT:
        keeper->told++;
        return true;
    default:
        return false;
    }
}

static enum outcome own_signals(struct keeper *keeper, struct loop *loop, struct trouble *why) {
    static const int telling[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    for (size_t i = 0; i < sizeof telling / sizeof *telling; i++)
        sigaction(telling[i], &normal, NULL);
    close(loop->signals); /* it knows nothing of those that were ignored */
    loop->signals = -1;
    return loop_take_signals(loop, on_signal, keeper, why);
}

enum outcome keeper_become(struct keeper *keeper, struct context *ctx, struct trouble *why) {
    int mine[MINE];
    unsigned count;
    enum outcome outcome;

    keeper->name = ctx->name;
    if (!own_paths(keeper, ctx))
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot tell in which directory this is: %s",
                           strerror(errno));
    setsid();
    umask(077);
    if (chdir("/") != 0 || !leave_outputs())
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot leave this directory and terminal: %s",
                           strerror(errno));
    ctx->access.wire_log = NULL;
    loop_forked(&ctx->loop);
    outcome = own_signals(keeper, &ctx->loop, why);
    if (outcome != DONE)
        return outcome;
    count = store_forked(ctx->store, mine);
    mine[count++] = keeper->pidfd;
    mine[count++] = keeper->far;
    mine[count++] = ctx->loop.signals;
    close_others(mine, count);
    keeper->near = -1;
    rename_process(keeper, &ctx->found->title);
    return DONE;
}
