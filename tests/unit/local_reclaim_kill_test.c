/* local_reclaim_kill_test.c - a process that removes what nobody needs, or makes a file anew,
 * killed between any two of its system calls: no lock is lost, none is stuck, and no fence falls.
 */
#include "local_queue.h"

#include <sys/ptrace.h>

#include "floor.h"

enum { STOPS_MAX = 2000, UNTRACED = 9, NOT_ROOT = 10, IDLE = 2, ALICE = 54321 };

static char directory[256];
static const uint64_t ahead = (uint64_t)1 << 52; /* beyond the clock */

/* Some locks are idle, one is held, one lapsed, one waited for. */
struct world {
    struct local local, waiter;
    uint64_t fences[IDLE], lapsed;
};

static uint64_t use(struct local *local, const char *key) {
    uint64_t fence;

    if (local_ask(local, ASK_ACQUIRE, key, "user", ID_1, 60000) != DONE)
        return 0;
    fence = local->answer.fence;
    return local_ask(local, ASK_RELEASE, key, "user", ID_1, 0) == DONE ? fence : 0;
}

static const char *idle(int number) {
    static char key[16];

    snprintf(key, sizeof key, "idle%d", number);
    return key;
}

/* The last idle one as a clock since set back would have left it. */
static void put_ahead(struct world *world) {
    struct record record = record_of(directory, idle(IDLE - 1));
    char path[600];
    int fd;

    snprintf(path, sizeof path, "%s/%s", directory, idle(IDLE - 1));
    fd = open(path, O_RDWR | O_CLOEXEC);
    record.fence = world->fences[IDLE - 1] = ahead;
    if (fd < 0 || !record_write(fd, &record))
        exit(2);
    close(fd);
}

static void world_begin(struct world *world) {
    if (local_open(&world->local, directory) != DONE)
        exit(2);
    for (int i = 0; i < IDLE; i++)
        world->fences[i] = use(&world->local, idle(i));
    put_ahead(world);
    local_ask(&world->local, ASK_ACQUIRE, "lapsed", "user", ID_1, 1);
    world->lapsed = world->local.answer.fence;
    local_ask(&world->local, ASK_ACQUIRE, "held", "user", ID_1, 60000);
    if (local_ask(&world->local, ASK_ACQUIRE, "k", token_of(0), 0, WAIT_TTL_MS) != DONE ||
        stand(&world->waiter, directory, "k", 1) != HELD)
        exit(2);
    local_sleep_until(world->local.answer.asked_ms + 2);
}

static bool is_well(struct world *world) {
    struct local *local = &world->local;
    struct request recover = {.kind = ASK_RECOVER,
                              .key = "lapsed",
                              .token = "user",
                              .ttl_ms = 60000,
                              .fence = world->lapsed};
    struct local other;
    bool well = local_is_held(local, "held", "user") && local_is_held(local, "k", token_of(0)) &&
                local_send(local, recover, ID_1) == DONE && release(local, "k", 0) == DONE &&
                ask_waiting(&world->waiter, "k", 1) == DONE;

    if (!well || local_open(&other, directory) != DONE)
        return false;
    for (int i = 0; i < IDLE; i++)
        well = well && use(i % 2 ? &other : local, idle(i)) > world->fences[i];
    well = well && local_reclaim((struct local_store *)other.store, clock_now_ms() + 20000);
    local_close(&other);
    return well;
}

static void world_end(struct world *world) {
    local_close(&world->local);
    local_close(&world->waiter);
    local_remove(directory);
    mkdir(directory, 0700);
}

/* Lets the child go on to its `stops`th stop and kills it there. False if it had ended by then. */
static bool kill_at(pid_t child, int stops, int *status) {
    waitpid(child, status, 0);
    for (int i = 0; i < stops && WIFSTOPPED(*status); i++)
        if (ptrace(PTRACE_SYSCALL, child, NULL, NULL) != 0 || waitpid(child, status, 0) != child)
            break;
    if (!WIFSTOPPED(*status))
        return false;
    kill(child, SIGKILL);
    waitpid(child, status, 0);
    return true;
}

static void act(bool (*body)(struct local *), uid_t user) {
    struct local local;

    if (user && (setgid(user) != 0 || setuid(user) != 0))
        _exit(NOT_ROOT);
    if (local_open(&local, directory) != DONE)
        _exit(2);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(UNTRACED);
    raise(SIGSTOP);
    _exit(body(&local) ? 0 : 1);
}

/* Runs `body`, as `user` unless that is 0, in a child for each of its stops, killed there. */
static void test_kills(const char *sentence, bool (*body)(struct local *), uid_t user) {
    struct world world;
    bool killed = true, well = true;
    int stops = 0, status = 0;

    while (killed && well && ++stops < STOPS_MAX) {
        pid_t child;

        chmod(directory, user ? 01777 : 0700);
        world_begin(&world);
        child = fork();
        if (child == 0)
            act(body, user);
        killed = kill_at(child, stops, &status);
        well = is_well(&world);
        world_end(&world);
    }
    if (WIFEXITED(status) && (WEXITSTATUS(status) == UNTRACED || WEXITSTATUS(status) == NOT_ROOT))
        check_skip(sentence, "nothing can be traced, or it takes root");
    else
        check(well && !killed && WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", sentence);
    printf("# %d stops\n", stops);
}

static bool removes(struct local *local) {
    return local_reclaim((struct local_store *)local->store, clock_now_ms() + 20000);
}

static bool makes_anew(struct local *local) {
    return removes(local) && use(local, idle(IDLE - 1)) > ahead;
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    local_make(directory);
    test_kills("one that removes what nobody needs, killed at any instant", removes, 0);
    test_kills("one that makes it anew", makes_anew, 0);
    test_kills("one that makes holes of another user's files, and fills one", makes_anew, ALICE);
    local_remove(directory);
    return check_done();
}
