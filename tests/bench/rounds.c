/* rounds.c - what whole processes cost, compared fairly.
 *
 *     rounds ROUNDS -- LABEL COMMAND [ARG...] -- LABEL COMMAND [ARG...] ...
 *
 * Every round runs every case once, in a new order, so that neither a drift of the machine nor
 * what the predecessor left in the caches favours one. A ratio is the median of the rounds'
 * ratios to the first case. In C, because a child's peak memory begins with that of the
 * process that started it. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

enum { CASES = 16, ROUNDS = 2000, WARM_UP = 5 };
enum measure { WALL, CPU, PEAK, MEASURES };

struct trial {
    const char *label;
    char **argv;
    int failures;
    double value[MEASURES][ROUNDS];
};

static struct trial trials[CASES];
static posix_spawn_file_actions_t quiet;
extern char **environ;

static double us(struct timeval t) {
    return (double)t.tv_sec * 1e6 + (double)t.tv_usec;
}

static double now_us(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Runs the case once; `round` below 0 only warms up. */
static void run(struct trial *trial, int round) {
    struct rusage use;
    int status;
    pid_t pid;
    double start = now_us();

    if (posix_spawnp(&pid, trial->argv[0], &quiet, NULL, trial->argv, environ) != 0) {
        fprintf(stderr, "rounds: cannot run '%s'\n", trial->argv[0]);
        exit(71);
    }
    while (wait4(pid, &status, 0, &use) < 0 && errno == EINTR)
        ;
    if (status != 0)
        trial->failures++;
    if (round < 0)
        return;
    trial->value[WALL][round] = now_us() - start;
    trial->value[CPU][round] = us(use.ru_utime) + us(use.ru_stime);
    trial->value[PEAK][round] = (double)use.ru_maxrss;
}

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

/* The value at `part` (0 to 1) of the sorted values. */
static double quantile(const double *values, int count, double part) {
    static double sorted[ROUNDS];

    memcpy(sorted, values, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, compare);
    return sorted[(int)(part * (count - 1) + 0.5)];
}

static double ratio(const struct trial *trial, enum measure measure, int count) {
    static double ratios[ROUNDS];

    for (int i = 0; i < count; i++) {
        double base = trials[0].value[measure][i];

        ratios[i] = base > 0 ? trial->value[measure][i] / base : 0;
    }
    return quantile(ratios, count, 0.5);
}

static int read_cases(char **argv) {
    int count = 0;

    for (; *argv; argv++) {
        if (strcmp(*argv, "--") != 0 || count == CASES)
            continue;
        *argv = NULL; /* ends the case before */
        if (argv[1] && argv[2])
            trials[count++] = (struct trial){.label = argv[1], .argv = argv + 2};
    }
    return count;
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 0, order[CASES];
    int count = read_cases(argv + (argc > 1));

    if (rounds < 1 || rounds > ROUNDS || count == 0)
        return 64;
    posix_spawn_file_actions_init(&quiet);
    for (int fd = 0; fd < 2; fd++)
        posix_spawn_file_actions_addopen(&quiet, fd, "/dev/null", O_RDWR, 0);
    for (int i = 0; i < count; i++)
        order[i] = i;
    for (int round = -WARM_UP; round < rounds; round++) {
        for (int i = count - 1; i > 0; i--) {
            int other = rand() % (i + 1), kept = order[i];

            order[i] = order[other];
            order[other] = kept;
        }
        for (int i = 0; i < count; i++)
            run(&trials[order[i]], round);
    }
    printf("case\trounds\tfailed\twall_us\tp10\tp90\tcpu_us\tpeak_KiB\twall_x\tcpu_x\n");
    for (const struct trial *trial = trials; trial < trials + count; trial++)
        printf("%s\t%d\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f\n", trial->label, rounds,
               trial->failures, quantile(trial->value[WALL], rounds, 0.5),
               quantile(trial->value[WALL], rounds, 0.1), quantile(trial->value[WALL], rounds, 0.9),
               quantile(trial->value[CPU], rounds, 0.5), quantile(trial->value[PEAK], rounds, 0.5),
               ratio(trial, WALL, rounds), ratio(trial, CPU, rounds));
    for (const struct trial *trial = trials; trial < trials + count; trial++)
        if (trial->failures > 0)
            return 1;
    return 0;
}
