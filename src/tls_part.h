/* tls_part.h - the parts of tls: tls_context.c has what the connections of one wire have in common,
 * tls.c one connection. */
#ifndef VLOCK_TLS_PART_H
#define VLOCK_TLS_PART_H

#include "openssl.h"
#include "tls.h"
#include "tls_file.h"

enum { CACERT, CERT, KEY, TLS_FILES }; /* the files of a context */

struct tls_context {
    struct openssl ssl;
    const struct access *access;
    SSL_CTX *loaded; /* of the files that could be used last, NULL before that */
    struct tls_file files[TLS_FILES];
    struct pollfd watched[TLS_FILES];
};

#endif
