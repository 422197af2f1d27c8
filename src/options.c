#include "options.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

enum { TAKE = FOR_ACQUIRE | FOR_RUN, OWN = FOR_RELEASE | FOR_EXTEND | FOR_REACQUIRE | FOR_OWNED };

const struct option_row option_rows[OPTIONS] = {
    [OPT_NONBLOCK] = {'n', "nonblock", NULL, NULL, NULL, TAKE,
                      "do not wait: exit 75 if the lock is held"},
    [OPT_WAIT] = {'w', "wait", "DUR", "VLOCK_WAIT", NULL, TAKE | FOR_WAIT,
                  "wait at most DUR, connecting included (default: for ever)"},
    [OPT_TTL] = {'t', "ttl", "TTL", "VLOCK_TTL", NULL, TAKE | FOR_REACQUIRE,
                 "the lock's time to live: a DUR, or none (default 60s)"},
    [OPT_TOKEN] = {0, "token", "T", "VLOCK_TOKEN", NULL, TAKE | OWN,
                   "the token that shows ownership; acquire, run: the one to take the lock with"},
    [OPT_TOKEN_FILE] = {0, "token-file", "F", "VLOCK_TOKEN_FILE", NULL, FOR_ACQUIRE | OWN,
                        "the file that holds the token; acquire: writes it there, not on stdout"},
    [OPT_FORMAT] = {0, "format", "FMT", NULL, "shell json github dotenv", FOR_ACQUIRE,
                    "how to print the token: shell, json, github or dotenv"},
    [OPT_NOTE] = {0, "note", "TEXT", NULL, NULL, TAKE,
                  "what others see beside the holder, up to 128 bytes"},
    [OPT_CONFLICT] = {'E', "conflict-exit-code", "N", NULL, NULL, TAKE,
                      "exit with N (0 to 255) instead of 75 when the lock is held"},
    [OPT_IF_HELD] = {0, "if-held", NULL, NULL, NULL, FOR_RELEASE,
                     "exit 0 also when there is no token or the lock is gone"},
    [OPT_REPLACE] = {0, "replace", NULL, NULL, NULL, FOR_EXTEND,
                     "set the time to live to DUR instead of adding it"},
    [OPT_RECOVER] = {0, "recover", NULL, NULL, NULL, FOR_REACQUIRE,
                     "take a lapsed lock again if no vlock has held it since"},
    [OPT_SIGNAL] = {0, "signal", "SIG", NULL, "TERM INT HUP QUIT USR1 USR2 ALRM KILL",
                    FOR_RUN | ONCE, "what to stop CMD with (default TERM)"},
    [OPT_KILL_AFTER] = {0, "kill-after", "DUR", NULL, NULL, FOR_RUN | ONCE,
                        "from that to KILL (default: a sixth of the TTL, at most 5s)"},
    [OPT_MAX_RUNTIME] = {0, "max-runtime", "DUR", NULL, NULL, FOR_RUN | ONCE,
                         "stop CMD after DUR, and exit 124"},
    [OPT_HOLD_FOR] = {0, "hold-for", "DUR", NULL, NULL, FOR_RUN | ONCE,
                      "keep the lock until DUR after it was taken, whatever becomes of CMD"},
    [OPT_LEAVE_CHILDREN] = {0, "leave-children", NULL, NULL, NULL, FOR_RUN,
                            "let what CMD leaves in the background live on"},
    [OPT_REENTER] = {0, "reenter", NULL, NULL, NULL, FOR_RUN,
                     "if a command around this one holds the lock, run CMD under that"},
    [OPT_ON_LOST] = {0, "on-lost", "WHAT", NULL, "stop warn exec:", FOR_RUN | ONCE,
                     "lock lost: stop CMD (default), only warn, or stop it and exec:CMD"},
    [OPT_KEEP_ALIVE] = {0, "keep-alive", "PID", NULL, NULL, FOR_ACQUIRE | ONCE,
                        "renew in the background; give the lock back when process PID ends"},
    [OPT_JSON] = {0, "json", NULL, NULL, NULL, FOR_STATUS, "print one JSON object"},
    [OPT_FENCE] = {0, "fence", "N", NULL, NULL, FOR_BREAK,
                   "break it only if its fence, as status shows it, is N"},
    [OPT_FOREIGN] = {0, "foreign", NULL, NULL, NULL, FOR_BREAK,
                     "break it also if a client that is no vlock holds it"},
    [OPT_YES] = {0, "yes", NULL, NULL, NULL, FOR_BREAK, "do not ask"},
    [OPT_URL] = {'u', "url", "URL", "VLOCK_URL", NULL, FOR_LOCKS,
                 "the store: valkey://host, valkeys://host, unix:///path, local:, local:/dir"},
    [OPT_PREFIX] = {0, "prefix", "P", "VLOCK_PREFIX", NULL, FOR_LOCKS,
                    "what stands in front of NAME in the store"},
    [OPT_USER] = {0, "user", "USER", "VLOCK_USER", NULL, FOR_LOCKS, "the user to log in as"},
    [OPT_PASSWORD_FILE] = {0, "password-file", "F", "VLOCK_PASSWORD_FILE", NULL, FOR_LOCKS,
                           "a file whose first line is the password (or VLOCK_PASSWORD)"},
    [OPT_CACERT] = {0, "cacert", "FILE", "VLOCK_CACERT", NULL, FOR_LOCKS,
                    "TLS: the CA to verify the server with (default: the system's)"},
    [OPT_CERT] = {0, "cert", "FILE", "VLOCK_CERT", NULL, FOR_LOCKS, "TLS: our certificate"},
    [OPT_KEY] = {0, "key", "FILE", "VLOCK_KEY", NULL, FOR_LOCKS, "TLS: our private key"},
    [OPT_SNI] = {0, "sni", "NAME", "VLOCK_SNI", NULL, FOR_LOCKS,
                 "TLS: the server's name to ask for and verify (default: the host)"},
    [OPT_INSECURE] = {0, "insecure", NULL, NULL, NULL, FOR_LOCKS, "TLS: do not verify the server"},
    [OPT_CONNECT_TIMEOUT] = {0, "connect-timeout", "DUR", NULL, NULL, FOR_LOCKS,
                             "for one connection (default 5s)"},
    [OPT_REPLY_TIMEOUT] = {0, "reply-timeout", "DUR", NULL, NULL, FOR_LOCKS,
                           "for one reply (default 5s)"},
    [OPT_QUIET] = {'q', "quiet", NULL, NULL, NULL, FOR_LOCKS, "say nothing but errors"},
    [OPT_VERBOSE] = {'v', "verbose", NULL, NULL, NULL, FOR_LOCKS, "say what happens on the wire"},
    [OPT_HELP] = {'h', "help", NULL, NULL, NULL, FOR_ALL, "print this help"},
    [OPT_VERSION] = {'V', "version", NULL, NULL, NULL, FOR_ALL, "print the version"},
};

/* What other lock tools and timeout(1) call things. */
static const struct {
    const char *word, *hint;
} hints[] = {
    {"timeout", "to bound the wait: -w DUR; CMD: --max-runtime DUR; one connection: "
                "--connect-timeout DUR"},
    {"c", "to run a shell command: vlock run NAME -- sh -c 'COMMAND'"},
    {"command", "to run a shell command: vlock run NAME -- sh -c 'COMMAND'"},
    {"x", "locks are exclusive anyway: leave it out"},
    {"exclusive", "locks are exclusive anyway: leave it out"},
    {"e", "locks are exclusive anyway: leave it out"},
    {"s", "for the signal that stops CMD: --signal SIG; shared locks are not supported yet"},
    {"shared", "shared locks are not supported yet"},
    {"nb", "use -n or --nonblock"},
    {"non-blocking", "use -n or --nonblock"},
    {"nonblocking", "use -n or --nonblock"},
    {"no-wait", "use -n or --nonblock"},
    {"unlock", "use vlock release"},
    {"o", "vlock's descriptors are never inherited: leave it out"},
    {"close", "vlock's descriptors are never inherited: leave it out"},
    {"F", "leave it out: CMD runs under vlock, which renews its lease"},
    {"k", "for the time from TERM to KILL: --kill-after DUR; for the lease: --ttl TTL"},
    {"preserve-status",
     "leave it out: run returns CMD's status, but 124 after --max-runtime and 79 "
     "when the lock was lost"},
    {"foreground", "leave it out: CMD has the terminal under vlock run as without it"},
    {"f", "leave it out: CMD has the terminal under vlock run as without it"},
    {"max-time", "use --max-runtime DUR"},
    {"reentrant", "use --reenter"},
    {"keepalive", "use --keep-alive PID"},
    {"p", "name the port in the URL: -u valkey://host:port"},
    {"port", "name the port in the URL: -u valkey://host:port"},
    {"host", "name the host in the URL: -u valkey://host"},
    {"a", "never on the command line: use --password-file or VLOCK_PASSWORD"},
    {"pass", "never on the command line: use --password-file or VLOCK_PASSWORD"},
    {"password", "never on the command line: use --password-file or VLOCK_PASSWORD"},
    {"tls", "use -u valkeys://host"},
    {"config", "configuration files are not supported yet"},
    {"profile", "configuration files are not supported yet"},
    {"P", "configuration files are not supported yet"},
};

static enum outcome unknown(const char *shown, const char *word, size_t length,
                            struct trouble *why) {
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (strlen(hints[i].word) == length && strncmp(hints[i].word, word, length) == 0)
            return trouble_say(why, FAILED, EXIT_USAGE, "unknown option '%s': %s", shown,
                               hints[i].hint);
    return trouble_say(why, FAILED, EXIT_USAGE, "unknown option '%s': see 'vlock help'", shown);
}

static enum outcome given(struct options *out, enum option option, const char *value,
                          struct trouble *why) {
    if (option == OPT_URL && out->value[OPT_URL])
        return trouble_say(why, FAILED, EXIT_USAGE,
                           "-u given twice: several servers are not supported yet");
    if (option_rows[option].commands & ONCE && out->value[option])
        return trouble_say(why, FAILED, EXIT_USAGE, "--%s given twice: give it once",
                           option_rows[option].name);
    out->value[option] = value;
    return DONE;
}

/* --name, --name=value, --name value. *at is moved past what was used. */
static enum outcome parse_long(char ***at, struct options *out, struct trouble *why) {
    char *word = **at + 2, *equals = strchr(word, '=');
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    char shown[64];

    snprintf(shown, sizeof shown, "--%.*s", (int)(length < 60 ? length : 60), word);
    for (int i = 0; i < OPTIONS; i++) {
        const struct option_row *row = &option_rows[i];
        if (strlen(row->name) != length || strncmp(row->name, word, length) != 0)
            continue;
        ++*at;
        if (!row->argument && equals)
            return trouble_say(why, FAILED, EXIT_USAGE, "option '%s' takes no value", shown);
        if (!row->argument)
            return given(out, (enum option)i, "", why);
        if (equals)
            return given(out, (enum option)i, equals + 1, why);
        if (!**at)
            return trouble_say(why, FAILED, EXIT_USAGE, "option '%s' needs a value: %s %s", shown,
                               shown, row->argument);
        return given(out, (enum option)i, *(*at)++, why);
    }
    return unknown(shown, word, length, why);
}

/* -n, -nq, -w5, -w 5. */
static enum outcome parse_short(char ***at, struct options *out, struct trouble *why) {
    char *letters = **at + 1;
    enum outcome outcome = DONE;

    ++*at;
    while (*letters && outcome == DONE) {
        char shown[3] = {'-', *letters, '\0'};
        int i = 0;
        while (i < OPTIONS && option_rows[i].letter != *letters)
            i++;
        if (i == OPTIONS)
            return unknown(shown, letters, 1, why);
        letters++;
        if (!option_rows[i].argument) {
            outcome = given(out, (enum option)i, "", why);
        } else if (*letters) {
            return given(out, (enum option)i, letters, why);
        } else if (!**at) {
            return trouble_say(why, FAILED, EXIT_USAGE, "option '%s' needs a value: %s %s", shown,
                               shown, option_rows[i].argument);
        } else {
            return given(out, (enum option)i, *(*at)++, why);
        }
    }
    return outcome;
}

/* What follows the NAME of `run`: "--" or the command itself. */
static enum outcome parse_run(char **at, struct options *out, struct trouble *why) {
    if (*at && strcmp(*at, "--") == 0)
        at++;
    else if (*at && **at == '-')
        return trouble_say(why, FAILED, EXIT_USAGE,
                           "'%s' after NAME: options come before NAME, the command after --", *at);
    out->run = at;
    return DONE;
}

enum outcome options_parse(char **argv, struct options *out, struct trouble *why) {
    char **at = argv, **operands = argv;
    enum outcome outcome = DONE;
    bool ended = false;

    *out = (struct options){.operands = argv};
    while (*at && outcome == DONE) {
        bool runs = out->command && strcmp(out->command, "run") == 0;
        if (runs && out->operand_count == 1) {
            outcome = parse_run(at, out, why);
            break;
        }
        if (ended || (*at)[0] != '-' || !(*at)[1]) {
            if (!out->command)
                out->command = *at;
            else
                operands[out->operand_count++] = *at;
            at++;
        } else if (strcmp(*at, "--") == 0) {
            at++;
            ended = true;
            if (runs) { /* run -- CMD: NAME comes from the environment */
                out->run = at;
                break;
            }
        } else {
            outcome = (*at)[1] == '-' ? parse_long(&at, out, why) : parse_short(&at, out, why);
        }
    }
    if (!out->run && at > operands + out->operand_count)
        operands[out->operand_count] = NULL;
    return outcome;
}

enum outcome options_check(const struct options *options, const char *name, unsigned command,
                           struct trouble *why) {
    for (int i = 0; i < OPTIONS; i++)
        if (options->value[i] && !(option_rows[i].commands & command))
            return trouble_say(why, FAILED, EXIT_USAGE, "'%s' takes no option '--%s'", name,
                               option_rows[i].name);
    return DONE;
}

enum outcome options_bad_duration(enum option option, const char *value, enum exit_status status,
                                  struct trouble *why) {
    const struct option_row *row = &option_rows[option];
    bool flag = status == EXIT_USAGE;

    return trouble_say(why, FAILED, status,
                       "bad %s '%s' in %s%s: use a number with ms, s, m, h or d, as in 1.5s or "
                       "1h30m",
                       row->argument, value, flag ? "--" : "", flag ? row->name : row->variable);
}
