#include <errno.h>
#include <string.h>

#include "os/error.h"
#include "os/fence.h"
#include "os/futex.h"
#include "pool/core/calls.h"
#include "pool/core/dispatch.h"
#include "pool/core/interrupt.h"
#include "pool/core/jobs.h"
#include "pool/core/kind.h"
#include "pool/core/placement.h"
#include "pool/core/slots.h"
#include "pool/core/teardown.h"
#include "pool/core/wait.h"
#include "proto/task.h"

/* The worker has the cache lines of the next slots, from the lap before: the host prefetches so many slots ahead. */
#define SLOTS_AHEAD 6

/* A lane grows by at most so many slots at a time: to commit them takes some 30 µs with the lock held. */
#define DEEPEN_MAX 256

/* Of many lanes, the host compares this many to find the one with the shortest wait. */
#define LANES_COMPARED 32

/* The time until a sleeping worker runs; the same where it would share a CPU with this thread or another worker; the
 * cost of continuing in another lane, whose cache lines are cold; and the assumed duration of a task when nothing is
 * known. */
#define WAKE_NS 8000
#define WAKE_NS_FULL 128000
#define SWITCH_NS 1000
#define UNKNOWN_NS 1000000

/* A thread that submits so many tasks without waiting will not leave its CPU to the worker soon. */
#define BURST 16

/* ---- room ---- */

static bool has_slot(const struct brood_pool *pool, unsigned lane)
{
    const struct lane_shadow *shadow = &pool->shadows[lane];

    if (lane >= pool->size.wanted)
        return false;
    return shadow->outstanding == 0 || (lane_is_deep_enough(&pool->shared.lanes[lane], shadow->tail) &&
                                        !shadow->jobs[lane_index(&pool->shared.lanes[lane], shadow->tail)]);
}

bool brood__has_slot(const struct brood_pool *pool)
{
    brood__assert_locked(pool);
    for (unsigned i = 0; i < pool->size.max; i++)
        if (has_slot(pool, i))
            return true;
    return false;
}

static bool has_room(const struct brood_pool *pool)
{
    return pool->counts.outstanding < pool->queue && brood__has_slot(pool);
}

static bool room_or_end(struct brood_pool *pool, struct wait_condition *condition)
{
    (void)condition;
    if (life_is_ending(pool->life.state) || brood__is_interrupted(pool) || has_room(pool))
        return true;
    brood__collect_all(pool);
    return life_is_broken(pool->life.state) || has_room(pool);
}

bool brood__goes_over(const struct brood_pool *pool, brood_deadline deadline)
{
    brood__assert_locked(pool);
    return deadline.ns == BROOD_FOREVER.ns && (brood__calls_inside(&pool->callbacks.due) || brood__is_worker_of(pool));
}

int brood__wait_for_room(struct brood_pool *pool, brood_deadline deadline)
{
    brood__assert_locked(pool);
    struct wait_condition condition = {.is_ready = room_or_end, .next_job = brood__middle_job, .is_silent = true};
    int r = has_room(pool) || brood__goes_over(pool, deadline) ? 0 : brood__wait(pool, &condition, deadline);

    brood__check_life(pool);
    if (life_is_ending(pool->life.state))
        return brood__pool_takes_no_more(pool);
    if (brood__is_interrupted(pool))
        return brood_fail(-EINTR, "interrupted: the pool takes no more tasks");
    if (r < 0)
        return brood_fail(r, "the pool's queue is full (%zu tasks)", pool->queue);
    return 0;
}

/* ---- lanes ---- */

/* The number of jobs before a new one in that lane.  To read the worker's head costs a cache miss.  Relaxed: the worker
 * writes `head`, and the host uses it as a hint. */
static uint64_t backlog(const struct brood_pool *pool, unsigned lane)
{
    const struct lane_shadow *shadow = &pool->shadows[lane];
    uint64_t head = atomic_load_explicit(&pool->shared.lanes[lane].worker_state->head, memory_order_relaxed);
    uint64_t behind = shadow->tail - head + 1; /* the mailbox may be full, too */

    return behind < shadow->outstanding ? behind : shadow->outstanding;
}

static uint64_t wake_ns(const struct brood_pool *pool)
{
    return brood__is_full(&pool->shared) ? WAKE_NS_FULL : WAKE_NS;
}

/* The estimated time that a task would wait there, in ns.  A sleeping worker has certainly done all that its lane still
 * counts as outstanding; a worker of unknown pace may be busy with something long. */
static uint64_t wait_in(const struct brood_pool *pool, unsigned lane)
{
    uint64_t outstanding = pool->shadows[lane].outstanding;
    uint32_t pace;

    if (!has_slot(pool, lane))
        return UINT64_MAX;
    if (brood__idle_is(pool->shared.header, lane))
        return wake_ns(pool);
    if (brood__unavailable_is(pool->shared.header, lane) || pool->shadows[lane].is_starved)
        return (outstanding + 1) * UNKNOWN_NS;
    if (outstanding == 0)
        return 0; /* to read the pace would be a cache miss: the worker has just written it */
    pace = atomic_load_explicit(&pool->shared.lanes[lane].worker_state->pace_ns, memory_order_relaxed);
    if (!pace)
        pace = UNKNOWN_NS;
    return outstanding * pace <= SWITCH_NS ? outstanding * pace : backlog(pool, lane) * pace;
}

/* How long a task may wait before another lane is better.  If the CPUs are crowded, the worker of another lane would
 * have to wait for a CPU, or take one from a thread that works. */
static uint64_t patience(const struct brood_pool *pool)
{
    return brood__is_crowded(&pool->shared) ? WAKE_NS / 2 : SWITCH_NS;
}

static unsigned shortest_lane(const struct brood_pool *pool)
{
    unsigned best = pool->last_lane; /* of equals, the one with warm cache lines */
    uint64_t least = wait_in(pool, best), enough = least == 0 ? 0 : patience(pool);

    for (unsigned i = 1; i < pool->size.max && least > enough && (i < LANES_COMPARED || least == UINT64_MAX); i++) {
        unsigned lane = pool->last_lane + i < pool->size.max ? pool->last_lane + i : pool->last_lane + i - pool->size.max;
        uint64_t wait = wait_in(pool, lane);

        if (wait < least) {
            best = lane;
            least = wait;
        }
    }
    return best;
}

/* Is there a job, waiting or running, that was put there because the lane was shallow? */
static bool has_fed(const struct brood_pool *pool, unsigned lane)
{
    const struct lane_shadow *shadow = &pool->shadows[lane];
    const struct job *job = shadow->jobs[lane_index(&pool->shared.lanes[lane], shadow->fed)];

    return job && job->position == shadow->fed;
}

unsigned brood__shallow_lane(const struct brood_pool *pool)
{
    brood__assert_locked(pool);
    unsigned best = ANY_LANE;
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < pool->size.max; i++) {
        uint64_t wait = pool->shadows[i].outstanding < LANE_SHALLOW || !has_fed(pool, i) ? wait_in(pool, i) : UINT64_MAX;

        if (wait < least) {
            best = i;
            least = wait;
        }
    }
    return best;
}

/* Collects before it accepts an idle worker's lane: what is outstanding elsewhere may be done already. */
static unsigned pick_lane(struct brood_pool *pool)
{
    unsigned best = shortest_lane(pool);

    if (!brood__idle_is(pool->shared.header, best))
        return best;
    brood__collect_all(pool);
    return shortest_lane(pool);
}

static uint64_t take_position(struct lane_shadow *shadow)
{
    return shadow->outstanding == 0 ? MAILBOX | ++shadow->mailbox : shadow->tail++;
}

/* Commits memory before the tail reaches slots that have none.  If memory is short the lane takes one task at a time,
 * and the host tries again with each. */
static void deepen(struct brood_pool *pool, unsigned number)
{
    struct lane *lane = &pool->shared.lanes[number];
    uint32_t more = lane->depth < DEEPEN_MAX ? lane->depth : DEEPEN_MAX;

    if (!lane_is_deep_enough(lane, pool->shadows[number].tail))
        (void)brood__lane_commit(&pool->shared, number, lane->depth + more);
}

static void fill_slot(struct slot *slot, const struct request *request, unsigned waiter)
{
    slot->task = (uint16_t)request->task;
    slot->kind = (uint8_t)request->kind;
    atomic_init(&slot->waiter, (uint8_t)waiter);
    slot->arg_bytes = (uint32_t)request->arg.len;
    slot->result_bytes = (uint32_t)request->result_room;
    if (request->arg_offset)
        slot->arg.offset = request->arg_offset;
    else if (request->arg.len > 0)
        copy_small(slot->arg.bytes, request->arg.ptr, request->arg.len);
    if (request->result_offset)
        slot->result.offset = request->result_offset;
}

static void set_region(struct slot *slot, struct slot_extension *extension, uint32_t region)
{
    slot->kind |= SLOT_ANY_SIZE;
    extension->region = region;
}

static void set_limit(struct slot *slot, struct slot_extension *extension, const struct request *request)
{
    slot->kind |= SLOT_LIMITED;
    extension->limits = request->limits;
}

/* A worker started for the previous task may take this one and leave the previous one queued; so start another when tasks
 * outnumber awake workers. */
static bool are_more_wanted(const struct brood_pool *pool)
{
    return pool->size.may_scale_down && pool->counts.outstanding + 1 > brood__awake_count(&pool->shared);
}

/* Wakes the worker of that lane.  A worker that is about to sleep may just have seen the previous task, which came while
 * it was awake: then it takes that one, and the new task would wait.  So this also counts as a help request, and the
 * worker passes the wake-up on. */
static bool wake_own(struct brood_pool *pool, unsigned lane)
{
    if (!brood__idle_is(pool->shared.header, lane))
        return false;
    if (pool->shadows[lane].outstanding > 1)
        brood__help_request(pool->shared.header);
    return brood__idle_wake(&pool->shared, lane, NULL);
}

/* Wakes the lane's worker or, if that is busy with this lane or another, a worker that may steal; or starts one that is
 * scaled down.
 *
 * The submitter has stored the slot's word and then loads `idle` and `unavailable`; a worker stores its bit there and
 * then looks for tasks.  With both fences at least one of them sees the other's store. */
static void wake_for(struct brood_pool *pool, unsigned lane)
{
    brood__fence_light(); /* pairs with the heavy fences in brood__idle_enter() and brood__unavailable_enter() */
    brood__waiting_set(pool->shared.header, lane);
    bool is_idle = brood__idle_any(&pool->shared);

    if (!is_idle && !pool->size.may_scale_down)
        return;
    /* That worker takes this task.  An earlier task that waits in another lane needs one more. */
    if (is_idle && wake_own(pool, lane) && !are_more_wanted(pool))
        return;
    if (pool->shadows[lane].outstanding <= 1 && !brood__unavailable_is(pool->shared.header, lane) && !are_more_wanted(pool))
        return;
    /* A watcher wakes idle workers, but starts none that is scaled down. */
    if (!pool->size.may_scale_down && brood__watcher_any(pool->shared.header) && wait_in(pool, lane) <= wake_ns(pool))
        return;
    if (!is_idle || !brood__idle_wake_any(&pool->shared, NULL))
        brood__scale_up(pool, lane);
}

bool brood__submit(struct brood_pool *pool, struct job *job, const struct request *request, unsigned lane_number)
{
    brood__assert_locked(pool);
    unsigned number = lane_number == ANY_LANE ? pick_lane(pool) : lane_number;
    struct lane_shadow *shadow = &pool->shadows[number];
    struct lane *lane = &pool->shared.lanes[number];

    if (!has_slot(pool, number))
        return false;
    job->position = take_position(shadow);
    job->lane = number;
    job->in_lane = true;
    deepen(pool, number);
    uint32_t index = lane_index(lane, job->position);

    shadow->jobs[index] = job;
    shadow->waiters[index] = pool->events.usual_waiter;
    shadow->outstanding++;
    pool->last_lane = number;
    fill_slot(&lane->slots[index], request, pool->events.usual_waiter);
    if (request->region != LARGE_NONE)
        set_region(&lane->slots[index], &lane->extensions[index], request->region);
    if (limits_are_set(request->limits))
        set_limit(&lane->slots[index], &lane->extensions[index], request);
    slot_prefetch_write(&lane->slots[lane_index(lane, shadow->tail + SLOTS_AHEAD)]);
    slot_publish(&lane->slots[index], job->position);
    wake_for(pool, number);
    if (shadow->outstanding == BURST)
        brood__placement_spread(pool, number);
    return true;
}

void brood__run_aside(struct brood_pool *pool, struct job *job, const struct request *request)
{
    brood__assert_locked(pool);
    struct slot slot = {0};
    struct slot_extension extension = {0};
    struct answer answer = {.state = SLOT_DONE, .slot = &slot, .extension = &extension};

    fill_slot(&slot, request, WAITER_NONE);
    if (request->region != LARGE_NONE)
        set_region(&slot, &extension, request->region);
    if (limits_are_set(request->limits))
        set_limit(&slot, &extension, request);
    brood__unlock(&pool->lock);
    answer.worker = pool->ops->inside->run_aside(&pool->shared, &slot, &extension, job);
    brood__lock(&pool->lock);
    pool->counts.settled++;
    pool->shadows[answer.worker].answered++;
    job->ops->settle(pool, job, &answer);
    brood__wake_waiter(pool->shared.header,
                       WAITER_ALL); /* threads that wait for this job found no slot in which to name themselves */
}

int brood__task_index(struct brood_pool *pool, const struct brood_task *task)
{
    brood__assert_locked(pool);
    size_t at = ((uintptr_t)task >> 4) % (sizeof(pool->tasks.known) / sizeof(pool->tasks.known[0]));
    int index;

    if (brood__tasks_have_gone(&pool->tasks.gone)) /* another task may be at the address now */
        memset(pool->tasks.known, 0, sizeof(pool->tasks.known));
    if (pool->tasks.known[at].task == task)
        return pool->tasks.known[at].index;
    index = brood__header_task(&pool->shared, task);
    if (index >= 0) {
        pool->tasks.known[at].task = task;
        pool->tasks.known[at].index = index;
    }
    return index;
}

/* ---- what a call needs before its first job ---- */

#define NS_PER_MS (int64_t)1000000

static int64_t choose_ns(int ms, int64_t otherwise)
{
    return ms == 0 ? otherwise : ms > 0 ? ms * NS_PER_MS : 0;
}

struct terms brood__terms(const struct brood_pool *pool, const struct call_terms *call)
{
    const struct terms *usual = &pool->terms;

    return (struct terms){
        .limits = {.wall_ns = choose_ns(call->limit_ms, usual->limits.wall_ns),
                   .cpu_ns = choose_ns(call->limit_cpu_ms, usual->limits.cpu_ns),
                   .grace_ns = choose_ns(call->grace_ms, usual->limits.grace_ns)},
        .retries = call->retries == 0  ? usual->retries
                   : call->retries > 0 ? call->retries
                                       : 0,
    };
}

int brood__admit(struct brood_pool *pool, const struct brood_task *task, const struct call_terms *call,
                 brood_deadline deadline, struct admission *ret_admission)
{
    brood__assert_locked(pool);
    int r = brood__wait_for_room(pool, deadline);

    if (r == 0)
        r = brood__task_index(pool, task);
    if (r < 0)
        return r;
    *ret_admission = (struct admission){(unsigned)r, brood__terms(pool, call)};
    return 0;
}
