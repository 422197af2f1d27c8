/* A holder on the local store: it sees at once what takes the lock away, and nothing else wakes
 * it. */
#include <sys/resource.h>

#include "local.h"

enum { TTL_MS = 3600000, LONG_MS = 30000, SHORT_MS = 30 };

static char directory[256], file[320];

static void path_of(char path[320], const char *name) {
    snprintf(path, 320, "%s/%s", directory, name);
}

/* What somebody else does to the lock `key`, which is held with the token `ours`. */
typedef void act(struct local *other, const char *key);

static void break_it(struct local *other, const char *key) {
    local_ask(other, ASK_BREAK, key, "ours", ID_3, 0);
}

static void release_it(struct local *other, const char *key) {
    local_ask(other, ASK_RELEASE, key, "ours", NOBODYS, 0);
}

static void take_it(struct local *other, const char *key) {
    break_it(other, key);
    local_ask(other, ASK_ACQUIRE, key, "theirs", ID_4, TTL_MS);
}

static void take_it_alike(struct local *other, const char *key) {
    break_it(other, key);
    local_ask(other, ASK_ACQUIRE, key, "ours", ID_4, TTL_MS);
}

static void cut_it_short(struct local *other, const char *key) {
    local_ask(other, ASK_RESET, key, "ours", ID_3, TTL_MS / 2);
}

static void remove_it(struct local *other, const char *key) {
    (void)other, (void)key;
    unlink(file);
}

static void move_it(struct local *other, const char *key) {
    char elsewhere[320];

    (void)other, (void)key;
    path_of(elsewhere, "elsewhere");
    rename(file, elsewhere);
}

static void replace_it(struct local *other, const char *key) {
    char elsewhere[320];

    local_ask(other, ASK_ACQUIRE, "another", "theirs", ID_4, TTL_MS);
    (void)key;
    path_of(elsewhere, "another");
    rename(elsewhere, file);
}

static void damage_it(struct local *other, const char *key) {
    (void)other, (void)key;
    local_put(file, "garbage", 7);
}

static void remove_all(struct local *other, const char *key) {
    (void)other, (void)key;
    local_remove(directory);
}

static const struct harm {
    const char *what;
    act *act;
} harms[] = {{"broken", break_it},          {"given back by somebody else", release_it},
             {"broken and taken", take_it}, {"broken and taken with the same token", take_it_alike},
             {"cut short", cut_it_short},   {"removed", remove_it},
             {"renamed", move_it},          {"replaced", replace_it},
             {"damaged", damage_it},        {"removed with its directory", remove_all}};

static void lengthen_it(struct local *other, const char *key) {
    local_ask(other, ASK_EXTEND, key, "ours", ID_3, 5000);
}

static void look_at_it(struct local *other, const char *key) {
    local_ask(other, ASK_PEEK, key, NULL, 0, 0);
}

static void ask_for_it(struct local *other, const char *key) {
    local_ask(other, ASK_ACQUIRE, key, "theirs", ID_4, TTL_MS);
}

static void queue_for_it(struct local *other, const char *key) {
    local_send(other,
               (struct request){.kind = ASK_ACQUIRE,
                                .key = key,
                                .token = "theirs",
                                .ttl_ms = TTL_MS,
                                .waits = true},
               ID_4);
}

static void touch_it(struct local *other, const char *key) {
    (void)other, (void)key;
    chmod(file, 0640);
    chmod(file, 0600);
}

static void take_another(struct local *other, const char *key) {
    (void)key;
    local_ask(other, ASK_ACQUIRE, "another", "theirs", ID_4, TTL_MS);
    local_ask(other, ASK_RELEASE, "another", "theirs", ID_4, 0);
}

static const struct harm harmless[] = {{"extended by somebody who has the token", lengthen_it},
                                       {"looked at", look_at_it},
                                       {"asked for", ask_for_it},
                                       {"waited for", queue_for_it},
                                       {"touched", touch_it},
                                       {"not concerned", take_another}};

static void take(struct local *local, const char *key, bool alive) {
    local_make(directory);
    path_of(file, key);
    if (local_open(local, directory) != DONE || local_send(local,
                                                           (struct request){.kind = ASK_ACQUIRE,
                                                                            .key = key,
                                                                            .token = "ours",
                                                                            .ttl_ms = TTL_MS,
                                                                            .alive = alive},
                                                           ID_1) != DONE) {
        fprintf(stderr, "%s\n", local->why.text);
        exit(2);
    }
}

static enum outcome watch(struct local *local, const char *key, int64_t ms, bool *suspect) {
    struct request request = {
        .kind = ASK_RENEW, .key = key, .token = "ours", .ttl_ms = TTL_MS, .alive = true};

    return store_local.watch(local->store, &request, clock_after(clock_now_ms(), ms), suspect,
                             &local->why);
}

static bool is_suspect(struct local *local, const char *key, int64_t ms) {
    bool suspect = false;

    return watch(local, key, ms, &suspect) == DONE && suspect;
}

static bool is_calm(struct local *local, const char *key, int64_t ms) {
    bool suspect = true;

    return watch(local, key, ms, &suspect) == DONE && !suspect;
}

static enum outcome renew(struct local *local, const char *key) {
    return local_ask(local, ASK_RENEW, key, "ours", ID_1, TTL_MS);
}

/* `begun`: it watches already. */
static void test_harm(const struct harm *harm, bool begun) {
    struct local holder, other;

    take(&holder, "it", true);
    if (local_open(&other, directory) != DONE)
        exit(2);
    if (begun)
        check(is_calm(&holder, "it", 0), "a lock that is held is calm");
    harm->act(&other, "it");
    check(is_suspect(&holder, "it", LONG_MS), "a lock that was %s%s is suspect", harm->what,
          begun ? "" : " before the watch");
    local_close(&other);
    local_close(&holder);
    local_remove(directory);
}

static void test_harmless(const struct harm *harm) {
    struct local holder, other;

    take(&holder, "it", true);
    if (local_open(&other, directory) != DONE)
        exit(2);
    check(is_calm(&holder, "it", 0), "a lock that is held is calm");
    harm->act(&other, "it");
    check(is_calm(&holder, "it", SHORT_MS), "so is one that was %s", harm->what);
    break_it(&other, "it");
    check(is_suspect(&holder, "it", LONG_MS), "and its end is seen");
    local_close(&other);
    local_close(&holder);
    local_remove(directory);
}

static void test_renewals(void) {
    struct local holder, other;

    take(&holder, "it", false);
    if (local_open(&other, directory) != DONE)
        exit(2);
    for (int i = 0; i < 3; i++)
        check(is_calm(&holder, "it", SHORT_MS) && renew(&holder, "it") == DONE &&
                  is_calm(&holder, "it", SHORT_MS),
              "our own renewal is no cause for suspicion");
    cut_it_short(&other, "it");
    check(is_suspect(&holder, "it", LONG_MS) && is_suspect(&holder, "it", LONG_MS),
          "a lock is suspect until somebody asks");
    check(renew(&holder, "it") == DONE && is_calm(&holder, "it", SHORT_MS),
          "and calm again when it is ours");
    break_it(&other, "it");
    check(is_suspect(&holder, "it", LONG_MS) && renew(&holder, "it") == LOST, "and lost when not");
    check(is_calm(&holder, "it", SHORT_MS), "of a lost lock there is nothing to hear");
    local_close(&other);
    local_close(&holder);
    local_remove(directory);
}

/* In a child, after a while. */
static pid_t break_soon(void) {
    struct local other;
    pid_t child = fork();

    if (child != 0)
        return child;
    usleep(100000);
    if (local_open(&other, directory) != DONE)
        _exit(1);
    break_it(&other, "it");
    _exit(0);
}

static void test_sleep(void) {
    struct local holder;
    struct rlimit found, few;
    pid_t child;
    int fd;

    take(&holder, "it", true);
    child = break_soon();
    check(is_suspect(&holder, "it", INT64_MAX), "who sleeps for ever is woken");
    check(local_reap(child) == 0, "by the one that broke the lock");
    local_close(&holder);
    local_remove(directory);

    take(&holder, "it", true);
    child = break_soon();
    loop_sleep(&holder.loop, clock_now_ms() + 1); /* its timer is there */
    fd = dup(0);
    close(fd);
    getrlimit(RLIMIT_NOFILE, &found);
    few = (struct rlimit){.rlim_cur = (rlim_t)fd, .rlim_max = found.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    check(is_suspect(&holder, "it", LONG_MS), "who can watch nothing looks now and then");
    setrlimit(RLIMIT_NOFILE, &found);
    local_reap(child);
    local_close(&holder);
    local_remove(directory);
}

static bool stop(void *arg, const struct signalfd_siginfo *info) {
    (void)arg;
    return info->ssi_signo == SIGTERM;
}

static void test_signals(void) {
    struct local holder;
    bool suspect;

    take(&holder, "it", true);
    if (loop_take_signals(&holder.loop, stop, NULL, &holder.why) != DONE)
        exit(2);
    kill(getpid(), SIGUSR1);
    check(is_calm(&holder, "it", SHORT_MS), "a signal that is no matter does not end the sleep");
    kill(getpid(), SIGTERM);
    check(watch(&holder, "it", LONG_MS, &suspect) == STOPPED, "one that is does");
    kill(getpid(), SIGTERM);
    check(watch(&holder, "it", 0, &suspect) == STOPPED, "and is seen when there is no time left");
    check(is_calm(&holder, "it", SHORT_MS), "the watch goes on");
    local_close(&holder);
    local_remove(directory);
}

static void test_fork(void) {
    struct local holder;
    int kept[STORE_KEEPS];

    take(&holder, "it", true);
    check(is_calm(&holder, "it", 0), "a lock that is held is calm");
    store_local.forked(holder.store, kept);
    check(is_suspect(&holder, "it", LONG_MS), "a forked process asks first");
    check(renew(&holder, "it") == DONE && is_calm(&holder, "it", SHORT_MS), "and watches then");
    local_close(&holder);
    local_remove(directory);
}

int main(void) {
    for (size_t i = 0; i < sizeof harms / sizeof *harms; i++) {
        test_harm(&harms[i], true);
        test_harm(&harms[i], false);
    }
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        test_harmless(&harmless[i]);
    test_renewals();
    test_sleep();
    test_signals();
    test_fork();
    return check_done();
}
