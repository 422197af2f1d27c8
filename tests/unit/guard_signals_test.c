/* guard_signals_test.c - which signals the command is sent, for every order in which FRONT, GUARD
 * and the ear can have got theirs. */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "guard_part.h"

enum { SENDER = 7001, OTHER = 7002 };

static struct shared *shared;
static struct guard guard;
static pid_t command, ear;

/* A process that does nothing, in our group or in one of its own. */
static pid_t start(bool apart) {
    pid_t pid = fork();

    if (pid == 0) {
        if (apart)
            setpgid(0, 0);
        for (;;)
            pause();
    }
    if (apart)
        setpgid(pid, pid);
    return pid;
}

static void stop(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void begin(void) {
    memset(shared, 0, sizeof *shared);
    shared->ear = ear;
    guard = (struct guard){.shared = shared, .front = ear, .self = getpid()};
}

static void guard_gets(int signo, pid_t sender) {
    guard_note(&guard, &(struct signalfd_siginfo){.ssi_signo = (uint32_t)signo,
                                                  .ssi_pid = (uint32_t)sender});
}

static void front_gets(int signo, pid_t sender, bool terminal) {
    guard_put_note(&shared->passed, &(struct note){.signo = signo,
                                                   .sender = sender,
                                                   .terminal = terminal,
                                                   .at_ms = clock_now_ms()});
    guard_gets(GUARD_WAKE, guard.front);
}

static void ear_gets(int signo, pid_t sender, int64_t ago_ms) {
    guard_put_note(&shared->heard, &(struct note){.signo = signo,
                                                  .sender = sender,
                                                  .at_ms = clock_now_ms() - ago_ms});
}

/* How often the command is to be sent `signo`, of all that has come so far. */
static int sent(int signo) {
    int count = 0, next;

    while ((next = guard_next_signal(&guard, command)) != 0)
        count += next == signo;
    return count;
}

static void to_vlock_alone(void) {
    begin();
    front_gets(SIGTERM, SENDER, false);
    check(sent(SIGTERM) == 1, "one to vlock alone is sent");
    ear_gets(SIGTERM, OTHER, 0); /* another one, to the group, that FRONT's swallowed */
    front_gets(SIGTERM, SENDER, false);
    check(sent(SIGTERM) == 1, "also when the group gets one from another sender");
    ear_gets(SIGUSR1, SENDER, 0); /* another signal */
    front_gets(SIGUSR2, SENDER, false);
    check(sent(SIGUSR2) == 1, "also when the group gets another signal");
}

static void to_the_group(void) {
    begin();
    for (int n = 0; n < 3; n++) { /* the command has one each time */
        ear_gets(SIGTERM, SENDER, 0);
        front_gets(SIGTERM, SENDER, false);
        check(sent(SIGTERM) == 0, "one to the group is not sent, time %d", n);
    }
    front_gets(SIGTERM, SENDER, false); /* and one that was not for the group */
    check(sent(SIGTERM) == 1, "but one that follows, to vlock alone, is");
    front_gets(SIGINT, 0, true); /* Ctrl-C */
    check(sent(SIGINT) == 0, "what the terminal sends is not sent again");
}

static void to_the_group_long_ago(void) {
    begin();
    ear_gets(SIGTERM, SENDER, 5000);
    front_gets(SIGTERM, SENDER, false);
    check(sent(SIGTERM) == 1, "what the group got long ago hushes nothing");
}

static void to_a_group_that_the_command_has_left(void) {
    pid_t own = command;

    begin();
    command = start(true);
    ear_gets(SIGTERM, SENDER, 0);
    front_gets(SIGTERM, SENDER, false);
    check(sent(SIGTERM) == 1, "a command in a group of its own is sent what its old one got");
    front_gets(SIGINT, 0, true);
    check(sent(SIGINT) == 1, "and what the terminal sent there");
    stop(command);
    command = own;
}

/* To each process by its number, in this order ('f', 'g' and 'e'); GUARD's loop looks after each
 * of them, or only in the end. */
static int one_by_one(const char *order, bool at_once) {
    int count = 0;

    for (; *order; order++) {
        if (*order == 'f')
            front_gets(SIGTERM, SENDER, false);
        else if (*order == 'g')
            guard_gets(SIGTERM, SENDER);
        else
            ear_gets(SIGTERM, SENDER, 0);
        if (at_once)
            count += sent(SIGTERM);
    }
    return count + sent(SIGTERM);
}

static void to_each_of_them(void) {
    static const char *const orders[] = {"fge", "feg", "gfe", "gef", "efg", "egf", "fg", "gf"};

    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++)
        for (int at_once = 0; at_once < 2; at_once++) {
            begin();
            for (int n = 0; n < 3; n++) { /* time and again, from the same sender */
                int count = one_by_one(orders[i], at_once);
                check(count >= 1 && count <= 2, "order %s, looked at %s: sent %d times", orders[i],
                      at_once ? "each time" : "in the end", count);
            }
            front_gets(SIGTERM, SENDER, false); /* nothing is left over that would hush this one */
            if (strchr(orders[i], 'e'))
                check(sent(SIGTERM) == 1, "and the next one to vlock alone is sent");
        }
}

static void more_than_there_is_room_for(void) {
    begin();
    for (int n = 0; n < 3 * NOTES; n++)
        front_gets(SIGUSR1, SENDER + n, false);
    front_gets(SIGTERM, SENDER, false);
    check(sent(SIGTERM) == 1, "what there was no room for is sent");
    front_gets(SIGTERM, SENDER, false);
    check(sent(SIGTERM) == 1, "and so is the next one");
}

static void two_senders_to_each_of_them(void) {
    begin();
    for (int n = 0; n < 2; n++) {
        ear_gets(SIGTERM, n ? OTHER : SENDER, 0);
        front_gets(SIGTERM, n ? OTHER : SENDER, false);
        check(sent(SIGTERM) == 0, "sender %d's is taken for one to the group at first", n);
    }
    guard_gets(SIGTERM, SENDER); /* the kernel makes one of the two */
    check(sent(SIGTERM) == 1, "and sent when GUARD has one from either");
    begin();
    for (int n = 0; n <= SENDERS; n++) {
        ear_gets(SIGTERM, SENDER + n, 0);
        front_gets(SIGTERM, SENDER + n, false);
    }
    check(sent(SIGTERM) == 1, "of more senders than are told apart, the first is not forgotten");
}

static void one_that_waits_already(void) {
    begin();
    for (int n = 0; n < 3 * NOTES; n++)
        front_gets(SIGUSR1, SENDER, false);
    check(sent(SIGUSR1) == 1, "equal ones that wait are one, as pending signals are");
}

/* FRONT gets the next one while GUARD looks at one. */
static void without_end(void) {
    int count = 0;

    begin();
    front_gets(SIGUSR1, SENDER, false);
    for (int next; count < 1000 && (next = guard_next_signal(&guard, command)) != 0; count++)
        guard_put_note(&shared->passed, &(struct note){.signo = SIGUSR1, .sender = SENDER});
    check(count == 1, "a stream of signals does not keep GUARD from its loop");
}

int main(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    command = start(false);
    ear = start(false);
    to_vlock_alone();
    to_the_group();
    to_the_group_long_ago();
    to_a_group_that_the_command_has_left();
    to_each_of_them();
    more_than_there_is_room_for();
    two_senders_to_each_of_them();
    one_that_waits_already();
    without_end();
    stop(command);
    stop(ear);
    return check_done();
}
