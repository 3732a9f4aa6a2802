#include <errno.h>
#include <stdlib.h>

#include "os/clock.h"
#include "os/error.h"
#include "pool/core/kind.h"
#include "pool/core/slots.h"
#include "pool/core/wait.h"
#include "pool/future/event_thread.h"
#include "pool/future/future.h"
#include "pool/future/wait_set.h"
#include "shm/spin.h"

/* ---- hooks ---- */

/* Locked by the wait set, as the next function. */
static void make_ready(struct wait_set *wait_set, struct entry *entry)
{
    entry->is_notified = true;
    entry->next = NULL;
    *wait_set->ready_end = entry;
    wait_set->ready_end = &entry->next;
    wait_set->failed += brood__future_has_failed(entry->future);
}

static bool is_over(const struct wait_set *wait_set)
{
    if (wait_set->unfinished == 0)
        return true;
    if (wait_set->until == BROOD_FIRST_COMPLETED)
        return wait_set->ready != NULL;
    return wait_set->until == BROOD_FIRST_EXCEPTION && wait_set->failed > 0;
}

static bool set_look(struct wait_set *wait_set)
{
    bool over;

    brood__lock(&wait_set->lock);
    over = is_over(wait_set);
    brood__unlock(&wait_set->lock);
    return over;
}

static void list_leave(struct entry *entry)
{
    *entry->place = entry->next;
    if (entry->next)
        entry->next->place = entry->place;
}

static void list_join(struct entry *entry, struct entry **list)
{
    entry->next = *list;
    entry->place = list;
    if (entry->next)
        entry->next->place = &entry->next;
    *list = entry;
}

static void set_wake(struct wait_set *wait_set)
{
    brood__lock(&wait_set->lock);
    wait_set->has_moved = true;
    (void)atomic_fetch_add_explicit(&wait_set->notifications, 1, memory_order_relaxed);
    brood__unlock(&wait_set->lock);
    (void)brood__futex_wake(&wait_set->notifications, 1);
}

/* Another thread may have moved the job into a lane: so this wakes a sleeping waiter, which names its parker there.  For
 * a map, the pool itself wakes all waiters. */
static void entry_move(struct hook *hook)
{
    struct entry *entry = (struct entry *)(void *)hook; /* its first member */

    list_leave(entry);
    list_join(entry, &entry->waited_pool->unnamed);
    if (entry->waited_pool->place.is_inside && !brood__future_map(entry->future))
        set_wake(entry->wait_set);
}

static void entry_notify(struct hook *hook, struct brood_future *future)
{
    struct entry *entry = (struct entry *)(void *)hook; /* its first member */
    struct wait_set *wait_set = entry->wait_set;
    bool is_asleep;

    (void)future;
    if (entry->waited_pool)
        list_leave(entry);
    brood__lock(&wait_set->lock);
    make_ready(wait_set, entry);
    wait_set->unfinished--;
    if (entry->waited_pool)
        entry->waited_pool->unfinished--;
    (void)atomic_fetch_add_explicit(&wait_set->notifications, 1, memory_order_relaxed);
    is_asleep = wait_set->is_asleep && is_over(wait_set);
    brood__unlock(&wait_set->lock);
    if (is_asleep) /* the wait set may be gone by now; then this wakes no thread */
        (void)brood__futex_wake(&wait_set->notifications, 1);
}

/* ---- the wait set ---- */

/* The place of the future's entry, or the free place for it. */
static struct entry **place_of(const struct wait_set *wait_set, const struct brood_future *future)
{
    size_t at = (uintptr_t)future / sizeof(*future) * 0x9e3779b97f4a7c15u >> 20 & wait_set->places_mask;

    while (wait_set->places[at] && wait_set->places[at]->future != future)
        at = (at + 1) & wait_set->places_mask;
    return &wait_set->places[at];
}

static bool collect_and_look(struct brood_pool *pool, struct wait_condition *condition);
static void set_announce(struct brood_pool *pool, struct wait_condition *condition, unsigned parker);

static struct waited_pool *find_waited_pool(struct wait_set *wait_set, struct brood_pool *pool)
{
    struct waited_pool *waited_pool = wait_set->waited_pools;

    while (waited_pool && waited_pool->pool != pool)
        waited_pool = waited_pool->next;
    if (waited_pool)
        return waited_pool;
    waited_pool = malloc(sizeof(*waited_pool));
    if (!waited_pool)
        return NULL;
    *waited_pool = (struct waited_pool){.pool = pool, .wait_set = wait_set, .next = wait_set->waited_pools};
    waited_pool->condition =
        (struct wait_condition){.is_ready = collect_and_look, .announce = set_announce, .subject = waited_pool};
    waited_pool->place = (struct sleep_place){.pool = pool, .condition = &waited_pool->condition};
    wait_set->waited_pools = waited_pool;
    return waited_pool;
}

static void waited_pool_join(struct entry *entry, struct waited_pool *waited_pool)
{
    entry->waited_pool = waited_pool;
    list_join(entry, &waited_pool->unnamed);
    waited_pool->unfinished++;
}

/* Is the future finished for a waiter for several futures? */
static bool is_complete(struct brood_future *future)
{
    bool (*is_untold)(const struct brood_future *) = brood__future_ops(future)->is_untold;

    return brood__future_look(future) && !(is_untold && is_untold(future));
}

/* Inside the future.  No other thread knows the entry yet; other threads know the wait set. */
static int entry_join(struct wait_set *wait_set, struct entry *entry)
{
    struct brood_future *future = entry->future;
    struct waited_pool *waited_pool = NULL;

    if (future->pool) {
        waited_pool = find_waited_pool(wait_set, future->pool);
        if (!waited_pool)
            return brood_fail(-ENOMEM, "out of memory");
    }
    bool complete = is_complete(future);

    brood__lock(&wait_set->lock);
    wait_set->count++;
    if (complete)
        make_ready(wait_set, entry);
    else {
        wait_set->unfinished++;
        if (waited_pool)
            waited_pool_join(entry, waited_pool);
    }
    brood__unlock(&wait_set->lock);
    if (!complete)
        brood__hook_add(future, &entry->hook);
    return 0;
}

static int set_add(struct wait_set *wait_set, struct entry *entry, struct brood_future *future)
{
    struct entry **place;
    int r;

    if (!future)
        return brood_fail(-EINVAL, "one of the futures is NULL");
    place = place_of(wait_set, future);
    if (*place)
        return 0; /* the array holds it twice */
    r = brood__future_enter(future);
    if (r < 0)
        return r;
    *entry = (struct entry){.hook = {.notify = entry_notify, .move = future->pool ? entry_move : NULL, .is_patient = true},
                            .wait_set = wait_set,
                            .future = future,
                            .is_given = false};
    r = entry_join(wait_set, entry);
    if (r == 0)
        *place = entry;
    brood__future_leave(future);
    return r;
}

static void set_close(struct wait_set *wait_set)
{
    for (size_t i = 0; wait_set->entries && i < wait_set->count; i++) {
        struct entry *entry = &wait_set->entries[i];

        if (entry->is_given || brood__future_enter(entry->future) < 0)
            continue;
        brood__hook_remove(entry->future, &entry->hook);
        brood__future_leave(entry->future);
    }
    while (wait_set->waited_pools) {
        struct waited_pool *waited_pool = wait_set->waited_pools;

        wait_set->waited_pools = waited_pool->next;
        free(waited_pool);
    }
    free(wait_set->entries);
    free(wait_set->places);
    free(wait_set->words);
}

static int make_places(struct wait_set *wait_set, size_t n)
{
    size_t places = 4;

    while (places < 2 * n)
        places *= 2;
    wait_set->entries = malloc((n ? n : 1) * sizeof(*wait_set->entries));
    wait_set->places = calloc(places, sizeof(struct entry *));
    wait_set->places_mask = places - 1;
    return wait_set->entries && wait_set->places ? 0 : brood_fail(-ENOMEM, "out of memory");
}

static int make_words(struct wait_set *wait_set)
{
    size_t words = 1;

    for (const struct waited_pool *waited_pool = wait_set->waited_pools; waited_pool; waited_pool = waited_pool->next)
        words += 2;
    wait_set->words = malloc(words * sizeof(*wait_set->words));
    return wait_set->words ? 0 : brood_fail(-ENOMEM, "out of memory");
}

/* On failure there is nothing to close. */
static int set_open(struct wait_set *wait_set, struct brood_future *const *futures, size_t n, enum brood_until until)
{
    int r;

    *wait_set = (struct wait_set){.until = until, .ready_end = &wait_set->ready};
    if (!futures && n > 0)
        return brood_fail(-EINVAL, "%zu futures cannot be at NULL", n);
    r = n <= SIZE_MAX / 4 / sizeof(struct entry) ? make_places(wait_set, n) : brood_fail(-EINVAL, "too many futures");
    for (size_t i = 0; r == 0 && i < n; i++)
        r = set_add(wait_set, &wait_set->entries[wait_set->count], futures[i]);
    if (r == 0)
        r = make_words(wait_set);
    if (r < 0)
        set_close(wait_set);
    return r;
}

/* ---- waiting ---- */

/* All futures of the set in this pool are in lanes, so none of them has to be checked by itself. */
static bool collect_and_look(struct brood_pool *pool, struct wait_condition *condition)
{
    const struct waited_pool *waited_pool = condition->subject;

    brood__collect_claimed(pool);
    return set_look(waited_pool->wait_set);
}

static void forget_names(struct waited_pool *waited_pool)
{
    while (waited_pool->named) {
        struct entry *entry = waited_pool->named;

        list_leave(entry);
        list_join(entry, &waited_pool->unnamed);
    }
}

/* Names the parker in every job that does not name it yet, since a slot keeps the name until its job is settled.  So
 * each future costs this once, however often the thread sleeps, unless another thread has taken its parker.  If all
 * futures must finish, one job of one future suffices: a wake-up for each would be one too many. */
static void set_announce(struct brood_pool *pool, struct wait_condition *condition, unsigned parker)
{
    struct waited_pool *waited_pool = condition->subject;

    if (parker != condition->named_parker)
        forget_names(waited_pool);
    while (waited_pool->unnamed) {
        struct entry *entry = waited_pool->unnamed;
        const struct job *job = brood__future_ops(entry->future)->job(entry->future);

        if (job)
            brood__announce_in(pool, job, parker);
        if (job && waited_pool->wait_set->until == BROOD_ALL_COMPLETED)
            return;
        list_leave(entry);
        list_join(entry, &waited_pool->named);
    }
}

/* The next waited pool with unfinished futures, after `waited_pool` or, if that is NULL, from the first one on. */
static struct waited_pool *next_waited_pool(struct wait_set *wait_set, struct waited_pool *waited_pool)
{
    waited_pool = waited_pool ? waited_pool->next : wait_set->waited_pools;
    brood__lock(&wait_set->lock);
    while (waited_pool && waited_pool->unfinished == 0)
        waited_pool = waited_pool->next;
    brood__unlock(&wait_set->lock);
    return waited_pool;
}

/* Collects in every pool, and runs deferred work.  Returns 1 if there may be more to do at once. */
static int set_make_progress(void *waiter)
{
    struct wait_set *wait_set = waiter;
    int r = 0;

    for (struct waited_pool *waited_pool = next_waited_pool(wait_set, NULL); waited_pool;
         waited_pool = next_waited_pool(wait_set, waited_pool)) {
        int entered = brood__pool_enter(waited_pool->pool);

        if (entered < 0)
            return entered;
        if (!collect_and_look(waited_pool->pool, &waited_pool->condition) &&
            brood__make_progress(waited_pool->pool, &waited_pool->condition))
            r = 1;
        brood__pool_leave(waited_pool->pool);
    }
    return r;
}

/* Sleep places of the pools that have unfinished futures: the others' memory may be gone. */
static struct sleep_place *places_of(struct wait_set *wait_set)
{
    struct sleep_place *first = NULL, **end = &first;

    for (struct waited_pool *waited_pool = next_waited_pool(wait_set, NULL); waited_pool;
         waited_pool = next_waited_pool(wait_set, waited_pool)) {
        waited_pool->place.next = NULL;
        *end = &waited_pool->place;
        end = &waited_pool->place.next;
    }
    return first;
}

static bool set_sleep_is_needless(void *waiter, struct futex_word *ret_word)
{
    struct wait_set *wait_set = waiter;
    bool needless;

    brood__lock(&wait_set->lock);
    *ret_word =
        (struct futex_word){&wait_set->notifications, atomic_load_explicit(&wait_set->notifications, memory_order_relaxed)};
    wait_set->is_asleep = true;
    needless = is_over(wait_set) || wait_set->has_moved;
    brood__unlock(&wait_set->lock);
    return needless;
}

static void set_sleep(void *waiter, brood_deadline deadline)
{
    struct wait_set *wait_set = waiter;

    brood__lock(&wait_set->lock);
    wait_set->has_moved = false;
    brood__unlock(&wait_set->lock);
    brood__sleep(places_of(wait_set), &(struct sleep_extra){set_sleep_is_needless, wait_set}, wait_set->words, deadline);
    brood__lock(&wait_set->lock);
    wait_set->is_asleep = false;
    brood__unlock(&wait_set->lock);
}

static _Thread_local struct spinner spinner = SPINNER;

/* Spins, as brood__wait() does: a hot worker answers sooner than a thread can be woken. */
static void set_spin(void *waiter, brood_deadline deadline)
{
    struct wait_set *wait_set = waiter;
    int64_t now = brood__now_ns(), until = brood__spin_begin(&spinner, now);
    struct waited_pool *waited_pool = next_waited_pool(wait_set, NULL);
    bool over = false;

    while (waited_pool && !over && now < until && now < deadline.ns) {
        brood__lock(&waited_pool->pool->lock);
        brood__collect_all(waited_pool->pool);
        brood__unlock(&waited_pool->pool->lock);
        over = set_look(wait_set);
        now = brood__spin_yield(&spinner);
        waited_pool = next_waited_pool(wait_set, waited_pool);
        if (!waited_pool)
            waited_pool = next_waited_pool(wait_set, NULL);
    }
    brood__spin_end(&spinner, over);
}

/* 1: it has run one; else the last error of a future that this thread runs itself, or 0. */
static int list_help(const struct entry *first, int own)
{
    for (const struct entry *entry = first; entry; entry = entry->next) {
        int r = brood__future_ops(entry->future)->help(entry->future);

        if (r > 0)
            return r;
        own = r < 0 ? r : own;
    }
    return own;
}

/* For the futures of one pool, in which this thread is a worker. */
static int waited_pool_help(const struct wait_set *wait_set, struct waited_pool *waited_pool)
{
    int r = list_help(waited_pool->unnamed, 0);

    if (r <= 0)
        r = list_help(waited_pool->named, r);
    /* A wait for one of several futures is no deadlock although this thread runs another of them. */
    return r > 0 || wait_set->until == BROOD_ALL_COMPLETED || wait_set->count == 1 ? r : 0;
}

/* As brood__wait() does. */
static int set_help(void *waiter, brood_deadline deadline)
{
    struct wait_set *wait_set = waiter;
    int r = 0;

    for (struct waited_pool *waited_pool = next_waited_pool(wait_set, NULL); waited_pool && r == 0;
         waited_pool = next_waited_pool(wait_set, waited_pool)) {
        if (!wait_may_help(waited_pool->pool, deadline))
            continue;
        r = brood__pool_enter(waited_pool->pool);
        if (r < 0)
            return r;
        r = waited_pool_help(wait_set, waited_pool);
        brood__pool_leave(waited_pool->pool);
    }
    return r;
}

static bool set_is_over(void *waiter)
{
    return set_look(waiter);
}

static const struct wait_ops set_ops = {
    .is_over = set_is_over,
    .make_progress = set_make_progress,
    .help = set_help,
    .spin = set_spin,
    .sleep_once = set_sleep,
};

/* 0; -ETIMEDOUT, or -EAGAIN for BROOD_NOW; -EPERM; -EDEADLK. */
static int await(struct wait_set *wait_set, brood_deadline deadline)
{
    return wait_by(&set_ops, wait_set, deadline);
}

/* Calls the callbacks of a future before a wait for it returns.  The program frees no future before it is returned. */
static void call_callbacks(struct brood_pool *pool)
{
    if (brood__pool_enter(pool) < 0)
        return;
    (void)brood__call_due(pool);
    brood__pool_leave(pool);
}

/* Locked by the wait set. */
static int fail_timeout(const struct wait_set *wait_set, int error)
{
    return brood_fail(error, "%zu (of %zu) futures unfinished", wait_set->unfinished, wait_set->count);
}

static bool has_timed_out(int r)
{
    return r == -ETIMEDOUT || r == -EAGAIN;
}

/* ---- the calls ---- */

static void report(struct wait_set *wait_set, struct brood_future *const *futures, size_t n, bool *ret_done)
{
    for (size_t i = 0; ret_done && i < n; i++)
        ret_done[i] = (*place_of(wait_set, futures[i]))->is_notified;
}

int brood_futures_wait(struct brood_future *const *futures, size_t n, enum brood_until until, bool *ret_done,
                       brood_deadline deadline)
{
    struct wait_set wait_set;
    int r;

    if ((unsigned)until > BROOD_FIRST_EXCEPTION)
        return brood_fail(-EINVAL, "there is no way to wait %d", (int)until);
    r = set_open(&wait_set, futures, n, until);
    if (r < 0)
        return r;
    r = await(&wait_set, deadline);
    for (struct waited_pool *waited_pool = wait_set.waited_pools; waited_pool; waited_pool = waited_pool->next)
        call_callbacks(waited_pool->pool);
    brood__lock(&wait_set.lock);
    if (r == 0)
        r = (int)(wait_set.count - wait_set.unfinished);
    else if (has_timed_out(r))
        r = fail_timeout(&wait_set, r);
    report(&wait_set, futures, n, ret_done);
    brood__unlock(&wait_set.lock);
    set_close(&wait_set);
    return r;
}

struct brood_as_completed {
    struct wait_set wait_set;
};

int brood_as_completed_open(struct brood_as_completed **ret_iterator, struct brood_future *const *futures, size_t n)
{
    struct brood_as_completed *iterator = malloc(sizeof(*iterator));
    int r =
        iterator ? set_open(&iterator->wait_set, futures, n, BROOD_FIRST_COMPLETED) : brood_fail(-ENOMEM, "out of memory");

    if (r < 0)
        free(iterator);
    else
        *ret_iterator = iterator;
    return r;
}

static struct entry *take_ready(struct wait_set *wait_set)
{
    struct entry *entry;

    brood__lock(&wait_set->lock);
    entry = wait_set->ready;
    if (entry) {
        wait_set->ready = entry->next;
        if (!entry->next)
            wait_set->ready_end = &wait_set->ready;
    }
    brood__unlock(&wait_set->lock);
    return entry;
}

int brood_as_completed_next(struct brood_as_completed *iterator, struct brood_future **ret_future, brood_deadline deadline)
{
    struct wait_set *wait_set = &iterator->wait_set;
    int r = await(wait_set, deadline);
    struct entry *entry = take_ready(wait_set);

    if (entry) {
        if (entry->future->pool)
            call_callbacks(entry->future->pool);
        entry->is_given = true;
        *ret_future = entry->future;
        return 0;
    }
    if (!has_timed_out(r))
        return r < 0 ? r : brood_fail(-ENODATA, "all futures have been given");
    brood__lock(&wait_set->lock);
    r = fail_timeout(wait_set, r);
    brood__unlock(&wait_set->lock);
    return r;
}

void brood_as_completed_close(struct brood_as_completed *iterator)
{
    if (!iterator)
        return;
    set_close(&iterator->wait_set);
    free(iterator);
}
