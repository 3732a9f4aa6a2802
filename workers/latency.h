/* latency.h - how long something took, each time: median, 99th percentile and maximum at the end. */
#ifndef BROOD_WORKERS_LATENCY_H
#define BROOD_WORKERS_LATENCY_H

#include <stddef.h>
#include <stdint.h>

/* Zero is one to begin with.  Callers: one thread at a time. */
struct latency {
    int64_t *ns;
    size_t count, room;
};

/* Nanoseconds on the monotonic clock. */
int64_t latency_now_ns(void);

/* One that memory is too short for is left out. */
void latency_add(struct latency *latency, int64_t ns);

struct spread {
    size_t count;
    double median, p99, max; /* seconds; 0 where nothing was measured */
};

/* Sorts what was measured. */
struct spread latency_spread(struct latency *latency);

void latency_close(struct latency *latency);

#endif
