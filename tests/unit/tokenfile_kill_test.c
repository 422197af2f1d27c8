/* An acquire that is killed between any two of its system calls: what it leaves is a token file. */
#include <signal.h>
#include <sys/ptrace.h>

#include "tokenfile_test.h"

enum { STOPS_MAX = 1000, UNTRACED = 9 };

/* An acquire, its fence given by the store. It is traced: it stops at each system call. */
static void acquire(struct play *play) {
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(UNTRACED);
    raise(SIGSTOP);
    _exit(play_prepare(play, "f", "n", "t") == DONE && play_publish(play, 1790, 0) == DONE ? 0 : 1);
}

/* Lets the child go on to its `stops`th stop (before a system call, or after one) and kills it
 * there. False if it had ended by then: *status says how. */
static bool kill_at(pid_t child, unsigned stops, int *status) {
    waitpid(child, status, 0);
    for (unsigned i = 0; i < stops && WIFSTOPPED(*status); i++) {
        if (ptrace(PTRACE_SYSCALL, child, NULL, NULL) != 0 || waitpid(child, status, 0) != child)
            break;
    }
    if (!WIFSTOPPED(*status))
        return false;
    kill(child, SIGKILL);
    waitpid(child, status, 0);
    return true;
}

/* True if the file is one that `vlock release --token-file` takes. */
static bool is_accepted(struct play *play, const char *path) {
    bool good = play_open(play, path, 0) == DONE && !play->found.bare &&
                strcmp(play->found.name, "n") == 0 && strcmp(play->found.token, "t") == 0 &&
                (play->found.fence == 1790 || (play->found.fence == 0 && path[0] == '.'));

    if (!good)
        printf("# %s: %s\n", path, play->why.text);
    tokenfile_close(&play->hold);
    return good;
}

/* Whether all that is in the directory is accepted; it is removed. */
static bool all_accepted(struct play *play, unsigned *count) {
    DIR *here = opendir(".");
    bool good = here != NULL;

    for (struct dirent *entry; here && (entry = readdir(here));) {
        if (entry->d_type != DT_REG)
            continue;
        (*count)++;
        good = is_accepted(play, entry->d_name) && good;
    }
    if (here)
        closedir(here);
    play_count("", true);
    return good;
}

int main(void) {
    struct play play;
    unsigned stops = 0, left = 0;
    bool killed = true, good = true;
    int status = 0;

    play_begin(&play);
    while (good && killed && ++stops < STOPS_MAX) {
        pid_t child = fork();

        if (child == 0)
            acquire(&play);
        killed = kill_at(child, stops, &status);
        good = all_accepted(&play, &left);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == UNTRACED)
        check_skip("a kill leaves a token file", "nothing can be traced here");
    else
        check(good && !killed && WIFEXITED(status) && WEXITSTATUS(status) == 0 && left > 0,
              "a kill at any system call leaves a token file, or nothing");
    printf("# %u stops, %u files\n", stops, left);
    play_end(&play);
    return check_done();
}
