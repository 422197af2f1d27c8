#include "clock.h"

#include <sys/random.h>
#include <time.h>

static int64_t read_clock(clockid_t id, int64_t per_second, int64_t ns_per_unit) {
    struct timespec t;

    clock_gettime(id, &t); /* cannot fail for these clocks */
    return (int64_t)t.tv_sec * per_second + t.tv_nsec / ns_per_unit;
}

int64_t clock_now_ms(void) {
    return read_clock(CLOCK_BOOTTIME, 1000, 1000000);
}

int64_t clock_wall_ms(void) {
    return read_clock(CLOCK_REALTIME, 1000, 1000000);
}

int64_t clock_wall_us(void) {
    return read_clock(CLOCK_REALTIME, 1000000, 1000);
}

int64_t clock_after(int64_t start_ms, int64_t span_ms) {
    int64_t sum;

    if (start_ms == CLOCK_NEVER || span_ms == CLOCK_NEVER)
        return CLOCK_NEVER;
    return __builtin_add_overflow(start_ms, span_ms, &sum) ? CLOCK_NEVER : sum;
}

int64_t clock_earlier(int64_t a_ms, int64_t b_ms) {
    return a_ms < b_ms ? a_ms : b_ms;
}

int64_t clock_spread_ms(int64_t pause_ms) {
    unsigned char byte = 128;

    if (getrandom(&byte, 1, GRND_NONBLOCK) != 1)
        byte = 128;
    return pause_ms / 2 + pause_ms * byte / 512 + 1;
}
