#include "say.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

static bool write_all(int fd, const char *bytes, size_t length) {
    while (length) {
        ssize_t written = write(fd, bytes, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        bytes += written;
        length -= (size_t)written;
    }
    return true;
}

/* One line, one write: lines of several vlocks do not mix. Nobody can be told if it fails. */
static void line(const char *name, const char *text) {
    char shown[2 * 512 + 1], whole[sizeof shown + 2048];
    int length;

    text_printable(shown, sizeof shown, name ? name : "");
    length = snprintf(whole, sizeof whole - 1, "vlock: %s%s%s", shown, name ? ": " : "", text);
    if (length < 0)
        return;
    if ((size_t)length > sizeof whole - 2)
        length = (int)sizeof whole - 2;
    whole[length] = '\n';
    write_all(STDERR_FILENO, whole, (size_t)length + 1);
}

__attribute__((format(printf, 2, 0))) static void formatted(const char *name, const char *format,
                                                            va_list args) {
    char text[2048], safe[2048];

    vsnprintf(text, sizeof text, format, args);
    text_printable(safe, sizeof safe, text);
    line(name, safe);
}

void say_trouble(const struct say *say, const struct trouble *why) {
    line(say->name, why->text);
}

void say_note(const struct say *say, const char *format, ...) {
    va_list args;

    if (say->quiet)
        return;
    va_start(args, format);
    formatted(say->name, format, args);
    va_end(args);
}

void say_loud(const struct say *say, const char *format, ...) {
    va_list args;

    va_start(args, format);
    formatted(say->name, format, args);
    va_end(args);
}

void say_wire(void *say, const char *text) {
    const struct say *to = say;
    char safe[1024];

    if (!to->verbose)
        return;
    text_printable(safe, sizeof safe, text);
    line(to->name, safe);
}

bool say_answer(const char *bytes, size_t length) {
    return write_all(STDOUT_FILENO, bytes, length);
}
