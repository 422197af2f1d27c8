/* localdir_test.c - this user's own directory: found, made, or refused, and no way around it. */
#include "localdir.h"

#include "local.h"

#include <errno.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>

enum { STRANGER = 65534 };

static char base[256], first[300], second[300];

static char *own_in(const char *parent) {
    static char path[400];

    snprintf(path, sizeof path, "%s/vlock-%u", parent, (unsigned)geteuid());
    return path;
}

/* Empties the two parents. */
static void fresh(void) {
    local_remove(first);
    local_remove(second);
    mkdir(first, 0777);
    mkdir(second, 0777);
    if (chmod(first, 01777) != 0 || chmod(second, 01777) != 0)
        exit(2);
}

static enum outcome open_own(struct localdir *dir, struct trouble *why) {
    const char *parents[] = {first, second, NULL};

    *dir = (struct localdir){.fd = -1};
    return localdir_open_own(parents, dir, why);
}

/* True if it is opened in `parent`, ours alone. */
static bool opens_in(const char *parent) {
    struct localdir dir;
    struct trouble why;
    struct stat status;
    bool right = open_own(&dir, &why) == DONE && strcmp(dir.path, own_in(parent)) == 0 &&
                 stat(dir.path, &status) == 0 && (status.st_mode & 07777) == 0700 && dir.own;

    localdir_close(&dir);
    return right;
}

/* True if it is refused with `status`, and nothing was made in the second parent instead. */
static bool refused(enum exit_status status) {
    struct localdir dir;
    struct trouble why;
    struct stat found;

    return open_own(&dir, &why) == FAILED && why.status == status && dir.fd == -1 &&
           lstat(own_in(second), &found) != 0;
}

static void test_making(void) {
    mode_t found;

    fresh();
    check(opens_in(first) && opens_in(first), "it is made, and found again");
    chmod(own_in(first), 0777);
    check(opens_in(first), "one that is too wide is narrowed");
    fresh();
    found = umask(0777);
    check(opens_in(first), "no umask makes it less than ours");
    umask(found);
    fresh();
    local_remove(first);
    check(opens_in(second), "where the first place is missing the second is taken");
    fresh();
    local_remove(first);
    local_remove(second);
    check(refused(EXIT_CANNOT_WRITE), "where both are it is an error");
}

static void test_impostors(void) {
    fresh();
    if (symlink(second, own_in(first)) != 0)
        exit(2);
    check(refused(EXIT_REFUSED), "a symbolic link is refused, not followed");
    fresh();
    if (symlink("nowhere", own_in(first)) != 0)
        exit(2);
    check(refused(EXIT_REFUSED), "nor is one that leads nowhere filled");
    fresh();
    local_put(own_in(first), "", 0);
    check(refused(EXIT_REFUSED), "a file is refused");
}

static void test_flock(void) {
    struct localdir dir;
    struct trouble why;
    int fd;

    fresh();
    if (open_own(&dir, &why) != DONE)
        exit(2);
    fd = open(dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    check(flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
              flock(fd, LOCK_SH | LOCK_NB) == 0,
          "a shared flock keeps tidy-up daemons off while it is open");
    close(fd);
    check(!localdir_is_gone(&dir), "a directory that is there is not gone");
    local_remove(dir.path);
    check(localdir_is_gone(&dir), "and one that was removed is");
    localdir_close(&dir);
}

/* Runs `body` in a child as `uid`, or as root with mounts of its own; 99: needs root. */
static void test_in_child(bool (*body)(void), uid_t uid, const char *sentence) {
    pid_t child = fork();
    int result;

    if (child == 0) {
        if (geteuid() != 0 || (uid != 0 && (setgid(uid) != 0 || setuid(uid) != 0)))
            _exit(99);
        if (uid == 0 &&
            (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0))
            _exit(99);
        _exit(body() ? 0 : 1);
    }
    result = local_reap(child);
    if (result == 99)
        check_skip(sentence, "needs root");
    else
        check(result == 0, "%s", sentence);
}

static bool second_is_used(void) {
    return opens_in(second);
}

static bool is_refused(void) {
    return refused(EXIT_REFUSED);
}

static bool read_only_is_told(void) {
    return mount("tmpfs", first, "tmpfs", MS_RDONLY, "mode=1777") == 0 &&
           refused(EXIT_CANNOT_WRITE);
}

/* localdir_open("") itself, where nothing of the machine's own is touched. */
static bool environment_is_ignored(void) {
    struct localdir dir = {.fd = -1};
    struct trouble why;
    bool right;

    if (mount("tmpfs", "/run", "tmpfs", 0, "mode=755") != 0 || mkdir("/run/lock", 0777) != 0 ||
        chmod("/run/lock", 01777) != 0)
        return false;
    setenv("TMPDIR", second, 1);
    setenv("XDG_RUNTIME_DIR", second, 1);
    setenv("HOME", second, 1);
    right = localdir_open("", &dir, &why) == DONE && strcmp(dir.path, own_in("/run/lock")) == 0;
    localdir_close(&dir);
    return right;
}

static void test_others(void) {
    char path[400];

    fresh();
    test_in_child(environment_is_ignored, 0, "no variable moves it");
    test_in_child(read_only_is_told, 0, "a first place that cannot be written is told, not left");
    chmod(first, 0700);
    test_in_child(second_is_used, STRANGER, "where the first place is closed to us the second is");
    fresh();
    chmod(first, 0755);
    test_in_child(second_is_used, STRANGER, "also where it is closed for writing only");
    fresh();
    snprintf(path, sizeof path, "%s/vlock-%d", first, STRANGER);
    mkdir(path, 0755);
    test_in_child(is_refused, STRANGER, "another user's directory is refused");
    chmod(path, 0700);
    test_in_child(is_refused, STRANGER, "also when it is closed to us");
}

int main(void) {
    local_make(base);
    chmod(base, 0755);
    snprintf(first, sizeof first, "%s/run", base);
    snprintf(second, sizeof second, "%s/tmp", base);
    test_making();
    test_impostors();
    test_flock();
    test_others();
    local_remove(base);
    return check_done();
}
