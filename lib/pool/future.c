#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <brood/future.h>

#include "os/error.h"
#include "pool/attendant.h"
#include "pool/backend.h"
#include "pool/backlog.h"
#include "pool/death.h"
#include "pool/fetch.h"
#include "pool/map.h"
#include "pool/promise.h"
#include "pool/retry.h"

#define SPARES_AHEAD 4

/* Room for every future that exists, so that giving one back cannot fail. */
static bool make_room(struct brood_pool *pool)
{
    size_t room = pool->spare_room ? 2 * pool->spare_room : 64;
    struct brood_future **spares;

    if (pool->made < pool->spare_room)
        return true;
    spares = realloc(pool->spares, room * sizeof(struct brood_future *));
    if (!spares)
        return false;
    pool->spares = spares;
    pool->spare_room = room;
    return true;
}

static struct brood_future *make_future(struct brood_pool *pool)
{
    struct brood_future *future = make_room(pool) ? aligned_alloc(64, sizeof(*future)) : NULL;

    if (future)
        pool->made++;
    else
        (void)brood_fail(-ENOMEM, "out of memory");
    return future;
}

/* The ones that come next are likely to be long out of the cache.  (They are in an array because a list would make each
 * wait for the one before: the address of the next would be in a line that is not there yet.) */
static struct brood_future *take_spare(struct brood_pool *pool)
{
    struct brood_future *future = pool->spares[--pool->spare_count];

    if (pool->spare_count >= SPARES_AHEAD)
        __builtin_prefetch(pool->spares[pool->spare_count - SPARES_AHEAD], 1);
    return future;
}

struct brood_future *brood__future_new(struct brood_pool *pool)
{
    struct brood_future *future = pool->spare_count > 0 ? take_spare(pool) : make_future(pool);

    if (!future)
        return NULL;
    brood__future_init(future, pool, NULL, 0);
    pool->futures++;
    return future;
}

void brood__future_add_more(struct brood_future *future)
{
    if (atomic_load_explicit(&future->has_more, memory_order_relaxed))
        return;
    memset(&future->more, 0, sizeof(future->more));
    atomic_store_explicit(&future->has_more, true, memory_order_release);
}

void brood__future_free_more(struct brood_future *future)
{
    if (!future->has_more)
        return;
    free(future->more.words);
    brood__deaths_free(future);
    free(future->more.retry);
    if (future->more.fd_plus_1)
        (void)close(future->more.fd_plus_1 - 1);
    atomic_store_explicit(&future->has_more, false, memory_order_relaxed);
}

void brood__future_drop(struct brood_future *future)
{
    struct brood_pool *pool = future->pool;

    if (future->owns_result)
        free(future->result);
    if (future->has_more)
        brood__future_free_more(future);
    if (brood__future_map(future))
        brood__map_free(future->map);
    pool->spares[pool->spare_count++] = future;
    pool->futures--;
}

static void count_failure(struct brood_pool *pool, int outcome)
{
    pool->failed++;
    pool->cancelled += outcome == -ECANCELED;
}

void brood__future_finish(struct brood_future *future, int outcome)
{
    struct brood_pool *pool = future->pool;

    if (future->has_more && future->more.block) {
        (void)brood__heap_free(&pool->heap, future->more.block);
        future->more.block = 0;
    }
    brood__fetch_drop(pool, future);
    future->outcome = (int16_t)outcome;
    pool->outstanding--;
    pool->finished++;
    if (outcome < 0)
        count_failure(pool, outcome);
    atomic_store_explicit(&future->done, true, memory_order_release);
    if (future->has_more)
        brood__hooks_tell(future, true);
    if (pool->bell >= 0)
        brood__bell_ring(pool);
    if (future->abandoned && !(future->has_more && future->more.calls > 0))
        brood__future_drop(future);
}

/* ---- one future, of a pool or by itself ---- */

int brood__future_missing(void)
{
    return brood_fail(-EINVAL, "the future is NULL: nothing was submitted, or it has been freed");
}

int brood__future_enter(struct brood_future *future)
{
    if (!future)
        return brood__future_missing();
    return future->pool ? brood__pool_enter(future->pool) : brood__promise_enter(brood__promise(future));
}

void brood__future_leave(struct brood_future *future)
{
    if (future->pool)
        brood__pool_leave(future->pool);
    else
        brood__promise_leave(brood__promise(future));
}

struct lock *brood__future_lock(struct brood_future *future)
{
    return future->pool ? &future->pool->lock : &brood__promise(future)->lock;
}

void brood__future_drop_words(struct brood_future *future)
{
    if (!future->has_more)
        return;
    free(future->more.words);
    future->more.words = NULL;
}

void brood__future_keep_words(struct brood_future *future, const char *words, size_t size)
{
    brood__future_add_more(future);
    free(future->more.words);
    future->more.words = strndup(words, size); /* NULL when memory is short: the outcome stands without words */
}

void brood__future_say_shut_down(struct brood_future *future)
{
    const struct brood_pool *pool = future->pool;

    brood__future_keep_words(future, pool->why_broken[0] ? pool->why_broken : "the pool was closed first",
                             sizeof(pool->why_broken));
}

/* ---- settling a single task ---- */

static const char *task_name(const struct brood_pool *pool, const struct slot *slot)
{
    const struct board_task *entry = brood__board_entry(pool->shared.board, read_once(slot->task));

    return entry ? entry->name : "?";
}

/* To where the caller wants it, unless it lies there already. */
static void copy_result(const struct brood_pool *pool, struct brood_future *future, const struct slot *slot, size_t length)
{
    const char *from = (const char *)slot->result.bytes;

    if (future->has_more && future->more.result_offset)
        from = pool->shared.segment.base + future->more.result_offset;
    else if (length > SLOT_RESULT_BYTES)
        length = SLOT_RESULT_BYTES;
    if (from != future->result)
        memcpy(future->result, from, length);
}

/* What is read from the slot is read once and checked: a worker may have written anything.  The length of what lies not in
 * the slot but where brood__fetch_later() finds it goes to *ret_spilled. */
static int take_answer(struct brood_pool *pool, struct brood_future *future, const struct answer *answer,
                       size_t *ret_spilled)
{
    const struct slot *slot = answer->slot;
    int status = read_once(slot->status);
    size_t length = read_once(slot->result_bytes);

    if (status < 0) {
        if (read_once(slot->has_words))
            brood__future_keep_words(future, answer->note->words, sizeof(answer->note->words));
        return status;
    }
    if (length > future->room) {
        *ret_spilled = length;
        return brood__fetch_region(future) != SPILL_NONE ? 0 : -EMSGSIZE;
    }
    if (future->is_inline)
        memcpy(future->inline_result, slot->result.bytes, SLOT_RESULT_BYTES);
    else if (future->result)
        copy_result(pool, future, slot, length);
    future->length = (uint32_t)length;
    return 0;
}

/* True if the task will be run again. */
static bool settle_death(struct brood_pool *pool, struct brood_future *future, const struct answer *answer, int outcome)
{
    bool is_killed = outcome == -ECANCELED, is_quarantined;
    uint32_t attempt = brood__future_attempt(future);

    brood__deaths_keep(future, answer, 0, attempt, task_name(pool, answer->slot));
    if (!is_killed && brood__retry(pool, future))
        return true;
    is_quarantined = !is_killed && brood__retry_is_used_up(future);
    pool->quarantined += is_quarantined;
    brood__deaths_say(future, 0, is_quarantined);
    return false;
}

void brood__future_settle(struct brood_pool *pool, struct job *job, const struct answer *answer)
{
    struct brood_future *future = (struct brood_future *)(void *)job; /* its first member */
    int outcome = -ESHUTDOWN;
    size_t spilled = 0;

    if (answer->state == SLOT_DONE)
        outcome = take_answer(pool, future, answer, &spilled);
    else if (answer->state == SLOT_CANCELLED)
        outcome = -ECANCELED;
    else if (answer->state == SLOT_LOST) {
        outcome = brood__outcome_of_death(answer);
        brood__fetch_soil(future);
        if (settle_death(pool, future, answer, outcome))
            return;
    } else
        brood__future_say_shut_down(future);
    if (!brood__fetch_later(pool, future, outcome, spilled))
        brood__future_finish(future, outcome);
}

/* ---- waiting ---- */

static bool is_done(struct brood_pool *pool, struct watch *watch)
{
    struct brood_future *future = watch->subject;

    if (brood__future_map(future))
        brood__map_collect(pool, future->map);
    else if (brood__collect(pool, &future->job) && pool->mirrors[future->job.lane].outstanding > 0)
        brood__collect_lane(pool, future->job.lane); /* its neighbours, while we are here: their owners need no lock then */
    return brood__future_is_done(future);
}

struct job *brood__future_job(struct brood_future *future)
{
    if (brood__future_map(future))
        return brood__map_job(future->map);
    return future->job.in_lane ? &future->job : NULL;
}

static struct job *job_of(struct brood_pool *pool, struct watch *watch, struct job *previous)
{
    struct brood_future *future = watch->subject;

    if (!future->job.in_lane && !brood__future_map(future)) /* it is to be run again, as soon as there is room */
        return brood__middle_job(pool, watch, previous);
    return !previous ? brood__future_job(future) : NULL;
}

/* Locked. */
bool brood__future_look(struct brood_future *future)
{
    struct brood_pool *pool = future->pool;
    struct watch watch = {.is_ready = is_done, .subject = future};

    if (brood__future_is_done(future) || !pool)
        return brood__future_is_done(future);
    brood__check_life(pool);
    while (!is_done(pool, &watch) && brood__take_turn(pool))
        ;
    return brood__future_is_done(future);
}

/* A callback is called before the wait that has brought it about returns. */
static int call_callbacks(struct brood_future *future)
{
    if (!future->has_more || !future->pool || brood__pool_enter(future->pool) < 0)
        return 0;
    (void)brood__call_due(future->pool);
    brood__pool_leave(future->pool);
    return 0;
}

int brood__future_wait(struct brood_future *future, brood_deadline deadline)
{
    struct watch watch = {.is_ready = is_done, .next_job = job_of, .subject = future};

    return brood__wait(future->pool, &watch, deadline);
}

int brood_future_wait(struct brood_future *future, brood_deadline deadline)
{
    int r;

    if (!future)
        return brood__future_missing();
    if (brood__future_is_done(future))
        return call_callbacks(future);
    if (!future->pool)
        return brood__promise_wait(brood__promise(future), deadline);
    r = brood__pool_enter(future->pool);
    if (r < 0)
        return r;
    r = brood__future_wait(future, deadline);
    (void)brood__call_due(future->pool);
    brood__pool_leave(future->pool);
    return r < 0 ? brood_fail(r, "the deadline passed before the work was done") : 0;
}

/* ---- asking ---- */

static const char *words_for(int outcome)
{
    const char *words = strerrordesc_np(-outcome);

    return words ? words : "failed";
}

static int not_done(const struct brood_future *future)
{
    if (future->pool && !brood__pool_is_ours(future->pool))
        return brood_fail(-EPERM, "this future belongs to the process that forked this one");
    return brood_fail(-EINPROGRESS, "not done yet: wait for it first");
}

static int fail(const struct brood_future *future)
{
    if (brood__future_map(future))
        return brood_fail(future->outcome, "item %llu: %s", (unsigned long long)brood__map_first_failed(future->map),
                          brood_future_error(future));
    return brood_fail(future->outcome, "%s", brood_future_error(future));
}

/* 0 if there is a result. */
static int ask(struct brood_future *future)
{
    if (!future)
        return brood__future_missing();
    if (!brood_future_done(future))
        return not_done(future);
    return future->outcome < 0 ? fail(future) : 0;
}

int brood_future_bytes(struct brood_future *future, struct brood_bytes *ret_bytes)
{
    int r = ask(future);

    if (r < 0)
        return r;
    *ret_bytes = (struct brood_bytes){future->length == 0 ? NULL
                                      : future->is_inline ? future->inline_result
                                                          : future->result,
                                      future->length};
    return 0;
}

int brood_future_result(struct brood_future *future, void *ret_result, size_t size)
{
    int r = ask(future);

    if (r < 0)
        return r;
    if (future->length > size)
        return brood_fail(-EMSGSIZE, "the result has %u bytes, and there is room for %zu", future->length, size);
    if (future->length > 0 && !ret_result)
        return brood_fail(-EINVAL, "the result has %u bytes, and there is no room for it at NULL", future->length);
    if (future->length > 0)
        copy_small(ret_result, future->is_inline ? future->inline_result : future->result, future->length);
    return 0;
}

size_t brood_future_size(const struct brood_future *future)
{
    return future && brood__future_is_done(future) && future->outcome == 0 ? future->length : 0;
}

int brood_future_item(struct brood_future *future, size_t item)
{
    int r;

    if (!future)
        return brood__future_missing();
    if (!brood_future_done(future))
        return not_done(future);
    if (!brood__future_map(future)) {
        if (item > 0 || future->is_map)
            return brood_fail(-ERANGE, future->is_map ? "the map has no items" : "a single task has one item");
        return future->outcome < 0 ? fail(future) : 0;
    }
    r = brood__map_item(future->map, item);
    if (r < 0 && item == brood__map_first_failed(future->map))
        return fail(future);
    return r < 0 && r != -ERANGE ? brood_fail(r, "item %zu: %s", item, words_for(r)) : r;
}

const char *brood_future_error(const struct brood_future *future)
{
    static const struct {
        int outcome;
        const char *words;
    } said[] = {
        {-ECANCELED, "cancelled before it started"},
        {-EMSGSIZE, "the result is larger than the task promised"},
        {-ESHUTDOWN, "the pool was closed first"},
    };

    if (!future || !brood__future_is_done(future) || future->outcome == 0)
        return "";
    if (future->has_more && future->more.words)
        return future->more.words;
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
        if (said[i].outcome == future->outcome)
            return said[i].words;
    return words_for(future->outcome);
}

/* A hint for the eye of the caller; collects, so that polling it makes progress. */
bool brood_future_done(struct brood_future *future)
{
    bool done = future && brood__future_is_done(future);

    if (done || !future || !future->pool || brood__pool_enter(future->pool) < 0)
        return done;
    done = brood__future_look(future);
    brood__pool_leave(future->pool);
    return done;
}

bool brood_future_running(struct brood_future *future)
{
    bool running = false;

    if (!future)
        return false;
    if (!future->pool)
        return brood__promise_state(brood__promise(future)) == BROOD_FUTURE_RUNNING;
    if (brood_future_done(future) || brood__pool_enter(future->pool) < 0)
        return false;
    if (brood__future_map(future))
        running = brood__map_is_running(future->pool, future->map);
    else if (future->job.in_lane)
        running = brood__is_claimed(future->pool, &future->job);
    brood__pool_leave(future->pool);
    return running;
}

static bool is_lost(const struct brood_future *future)
{
    return brood__deaths_is_lost(future) &&
           (future->outcome == -EOWNERDEAD || future->outcome == -ETIMEDOUT || future->outcome == -ECANCELED);
}

/* What was killed has the same outcome, and a record of the death. */
static bool never_ran(const struct brood_future *future)
{
    return future->outcome == -ECANCELED && !is_lost(future);
}

bool brood__future_has_failed(const struct brood_future *future)
{
    return future->outcome < 0 && !never_ran(future);
}

enum brood_future_state brood_future_state(struct brood_future *future)
{
    if (!future)
        return BROOD_FUTURE_PENDING;
    if (!future->pool)
        return brood__promise_state(brood__promise(future));
    if (!brood_future_done(future))
        return brood_future_running(future) ? BROOD_FUTURE_RUNNING : BROOD_FUTURE_PENDING;
    if (future->outcome == 0)
        return BROOD_FUTURE_DONE;
    if (never_ran(future))
        return BROOD_FUTURE_CANCELLED_TOLD;
    return is_lost(future) ? BROOD_FUTURE_WORKER_LOST : BROOD_FUTURE_FAILED;
}

/* ---- giving up ---- */

int brood_future_cancel(struct brood_future *future)
{
    struct brood_pool *pool = future ? future->pool : NULL;
    bool cancelled = false;
    int r;

    if (!future)
        return brood__future_missing();
    if (!pool)
        return brood__promise_cancel(brood__promise(future));
    if (brood_future_done(future))
        return never_ran(future) ? 0 : brood_fail(-EBUSY, "it is done already");
    r = brood__pool_enter(pool);
    if (r < 0)
        return r;
    if (brood__future_map(future))
        cancelled = brood__map_cancel(pool, future->map);
    else
        cancelled = brood__take_back(pool, &future->job, SLOT_CANCELLED) || brood__retry_forget(pool, future, -ECANCELED) ||
                    brood__backlog_forget(pool, future, -ECANCELED);
    while (brood__maps_turn(pool))
        ;
    (void)brood__backlog_feed(pool); /* where it was taken back there is room */
    cancelled |= brood__future_is_done(future) && future->outcome == -ECANCELED &&
                 !brood__future_map(future); /* by another thread */
    brood__pool_leave(pool);
    return cancelled ? 0 : brood_fail(-EBUSY, "it is running already");
}

static int kill_running(struct brood_pool *pool, const struct job *job)
{
    struct lane *lane = &pool->shared.lanes[job->lane];

    atomic_store_explicit(&lane->notes[lane_index(lane, job->position)].stopped, job->position, memory_order_relaxed);
    if (!pool->backend->kill_task)
        return -ENOTSUP;
    return pool->backend->kill_task(pool, job->lane, job->position);
}

int brood_future_kill(struct brood_future *future)
{
    struct brood_pool *pool = future ? future->pool : NULL;
    int r = 0;

    if (!future)
        return brood__future_missing();
    if (brood_future_cancel(future) == 0)
        return 0;
    if (brood_future_done(future))
        return brood_fail(-EBUSY, "it is done already");
    if (!pool)
        return brood_fail(-ENOTSUP, "whoever keeps a promise cannot be killed");
    r = brood__pool_enter(pool);
    if (r < 0)
        return r;
    if (brood__future_map(future))
        r = brood__map_each(pool, future->map, kill_running);
    else if (future->job.in_lane)
        r = kill_running(pool, &future->job);
    brood__retry_never(future);
    brood__pool_leave(pool);
    return r < 0 ? brood_fail(r, r == -ENOTSUP ? "a thread cannot be killed; it has been asked to stop"
                                               : "the supervisor has many orders to kill: ask again")
                 : 0;
}

void brood_future_free(struct brood_future *future)
{
    struct brood_pool *pool = future ? future->pool : NULL;

    if (future && !pool)
        brood__promise_free(brood__promise(future));
    if (!pool || !brood__pool_is_ours(pool))
        return;
    if (brood__future_map(future) && !brood__future_is_done(future)) {
        (void)brood_future_cancel(future);
        if (brood_future_wait(future, BROOD_FOREVER) < 0)
            return;
    }
    brood__lock(&pool->lock);
    if (brood__future_is_done(future) && !(future->has_more && future->more.calls > 0))
        brood__future_drop(future);
    else
        future->abandoned = true;
    brood__pool_release(pool);
}
