/* clock.h - the monotonic clock, in nanoseconds, and deadlines on it. */
#ifndef BROOD_OS_CLOCK_H
#define BROOD_OS_CLOCK_H

#include <errno.h>
#include <stdbool.h>
#include <time.h>

#include <brood/base.h>

int64_t brood__now_ns(void);

static inline bool brood__is_forever(brood_deadline deadline)
{
    return deadline.ns == INT64_MAX;
}

static inline bool brood__is_past(brood_deadline deadline)
{
    return deadline.ns <= 0 || (!brood__is_forever(deadline) && brood__now_ns() >= deadline.ns);
}

/* The result of a wait whose deadline has passed: a caller with BROOD_NOW did not want to wait. */
static inline int brood__timeout(brood_deadline deadline)
{
    return deadline.ns <= 0 ? -EAGAIN : -ETIMEDOUT;
}

/* The time `ns` nanoseconds from now, or BROOD_FOREVER where that would overflow. */
brood_deadline brood__after_ns(int64_t ns);

static inline brood_deadline brood__sooner(brood_deadline a, brood_deadline b)
{
    return a.ns < b.ns ? a : b;
}

struct timespec brood__timespec(brood_deadline deadline);

#endif
