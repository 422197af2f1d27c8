/* local_reclaim_test.c - which files the local store removes, and what must not be lost by it: a
 * lock, a place in the queue, a word left for a former holder, a fence. */
#include "local_queue.h"

#include <errno.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <time.h>

#include "floor.h"
#include "lockfile.h"

enum { ALICE = 54321, BOB };

static char directory[256];

/* The last two are good. */
static const char *in_directory(const char *name) {
    static char texts[2][600];
    static int at;

    at = !at;
    snprintf(texts[at], sizeof texts[at], "%s/%s", directory, name);
    return texts[at];
}

static bool is_there(const char *name) {
    return access(in_directory(name), F_OK) == 0;
}

static bool look(struct local *local) {
    return local_reclaim((struct local_store *)local->store, clock_now_ms() + 20000);
}

/* Acquired, and given back. */
static uint64_t use(struct local *local, const char *key) {
    uint64_t fence;

    if (local_ask(local, ASK_ACQUIRE, key, "user", ID_1, 60000) != DONE)
        return 0;
    fence = local->answer.fence;
    return local_ask(local, ASK_RELEASE, key, "user", ID_1, 0) == DONE ? fence : 0;
}

static void write_record(const char *key, struct record *record) {
    int fd = open(in_directory(key), O_RDWR | O_CLOEXEC);

    if (fd < 0 || !record_write(fd, record))
        exit(2);
    close(fd);
}

/* What the record says of the last fence, as if the clock had been set back since. */
static void rewrite_fence(const char *key, uint64_t fence) {
    struct record record = record_of(directory, key);

    record.fence = fence;
    write_record(key, &record);
}

/* As one leaves it that had no descriptor left to tell the first who waits. */
static void free_it(const char *key) {
    struct record record = record_of(directory, key);

    record.token[0] = '\0';
    record.expires_ms = 0;
    write_record(key, &record);
}

static void test_what_is_removed(struct local *local) {
    struct local other;

    use(local, "idle");
    local_ask(local, ASK_ACQUIRE, "held", "user", ID_1, 60000);
    local_ask(local, ASK_ACQUIRE, "lapsed", "user", ID_1, 1);
    local_sleep_until(local->answer.asked_ms + 2);
    local_put(in_directory("foreign"), "precious", 8);
    use(local, "copy");
    if (rename(in_directory("copy"), in_directory("other")) != 0)
        exit(2);
    check(look(local) && !is_there("idle"), "the file of a lock that was given back is removed");
    check(is_there("held") && is_there("foreign") && is_there("other"),
          "one of a lock that is held stays, and what is no lock's file of that name");
    check(is_there("lapsed") &&
              local_send(local,
                         (struct request){.kind = ASK_RECOVER,
                                          .key = "lapsed",
                                          .token = "user",
                                          .ttl_ms = 1000,
                                          .fence = record_of(directory, "lapsed").fence},
                         ID_1) == DONE,
          "one of a lock that lapsed, too: its holder comes back");
    check(local_open(&other, directory) == DONE && use(&other, "idle") &&
              local_is_free(local, "idle"),
          "a name whose file was removed is a free lock, to be taken");
    local_close(&other);
    unlink(in_directory("foreign"));
    unlink(in_directory("other"));
}

static void test_in_use(struct local *local) {
    struct request request = {
        .kind = ASK_ACQUIRE, .key = "shown", .token = "user", .ttl_ms = 60000, .alive = true};
    struct local other, waiter;
    int fd;

    if (local_open(&other, directory) != DONE)
        exit(2);
    local_send(local, request, ID_1);
    local_send(&other,
               (struct request){.kind = ASK_RELEASE, .key = "shown", .token = "user", .tell = true},
               NOBODYS);
    request.kind = ASK_RENEW;
    check(look(&other) && local_send(local, request, ID_1) == LOST && local->answer.released,
          "what was left for a former holder that lives is there when it comes to look");
    check(look(&other) && !is_there("shown"), "and is removed after that");
    local_ask(local, ASK_ACQUIRE, "waited", token_of(0), 0, WAIT_TTL_MS);
    if (stand(&waiter, directory, "waited", 1) != HELD)
        exit(2);
    check(look(&other) && release(local, "waited", 0) == DONE && look(&other) &&
              is_woken(&waiter, "waited", 1) && ask_waiting(&waiter, "waited", 1) == DONE,
          "the file of one who waits, or was handed the lock, stays");
    release(&waiter, "waited", 1);
    local_close(&waiter);
    local_ask(local, ASK_ACQUIRE, "kept", token_of(0), 0, WAIT_TTL_MS);
    if (stand(&waiter, directory, "kept", 1) != HELD)
        exit(2);
    free_it("kept");
    check(look(&other) && is_there("kept") && ask_waiting(&waiter, "kept", 1) == DONE,
          "also while the lock is free, but he could not be told");
    release(&waiter, "kept", 1);
    local_close(&waiter);
    use(&other, "flocked");
    fd = open(in_directory("flocked"), O_RDWR | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX) != 0)
        exit(2);
    check(look(&other) && is_there("flocked"), "one that somebody has just now is passed over");
    close(fd);
    check(look(&other) && !is_there("flocked"), "until it is idle");
    local_close(&other);
}

static void test_opened_before(struct local *local) {
    struct local other;

    if (local_open(&other, directory) != DONE)
        exit(2);
    local_ask(local, ASK_ACQUIRE, "open", "user", ID_1, 60000);
    check(local_ask(&other, ASK_ACQUIRE, "open", "other", ID_2, 60000) == HELD &&
              local_ask(local, ASK_RELEASE, "open", "user", ID_1, 0) == DONE && look(local) &&
              !is_there("open"),
          "a file that somebody has open is removed all the same");
    check(local_ask(&other, ASK_ACQUIRE, "open", "other", ID_2, 60000) == DONE &&
              local_ask(local, ASK_ACQUIRE, "open", "user", ID_1, 1000) == HELD &&
              local_ask(local, ASK_RELEASE, "open", "user", ID_1, 0) == LOST,
          "he finds that, and the two meet in the file that was made since");
    local_ask(&other, ASK_RELEASE, "open", "other", ID_2, 0);
    local_close(&other);
}

static void test_fences(struct local *local) {
    const uint64_t ahead = (uint64_t)clock_wall_us() + 100000000000000; /* three years */
    uint64_t fence = use(local, "f");

    look(local);
    check(!is_there("f") && use(local, "f") > fence, "a fence grows when its file is made anew");
    rewrite_fence("f", ahead);
    look(local);
    check(!is_there("f") && use(local, "f") > ahead, "also when the clock was set back meanwhile");
    check(use(local, "new") > ahead, "so does that of another name: there is one floor");
    rewrite_fence("f", FLOOR_MAX + 5);
    check(look(local) && is_there("f") && use(local, "f") > FLOOR_MAX + 5,
          "a file with a fence that no clock gives stays, as the floor cannot be that high");
    unlink(in_directory("f"));
    unlink(in_directory(FLOOR_NAME));
    check(use(local, "after") > fence, "without a floor there is the clock");
}

/* `.fence` is as it was, and nothing is removed. */
static bool is_left_alone(struct local *local, const void *bytes, size_t length) {
    char found[100];
    int fd;
    bool left;

    if (!use(local, "idle") || look(local) || !is_there("idle") || !use(local, "idle"))
        return false;
    fd = open(in_directory(FLOOR_NAME), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    left = fd < 0 ||
           (read(fd, found, sizeof found) == (ssize_t)length && memcmp(found, bytes, length) == 0);
    if (fd >= 0)
        close(fd);
    return left;
}

static void test_hostile_floors(struct local *local) {
    const char *path = in_directory(FLOOR_NAME);
    char fence[300], other[300], bytes[40] = {1};
    struct floor floor;

    snprintf(fence, sizeof fence, "%s", path);
    snprintf(other, sizeof other, "%s-other", directory);
    local_put(fence, bytes, sizeof bytes);
    check(is_left_alone(local, bytes, sizeof bytes),
          "a damaged floor is not written to; locks are taken, and nothing is removed");
    local_put(fence, "", 0);
    check(is_left_alone(local, "", 0), "nor is an empty one");
    unlink(fence);
    local_put(other, "precious", 8);
    if (link(other, fence) != 0)
        exit(2);
    check(is_left_alone(local, "precious", 8), "nor another file of that name");
    unlink(fence);
    if (symlink(other, fence) != 0)
        exit(2);
    check(is_left_alone(local, "", 0), "nor what a link leads to");
    unlink(fence);
    mkfifo(fence, 0600);
    check(is_left_alone(local, "", 0), "nor is a FIFO waited for");
    unlink(fence);
    unlink(other);
    if (!floor_enter(&floor, &((struct local_store *)local->store)->dir, &local->loop, 0))
        exit(2);
    floor.fence = FLOOR_MAX * 4; /* as one who takes part may write */
    floor_leave(&floor, 0);
    unlink(in_directory("idle"));
    check(use(local, "idle") == FLOOR_MAX + 1 && use(local, "idle") == FLOOR_MAX + 2,
          "a floor beyond all clocks counts for as much as clocks will ever say");
    unlink(fence);
    unlink(in_directory("idle"));
}

static void test_others_at_the_floor(struct local *local) {
    struct floor floor;

    use(local, "idle");
    if (!floor_enter(&floor, &((struct local_store *)local->store)->dir, &local->loop, 0))
        exit(2);
    check(!local_reclaim((struct local_store *)local->store, clock_now_ms() + 5) &&
              is_there("idle") && use(local, "more"),
          "one who was stopped while he removed files keeps nobody from a new lock");
    floor_leave(&floor, 0);
    check(look(local) && !is_there("idle"), "and others remove them afterwards");
}

/* As many as are made: how many are there? */
static int count_files(void) {
    char command[400];
    FILE *out;
    int count = -1;

    snprintf(command, sizeof command, "find '%s' -type f ! -name '.*' | wc -l", directory);
    out = popen(command, "re");
    if (!out || fscanf(out, "%d", &count) != 1)
        exit(2);
    pclose(out);
    return count;
}

static void test_bounds(struct local *local) {
    char key[32];
    int most = 0;

    look(local);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "held %d", i);
        if (i < 40 && local_ask(local, ASK_ACQUIRE, key, "user", ID_1, 60000) != DONE)
            exit(2);
        snprintf(key, sizeof key, "used %d", i);
        if (!use(local, key))
            exit(2);
        most = count_files() > most ? count_files() : most;
    }
    check(most <= 2 * (42 + FLOOR_MADE_MOST), "what is idle is no more than what is not, and some");
    printf("# %d files at most\n", most);
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof key, "held %d", i);
        local_ask(local, ASK_RELEASE, key, "user", ID_1, 0);
    }
    look(local);
    check(count_files() <= 2, "and nothing when all is given back"); /* "held" and "lapsed" */
}

static void put_aside(const char *name, int seconds) {
    struct timespec times[2];

    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= seconds;
    times[1] = times[0];
    if (utimensat(AT_FDCWD, in_directory(name), times, AT_SYMLINK_NOFOLLOW) != 0)
        exit(2);
}

static void test_other_files(struct local *local) {
    struct local waiter;
    char bell[64];

    hold(directory, &waiter, "b");
    local_close(&waiter);
    if (stand(&waiter, directory, "b", 7) != HELD)
        exit(2);
    snprintf(bell, sizeof bell, ".bell-%s", wait_of(&waiter)->id);
    mkfifo(in_directory(".bell-dead"), 0600);
    mkfifo(in_directory(".bell-new"), 0600);
    local_put(in_directory(".new-dead"), "", 0);
    local_put(in_directory(".new-new"), "", 0);
    local_put(in_directory(".profile"), "", 0);
    put_aside(bell, 3600);
    put_aside(".bell-dead", 3600);
    put_aside(".new-dead", 3600);
    put_aside(".profile", 3600);
    check(look(local) && !is_there(".bell-dead") && !is_there(".new-dead"),
          "the bells and drafts of those who were killed are removed");
    check(is_there(bell) && is_there(".bell-new") && is_there(".new-new") && is_there(".profile"),
          "those of the living, new ones, and other files are not");
    local_close(&waiter);
}

/* ---- two users ---- */

/* Runs `body` as another user; what it returns. */
static int as_user(uid_t user, int (*body)(void)) {
    pid_t child = fork();

    if (child == 0)
        _exit(setgid(user) != 0 || setuid(user) != 0 ? 99 : body());
    return local_reap(child);
}

static int uses_shared(void) {
    struct local local;
    bool used = local_open(&local, directory) == DONE && use(&local, "shared");

    return used ? 0 : 1;
}

static int looks(void) {
    struct local local;

    return local_open(&local, directory) == DONE && look(&local) ? 0 : 1;
}

static int looks_with_small_files(void) {
    const struct rlimit small = {.rlim_cur = 100000, .rlim_max = 100000};

    return setrlimit(RLIMIT_FSIZE, &small) == 0 ? looks() : 2;
}

static struct stat status_of(const char *name) {
    struct stat status = {0};

    if (stat(in_directory(name), &status) != 0)
        exit(2);
    return status;
}

static bool is_hole(void) {
    struct stat status = status_of("shared");

    return status.st_size > RECORD_BYTES && status.st_blocks == 0;
}

static void test_holes(void) {
    struct local local;
    uint64_t fence, ahead = (uint64_t)clock_wall_us() + 1000000000000;
    char zeros[RECORD_BYTES] = {0};

    if (geteuid() != 0) {
        check_skip("another user's file is made a hole", "needs root");
        return;
    }
    chmod(directory, 01777);
    unlink(in_directory(FLOOR_NAME));
    if (as_user(ALICE, uses_shared) != 0 || local_open(&local, directory) != DONE)
        exit(2);
    rewrite_fence("shared", ahead);
    check(as_user(BOB, looks_with_small_files) == 0 && !is_hole() &&
              status_of("shared").st_size == RECORD_BYTES,
          "no file grows beyond a limit on its size");
    check(as_user(BOB, looks) == 0 && is_hole(),
          "another user's file takes no room when nobody needs it");
    check(local_is_free(&local, "shared") &&
              local_ask(&local, ASK_RELEASE, "shared", "user", NOBODYS, 0) == LOST && is_hole(),
          "it is a free lock, and stays a hole while it is only asked about");
    fence = use(&local, "shared");
    check(fence > ahead && !is_hole() && status_of("shared").st_blocks * 512 >= RECORD_BYTES,
          "taken again it is a file as before, with a greater fence");
    check(as_user(BOB, looks) == 0 && as_user(BOB, uses_shared) == 0 && as_user(BOB, looks) == 0 &&
              is_hole(),
          "as often as it is used");
    check(as_user(ALICE, looks) == 0 && !is_there("shared"), "its owner removes it");
    if (as_user(ALICE, uses_shared) != 0 ||
        local_ask(&local, ASK_ACQUIRE, "shared", "user", ID_1, 60000) != DONE)
        exit(2);
    check(as_user(BOB, looks) == 0 && local_is_held(&local, "shared", "user"),
          "one that is held stays what it is");
    local_put(in_directory("shared"), zeros, sizeof zeros);
    check(local_ask(&local, ASK_PEEK, "shared", NULL, 0, 0) == FAILED,
          "a file of zeros is a damaged one");
    if (truncate(in_directory("shared"), 100000000) != 0)
        exit(2);
    check(local_ask(&local, ASK_PEEK, "shared", NULL, 0, 0) == FAILED,
          "so is a hole that is not of this name");
    local_close(&local);
    chmod(directory, 0700);
}

int main(void) {
    struct local local;

    local_make(directory);
    if (local_open(&local, directory) != DONE)
        return 2;
    test_what_is_removed(&local);
    test_in_use(&local);
    test_opened_before(&local);
    test_fences(&local);
    test_hostile_floors(&local);
    test_others_at_the_floor(&local);
    test_bounds(&local);
    test_other_files(&local);
    test_holes();
    local_close(&local);
    local_remove(directory);
    return check_done();
}
