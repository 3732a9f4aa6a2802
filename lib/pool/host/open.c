/* open.c - makes a pool from options: its memory, its lanes, its workers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/cpus.h"
#include "os/options.h"
#include "os/sandbox.h"
#include "os/thread_cpu.h"
#include "pool/core/kind.h"
#include "pool/future/event_thread.h"
#include "pool/host/open.h"
#include "proto/depth.h"
#include "proto/task.h"

#define QUEUE_PER_WORKER 512 /* keeps workers with tiny tasks busy; work stealing balances long tasks */
#define LANE_SLOTS_MIN 16
#define LANE_SLOTS_MAX 32768
#define NS_PER_MS (int64_t)1000000

static int default_between(int least, int most)
{
    int workers = brood_workers_default(NULL, 0);

    if (workers < least)
        return least;
    return most && workers > most ? most : workers;
}

/* Checks the three numbers of workers, and sets those that are 0 to their defaults. */
static int check_workers(struct brood_pool_options *options)
{
    if (options->workers < 0 || options->workers > BROOD_WORKERS_MAX)
        return brood_fail(-EINVAL, "%d workers: 1 to %d, or 0 for the default", options->workers, BROOD_WORKERS_MAX);
    if (options->workers_max < 0 || options->workers_max > BROOD_WORKERS_MAX || options->workers_min < BROOD_WORKERS_NONE)
        return brood_fail(-EINVAL,
                          ".workers_min = %d, .workers_max = %d: 1 to %d, or 0 for the default; BROOD_WORKERS_NONE is a "
                          "minimum of 0",
                          options->workers_min, options->workers_max, BROOD_WORKERS_MAX);
    if (options->idle_ms < 0)
        return brood_fail(-EINVAL, "a worker cannot rest after less than no time; 0 means never");
    if (options->workers == 0 && options->kind != BROOD_INLINE)
        options->workers = default_between(options->workers_min, options->workers_max);
    if (options->kind == BROOD_INLINE)
        options->workers = options->workers_min = options->workers_max = 1;
    if (options->workers_max == 0)
        options->workers_max = options->workers;
    if (options->workers_min == 0)
        options->workers_min = options->idle_ms ? 1 : options->workers;
    if (options->workers_min == BROOD_WORKERS_NONE)
        options->workers_min = 0;
    if (options->workers_min > options->workers || options->workers > options->workers_max)
        return brood_fail(-EINVAL, "%d workers are not between .workers_min = %d and .workers_max = %d", options->workers,
                          options->workers_min, options->workers_max);
    return 0;
}

/* Tasks that open pools whose tasks open pools would fill the machine. */
static int check_depth(void)
{
    unsigned depth = brood__depth();

    if (depth < BROOD_POOL_DEPTH_MAX)
        return 0;
    return brood_fail(-ELOOP, "this would be a pool in a worker of a pool, %u deep, which is the limit", depth + 1);
}

static int check_options(struct brood_pool_options *options, const struct brood_pool_options *given)
{
    *options = (struct brood_pool_options){.size = sizeof(*options)};
    int r = brood__options(options, sizeof(*options), given, "BROOD_POOL");

    if (r < 0)
        return r;
    if (options->worker_tasks < 0 || options->worker_memory_mib < 0 || options->worker_age_ms < 0)
        return brood_fail(-EINVAL, "a worker cannot retire after less than nothing; 0 means never");
    if (options->limit_ms < 0 || options->limit_cpu_ms < 0 || options->grace_ms < 0 || options->retries < 0 ||
        options->retry_pause_ms < 0)
        return brood_fail(-EINVAL, "a limit, a grace, retries and their pause cannot be negative; 0 means none");
    if ((unsigned)options->at_limit > BROOD_LIMIT_TERMINATE)
        return brood_fail(-EINVAL, "at its limit a worker does BROOD_LIMIT_ASK or BROOD_LIMIT_TERMINATE, not %d",
                          (int)options->at_limit);
    if (options->at_limit == BROOD_LIMIT_TERMINATE && options->kind != BROOD_PROCESSES)
        return brood_fail(-ENOTSUP, "BROOD_LIMIT_TERMINATE needs .kind = BROOD_PROCESSES: a thread cannot be ended");
    if (options->deaths_ms < 0)
        return brood_fail(-EINVAL, "deaths cannot be counted for less than no time; 0 means the default");
    if ((unsigned)options->kind > BROOD_INLINE)
        return brood_fail(-EINVAL, "there is no kind of worker %d", (int)options->kind);
    if ((unsigned)options->callbacks > BROOD_CALLBACK_THREAD)
        return brood_fail(-EINVAL, "callbacks are called by BROOD_CALLBACK_WAITERS or BROOD_CALLBACK_THREAD, not %d",
                          (int)options->callbacks);
    if (options->sandbox && options->kind != BROOD_PROCESSES)
        return brood_fail(-EINVAL, "a sandbox needs .kind = BROOD_PROCESSES: a thread cannot be confined");
    if (options->worker && (options->initializer || options->finalizer))
        return brood_fail(-EINVAL,
                          "a worker executable has its own initializer and finalizer: see brood_worker_main_with()");
    if (options->worker && options->kind != BROOD_PROCESSES)
        return brood_fail(-EINVAL, "a worker executable needs .kind = BROOD_PROCESSES");
    if ((unsigned)options->output > BROOD_OUTPUT_PREFIX)
        return brood_fail(-EINVAL, "there is no kind of output %d", (int)options->output);
    if (options->output != BROOD_OUTPUT_PASS && options->kind != BROOD_PROCESSES)
        return brood_fail(-ENOTSUP, "only processes have an output of their own to capture: .kind = BROOD_PROCESSES");
    if (options->spares > BROOD_WORKERS_MAX)
        return brood_fail(-EINVAL, "%d spares: at most %d", options->spares, BROOD_WORKERS_MAX);
    r = check_workers(options);

    if (r < 0)
        return r;
    return options->sandbox ? brood__sandbox_check(options->sandbox) : 0;
}

static size_t memory_of_machine(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    return pages > 0 && page > 0 ? (size_t)pages * (size_t)page : (size_t)1 << 30;
}

/* The lanes together hold twice the capacity: when one fills up after a long task, others have room. */
static uint32_t lane_slots(size_t queue, unsigned workers)
{
    size_t wanted = 2 * ((queue + workers - 1) / workers);
    uint32_t slots = LANE_SLOTS_MIN;

    while (slots < wanted && slots < LANE_SLOTS_MAX)
        slots *= 2;
    return slots;
}

static int lane_shadow_open(struct lane_shadow *shadow, const struct lane *lane)
{
    size_t slots = lane->mask + 2;

    if (!shadow->jobs)
        shadow->jobs = calloc(slots, sizeof(struct job *));
    if (!shadow->waiters)
        shadow->waiters = calloc(slots, 1);
    if (!shadow->beyond)
        shadow->beyond = calloc(slots, sizeof(*shadow->beyond));
    shadow->oldest = shadow->tail = lane_first_position(lane);
    shadow->fed = UINT64_MAX;
    shadow->moved_from = CPU_NONE;
    return shadow->jobs && shadow->waiters && shadow->beyond ? 0 : brood_fail(-ENOMEM, "out of memory");
}

int brood__pool_add_lane(struct brood_pool *pool)
{
    struct lane *lane = &pool->shared.lanes[pool->size.lanes];
    int r = lane_shadow_open(&pool->shadows[pool->size.lanes], lane);

    if (r == 0)
        r = brood__lane_commit(&pool->shared, pool->size.lanes, lane_depth_at_first(lane));
    if (r < 0)
        return r;
    pool->size.lanes++;
    if (pool->shared.membership) /* pairs with the acquire of the supervisor, before it looks into lanes */
        atomic_store_explicit(&pool->shared.membership->lanes, pool->size.lanes, memory_order_release);
    return 0;
}

static int open_lanes(struct brood_pool *pool)
{
    int r = 0;

    pool->shadows = calloc(pool->size.max, sizeof(*pool->shadows));
    if (!pool->shadows)
        return brood_fail(-ENOMEM, "out of memory");
    while (r == 0 && pool->size.lanes < pool->size.wanted)
        r = brood__pool_add_lane(pool);
    return r;
}

static void lane_shadows_close(struct brood_pool *pool)
{
    for (unsigned i = 0; pool->shadows && i < pool->size.max; i++) {
        free(pool->shadows[i].jobs);
        free(pool->shadows[i].waiters);
        free(pool->shadows[i].beyond);
    }
    free(pool->shadows);
    pool->shadows = NULL;
}

static const struct kind *kind_of(enum brood_kind kind)
{
    static const struct kind *const backends[] = {
        [BROOD_PROCESSES] = &brood__kind_processes,
        [BROOD_THREADS] = &brood__kind_threads,
        [BROOD_INLINE] = &brood__kind_inline,
    };

    return backends[kind];
}

void brood__pool_close_memory(struct brood_pool *pool)
{
    lane_shadows_close(pool);
    brood__binheap_close(&pool->backlog);
    brood__binheap_close(&pool->retries.heap);
    brood__heap_close(&pool->heap);
    free(pool->fetches.regions.free);
    pool->fetches.regions = (struct large_regions){0};
    brood__shared_close(&pool->shared);
}

/* A worker that is exec'ed joins by a descriptor. */
static enum segment_kind segment_kind(const struct brood_pool *pool, const struct brood_pool_options *options)
{
    if (!pool->ops->between_processes)
        return SEGMENT_PRIVATE;
    return options->worker ? SEGMENT_JOINED : SEGMENT_SHARED;
}

/* A worker that does not exist at first is unavailable: no worker serves its lane. */
static int membership_open(struct brood_pool *pool)
{
    struct shared *shared = &pool->shared;
    int r = pool->kind == BROOD_INLINE ? 0 : brood__membership_open(&shared->membership, pool->size.max);

    if (r < 0)
        return r;
    /* Relaxed: no worker exists yet. */
    atomic_store_explicit(&shared->header->wanted, pool->size.wanted, memory_order_relaxed);
    if (!shared->membership)
        return 0;
    atomic_store_explicit(&shared->membership->wanted, pool->size.wanted, memory_order_relaxed);
    for (unsigned i = pool->size.min; i < pool->size.max; i++) {
        brood__unavailable_mark(shared->header, i);
        if (i < pool->size.wanted)
            brood__membership_scale_down(shared->membership, i);
    }
    return 0;
}

static int open_memory(struct brood_pool *pool, const struct brood_pool_options *options)
{
    uint32_t slots = lane_slots(pool->queue, pool->size.wanted);
    size_t memory = options->memory_bytes ? options->memory_bytes : memory_of_machine();
    /* A sandboxed worker can touch only memory that exists from the beginning. */
    int r =
        brood__shared_open(&pool->shared, segment_kind(pool, options), pool->size.max, slots, memory, !options->sandbox);

    if (r < 0)
        return r;
    struct header *header = pool->shared.header;

    brood__large_open(&pool->shared.large);
    brood__segment_prefault(&pool->shared.segment, 0, (size_t)((char *)pool->shared.certificates - (char *)header));
    brood__heap_init(&pool->heap, &pool->shared.segment, header->heap_offset);
    header->cpus = pool->shared.cpus = (uint32_t)brood__cpus_usable();
    header->output_pipes = options->output == BROOD_OUTPUT_PASS ? 0 : options->output == BROOD_OUTPUT_CAPTURE ? 1 : 2;
    header->worker_tasks = (uint64_t)options->worker_tasks;
    header->worker_memory_kib = (uint64_t)options->worker_memory_mib * 1024;
    header->worker_age_ms = (uint64_t)options->worker_age_ms;
    (void)snprintf(header->name, sizeof(header->name), "%s", options->name ? options->name : "brood");
    header->idle_ns = (uint64_t)options->idle_ms * 1000000;
    header->workers_min = pool->size.min;
    header->at_limit = options->at_limit;
    header->depth = brood__depth() + 1;
    r = membership_open(pool);
    if (r == 0)
        r = open_lanes(pool);
    if (r < 0)
        brood__pool_close_memory(pool);
    return r;
}

static struct brood_pool *new_pool(const struct brood_pool_options *options)
{
    struct brood_pool *pool = calloc(1, sizeof(*pool));

    if (!pool)
        return NULL;
    pool->fork_generation = atomic_load_explicit(&brood__fork_generation, memory_order_relaxed);
    pool->kind = options->kind;
    pool->ops = kind_of(options->kind);
    pool->size.max = (unsigned)options->workers_max;
    pool->size.min = (unsigned)options->workers_min;
    pool->size.wanted = (unsigned)options->workers;
    pool->size.may_scale_down = options->workers_min < options->workers || options->idle_ms > 0;
    pool->queue = options->queue ? options->queue : (size_t)QUEUE_PER_WORKER * pool->size.wanted;
    /* Parker 0 is for the thread that opens the pool. */
    pool->sleepers.free_parkers = ~((uint64_t)1 | (uint64_t)1 << EVENT_THREAD_PARKER);
    pool->callbacks.have_thread = options->callbacks == BROOD_CALLBACK_THREAD;
    pool->events.ready_fd = -1;
    pool->terms = (struct terms){
        .limits = {.wall_ns = options->limit_ms * NS_PER_MS,
                   .cpu_ns = options->limit_cpu_ms * NS_PER_MS,
                   .grace_ns = options->grace_ms * NS_PER_MS},
        .retries = options->retries,
    };
    pool->retries.pause_ns = options->retry_pause_ms * NS_PER_MS;
    pool->has_finalizer = options->finalizer || options->worker; /* an executable may have one */
    return pool;
}

static int pool_start(struct brood_pool *pool, const struct brood_pool_options *options)
{
    int r = pool->ops->start(pool, options);

    if (r < 0 || !pool->callbacks.have_thread)
        return r;
    brood__lock(&pool->lock);
    r = brood__event_thread_start(pool);
    brood__unlock(&pool->lock);
    if (r < 0)
        pool->ops->stop(pool, BROOD_NOW);
    return r;
}

int brood_pool_open(struct brood_pool **ret_pool, const struct brood_pool_options *given)
{
    struct brood_pool_options options;
    struct brood_pool *pool;
    int r = check_options(&options, given);

    if (r == 0)
        r = check_depth();
    if (r == 0)
        r = brood__tasks_check();
    if (r < 0)
        return r;
    brood__fork_watch();
    pool = new_pool(&options);
    if (!pool)
        return brood_fail(-ENOMEM, "out of memory");
    r = open_memory(pool, &options);
    if (r == 0) {
        r = pool_start(pool, &options);
        if (r < 0)
            brood__pool_close_memory(pool);
    }
    if (r == 0) {
        *ret_pool = pool;
        return 0;
    }
    pool->life.state = LIFE_CLOSED;
    brood__lock(&pool->lock);
    brood__pool_release(pool);
    return r;
}
