#include "os/clock.h"

int64_t brood__now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail: the clock exists and the pointer is valid */
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

brood_deadline brood__after_ns(int64_t ns)
{
    int64_t at;

    if (ns <= 0)
        return BROOD_NOW;
    if (__builtin_add_overflow(brood__now_ns(), ns, &at))
        return BROOD_FOREVER;
    return (brood_deadline){at};
}

brood_deadline brood_after_ms(int64_t ms)
{
    int64_t ns;

    if (__builtin_mul_overflow(ms, 1000000, &ns))
        return ms < 0 ? BROOD_NOW : BROOD_FOREVER;
    return brood__after_ns(ns);
}

struct timespec brood__timespec(brood_deadline deadline)
{
    return (struct timespec){.tv_sec = deadline.ns / 1000000000, .tv_nsec = deadline.ns % 1000000000};
}
