/* dispatch.h - inside the library: from a request to a slot: chooses a lane, publishes, wakes a worker. */
#ifndef BROOD_POOL_CORE_DISPATCH_H
#define BROOD_POOL_CORE_DISPATCH_H

#include <string.h>

#include "pool/core/wait.h"

/* Copies the commonest size without a call. */
static inline void copy_small(void *to, const void *from, size_t bytes)
{
    if (bytes == 8)
        memcpy(to, from, 8);
    else
        memcpy(to, from, bytes);
}

/* What the submitter writes into a slot. */
struct request {
    enum slot_kind kind;
    unsigned task;          /* the pool header's index */
    struct brood_bytes arg; /* small: copied into the slot */
    uint64_t arg_offset;    /* large: its offset in the segment */
    uint64_t result_offset;
    size_t result_room;
    uint32_t region; /* the region for a result that exceeds the room, or LARGE_NONE */
    struct limits limits;
};

/* Puts the job into the lane with the shortest wait, or into `lane` if that is not ANY_LANE.  False: no slot.  Locked. */
#define ANY_LANE UINT32_MAX
bool brood__submit(struct brood_pool *pool, struct job *job, const struct request *request, unsigned lane);

/* The calling thread is a worker of the pool and runs the job itself; the job is in no lane.  Locked on entry and
 * return, not in between. */
void brood__run_aside(struct brood_pool *pool, struct job *job, const struct request *request);

/* Does any lane have a free slot?  Locked. */
bool brood__has_slot(const struct brood_pool *pool);

/* A shallow lane, whose worker may soon need more: it has fewer than LANE_SHALLOW jobs, of which one may be running, or
 * no job that was put there because the lane was shallow.  (A map keeps a lane full for as long as it lasts.)  ANY_LANE
 * if there is none.  Locked. */
#define LANE_SHALLOW 2
unsigned brood__shallow_lane(const struct brood_pool *pool);

/* Waits until the pool accepts one more task: 0, -EAGAIN, -ETIMEDOUT, -ESHUTDOWN.  Locked. */
int brood__wait_for_room(struct brood_pool *pool, brood_deadline deadline);

/* The pool header's index of a task.  Locked. */
int brood__task_index(struct brood_pool *pool, const struct brood_task *task);

/* The limits and retries that a call asks for: in ms; 0: those of the pool, negative: none. */
struct call_terms {
    int limit_ms, limit_cpu_ms, grace_ms, retries;
};

struct terms brood__terms(const struct brood_pool *pool, const struct call_terms *call);

/* What every job of a call needs. */
struct admission {
    unsigned task; /* the pool header's index */
    struct terms terms;
};

/* Waits for room, as brood__wait_for_room(), and finds the task.  Returns 0 or a negative errno with a message.  Locked. */
int brood__admit(struct brood_pool *pool, const struct brood_task *task, const struct call_terms *call,
                 brood_deadline deadline, struct admission *ret_admission);

/* May a submission exceed the capacity, because this thread is the one that has to make room?  With no other deadline
 * than BROOD_FOREVER.  Locked. */
bool brood__goes_over(const struct brood_pool *pool, brood_deadline deadline);

#endif
