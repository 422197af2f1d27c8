/* Where a token file may be, and where not: what prepare finds out before anything is locked. */
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>

#include "tokenfile_test.h"

static bool open_fails(struct play *play, const char *path, enum exit_status status) {
    return play_open(play, path, 0) == FAILED && play->why.status == status;
}

static bool prepare_fails(struct play *play, const char *path, enum exit_status status) {
    return play_prepare(play, path, "n", "t") == FAILED && play->why.status == status &&
           play_count(".", false) == 0;
}

static void test_odd_places(struct play *play) {
    play_count("", true);
    play_write("file", "token\n", 6);
    check(symlink("file", "link") == 0 && mkdir("dir", 0755) == 0 && mkfifo("fifo", 0644) == 0,
          "there are a link, a directory and a FIFO");
    check(open_fails(play, "missing", EXIT_NO_TOKEN) && open_fails(play, "", EXIT_NO_TOKEN) &&
              open_fails(play, "missing/f", EXIT_NO_TOKEN),
          "a file that is missing is status 66");
    check(open_fails(play, "link", EXIT_DATA) && open_fails(play, "dir", EXIT_DATA) &&
              open_fails(play, "fifo", EXIT_DATA) && open_fails(play, "/dev/null", EXIT_DATA),
          "what is no regular file is not read: status 65");
    check(prepare_fails(play, "link", EXIT_CANNOT_WRITE) &&
              prepare_fails(play, "dir", EXIT_CANNOT_WRITE) &&
              prepare_fails(play, "fifo", EXIT_CANNOT_WRITE) &&
              prepare_fails(play, "/dev/null", EXIT_CANNOT_WRITE),
          "nor replaced: status 73");
    check(prepare_fails(play, "", EXIT_CANNOT_WRITE) &&
              prepare_fails(play, "dir/", EXIT_CANNOT_WRITE) &&
              prepare_fails(play, ".", EXIT_CANNOT_WRITE) &&
              prepare_fails(play, "..", EXIT_CANNOT_WRITE) &&
              prepare_fails(play, "/", EXIT_CANNOT_WRITE) &&
              prepare_fails(play, "missing/f", EXIT_CANNOT_WRITE) &&
              prepare_fails(play, "file/f", EXIT_CANNOT_WRITE) &&
              prepare_fails(play, "/proc/f", EXIT_CANNOT_WRITE),
          "nor is there a file to be where there can be none");
    check(play_file_is("file", "token\n"), "and what the link points to is as it was");
}

static void test_replaceable(struct play *play) {
    play_count("", true);
    play_write("empty", "", 0);
    play_write("bare", "token\n", 6);
    play_write("same", HEAD, strlen(HEAD));
    check(play_prepare(play, "empty", "n", "t") == DONE && play_publish(play, 1, 0) == DONE &&
              play_holds(play, "empty", "t"),
          "an empty file is replaced");
    check(play_prepare(play, "bare", "n", "t") == DONE && play_publish(play, 1, 0) == DONE &&
              play_holds(play, "bare", "t"),
          "a bare token is replaced");
    check(play_prepare(play, "same", "n", "u") == DONE && play_publish(play, 1, 0) == DONE &&
              play_holds(play, "same", "u"),
          "a file for the same name is replaced");
    check(play_prepare(play, "same", "m", "t") == FAILED && play->why.status == EXIT_DATA &&
              play_holds(play, "same", "u"),
          "one for another name is not: status 65");
    play_write("prefix", HEAD "prefix=p\n", strlen(HEAD) + 9);
    check(prepare_fails(play, "prefix", EXIT_DATA), "nor is one for another prefix");
    play_write("text", "some\ntext\n", 10);
    check(prepare_fails(play, "text", EXIT_DATA) && play_file_is("text", "some\ntext\n"),
          "nor is what is no token file");
    check(play_prepare(play, "late", "n", "t") == DONE &&
              (play_write("late", "some\ntext\n", 10), true) &&
              play_publish(play, 1, 0) == FAILED && play->why.status == EXIT_DATA &&
              play_count(".late.", false) == 1 && play_file_is("late", "some\ntext\n"),
          "not even if it came after prepare; the draft stays");
    tokenfile_discard(&play->draft);
    check(play_count(".late.", false) == 0, "until it is discarded");
    tokenfile_discard(&play->draft);
    check(play->draft.fd == -1, "discarding twice does nothing");
    check(play_prepare(play, "link", "n", "t") == DONE && symlink("bare", "link") == 0 &&
              play_publish(play, 1, 0) == FAILED && play->why.status == EXIT_CANNOT_WRITE,
          "a link that came after prepare is not replaced either");
    tokenfile_discard(&play->draft);
    check(play_holds(play, "bare", "t"), "and what it points to is as it was");
}

static void test_long_names(struct play *play) {
    char name[260] = "";

    play_count("", true);
    memset(name, 'f', 255);
    check(play_prepare(play, name, "n", "t") == DONE && play_publish(play, 1, 0) == DONE &&
              play_holds(play, name, "t"),
          "a name of 255 bytes has a draft beside it");
    name[255] = 'f';
    check(prepare_fails(play, name, EXIT_CANNOT_WRITE), "one of 256 is refused");
    for (int i = 0; i < 127; i++)
        memcpy(name + 2 * (size_t)i, "\xc3\xbc", 2);
    name[254] = '\0';
    check(play_prepare(play, name, "n", "t") == DONE && strlen(play->draft.temporary) < 256 &&
              strstr(play->draft.temporary, "\xc3\xbc.vlock-"),
          "a draft's name holds no half characters");
    tokenfile_discard(&play->draft);
}

static void test_moved(struct play *play) {
    play_count("", true);
    check(mkdir("dir", 0755) == 0 && play_prepare(play, "dir/f", "n", "t") == DONE &&
              rename("dir", "moved") == 0 && play_publish(play, 1, 0) == DONE &&
              play_holds(play, "moved/f", "t"),
          "a directory that moves takes its file along");
    unlink("moved/f");
    check(play_prepare(play, "moved/f", "n", "t") == DONE && chdir("moved") == 0 &&
              play_count(".f.", true) == 1 && chdir("..") == 0 &&
              play_publish(play, 1, 0) == FAILED && play->why.status == EXIT_CANNOT_WRITE &&
              access("moved/f", F_OK) != 0,
          "a draft that somebody removed is not published: status 73");
    tokenfile_discard(&play->draft);
    rmdir("moved");
}

/* As a user without rights: a directory and a file of root's, and a sticky directory. */
static int as_nobody(struct play *play) {
    if (geteuid() != 0 || setgid(65534) != 0 || setuid(65534) != 0)
        return 9;
    if (!prepare_fails(play, "f", EXIT_CANNOT_WRITE))
        return 1;
    if (!open_fails(play, "secret", EXIT_SYSTEM))
        return 2;
    if (!prepare_fails(play, "sticky/theirs", EXIT_CANNOT_WRITE))
        return 3;
    if (play_prepare(play, "sticky/mine", "n", "t") != DONE || play_publish(play, 1, 0) != DONE ||
        !play_holds(play, "sticky/mine", "t"))
        return 4;
    if (play_open(play, "readable", 0) != DONE ||
        tokenfile_remove(&play->hold, &play->why) != FAILED ||
        play->why.status != EXIT_CANNOT_WRITE)
        return 5;
    if (play_prepare(play, "unlisted/f", "n", "t") != DONE || play_publish(play, 1, 0) != DONE ||
        !play_holds(play, "unlisted/f", "t"))
        return 6;
    return 0;
}

static void test_permissions(struct play *play) {
    int answer;

    play_count("", true);
    play_write("secret", "token\n", 6);
    play_write("readable", "token\n", 6);
    if (mkdir("sticky", 0755) != 0 || chmod("sticky", 01777) != 0 || chmod("secret", 0600) != 0 ||
        mkdir("unlisted", 0755) != 0 || chmod("unlisted", 0733) != 0)
        perror("sticky");
    play_write("sticky/theirs", "token\n", 6);
    answer = play_child(play, as_nobody);
    if (answer == 9)
        check_skip("what may not be written is refused", "needs root");
    else
        check(answer == 0, "what may not be written, read or removed is refused (%d)", answer);
    unlink("sticky/theirs");
    unlink("sticky/mine");
    unlink("unlisted/f");
}

/* Fills the file system until nothing fits. */
static void fill_up(void) {
    char page[4096] = "";
    int fd = open("filler", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    while (write(fd, page, sizeof page) > 0)
        continue;
    close(fd);
}

static int on_full_disk(struct play *play) {
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mkdir("small", 0755) != 0 || mount("tmpfs", "small", "tmpfs", 0, "size=16k") != 0 ||
        chdir("small") != 0)
        return 9;
    if (play_prepare(play, "f", "n", "t") != DONE)
        return 1;
    fill_up();
    if (play_publish(play, UINT64_MAX, 0) != DONE || !play_holds(play, "f", "t"))
        return 2;
    if (!prepare_fails(play, "f", EXIT_CANNOT_WRITE) || !strstr(play->why.text, "No space"))
        return 3;
    if (!play_holds(play, "f", "t"))
        return 4;
    if (mount("none", ".", NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0)
        return 9;
    if (!prepare_fails(play, "f", EXIT_CANNOT_WRITE) || !play_holds(play, "f", "t"))
        return 5;
    return 0;
}

static int on_mounted_file(struct play *play) {
    play_write("mounted", "token\n", 6);
    play_write("other", "other\n", 6);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("other", "mounted", NULL, MS_BIND, NULL) != 0)
        return 9;
    return prepare_fails(play, "mounted", EXIT_CANNOT_WRITE) ? 0 : 1;
}

static void test_disk(struct play *play) {
    int answer;

    play_count("", true);
    answer = play_child(play, on_full_disk);
    if (answer == 9)
        check_skip("a full disk is found out by prepare", "nothing can be mounted here");
    else
        check(answer == 0, "a full disk is found out by prepare, and breaks no publish (%d)",
              answer);
    play_count("", true);
    answer = play_child(play, on_mounted_file);
    if (answer == 9)
        check_skip("a mounted file is found out by prepare", "nothing can be mounted here");
    else
        check(answer == 0, "a file that is a mount of its own is found out by prepare");
}

static bool stop(void *arg, const struct signalfd_siginfo *info) {
    (void)arg;
    return info->ssi_signo == SIGUSR1;
}

static void test_flock(struct play *play) {
    struct play other = {0};
    int fd;

    play_count("", true);
    loop_init(&other.loop);
    play_write("f", "token\n", 6);
    fd = open("f", O_RDONLY | O_CLOEXEC);
    flock(fd, LOCK_EX);
    check(play_open(play, "f", 30) == FAILED && play->why.status == EXIT_SYSTEM,
          "a file in somebody's hands is waited for until the deadline");
    check(play_prepare(&other, "f", "n", "t") == DONE && play_publish(&other, 1, 30) == FAILED &&
              other.why.status == EXIT_CANNOT_WRITE && play_file_is("f", "token\n"),
          "it is not replaced");
    if (loop_take_signals(&play->loop, stop, NULL, &play->why) != DONE)
        perror("signals");
    raise(SIGUSR1);
    check(play_open(play, "f", PATIENCE_MS) == STOPPED, "a signal ends the wait for it");
    check(close(fd) == 0 && play_publish(&other, 1, 0) == DONE && play_holds(play, "f", "t"),
          "once it is free, it is replaced");
    check(play_open(play, "f", 0) == DONE && rename("f", "g") == 0 &&
              (play_write("f", "another\n", 8), true) &&
              tokenfile_remove(&play->hold, &play->why) == DONE && play_file_is("f", "another\n"),
          "a file that is not the one that was read is not removed");
    tokenfile_close(&play->hold);
    loop_close(&other.loop);
}

static void test_unlock(struct play *play) {
    struct play other = {0};

    play_count("", true);
    loop_init(&other.loop);
    play_write("f", "token\n", 6);
    check(play_open(play, "f", 0) == DONE && play_open(&other, "f", 0) == FAILED &&
              (tokenfile_unlock(&play->hold), true) && play_open(&other, "f", 0) == DONE &&
              strcmp(play->hold.path, "f") == 0 && fcntl(play->hold.fd, F_GETFD) >= 0,
          "who only reads lets others have the file, and keeps it open");
    check(tokenfile_remove(&other.hold, &other.why) == DONE && access("f", F_OK) != 0,
          "and they may remove it");
    tokenfile_close(&play->hold);
    tokenfile_unlock(&play->hold);
    check(play->hold.fd == -1, "unlocking nothing does nothing");
    loop_close(&other.loop);
}

static void test_remove(struct play *play) {
    play_count("", true);
    mkdir("dir", 0755);
    play_write("dir/f", "token\n", 6);
    check(play_open(play, "dir/f", 0) == DONE && rename("dir", "moved") == 0 &&
              symlink("dir", "dir") == 0 && tokenfile_remove(&play->hold, &play->why) == FAILED &&
              play->why.status == EXIT_CANNOT_WRITE && strstr(play->why.text, "by hand") &&
              access("moved/f", F_OK) == 0,
          "a file that cannot be looked at again is told: status 73");
    unlink("dir");
    check(rename("moved", "dir") == 0 && play_open(play, "dir/f", 0) == DONE &&
              unlink("dir/f") == 0 && tokenfile_remove(&play->hold, &play->why) == DONE,
          "one that is gone is gone");
    rmdir("dir");
}

int main(void) {
    struct play play;

    play_begin(&play);
    test_odd_places(&play);
    test_replaceable(&play);
    test_long_names(&play);
    test_moved(&play);
    test_permissions(&play);
    test_disk(&play);
    test_flock(&play);
    test_unlock(&play);
    test_remove(&play);
    play_end(&play);
    return check_done();
}
