/* json.h - writing JSON (RFC 8259) that every reader takes and no terminal minds. */
#ifndef VLOCK_JSON_H
#define VLOCK_JSON_H

#include <stdio.h>

/* Writes `text` as a JSON string of ASCII alone: every other character, and every control
 * character, is escaped, so that it is the same in any encoding. Each byte that belongs to no UTF-8
 * becomes U+FFFD. NULL: null. */
void json_string(FILE *to, const char *text);

#endif
