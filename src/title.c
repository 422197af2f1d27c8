/* title.c - where the words of the command line stand, and other words in their place. */
#include "title.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

bool title_take(struct title *title, char **argv) {
    char *end = *argv, *to;
    size_t bytes = 0, count = 0;

    *title = (struct title){.at = *argv};
    for (; argv[count]; count++) {
        size_t length = strlen(argv[count]) + 1;
        bytes += length;
        if (argv[count] == end) /* one behind the other, as the kernel lays them */
            end += length;
    }
    title->bytes = (size_t)(end - title->at);
    title->argv = malloc((count + 1) * sizeof *argv + bytes);
    if (!title->argv)
        return false;
    to = (char *)(title->argv + count + 1);
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(argv[i]) + 1;
        title->argv[i] = argv[i] = memcpy(to, argv[i], length);
        to += length;
    }
    title->argv[count] = NULL;
    return true;
}

void title_free(struct title *title) {
    free(title->argv);
    *title = (struct title){0};
}

void title_set(const struct title *title, const char *name, const char *line) {
    size_t length = strlen(line);

    prctl(PR_SET_NAME, name);
    if (!title->bytes)
        return;
    if (length > title->bytes - 1)
        length = title->bytes - 1;
    memset(title->at, 0, title->bytes);
    memcpy(title->at, line, length);
}
