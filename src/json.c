#include "json.h"

#include <stdint.h>

#include "text.h"

enum { REPLACEMENT = 0xfffd };

void json_string(FILE *to, const char *text) {
    const unsigned char *at = (const unsigned char *)text;

    if (!text) {
        fputs("null", to);
        return;
    }
    putc('"', to);
    while (*at) {
        size_t length = text_utf8_length(at);
        uint32_t point = length ? text_code_point(at, length) : REPLACEMENT;

        if (point == '"' || point == '\\')
            fprintf(to, "\\%c", (int)point);
        else if (point >= 0x20 && point < 0x7f)
            putc((int)point, to);
        else if (point < 0x10000)
            fprintf(to, "\\u%04x", (unsigned)point);
        else /* as a pair of surrogates */
            fprintf(to, "\\u%04x\\u%04x", 0xd7c0 + (unsigned)(point >> 10),
                    0xdc00 + (unsigned)(point & 0x3ff));
        at += length ? length : 1;
    }
    putc('"', to);
}
