/* tree_place_test.c - tree where it is not alone: children that were there before, foreign users,
 * pid namespaces, numbers that are used again, a /proc that is missing or shows little, few
 * descriptors, debuggers.
 */
#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tree_part.h"
#include "tree_test.h"

static struct tree tree;

/* What became of a test that ran in a process of its own. */
enum { WELL, BADLY, NOT_HERE };

/* Runs the test in a child that is a subreaper; with `namespaces`, as the first process there. */
static void apart(int (*test)(void), int namespaces, const char *sentence) {
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        alarm(STAGE_LONG_S);
        if (namespaces && unshare(namespaces) < 0)
            _exit(NOT_HERE);
        pid = namespaces & CLONE_NEWPID ? fork() : 0;
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            prctl(PR_SET_CHILD_SUBREAPER, 1);
            _exit(test());
        }
        waitpid(pid, &status, 0);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : BADLY);
    }
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_HERE)
        check_skip(sentence, "this is not permitted here");
    else
        check(WIFEXITED(status) && WEXITSTATUS(status) == WELL, "%s", sentence);
    tree_kill(&tree, stage_soon());
    check(stage_empty(), "%s: nobody is left", sentence);
}

/* Says which line it was that went wrong. */
#define MUST(holds)                                      \
    do {                                                 \
        if (!(holds)) {                                  \
            printf("# line %d: %s\n", __LINE__, #holds); \
            fflush(stdout);                              \
            return BADLY;                                \
        }                                                \
    } while (0)

static void sleeper(void) {
    stage_ready(0);
    stage_sleep();
}

static void orphan_maker(void) {
    setsid();
    stage_start(sleeper);
    stage_ready(1);
    stage_sleep();
}

/* The soft limit, as far as the hard one allows. */
static bool limit_descriptors(rlim_t most) {
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return false;
    limit.rlim_cur = most < limit.rlim_max ? most : limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

static int strangers(void) {
    pid_t parent = stage_start(orphan_maker), child = stage_start(sleeper);

    MUST(stage_wait(&stage->ready, 3));
    tree_init(&tree, -1);
    MUST(tree.since_ticks > 0);
    MUST(!tree_lives(&tree) && tree_signal(&tree, SIGKILL, stage_soon()) == 0);
    stage_start(orphan_maker);
    MUST(stage_wait(&stage->ready, 5));
    MUST(tree_lives(&tree) && tree_signal(&tree, 0, stage_soon()) == 2);
    /* A stranger ends: its child comes to us, and is one still. */
    kill(parent, SIGKILL);
    waitpid(parent, NULL, 0);
    MUST(tree_signal(&tree, 0, stage_soon()) == 2 && tree_kill(&tree, stage_soon()));
    MUST(!tree_lives(&tree));
    /* Where their age is not to be seen it cannot be told that nothing lives. */
    MUST(limit_descriptors(0) && tree_lives(&tree) && !tree_kill(&tree, clock_now_ms()));
    MUST(limit_descriptors(RLIM_INFINITY) && !tree_lives(&tree) && kill(child, 0) == 0);
    MUST(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    MUST(waitpid(-1, NULL, WNOHANG) == 0); /* the orphan */
    tree.since_ticks = 0;
    MUST(tree_kill(&tree, stage_soon()) && waitpid(-1, NULL, WNOHANG) < 0);
    return WELL;
}

/* /proc is still that of the namespace outside: its numbers mean others. */
static int in_a_namespace(void) {
    struct trouble why;
    int proc = -7;

    MUST(tree_find_proc(&proc, &why) == FAILED && why.status == EXIT_SYSTEM && proc == -7);
    MUST(strstr(why.text, "another pid namespace"));
    tree_init(&tree, -1);
    tree.keep = stage_start(orphan_maker);
    MUST(stage_wait(&stage->ready, 2));
    MUST(tree_lives(&tree) && tree_signal(&tree, 0, stage_soon()) == 1);
    /* Who is kept is killed; that is not said of the one who comes from it. */
    MUST(!tree_kill(&tree, clock_now_ms() + 20) && waitpid(tree.keep, NULL, 0) == tree.keep);
    MUST(tree_lives(&tree) && kill(-1, SIGKILL) == 0);
    return WELL;
}

static void namespace_maker(void) {
    if (unshare(CLONE_NEWPID) < 0)
        stage->told = 1;
    stage_start(orphan_maker);
    stage_ready(2);
    stage_sleep();
}

static int around_a_namespace(void) {
    tree_init(&tree, -1);
    stage_start(namespace_maker);
    MUST(stage_wait(&stage->ready, 3));
    if (stage->told)
        return tree_kill(&tree, stage_soon()) ? NOT_HERE : BADLY;
    MUST(tree_lives(&tree) && tree_signal(&tree, 0, stage_soon()) == 3);
    MUST(tree_kill(&tree, stage_soon()) && !tree_lives(&tree));
    return WELL;
}

/* Starts a child of ours with this number. */
static pid_t start_as(pid_t pid) {
    char text[16];
    int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);

    snprintf(text, sizeof text, "%d", (int)pid - 1);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return -1;
    close(fd);
    return stage_start(sleeper);
}

/* The first process of a namespace starts the one that has a tree; and strangers to that. */
static const char *used_again_list(const int *to) {
    char byte;
    struct tree_sight sight;
    pid_t pid;
    int dir;

    prctl(PR_SET_CHILD_SUBREAPER, 1);
    tree_init(&tree, -1);
    pid = stage_start(sleeper);
    stage_wait(&stage->ready, 1);
    tree_find_how(&tree);
    tree.self = getpid();
    tree_list_clear(&tree); /* as whatever walks does first */
    tree_walk(&tree, 0);
    if (!tree_walk_open(&tree, tree_list_find(&tree, pid), &dir, &sight))
        return "the child is not found";
    poll(NULL, 0, 20); /* ages are told in hundredths of a second */
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    stage->pid[5] = pid;
    if (write(to[1], "", 1) != 1 || read(to[2], &byte, 1) != 1)
        return "the stranger does not come";
    if (kill(pid, 0) < 0)
        return "nobody has that number";
    if (syscall(SYS_pidfd_send_signal, dir, SIGKILL, NULL, 0) == 0)
        return "the signal arrives somewhere";
    if (tree_walk_open(&tree, tree_list_find(&tree, pid), &dir, &sight))
        return "the stranger is taken for the child";
    return NULL;
}

/* The namespaces are ours alone: nothing that is mounted here shows outside. */
static bool mount_proc(const char *options) {
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("proc", "/proc", "proc", 0, options) == 0;
}

/* The number that we have in the namespace of /proc. */
static pid_t number_in_proc(void) {
    char text[16] = "";

    return readlink("/proc/self", text, sizeof text - 1) > 0 ? atoi(text) : -1;
}

/* In a namespace below that of /proc, as a process that has the same number in both. */
static int the_same_number(void) {
    int proc;

    tree_find_proc(&proc, NULL);
    if (number_in_proc() != getpid())
        return NOT_HERE;
    MUST(tree_find_proc(&proc, NULL) == FAILED);
    return WELL;
}

static int in_the_child(int (*test)(void)) {
    int status = -1;
    pid_t pid = fork();

    if (pid == 0)
        _exit(test());
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : BADLY;
}

/* Nobody else starts processes in these namespaces. */
static int with_the_next_number(void) {
    char text[16];
    int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);

    snprintf(text, sizeof text, "%d", number_in_proc());
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return NOT_HERE;
    close(fd);
    return in_the_child(the_same_number);
}

static int in_a_namespace_below(void) {
    return unshare(CLONE_NEWPID) < 0 ? NOT_HERE : in_the_child(with_the_next_number);
}

static int numbers_agree(void) {
    int proc;

    if (!mount_proc(NULL))
        return NOT_HERE;
    MUST(tree_find_proc(&proc, NULL) == DONE);
    return in_the_child(in_a_namespace_below);
}

/* A directory in which the right `self` is all there is. */
static int false_proc(void) {
    struct trouble why;
    int proc = -7;

    if (!mount_proc(NULL) || mount("none", "/mnt", "tmpfs", 0, NULL) < 0)
        return NOT_HERE;
    MUST(mkdir("/mnt/self", 0755) == 0);
    MUST(mount("/proc/self", "/mnt/self", NULL, MS_BIND, NULL) == 0);
    MUST(mount("/mnt", "/proc", NULL, MS_BIND | MS_REC, NULL) == 0);
    MUST(access("/proc/self/status", R_OK) == 0);
    MUST(tree_find_proc(&proc, &why) == FAILED && strstr(why.text, "no proc file system"));
    MUST(proc == -7 && open("/", O_PATH | O_CLOEXEC) == dup(0) - 1); /* none was left open */
    return WELL;
}

static int found_in(const char *options) {
    int proc = -1;

    if (!mount_proc(options))
        return NOT_HERE;
    MUST(setresgid(1, 1, 1) == 0 && setresuid(1, 1, 1) == 0);
    MUST(prctl(PR_SET_DUMPABLE, 1) == 0); /* as after an execve: else we are hidden ourselves */
    MUST(tree_find_proc(&proc, NULL) == DONE);
    tree_init(&tree, proc);
    stage_start(orphan_maker);
    MUST(stage_wait(&stage->ready, 2));
    MUST(tree_signal(&tree, 0, stage_soon()) == 2 && tree_kill(&tree, stage_soon()));
    return WELL;
}

static int hides_others(void) {
    return found_in("hidepid=1");
}

static int shows_no_others(void) {
    return found_in("hidepid=2");
}

static int shows_processes_alone(void) {
    return found_in("subset=pid");
}

/* What was found stays, whatever stands at its place. */
static int covered(void) {
    int proc;

    if (!mount_proc(NULL))
        return NOT_HERE;
    MUST(tree_find_proc(&proc, NULL) == DONE);
    tree_init(&tree, proc);
    tree.keep = stage_start(orphan_maker);
    tree_hold(&tree);
    MUST(stage_wait(&stage->ready, 2));
    MUST(umount2("/proc", MNT_DETACH) == 0 && mount("none", "/proc", "tmpfs", 0, NULL) == 0);
    MUST(access("/proc/self", F_OK) < 0);
    MUST(tree_lives(&tree) && tree_signal(&tree, 0, stage_soon()) == 2);
    MUST(tree_kill(&tree, stage_soon()) && !tree_lives(&tree));
    return WELL;
}

static int used_again(void) {
    int pipes[4], status;
    char byte;
    pid_t pid;

    if (!mount_proc(NULL))
        return NOT_HERE;
    MUST(pipe(pipes) == 0 && pipe(pipes + 2) == 0);
    pid = fork();
    if (pid == 0) {
        const char *wrong = used_again_list(pipes);
        if (wrong)
            printf("# %s\n", wrong);
        fflush(stdout);
        _exit(wrong ? BADLY : WELL);
    }
    MUST(read(pipes[0], &byte, 1) == 1);
    if (start_as(stage->pid[5]) != stage->pid[5])
        return NOT_HERE;
    MUST(write(pipes[3], "", 1) == 1);
    MUST(waitpid(pid, &status, 0) == pid);
    return status == 0 ? WELL : BADLY;
}

static void of_nobody(void) {
    stage_start(orphan_maker);
    if (setuid(65534) < 0)
        stage->told = 1;
    sleeper();
}

/* We are `daemon`, and hidepid hides who is `nobody`; root may not be told. */
static int hidden_and_refused(void) {
    pid_t pid;

    if (!mount_proc("hidepid=2"))
        return NOT_HERE;
    tree_init(&tree, -1);
    pid = stage_start(of_nobody);
    MUST(stage_wait(&stage->ready, 3));
    MUST(setgroups(0, NULL) == 0 && setresgid(1, 1, 0) == 0 && setresuid(1, 1, 0) == 0);
    MUST(tree_signal(&tree, SIGTERM, stage_soon()) == 0);
    MUST(tree_lives(&tree) && !tree_kill(&tree, clock_now_ms()));
    MUST(kill(pid, 0) < 0 && errno == EPERM);
    MUST(setresuid(0, 0, 0) == 0 && setresgid(0, 0, 0) == 0);
    MUST(tree_kill(&tree, stage_soon()));
    return WELL;
}

static int few_descriptors(void) {
    tree_init(&tree, -1);
    tree.keep = stage_start(orphan_maker);
    tree_hold(&tree);
    MUST(stage_wait(&stage->ready, 2));
    MUST(limit_descriptors(0));
    MUST(tree_lives(&tree) && tree_kill(&tree, stage_soon()) && !tree_lives(&tree));
    return WELL;
}

/* The one descriptor that there is for the list of our children was that of /proc. */
static int one_descriptor(void) {
    int proc;

    MUST(tree_find_proc(&proc, NULL) == DONE && limit_descriptors((rlim_t)proc + 1));
    tree_init(&tree, proc);
    tree.keep = stage_start(orphan_maker);
    tree_hold(&tree);
    MUST(stage_wait(&stage->ready, 2) && tree.own >= 0);
    MUST(tree_lives(&tree) && tree_kill(&tree, stage_soon()) && !tree_lives(&tree));
    return WELL;
}

/* Too late for the list: it is not said that nothing lives, and there is an end to looking. */
static int no_descriptor(void) {
    tree_init(&tree, -1);
    stage_start(orphan_maker);
    MUST(stage_wait(&stage->ready, 2));
    MUST(limit_descriptors(0));
    MUST(tree_lives(&tree) && !tree_kill(&tree, clock_now_ms() + 50));
    MUST(limit_descriptors(RLIM_INFINITY));
    MUST(tree_signal(&tree, 0, stage_soon()) == 2 && tree_kill(&tree, stage_soon()));
    return WELL;
}

static void debugger(void) {
    pid_t pid = stage->pid[0];

    if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) < 0)
        stage->told = 1;
    waitpid(pid, NULL, 0);
    stage_ready(3);
    stage_sleep(); /* and never waits for its end */
}

/* The debugger is no part of the tree. */
static int traced(void) {
    pid_t pid;

    tree_init(&tree, -1);
    stage_start(sleeper);
    MUST(stage_wait(&stage->ready, 1));
    pid = stage_start(debugger);
    MUST(stage_wait(&stage->ready, 2) && tree_spare(&tree, pid));
    if (stage->told)
        return NOT_HERE;
    MUST(tree_lives(&tree) && tree_kill(&tree, stage_soon()) && !tree_lives(&tree));
    kill(pid, SIGKILL);
    return WELL;
}

int main(void) {
    const int both = CLONE_NEWPID | CLONE_NEWNS;

    prctl(PR_SET_CHILD_SUBREAPER, 1);
    stage_set();
    tree_init(&tree, -1);
    apart(strangers, 0, "children that were there before, and theirs, are left alone");
    apart(around_a_namespace, 0, "a pid namespace in the tree is seen through");
    apart(in_a_namespace, CLONE_NEWPID, "a foreign /proc is none, and all are not said to be dead");
    apart(numbers_agree, both, "a foreign /proc is none, though our numbers there and here agree");
    apart(false_proc, both, "a directory that is no proc file system is none");
    apart(hides_others, both, "hidepid=1 will do");
    apart(shows_no_others, both, "hidepid=2 will do");
    apart(shows_processes_alone, both, "subset=pid will do");
    apart(covered, both, "a /proc that is unmounted and covered later is still seen");
    apart(used_again, both, "a number that is used again means another");
    apart(hidden_and_refused, both, "hidden, and not to be signalled: said");
    apart(few_descriptors, 0, "without a descriptor left all are killed");
    apart(one_descriptor, 0, "and where there never was one to spare");
    apart(no_descriptor, 0, "without any list nobody is said to be dead");
    apart(traced, 0, "one that a debugger holds is killed");
    return check_done();
}
