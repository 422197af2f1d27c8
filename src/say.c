#include "say.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "output.h"
#include "text.h"

enum {
    PATIENCE_MS = 1000,
    LINE_BYTES = 4096 /* PIPE_BUF, see output_error(); half of it is enough for any NAME */
};

/* Adds `text` to the line, made harmless. */
static size_t add(char line[LINE_BYTES], size_t used, const char *text) {
    return used + text_printable(line + used, LINE_BYTES - used, text);
}

/* One line, one write: lines of several vlocks do not mix. Nobody can be told if it fails. */
static void put(const struct say *say, const char *text, char end, bool needed) {
    char whole[LINE_BYTES];
    size_t length = add(whole, 0, "vlock: ");

    if (say->name) {
        length = add(whole, length, say->name);
        length = add(whole, length, ": ");
    }
    length = add(whole, length, text);
    whole[length++] = end; /* in the place of the NUL */
    if (!say->carry)
        output_error(whole, length, PATIENCE_MS);
    else if (!say->carry(say->by, whole, length, needed))
        output_error(whole, length, 0);
}

static void line(const struct say *say, const char *text) {
    put(say, text, '\n', true);
}

__attribute__((format(printf, 2, 0))) static void formatted(const struct say *say,
                                                            const char *format, va_list args) {
    char text[2048];

    vsnprintf(text, sizeof text, format, args);
    line(say, text);
}

void say_trouble(const struct say *say, const struct trouble *why) {
    line(say, why->text);
}

void say_note(const struct say *say, const char *format, ...) {
    va_list args;

    if (say->quiet)
        return;
    va_start(args, format);
    formatted(say, format, args);
    va_end(args);
}

void say_loud(const struct say *say, const char *format, ...) {
    va_list args;

    va_start(args, format);
    formatted(say, format, args);
    va_end(args);
}

void say_question(const struct say *say, const char *text) {
    put(say, text, ' ', true);
}

void say_wire(void *say, const char *text) {
    const struct say *to = say;

    if (to->verbose)
        put(to, text, '\n', false);
}

bool say_answer(const char *bytes, size_t length) {
    return output_all(STDOUT_FILENO, bytes, length);
}
