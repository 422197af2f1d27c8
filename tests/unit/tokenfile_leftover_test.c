/* What acquires that were killed have left is cleared by the next one of the same file, and nothing
 * else is. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "tokenfile_test.h"

enum { STOPS_MAX = 1000, UNTRACED = 9, HAMMERS = 6 };

/* From now on no file is made without a name, as where a file system knows no such thing. False if
 * that cannot be had. */
static bool without_nameless(void) {
    const unsigned nameless = O_TMPFILE & ~O_DIRECTORY;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, nameless, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* ---- acquires that are killed ---- */

/* An acquire of `path` for the lock `name` that was killed when it had its draft. True if it left
 * one. */
static bool leave(struct play *play, const char *path, const char *name, const char *token) {
    unsigned before = play_count(".", false);
    pid_t child = fork();

    if (child == 0) {
        play_prepare(play, path, name, token);
        raise(SIGKILL);
    }
    waitpid(child, NULL, 0);
    return play_count(".", false) == before + 1;
}

/* An acquire of F with the token "u" for the lock "n", to which the store says that the lock is
 * held with the token `holder`. How many drafts are there when it is over. */
static unsigned left_after(struct play *play, const char *holder) {
    bool prepared = play_prepare(play, "f", "n", "u") == DONE;

    if (prepared)
        tokenfile_clear(&play->draft, holder);
    tokenfile_discard(&play->draft);
    return prepared ? play_count(".", false) : 99;
}

static void test_dead(struct play *play) {
    check(leave(play, "f", "n", "a") && leave(play, "f", "n", "b") && left_after(play, "u") == 0,
          "an acquire that gets the lock clears what two have left behind");
    check(leave(play, "f", "n", "a") && left_after(play, "x") == 0,
          "so does one that hears that somebody else holds it");
    check(leave(play, "f", "n", "a") && leave(play, "f", "n", "b") && left_after(play, "a") == 1 &&
              play_count(".f.vlock-", false) == 1,
          "but not if it is the token that was left behind");
    check(left_after(play, "u") == 0, "before the lock has gone to another");
    check(leave(play, "f", "n", "a") && play_prepare(play, "f", "n", "u") == DONE &&
              (tokenfile_discard(&play->draft), play_count(".", true) == 1),
          "nor before the store has said who holds it");
    check(leave(play, "f", "n", "u") && left_after(play, "u") == 0,
          "a copy of our own token is none that is needed");
}

static void test_many(struct play *play) {
    bool left = true;

    for (int i = 0; i < LEFTOVERS_MAX + 2; i++)
        left = leave(play, "f", "n", "a") && left;
    check(left && left_after(play, "u") == 2 && left_after(play, "u") == 0,
          "of very many some are for the acquire after that");
}

static void test_empty(struct play *play) {
    play_write(".f.vlock-abcdef", "", 0);
    check(play_prepare(play, "f", "n", "t") == DONE && access(".f.vlock-abcdef", F_OK) != 0,
          "an empty one was never asked with, and is cleared by any acquire of the file");
    tokenfile_discard(&play->draft);
}

/* ---- what stays ---- */

static void test_others(struct play *play) {
    struct tokenfile content = play_content("n", "a");
    struct tokenfile_draft draft;

    check(leave(play, "f", "m", "a") && leave(play, "g", "n", "a") && leave(play, "ff", "n", "a") &&
              leave(play, "f.vlock-abcdef", "n", "a") && left_after(play, "u") == 4,
          "another lock's draft stays, and another file's");
    play_count(".", true);
    snprintf(content.store, sizeof content.store, "valkey://elsewhere");
    check(tokenfile_prepare("f", &content, &draft, &play->why) == DONE &&
              flock(draft.fd, LOCK_UN) == 0 && left_after(play, "u") == 1,
          "so does one for another store");
    tokenfile_discard(&draft);
    content = play_content("n", "a");
    snprintf(content.prefix, sizeof content.prefix, "p");
    check(tokenfile_prepare("f", &content, &draft, &play->why) == DONE &&
              flock(draft.fd, LOCK_UN) == 0 && left_after(play, "u") == 1,
          "and for another prefix");
    tokenfile_discard(&draft);
}

static void test_odd(struct play *play) {
    play_write("target", HEAD, strlen(HEAD));
    play_write(".f.vlock-abcde", HEAD, strlen(HEAD));
    play_write(".f.vlock-abcdefg", HEAD, strlen(HEAD));
    play_write(".f.vlock-ABCDEF", HEAD, strlen(HEAD));
    play_write(".f.vlock-abcde1", "", 0);
    play_write(".f.vlock.abcdef", HEAD, strlen(HEAD));
    play_write("f.vlock-abcdef", HEAD, strlen(HEAD));
    check(left_after(play, "u") == 5 && access("f.vlock-abcdef", F_OK) == 0,
          "what is not called as a draft is none");
    play_count("", true);
    play_write("target", "", 0);
    play_write(".f.vlock-aaaaaa", "some\ntext\n", 10);
    play_write(".f.vlock-aaaaab", "token\n", 6);
    play_write(".f.vlock-aaaaac", HEAD, strlen(HEAD) - 1);
    check(symlink("target", ".f.vlock-aaaaad") == 0 && mkdir(".f.vlock-aaaaae", 0755) == 0 &&
              mkfifo(".f.vlock-aaaaaf", 0644) == 0 && left_after(play, "u") == 6 &&
              access("target", F_OK) == 0,
          "nor is a link, a directory, a FIFO, or what holds something else");
    play_count("", true);
}

static void test_another_user(struct play *play) {
    play_write(".f.vlock-abcdef", HEAD, strlen(HEAD));
    play_write(".f.vlock-abcdeg", "", 0);
    if (chown(".f.vlock-abcdef", 54321, (gid_t)-1) != 0 ||
        chown(".f.vlock-abcdeg", 54321, (gid_t)-1) != 0)
        check_skip("another user's draft stays", "needs root");
    else
        check(left_after(play, "u") == 2, "another user's draft stays");
    play_count("", true);
}

/* An NFS client's flock is such a lock on the server. */
static int hold_range(struct play *play) {
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(".f.vlock-abcdef", O_RDWR | O_CLOEXEC);

    return fcntl(fd, F_OFD_SETLK, &range) == 0 && left_after(play, "u") == 1 ? 0 : 1;
}

static void test_range(struct play *play) {
    play_write(".f.vlock-abcdef", HEAD, strlen(HEAD));
    check(play_child(play, hold_range) == 0, "a draft that another machine has locked stays");
    check(left_after(play, "u") == 0, "until that has ended");
}

/* ---- what lives ---- */

static void test_living(struct play *play) {
    int ready[2], go[2], status = -1;
    char byte = 0;
    pid_t child;

    if (pipe(ready) != 0 || pipe(go) != 0)
        return;
    child = fork();
    if (child == 0) {
        bool good = play_prepare(play, "f", "n", "a") == DONE && write(ready[1], "r", 1) == 1 &&
                    read(go[0], &byte, 1) == 1 && play_publish(play, 7, PATIENCE_MS) == DONE;
        _exit(good ? 0 : 1);
    }
    check(read(ready[0], &byte, 1) == 1 && left_after(play, "u") == 1 && left_after(play, "x") == 1,
          "the draft of an acquire that lives stays");
    check(write(go[1], "g", 1) == 1 && waitpid(child, &status, 0) == child && status == 0 &&
              play_holds(play, "f", "a"),
          "and becomes its file");
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(go[i]);
    }
    play_count("", true);
}

/* Acquires one after the other until the end of `stop` closes, and looks at each draft of its own
 * as soon as it is there. */
static int hammer(struct play *play, int stop) {
    struct pollfd end = {.fd = stop, .events = POLLIN};
    struct stat ours, there;

    while (poll(&end, 1, 0) == 0) {
        bool good = play_prepare(play, "f", "n", "t") == DONE &&
                    fstat(play->draft.fd, &ours) == 0 && stat(play->draft.temporary, &there) == 0 &&
                    ours.st_ino == there.st_ino;

        tokenfile_clear(&play->draft, "x");
        if (!good || stat(play->draft.temporary, &there) != 0)
            return 1;
        tokenfile_discard(&play->draft);
    }
    return 0;
}

/* Several of those at the same time for a second, or more where --all is wanted. */
static void test_made_now(struct play *play, bool nameless, const char *sentence) {
    unsigned bad = 0, unfit = 0;
    int stop[2], status;

    if (pipe(stop) != 0)
        return;
    for (int i = 0; i < HAMMERS; i++) {
        if (fork() == 0) {
            close(stop[1]);
            _exit(!nameless && !without_nameless() ? UNTRACED : hammer(play, stop[0]));
        }
    }
    close(stop[0]);
    loop_sleep(&play->loop, clock_now_ms() + rounds(700, 5000));
    close(stop[1]);
    while (wait(&status) > 0) {
        unfit += WIFEXITED(status) && WEXITSTATUS(status) == UNTRACED;
        bad += status != 0;
    }
    if (unfit)
        check_skip(sentence, "no filter of system calls here");
    else
        check(bad == 0 && play_count(".", false) == 0, "%s", sentence);
    play_count("", true);
}

/* ---- killed at each system call ---- */

static void acquire(struct play *play, bool nameless) {
    if ((!nameless && !without_nameless()) || ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(UNTRACED);
    raise(SIGSTOP);
    _exit(play_prepare(play, "f", "n", "t") == DONE && play_publish(play, 1790, 0) == DONE ? 0 : 1);
}

/* Kills an acquire at its `stops`th stop before or after a system call. False if it had ended. */
static bool kill_at(struct play *play, bool nameless, unsigned stops, int *status) {
    pid_t child = fork();

    if (child == 0)
        acquire(play, nameless);
    waitpid(child, status, 0);
    for (unsigned i = 0; i < stops && WIFSTOPPED(*status); i++)
        if (ptrace(PTRACE_SYSCALL, child, NULL, NULL) != 0 || waitpid(child, status, 0) != child)
            break;
    if (!WIFSTOPPED(*status))
        return false;
    kill(child, SIGKILL);
    waitpid(child, status, 0);
    return true;
}

static void test_killed(struct play *play, bool nameless, const char *sentence) {
    unsigned stops = 0, left = 0;
    bool good = true;
    int status = 0;

    while (good && stops < STOPS_MAX && kill_at(play, nameless, ++stops, &status)) {
        unsigned drafts = play_count(".", false);

        left += drafts;
        good = drafts <= 1 && left_after(play, "u") == 0;
        unlink("f");
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == UNTRACED)
        check_skip(sentence, "nothing can be traced here");
    else
        check(good && WIFEXITED(status) && WEXITSTATUS(status) == 0 && left > 0, "%s", sentence);
    printf("# %u stops, %u drafts\n", stops, left);
    play_count("", true);
}

int main(void) {
    struct play play;

    play_begin(&play);
    test_dead(&play);
    test_many(&play);
    test_empty(&play);
    test_others(&play);
    test_odd(&play);
    test_another_user(&play);
    test_range(&play);
    test_living(&play);
    test_made_now(&play, true, "a draft that is being made is not taken for a dead one");
    test_made_now(&play, false, "nor where it has its name before it is marked");
    test_killed(&play, true, "what a kill at any system call leaves is cleared");
    test_killed(&play, false, "also where files always have a name");
    play_end(&play);
    return check_done();
}
