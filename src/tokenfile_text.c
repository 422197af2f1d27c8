#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "duration.h"
#include "text.h"
#include "tokenfile_part.h"

_Static_assert(DURATION_MAX_MS == TTL_MAX_MS, "every TTL is a DUR");

enum key { VERSION, NAME, PREFIX, TOKEN, TTL, STORE, FENCE, KEYS };

static const char *const key_names[KEYS] = {
    [VERSION] = "version=", [NAME] = "name=",   [PREFIX] = "prefix=", [TOKEN] = "token=",
    [TTL] = "ttl=",         [STORE] = "store=", [FENCE] = "fence=",
};

static const unsigned required = 1U << VERSION | 1U << NAME | 1U << TOKEN | 1U << TTL;
enum { FENCE_DIGITS = 20 }; /* of 2^64 */

/* The key that `line` begins with; KEYS if it is none. */
static enum key find_key(const char *line) {
    enum key key = VERSION;

    while (key < KEYS && !text_begins(line, key_names[key]))
        key++;
    return key;
}

static bool read_ttl(const char *value, int64_t *ttl_ms) {
    int64_t ms = 0;

    if (strcmp(value, "none") == 0)
        ms = TTL_NONE;
    else if (!duration_parse(value, &ms) || ms < 1)
        return false;
    *ttl_ms = ms;
    return true;
}

static bool read_fence(const char *value, uint64_t *fence) {
    unsigned long long number;

    if (!text_number(value, UINT64_MAX, &number))
        return false;
    *fence = number;
    return true;
}

static const char *read_value(enum key key, const char *value, struct tokenfile *out) {
    static const char too_long[] = "a value is too long";
    size_t length = strlen(value);

    switch (key) {
    case VERSION:
        return strcmp(value, "1") == 0 ? NULL : "its version is not known to this vlock";
    case NAME:
        return text_copy(out->name, sizeof out->name, value, length) ? NULL : too_long;
    case PREFIX:
        return text_copy(out->prefix, sizeof out->prefix, value, length) ? NULL : too_long;
    case TOKEN:
        return text_copy(out->token, sizeof out->token, value, length) ? NULL : too_long;
    case TTL:
        return read_ttl(value, &out->ttl_ms) ? NULL : "its ttl is no duration";
    case STORE:
        return text_copy(out->store, sizeof out->store, value, length) ? NULL : too_long;
    case FENCE:
        return read_fence(value, &out->fence) ? NULL : "its fence is no number";
    case KEYS:
        break;
    }
    return "a key is not known";
}

/* Cuts the line at *at off its end ('\n', or '\r' and '\n') and moves *at behind it; false if it
 * has none. */
static bool cut_line(char **at) {
    char *end = strchr(*at, '\n');

    if (!end)
        return false;
    if (end > *at && end[-1] == '\r')
        end[-1] = '\0';
    *end = '\0';
    *at = end + 1;
    return true;
}

/* Takes `text` apart, in place. NULL, or what is wrong with it. */
static const char *read_keys(char *text, struct tokenfile *out) {
    unsigned seen = 0;

    while (*text) {
        char *line = text;
        enum key key;
        const char *value, *fault;

        /* A file that we wrote ends with a line end: this one was cut. */
        if (!cut_line(&text))
            return "its last line is cut off";
        if (!*line && !text[strspn(text, "\r\n")])
            break; /* the room that a short fence leaves */
        key = find_key(line);
        if (key == KEYS)
            return "a line begins with no key that is known";
        value = line + strlen(key_names[key]);
        if (seen & 1U << key)
            return "a key is there twice";
        if (!*value || text_has_control(value))
            return "a value is empty or holds a control character";
        seen |= 1U << key;
        fault = read_value(key, value, out);
        if (fault)
            return fault;
    }
    return (seen & required) == required ? NULL : "a key is missing";
}

static const char *read_bare(const char *line, struct tokenfile *out) {
    out->bare = true;
    if (!*line || text_has_control(line))
        return "its line is empty or holds a control character";
    if (!text_copy(out->token, sizeof out->token, line, strlen(line)))
        return "its line is too long for a token";
    return NULL;
}

static const char *read_text(char *text, size_t length, struct tokenfile *out) {
    char *rest = text;
    const char *line_end = strchr(text, '\n');

    if (strlen(text) != length)
        return "it holds a NUL byte";
    if (find_key(text) < KEYS)
        return read_keys(text, out);
    if (line_end && line_end[1])
        return "it begins with no key that is known";
    cut_line(&rest);
    return read_bare(text, out);
}

/* Up to `size` bytes from the file's beginning; -1 and errno if it cannot be read. */
static ssize_t read_all(int fd, char *to, size_t size) {
    size_t used = 0;

    while (used < size) {
        ssize_t got = pread(fd, to + used, size - used, (off_t)used);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        used += (size_t)got;
    }
    return (ssize_t)used;
}

enum tokenfile_load tokenfile_load(int fd, struct tokenfile *out, const char **fault) {
    char text[TOKENFILE_MAX_BYTES + 2];
    struct tokenfile read = {0};
    ssize_t length = read_all(fd, text, sizeof text - 1);

    *fault = NULL;
    if (length < 0) {
        *fault = strerror(errno);
        return LOAD_UNREADABLE;
    }
    if (length == 0)
        return LOAD_EMPTY;
    text[length] = '\0';
    if (length > TOKENFILE_MAX_BYTES)
        *fault = "it is too large";
    else
        *fault = read_text(text, (size_t)length, &read);
    if (!*fault)
        *out = read;
    explicit_bzero(text, sizeof text);
    explicit_bzero(&read, sizeof read);
    return *fault ? LOAD_MALFORMED : LOAD_GOOD;
}

static void add(char text[TOKENFILE_MAX_BYTES], size_t *used, enum key key, const char *value) {
    /* All values together are less than half of what fits: see the sizes in struct tokenfile. */
    if (*value)
        *used += (size_t)snprintf(text + *used, TOKENFILE_MAX_BYTES - *used, "%s%s\n",
                                  key_names[key], value);
}

size_t tokenfile_write(char text[TOKENFILE_MAX_BYTES], const struct tokenfile *content,
                       int64_t *fence_at) {
    char ttl[DURATION_TEXT_BYTES] = "none";
    size_t used = 0;

    _Static_assert(sizeof(struct tokenfile) + 256 < TOKENFILE_MAX_BYTES, "all values fit");
    if (content->ttl_ms != TTL_NONE)
        duration_format(ttl, content->ttl_ms);
    add(text, &used, VERSION, "1");
    add(text, &used, NAME, content->name);
    add(text, &used, PREFIX, content->prefix);
    add(text, &used, TOKEN, content->token);
    add(text, &used, TTL, ttl);
    add(text, &used, STORE, content->store);
    *fence_at = (int64_t)used;
    return used + tokenfile_write_fence(text + used, 0);
}

size_t tokenfile_write_fence(char *line, uint64_t fence) {
    size_t whole = strlen(key_names[FENCE]) + FENCE_DIGITS + 1;
    int used =
        snprintf(line, FENCE_LINE_BYTES, "%s%llu", key_names[FENCE], (unsigned long long)fence);

    memset(line + used, '\n', whole - (size_t)used);
    return whole;
}

const char *tokenfile_fault(const struct tokenfile *content) {
    if (!*content->name || !*content->token)
        return "the name or the token is empty";
    if (text_has_control(content->name) || text_has_control(content->prefix))
        return "the name holds a control character";
    if (text_has_control(content->token))
        return "the token holds a control character";
    if (text_has_control(content->store))
        return "the store's URL holds a control character";
    if (content->ttl_ms < 1 || (content->ttl_ms > TTL_MAX_MS && content->ttl_ms != TTL_NONE))
        return "the TTL is out of range";
    return NULL;
}
