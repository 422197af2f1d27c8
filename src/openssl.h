/* openssl.h - the functions of OpenSSL that tls*.c use, found with dlsym() at run time.
 *
 * One list: the struct of pointers and the table of names both come from it. */
#ifndef VLOCK_OPENSSL_H
#define VLOCK_OPENSSL_H

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "trouble.h"

#define OPENSSL_FUNCTIONS(X)              \
    X(TLS_client_method)                  \
    X(SSL_CTX_new)                        \
    X(SSL_CTX_free)                       \
    X(SSL_CTX_ctrl)                       \
    X(SSL_CTX_set_verify)                 \
    X(SSL_CTX_load_verify_locations)      \
    X(SSL_CTX_set_default_passwd_cb)      \
    X(SSL_CTX_use_certificate_chain_file) \
    X(SSL_CTX_use_PrivateKey_file)        \
    X(SSL_CTX_check_private_key)          \
    X(SSL_new)                            \
    X(SSL_free)                           \
    X(SSL_ctrl)                           \
    X(SSL_set_fd)                         \
    X(SSL_set_hostflags)                  \
    X(SSL_set1_host)                      \
    X(SSL_get0_param)                     \
    X(SSL_connect)                        \
    X(SSL_read)                           \
    X(SSL_write)                          \
    X(SSL_pending)                        \
    X(SSL_get_error)                      \
    X(SSL_get_verify_result)              \
    X(X509_VERIFY_PARAM_set1_ip_asc)      \
    X(X509_verify_cert_error_string)      \
    X(X509_get_default_cert_dir)          \
    X(X509_get_default_cert_dir_env)      \
    X(X509_get_default_cert_file)         \
    X(X509_get_default_cert_file_env)     \
    X(ERR_clear_error)                    \
    X(ERR_peek_error)                     \
    X(ERR_peek_last_error)                \
    X(ERR_reason_error_string)

struct openssl {
    void *handle;
#define X(function) __typeof__(&function) function;
    OPENSSL_FUNCTIONS(X)
#undef X
};

/* Loads the library whose headers we were built with. FAILED/71 if it is not there. */
enum outcome openssl_load(struct openssl *out, struct trouble *why);

#endif
