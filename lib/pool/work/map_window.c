#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/thread_cpu.h"
#include "pool/core/dispatch.h"
#include "pool/core/jobs.h"
#include "pool/core/placement.h"
#include "pool/core/slots.h"
#include "pool/core/wait.h"
#include "pool/future/callback.h"
#include "pool/future/death.h"
#include "pool/future/future.h"
#include "pool/work/map_window.h"

/* ---- idle windows ---- */

static void push(struct map_window **list, struct map_window *window)
{
    window->next_turn = *list;
    *list = window;
}

static struct map_window *pop(struct map_window **list)
{
    struct map_window *window = *list;

    *list = window->next_turn;
    return window;
}

static void keep_message(struct map *map, size_t item, const char *words, size_t size)
{
    if (item >= map->words_item)
        return;
    map->words_item = item;
    brood__future_keep_message(map->future, words, size);
}

/* How often the item has been lost, including this time.  Only the losses that happen have memory: calloc() leaves the
 * rest untouched. */
static uint32_t count_loss(struct map_window *window, uint32_t index)
{
    if (!window->losses)
        window->losses = calloc(window->map->window_items, sizeof(*window->losses));
    return window->losses ? ++window->losses[index] : UINT32_MAX; /* no memory: no retry */
}

static void forget_losses(struct map_window *window)
{
    free(window->losses);
    window->losses = NULL;
}

/* Of all items that were lost in a crash, the first, in their order, sets the map's message. */
static void note_death(struct map *map, size_t item, bool is_quarantined)
{
    if (item < map->death_item)
        map->death_item = item;
    if (item < map->words_item) {
        map->words_item = item;
        brood__deaths_say(map->future, map_name_of(map, item), is_quarantined);
    }
}

/* Relaxed: the worker that stored it has answered, or is dead, and the host's acquire load of the slot ordered its store
 * before this. */
static int16_t status_of(const struct map_window *window, size_t index)
{
    return atomic_load_explicit(&window->status[index], memory_order_relaxed);
}

/* A worker died of that item.  If it is retried, it stays as if it had not started. */
static void lose_item(struct map_window *window, uint32_t index, const struct answer *answer)
{
    struct map *map = window->map;
    struct brood_pool *pool = map->future->pool;
    size_t item = window->first + index;
    uint32_t times = map->terms.retries > 0 ? count_loss(window, index) : 1;
    int outcome = brood__outcome_of_death(answer);

    brood__deaths_keep(map->future, answer, map_name_of(map, item), times, map->task->name);
    if (outcome != -ECANCELED && times <= (uint32_t)map->terms.retries) {
        pool->counts.retried++;
        return;
    }
    /* Relaxed: the worker that had claimed the item is dead, so no process races with this store. */
    atomic_store_explicit(&window->status[index], (int16_t)outcome, memory_order_relaxed);
    pool->counts.quarantined += outcome != -ECANCELED;
    note_death(map, item, outcome != -ECANCELED);
}

/* A worker died in this window.  It was running the item that the slot extension names, if that has no status. */
static void charge(struct map_window *window, const struct answer *answer)
{
    uint64_t item = read_once(answer->extension->item_lost);

    if (item > 0 && item <= window->count && status_of(window, item - 1) == ITEM_WAITING)
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
    int16_t outcome = life_outcome(pool->life.state);

    return outcome ? outcome : map->cancelled ? -ECANCELED : 0;
}

/* ---- invitations ---- */

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
    pool->windows.preempted--;
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
        map_window_queue(pool, window);
}

/* Workers load `stop` before each claim.  Relaxed: it carries no other data, and a worker that misses it once sees it
 * later. */
static void stop_invitation(struct job *job)
{
    atomic_store_explicit(&((struct invitation *)(void *)job)->window->shared->stop, 1, memory_order_relaxed);
}

const struct job_ops brood__invitation_ops = {.settle = settle_invitation, .stop = stop_invitation};

/* ---- a more urgent task ---- */

/* Preempts the invitation's worker.  Names all waiters in the slot, because the worker is to be invited again as soon as
 * it has answered.  Release: the worker that reads `preempted`, which the host writes, sees the urgent task in its lane. */
static void invitation_preempt(struct brood_pool *pool, struct job *job)
{
    struct invitation *invitation = (struct invitation *)(void *)job;

    if (invitation->is_preempted)
        return;
    brood__announce_in(pool, job, WAITER_ALL);
    atomic_store_explicit(&range_beside(invitation)->preempted, 1, memory_order_release);
    invitation->is_preempted = true;
    invitation->window->handed = 0; /* the worker may leave something undone */
    pool->windows.preempted++;
}

void brood__maps_preempt(struct brood_pool *pool, unsigned number)
{
    brood__assert_locked(pool);
    struct job *job;

    if (pool->shadows[number].outstanding < 2)
        return;
    for (uint32_t index = 0; (job = brood__lane_job(pool, number, &index));)
        if (job->ops == &brood__invitation_ops)
            invitation_preempt(pool, job);
}

/* ---- deferred work: an idle window ---- */

static void map_fail_item(struct map *map, size_t item, int16_t outcome)
{
    if (map->outcomes)
        map->outcomes[item] = outcome;
    if (item >= map->first_failed)
        return;
    map->first_failed = item;
    map->first_outcome = outcome;
}

/* The usual case, in one quick pass: the first item succeeded, and each has the status of the one before. */
static bool all_done(const struct map_window *window)
{
    const char *status = (const char *)window->status;

    return status_of(window, 0) == ITEM_DONE &&
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

        while (i < window->count && status_of(window, i) == ITEM_WAITING)
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
        if (status_of(window, i) == ITEM_WAITING)
            return true;
    return false;
}

static void note_failures(struct map_window *window, int16_t never_started)
{
    for (uint32_t i = 0; i < window->count; i++) {
        int16_t status = status_of(window, i);

        if (status == ITEM_WAITING)
            map_fail_item(window->map, window->first + i, never_started);
        else if (status != ITEM_DONE)
            map_fail_item(window->map, window->first + i, status < 0 ? status : -EPROTO);
    }
}

static void hand_back(struct map_window *window)
{
    struct map *map = window->map;
    size_t size = map->task->result_size;

    if (window->results)
        memcpy(map->results + window->first * size, window->results, window->count * size);
}

/* The number of workers to invite: those that are wanted now. */
static unsigned wanted_workers(const struct map *map)
{
    unsigned wanted = map->future->pool->size.wanted;

    return wanted < map->workers ? wanted : map->workers;
}

static void share(const struct map *map, struct range *ranges, uint32_t count)
{
    unsigned takers = wanted_workers(map);

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
        shared->first = map_name_of(map, first);
    else if (window->args)
        memcpy(window->args, map->args + first * size, count * size);
    else
        shared->args = map_offset_of(map->future->pool, map->args + first * size);
    if (!window->results)
        shared->results = map_offset_of(map->future->pool, map->results + first * map->task->result_size);
    memset((void *)window->status, 0, count * sizeof(*window->status));
    forget_losses(window);
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

static bool invite(struct brood_pool *pool, struct map_window *window, unsigned worker)
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
    unsigned count = wanted_workers(window->map), last = count, here = brood__cpu_here(), sent = 0;

    if (count > window->count)
        count = (unsigned)window->count;
    window->phase = WINDOW_RUNNING;
    for (unsigned i = 0; i < count; i++) {
        if (last >= count && brood__placement_is_on(pool, i, here))
            last = i;
        else
            sent += invite(pool, window, i);
    }
    if (last < count)
        sent += invite(pool, window, last);
    brood__hooks_move(window->map->future);
    return sent > 0;
}

void brood__map_free_blocks(struct brood_pool *pool, struct map *map)
{
    brood__assert_locked(pool);
    for (unsigned i = 0; i < WINDOWS; i++)
        if (map->windows[i].block)
            (void)brood__heap_free(&pool->heap, map->windows[i].block);
}

static void map_finish(struct map *map)
{
    struct brood_future *future = map->future;
    struct brood_pool *pool = future->pool;
    int outcome = map->first_outcome;

    brood__map_free_blocks(pool, map);
    if (map->words_item != map->first_failed) {
        brood__future_drop_message(future); /* the message is about another item */
        if (outcome == -ESHUTDOWN && life_is_broken(pool->life.state))
            brood__future_keep_message(future, pool->life.reason, sizeof(pool->life.reason));
    }
    brood__future_finish(future, outcome);
}

static void end_window(struct map_window *window)
{
    window->phase = WINDOW_OVER;
    if (--window->map->live == 0)
        map_finish(window->map);
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
        map_fail_item(map, map->next, outcome);
        map->next = map->items;
    }
    for (; map->next < map->items; map->next++)
        map_fail_item(map, map->next, outcome);
}

/* Runs an idle window.  No other thread uses it.  True if it has work for the workers.  Locked on entry and return, not
 * in between. */
static bool window_run(struct brood_pool *pool, struct map_window *window)
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

/* If every lane is full, a filled window waits for the next slot to be settled. */
static bool send_stalled(struct brood_pool *pool)
{
    if (!pool->windows.stalled || !has_any_slot(pool))
        return false;
    struct map_window *window = pop(&pool->windows.stalled);

    if (send_window(pool, window))
        return true;
    push(&pool->windows.stalled, window);
    return false;
}

bool brood__map_run_stalled(struct brood_pool *pool, const struct map *map)
{
    brood__assert_locked(pool);
    struct map_window **place = &pool->windows.stalled, *window;

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

static bool windows_are_due(struct brood_pool *pool)
{
    return pool->windows.idle || (pool->windows.stalled && has_any_slot(pool));
}

static bool windows_are_waiting(const struct brood_pool *pool)
{
    return pool->windows.stalled || pool->windows.preempted > 0;
}

/* For room in a lane. */
static void windows_announce(struct brood_pool *pool, unsigned parker)
{
    if (pool->windows.stalled)
        brood__announce_each(pool, brood__middle_job, parker);
}

static bool run_windows(struct brood_pool *pool)
{
    struct map_window *window;

    if (pool->windows.preempted > 0)
        brood__collect_all(pool);
    if (!pool->windows.idle && pool->windows.stalled && ending(pool, pool->windows.stalled->map))
        map_window_queue(pool, pop(&pool->windows.stalled));
    if (!pool->windows.idle)
        return send_stalled(pool);
    window = pop(&pool->windows.idle);
    if (!window_run(pool, window))
        end_window(window);
    else if (ending(pool, window->map))
        map_window_queue(pool, window);
    else if (!send_window(pool, window))
        push(&pool->windows.stalled, window);
    brood__wake_waiter(pool->shared.header, WAITER_ALL); /* they found no job of this map to wait for */
    return true;
}

const struct deferred brood__deferred_maps = {
    .words = {DEFERRED_WORD(windows.idle), DEFERRED_WORD(windows.stalled), DEFERRED_WORD(windows.preempted)},
    .run = run_windows,
    .is_due = windows_are_due,
    .is_waiting = windows_are_waiting,
    .announce = windows_announce,
};
