/* local_hostile_test.c - what others may have put, or left, where the local store looks. */
#include "local.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#include "localdir.h"

enum { STRANGER = 65534 };

static char directory[256], text[4096];

static const char *in_directory(const char *name) {
    snprintf(text, sizeof text, "%s/%s", directory, name);
    return text;
}

static bool refused(struct local *local, const char *key, enum exit_status status) {
    return local_ask(local, ASK_ACQUIRE, key, "alice", ID_1, 1000) == FAILED &&
           local->why.status == status && strstr(local->why.text, in_directory(key)) != NULL;
}

/* In a shared directory anybody may make one. */
static void test_second_name(struct local *local, const char *second) {
    struct local other;

    local_ask(local, ASK_ACQUIRE, "open", "alice", ID_1, 60000);
    if (link(in_directory("open"), second) != 0 || local_open(&other, directory) != DONE)
        exit(2);
    check(local_ask(local, ASK_RENEW, "open", "alice", ID_1, 60000) == DONE &&
              local_ask(&other, ASK_ACQUIRE, "open", "bob", ID_2, 1000) == HELD,
          "a second name of a lock's file changes nothing for its holder, nor for others");
    if (rename(second, in_directory("other")) != 0)
        exit(2);
    check(refused(&other, "other", EXIT_SYSTEM) &&
              strstr(other.why.text, "the file of another lock"),
          "under the name of another lock it is refused");
    unlink(in_directory("other"));
    check(local_ask(&other, ASK_RELEASE, "open", "alice", NOBODYS, 0) == DONE &&
              local_ask(&other, ASK_ACQUIRE, "open", "bob", ID_2, 1000) == DONE,
          "and it is given back and taken as ever");
    local_close(&other);
}

static void test_what_is_no_file(struct local *local) {
    const char *path = in_directory("fifo");
    char other[512];
    struct stat status;

    mkfifo(path, 0600);
    check(refused(local, "fifo", EXIT_SYSTEM), "a FIFO is no lock, and is not waited for");
    mkdir(in_directory("dir"), 0700);
    check(refused(local, "dir", EXIT_SYSTEM), "nor is a directory");
    snprintf(other, sizeof other, "%s-target", directory);
    if (symlink(other, in_directory("link")) != 0)
        exit(2);
    check(refused(local, "link", EXIT_SYSTEM) && lstat(other, &status) != 0,
          "a symbolic link is not followed, and nothing is made where it leads");
    local_put(other, "precious", 8);
    check(refused(local, "link", EXIT_SYSTEM) && strstr(local->why.text, "no plain file") &&
              stat(other, &status) == 0 && status.st_size == 8,
          "nor is one that leads somewhere");
    if (link(other, in_directory("hard")) != 0)
        exit(2);
    check(refused(local, "hard", EXIT_SYSTEM) && strstr(local->why.text, "damaged") &&
              stat(other, &status) == 0 && status.st_size == 8 && (status.st_mode & 07777) == 0600,
          "another file that was given a lock's name is neither written nor opened to others");
    unlink(other);
    test_second_name(local, other);
    for (int i = 0; i < 4; i++) {
        const char *names[] = {"fifo", "link", "hard", "dir"};

        remove(in_directory(names[i]));
    }
}

static void test_damage(struct local *local) {
    char bytes[3000];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)random();
    local_put(in_directory("empty"), "", 0);
    check(refused(local, "empty", EXIT_SYSTEM), "an empty file is damaged, not free");
    local_put(in_directory("random"), bytes, sizeof bytes);
    check(refused(local, "random", EXIT_SYSTEM), "random bytes are an error that names the file");
    check(local_ask(local, ASK_PEEK, "random", NULL, 0, 0) == FAILED &&
              local_ask(local, ASK_RELEASE, "random", "alice", ID_1, 0) == FAILED,
          "whatever is asked");
    local_ask(local, ASK_ACQUIRE, "cut", "alice", ID_1, 60000);
    if (truncate(in_directory("cut"), 20) != 0)
        exit(2);
    check(refused(local, "cut", EXIT_SYSTEM), "so is a lock's file that was truncated");
    unlink(in_directory("cut"));
    check(local_ask(local, ASK_ACQUIRE, "cut", "bob", ID_2, 1000) == DONE,
          "once it is removed the lock is free");
}

/* Changes the record of `key` as another machine, or another boot, would have left it. */
static void rewrite(const char *key, void (*change)(struct record *)) {
    int fd = open(in_directory(key), O_RDWR | O_CLOEXEC);
    struct record record;

    if (fd < 0 || record_read(fd, &record) != RECORD_GOOD)
        exit(2);
    change(&record);
    if (!record_write(fd, &record))
        exit(2);
    close(fd);
}

static void from_earlier_boot(struct record *record) {
    memset(record->place.boot, '0', RECORD_BOOT_BYTES);
}

static void from_elsewhere(struct record *record) {
    snprintf(record->place.machine, sizeof record->place.machine, "host:elsewhere");
}

static void of_another_name(struct record *record) {
    snprintf(record->key, sizeof record->key, "another");
}

static void test_places(struct local *local) {
    uint64_t fence;

    local_ask(local, ASK_ACQUIRE, "boot", "alice", ID_1, TTL_NONE);
    fence = local->answer.fence;
    rewrite("boot", from_earlier_boot);
    check(local_is_free(local, "boot") && local->answer.fence == fence,
          "a reboot frees what it interrupted, and keeps the fence");
    check(local_ask(local, ASK_ACQUIRE, "boot", "bob", ID_2, 1000) == DONE &&
              local->answer.fence > fence,
          "the lock is there to be taken");
    local_ask(local, ASK_ACQUIRE, "far", "alice", ID_1, 1);
    rewrite("far", from_elsewhere);
    local_sleep_until(local->answer.asked_ms + 1);
    check(local_ask(local, ASK_ACQUIRE, "far", "bob", ID_2, TTL_NONE) == DONE &&
              local->answer.fence > fence,
          "what another container of this kernel held is free when its time is over");
    rewrite("far", from_elsewhere);
    check(refused(local, "far", EXIT_SYSTEM) && strstr(local->why.text, "host:elsewhere"),
          "what it holds is an error");
    local_ask(local, ASK_ACQUIRE, "farther", "alice", ID_1, 1);
    rewrite("farther", from_elsewhere);
    rewrite("farther", from_earlier_boot);
    local_sleep_until(local->answer.asked_ms + 1);
    check(refused(local, "farther", EXIT_SYSTEM) && strstr(local->why.text, "host:elsewhere"),
          "what another kernel's machine holds is one, its time over or not");
    local_ask(local, ASK_ACQUIRE, "near", "alice", ID_1, 1000);
    local_ask(local, ASK_RELEASE, "near", "alice", ID_1, 0);
    rewrite("near", from_elsewhere);
    check(local_ask(local, ASK_ACQUIRE, "near", "bob", ID_2, 1000) == DONE,
          "what another machine gave back is free");
    rewrite("near", of_another_name);
    check(refused(local, "near", EXIT_SYSTEM), "a file of another name is nobody's lock");
}

static void test_removal(struct local *local) {
    struct local other;
    uint64_t fence;

    local_ask(local, ASK_ACQUIRE, "gone", "alice", ID_1, 60000);
    fence = local->answer.fence;
    if (local_open(&other, directory) != DONE)
        exit(2);
    unlink(in_directory("gone"));
    check(local_ask(local, ASK_RENEW, "gone", "alice", ID_1, 1000) == LOST,
          "a lock whose file was removed is lost, although we have it open");
    check(local_ask(local, ASK_ACQUIRE, "gone", "alice", ID_2, 60000) == DONE &&
              local->answer.fence > fence &&
              local_ask(&other, ASK_ACQUIRE, "gone", "bob", ID_3, 1000) == HELD,
          "taken again it is where others look, with a greater fence");
    local_remove(directory);
    check(local_ask(&other, ASK_ACQUIRE, "gone", "bob", ID_4, 60000) == DONE &&
              local_ask(local, ASK_RENEW, "gone", "alice", ID_2, 1000) == LOST &&
              strcmp(local->answer.holder, "bob") == 0,
          "the same is true of the directory");
    local_close(&other);
}

/* A child that flocks the lock's file as a vlock does, and was stopped there. */
static pid_t start_stopped(const char *path) {
    pid_t child = fork();

    if (child == 0) {
        int fd = open(path, O_RDWR | O_CLOEXEC);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (fd < 0 || flock(fd, LOCK_EX) != 0)
            _exit(1);
        raise(SIGSTOP);
        _exit(0);
    }
    waitpid(child, NULL, WUNTRACED);
    return child;
}

static bool stop(void *arg, const struct signalfd_siginfo *info) {
    (void)arg, (void)info;
    return true;
}

static void test_stopped_process(struct local *local) {
    struct request request = {.kind = ASK_PEEK, .key = "s"};
    int64_t start_ms;
    pid_t child;

    local_ask(local, ASK_ACQUIRE, "s", "alice", ID_1, 60000);
    child = start_stopped(in_directory("s"));
    start_ms = clock_now_ms();
    check(store_local.ask(local->store, &request, start_ms + 50, &local->answer, &local->why) ==
                  FAILED &&
              local->why.status == EXIT_UNREACHABLE && clock_now_ms() >= start_ms + 50,
          "a stopped process that keeps the file is waited for until the deadline");
    local->access.reply_timeout_ms = 30;
    check(local_send(local, request, ID_1) == FAILED && clock_now_ms() < start_ms + 5000,
          "and no longer than one reply may take");
    local->access.reply_timeout_ms = 5000;
    loop_take_signals(&local->loop, stop, NULL, NULL);
    raise(SIGUSR1);
    check(local_send(local, request, ID_1) == STOPPED, "a signal ends that wait");
    loop_close(&local->loop);
    loop_init(&local->loop);
    kill(child, SIGKILL);
    local_reap(child);
    check(local_is_held(local, "s", "alice"), "when it is killed the file is free again");
}

/* Runs `body` in a child with no rights but a stranger's (root only), or in namespaces of its
 * own; what it returns. */
static int in_child(int (*body)(void), uid_t uid) {
    pid_t child = fork();

    if (child == 0) {
        if (uid != 0 && (setgid(uid) != 0 || setuid(uid) != 0))
            _exit(99);
        if (uid == 0 &&
            (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0))
            _exit(99);
        _exit(body());
    }
    return local_reap(child);
}

static int open_fails(const char *path, enum exit_status status) {
    struct local local;
    enum outcome outcome = local_open(&local, path);
    bool told = outcome == FAILED && local.why.status == status;

    if (!told)
        fprintf(stderr, "# %s: %d %s\n", path, (int)local.why.status, local.why.text);
    local_close(&local);
    return told ? 0 : 1;
}

static int named_refused(void) {
    return open_fails(directory, EXIT_REFUSED);
}

static int take_fails(const char *key, enum exit_status status) {
    struct local local;
    bool told = local_open(&local, directory) == DONE &&
                local_ask(&local, ASK_ACQUIRE, key, "alice", ID_1, 1000) == FAILED &&
                local.why.status == status;

    if (!told)
        fprintf(stderr, "# %s: %d %s\n", key, (int)local.why.status, local.why.text);
    local_close(&local);
    return told ? 0 : 1;
}

static int new_lock_fails(void) {
    return take_fails("new", EXIT_CANNOT_WRITE);
}

static int closed_lock_fails(void) {
    return take_fails("closed", EXIT_REFUSED);
}

static int take_and_leave(void) {
    struct local local;
    bool taken = local_open(&local, directory) == DONE &&
                 local_ask(&local, ASK_ACQUIRE, "shared", "stranger", ID_1, 60000) == DONE;

    local_close(&local);
    return taken ? 0 : 1;
}

static int peek_shared(void) {
    struct local local;
    bool seen = local_open(&local, directory) == DONE && local_is_held(&local, "peek", "root");

    local_close(&local);
    return seen ? 0 : 1;
}

static mode_t mode_of(const char *name) {
    struct stat status;

    return stat(in_directory(name), &status) == 0 ? status.st_mode & 07777 : 0;
}

static void test_sharing(void) {
    struct local local;
    mode_t found;

    chmod(directory, 0770);
    check(named_refused() == 0, "a directory that others may write to must be sticky");
    chmod(directory, 01777);
    found = umask(077);
    check(take_and_leave() == 0 && mode_of("shared") == 01666,
          "in a shared directory files are shared, whatever the umask");
    chmod(directory, 01750);
    if (local_open(&local, directory) == DONE)
        local_ask(&local, ASK_ACQUIRE, "group", "root", ID_1, 1000);
    local_close(&local);
    check(mode_of("group") == 01640, "as the directory's mode says");
    umask(found);
    if (geteuid() != 0) {
        check_skip("users share locks", "needs root");
        return;
    }
    chmod(directory, 01777);
    unlink(in_directory("shared"));
    if (local_open(&local, directory) != DONE)
        exit(2);
    check(in_child(take_and_leave, STRANGER) == 0 &&
              local_ask(&local, ASK_ACQUIRE, "shared", "root", ID_2, 1000) == HELD &&
              strcmp(local.answer.holder, "stranger") == 0,
          "two users meet in a shared directory");
    local_ask(&local, ASK_ACQUIRE, "closed", "root", ID_1, 1000);
    chmod(in_directory("closed"), 01600);
    check(in_child(closed_lock_fails, STRANGER) == 0, "a file that is closed to us is refused");
    chmod(directory, 0755);
    local_ask(&local, ASK_ACQUIRE, "peek", "root", ID_1, 60000);
    check(in_child(peek_shared, STRANGER) == 0, "who may only read may look");
    check(in_child(new_lock_fails, STRANGER) == 0, "and a place that cannot be written is told");
    if (chown(directory, STRANGER, STRANGER) != 0 || chmod(directory, 0700) != 0)
        exit(2);
    local_ask(&local, ASK_ACQUIRE, "roots", "root", ID_1, 1);
    local_sleep_until(local.answer.asked_ms + 1);
    local_close(&local);
    unlink(in_directory("shared"));
    check(in_child(take_and_leave, STRANGER) == 0 && mode_of("roots") == 01600,
          "root's file in a user's directory is that user's");
}

static int full_tmpfs(void) {
    struct local local;
    char path[300], bytes[4096] = {0};
    int fd, wrong = 0;

    if (mount("tmpfs", directory, "tmpfs", 0, "size=64k,mode=700") != 0)
        return 99;
    if (local_open(&local, directory) != DONE)
        return 1;
    wrong += local_ask(&local, ASK_ACQUIRE, "before", "alice", ID_1, 60000) != DONE;
    snprintf(path, sizeof path, "%s/filler", directory);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(fd, bytes, sizeof bytes) > 0)
        ;
    close(fd);
    wrong += local_ask(&local, ASK_ACQUIRE, "new", "alice", ID_1, 1000) != FAILED ||
             local.why.status != EXIT_CANNOT_WRITE;
    wrong += local_ask(&local, ASK_RELEASE, "before", "alice", ID_1, 0) != DONE;
    wrong += local_ask(&local, ASK_ACQUIRE, "before", "bob", ID_2, 1000) != DONE;
    local_close(&local);
    if (mount("tmpfs", directory, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL) != 0 ||
        local_open(&local, directory) != DONE)
        return 1;
    wrong += !local_is_held(&local, "before", "bob");
    wrong += local_ask(&local, ASK_RELEASE, "before", "bob", ID_2, 0) != FAILED ||
             local.why.status != EXIT_CANNOT_WRITE;
    wrong += local_ask(&local, ASK_ACQUIRE, "new", "bob", ID_2, 1000) != FAILED ||
             local.why.status != EXIT_CANNOT_WRITE;
    local_close(&local);
    return wrong;
}

static int strange_file_system(void) {
    return mount("proc", directory, "proc", 0, NULL) != 0 ? 99 : open_fails(directory, EXIT_CONFIG);
}

static void report(int result, const char *sentence) {
    if (result == 99)
        check_skip(sentence, "needs root");
    else
        check(result == 0, "%s", sentence);
}

int main(void) {
    struct local local;

    local_make(directory);
    if (local_open(&local, directory) != DONE)
        return 2;
    test_what_is_no_file(&local);
    test_damage(&local);
    test_places(&local);
    test_removal(&local);
    test_stopped_process(&local);
    local_close(&local);
    test_sharing();
    report(in_child(full_tmpfs, 0),
           "a full disk stops new locks, not those there are; a read-only one all changes");
    report(in_child(strange_file_system, 0), "a file system not known to be local is refused");
    local_remove(directory);
    return check_done();
}
