#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "os/error.h"
#include "os/options.h"
#include "os/placement.h"
#include "pool/core/dispatch.h"
#include "pool/core/jobs.h"
#include "pool/core/placement.h"
#include "pool/core/slots.h"
#include "pool/core/wait.h"
#include "pool/future/callback.h"
#include "pool/future/death.h"
#include "pool/future/future.h"
#include "pool/work/fetch.h"
#include "pool/work/map.h"
#include "proto/range.h"

#define WINDOWS 2
#define WINDOW_BYTES ((size_t)4 << 20) /* of arguments and results that are copied, in one window */
#define WINDOW_ITEMS ((size_t)4 << 20) /* the maximum: their status takes two bytes each */

/* Invites one worker to one window. */
struct invitation {
    struct job job;
    struct map_window *window;
    bool is_preempted; /* the host has asked the lane's worker to answer it early: brood__maps_preempt() */
};

enum window_phase { WINDOW_TURNING, WINDOW_RUNNING, WINDOW_OVER };

struct map_window {
    struct map *map;
    enum window_phase phase;
    struct map_window *next_turn;
    uint64_t block;        /* its block in the segment, which holds all that follows */
    struct window *shared; /* the description, then status, arguments, results */
    _Atomic int16_t *status;
    char *args, *results; /* copies, or NULL where the caller's arrays are used */
    size_t first;         /* the position of its first item in the map */
    uint32_t count;       /* items in the window; 0: none yet */
    struct invitation *invitations;
    unsigned unsettled; /* invitations in lanes */
    uint32_t handed;    /* items before this one have a status after all invitations; 0 if one of these was lost */
};

struct lost {
    size_t item;
    int times;
};

struct map {
    struct brood_future *future;
    const struct brood_task *task;
    unsigned index; /* of the task, in the pool header */
    const char *args;
    char *results;
    size_t items, next; /* the number of items; the first that no window has had */
    size_t window_items;
    struct map_loop loop;
    uint32_t chunk;
    unsigned workers;  /* the largest number of workers invited to a window */
    int16_t *outcomes; /* of failed items; untouched, and so without memory, while nothing fails.  A loop has none. */
    size_t first_failed, words_item, death_item;
    int first_outcome; /* of the first item that failed */
    unsigned live;     /* windows that are not over */
    bool cancelled, has_started;
    int64_t took_ns; /* the time that all workers together report */
    struct terms terms;
    struct lost *lost; /* retried items whose worker died; malloc()ed */
    size_t lost_count;
    struct map_window windows[WINDOWS];
};

static size_t align(size_t n)
{
    return (n + 63) / 64 * 64;
}

/* The caller's name of the item: in a loop, the first index of the block. */
static uint64_t name_of(const struct map *map, size_t item)
{
    return map->loop.grain ? map->loop.begin + item * map->loop.grain : item;
}

/* ---- idle windows ---- */

static void push(struct map_window **list, struct map_window *window)
{
    window->next_turn = *list;
    *list = window;
}

static void queue_turn(struct brood_pool *pool, struct map_window *window)
{
    window->phase = WINDOW_TURNING;
    push(&pool->turns, window);
}

static void keep_message(struct map *map, size_t item, const char *words, size_t size)
{
    if (item >= map->words_item)
        return;
    map->words_item = item;
    brood__future_keep_message(map->future, words, size);
}

/* How often the item has been lost, including this time. */
static int count_loss(struct map *map, size_t item)
{
    struct lost *more;

    for (size_t i = 0; i < map->lost_count; i++)
        if (map->lost[i].item == item)
            return ++map->lost[i].times;
    more = realloc(map->lost, (map->lost_count + 1) * sizeof(*more));
    if (!more)
        return INT_MAX; /* no retry */
    map->lost = more;
    map->lost[map->lost_count++] = (struct lost){item, 1};
    return 1;
}

/* Of all items that were lost in a crash, the first, in their order, sets the map's message. */
static void note_death(struct map *map, size_t item, bool is_quarantined)
{
    if (item < map->death_item)
        map->death_item = item;
    if (item < map->words_item) {
        map->words_item = item;
        brood__deaths_say(map->future, name_of(map, item), is_quarantined);
    }
}

/* A worker died of that item.  If it is retried, it stays as if it had not started. */
static void lose_item(struct map_window *window, uint32_t index, const struct answer *answer)
{
    struct map *map = window->map;
    struct brood_pool *pool = map->future->pool;
    size_t item = window->first + index;
    int outcome = brood__outcome_of_death(answer), times = map->terms.retries > 0 ? count_loss(map, item) : 1;

    brood__deaths_keep(map->future, answer, name_of(map, item), (uint32_t)times, map->task->name);
    if (outcome != -ECANCELED && times <= map->terms.retries) {
        pool->retried++;
        return;
    }
    /* The worker that had claimed the item is dead, so no process races with this store; relaxed would do. */
    atomic_store(&window->status[index], (int16_t)outcome);
    pool->quarantined += outcome != -ECANCELED;
    note_death(map, item, outcome != -ECANCELED);
}

/* A worker died in this window.  It was running the item that the slot extension names, if that has no status. */
static void charge(struct map_window *window, const struct answer *answer)
{
    uint64_t item = read_once(answer->extension->item_lost);

    if (item > 0 && item <= window->count && atomic_load(&window->status[item - 1]) == ITEM_WAITING)
        lose_item(window, (uint32_t)(item - 1), answer);
}

/* The time comes from a worker and may be any value. */
static void note_time(struct map *map, int64_t took_ns)
{
    if (took_ns > 0 && took_ns < INT64_MAX - map->took_ns)
        map->took_ns += took_ns;
}

/* Why items that have not started never start, or 0. */
static int16_t ending(const struct brood_pool *pool, const struct map *map)
{
    int16_t outcome = life_outcome(pool->life);

    return outcome ? outcome : map->cancelled ? -ECANCELED : 0;
}

/* ---- preemption by more urgent tasks ---- */

static struct request invitation_request(const struct map_window *window)
{
    return (struct request){
        .kind = SLOT_MAP, .task = window->map->index, .arg = {.len = window->map->workers}, .arg_offset = window->block};
}

static bool submit_invitation(struct brood_pool *pool, struct invitation *invitation, unsigned lane)
{
    struct request request = invitation_request(invitation->window);

    return brood__submit(pool, &invitation->job, &request, lane);
}

/* The range of the worker in whose lane the invitation is. */
static struct range *range_beside(const struct invitation *invitation)
{
    return &invitation->window->shared->ranges[range_number(invitation->job.lane, invitation->window->map->workers)];
}

/* The host writes `preempted`, and the worker reads it.  Relaxed: the next invitation is published after it, with
 * release. */
static void end_preemption(struct brood_pool *pool, struct invitation *invitation)
{
    atomic_store_explicit(&range_beside(invitation)->preempted, 0, memory_order_relaxed);
    invitation->is_preempted = false;
    pool->preempted--;
}

/* Invites the worker again, after the task that preempted the map.  False: there is nothing left for it to do, or no
 * room. */
static bool invite_again(struct brood_pool *pool, struct invitation *invitation)
{
    const struct map *map = invitation->window->map;
    uint32_t left = 0;

    for (unsigned i = 0; i < map->workers; i++)
        left |= brood__range_left(&invitation->window->shared->ranges[i]);
    return left > 0 && !ending(pool, map) && submit_invitation(pool, invitation, invitation->job.lane);
}

/* ---- an invitation is answered ---- */

static void settle_invitation(struct brood_pool *pool, struct job *job, const struct answer *answer)
{
    struct invitation *invitation = (struct invitation *)(void *)job;
    struct map_window *window = invitation->window;

    bool has_started = answer->state == SLOT_DONE || answer->state == SLOT_LOST;
    uint64_t item = read_once(answer->extension->item);

    window->map->has_started |= has_started;
    if (answer->state == SLOT_DONE)
        note_time(window->map, read_once(answer->slot->result.took_ns));
    if (answer->state != SLOT_DONE)
        window->handed = 0;
    if (answer->state == SLOT_LOST)
        charge(window, answer);
    if (has_started && read_once(answer->slot->has_message) && item < window->count)
        keep_message(window->map, window->first + item, answer->extension->words, sizeof(answer->extension->words));
    if (invitation->is_preempted) {
        end_preemption(pool, invitation);
        if (answer->state == SLOT_DONE && invite_again(pool, invitation)) {
            brood__hooks_move(window->map->future);
            return;
        }
    }
    brood__hooks_move(window->map->future); /* waiters that have named their parker in this job name it in another */
    if (--window->unsettled == 0)
        queue_turn(pool, window);
}

/* Workers load `stop` before each claim.  Sequentially consistent by default; relaxed would do. */
static void stop_invitation(struct job *job)
{
    atomic_store(&((struct invitation *)(void *)job)->window->shared->stop, 1);
}

static const struct job_ops invitation_ops = {.settle = settle_invitation, .stop = stop_invitation};

/* ---- deferred work: an idle window ---- */

static void fail_item(struct map *map, size_t item, int16_t outcome)
{
    if (map->outcomes)
        map->outcomes[item] = outcome;
    if (item >= map->first_failed)
        return;
    map->first_failed = item;
    map->first_outcome = outcome;
}

/* The usual case, in one quick pass: the first item succeeded, and each has the status of the one before.  Relaxed: no
 * worker writes any more, and the host's acquire load of the slots ordered their stores before this.  The same holds for
 * the other loads of `status` here, which are sequentially consistent only by default. */
static bool all_done(const struct map_window *window)
{
    const char *status = (const char *)window->status;

    return atomic_load_explicit(&window->status[0], memory_order_relaxed) == ITEM_DONE &&
           memcmp(status, status + sizeof(int16_t), (window->count - 1) * sizeof(int16_t)) == 0;
}

/* Shares out the items that have not started: each run of such items becomes a worker's range, while there are ranges.
 * True if there was any. */
static bool share_rest(struct map_window *window)
{
    uint32_t range = 0, i = 0, workers = window->map->workers;

    for (uint32_t worker = 0; worker < workers; worker++)
        brood__range_set(&window->shared->ranges[worker], 0, 0);
    while (i < window->count && range < workers) {
        uint32_t from = i;

        while (i < window->count && atomic_load(&window->status[i]) == ITEM_WAITING)
            i++;
        if (i > from)
            brood__range_set(&window->shared->ranges[range++], from, i);
        else
            i++;
    }
    window->handed = i;
    return range > 0;
}

/* Have live workers left an item undone?  Then a worker has overwritten the map, and to share it out again could go on
 * forever. */
static bool is_left_undone(const struct map_window *window)
{
    for (uint32_t i = 0; i < window->handed; i++)
        if (atomic_load(&window->status[i]) == ITEM_WAITING)
            return true;
    return false;
}

static void note_failures(struct map_window *window, int16_t never_started)
{
    for (uint32_t i = 0; i < window->count; i++) {
        int16_t status = atomic_load(&window->status[i]);

        if (status == ITEM_WAITING)
            fail_item(window->map, window->first + i, never_started);
        else if (status != ITEM_DONE)
            fail_item(window->map, window->first + i, status < 0 ? status : -EPROTO);
    }
}

static void hand_back(struct map_window *window)
{
    struct map *map = window->map;
    size_t size = map->task->result_size;

    if (window->results)
        memcpy(map->results + window->first * size, window->results, window->count * size);
}

static uint64_t offset_of(const struct map *map, const void *memory)
{
    return (uint64_t)((uintptr_t)memory - (uintptr_t)map->future->pool->shared.segment.base);
}

/* The number of workers to invite: those that are wanted now. */
static unsigned guests(const struct map *map)
{
    unsigned wanted = map->future->pool->wanted;

    return wanted < map->workers ? wanted : map->workers;
}

static void share(const struct map *map, struct range *ranges, uint32_t count)
{
    unsigned takers = guests(map);

    brood__range_share(ranges, takers, count);
    for (unsigned i = takers; i < map->workers; i++)
        brood__range_set(&ranges[i], 0, 0);
}

static void fill(struct map_window *window, size_t first, uint32_t count)
{
    struct map *map = window->map;
    size_t size = map->task->arg_size;
    struct window *shared = window->shared;

    if (map->loop.grain)
        shared->first = name_of(map, first);
    else if (window->args)
        memcpy(window->args, map->args + first * size, count * size);
    else
        shared->args = offset_of(map, map->args + first * size);
    if (!window->results)
        shared->results = offset_of(map, map->results + first * map->task->result_size);
    memset((void *)window->status, 0, count * sizeof(*window->status));
    shared->items = count;
    window->handed = count;
    share(map, shared->ranges, count);
}

/* When the workers are done: counts failures, shares out what is left, returns results to the caller.  True if items are
 * left. */
static bool sweep(struct map_window *window, int16_t never_started)
{
    if (window->count == 0)
        return false;
    if (!all_done(window)) {
        if (!never_started && !is_left_undone(window) && share_rest(window))
            return true;
        note_failures(window, never_started ? never_started : -EPROTO);
    }
    hand_back(window);
    window->count = 0;
    return false;
}

/* ---- back to the workers ---- */

static bool send_helper(struct brood_pool *pool, struct map_window *window, unsigned worker)
{
    struct invitation *invitation = &window->invitations[worker];

    if (!submit_invitation(pool, invitation, window->map->workers > 1 ? worker : ANY_LANE) &&
        !submit_invitation(pool, invitation, ANY_LANE))
        return false;
    window->unsettled++;
    return true;
}

/* Invites every worker, while there are items and slots, and last the worker that may take this thread's CPU.  One
 * worker that comes is enough: it steals from all ranges. */
static bool send_window(struct brood_pool *pool, struct map_window *window)
{
    unsigned count = guests(window->map), last = count, here = brood__cpu_here(), sent = 0;

    if (count > window->count)
        count = (unsigned)window->count;
    window->phase = WINDOW_RUNNING;
    for (unsigned i = 0; i < count; i++) {
        if (last >= count && brood__placement_is_on(pool, i, here))
            last = i;
        else
            sent += send_helper(pool, window, i);
    }
    if (last < count)
        sent += send_helper(pool, window, last);
    brood__hooks_move(window->map->future);
    return sent > 0;
}

static void free_blocks(struct brood_pool *pool, struct map *map)
{
    for (unsigned i = 0; i < WINDOWS; i++)
        if (map->windows[i].block)
            (void)brood__heap_free(&pool->heap, map->windows[i].block);
}

static void finish(struct map *map)
{
    struct brood_future *future = map->future;
    struct brood_pool *pool = future->pool;
    int outcome = map->first_outcome;

    free_blocks(pool, map);
    if (map->words_item != map->first_failed) {
        brood__future_drop_message(future); /* the message is about another item */
        if (outcome == -ESHUTDOWN && life_is_broken(pool->life))
            brood__future_keep_message(future, pool->broken_reason, sizeof(pool->broken_reason));
    }
    brood__future_finish(future, outcome);
}

static void end_window(struct map_window *window)
{
    window->phase = WINDOW_OVER;
    if (--window->map->live == 0)
        finish(window->map);
}

/* The number of items that the window gets next, from *ret_first on. */
static uint32_t next_items(struct map *map, size_t *ret_first)
{
    size_t left = map->items - map->next, count = left < map->window_items ? left : map->window_items;

    *ret_first = map->next;
    map->next += count;
    return (uint32_t)count;
}

static void fail_rest(struct map *map, int16_t outcome)
{
    if (!map->outcomes && map->next < map->items) {
        fail_item(map, map->next, outcome);
        map->next = map->items;
    }
    for (; map->next < map->items; map->next++)
        fail_item(map, map->next, outcome);
}

/* Runs an idle window.  No other thread uses it.  True if it has work for the workers.  Locked on entry and return, not
 * in between. */
static bool turn(struct brood_pool *pool, struct map_window *window)
{
    struct map *map = window->map;
    int16_t end = ending(pool, map);
    size_t first;
    uint32_t count;
    bool again;

    brood__unlock(&pool->lock);
    again = sweep(window, end);
    brood__lock(&pool->lock);
    if (again)
        return true;
    if (ending(pool, map))
        fail_rest(map, ending(pool, map));
    count = next_items(map, &first);
    if (count == 0)
        return false;
    window->first = first;
    window->count = count;
    brood__unlock(&pool->lock);
    fill(window, first, count);
    brood__lock(&pool->lock);
    return true;
}

static bool has_any_slot(struct brood_pool *pool)
{
    if (brood__has_slot(pool))
        return true;
    brood__collect_all(pool);
    return brood__has_slot(pool);
}

static struct map_window *pop(struct map_window **list)
{
    struct map_window *window = *list;

    *list = window->next_turn;
    return window;
}

/* If every lane is full, a filled window waits for the next slot to be settled. */
static bool send_stalled(struct brood_pool *pool)
{
    if (!pool->stalled || !has_any_slot(pool))
        return false;
    struct map_window *window = pop(&pool->stalled);

    if (send_window(pool, window))
        return true;
    push(&pool->stalled, window);
    return false;
}

bool brood__map_run_stalled(struct brood_pool *pool, const struct map *map)
{
    struct map_window **place = &pool->stalled, *window;

    while (*place && (*place)->map != map)
        place = &(*place)->next_turn;
    if (!*place)
        return false;
    window = pop(place);
    struct request request = invitation_request(window);

    window->phase = WINDOW_RUNNING;
    window->unsettled = 1;
    brood__run_aside(pool, &window->invitations[0].job, &request);
    return true;
}

static bool are_due(struct brood_pool *pool)
{
    return pool->turns || (pool->stalled && has_any_slot(pool));
}

static bool are_waiting(const struct brood_pool *pool)
{
    return pool->stalled || pool->preempted > 0;
}

/* For room in a lane. */
static void announce(struct brood_pool *pool, unsigned parker)
{
    if (pool->stalled)
        brood__announce_each(pool, brood__middle_job, parker);
}

static bool run_windows(struct brood_pool *pool)
{
    struct map_window *window;

    if (pool->preempted > 0)
        brood__collect_all(pool);
    if (!pool->turns && pool->stalled && ending(pool, pool->stalled->map))
        queue_turn(pool, pop(&pool->stalled));
    if (!pool->turns)
        return send_stalled(pool);
    window = pop(&pool->turns);
    if (!turn(pool, window))
        end_window(window);
    else if (ending(pool, window->map))
        queue_turn(pool, window);
    else if (!send_window(pool, window))
        push(&pool->stalled, window);
    brood__wake_waiter(pool->shared.header, WAITER_ALL); /* they found no job of this map to wait for */
    return true;
}

const struct deferred brood__deferred_maps = {
    .words = {DEFERRED_WORD(turns), DEFERRED_WORD(stalled), DEFERRED_WORD(preempted)},
    .run = run_windows,
    .is_due = are_due,
    .is_waiting = are_waiting,
    .announce = announce,
};

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

    at.status = align(sizeof(struct window) + map->workers * sizeof(struct range));
    at.args = at.status + align(map->window_items * sizeof(int16_t));
    at.results = at.args + align(map->loop.grain ? arg_copy : map->window_items * arg_copy);
    at.bytes = at.results + align(map->window_items * result_copy);
    return at;
}

static void describe(const struct map *map, const struct map_window *window, const struct layout *at)
{
    *window->shared = (struct window){
        .args = window->args ? window->block + at->args : offset_of(map, map->args),
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
    describe(map, window, &at);
    window->invitations = calloc(map->workers, sizeof(*window->invitations));
    if (!window->invitations)
        return brood_fail(-ENOMEM, "out of memory");
    for (unsigned i = 0; i < map->workers; i++)
        window->invitations[i] = (struct invitation){.job.ops = &invitation_ops, .window = window};
    return 0;
}

void brood__map_free(struct map *map)
{
    if (!map)
        return;
    for (unsigned i = 0; i < WINDOWS; i++)
        free(map->windows[i].invitations);
    free(map->outcomes);
    free(map->lost);
    free(map);
}

static void undo(struct brood_pool *pool, struct map *map)
{
    free_blocks(pool, map);
    brood__map_free(map);
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
static int map_begin(struct brood_pool *pool, struct brood_future *future, const struct map_call *call)
{
    struct map *map = calloc(1, sizeof(*map));
    int r = map ? brood__task_index(pool, call->task) : brood_fail(-ENOMEM, "out of memory");

    if (r < 0) {
        free(map);
        return r;
    }
    *map = (struct map){.future = future,
                        .task = call->task,
                        .index = (unsigned)r,
                        .args = call->args,
                        .results = call->results,
                        .items = call->items,
                        .loop = call->loop,
                        .chunk = call->chunk < UINT32_MAX ? (uint32_t)call->chunk : UINT32_MAX,
                        .workers = call->by_one ? 1 : pool->workers,
                        .outcomes = call->loop.grain ? NULL : calloc(call->items, sizeof(int16_t)),
                        .terms = brood__terms(pool, call->limit_ms, call->limit_cpu_ms, call->grace_ms, call->retries),
                        .first_failed = SIZE_MAX,
                        .words_item = SIZE_MAX,
                        .death_item = SIZE_MAX};
    r = map->outcomes || map->loop.grain ? open_windows(pool, map) : brood_fail(-ENOMEM, "out of memory");
    if (r < 0) {
        undo(pool, map);
        return r;
    }
    future->map = map;
    pool->outstanding++;
    for (unsigned i = map->live; i-- > 0;)
        queue_turn(pool, &map->windows[i]);
    return 0;
}

static int loop_item(const struct map *map, uint64_t index)
{
    if (index < map->loop.begin || index >= map->loop.end)
        return brood_fail(-ERANGE, "the loop has no index %llu", (unsigned long long)index);
    size_t item = (size_t)((index - map->loop.begin) / map->loop.grain);

    if (item <= map->first_failed)
        return item < map->first_failed ? 0 : map->first_outcome;
    return brood_fail(-ENODATA, "of a loop, only the first failure is known");
}

int brood__map_item(const struct map *map, size_t item)
{
    if (map->loop.grain)
        return loop_item(map, item);
    if (item >= map->items)
        return brood_fail(-ERANGE, "the map has %zu items", map->items);
    return map->outcomes[item];
}

uint64_t brood__map_first_failed(const struct map *map)
{
    return name_of(map, map->first_failed);
}

bool brood__map_lost_item(const struct map *map, uint64_t *ret_item)
{
    if (map->death_item == SIZE_MAX)
        return false;
    *ret_item = name_of(map, map->death_item);
    return true;
}

uint64_t brood__map_item_name(const struct map *map, uint64_t item)
{
    if (!map->loop.grain || item < map->loop.begin)
        return item;
    return item - (item - map->loop.begin) % map->loop.grain;
}

int64_t brood__map_took_ns(const struct map *map)
{
    return map->took_ns;
}

/* ---- while it runs ---- */

struct job *brood__map_job(struct map *map)
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
    unsigned at = 0;
    struct job *job;

    do
        job = next_in_lane(map, &at);
    while (job && brood__is_claimed(pool, job));
    return job;
}

int brood__map_each(struct brood_pool *pool, struct map *map, int (*use)(struct brood_pool *, const struct job *))
{
    const struct job *job;
    int first = 0;

    for (unsigned at = 0; (job = next_in_lane(map, &at)) != NULL;) {
        int r = use(pool, job);

        first = first < 0 ? first : r;
    }
    return first;
}

/* Calls `use` for each invitation that is in a lane; true if any call returned true. */
static bool any_helper(struct brood_pool *pool, struct map *map, bool (*use)(struct brood_pool *, struct job *))
{
    struct job *job;
    bool any = false;

    for (unsigned at = 0; (job = next_in_lane(map, &at)) != NULL;)
        any |= use(pool, job);
    return any;
}

void brood__map_collect(struct brood_pool *pool, struct map *map)
{
    (void)any_helper(pool, map, brood__collect);
}

bool brood__map_is_running(struct brood_pool *pool, struct map *map)
{
    return map->has_started || any_helper(pool, map, brood__is_claimed);
}

static bool stays(struct brood_pool *pool, struct job *job)
{
    return !brood__take_back(pool, job, SLOT_CANCELLED);
}

/* Preempts the invitation's worker.  Names all waiters in the slot, because the worker is to be invited again as soon as
 * it has answered.  Release: the worker that reads `preempted`, which the host writes, sees the urgent task in its lane. */
static void yield(struct brood_pool *pool, struct job *job)
{
    struct invitation *invitation = (struct invitation *)(void *)job;

    if (invitation->is_preempted)
        return;
    brood__announce_in(pool, job, WAITER_ALL);
    atomic_store_explicit(&range_beside(invitation)->preempted, 1, memory_order_release);
    invitation->is_preempted = true;
    invitation->window->handed = 0; /* the worker may leave something undone */
    pool->preempted++;
}

void brood__maps_preempt(struct brood_pool *pool, unsigned number)
{
    struct job *job;

    if (pool->shadows[number].outstanding < 2)
        return;
    for (uint32_t index = 0; (job = brood__lane_job(pool, number, &index));)
        if (job->ops == &invitation_ops)
            yield(pool, job);
}

bool brood__map_cancel(struct brood_pool *pool, struct map *map)
{
    map->cancelled = true;
    for (unsigned i = 0; i < WINDOWS; i++)
        if (map->windows[i].shared && map->windows[i].phase != WINDOW_OVER)
            atomic_store(&map->windows[i].shared->stop, 1);
    return !any_helper(pool, map, stays) && !map->has_started;
}

/* ---- the calls ---- */

int brood__map_check_task(const struct brood_task *task)
{
    if (!task || !task->name || !task->run)
        return brood_fail(-EINVAL, "a task needs a name and a function");
    if (task->arg_size == BROOD_ANY_SIZE || task->arg_size > UINT32_MAX || task->result_size > UINT32_MAX)
        return brood_fail(-EINVAL, "task '%s': a map needs arguments and results of a fixed size below 4 GiB", task->name);
    return 0;
}

static int check(const struct brood_task *task, const void *results, const void *args, size_t n)
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

/* Locked. */
static int begin(struct brood_pool *pool, struct brood_future *future, const struct map_call *call, brood_deadline deadline)
{
    /* A stream may outlive its pool, whose memory is gone then. */
    int r =
        life_is_closed(pool->life) ? brood_fail(-ESHUTDOWN, "the pool is closed") : brood__wait_for_room(pool, deadline);

    if (r < 0)
        return r;
    future->kind = FUTURE_MAP;
    if (call->items > 0)
        return map_begin(pool, future, call);
    pool->outstanding++;
    brood__future_finish(future, 0);
    return 0;
}

int brood__map_start(struct brood_pool *pool, struct brood_future **ret_future, const struct map_call *call,
                     brood_deadline deadline)
{
    struct brood_future *future;
    int r = brood__pool_enter_open(pool);

    if (r < 0)
        return r;
    future = brood__future_new(pool);
    r = future ? begin(pool, future, call, deadline) : -ENOMEM;
    if (r == 0)
        *ret_future = future;
    else if (future)
        brood__future_drop(future);
    if (r == 0) {
        brood__run_all_deferred(pool);
        brood__run_inline(pool);
    }
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
        r = check(task, results, args, n);
    if (r < 0)
        return r;
    struct map_call call = {.task = task,
                            .results = results,
                            .args = args,
                            .items = n,
                            .chunk = own.chunk,
                            .limit_ms = own.limit_ms,
                            .limit_cpu_ms = own.limit_cpu_ms,
                            .grace_ms = own.grace_ms,
                            .retries = own.retries};

    return brood__map_start(pool, ret_future, &call, BROOD_FOREVER);
}

int brood_pool_map(struct brood_pool *pool, const struct brood_task *task, void *results, const void *args, size_t n,
                   const struct brood_map_options *options)
{
    struct brood_future *future;
    int r = brood_pool_map_async(pool, task, &future, results, args, n, options);

    return r < 0 ? r : brood__map_finish(future);
}
