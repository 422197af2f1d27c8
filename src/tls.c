/* tls.c - one connection. */
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "tls_part.h"

struct tls {
    const struct openssl *ssl;
    SSL *session;
    const struct address *address;
    const char *server; /* the name that is asked for and verified */
    short events;
    unsigned long error; /* of the last call that failed */
};

static const char *reason(const struct tls *tls) {
    const char *text = tls->error ? tls->ssl->ERR_reason_error_string(tls->error) : NULL;

    return text ? text : "no reason given";
}

static bool is_literal(const char *host) {
    unsigned char bytes[16];

    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

/* The name goes out as SNI and is what the certificate must be for; an address can only be
 * verified (RFC 6066 keeps literals out of SNI). Names and addresses that a certificate is for
 * stand in its subjectAltName: a name that is only the subject's CN is none (RFC 9525). */
static bool name_server(struct tls *tls) {
    const struct openssl *o = tls->ssl;
    char name[256];

    if (is_literal(tls->server))
        return o->X509_VERIFY_PARAM_set1_ip_asc(o->SSL_get0_param(tls->session), tls->server) == 1;
    o->SSL_set_hostflags(tls->session, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return text_copy(name, sizeof name, tls->server, strlen(tls->server)) &&
           o->SSL_ctrl(tls->session, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                       name) == 1 &&
           o->SSL_set1_host(tls->session, name) == 1;
}

enum outcome tls_open(int fd, const struct address *address, const struct tls_context *context,
                      struct tls **out, struct trouble *why) {
    struct tls *tls = calloc(1, sizeof *tls);
    enum outcome outcome;

    if (!tls)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "out of memory");
    tls->ssl = &context->ssl;
    tls->address = address;
    tls->server = context->access->sni ? context->access->sni : address->host;
    tls->session = tls->ssl->SSL_new(context->loaded);
    if (!tls->session || !name_server(tls) || tls->ssl->SSL_set_fd(tls->session, fd) != 1) {
        outcome = trouble_say(why, FAILED, EXIT_CONFIG, "cannot ask '%s' for TLS: no such name",
                              tls->server);
        tls_close(tls);
        return outcome;
    }
    *out = tls;
    return DONE;
}

/* What a call that did not succeed means: -1 with errno, or 0 at the end. */
static ssize_t not_now(struct tls *tls, int result) {
    int error = errno;

    switch (tls->ssl->SSL_get_error(tls->session, result)) {
    case SSL_ERROR_WANT_READ:
        tls->events = POLLIN;
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_WANT_WRITE:
        tls->events = POLLOUT;
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        errno = error ? error : ECONNRESET;
        return -1;
    default:
        tls->error = tls->ssl->ERR_peek_last_error();
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
        /* The peer closed without TLS' own goodbye: a broken connection like any other. */
        if (ERR_GET_REASON(tls->error) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
            errno = ECONNRESET;
            return -1;
        }
#endif
        errno = EPROTO;
        return -1;
    }
}

/* What to do about a certificate that could not be verified. */
static const char *advice(long verified) {
    switch (verified) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return "its certificate needs that as subjectAltName, or say with --sni which one it has";
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "renew its certificate, or set the clock";
    default:
        return "name its CA with --cacert";
    }
}

enum outcome tls_complain(const struct tls *tls, struct trouble *why) {
    long verified = tls->ssl->SSL_get_verify_result(tls->session);
    int why_code = ERR_GET_REASON(tls->error);

    if (why_code == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return trouble_say(why, FAILED, EXIT_REFUSED, "cannot verify %s as '%s': %s: %s",
                           tls->address->shown, tls->server,
                           tls->ssl->X509_verify_cert_error_string(verified), advice(verified));
    if (why_code == SSL_R_WRONG_VERSION_NUMBER || why_code == SSL_R_PACKET_LENGTH_TOO_LONG)
        return trouble_say(why, FAILED, EXIT_PROTOCOL,
                           "%s does not speak TLS: use valkey:// for a plain connection",
                           tls->address->shown);
    return trouble_say(why, FAILED, EXIT_REFUSED, "TLS with %s failed: %s", tls->address->shown,
                       reason(tls));
}

enum outcome tls_handshake(struct tls *tls, struct trouble *why) {
    int result;

    tls->ssl->ERR_clear_error();
    errno = 0;
    result = tls->ssl->SSL_connect(tls->session);
    if (result == 1)
        return DONE;
    if (not_now(tls, result) < 0 && errno == EAGAIN)
        return STOPPED;
    if (errno == EPROTO)
        return tls_complain(tls, why);
    return trouble_say(why, UNSURE, EXIT_UNREACHABLE,
                       "%s closed the connection before TLS was set up: does it speak TLS?",
                       tls->address->shown);
}

ssize_t tls_read(struct tls *tls, void *bytes, size_t size) {
    int result;

    tls->ssl->ERR_clear_error();
    errno = 0;
    result = tls->ssl->SSL_read(tls->session, bytes, size > 65536 ? 65536 : (int)size);
    return result > 0 ? result : not_now(tls, result);
}

ssize_t tls_write(struct tls *tls, const void *bytes, size_t size) {
    int result;

    tls->ssl->ERR_clear_error();
    errno = 0;
    result = tls->ssl->SSL_write(tls->session, bytes, size > 65536 ? 65536 : (int)size);
    return result > 0 ? result : not_now(tls, result);
}

short tls_events(const struct tls *tls) {
    return tls->events;
}

int tls_has_bytes(const struct tls *tls) {
    return tls->ssl->SSL_pending(tls->session) > 0;
}

void tls_close(struct tls *tls) {
    if (!tls)
        return;
    if (tls->session)
        tls->ssl->SSL_free(tls->session);
    free(tls);
}
