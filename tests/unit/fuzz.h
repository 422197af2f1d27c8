/* fuzz.h - small mutations of good input, the same in every run.
 *
 *     struct fuzz fuzz = fuzz_start();
 *     while (fuzz_goes_on(&fuzz)) {
 *         size_t length = fuzz_mutate(&fuzz, text, sizeof text, "valkey://h:6379/2");
 *
 * The sanitizers look at what happens then, the test at what must hold whatever it is. */
#ifndef VLOCK_FUZZ_H
#define VLOCK_FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "clock.h"

struct fuzz {
    uint64_t state;
    unsigned long rounds;
    int64_t end_ms;
};

static inline struct fuzz fuzz_start(void) {
    return (struct fuzz){.state = 20240229, .end_ms = clock_now_ms() + 400};
}

/* Half a second at most, and no more rounds than a fast machine does in it. */
static inline bool fuzz_goes_on(struct fuzz *fuzz) {
    return ++fuzz->rounds <= 300000 && (fuzz->rounds % 64 || clock_now_ms() < fuzz->end_ms);
}

/* A number below `below` (splitmix64). */
static inline unsigned fuzz_below(struct fuzz *fuzz, unsigned below) {
    uint64_t z = fuzz->state += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (unsigned)((z ^ z >> 31) % below);
}

/* Copies `seed` into `to` and changes it in one to four places: a byte is set, put in, left out,
 * or a piece said twice. A NUL follows. Returns the length. */
static inline size_t fuzz_mutate(struct fuzz *fuzz, char *to, size_t size, const char *seed) {
    static const char likely[] = "%@:/?#[],.0159amhsdZ= \n\r\t\x7f\x80\xc2\xff";
    size_t length = strlen(seed);

    memcpy(to, seed, length + 1);
    for (unsigned times = fuzz_below(fuzz, 4) + 1; times > 0; times--) {
        size_t at = fuzz_below(fuzz, (unsigned)length + 1);
        size_t piece = at < length ? fuzz_below(fuzz, (unsigned)(length - at)) + 1 : 0;
        char byte = fuzz_below(fuzz, 4) ? likely[fuzz_below(fuzz, sizeof likely - 1)]
                                        : (char)(fuzz_below(fuzz, 255) + 1);

        switch (fuzz_below(fuzz, 4)) {
        case 0:
            if (at < length)
                to[at] = byte;
            break;
        case 1:
            if (length + 2 > size)
                break;
            memmove(to + at + 1, to + at, length + 1 - at);
            to[at] = byte;
            length++;
            break;
        case 2:
            memmove(to + at, to + at + piece, length + 1 - at - piece);
            length -= piece;
            break;
        default:
            if (length + piece + 1 > size)
                break;
            memmove(to + at + piece, to + at, length + 1 - at);
            length += piece;
        }
    }
    return length;
}

#endif
