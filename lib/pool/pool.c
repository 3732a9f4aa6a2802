#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/cpus.h"
#include "os/options.h"
#include "os/placement.h"
#include "os/sandbox.h"
#include "pool/attendant.h"
#include "pool/backend.h"
#include "pool/future.h"
#include "pool/interrupt.h"
#include "pool/map.h"
#include "pool/pool.h"
#include "pool/serve.h"
#include "pool/task.h"

#define QUEUE_PER_WORKER 512 /* deep enough to stay ahead of workers with tiny tasks; theft keeps long ones balanced */
#define LANE_SLOTS_MIN 16
#define LANE_SLOTS_MAX 32768
#define NS_PER_MS (int64_t)1000000

/* ---- one process ---- */

int brood__pool_not_ours(const struct brood_pool *pool)
{
    if (!pool)
        return brood_fail(-EINVAL, "the pool is NULL: not open yet, or, in a forked worker, opened only after the fork");
    return brood_fail(-EPERM, "this pool belongs to the process that forked this one: open one here");
}

void brood__pool_leave_closing(struct brood_pool *pool)
{
    if (pool->users <= 1) /* who closes it */
        brood__lock_tell(&pool->left);
    brood__pool_release(pool);
}

static void free_spares(struct brood_pool *pool)
{
    while (pool->spare_count > 0)
        free(pool->spares[--pool->spare_count]);
    free(pool->spares);
}

void brood__pool_release(struct brood_pool *pool)
{
    bool last = pool->closed && pool->futures == 0 && pool->users == 0;

    brood__unlock(&pool->lock);
    if (!last)
        return;
    free_spares(pool);
    free(pool);
}

void brood__run_inline(struct brood_pool *pool)
{
    if (pool->kind != BROOD_INLINE)
        return;
    brood__unlock(&pool->lock);
    pool->backend->run(pool);
    brood__lock(&pool->lock);
    if (pool->is_attended)
        brood__collect_all(pool);
}

/* ---- opening ---- */

static int default_between(int least, int most)
{
    int workers = brood_workers_default(NULL, 0);

    if (workers < least)
        return least;
    return most && workers > most ? most : workers;
}

/* All three numbers are said afterwards. */
static int check_workers(struct brood_pool_options *options)
{
    if (options->workers < 0 || options->workers > BROOD_WORKERS_MAX)
        return brood_fail(-EINVAL, "%d workers: 1 to %d, or 0 for the default", options->workers, BROOD_WORKERS_MAX);
    if (options->workers_max < 0 || options->workers_max > BROOD_WORKERS_MAX || options->workers_min < 0)
        return brood_fail(-EINVAL, ".workers_min = %d, .workers_max = %d: 1 to %d, or 0 for the default",
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
    if (options->limit_ms < 0 || options->grace_ms < 0 || options->retries < 0 || options->retry_pause_ms < 0)
        return brood_fail(-EINVAL, "a limit, a grace, retries and their pause cannot be negative; 0 means none");
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

/* Lanes hold the queue twice over: where one fills up behind a long task, others have room. */
static uint32_t lane_slots(size_t queue, unsigned workers)
{
    size_t wanted = 2 * ((queue + workers - 1) / workers);
    uint32_t slots = LANE_SLOTS_MIN;

    while (slots < wanted && slots < LANE_SLOTS_MAX)
        slots *= 2;
    return slots;
}

static int open_mirrors(struct brood_pool *pool)
{
    pool->mirrors = calloc(pool->workers, sizeof(*pool->mirrors));
    for (unsigned i = 0; pool->mirrors && i < pool->workers; i++) {
        struct mirror *mirror = &pool->mirrors[i];
        size_t slots = pool->shared.lanes[i].mask + 2;

        mirror->jobs = calloc(slots, sizeof(struct job *));
        mirror->waiters = calloc(slots, 1);
        mirror->oldest = mirror->tail = lane_first_position(&pool->shared.lanes[i]);
        mirror->fed = UINT64_MAX;
        mirror->moved_from = CPU_NONE;
        if (!mirror->jobs || !mirror->waiters)
            return brood_fail(-ENOMEM, "out of memory");
    }
    return pool->mirrors ? 0 : brood_fail(-ENOMEM, "out of memory");
}

static void close_mirrors(struct brood_pool *pool)
{
    for (unsigned i = 0; pool->mirrors && i < pool->workers; i++) {
        free(pool->mirrors[i].jobs);
        free(pool->mirrors[i].waiters);
    }
    free(pool->mirrors);
    pool->mirrors = NULL;
}

static const struct backend *backend_of(enum brood_kind kind)
{
    static const struct backend *const backends[] = {
        [BROOD_PROCESSES] = &brood__backend_processes,
        [BROOD_THREADS] = &brood__backend_threads,
        [BROOD_INLINE] = &brood__backend_inline,
    };

    return backends[kind];
}

void brood__pool_close_memory(struct brood_pool *pool)
{
    close_mirrors(pool);
    free(pool->backlog.heap);
    pool->backlog = (struct backlog){0};
    brood__heap_close(&pool->heap);
    free(pool->regions.free);
    pool->regions = (struct spill_regions){0};
    brood__shared_close(&pool->shared);
}

/* Whoever is exec'ed joins by a descriptor. */
static enum segment_kind segment_kind(const struct brood_pool *pool, const struct brood_pool_options *options)
{
    if (!pool->backend->between_processes)
        return SEGMENT_PRIVATE;
    return options->worker ? SEGMENT_SEALED : SEGMENT_SHARED;
}

/* Who is not there at first has a lane that nobody looks after. */
static int open_roll(struct brood_pool *pool)
{
    struct shared *shared = &pool->shared;
    int r = pool->kind == BROOD_INLINE ? 0 : brood__roll_open(&shared->roll, pool->workers);

    if (r < 0)
        return r;
    atomic_store(&shared->board->wanted, pool->wanted);
    if (!shared->roll)
        return 0;
    atomic_store(&shared->roll->wanted, pool->wanted);
    for (unsigned i = pool->workers_min; i < pool->workers; i++) {
        brood__away_enter(shared->board, i);
        if (i < pool->wanted)
            brood__roll_rest(shared->roll, i);
    }
    return 0;
}

static int open_memory(struct brood_pool *pool, const struct brood_pool_options *options)
{
    uint32_t slots = lane_slots(pool->queue, pool->wanted);
    size_t memory = options->memory_bytes ? options->memory_bytes : memory_of_machine();
    int r = brood__shared_open(&pool->shared, segment_kind(pool, options), pool->workers, slots, memory);

    if (r < 0)
        return r;
    struct board *board = pool->shared.board;

    brood__spill_open(&pool->shared.spill);
    brood__segment_prefault(&pool->shared.segment, 0, board->heap_offset);
    brood__heap_init(&pool->heap, &pool->shared.segment, board->heap_offset);
    board->cpus = pool->shared.cpus = (uint32_t)brood__cpus_usable();
    board->output_pipes = options->output == BROOD_OUTPUT_PASS ? 0 : options->output == BROOD_OUTPUT_CAPTURE ? 1 : 2;
    board->worker_tasks = (uint64_t)options->worker_tasks;
    board->worker_memory_kib = (uint64_t)options->worker_memory_mib * 1024;
    board->worker_age_ms = (uint64_t)options->worker_age_ms;
    (void)snprintf(board->name, sizeof(board->name), "%s", options->name ? options->name : "brood");
    board->idle_ns = (uint64_t)options->idle_ms * 1000000;
    board->workers_min = pool->workers_min;
    board->depth = brood__depth() + 1;
    r = open_roll(pool);
    if (r == 0)
        r = open_mirrors(pool);
    if (r < 0)
        brood__pool_close_memory(pool);
    return r;
}

static struct brood_pool *new_pool(const struct brood_pool_options *options)
{
    struct brood_pool *pool = calloc(1, sizeof(*pool));

    if (!pool)
        return NULL;
    pool->fork_generation = atomic_load(&brood__fork_generation);
    pool->kind = options->kind;
    pool->backend = backend_of(options->kind);
    pool->workers = (unsigned)options->workers_max;
    pool->workers_min = (unsigned)options->workers_min;
    pool->wanted = (unsigned)options->workers;
    pool->may_rest = options->workers_min < options->workers || options->idle_ms > 0;
    pool->queue = options->queue ? options->queue : (size_t)QUEUE_PER_WORKER * pool->wanted;
    /* Number 0 is for who opens the pool. */
    pool->parkers_free = ~((uint64_t)1 | (uint64_t)1 << ATTENDANT_PARKER);
    pool->has_call_thread = options->callbacks == BROOD_CALLBACK_THREAD;
    pool->bell = -1;
    pool->spin_ns = SPIN_NS_MAX;
    pool->terms = (struct terms){
        .limit_ns = options->limit_ms * NS_PER_MS,
        .grace_ns = options->grace_ms * NS_PER_MS,
        .retries = options->retries,
    };
    pool->retry_pause_ns = options->retry_pause_ms * NS_PER_MS;
    pool->has_finalizer = options->finalizer || options->worker; /* an executable may have one */
    return pool;
}

static int start(struct brood_pool *pool, const struct brood_pool_options *options)
{
    int r = pool->backend->start(pool, options);

    if (r < 0 || !pool->has_call_thread)
        return r;
    brood__lock(&pool->lock);
    r = brood__attendant_start(pool);
    brood__unlock(&pool->lock);
    if (r < 0)
        pool->backend->stop(pool, BROOD_NOW);
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
        r = start(pool, &options);
        if (r < 0)
            brood__pool_close_memory(pool);
    }
    if (r == 0) {
        *ret_pool = pool;
        return 0;
    }
    pool->closed = true;
    brood__lock(&pool->lock);
    brood__pool_release(pool);
    return r;
}

static int64_t choose_ns(int ms, int64_t otherwise)
{
    return ms == 0 ? otherwise : ms > 0 ? ms * NS_PER_MS : 0;
}

struct terms brood__terms(const struct brood_pool *pool, int limit_ms, int grace_ms, int retries)
{
    return (struct terms){
        .limit_ns = choose_ns(limit_ms, pool->terms.limit_ns),
        .grace_ns = choose_ns(grace_ms, pool->terms.grace_ns),
        .retries = retries == 0  ? pool->terms.retries
                   : retries > 0 ? retries
                                 : 0,
    };
}

/* ---- memory ---- */

void *brood_alloc(struct brood_pool *pool, size_t bytes)
{
    uint64_t offset;
    void *memory;
    int r = brood__pool_enter(pool);

    if (r < 0)
        return NULL;
    r = brood__heap_alloc(&pool->heap, bytes ? bytes : 1, true, &offset);
    memory = r < 0 ? NULL : pool->shared.segment.base + offset;
    brood__pool_leave(pool);
    return memory;
}

void brood_free(struct brood_pool *pool, void *memory)
{
    if (!memory || brood__pool_enter(pool) < 0)
        return;
    (void)brood__heap_free(&pool->heap, (uint64_t)((char *)memory - pool->shared.segment.base));
    brood__pool_leave(pool);
}

/* ---- looking ---- */

int brood_pool_workers(const struct brood_pool *pool)
{
    return pool ? (int)pool->wanted : 0;
}

pid_t brood_pool_worker_pid(const struct brood_pool *pool, int worker)
{
    if (!pool || worker < 0 || (unsigned)worker >= pool->workers)
        return 0;
    if (brood__station_state(pool->shared.lanes[worker].station) != STATION_READY)
        return 0;
    return brood__roll_pid(pool->shared.roll, (unsigned)worker);
}
