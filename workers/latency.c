/* latency.c - how long something took, each time. */
#include "latency.h"

#include <stdlib.h>
#include <time.h>

int64_t latency_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void latency_add(struct latency *latency, int64_t ns)
{
    size_t room = latency->room ? 2 * latency->room : 1024;

    if (latency->count == latency->room) {
        int64_t *more = realloc(latency->ns, room * sizeof(*more));

        if (!more)
            return;
        latency->ns = more;
        latency->room = room;
    }
    latency->ns[latency->count++] = ns;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

struct spread latency_spread(struct latency *latency)
{
    size_t count = latency->count;

    if (count == 0)
        return (struct spread){0};
    qsort(latency->ns, count, sizeof(*latency->ns), by_size);
    return (struct spread){
        .count = count,
        .median = (double)latency->ns[count / 2] * 1e-9,
        .p99 = (double)latency->ns[count * 99 / 100] * 1e-9,
        .max = (double)latency->ns[count - 1] * 1e-9,
    };
}

void latency_close(struct latency *latency)
{
    free(latency->ns);
    *latency = (struct latency){0};
}
