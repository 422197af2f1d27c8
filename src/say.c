#include "say.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "output.h"
#include "text.h"

enum { PATIENCE_MS = 1000 };

/* One line, one write: lines of several vlocks do not mix. Nobody can be told if it fails. */
static void put(const struct say *say, const char *text, char end, bool needed) {
    const char *name = say->name;
    char shown[2 * 512 + 1], whole[sizeof shown + 2048];
    int length;

    text_printable(shown, sizeof shown, name ? name : "");
    length = snprintf(whole, sizeof whole - 1, "vlock: %s%s%s", shown, name ? ": " : "", text);
    if (length < 0)
        return;
    if ((size_t)length > sizeof whole - 2)
        length = (int)sizeof whole - 2;
    whole[length++] = end;
    if (!say->carry)
        output_error(whole, (size_t)length, PATIENCE_MS);
    else if (!say->carry(say->by, whole, (size_t)length, needed))
        output_error(whole, (size_t)length, 0);
}

static void line(const struct say *say, const char *text) {
    put(say, text, '\n', true);
}

__attribute__((format(printf, 2, 0))) static void formatted(const struct say *say,
                                                            const char *format, va_list args) {
    char text[2048], safe[2048];

    vsnprintf(text, sizeof text, format, args);
    text_printable(safe, sizeof safe, text);
    line(say, safe);
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
    char safe[1024];

    if (!to->verbose)
        return;
    text_printable(safe, sizeof safe, text);
    put(to, safe, '\n', false);
}

bool say_answer(const char *bytes, size_t length) {
    return output_all(STDOUT_FILENO, bytes, length);
}
