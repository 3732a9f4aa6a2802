#include "pool/core/slots.h"
#include "pool/core/jobs.h"
#include "pool/core/kind.h"

/* While the host collects a lane it prefetches so many slots ahead, since the worker has their cache lines. */
#define SLOTS_AHEAD 6

static void count_answer(struct brood_pool *pool, unsigned lane, unsigned worker)
{
    pool->shadows[worker].answered++;
    if (worker != lane)
        pool->counts.stolen++;
}

void brood__settle(struct brood_pool *pool, unsigned lane_number, uint32_t index, enum slot_state state, unsigned worker)
{
    struct lane_shadow *shadow = &pool->shadows[lane_number];
    struct lane *lane = &pool->shared.lanes[lane_number];
    struct slot *slot = &lane->slots[index];
    struct job *job = shadow->jobs[index];
    unsigned waiter = shadow->waiters[index];
    struct answer answer = {state, worker, slot, &lane->extensions[index]};

    shadow->jobs[index] = NULL;
    shadow->waiters[index] = WAITER_NONE;
    shadow->outstanding--;
    shadow->is_starved = shadow->is_starved && shadow->outstanding > 0;
    pool->counts.settled++;
    if (state == SLOT_DONE)
        count_answer(pool, lane_number, worker);
    job->in_lane = false;
    job->ops->settle(pool, job, &answer);
    if (state == SLOT_LOST)
        brood__certificate_free(&pool->shared, read_once(answer.extension->certificate));
    /* The worker wakes the waiter, too; but it may read `waiter` only after the slot is in use again.  The event thread
     * needs no wake-up: it would only do what this function does. */
    if (waiter != WAITER_NONE && waiter != EVENT_THREAD_PARKER &&
        (waiter == WAITER_ALL || pool->sleepers.asleep >> waiter & 1))
        brood__wake_waiter(pool->shared.header, waiter);
}

/* Can the slot of a job that is in a lane hold this word?  Any other change is made by the host alone. */
static bool is_possible(const struct brood_pool *pool, uint64_t word, uint64_t position)
{
    enum slot_state state = word_state(word);

    return word_position(word) == position && word_worker(word) < pool->size.max && state >= SLOT_READY &&
           state <= SLOT_LOST;
}

bool brood__collect(struct brood_pool *pool, struct job *job)
{
    brood__assert_locked(pool);
    uint32_t index;
    uint64_t word;

    if (!job->in_lane)
        return false;
    index = lane_index(&pool->shared.lanes[job->lane], job->position);
    word = slot_look(&pool->shared.lanes[job->lane].slots[index]);
    if (!is_possible(pool, word, job->position)) {
        pool->life.torn = brood__torn_overwritten;
        return false;
    }
    if (!brood__word_is_over(word, job->position))
        return false;
    brood__settle(pool, job->lane, index, word_state(word), word_worker(word));
    return true;
}

void brood__collect_lane(struct brood_pool *pool, unsigned number)
{
    brood__assert_locked(pool);
    struct lane_shadow *shadow = &pool->shadows[number];
    const struct lane *lane = &pool->shared.lanes[number];
    struct job *last = shadow->jobs[lane_index(lane, MAILBOX)];

    if (last)
        (void)brood__collect(pool, last);
    if (shadow->tail - shadow->oldest > lane->mask) /* the others have been collected, and their slots are in use again */
        shadow->oldest = shadow->tail - lane->mask - 1;
    for (; shadow->oldest < shadow->tail; shadow->oldest++) {
        struct job *job = shadow->jobs[lane_index(lane, shadow->oldest)];

        __builtin_prefetch(&lane->slots[lane_index(lane, shadow->oldest + SLOTS_AHEAD)]);
        if (job && !brood__collect(pool, job))
            break;
    }
}

static void collect_claimed_of(struct brood_pool *pool, unsigned number)
{
    struct job *job;

    brood__collect_lane(pool, number);
    for (uint64_t next = 0; (job = brood__job_from(pool, number, next)) && brood__is_claimed(pool, job);) {
        next = job->position + 1;
        (void)brood__collect(pool, job);
    }
}

void brood__collect_claimed(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    for (unsigned i = 0; i < pool->size.max; i++)
        if (pool->shadows[i].outstanding > 0)
            collect_claimed_of(pool, i);
}

/* Settles also finished jobs after an unclaimed one: only a worker that corrupts memory can cause that order. */
void brood__collect_scattered(struct brood_pool *pool)
{
    struct job *job;

    for (unsigned i = 0; i < pool->size.lanes; i++)
        for (uint32_t index = 0; (job = brood__lane_job(pool, i, &index));)
            (void)brood__collect(pool, job);
}

void brood__collect_lost_now(struct brood_pool *pool, uint64_t lost_tasks)
{
    pool->counts.lost_tasks = lost_tasks;
    brood__collect_claimed(pool);
}

bool brood__is_claimed(struct brood_pool *pool, struct job *job)
{
    brood__assert_locked(pool);
    const struct lane *lane = &pool->shared.lanes[job->lane];

    return slot_look(&lane->slots[lane_index(lane, job->position)]) != word_of(SLOT_READY, 0, job->position);
}

bool brood__take_back(struct brood_pool *pool, struct job *job, enum slot_state state)
{
    brood__assert_locked(pool);
    struct lane *lane;
    uint32_t index;

    if (!job->in_lane)
        return false;
    lane = &pool->shared.lanes[job->lane];
    index = lane_index(lane, job->position);
    if (!slot_cancel(&lane->slots[index], job->position))
        return false;
    brood__settle(pool, job->lane, index, state, 0);
    return true;
}

void brood__ask_to_stop(struct brood_pool *pool, const struct job *job)
{
    brood__assert_locked(pool);
    struct lane *lane = &pool->shared.lanes[job->lane];

    /* The worker loads it when the task asks.  Relaxed: no other memory depends on it. */
    atomic_store_explicit(&lane->extensions[lane_index(lane, job->position)].stopped, job->position, memory_order_relaxed);
}
