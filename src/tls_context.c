/* tls_context.c - which CA, certificate and key count. */
#include <dirent.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tls_part.h"

/* A key with a passphrase is refused: OpenSSL would ask for it on the terminal. */
static int no_passphrase(char *text, int size, int writing, void *arg) {
    (void)text;
    (void)size;
    (void)writing;
    (void)arg;
    return 0;
}

/* What OpenSSL has against a file: the first of its errors is the cause of the others. */
static const char *complaint(const struct openssl *o) {
    unsigned long error = o->ERR_peek_error();
    const char *text = o->ERR_reason_error_string(error);

    if (ERR_GET_LIB(error) == ERR_LIB_SYS)
        return strerror(ERR_GET_REASON(error));
    return text ? text : "no reason given";
}

/* True if the directory holds certificates under their hashes, as c_rehash makes it. */
static bool hashed_directory(const char *path) {
    DIR *directory = opendir(path);
    struct dirent *entry;
    bool found = false;

    while (directory && !found && (entry = readdir(directory)))
        found = strlen(entry->d_name) == 10 && strspn(entry->d_name, "0123456789abcdef") == 8 &&
                entry->d_name[8] == '.';
    if (directory)
        closedir(directory);
    return found;
}

/* The system's CAs, where its OpenSSL looks for them. By hash if possible: one small file is
 * read instead of a bundle of hundreds of certificates (15 ms). */
static enum outcome trust_system(const struct openssl *o, SSL_CTX *made, struct trouble *why) {
    const char *directory = getenv(o->X509_get_default_cert_dir_env());
    const char *file = getenv(o->X509_get_default_cert_file_env());

    if (!directory)
        directory = o->X509_get_default_cert_dir();
    if (!file && !hashed_directory(directory))
        file = o->X509_get_default_cert_file();
    if (o->SSL_CTX_load_verify_locations(made, file, directory) != 1)
        return trouble_say(why, FAILED, EXIT_CONFIG,
                           "cannot use the system's CA store '%s': %s: name a CA with --cacert",
                           file ? file : directory, complaint(o));
    return DONE;
}

static enum outcome trust(const struct tls_context *context, SSL_CTX *made, struct trouble *why) {
    const struct openssl *o = &context->ssl;
    const struct tls_file *cacert = &context->files[CACERT];
    bool insecure = context->access->insecure;

    o->SSL_CTX_set_verify(made, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (insecure)
        return DONE;
    if (!cacert->path)
        return trust_system(o, made, why);
    if (o->SSL_CTX_load_verify_locations(made, tls_file_name(cacert), NULL) != 1)
        return tls_file_refuse(cacert, complaint(o), why);
    return DONE;
}

static enum outcome present_certificate(const struct tls_context *context, SSL_CTX *made,
                                        struct trouble *why) {
    const struct openssl *o = &context->ssl;
    const struct tls_file *cert = &context->files[CERT], *key = &context->files[KEY];

    if (!cert->path)
        return DONE;
    if (o->SSL_CTX_use_certificate_chain_file(made, tls_file_name(cert)) != 1)
        return tls_file_refuse(cert, complaint(o), why);
    if (o->SSL_CTX_use_PrivateKey_file(made, tls_file_name(key), SSL_FILETYPE_PEM) != 1 ||
        o->SSL_CTX_check_private_key(made) != 1)
        return tls_file_refuse(key, complaint(o), why);
    return DONE;
}

/* Loads the files, all of which have been read, in the place of those of the last time. */
static enum outcome load(struct tls_context *context, struct trouble *why) {
    const struct openssl *o = &context->ssl;
    SSL_CTX *made = o->SSL_CTX_new(o->TLS_client_method());
    enum outcome outcome;

    if (!made)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot start TLS: out of memory");
    o->SSL_CTX_ctrl(made, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL);
    o->SSL_CTX_ctrl(made, SSL_CTRL_MODE,
                    SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, NULL);
    o->SSL_CTX_set_default_passwd_cb(made, no_passphrase);
    o->ERR_clear_error();
    outcome = trust(context, made, why);
    if (outcome == DONE)
        outcome = present_certificate(context, made, why);
    if (outcome != DONE) {
        o->SSL_CTX_free(made);
        return outcome;
    }
    if (context->loaded)
        o->SSL_CTX_free(context->loaded);
    context->loaded = made;
    return DONE;
}

static void close_files(struct tls_context *context) {
    for (size_t i = 0; i < TLS_FILES; i++)
        tls_file_close(&context->files[i]);
}

static enum outcome open_files(struct tls_context *context, struct trouble *why) {
    const struct access *access = context->access;
    const char *const paths[TLS_FILES] = {
        [CACERT] = access->insecure ? NULL : access->cacert,
        [CERT] = access->cert,
        [KEY] = access->key ? access->key : access->cert,
    };
    enum outcome outcome = DONE;

    if (access->key && !access->cert)
        return trouble_say(why, FAILED, EXIT_CONFIG, "--key without --cert: name both");
    for (size_t i = 0; i < TLS_FILES && outcome == DONE; i++) {
        context->watched[i].revents = 0;
        if (paths[i])
            outcome = tls_file_open(&context->files[i], paths[i], context->files, i, why);
    }
    return outcome;
}

enum outcome tls_context_open(const struct access *access, struct tls_context **out,
                              struct trouble *why) {
    struct tls_context *context = calloc(1, sizeof *context);
    enum outcome outcome;

    if (!context)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "out of memory");
    context->access = access;
    tls_file_init(&context->files[CACERT], "CA certificate");
    tls_file_init(&context->files[CERT], "certificate");
    tls_file_init(&context->files[KEY], "key");
    outcome = openssl_load(&context->ssl, why);
    if (outcome == DONE)
        outcome = open_files(context, why);
    if (outcome != DONE) {
        tls_context_free(context);
        return outcome;
    }
    *out = context;
    return DONE;
}

enum outcome tls_context_step(struct tls_context *context, struct trouble *why) {
    enum outcome outcome = DONE;

    for (size_t i = 0; i < TLS_FILES; i++) {
        enum outcome one = tls_file_read(&context->files[i], context->watched[i].revents, why);
        if (one == FAILED)
            return FAILED;
        if (one == STOPPED)
            outcome = STOPPED;
    }
    if (outcome == DONE)
        outcome = load(context, why);
    if (outcome == DONE)
        close_files(context);
    return outcome;
}

struct pollfd *tls_context_watch(struct tls_context *context, unsigned *count) {
    for (size_t i = 0; i < TLS_FILES; i++)
        context->watched[i] = (struct pollfd){.fd = context->files[i].from, .events = POLLIN};
    *count = TLS_FILES;
    return context->watched;
}

enum outcome tls_context_late(const struct tls_context *context, struct trouble *why) {
    const struct tls_file *late = context->files;

    while (late->from < 0 && late < &context->files[TLS_FILES - 1])
        late++;
    return tls_file_refuse(late, "it was not written to its end in time: check its writer", why);
}

void tls_context_reload(struct tls_context *context) {
    struct trouble why = {0};
    enum outcome outcome = open_files(context, &why);

    if (outcome == DONE)
        outcome = tls_context_step(context, &why);
    if (outcome == STOPPED)
        tls_context_late(context, &why);
    if (outcome != DONE)
        access_note(context->access, "%s: using what was read before", why.text);
    close_files(context);
}

void tls_context_free(struct tls_context *context) {
    if (!context)
        return;
    close_files(context);
    if (context->loaded)
        context->ssl.SSL_CTX_free(context->loaded);
    /* The library stays loaded: it has registered its own cleaning up at exit. */
    free(context);
}
