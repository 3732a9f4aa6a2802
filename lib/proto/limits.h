/* limits.h - the limits of a task, or of an item of a map, from the host to the worker. */
#ifndef BROOD_PROTO_LIMITS_H
#define BROOD_PROTO_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

struct limits {
    int64_t wall_ns, cpu_ns; /* time, and CPU time; 0: no limit */
    int64_t grace_ns;        /* additional time of either kind after the signal; then the worker is killed */
};

static inline bool limits_are_set(struct limits limits)
{
    return limits.wall_ns != 0 || limits.cpu_ns != 0;
}

#endif
