#include <unistd.h>

#include "os/assert.h"
#include "os/clock.h"
#include "os/process_attributes.h"
#include "proto/header.h"
#include "worker/recycling.h"

#define LOOK_NS 10000000 /* how often to read /proc/self/statm, which takes some microseconds */
#define JITTER_PART 10   /* at most a tenth less */

/* Spreads the workers evenly over the tenth, whatever their number: multiples of the golden ratio, in 32 bits. */
static uint64_t limit_draw(uint64_t most, unsigned seed)
{
    uint64_t spread = (seed * 2654435769u) & UINT32_MAX;

    return most - (uint64_t)((double)(most / JITTER_PART) * (double)spread / (double)UINT32_MAX);
}

void brood__recycling_open(struct recycling *recycling, const struct header *header, unsigned worker)
{
    unsigned seed = worker + (unsigned)getpid();
    uint64_t tasks = header->worker_tasks, age_ms = header->worker_age_ms;

    brood__assert(worker < BROOD_WORKERS_MAX);
    *recycling = (struct recycling){
        .tasks_left = tasks ? limit_draw(tasks, seed) : UINT64_MAX,
        .at_ns = age_ms ? brood__now_ns() + (int64_t)limit_draw(age_ms * 1000000, seed) : INT64_MAX,
        .next_look_ns = header->worker_memory_kib ? 0 : INT64_MAX,
        .memory_kib = header->worker_memory_kib,
    };
}

bool brood__recycling_is_due(struct recycling *recycling, int64_t now_ns)
{
    if (recycling->tasks_left == 0 || !recycling->has_worked)
        return recycling->tasks_left == 0;
    if (now_ns >= recycling->at_ns)
        return true;
    if (now_ns < recycling->next_look_ns)
        return false;
    recycling->next_look_ns = now_ns + LOOK_NS;
    if (brood__process_memory_kib() > recycling->memory_kib)
        recycling->tasks_left = 0;
    return recycling->tasks_left == 0;
}

bool brood__recycling_is_due_now(struct recycling *recycling, int64_t now_ns)
{
    if (now_ns >= recycling->at_ns)
        recycling->tasks_left = 0;
    if (recycling->next_look_ns != INT64_MAX)
        recycling->next_look_ns = now_ns;
    return brood__recycling_is_due(recycling, now_ns);
}
