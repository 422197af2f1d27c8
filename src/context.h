/* context.h - what a command on a lock needs before it can ask: which lock, which store, whose
 * token; from options, token file and environment, in the order that the contract gives.
 *
 *     context_open()      checks the environment, NAME, prefix and the common options
 *     context_token()     finds the token (not for acquire and run, which make their own)
 *     context_store()     finds the store and opens it, without talking to it yet
 *     context_close()
 *
 * What came from the command line and is wrong is FAILED/64, what came from the environment
 * FAILED/78. */
#ifndef VLOCK_CONTEXT_H
#define VLOCK_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "child.h"
#include "loop.h"
#include "options.h"
#include "say.h"
#include "store.h"
#include "tokenfile.h"
#include "trouble.h"

struct context {
    const struct options *options;
    const struct child_found *found;
    struct say say;
    struct loop loop;
    const char *name;            /* NAME as given */
    const char *prefix;          /* "" if there is none */
    char key[KEY_MAX_BYTES + 1]; /* prefix and NAME */
    struct address address;
    bool store_named; /* by -u, VLOCK_URL or the token file */
    struct access access;
    char password[1024];
    struct store *store;
    char token[TOKEN_MAX_BYTES + 1];
    const char *token_path; /* the token file that was named, or NULL */
    struct tokenfile file;  /* its content, if it was read */
    struct tokenfile_hold hold;
    uint64_t fence; /* that the token came with, 0 if none is known */
};

/* *ctx is all zero before. (Not cleared in here: it is large, and seldom needed whole.)
 * NAME is the first operand; with `name_from_environment` VLOCK_NAME if there is none. */
enum outcome context_open(struct context *ctx, const struct options *options,
                          const struct child_found *found, bool name_from_environment,
                          struct trouble *why);

/* For a command that will not remove the token file: lets go of it, so that others may read it
 * while the store is asked. */
void context_keep_file(struct context *ctx);

/* --token, --token-file, VLOCK_TOKEN_FILE, VLOCK_TOKEN. LOST/66 if there is no token at all;
 * FAILED/66 if the token file that is named is missing, FAILED/65 if it is for another lock. */
enum outcome context_token(struct context *ctx, struct trouble *why);

/* -u, VLOCK_URL, the token file's store, else this machine (and says so). FAILED/65 if the
 * token file is for another store; FAILED/77 if only the token file names one, and somebody else
 * could have written that (tokenfile.h). */
enum outcome context_store(struct context *ctx, struct trouble *why);

/* -t, VLOCK_TTL, else 60 s: 1 to TTL_MAX_MS, or TTL_NONE. *given: it was said somewhere. */
enum outcome context_ttl(const struct context *ctx, int64_t *ttl_ms, bool *given,
                         struct trouble *why);

/* -n, -w, VLOCK_WAIT: 0 not at all, CLOCK_NEVER for ever. */
enum outcome context_wait(const struct context *ctx, int64_t *wait_ms, struct trouble *why);

/* -E: 0 to 255; EXIT_BUSY if it was not given. */
enum outcome context_conflict(const struct context *ctx, int *status, struct trouble *why);

/* The deadline for a request that is not waited for longer than the timeouts say. */
int64_t context_deadline(const struct context *ctx);

/* Closes the context and returns the exit status that `outcome` is: EXIT_DONE for DONE, else
 * that of `why`, after printing its sentence. */
int context_end(struct context *ctx, enum outcome outcome, const struct trouble *why);

void context_close(struct context *ctx);

#endif
