#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "guard_part.h"

enum {
    EAR_LOOKS = 100,   /* of 1 ms */
    STOP_LOOKS = 3000, /* too: FRONT may be long in coming to that */
    OLD_MS = 1000,
    EAR_FIRST = 5 /* so many of them before it is taken for certain that it has not heard */
};

/* The beginning of a file; nothing if it cannot be read. */
static void read_text(const char *path, char *text, size_t bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, bytes - 1);

    if (fd >= 0)
        close(fd);
    text[length > 0 ? length : 0] = '\0';
}

/* Whether this signal waits for this process; false if that cannot be seen. */
static bool waits_for(pid_t pid, unsigned signo) {
    char path[48], text[4096];
    char *at;

    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    read_text(path, text, sizeof text);
    at = strstr(text, "\nShdPnd:");
    return at && (strtoull(at + strlen("\nShdPnd:"), NULL, 16) >> (signo - 1) & 1);
}

/* The environment, and where the memory is. Kept until the end. */
static char **environment_with(int memory) {
    static char word[sizeof GUARD_VARIABLE + 16];
    size_t count = 0;
    char **made;

    while (environ[count])
        count++;
    made = calloc(count + 2, sizeof *made);
    if (!made)
        return NULL;
    snprintf(word, sizeof word, GUARD_VARIABLE "=%d", memory);
    memcpy(made, environ, count * sizeof *made);
    made[count] = word;
    return made;
}

/* Memory that FRONT will find again after execve. */
static struct shared *make_shared(const struct post *post, int memory) {
    size_t bytes = sizeof(struct shared) + post->estate_bytes;
    struct shared *made;

    if (ftruncate(memory, (off_t)bytes) != 0)
        return NULL;
    made = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (made == MAP_FAILED)
        return NULL;
    memcpy(made, post->shared, sizeof *made);
    memcpy(made->estate, post->estate, post->estate_bytes);
    memcpy(made->magic, GUARD_MAGIC, sizeof made->magic);
    made->bytes = bytes;
    return made;
}

/* Moves what both see to where it stays when FRONT has a memory of its own. */
static void prepare_to_part(struct post *post) {
    int memory = GUARD_SHARES_MEMORY ? memfd_create("vlock", MFD_CLOEXEC) : -1;
    char **envp = memory < 0 ? NULL : environment_with(memory);
    struct shared *made = envp ? make_shared(post, memory) : NULL;

    if (!made) {
        free(envp);
        if (memory >= 0)
            close(memory);
        return;
    }
    post->envp = envp;
    post->shared = made;
    post->guard.told = &made->told;
    post->memory = memory;
}

void guard_listen(const struct guard *guard) {
    struct post *post = guard->post;

    if (post->called && post->shared->apart && post->memory >= 0) {
        close(post->memory); /* FRONT has it */
        post->memory = -1;
    }
    if (post->called || guard_is_orphan(guard))
        return;
    setsid();
    prepare_to_part(post);
    post->called = post->shared->ear_wanted = true;
    kill(guard->front, GUARD_CALLS);
}

/* FRONT sleeps until the instant that it knows; it looks again then. */
void guard_due(const struct guard *guard, int64_t at_ms) {
    struct guard_told *told = guard->told;
    bool sooner = at_ms < told->due_ms;

    __atomic_store_n(&told->due_ms, at_ms, __ATOMIC_SEQ_CST);
    if (sooner && guard->post->called && !guard_is_orphan(guard))
        kill(guard->front, GUARD_CALLS);
}

bool guard_say(const void *guard, const char *bytes, size_t length, bool needed) {
    const struct guard *self = guard;
    struct post *post = self->post;
    struct shared *shared = post->shared;
    bool will_not_part = post->called && post->memory < 0 && !shared->apart;
    unsigned room = needed ? SAID_BYTES : SAID_BYTES / 2;
    unsigned used = shared->put - __atomic_load_n(&shared->taken, __ATOMIC_SEQ_CST);

    if (guard_is_orphan(self) || (GUARD_SHARES_MEMORY && will_not_part)) {
        guard_speak(shared, 0);
        return false;
    }
    if (used > room || length > room - used)
        return true;
    for (size_t i = 0; i < length; i++)
        shared->said[(shared->put + i) % SAID_BYTES] = bytes[i];
    __atomic_store_n(&shared->put, shared->put + (unsigned)length, __ATOMIC_SEQ_CST);
    if (post->called)
        kill(self->front, GUARD_CALLS);
    return true;
}

/* Whether the ear has got this one, too. kill(2) holds the kernel's list of processes while it goes
 * through a group, and FRONT may have been quicker than its end: a call that changes that list
 * waits for it. Who signals one process after the other (a service manager) is given a few
 * milliseconds. The ear may be slower than we: what is pending there will be counted. */
static bool ear_has(const struct guard *guard, unsigned signo) {
    const struct shared *shared = guard->post->shared;
    unsigned *seen = guard->post->seen;

    if (shared->ear <= 0 || signo >= SIGNALS)
        return false;
    /* FRONT may get one for two that the ear has counted: what is old was not meant. */
    if (clock_now_ms() - shared->heard_ms[signo] > OLD_MS)
        seen[signo] = shared->heard[signo];
    setpgid(0, 0); /* refused to who leads a session, but not before that */
    for (int looks = 0; looks < EAR_LOOKS && shared->heard[signo] == seen[signo]; looks++) {
        /* In this order: what it takes, it has in hand before it is not pending any more. */
        bool pending = waits_for(shared->ear, signo);
        bool reads = __atomic_load_n(&shared->ear_reads, __ATOMIC_SEQ_CST);
        if (!pending && !reads && looks >= EAR_FIRST && shared->heard[signo] == seen[signo])
            return false;
        poll(NULL, 0, 1);
    }
    seen[signo]++;
    return true;
}

/* ---- GUARD ---- */

static bool front_is_stopped(const struct post *post) {
    return __atomic_load_n(&post->shared->stopped, __ATOMIC_SEQ_CST);
}

/* The terminal stops all of us, one after the other: what FRONT is yet to take, is waited for. */
static void await_front(const struct post *post) {
    int looks = 0;

    do
        poll(NULL, 0, 1);
    while (++looks < STOP_LOOKS && !front_is_stopped(post) &&
           waits_for(post->guard.front, GUARD_FRONT_STOPS));
}

/* Rests while FRONT is stopped, and lives. This is where we wait anyway: nobody who needs what we
 * have in hand is kept waiting (a SIGSTOP could come in the middle of a store's work). */
static void rest_with_front(const struct post *post) {
    /* A SIGCONT that comes late takes a SIGTSTP back that waits, and with it FRONT's word. */
    struct timespec a_while = {.tv_sec = 1};
    sigset_t wakes;

    sigemptyset(&wakes);
    sigaddset(&wakes, GUARD_FRONT_STOPS);
    sigaddset(&wakes, GUARD_FRONT_GONE);
    while (front_is_stopped(post) && !guard_is_orphan(&post->guard))
        sigtimedwait(&wakes, NULL, &a_while);
    if (guard_is_orphan(&post->guard))
        kill(post->guard.self, GUARD_FRONT_GONE); /* for the loop, which has not seen it */
}

/* Until there is a command. */
static bool on_signal(void *arg, const struct signalfd_siginfo *info) {
    const struct post *post = arg;

    if (info->ssi_signo != GUARD_FRONT_STOPS)
        return post->on_signal(post->signal_arg, info);
    if (!guard_from_front(&post->guard, info))
        await_front(post);
    rest_with_front(post);
    return false;
}

bool guard_begin(const struct guard *guard) {
    const struct post *post = guard->post;
    struct guard_told *told = guard->told;
    struct timespec at_once = {0};
    sigset_t stops;

    sigemptyset(&stops);
    sigaddset(&stops, GUARD_FRONT_STOPS);
    for (;;) {
        if (sigtimedwait(&stops, NULL, &at_once) > 0)
            await_front(post);
        __atomic_store_n(&told->running, true, __ATOMIC_SEQ_CST);
        if (guard_is_orphan(guard))
            return false;
        if (!front_is_stopped(post))
            return true;
        __atomic_store_n(&told->running, false, __ATOMIC_SEQ_CST);
        rest_with_front(post);
    }
}

/* GUARD's own signals: FRONT's, the word of FRONT's death and of its being stopped, and none that
 * would stop GUARD: what reading and writing to a terminal from another group brings. */
static enum outcome take_signals(struct post *post, struct trouble *why) {
    static const int stopping[] = {SIGTTIN, SIGTTOU};
    struct loop *loop = post->loop;
    sigset_t quiet, extra;

    sigemptyset(&extra);
    sigaddset(&extra, GUARD_FRONT_GONE);
    sigaddset(&extra, GUARD_FRONT_STOPS);
    sigemptyset(&quiet);
    for (size_t i = 0; i < sizeof stopping / sizeof *stopping; i++)
        sigaddset(&quiet, stopping[i]);
    sigprocmask(SIG_BLOCK, &quiet, NULL);
    return loop_retake_signals(loop, &extra, on_signal, post, why);
}

int guard_be(void *arg) {
    struct post *post = arg;

    post->guard.self = getpid();
    post->shared->guard = post->guard.self; /* FRONT may be long in coming to that */
    prctl(PR_SET_NAME, GUARD_NAME);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (take_signals(post, &post->why) != DONE) {
        post->guard.told->ended = true;
        _exit(EXIT_SYSTEM);
    }
    prctl(PR_SET_PDEATHSIG, GUARD_FRONT_GONE);
    if (!guard_is_orphan(&post->guard)) { /* else FRONT died before that */
        int status = post->work(&post->guard, post->arg);
        post->guard.told->status = status; /* where it is now: guard_listen() moves it */
        post->guard.told->ended = true;
    }
    _exit(EXIT_DONE);
}

bool guard_is_orphan(const struct guard *guard) {
    return getppid() != guard->front;
}

bool guard_all_have_it(const struct guard *guard, const struct signalfd_siginfo *info) {
    bool heard = ear_has(guard, info->ssi_signo); /* asked in every case: it counts */

    return heard || info->ssi_int == FROM_TERMINAL;
}

bool guard_from_front(const struct guard *guard, const struct signalfd_siginfo *info) {
    return info->ssi_pid == (uint32_t)guard->front;
}

/* Whether FRONT's session has a terminal: the fifth field behind the name in /proc/PID/stat. */
static bool has_terminal(pid_t front) {
    char path[48], text[512];
    unsigned long long number = 0;
    char *at;

    snprintf(path, sizeof path, "/proc/%ld/stat", (long)front);
    read_text(path, text, sizeof text);
    at = strrchr(text, ')');
    for (int field = 0; at && field < 5; field++)
        at = strchr(at + 1, ' ');
    if (at)
        number = strtoull(at + 1, NULL, 10);
    return number != 0;
}

void guard_show_stopped(const struct guard *guard, int signo) {
    if (!guard_is_orphan(guard) && has_terminal(guard->front))
        kill(guard->front, signo ? signo : SIGCONT);
}
