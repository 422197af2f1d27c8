#include "json.h"

#include <stdbool.h>

#include "text.h"

void json_string(FILE *to, const char *text) {
    const unsigned char *at = (const unsigned char *)text;

    if (!text) {
        fputs("null", to);
        return;
    }
    putc('"', to);
    while (*at) {
        size_t length = text_utf8_length(at);
        bool c1 = length == 2 && at[0] == 0xc2 && at[1] < 0xa0;

        if (*at == '"' || *at == '\\')
            fprintf(to, "\\%c", *at);
        else if (*at < 0x20 || *at == 0x7f || length == 0)
            fprintf(to, "\\u%04x", *at);
        else if (c1)
            fprintf(to, "\\u%04x", at[1]);
        else
            fwrite(at, 1, length, to);
        at += length ? length : 1;
    }
    putc('"', to);
}
