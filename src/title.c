/* title.c - where the words of the command line stand, and other words in their place. */
#include "title.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

bool title_take(struct title *title, char **argv) {
    char *end = *argv, *to;
    size_t whole = 1;

    for (char **word = argv; *word; word++) {
        whole += strlen(*word) + 1;
        if (*word == end) /* one behind the other, as the kernel lays them */
            end += strlen(*word) + 1;
    }
    to = malloc(whole);
    if (!to)
        return false;
    *title = (struct title){.at = *argv, .bytes = (size_t)(end - *argv), .words = to};
    for (; *argv; argv++) {
        size_t length = strlen(*argv) + 1;
        memcpy(to, *argv, length);
        *argv = to;
        to += length;
    }
    return true;
}

void title_free(struct title *title) {
    free(title->words);
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
