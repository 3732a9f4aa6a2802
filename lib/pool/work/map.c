#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/error.h"
#include "os/options.h"
#include "pool/core/dispatch.h"
#include "pool/core/jobs.h"
#include "pool/core/slots.h"
#include "pool/future/future.h"
#include "pool/work/help.h"
#include "pool/work/kill.h"
#include "pool/work/map.h"
#include "pool/work/map_window.h"
#include "proto/range.h"

#define WINDOW_BYTES ((size_t)4 << 20) /* of arguments and results that are copied, in one window */
#define WINDOW_ITEMS ((size_t)4 << 20) /* the maximum: their status takes two bytes each */

static size_t align_part(size_t n)
{
    return (n + 63) / 64 * 64;
}

/* ---- the life of a map ---- */

static size_t window_items(const struct map *map, size_t copied)
{
    size_t items = map->items < WINDOW_ITEMS ? map->items : WINDOW_ITEMS;
    size_t fit = copied ? WINDOW_BYTES / copied : items;

    if (fit < map->workers)
        fit = map->workers;
    return fit < items ? fit : items;
}

/* The offsets of the parts of a window's block, and its size. */
struct layout {
    size_t status, args, results, bytes;
};

static struct layout lay_out(const struct map *map, size_t arg_copy, size_t result_copy)
{
    struct layout at;

    at.status = align_part(sizeof(struct window) + map->workers * sizeof(struct range));
    at.args = at.status + align_part(map->window_items * sizeof(int16_t));
    at.results = at.args + align_part(map->loop.grain ? arg_copy : map->window_items * arg_copy);
    at.bytes = at.results + align_part(map->window_items * result_copy);
    return at;
}

static void window_describe(const struct map *map, const struct map_window *window, const struct layout *at)
{
    *window->shared = (struct window){
        .args = window->args ? window->block + at->args : map_offset_of(map->future->pool, map->args),
        .results = window->block + at->results,
        .status = window->block + at->status,
        .arg_bytes = (uint32_t)map->task->arg_size,
        .result_bytes = (uint32_t)map->task->result_size,
        .chunk = map->chunk,
        .limits = map->terms.limits,
        .task = (uint16_t)map->index,
        .workers = (uint16_t)map->workers,
        .end = map->loop.end,
        .grain = map->loop.grain,
        .context_bytes = map->loop.context_bytes,
    };
    if (map->loop.grain && window->args)
        memcpy(window->args, map->args, map->loop.context_bytes);
}

/* `arg_copy`, `result_copy`: bytes to copy for each item, or for a loop's whole context. */
static int open_window(struct brood_pool *pool, struct map_window *window, struct map *map, size_t arg_copy,
                       size_t result_copy)
{
    struct layout at = lay_out(map, arg_copy, result_copy);
    int r = brood__heap_alloc(&pool->heap, at.bytes, false, &window->block);

    if (r < 0)
        return r;
    char *base = pool->shared.segment.base + window->block;

    window->map = map;
    window->shared = (struct window *)(void *)base;
    window->status = (_Atomic int16_t *)(void *)(base + at.status);
    window->args = arg_copy ? base + at.args : NULL;
    window->results = result_copy ? base + at.results : NULL;
    window_describe(map, window, &at);
    window->invitations = calloc(map->workers, sizeof(*window->invitations));
    if (!window->invitations)
        return brood_fail(-ENOMEM, "out of memory");
    for (unsigned i = 0; i < map->workers; i++)
        window->invitations[i] = (struct invitation){.job.ops = &brood__invitation_ops, .window = window};
    return 0;
}

static void map_free(struct map *map)
{
    for (unsigned i = 0; i < WINDOWS; i++) {
        free(map->windows[i].invitations);
        free(map->windows[i].losses);
    }
    free(map->outcomes);
    free(map);
}

static void undo(struct brood_pool *pool, struct map *map)
{
    brood__map_free_blocks(pool, map);
    map_free(map);
}

/* Workers that are threads use the caller's array in place; so do all workers if the array lies in the segment. */
static int open_windows(struct brood_pool *pool, struct map *map)
{
    size_t arg = map->task->arg_size, result = map->task->result_size;
    size_t arg_bytes = map->loop.grain ? map->loop.context_bytes : map->items * arg;
    size_t arg_copy = brood__is_shared(pool, map->args, arg_bytes) ? 0 : map->loop.grain ? arg_bytes : arg;
    size_t result_copy = brood__is_shared(pool, map->results, map->items * result) ? 0 : result;
    int r = 0;

    map->window_items = window_items(map, (map->loop.grain ? 0 : arg_copy) + result_copy);
    map->live = map->items > map->window_items ? WINDOWS : 1;
    for (unsigned i = 0; i < map->live && r == 0; i++)
        r = open_window(pool, &map->windows[i], map, arg_copy, result_copy);
    return r;
}

/* Locked.  The future exists. */
static int map_begin(struct brood_pool *pool, struct brood_future *future, const struct map_call *call,
                     const struct admission *admission)
{
    brood__assert_locked(pool);
    struct map *map = calloc(1, sizeof(*map));
    int r;

    if (!map)
        return brood_fail(-ENOMEM, "out of memory");
    *map = (struct map){.future = future,
                        .task = call->task,
                        .index = admission->task,
                        .args = call->args,
                        .results = call->results,
                        .items = call->items,
                        .loop = call->loop,
                        .chunk = call->chunk < UINT32_MAX ? (uint32_t)call->chunk : UINT32_MAX,
                        .workers = call->by_one ? 1 : pool->size.max,
                        .outcomes = call->loop.grain ? NULL : calloc(call->items, sizeof(int16_t)),
                        .terms = admission->terms,
                        .first_failed = SIZE_MAX,
                        .words_item = SIZE_MAX,
                        .death_item = SIZE_MAX};
    r = map->outcomes || map->loop.grain ? open_windows(pool, map) : brood_fail(-ENOMEM, "out of memory");
    if (r < 0) {
        undo(pool, map);
        return r;
    }
    future->map = map;
    pool->counts.outstanding++;
    for (unsigned i = map->live; i-- > 0;)
        map_window_queue(pool, &map->windows[i]);
    return 0;
}

/* ---- its items ---- */

static int loop_item(const struct map *map, uint64_t index)
{
    if (index < map->loop.begin || index >= map->loop.end)
        return brood_fail(-ERANGE, "the loop has no index %llu", (unsigned long long)index);
    size_t item = (size_t)((index - map->loop.begin) / map->loop.grain);

    if (item <= map->first_failed)
        return item < map->first_failed ? 0 : map->first_outcome;
    return brood_fail(-ENODATA, "of a loop, only the first failure is known");
}

static int map_item_outcome(const struct brood_future *future, size_t item)
{
    const struct map *map = future->map;

    if (map && map->loop.grain)
        return loop_item(map, item);
    if (!map || item >= map->items)
        return brood_fail(-ERANGE, "the map has %zu items", map ? map->items : 0);
    return map->outcomes[item];
}

static uint64_t map_item_name(const struct brood_future *future, uint64_t item)
{
    const struct map *map = future->map;

    if (!map || !map->loop.grain || item < map->loop.begin)
        return item;
    return item - (item - map->loop.begin) % map->loop.grain;
}

static uint64_t map_first_failed(const struct brood_future *future)
{
    return future->map ? map_name_of(future->map, future->map->first_failed) : 0;
}

static bool map_lost_item(const struct brood_future *future, uint64_t *ret_item)
{
    const struct map *map = future->map;

    if (!map || map->death_item == SIZE_MAX)
        return false;
    *ret_item = map_name_of(map, map->death_item);
    return true;
}

int64_t brood__map_took_ns(const struct map *map)
{
    return map->took_ns;
}
/* ---- its invitations ---- */

/* One that is in a lane, since a waiter names its parker in one slot; of the earlier window, if that has one. */
static struct job *map_job(struct map *map)
{
    unsigned earlier = map->windows[1].phase == WINDOW_RUNNING && map->windows[1].first < map->windows[0].first;

    for (unsigned i = 0; i < WINDOWS; i++) {
        struct map_window *window = &map->windows[i ^ earlier];

        for (unsigned worker = 0; window->invitations && worker < map->workers; worker++)
            if (window->invitations[worker].job.in_lane)
                return &window->invitations[worker].job;
    }
    return NULL;
}

static struct job *map_job_in_lane(struct brood_future *future)
{
    return future->map ? map_job(future->map) : NULL;
}

/* The map's next invitation that is in a lane, from number *at on. */
static struct job *next_in_lane(const struct map *map, unsigned *at)
{
    while (*at < WINDOWS * map->workers) {
        struct invitation *invitations = map->windows[*at / map->workers].invitations;
        unsigned worker = (*at)++ % map->workers;

        if (invitations && invitations[worker].job.in_lane)
            return &invitations[worker].job;
    }
    return NULL;
}

struct job *brood__map_waiting(struct brood_pool *pool, struct map *map)
{
    brood__assert_locked(pool);
    unsigned at = 0;
    struct job *job;

    do
        job = next_in_lane(map, &at);
    while (job && brood__is_claimed(pool, job));
    return job;
}

int brood__map_each(struct brood_pool *pool, struct map *map, int (*use)(struct brood_pool *, const struct job *))
{
    brood__assert_locked(pool);
    const struct job *job;
    int first = 0;

    for (unsigned at = 0; (job = next_in_lane(map, &at)) != NULL;) {
        int r = use(pool, job);

        first = first < 0 ? first : r;
    }
    return first;
}

/* Calls `use` for each invitation that is in a lane; true if any call returned true. */
static bool any_invitation(const struct brood_future *future, bool (*use)(struct brood_pool *, struct job *))
{
    struct job *job;
    bool any = false;

    for (unsigned at = 0; future->map && (job = next_in_lane(future->map, &at)) != NULL;)
        any |= use(future->pool, job);
    return any;
}

/* ---- the operations of its future; the map is NULL if it has no items ---- */

static void map_collect(struct brood_future *future)
{
    (void)any_invitation(future, brood__collect);
}

static bool map_is_running(struct brood_future *future)
{
    return (future->map && future->map->has_started) || any_invitation(future, brood__is_claimed);
}

static int map_help(struct brood_future *future)
{
    return future->map ? brood__help_map(future->pool, future->map) : 0;
}

static bool stays(struct brood_pool *pool, struct job *job)
{
    return !brood__take_back(pool, job, SLOT_CANCELLED);
}

/* Workers load `stop` before each claim.  Relaxed, as in brood__invitation_ops. */
static void map_stop(struct map *map)
{
    map->cancelled = true;
    for (unsigned i = 0; i < WINDOWS; i++)
        if (map->windows[i].shared && map->windows[i].phase != WINDOW_OVER)
            atomic_store_explicit(&map->windows[i].shared->stop, 1, memory_order_relaxed);
}

static bool map_cancel(struct brood_future *future)
{
    if (!future->map)
        return false;
    map_stop(future->map);
    return !any_invitation(future, stays) && !future->map->has_started;
}

static int kill_parts(struct brood_future *future)
{
    return future->map ? brood__map_each(future->pool, future->map, brood__kill_running) : 0;
}

static void map_drop(struct brood_future *future)
{
    if (future->map)
        map_free(future->map);
}

const struct future_ops brood__map_future = {
    .guard = &brood__pool_guard,
    .collect = map_collect,
    .job = map_job_in_lane,
    .is_running = map_is_running,
    .help = map_help,
    .cancel = map_cancel,
    .kill = kill_parts,
    .kill_first = kill_parts, /* before the host takes back its invitations */
    .item = map_item_outcome,
    .item_name = map_item_name,
    .first_failed = map_first_failed,
    .lost_item = map_lost_item,
    .drop = map_drop,
    .borrows_memory = true,
};

/* ---- the calls ---- */

int brood__map_check_task(const struct brood_task *task)
{
    if (!task || !task->name || !task->run)
        return brood_fail(-EINVAL, "a task needs a name and a function");
    if (task->arg_size == BROOD_ANY_SIZE || task->arg_size > UINT32_MAX || task->result_size > UINT32_MAX)
        return brood_fail(-EINVAL, "task '%s': a map needs arguments and results of a fixed size below 4 GiB", task->name);
    return 0;
}

static int map_check(const struct brood_task *task, const void *results, const void *args, size_t n)
{
    int r = brood__map_check_task(task);
    size_t bytes;

    if (r < 0)
        return r;
    if (n > 0 && ((!args && task->arg_size > 0) || (!results && task->result_size > 0)))
        return brood_fail(-EINVAL, "task '%s': an array is NULL", task->name);
    if (__builtin_mul_overflow(n, task->arg_size + task->result_size + sizeof(int16_t), &bytes) || bytes > SIZE_MAX / 2)
        return brood_fail(-EINVAL, "task '%s': %zu items are more than memory can hold", task->name, n);
    return 0;
}

/* Locked.  A map without items is finished at once. */
static int map_admit(struct brood_pool *pool, struct brood_future *future, const struct map_call *call,
                     const struct admission *admission)
{
    brood__assert_locked(pool);
    future->kind = FUTURE_MAP;
    if (call->items > 0)
        return map_begin(pool, future, call, admission);
    pool->counts.outstanding++;
    brood__future_finish(future, 0);
    return 0;
}

int brood__map_start(struct brood_pool *pool, struct brood_future **ret_future, const struct map_call *call,
                     brood_deadline deadline)
{
    struct admission admission;
    struct brood_future *future;
    int r = brood__pool_enter_open(pool);

    if (r < 0)
        return r;
    r = brood__admit(pool, call->task, &call->terms, deadline, &admission);
    future = r == 0 ? brood__future_new(pool) : NULL;
    if (r == 0)
        r = future ? map_admit(pool, future, call, &admission) : -ENOMEM;
    if (r == 0) {
        *ret_future = future;
        brood__run_all_deferred(pool);
        brood__run_inline(pool);
    } else if (future)
        brood__future_drop(future);
    brood__pool_leave(pool);
    return r;
}

int brood__map_finish(struct brood_future *future)
{
    int r = brood_future_wait(future, BROOD_FOREVER);

    if (r == 0)
        r = brood_future_result(future, NULL, 0);
    brood_future_free(future);
    return r;
}

int brood_pool_map_async(struct brood_pool *pool, const struct brood_task *task, struct brood_future **ret_future,
                         void *results, const void *args, size_t n, const struct brood_map_options *options)
{
    struct brood_map_options own = {.size = sizeof(own)};
    int r = brood__options(&own, sizeof(own), options, "BROOD_MAP");

    if (r == 0)
        r = map_check(task, results, args, n);
    if (r < 0)
        return r;
    struct map_call call = {.task = task,
                            .results = results,
                            .args = args,
                            .items = n,
                            .chunk = own.chunk,
                            .terms = {own.limit_ms, own.limit_cpu_ms, own.grace_ms, own.retries}};

    return brood__map_start(pool, ret_future, &call, BROOD_FOREVER);
}

int brood_pool_map(struct brood_pool *pool, const struct brood_task *task, void *results, const void *args, size_t n,
                   const struct brood_map_options *options)
{
    struct brood_future *future;
    int r = brood_pool_map_async(pool, task, &future, results, args, n, options);

    return r < 0 ? r : brood__map_finish(future);
}
