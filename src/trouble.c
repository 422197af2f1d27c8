#include "trouble.h"

#include <stdarg.h>
#include <stdio.h>

#include "text.h"

enum outcome trouble_say(struct trouble *why, enum outcome outcome, enum exit_status status,
                         const char *format, ...) {
    char sentence[sizeof why->text];
    va_list args;

    if (!why)
        return outcome;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    /* Names, tokens and a server's words may hold anything: none of it steers a terminal. */
    text_printable(why->text, sizeof why->text, sentence);
    why->status = status;
    return outcome;
}
