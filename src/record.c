#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static const uint64_t magic = 0x6365726b636f6c76; /* "vlockrec" on a little-endian machine */

enum { RECORD_VERSION = 3, MACHINE_ID_BYTES = 32 };
#define SEQUENCE_MAX ((uint64_t)1 << 62)

enum part { MACHINE, FREED, KEY, TOKEN, PARTS };

struct head {
    uint64_t checksum;
    uint64_t magic;
    uint32_t version;
    uint32_t alive;
    uint64_t sequence;
    uint64_t fence;
    int64_t expires_ms;
    int64_t since_ms;
    char boot[40];
    char grant_id[REQUEST_ID_BYTES];
    char extend_id[REQUEST_ID_BYTES];
    uint16_t lengths[PARTS];
    uint32_t level;
    uint32_t claims;
    uint64_t first;
    uint64_t next;
    uint64_t gone;
    int64_t last_ticket;
};

_Static_assert(sizeof(struct head) == 208, "the layout has no padding");
_Static_assert(sizeof(off_t) == 8, "fences are used as offsets: _FILE_OFFSET_BITS must be 64");
_Static_assert(sizeof(struct head) + sizeof(struct record) <= SLOT_BYTES, "a slot holds it all");

uint64_t record_hash(const char *bytes, size_t length) {
    uint64_t sum = 0xcbf29ce484222325;

    for (size_t i = 0; i < length; i++)
        sum = (sum ^ (unsigned char)bytes[i]) * 0x100000001b3;
    return sum;
}

uint64_t record_queue_room(unsigned level) {
    return (uint64_t)RECORD_QUEUE_LEAST << level;
}

/* Where a part of a record is, and how many bytes it may have. */
static char *part_of(struct record *record, enum part part, size_t *most) {
    char *const at[PARTS] = {record->place.machine, record->freed, record->key, record->token};
    static const size_t sizes[PARTS] = {sizeof record->place.machine, sizeof record->freed,
                                        sizeof record->key, sizeof record->token};

    *most = sizes[part] - 1;
    return at[part];
}

/* `sequence` into a slot's bytes; how many bytes of the slot are used. */
static size_t encode(char slot[SLOT_BYTES], struct record *record, uint64_t sequence) {
    struct head head = {
        .magic = magic,
        .version = RECORD_VERSION,
        .alive = record->alive,
        .sequence = sequence,
        .fence = record->fence,
        .expires_ms = record->expires_ms,
        .since_ms = record->since_ms,
        .level = record->queue.level,
        .claims = record->claims,
        .first = record->queue.first,
        .next = record->queue.next,
        .gone = record->queue.gone,
        .last_ticket = record->queue.last_ticket,
    };
    size_t used = sizeof head;

    memcpy(head.boot, record->place.boot, strlen(record->place.boot));
    memcpy(head.grant_id, record->grant_id, strlen(record->grant_id));
    memcpy(head.extend_id, record->extend_id, strlen(record->extend_id));
    for (enum part part = MACHINE; part < PARTS; part++) {
        size_t most, length;
        char *text = part_of(record, part, &most);

        length = strlen(text);
        head.lengths[part] = (uint16_t)length;
        memcpy(slot + used, text, length);
        used += length;
    }
    memcpy(slot, &head, sizeof head);
    head.checksum = record_hash(slot + sizeof head.checksum, used - sizeof head.checksum);
    memcpy(slot, &head.checksum, sizeof head.checksum);
    return used;
}

static bool queue_makes_sense(const struct head *head) {
    return head->level < RECORD_QUEUE_LEVELS && head->claims <= RECORD_CLAIMS_MAX &&
           head->first <= head->next && head->next < SEQUENCE_MAX &&
           head->next - head->first <= record_queue_room(head->level) &&
           head->gone <= head->next - head->first && head->last_ticket >= 0 &&
           head->last_ticket < RECORD_TICKET_MAX;
}

/* A checksum that fits says that these are the bytes somebody wrote, not that they make sense:
 * every length and number is looked at before it is used. */
static bool head_makes_sense(const struct head *head, size_t *used) {
    static const size_t most[PARTS] = {RECORD_MACHINE_BYTES - 1,
                                       RECORD_FREED_IDS * REQUEST_ID_BYTES, KEY_MAX_BYTES,
                                       TOKEN_MAX_BYTES};

    for (enum part part = MACHINE; part < PARTS; part++) {
        if (head->lengths[part] > most[part])
            return false;
        *used += head->lengths[part];
    }
    return head->lengths[FREED] % REQUEST_ID_BYTES == 0 && head->lengths[KEY] > 0 &&
           head->alive <= 1 && head->sequence < SEQUENCE_MAX && head->fence < RECORD_FENCE_MAX &&
           head->expires_ms >= 0 && queue_makes_sense(head);
}

/* Copies the parts out; false if one has a NUL in it. */
static bool decode_parts(const char *from, const struct head *head, struct record *out) {
    for (enum part part = MACHINE; part < PARTS; part++) {
        size_t most, length = head->lengths[part];
        char *to = part_of(out, part, &most);

        if (memchr(from, '\0', length))
            return false;
        memcpy(to, from, length);
        to[length] = '\0';
        from += length;
    }
    return true;
}

static bool decode(const char *slot, struct record *out) {
    struct head head;
    size_t used = sizeof head;

    memcpy(&head, slot, sizeof head);
    if (head.magic != magic || head.version != RECORD_VERSION || !head_makes_sense(&head, &used) ||
        head.checksum != record_hash(slot + sizeof head.checksum, used - sizeof head.checksum))
        return false;
    *out = (struct record){
        .sequence = head.sequence,
        .fence = head.fence,
        .expires_ms = head.expires_ms,
        .since_ms = head.since_ms,
        .alive = head.alive,
        .claims = head.claims,
        .queue = {.level = head.level,
                  .first = head.first,
                  .next = head.next,
                  .gone = head.gone,
                  .last_ticket = head.last_ticket,
                  .kept_from = head.first},
    };
    memcpy(out->place.boot, head.boot, RECORD_BOOT_BYTES);
    memcpy(out->grant_id, head.grant_id, REQUEST_ID_BYTES);
    memcpy(out->extend_id, head.extend_id, REQUEST_ID_BYTES);
    return decode_parts(slot + sizeof head, &head, out);
}

/* A slot that another layout wrote may be the newer one, whatever our own eyes can read. */
static bool other_version(const char *slot) {
    struct head head;

    memcpy(&head, slot, sizeof head);
    return head.magic == magic && head.version != RECORD_VERSION;
}

enum record_state record_read(int fd, struct record *out) {
    char slots[RECORD_BYTES];
    struct record found[2];
    bool valid[2];
    ssize_t length = pread(fd, slots, sizeof slots, 0);
    unsigned newest;

    if (length < 0)
        return RECORD_UNREADABLE;
    memset(slots + length, 0, sizeof slots - (size_t)length);
    if (other_version(slots) || other_version(slots + SLOT_BYTES))
        return RECORD_OTHER_VERSION;
    for (unsigned i = 0; i < 2; i++)
        valid[i] = decode(slots + i * SLOT_BYTES, &found[i]);
    if (!valid[0] && !valid[1])
        return RECORD_DAMAGED;
    newest = valid[1] && (!valid[0] || found[1].sequence > found[0].sequence);
    *out = found[newest];
    out->slot = newest;
    return RECORD_GOOD;
}

static bool write_at(int fd, const char *bytes, size_t length, off_t offset) {
    ssize_t written = pwrite(fd, bytes, length, offset);

    /* The kernel says why it wrote less only when asked for the rest; it is nearly always room. */
    if (written >= 0 && (size_t)written < length)
        errno = ENOSPC;
    return written >= 0 && (size_t)written == length;
}

bool record_write(int fd, struct record *record) {
    char slot[SLOT_BYTES];
    unsigned other = !record->slot;
    size_t used;

    /* Hostile numbers may be at their end: the next one would not be read back, and a lock be
       reported that the file does not hold. */
    if (record->sequence + 1 >= SEQUENCE_MAX || record->fence >= RECORD_FENCE_MAX) {
        errno = EOVERFLOW;
        return false;
    }
    used = encode(slot, record, record->sequence + 1);
    if (!write_at(fd, slot, used, (off_t)other * SLOT_BYTES))
        return false;
    record->sequence++;
    record->slot = other;
    record->queue.kept_from = record->queue.first;
    return true;
}

bool record_create(int fd, const char *key) {
    char slots[RECORD_BYTES] = {0};
    struct record record = {0};

    memcpy(record.key, key, strlen(key));
    encode(slots, &record, 1);
    encode(slots + SLOT_BYTES, &record, 2);
    return write_at(fd, slots, sizeof slots, 0);
}

/* A hole of a size between 64 and 128 MiB, which no file has that was written. */
static off_t reclaimed_bytes(const char *name) {
    const uint64_t least = (uint64_t)1 << 26;

    return (off_t)(least + record_hash(name, strlen(name)) % least);
}

bool record_reclaim(int fd, const char *name) {
    const int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    off_t size = reclaimed_bytes(name);
    struct rlimit most;

    /* Where there are no holes this fails; a file that grows beyond the limit is a signal. */
    if (fallocate(fd, hole, RECORD_BYTES, size) != 0 || getrlimit(RLIMIT_FSIZE, &most) != 0)
        return false;
    if (most.rlim_cur < (rlim_t)size) {
        errno = EFBIG;
        return false;
    }
    /* In this order a kill in between leaves the record, and the size means nothing. */
    return ftruncate(fd, size) == 0 && fallocate(fd, hole, 0, RECORD_BYTES) == 0;
}

bool record_is_reclaimed(int fd, const char *name) {
    char slots[RECORD_BYTES];
    struct stat status;

    return fstat(fd, &status) == 0 && status.st_size == reclaimed_bytes(name) &&
           pread(fd, slots, sizeof slots, 0) == (ssize_t)sizeof slots && slots[0] == 0 &&
           memcmp(slots, slots + 1, sizeof slots - 1) == 0; /* all of it is 0 */
}

void record_note_freed(struct record *record, const char *id) {
    const size_t most = sizeof record->freed - 1;
    size_t length = strlen(record->freed);

    if (strlen(id) != REQUEST_ID_BYTES)
        return;
    if (length > most - REQUEST_ID_BYTES)
        length = most - REQUEST_ID_BYTES; /* the oldest goes: its holder has long ended */
    memmove(record->freed + REQUEST_ID_BYTES, record->freed, length);
    memcpy(record->freed, id, REQUEST_ID_BYTES);
    record->freed[REQUEST_ID_BYTES + length] = '\0';
}

bool record_was_freed(const struct record *record, const char *id) {
    if (strlen(id) != REQUEST_ID_BYTES)
        return false;
    for (const char *at = record->freed; *at; at += REQUEST_ID_BYTES) {
        if (memcmp(at, id, REQUEST_ID_BYTES) == 0)
            return true;
    }
    return false;
}

/* The first line of a file, as far as it fits. 0 or errno. */
static int read_line(const char *path, char *line, size_t size) {
    int fd = open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, line, size - 1);
    int reason = length < 0 ? errno : 0;

    if (fd >= 0)
        close(fd);
    line[length > 0 ? length : 0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return reason;
}

enum outcome record_here(struct record_place *out, struct trouble *why) {
    static const char machine_id[] = "/etc/machine-id";
    struct record_place here;
    struct utsname host;
    int reason = read_line(machine_id, here.machine, sizeof here.machine);

    if (reason != 0 && reason != ENOENT)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot read '%s': %s", machine_id,
                           strerror(reason));
    /* Images without an id, or with "uninitialized" for one, are told apart by host name. */
    if (strlen(here.machine) != MACHINE_ID_BYTES ||
        strspn(here.machine, "0123456789abcdef") != MACHINE_ID_BYTES) {
        uname(&host); /* fails for a bad address only */
        snprintf(here.machine, sizeof here.machine, "host:%s", host.nodename);
    }
    reason = read_line("/proc/sys/kernel/random/boot_id", here.boot, sizeof here.boot);
    if (reason != 0 || strlen(here.boot) != RECORD_BOOT_BYTES)
        return trouble_say(why, FAILED, EXIT_SYSTEM,
                           "the kernel does not tell this boot from earlier ones (%s): mount /proc",
                           reason ? strerror(reason) : "no boot id");
    *out = here;
    return DONE;
}
