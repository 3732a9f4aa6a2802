/* submit.c - from a call to a slot: a place in the queue, a lane, the argument's bytes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/error.h"
#include "os/fence.h"
#include "os/futex.h"
#include "os/options.h"
#include "pool/backend.h"
#include "pool/backlog.h"
#include "pool/fetch.h"
#include "pool/future.h"
#include "pool/interrupt.h"
#include "pool/map.h"
#include "pool/placement.h"
#include "pool/pool.h"
#include "pool/retry.h"

/* The worker has the lines of the slots to come, from the lap before: so many are asked for ahead. */
#define SLOTS_AHEAD 6

/* Of many lanes, as many as this are compared to find the one with the least to do. */
#define LANES_COMPARED 32

/* What it takes until a sleeping worker runs; the same where it would share a CPU with this thread or another worker; what
 * going on in another lane costs, whose lines are cold; and what a task is taken to last while nothing is known. */
#define WAKE_NS 8000
#define WAKE_NS_FULL 128000
#define SWITCH_NS 1000
#define UNKNOWN_NS 1000000

/* A thread that submits so many and does not wait will not leave its CPU to the worker soon. */
#define BURST 16

/* ---- room ---- */

static bool has_slot(const struct brood_pool *pool, unsigned lane)
{
    const struct mirror *mirror = &pool->mirrors[lane];

    if (lane >= pool->wanted)
        return false;
    return mirror->outstanding == 0 || !mirror->jobs[lane_index(&pool->shared.lanes[lane], mirror->tail)];
}

bool brood__has_slot(const struct brood_pool *pool)
{
    for (unsigned i = 0; i < pool->workers; i++)
        if (has_slot(pool, i))
            return true;
    return false;
}

static bool has_room(const struct brood_pool *pool)
{
    return pool->outstanding < pool->queue && brood__has_slot(pool);
}

static bool room_or_end(struct brood_pool *pool, struct watch *watch)
{
    (void)watch;
    if (pool->closing || pool->broken || brood__is_interrupted(pool) || has_room(pool))
        return true;
    brood__collect_all(pool);
    return pool->broken || has_room(pool);
}

struct job *brood__middle_job(struct brood_pool *pool, struct watch *watch, struct job *previous)
{
    (void)watch;
    for (unsigned i = previous ? previous->lane + 1 : 0; i < pool->workers; i++) {
        struct mirror *mirror = &pool->mirrors[i];
        const struct lane *lane = &pool->shared.lanes[i];

        uint64_t middle = mirror->oldest + (mirror->tail - mirror->oldest) / 2;

        for (uint64_t p = middle; p < mirror->tail; p++)
            if (mirror->jobs[lane_index(lane, p)])
                return mirror->jobs[lane_index(lane, p)];
        for (uint64_t p = mirror->oldest; p < middle; p++) /* thieves have done the rest */
            if (mirror->jobs[lane_index(lane, p)])
                return mirror->jobs[lane_index(lane, p)];
        if (mirror->jobs[lane_index(lane, MAILBOX)])
            return mirror->jobs[lane_index(lane, MAILBOX)];
    }
    return NULL;
}

static struct job *job_from(struct brood_pool *pool, unsigned number, uint64_t position)
{
    const struct mirror *mirror = &pool->mirrors[number];
    const struct lane *lane = &pool->shared.lanes[number];

    for (; position < mirror->tail; position++)
        if (mirror->jobs[lane_index(lane, position)])
            return mirror->jobs[lane_index(lane, position)];
    return position <= MAILBOX ? mirror->jobs[lane_index(lane, MAILBOX)] : NULL; /* the mailbox is the last */
}

/* What came a lap before the tail has been collected, although `oldest` may not say so yet. */
static struct job *first_job(struct brood_pool *pool, unsigned number)
{
    const struct mirror *mirror = &pool->mirrors[number];
    uint32_t mask = pool->shared.lanes[number].mask;

    return job_from(pool, number, mirror->tail - mirror->oldest > mask ? mirror->tail - mask - 1 : mirror->oldest);
}

struct job *brood__every_job(struct brood_pool *pool, struct watch *watch, struct job *previous)
{
    unsigned number = previous ? previous->lane : 0;
    struct job *job = previous ? job_from(pool, number, previous->position + 1) : first_job(pool, number);

    (void)watch;
    while (!job && ++number < pool->workers)
        job = first_job(pool, number);
    return job;
}

struct job *brood__no_job(struct brood_pool *pool, struct watch *watch, struct job *previous)
{
    (void)pool, (void)watch, (void)previous;
    return NULL;
}

int brood__wait_for_room(struct brood_pool *pool, brood_deadline deadline)
{
    struct watch watch = {.is_ready = room_or_end, .next_job = brood__middle_job, .is_silent = true};
    int r = has_room(pool) ? 0 : brood__wait(pool, &watch, deadline);

    brood__check_life(pool);
    if (pool->closing)
        return brood_fail(-ESHUTDOWN, "the pool is closed");
    if (pool->broken)
        return brood_fail(-ESHUTDOWN, "%s", pool->why_broken);
    if (brood__is_interrupted(pool))
        return brood_fail(-EINTR, "interrupted: the pool takes no more tasks");
    if (r < 0)
        return brood_fail(deadline.ns <= 0 ? -EAGAIN : -ETIMEDOUT, "the pool's queue is full (%zu tasks)", pool->queue);
    return 0;
}

/* ---- lanes ---- */

/* How much there is to do in that lane.  To look how far the worker has come costs a cache miss. */
static uint64_t backlog(const struct brood_pool *pool, unsigned lane)
{
    const struct mirror *mirror = &pool->mirrors[lane];
    uint64_t head = atomic_load_explicit(&pool->shared.lanes[lane].station->head, memory_order_relaxed);
    uint64_t behind = mirror->tail - head + 1; /* the mailbox may be full, too */

    return behind < mirror->outstanding ? behind : mirror->outstanding;
}

static uint64_t wake_ns(const struct brood_pool *pool)
{
    return brood__is_full(&pool->shared) ? WAKE_NS_FULL : WAKE_NS;
}

/* About how long a task would wait there, in ns.  A worker that sleeps has surely done all that its lane still counts as
 * outstanding; one whose pace is not known may be busy with something long. */
static uint64_t wait_in(const struct brood_pool *pool, unsigned lane)
{
    uint64_t outstanding = pool->mirrors[lane].outstanding;
    uint32_t pace;

    if (!has_slot(pool, lane))
        return UINT64_MAX;
    if (brood__idle_is(pool->shared.board, lane))
        return wake_ns(pool);
    if (brood__away_is(pool->shared.board, lane) || pool->mirrors[lane].is_starved)
        return (outstanding + 1) * UNKNOWN_NS;
    if (outstanding == 0)
        return 0; /* what is known of the worker is in a line that it has just written */
    pace = atomic_load_explicit(&pool->shared.lanes[lane].station->pace_ns, memory_order_relaxed);
    if (!pace)
        pace = UNKNOWN_NS;
    return outstanding * pace <= SWITCH_NS ? outstanding * pace : backlog(pool, lane) * pace;
}

/* How long a task may wait rather than go to another lane.  Where that lane's worker has no CPU it would have to wait for
 * one, or take it away from somebody who works. */
static uint64_t patience(const struct brood_pool *pool)
{
    return brood__is_crowded(&pool->shared) ? WAKE_NS / 2 : SWITCH_NS;
}

static unsigned shortest_lane(const struct brood_pool *pool)
{
    unsigned best = pool->last_lane; /* of equals, the one whose lines are warm */
    uint64_t least = wait_in(pool, best), enough = least == 0 ? 0 : patience(pool);

    for (unsigned i = 1; i < pool->workers && least > enough && (i < LANES_COMPARED || least == UINT64_MAX); i++) {
        unsigned lane = pool->last_lane + i < pool->workers ? pool->last_lane + i : pool->last_lane + i - pool->workers;
        uint64_t wait = wait_in(pool, lane);

        if (wait < least) {
            best = lane;
            least = wait;
        }
    }
    return best;
}

/* Does something wait there, or run, that was put there because the lane was shallow? */
static bool has_fed(const struct brood_pool *pool, unsigned lane)
{
    const struct mirror *mirror = &pool->mirrors[lane];
    const struct job *job = mirror->jobs[lane_index(&pool->shared.lanes[lane], mirror->fed)];

    return job && job->position == mirror->fed;
}

unsigned brood__shallow_lane(const struct brood_pool *pool)
{
    unsigned best = ANY_LANE;
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < pool->workers; i++) {
        uint64_t wait = pool->mirrors[i].outstanding < LANE_SHALLOW || !has_fed(pool, i) ? wait_in(pool, i) : UINT64_MAX;

        if (wait < least) {
            best = i;
            least = wait;
        }
    }
    return best;
}

/* Before somebody is woken: what is outstanding may be done already. */
static unsigned pick_lane(struct brood_pool *pool)
{
    unsigned best = shortest_lane(pool);

    if (!brood__idle_is(pool->shared.board, best))
        return best;
    brood__collect_all(pool);
    return shortest_lane(pool);
}

static uint64_t take_position(struct mirror *mirror)
{
    return mirror->outstanding == 0 ? MAILBOX | ++mirror->mailbox : mirror->tail++;
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

static void set_region(struct slot *slot, struct note *note, uint32_t region)
{
    slot->kind |= SLOT_ANY_SIZE;
    note->region = region;
}

static void set_limit(struct slot *slot, struct note *note, const struct request *request)
{
    slot->kind |= SLOT_LIMITED;
    note->limit_ns = request->limit_ns;
    note->grace_ns = request->grace_ns;
}

/* Where workers rest, who was called for the task before may have come, and is given this one: then that one still waits.
 */
static bool are_more_wanted(const struct brood_pool *pool)
{
    return pool->may_rest && pool->outstanding + 1 > brood__awake_count(&pool->shared);
}

/* Wakes the lane's worker or, when that one has something to do already, here or elsewhere, one who may steal; or lets one
 * come who rests. */
static void wake_for(struct brood_pool *pool, unsigned lane)
{
    brood__fence_light(); /* pairs with the heavy fences in brood__idle_enter() and brood__away_enter() */
    bool is_idle = brood__idle_any(&pool->shared);

    if (!is_idle && !pool->may_rest)
        return;
    if (is_idle && brood__idle_wake(&pool->shared, lane))
        return;
    if (pool->mirrors[lane].outstanding <= 1 && !brood__away_is(pool->shared.board, lane) && !are_more_wanted(pool))
        return;
    /* A lookout calls those who are idle, but nobody who rests. */
    if (!pool->may_rest && brood__lookout_any(pool->shared.board) && wait_in(pool, lane) <= wake_ns(pool))
        return;
    if (!is_idle || !brood__idle_wake_any(&pool->shared))
        brood__call_rested(pool, lane);
}

bool brood__submit(struct brood_pool *pool, struct job *job, const struct request *request, unsigned lane_number)
{
    unsigned number = lane_number == ANY_LANE ? pick_lane(pool) : lane_number;
    struct mirror *mirror = &pool->mirrors[number];
    struct lane *lane = &pool->shared.lanes[number];

    if (!has_slot(pool, number))
        return false;
    job->position = take_position(mirror);
    job->lane = number;
    job->in_lane = true;
    uint32_t index = lane_index(lane, job->position);

    mirror->jobs[index] = job;
    mirror->waiters[index] = pool->usual_waiter;
    mirror->outstanding++;
    pool->last_lane = number;
    fill_slot(&lane->slots[index], request, pool->usual_waiter);
    if (request->region != SPILL_NONE)
        set_region(&lane->slots[index], &lane->notes[index], request->region);
    if (request->limit_ns)
        set_limit(&lane->slots[index], &lane->notes[index], request);
    slot_prefetch_write(&lane->slots[lane_index(lane, mirror->tail + SLOTS_AHEAD)]);
    slot_publish(&lane->slots[index], job->position);
    wake_for(pool, number);
    if (mirror->outstanding == BURST)
        brood__placement_spread(pool, number);
    return true;
}

int brood__task_index(struct brood_pool *pool, const struct brood_task *task)
{
    size_t at = ((uintptr_t)task >> 4) % (sizeof(pool->known) / sizeof(pool->known[0]));
    int index;

    if (pool->known[at].task == task)
        return pool->known[at].index;
    index = brood__board_task(&pool->shared, task);
    if (index >= 0) {
        pool->known[at].task = task;
        pool->known[at].index = index;
    }
    return index;
}

/* ---- memory for large arguments and results ---- */

static uint64_t offset_in_heap(const struct brood_pool *pool, const void *memory, size_t bytes)
{
    uintptr_t at = (uintptr_t)memory - (uintptr_t)pool->shared.segment.base;

    return at >= pool->heap.start && at < pool->shared.segment.committed && bytes <= pool->shared.segment.committed - at
               ? at
               : 0;
}

bool brood__is_shared(const struct brood_pool *pool, const void *memory, size_t bytes)
{
    return !pool->backend->between_processes || offset_in_heap(pool, memory, bytes) != 0;
}

static size_t align(size_t n)
{
    return (n + 63) / 64 * 64;
}

/* Finds or makes the places in the segment that a call needs.  Copies with the lock released: an argument may be large. */
static int place(struct brood_pool *pool, struct brood_future *future, struct request *request)
{
    bool arg_is_large = request->arg.len > SLOT_ARG_BYTES, result_is_large = request->result_room > SLOT_RESULT_BYTES;
    size_t bytes = 0;
    int r;

    if (arg_is_large)
        request->arg_offset = offset_in_heap(pool, request->arg.ptr, request->arg.len);
    if (result_is_large)
        request->result_offset = offset_in_heap(pool, future->result, request->result_room);
    bool copy_arg = arg_is_large && !request->arg_offset, copy_result = result_is_large && !request->result_offset;

    if (copy_arg || copy_result) {
        bytes = (copy_arg ? align(request->arg.len) : 0) + (copy_result ? request->result_room : 0);
        brood__future_add_more(future);
        r = brood__heap_alloc(&pool->heap, bytes, false, &future->more.block);
        if (r < 0)
            return r;
    }
    if (copy_result)
        request->result_offset = future->more.block + (copy_arg ? align(request->arg.len) : 0);
    if (result_is_large) {
        brood__future_add_more(future);
        future->more.result_offset = request->result_offset;
    }
    if (copy_arg) {
        request->arg_offset = future->more.block;
        brood__unlock(&pool->lock);
        memcpy(pool->shared.segment.base + request->arg_offset, request->arg.ptr, request->arg.len);
        brood__lock(&pool->lock);
    }
    return 0;
}

/* ---- single tasks ---- */

static int check(const struct brood_task *task, struct brood_bytes arg)
{
    if (!task || !task->name || !task->run)
        return brood_fail(-EINVAL, "a task needs a name and a function");
    if (!arg.ptr && arg.len > 0)
        return brood_fail(-EINVAL, "task '%s': the argument is NULL", task->name);
    if (task->arg_size != BROOD_ANY_SIZE && task->arg_size != arg.len)
        return brood_fail(-EINVAL, "task '%s' takes %zu bytes, and was given %zu", task->name, task->arg_size, arg.len);
    if (arg.len > UINT32_MAX || (task->result_size > UINT32_MAX && task->result_size != BROOD_ANY_SIZE))
        return brood_fail(-EINVAL,
                          "task '%s': arguments and results have less than 4 GiB; pass a pointer to brood_alloc() "
                          "memory instead",
                          task->name);
    return 0;
}

/* The usual case, before the long way round of brood__wait_for_room(). */
static bool takes_more(const struct brood_pool *pool)
{
    const struct board *board = pool->shared.board;

    return pool->outstanding < pool->queue && !pool->closing && !pool->broken && !brood__is_interrupted(pool) &&
           brood__board_state(board) == BOARD_OPEN &&
           atomic_load_explicit(&board->life, memory_order_relaxed) == pool->alive;
}

/* Into a lane, or among those that wait their turn: 1; 0: there is no slot; -ENOMEM. */
static int enter(struct brood_pool *pool, struct brood_future *future, const struct request *request, int priority)
{
    if (brood__backlog_has(pool, priority))
        return brood__backlog_add(pool, future, request, priority);
    return brood__submit(pool, &future->job, request, ANY_LANE);
}

/* For its result, before it runs. */
static size_t put_aside(const struct brood_task *task)
{
    return task->result_size == BROOD_ANY_SIZE ? FETCH_ROOM : task->result_size;
}

/* Locked; `future` is ready but for the slot. */
static int submit_task(struct brood_pool *pool, struct brood_future *future, const struct brood_task *task,
                       struct brood_bytes arg, const struct terms *terms, brood_deadline deadline)
{
    /* The worker may write as much as was promised, and no more than there is room for. */
    size_t promised = put_aside(task), capacity = future->owns_result ? SIZE_MAX : future->room;
    size_t room = future->room < promised ? future->room : promised;
    struct request request = {
        .kind = SLOT_TASK, .arg = arg, .result_room = room, .limit_ns = terms->limit_ns, .grace_ns = terms->grace_ns};

    future->room = (uint32_t)room;
    int r = brood__task_index(pool, task);

    if (r < 0)
        return r;
    request.task = (unsigned)r;
    r = place(pool, future, &request);
    if (r == 0 && task->result_size == BROOD_ANY_SIZE)
        request.region = brood__fetch_prepare(pool, future, capacity);
    if (r == 0 && terms->retries > 0)
        r = brood__retry_prepare(pool, future, &request, terms->retries);
    while (r == 0 && !(takes_more(pool) && (r = enter(pool, future, &request, terms->priority)) != 0))
        r = brood__wait_for_room(pool, deadline);
    if (r > 0) {
        pool->outstanding++;
        return 0;
    }
    if (future->has_more && future->more.block)
        (void)brood__heap_free(&pool->heap, future->more.block);
    brood__fetch_drop(pool, future);
    return r;
}

static int set_room(struct brood_future *future, size_t room)
{
    future->room = (uint32_t)room;
    future->is_inline = room <= FUTURE_INLINE_BYTES;
    if (future->is_inline)
        return 0;
    future->result = malloc(room);
    future->owns_result = true;
    return future->result ? 0 : brood_fail(-ENOMEM, "out of memory");
}

static struct terms terms_of(const struct brood_pool *pool, const struct brood_call_options *options)
{
    struct terms terms = pool->terms;

    if (!options)
        return terms;
    terms = brood__terms(pool, options->limit_ms, options->grace_ms, options->retries);
    if (!pool->backend->run) /* else it runs at once */
        terms.priority = options->priority;
    return terms;
}

int brood_pool_submit(struct brood_pool *pool, const struct brood_task *task, struct brood_future **ret_future,
                      struct brood_bytes arg, const struct brood_call_options *options, brood_deadline deadline)
{
    struct brood_call_options own;
    struct brood_future *future;
    int r = check(task, arg);

    if (r == 0 && options) { /* else nothing is to be cleared and copied: most calls have none */
        own = (struct brood_call_options){.size = sizeof(own)};
        r = brood__options(&own, sizeof(own), options, "BROOD_CALL");
        options = &own;
    }
    if (r == 0)
        r = brood__pool_enter(pool);
    if (r < 0)
        return r;
    struct terms terms = terms_of(pool, options);

    future = brood__future_new(pool);
    r = future ? set_room(future, put_aside(task)) : -ENOMEM;
    if (r == 0)
        r = submit_task(pool, future, task, arg, &terms, deadline);
    if (r == 0)
        *ret_future = future;
    else if (future)
        brood__future_drop(future);
    brood__run_inline(pool);
    brood__fetch_all(pool);
    brood__pool_leave(pool);
    return r;
}

/* A future of the caller's own: on its stack, the result straight into its memory. */
static int apply(struct brood_pool *pool, const struct brood_task *task, struct brood_space *result, struct brood_bytes arg)
{
    struct brood_future future;
    int r = check(task, arg);

    if (r == 0)
        r = brood__pool_enter(pool);
    if (r < 0)
        return r;
    brood__future_init(&future, pool, result->ptr, (uint32_t)(result->len < UINT32_MAX ? result->len : UINT32_MAX));
    r = submit_task(pool, &future, task, arg, &pool->terms, BROOD_FOREVER);
    brood__run_inline(pool);
    if (r == 0)
        (void)brood__future_wait(&future, BROOD_FOREVER);
    brood__fetch_all(pool);
    brood__pool_leave(pool);
    if (r == 0 && future.outcome < 0)
        r = brood_fail(future.outcome, "%s", brood_future_error(&future));
    result->len = future.length;
    brood__future_free_more(&future);
    return r;
}

int brood_pool_apply(struct brood_pool *pool, const struct brood_task *task, void *ret_result, const void *arg)
{
    struct brood_space result = {ret_result, task ? task->result_size : 0};

    if (result.len == BROOD_ANY_SIZE)
        return brood_fail(-EINVAL, "task '%s' gives results of any size: call it with brood_pool_apply_bytes()",
                          task->name);
    return apply(pool, task, &result, (struct brood_bytes){arg, task ? task->arg_size : 0});
}

int brood_pool_apply_async(struct brood_pool *pool, const struct brood_task *task, struct brood_future **ret_future,
                           const void *arg, brood_deadline deadline)
{
    return brood_pool_submit(pool, task, ret_future, (struct brood_bytes){arg, task ? task->arg_size : 0}, NULL, deadline);
}

int brood_pool_apply_bytes(struct brood_pool *pool, const struct brood_task *task, struct brood_space *result,
                           struct brood_bytes arg)
{
    return result ? apply(pool, task, result, arg) : brood_fail(-EINVAL, "there is no room for a result at NULL");
}

int brood_pool_apply_bytes_async(struct brood_pool *pool, const struct brood_task *task, struct brood_future **ret_future,
                                 struct brood_bytes arg, brood_deadline deadline)
{
    return brood_pool_submit(pool, task, ret_future, arg, NULL, deadline);
}
