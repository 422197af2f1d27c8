/* tree_test.c - whatever a process does to get away from its tree: it is found, told and killed.
 */
#include "tree_test.h"

#include <pthread.h>
#include <sys/syscall.h>

static struct tree tree;

static void sleeper(void) {
    stage_ready(0);
    stage_sleep();
}

static void ignorer(void) {
    signal(SIGTERM, SIG_IGN);
    sleeper();
}

static void in_a_session(void) {
    setsid();
    stage_start(sleeper);
    sleeper();
}

static void daemon_part(void) {
    setsid();
    stage_start(ignorer); /* and its parent ends */
}

static void stopped(void) {
    stage_ready(1);
    raise(SIGSTOP);
    stage_sleep();
}

static void *forking_thread(void *unused) {
    stage_start(sleeper);
    stage_sleep();
    return unused;
}

static void threaded(void) {
    pthread_t thread;

    pthread_create(&thread, NULL, forking_thread, NULL);
    stage_ready(2);
    stage_sleep();
}

/* The main thread ends, another lives: the process looks like a zombie. */
static void headless(void) {
    pthread_t thread;

    pthread_create(&thread, NULL, forking_thread, NULL);
    stage_ready(3);
    syscall(SYS_exit, 0);
}

/* True once exactly so many are found: what starts them may still be about to end. */
static bool counts(unsigned processes) {
    int64_t end_ms = stage_soon();

    while (tree_signal(&tree, 0, stage_soon()) != processes && clock_now_ms() < end_ms)
        poll(NULL, 0, 1);
    return tree_signal(&tree, 0, stage_soon()) == processes;
}

static bool ends_all(const char *what, void (*part)(void), int processes) {
    bool came, lived, killed;
    pid_t pid = stage_start(part);

    came = pid > 0 && stage_wait(&stage->ready, processes) && counts((unsigned)processes);
    lived = tree_lives(&tree);
    killed = tree_kill(&tree, stage_soon());
    check(came && lived && killed && !tree_lives(&tree), "%s: seen, and killed", what);
    check(waitpid(-1, NULL, WNOHANG) < 0, "%s: nothing is left to wait for", what);
    return check(stage_empty(), "%s: nothing of it lives", what);
}

static void test_kill(void) {
    ends_all("a child", sleeper, 1);
    ends_all("one that ignores TERM", ignorer, 1);
    ends_all("a session of its own and a child there", in_a_session, 2);
    ends_all("a daemon that was orphaned", daemon_part, 1);
    ends_all("a stopped one", stopped, 1);
    ends_all("the child of a thread", threaded, 2);
    ends_all("threads without their main thread", headless, 2);
}

static void chain(void) {
    int forks;

    /* Each forks one and ends at once: who looks sees a pid that is no longer there. Where their
     * killer is late they slow down: the dead are left to it, and must not use up all pids. */
    while ((forks = atomic_fetch_add(&stage->forks, 1)) < 20000) {
        pid_t pid;

        if (forks > 10000)
            poll(NULL, 0, 10);
        pid = fork();
        if (pid != 0)
            _exit(0);
        alarm(STAGE_LONG_S);
    }
}

static void bush(void) {
    /* All of them live and fork on, 600 at the most. */
    while (atomic_fetch_add(&stage->forks, 1) < 600)
        if (fork() == 0)
            alarm(STAGE_LONG_S);
    stage_sleep();
}

static void test_storms(void) {
    int forks;

    for (int i = 0; i < 3; i++)
        stage_start(chain);
    stage_wait(&stage->forks, 10);
    check(tree_kill(&tree, stage_soon()) && !tree_lives(&tree), "chains of forks are killed");
    forks = stage->forks;
    check(forks < 20000, "they did not just come to their end (%d forks)", forks);
    check(stage_empty(), "nothing of them lives");
    stage_start(bush);
    stage_wait(&stage->forks, 10);
    check(tree_kill(&tree, stage_soon()) && stage_empty(), "a bush of forks is killed");
}

static void note(int signo) {
    (void)signo;
    atomic_fetch_add(&stage->told, 1);
}

/* Counts its TERM, and starts something then, as a trap of a shell does. */
static void trap_forks(int signo) {
    note(signo);
    if (fork() == 0) {
        alarm(STAGE_LONG_S);
        stage_ready(4);
        stage_sleep();
    }
}

static void trapper(void) {
    signal(SIGTERM, trap_forks);
    sleeper();
}

static void noter(void) {
    signal(SIGTERM, note);
    sleeper();
}

static void family(void) {
    signal(SIGTERM, note);
    stage_start(noter);
    setsid();
    stage_start(trapper);
    sleeper();
}

static void test_signal(void) {
    char names[200];

    check(tree_signal(&tree, SIGTERM, stage_soon()) == 0 && !tree_lives(&tree), "nobody is nobody");
    tree_names(&tree, names, sizeof names);
    check(!*names, "and has no name");
    stage_start(family);
    stage_wait(&stage->ready, 3);
    check(tree_signal(&tree, SIGTERM, stage_soon()) == 3, "a signal reaches each of a family");
    check(stage_wait(&stage->told, 3) && stage_wait(&stage->ready, 4), "all take notice");
    check(stage->told == 3, "once each, and what a trap started is left to do its work");
    tree_names(&tree, names, sizeof names);
    check(strstr(names, "(pid ") && strstr(names, " and 1 more"), "they have names: %s", names);
    check(tree_kill(&tree, stage_soon()) && stage_empty(), "in the end they are killed");
}

static void ends_at_once(void) {
    stage_ready(0);
    _exit(7);
}

static void evil_name(void) {
    prctl(PR_SET_NAME, "a) R 1\n\x1b[2J(");
    stage_ready(5);
    stage_sleep();
}

static void test_own_children(void) {
    int status = 0;
    char names[100];
    pid_t pid = stage_start(ends_at_once);

    tree.keep = pid;
    stage_wait(&stage->ready, 1);
    waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT);
    check(!tree_lives(&tree) && tree_kill(&tree, stage_soon()), "a dead child does not live");
    check(waitpid(pid, &status, WNOHANG) == pid && WEXITSTATUS(status) == 7,
          "the status of the kept one stays");
    tree.keep = stage_start(sleeper);
    stage_wait(&stage->ready, 2);
    check(tree_signal(&tree, 0, stage_soon()) == 1 && tree_kill(&tree, stage_soon()),
          "it is killed like all");
    check(waitpid(tree.keep, &status, WNOHANG) == tree.keep && WTERMSIG(status) == SIGKILL,
          "and its end is left to be seen");
    tree.keep = 0;
    pid = stage_start(in_a_session);
    stage_wait(&stage->ready, 4);
    tree_spare(&tree, pid);
    check(!tree_lives(&tree) && tree_signal(&tree, SIGKILL, stage_soon()) == 0 &&
              tree_kill(&tree, 0),
          "a spared one and its child are not touched");
    check(kill(pid, 0) == 0 && waitpid(pid, NULL, WNOHANG) == 0, "they live on");
    tree.spared_count = 0;
    check(tree_lives(&tree) && tree_kill(&tree, stage_soon()), "until they are so no more");
    stage_start(evil_name);
    stage_wait(&stage->ready, 5);
    tree_names(&tree, names, sizeof names);
    check(strstr(names, "a) R 1") == names && !strchr(names, '\n') && !strchr(names, '\x1b'),
          "a name that pretends to be something else is harmless: %s", names);
    tree_names(&tree, names, 5);
    check(strcmp(names, "a) R") == 0, "a long one is cut off");
    check(tree_kill(&tree, stage_soon()) && stage_empty(), "and its process ends like others");
}

/* The same program, if not the one that it is called after. */
static void namesake(void) {
    prctl(PR_SET_NAME, "the-name");
    sleeper();
}

static void impostor(void) {
    stage_ready(1);
    execl("./the-name", "the-name", "60", NULL);
    _exit(1);
}

static bool is_called(pid_t pid, const char *name) {
    char path[64], found[64] = "";
    int fd;

    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, found, sizeof found - 1) < 0)
        return false;
    close(fd);
    return strncmp(found, name, strlen(name)) == 0;
}

/* Runs in a directory of its own. */
static void test_left_out(void) {
    char directory[] = "/tmp/vlock-tree-XXXXXX";
    int64_t end_ms = stage_soon();
    pid_t pid;

    if (!mkdtemp(directory) || chdir(directory) < 0 || symlink("/bin/sleep", "the-name") < 0)
        abort();
    stage_start(namesake);
    pid = stage_start(impostor);
    stage_wait(&stage->ready, 2);
    while (!is_called(pid, "the-name") && clock_now_ms() < end_ms)
        poll(NULL, 0, 1);
    tree.but = "the-name";
    check(tree_signal(&tree, SIGTERM, stage_soon()) == 1 && tree.left == 1,
          "of two of one name the one that is our program is left out");
    check(waitpid(pid, NULL, 0) == pid, "and the other one is not");
    tree.but = NULL;
    tree_kill_but(&tree, "the-name", clock_now_ms());
    check(tree.left == 1 && tree_lives(&tree), "it is not killed when there is no time to wait");
    check(tree_kill(&tree, stage_soon()) && stage_empty(), "but with all the rest");
    unlink("the-name");
    if (chdir("/") == 0)
        rmdir(directory);
}

static void test_crowd(int count) {
    unsigned reached;

    for (int i = 0; i < count; i++)
        stage_start(noter);
    check(stage_wait(&stage->ready, count), "%d children stand there", count);
    reached = tree_signal(&tree, SIGTERM, stage_soon());
    check(reached == (unsigned)count && stage_wait(&stage->told, count) && stage->told == count,
          "each hears a signal once");
    check(tree_kill(&tree, stage_soon()) && !tree_lives(&tree) && stage_empty(), "all are killed");
}

/* The other way to find the tree: as above. */
static void test_scan(void) {
    tree.how = TREE_BY_SCAN;
    ends_all("by scan: a session of its own and a child there", in_a_session, 2);
    ends_all("by scan: a daemon", daemon_part, 1);
    test_signal();
    test_storms();
    tree.how = TREE_BY_CHILDREN;
}

int main(void) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    stage_set();
    tree_init(&tree, -1);
    check(tree.since_ticks == 0, "a process without children has no strangers");
    test_kill();
    test_storms();
    test_signal();
    test_own_children();
    test_left_out();
    test_crowd(2000);
    if (tree.how == TREE_BY_CHILDREN)
        test_scan();
    return check_done();
}
