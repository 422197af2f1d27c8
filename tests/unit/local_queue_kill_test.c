/* local_queue_kill_test.c - a process that joins the queue, leaves it, or hands the lock over,
 * killed between any two of its system calls: the others are served all the same, in order. */
#include "local_queue.h"

#include <sys/ptrace.h>

enum { STOPS_MAX = 2000, UNTRACED = 9, OTHERS_MAX = 17, ACTOR = 90 };

static char directory[256];

/* The lock is held by number 0; 1 to `count` wait, and live. */
struct world {
    struct local all[OTHERS_MAX + 1];
    int count;
    int64_t ticket; /* of the first of them; 0: as they come */
};

static enum outcome stand_with_ticket(struct local *local, int number, int64_t ticket) {
    char id[REQUEST_ID_BYTES + 1];
    struct request request = {.kind = ASK_ACQUIRE, .id = id};

    snprintf(id, sizeof id, "%032d", number);
    if (local_open(local, directory) != DONE)
        exit(2);
    local_wait_begin((struct local_store *)local->store, &request);
    wait_of(local)->ticket = ticket;
    return ask_waiting(local, "k", number);
}

static void world_begin(struct world *world, int count, int64_t ticket) {
    world->count = count;
    if (local_open(&world->all[0], directory) != DONE ||
        local_ask(&world->all[0], ASK_ACQUIRE, "k", token_of(0), 0, WAIT_TTL_MS) != DONE)
        exit(2);
    for (int i = 1; i <= count; i++)
        if (stand_with_ticket(&world->all[i], i, ticket ? ticket + i : 0) != HELD)
            exit(2);
}

/* Whoever has the lock gives it back, and all the others are served in their order. */
static bool is_well(struct world *world) {
    struct local *all = world->all;
    bool well = local_ask(&all[0], ASK_PEEK, "k", NULL, 0, 0) == DONE;
    int from = 1;

    /* Whom it was handed to knows it; or that he is first, where the one before him died with it.
     */
    if (well && (strcmp(all[0].answer.holder, token_of(1)) == 0 ||
                 (all[0].answer.ttl_ms == 0 && record_of(directory, "k").claims > 0))) {
        well = was_rung(&all[1]) && ask_waiting(&all[1], "k", 1) == DONE;
        /* And the next one, that he is first. */
        well = well && (world->count < 2 || was_rung(&all[2]));
        from = 2;
    } else if (well && all[0].answer.ttl_ms == 0) {
        well = world->count == 0;
    }
    for (int i = from; i <= world->count && well; i++) {
        char holder[TOKEN_MAX_BYTES + 1];

        snprintf(holder, sizeof holder, "%s",
                 i == from && from == 1 ? all[0].answer.holder : token_of(i - 1));
        well = local_ask(&all[0], ASK_RELEASE, "k", holder, NOBODYS, 0) == DONE &&
               local_is_held(&all[0], "k", token_of(i)) && was_rung(&all[i]) &&
               ask_waiting(&all[i], "k", i) == DONE;
        if (!well)
            printf("# %d is not served after '%s': '%s'\n", i, holder, all[0].answer.holder);
    }
    return well;
}

static void world_end(struct world *world) {
    for (int i = 0; i <= world->count; i++)
        local_close(&world->all[i]);
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

static void act(bool (*body)(struct local *)) {
    struct local local;

    signal(SIGPIPE, SIG_IGN);
    if (local_open(&local, directory) != DONE)
        _exit(2);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(UNTRACED);
    raise(SIGSTOP);
    _exit(body(&local) ? 0 : 1);
}

/* Runs `body` in a child for each of its stops (by default for every third, before a call or after
 * it), killed there, beside `count` others. */
static void test_kills(const char *sentence, bool (*body)(struct local *), int count,
                       int64_t ticket) {
    struct world world;
    bool killed = true, well = true;
    int stops = 1, status = 0;

    for (; killed && well && stops < STOPS_MAX; stops += (int)rounds(3, 1)) {
        pid_t child;

        world_begin(&world, count, ticket);
        child = fork();
        if (child == 0)
            act(body);
        killed = kill_at(child, stops, &status);
        well = is_well(&world);
        world_end(&world);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == UNTRACED)
        check_skip(sentence, "nothing can be traced here");
    else
        check(well && !killed && WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", sentence);
    printf("# %d stops\n", stops);
}

static bool joins_and_leaves(struct local *local) {
    return ask_waiting(local, "k", ACTOR) == HELD &&
           local_ask(local, ASK_WITHDRAW, "k", token_of(ACTOR), ACTOR, 0) == DONE;
}

/* With a ticket older than the others': he is put in front of them. */
static bool is_first_and_leaves(struct local *local) {
    local_close(local);
    return stand_with_ticket(local, ACTOR, 5) == HELD && local->answer.place == 0 &&
           local_ask(local, ASK_WITHDRAW, "k", token_of(ACTOR), ACTOR, 0) == DONE;
}

static bool releases(struct local *local) {
    return release(local, "k", 0) == DONE;
}

static bool breaks(struct local *local) {
    return local_ask(local, ASK_BREAK, "k", token_of(0), ACTOR, 0) == DONE;
}

static bool is_granted(struct local *local) {
    local_close(local);
    return stand_with_ticket(local, ACTOR, 5) == HELD && release(local, "k", 0) == DONE &&
           local_is_held(local, "k", token_of(ACTOR));
}

static bool confirms_and_releases(struct local *local) {
    return is_granted(local) && ask_waiting(local, "k", ACTOR) == DONE &&
           release(local, "k", ACTOR) == DONE;
}

static bool is_granted_and_leaves(struct local *local) {
    return is_granted(local) &&
           local_ask(local, ASK_WITHDRAW, "k", token_of(ACTOR), ACTOR, 0) == DONE;
}

int main(void) {
    const int64_t later = (int64_t)1 << 60;

    signal(SIGPIPE, SIG_IGN);
    local_make(directory);
    test_kills("killed while it joins the queue or leaves it, a process harms nobody",
               joins_and_leaves, 2, 0);
    test_kills("nor when the queue moves to a larger place for it", joins_and_leaves, 16, 0);
    test_kills("nor when it is put in front of others, or leaves there", is_first_and_leaves, 2,
               later);
    test_kills("killed while it releases, the lock stays held or the first is told", releases, 3,
               0);
    test_kills("the same is true of one who breaks it", breaks, 2, 0);
    test_kills("killed while it confirms and releases, it has the lock or the next is told",
               confirms_and_releases, 2, later);
    test_kills("killed while it gives back what it was granted, too", is_granted_and_leaves, 2,
               later);
    local_remove(directory);
    return check_done();
}
