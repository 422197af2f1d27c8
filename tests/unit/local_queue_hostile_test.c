/* local_queue_hostile_test.c - what others may have put where waiters look, and what is not to be
 * had: nobody is let in by it, and nobody forgotten. */
#include "local_queue.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/resource.h>

enum { STRANGER = 65534 };

static char directory[256], text[600];

static const char *in_directory(const char *name) {
    snprintf(text, sizeof text, "%s/%s", directory, name);
    return text;
}

static const char *bell_of(int number) {
    char name[64];

    snprintf(name, sizeof name, ".bell-%032d", number);
    return in_directory(name);
}

static void test_no_bell(void) {
    struct local holder, poller, waiter;

    hold(directory, &holder, "none");
    if (mkdir(bell_of(1), 0700) != 0)
        exit(2);
    check(stand(&poller, directory, "none", 1) == HELD && poller.answer.place == -1 &&
              wakes(&poller, "none", 1),
          "who can have no bell looks again and again");
    stand(&waiter, directory, "none", 2);
    check(waiter.answer.place == 0 && release(&holder, "none", 0) == DONE &&
              ask_waiting(&poller, "none", 1) == HELD && ask_waiting(&waiter, "none", 2) == DONE,
          "and overtakes nobody");
    release(&waiter, "none", 2);
    check(wait_for(&poller, "none", 1) > 0, "but is served in the end");
    rmdir(bell_of(1));
    local_close(&holder);
    local_close(&poller);
    local_close(&waiter);
}

/* What somebody has put in the place of the first waiter's bell. */
static void test_false_bells(void) {
    struct local holder, all[5];
    char other[600], living[600], byte;
    int fd;

    hold(directory, &holder, "false");
    for (int i = 1; i <= 4; i++) {
        stand(&all[i], directory, "false", i);
        if (i < 4)
            unlink(bell_of(i));
    }
    snprintf(other, sizeof other, "%s/precious", directory);
    local_put(other, "", 0);
    snprintf(living, sizeof living, "%s", bell_of(4));
    if (link(other, bell_of(1)) != 0 || symlink(living, bell_of(2)) != 0 ||
        mkdir(bell_of(3), 0700) != 0)
        exit(2);
    check(release(&holder, "false", 0) == DONE && local_is_held(&holder, "false", token_of(4)),
          "what is no bell is passed over");
    fd = open(other, O_RDONLY | O_CLOEXEC);
    check(read(fd, &byte, 1) == 0, "and nothing is written to it");
    close(fd);
    check(ask_waiting(&all[2], "false", 2) == HELD && all[2].answer.place == 0 &&
              ask_waiting(&all[1], "false", 1) == HELD && all[1].answer.place == 0 &&
              ask_waiting(&all[2], "false", 2) == HELD && all[2].answer.place == 1,
          "who was passed over comes back with another bell, to his old place");
    check(ask_waiting(&all[4], "false", 4) == DONE && release(&all[4], "false", 4) == DONE &&
              was_rung(&all[1]) && ask_waiting(&all[1], "false", 1) == DONE,
          "which rings");
    rmdir(bell_of(3));
    unlink(other);
    for (int i = 1; i <= 4; i++)
        local_close(&all[i]);
    local_close(&holder);
}

static void test_damage(void) {
    struct local holder, all[4];
    char zeros[2 * QUEUE_ENTRY_BYTES] = {0};
    int fd;

    hold(directory, &holder, "damage");
    for (int i = 1; i <= 3; i++)
        stand(&all[i], directory, "damage", i);
    fd = open(in_directory("damage"), O_RDWR | O_CLOEXEC);
    if (fd < 0 || pwrite(fd, zeros, sizeof zeros, RECORD_BYTES) < 0)
        exit(2);
    check(release(&holder, "damage", 0) == DONE && local_is_held(&holder, "damage", token_of(3)),
          "a damaged entry is passed over");
    check(ask_waiting(&all[2], "damage", 2) == HELD && ask_waiting(&all[1], "damage", 1) == HELD &&
              all[1].answer.place == 0,
          "whose it was comes back to his old place");
    if (ftruncate(fd, RECORD_BYTES) != 0)
        exit(2);
    check(ask_waiting(&all[3], "damage", 3) == DONE && release(&all[3], "damage", 3) == DONE &&
              local_is_free(&holder, "damage"),
          "where all are damaged the lock is free");
    check(ask_waiting(&all[2], "damage", 2) == DONE, "for who looks first");
    close(fd);
    for (int i = 1; i <= 3; i++)
        local_close(&all[i]);
    local_close(&holder);
}

static void test_removal(void) {
    struct local holder, all[4];

    hold(directory, &holder, "gone");
    for (int i = 1; i <= 3; i++)
        stand(&all[i], directory, "gone", i);
    unlink(in_directory("gone"));
    check(local_ask(&holder, ASK_ACQUIRE, "gone", "new", 9, WAIT_TTL_MS) == DONE &&
              ask_waiting(&all[3], "gone", 3) == HELD && all[3].answer.place == 0 &&
              ask_waiting(&all[1], "gone", 1) == HELD && all[1].answer.place == 0 &&
              ask_waiting(&all[2], "gone", 2) == HELD && all[2].answer.place == 1,
          "a file that was removed is waited for where it is now, in the order of old");
    check(wakes(&all[1], "gone", 1), "who is first looks after it now and then");
    local_remove(directory);
    mkdir(directory, 0700);
    check(ask_waiting(&all[2], "gone", 2) == DONE && ask_waiting(&all[1], "gone", 1) == HELD &&
              all[1].answer.place == 0 && release(&all[2], "gone", 2) == DONE &&
              was_rung(&all[1]) && ask_waiting(&all[1], "gone", 1) == DONE,
          "the same is true of the directory, bells and all");
    for (int i = 1; i <= 3; i++)
        local_close(&all[i]);
    local_close(&holder);
}

/* No descriptor left to ring with. */
static void test_no_descriptor(void) {
    struct local holder, waiter;
    struct rlimit found, few;
    enum outcome released, stranger;
    int fd;

    hold(directory, &holder, "few");
    stand(&waiter, directory, "few", 1);
    fd = dup(0);
    close(fd);
    getrlimit(RLIMIT_NOFILE, &found);
    few = (struct rlimit){.rlim_cur = (rlim_t)fd, .rlim_max = found.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    released = release(&holder, "few", 0);
    stranger = local_ask(&holder, ASK_ACQUIRE, "few", "stranger", 9, 1000);
    setrlimit(RLIMIT_NOFILE, &found);
    check(released == DONE && stranger == HELD && !*holder.answer.holder &&
              holder.answer.ttl_ms > 0,
          "who cannot be told for want of a descriptor keeps his turn");
    check(wakes(&waiter, "few", 1) && ask_waiting(&waiter, "few", 1) == DONE,
          "and sees for himself");
    local_close(&waiter);
    local_close(&holder);
}

static int peek_as_stranger(void) {
    struct local local;
    struct waiter waiters[3];
    struct request request = {.kind = ASK_PEEK, .key = "list", .waiters = waiters, .room = 3};

    if (setgid(STRANGER) != 0 || setuid(STRANGER) != 0)
        return 99;
    return local_open(&local, directory) == DONE && local_send(&local, request, 0) == DONE &&
                   local.answer.waiting == 2 && strcmp(waiters[1].token, token_of(2)) == 0
               ? 0
               : 1;
}

static int full_disk(void) {
    struct local holder, waiter;
    char path[300], bytes[4096] = {0};
    int fd, wrong = 0;

    if (mount("tmpfs", directory, "tmpfs", 0, "size=64k,mode=700") != 0)
        return 99;
    hold(directory, &holder, "full");
    snprintf(path, sizeof path, "%s/filler", directory);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(fd, bytes, sizeof bytes) > 0)
        ;
    close(fd);
    wrong += stand(&waiter, directory, "full", 1) != HELD || waiter.answer.place != -1;
    wrong += !wakes(&waiter, "full", 1);
    wrong += release(&holder, "full", 0) != DONE || ask_waiting(&waiter, "full", 1) != DONE;
    local_close(&waiter);
    local_close(&holder);
    umount(directory);
    return wrong;
}

static void report(pid_t child, const char *sentence) {
    int result = local_reap(child);

    if (result == 99)
        check_skip(sentence, "needs root");
    else
        check(result == 0, "%s", sentence);
}

static void test_rights(void) {
    struct local holder, first, second;
    pid_t child;

    hold(directory, &holder, "list");
    stand(&first, directory, "list", 1);
    stand(&second, directory, "list", 2);
    chmod(directory, 0755);
    chmod(in_directory("list"), 0644);
    child = fork();
    if (child == 0)
        _exit(peek_as_stranger());
    report(child, "who may only read sees who waits");
    chmod(directory, 0700);
    local_close(&first);
    local_close(&second);
    local_close(&holder);
    child = fork();
    if (child == 0)
        _exit(full_disk());
    report(child, "on a full disk who waits looks again and again");
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    local_make(directory);
    test_no_bell();
    test_false_bells();
    test_damage();
    test_removal();
    test_no_descriptor();
    test_rights();
    check(count_bells(directory) == 0, "no bell is left");
    local_remove(directory);
    return check_done();
}
