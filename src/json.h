/* json.h - writing JSON (RFC 8259) that every reader takes and no terminal minds. */
#ifndef VLOCK_JSON_H
#define VLOCK_JSON_H

#include <stdio.h>

/* Writes `text` as a JSON string. What is no UTF-8 becomes the character of its byte's number, and
 * every control character, DEL and those of C1 included, is escaped. NULL: null. */
void json_string(FILE *to, const char *text);

#endif
