/* local_space_test.c - 5,000 names in a directory of 1 MiB: one after the other, and by 20
 * processes of one user and of two at the same time. Nobody is refused, no two hold a lock at once,
 * and no fence falls. */
#include "local_queue.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>

enum { NAMES = 5000, ACTORS = 20, NEAR = 8, USES = 2, ALICE = 54321, BOB };

/* What all processes see of a name. */
struct witness {
    _Atomic int holder; /* 0: nobody */
    _Atomic uint64_t fence;
};

struct world {
    struct witness names[NAMES];
    _Atomic int wrong;
};

static char directory[256];
static struct world *world;

static void tell(const char *what, const char *key, const struct local *local) {
    fprintf(stderr, "# %s: %s: %s\n", key, what, local->why.text);
    atomic_fetch_add(&world->wrong, 1);
}

/* Whoever holds it says so, and looks whether somebody else has. */
static void use_held(struct local *local, const char *key, int name, int number) {
    struct witness *witness = &world->names[name];
    uint64_t fence = local->answer.fence;

    if (atomic_exchange(&witness->holder, number) != 0)
        tell("held by two", key, local);
    if (atomic_exchange(&witness->fence, fence) >= fence)
        tell("a fence has fallen", key, local);
    if (number % 3 == 0)
        sched_yield();
    if (atomic_exchange(&witness->holder, 0) != number)
        tell("held by two", key, local);
    if (release(local, key, number) != DONE)
        tell("lost", key, local);
}

/* Asks for it, waiting in the queue if `waits`. */
static void use(struct local *local, int name, int number, bool waits) {
    char key[32];
    enum outcome outcome;

    snprintf(key, sizeof key, "name %d", name);
    if (waits)
        outcome = wait_for(local, key, number) ? DONE : FAILED;
    else
        outcome = local_ask(local, ASK_ACQUIRE, key, token_of(number), number, WAIT_TTL_MS);
    if (outcome == DONE)
        use_held(local, key, name, number);
    else if (outcome != HELD)
        tell("refused", key, local);
}

/* The actors go through the names side by side, NEAR of them at a time, so that they meet. */
static void go_through(int number) {
    struct local local;
    unsigned seed = (unsigned)number;

    if (local_open(&local, directory) != DONE) {
        tell("not opened", directory, &local);
        return;
    }
    local.access.reply_timeout_ms = 60000; /* a slow machine has all the time it needs */
    for (int i = 0; i < NAMES * USES / ACTORS; i++) {
        int name = i * ACTORS / USES + (int)(rand_r(&seed) % NEAR);

        use(&local, name % NAMES, number, i % 5 == 0);
    }
    local_close(&local);
}

static void start(int number, uid_t user) {
    pid_t child = fork();

    if (child != 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (user && (setgid(user) != 0 || setuid(user) != 0))
        tell("no other user", "", NULL);
    else
        go_through(number);
    _exit(0);
}

static void run_beside(const char *sentence, const uid_t users[2]) {
    memset(world, 0, sizeof *world);
    for (int i = 1; i <= ACTORS; i++)
        start(i, users[i % 2]);
    while (wait(NULL) > 0)
        ;
    check(world->wrong == 0, "%s", sentence);
}

static void run_in_turn(void) {
    struct local local;

    if (local_open(&local, directory) != DONE)
        exit(2);
    for (int name = 0; name < NAMES; name++)
        use(&local, name, 1, false);
    for (int name = 0; name < NAMES; name += 100)
        use(&local, name, 1, false);
    local_close(&local);
    check(world->wrong == 0, "5,000 names, one after the other");
}

static bool mount_small(const char *options) {
    umount2(directory, MNT_DETACH);
    return mount("tmpfs", directory, "tmpfs", 0, options) == 0;
}

/* One user gives back what another has acquired: none of its files can be removed by that one. */
static void run_across(void) {
    struct local alice, bob;
    char key[32];

    memset(world, 0, sizeof *world);
    if (local_open(&alice, directory) != DONE || seteuid(ALICE) != 0 ||
        local_open(&bob, directory) != DONE)
        exit(2);
    for (int name = 0; name < NAMES; name++) {
        snprintf(key, sizeof key, "name %d", name);
        if (seteuid(0) != 0 || seteuid(ALICE) != 0 ||
            local_ask(&alice, ASK_ACQUIRE, key, token_of(1), 1, WAIT_TTL_MS) != DONE)
            tell("refused", key, &alice);
        if (seteuid(0) != 0 || seteuid(BOB) != 0 || release(&bob, key, 1) != DONE)
            tell("not given back", key, &bob);
        if (name % 16 == 0)
            local_reclaim((struct local_store *)bob.store, clock_now_ms() + 20000);
    }
    if (seteuid(0) != 0)
        exit(2);
    local_close(&alice);
    local_close(&bob);
    check(world->wrong == 0, "what one user acquires and another gives back");
}

int main(void) {
    static const uid_t one[2] = {0, 0}, two[2] = {ALICE, BOB};

    signal(SIGPIPE, SIG_IGN);
    local_make(directory);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        !mount_small("size=1m,mode=700")) {
        check_skip("5,000 names in 1 MiB", "nothing can be mounted here");
        local_remove(directory);
        return check_done();
    }
    world = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (world == MAP_FAILED)
        return 2;
    run_in_turn();
    run_beside("5,000 names, by 20 processes", one);
    if (!mount_small("size=1m,mode=1777"))
        return 2;
    run_beside("the same in a shared directory, by two users", two);
    if (!mount_small("size=1m,mode=1777"))
        return 2;
    run_across();
    umount2(directory, MNT_DETACH);
    local_remove(directory);
    return check_done();
}
