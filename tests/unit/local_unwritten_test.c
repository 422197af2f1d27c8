/* local_unwritten_test.c - when the next record cannot be written, the file says what it said, and
 * so does the byte that shows that a holder lives. */
#include "local.h"

#include <sys/resource.h>

static char directory[256];

static enum outcome ask_alive(struct local *local, enum request_kind kind, const char *token,
                              int id, int64_t ttl_ms) {
    return local_send(
        local,
        (struct request){.kind = kind, .key = "v", .token = token, .ttl_ms = ttl_ms, .alive = true},
        id);
}

/* True if any holder shows in the file of `v` that it lives. */
static bool life_is_shown(void) {
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = RECORD_BYTES};
    char path[300];
    int fd;

    snprintf(path, sizeof path, "%s/v", directory);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fcntl(fd, F_OFD_GETLK, &all) != 0)
        exit(2);
    close(fd);
    return all.l_type != F_UNLCK;
}

/* Lets no file be written from now on, or all again. */
static void forbid_writing(bool forbid) {
    static struct rlimit found;
    struct rlimit none;

    if (forbid)
        getrlimit(RLIMIT_FSIZE, &found);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = found.rlim_max};
    signal(SIGXFSZ, forbid ? SIG_IGN : SIG_DFL);
    if (setrlimit(RLIMIT_FSIZE, forbid ? &none : &found) != 0)
        exit(2);
}

static void test_life_of_nothing(struct local *local) {
    enum outcome outcome;
    bool shown;

    forbid_writing(true);
    outcome = ask_alive(local, ASK_ACQUIRE, "alice", ID_1, 60000);
    shown = life_is_shown();
    forbid_writing(false);
    check(outcome == FAILED && local->why.status == EXIT_CANNOT_WRITE && !shown &&
              local_is_free(local, "v"),
          "an acquire that cannot be written shows no life");
    local_ask(local, ASK_ACQUIRE, "v", "alice", ID_3, 60000);
    forbid_writing(true);
    outcome = ask_alive(local, ASK_RENEW, "alice", ID_3, 90000);
    shown = life_is_shown();
    forbid_writing(false);
    check(outcome == FAILED && !shown && local_is_held(local, "v", "alice"),
          "nor does a renewal that would have begun to show one");
    local_ask(local, ASK_RELEASE, "v", "alice", ID_3, 0);
    ask_alive(local, ASK_ACQUIRE, "alice", ID_2, 1);
    local_sleep_until(local->answer.asked_ms + 1);
    forbid_writing(true);
    outcome = ask_alive(local, ASK_RENEW, "alice", ID_2, 60000);
    forbid_writing(false);
    check(outcome == FAILED && life_is_shown() && local_is_held(local, "v", "alice"),
          "a renewal that cannot be written leaves the holder alive");
    local_ask(local, ASK_RELEASE, "v", "alice", ID_2, 0);
    check(!life_is_shown(), "until it is released");
}

int main(void) {
    struct local local;

    local_make(directory);
    if (local_open(&local, directory) != DONE)
        return 2;
    local_ask(&local, ASK_ACQUIRE, "v", "alice", ID_4, 60000);
    local_ask(&local, ASK_RELEASE, "v", "alice", ID_4, 0);
    test_life_of_nothing(&local);
    local_close(&local);
    local_remove(directory);
    return check_done();
}
