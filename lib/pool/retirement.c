#include <unistd.h>

#include "os/clock.h"
#include "os/process.h"
#include "pool/retirement.h"
#include "shm/board.h"

#define LOOK_NS 10000000 /* reading /proc/self/statm takes some microseconds */
#define JITTER_PART 10   /* at most a tenth less */

/* Spreads the workers evenly over the tenth, whatever their number: multiples of the golden ratio, in 32 bits. */
static uint64_t draw(uint64_t most, unsigned seed)
{
    uint64_t spread = (seed * 2654435769u) & UINT32_MAX;

    return most - (uint64_t)((double)(most / JITTER_PART) * (double)spread / (double)UINT32_MAX);
}

void brood__retirement_open(struct retirement *retirement, const struct board *board, unsigned worker)
{
    unsigned seed = worker + (unsigned)getpid();
    uint64_t tasks = board->worker_tasks, age_ms = board->worker_age_ms;

    *retirement = (struct retirement){
        .tasks_left = tasks ? draw(tasks, seed) : UINT64_MAX,
        .at_ns = age_ms ? brood__now_ns() + (int64_t)draw(age_ms * 1000000, seed) : INT64_MAX,
        .next_look_ns = board->worker_memory_kib ? 0 : INT64_MAX,
        .memory_kib = board->worker_memory_kib,
    };
}

bool brood__retirement_is_due(struct retirement *retirement, int64_t now_ns)
{
    if (retirement->tasks_left == 0 || now_ns >= retirement->at_ns)
        return true;
    if (now_ns < retirement->next_look_ns)
        return false;
    retirement->next_look_ns = now_ns + LOOK_NS;
    if (brood__process_memory_kib() > retirement->memory_kib)
        retirement->tasks_left = 0;
    return retirement->tasks_left == 0;
}

bool brood__retirement_is_due_now(struct retirement *retirement, int64_t now_ns)
{
    if (retirement->next_look_ns != INT64_MAX)
        retirement->next_look_ns = now_ns;
    return brood__retirement_is_due(retirement, now_ns);
}
