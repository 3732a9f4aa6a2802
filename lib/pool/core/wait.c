#include <errno.h>

#include "os/clock.h"
#include "os/fence.h"
#include "os/futex.h"
#include "pool/core/deferred.h"
#include "pool/core/interrupt.h"
#include "pool/core/jobs.h"
#include "pool/core/kind.h"
#include "pool/core/placement.h"
#include "pool/core/slots.h"
#include "pool/core/teardown.h"
#include "pool/core/wait.h"
#include "shm/spin.h"

/* Workers can corrupt the memory that says which threads to wake, so every sleeper re-checks at this interval. */
#define UNASKED_NS 250000000

/* Where the kernel does not mark the supervisor's life word, a sleeper checks at this interval whether the supervisor
 * lives. */
#define UNMARKED_NS 5000000

/* A thread re-checks at this interval if there is no free parker for it, or if it cannot be sure to be woken. */
#define UNPARKED_NS 1000000

static bool is_settled(const struct slot *slot, uint64_t position)
{
    uint64_t word = slot_look(slot);

    return brood__word_is_over(word, position) || word_position(word) != position;
}

static _Thread_local struct spinner spinner = SPINNER;

static void poll_on(const struct slot *slot, uint64_t position, int64_t until)
{
    do
        for (int i = 0; i < POLLS_PER_CLOCK; i++) {
            if (is_settled(slot, position))
                return;
            brood__pause();
        }
    while (brood__spin_look(&spinner, brood__now_ns()) < until);
}

/* On crowded CPUs the waiter yields its CPU to the worker that may bring the answer.  A switch there and back costs a
 * tenth of a sleep and its wake-up, and the worker returns with all its work done, not only the one task.  The worker
 * may also return a tick later, so the waiter reads the clock each time: a thread that yields from tick to tick looks to
 * the kernel like one that needs the CPU, and the kernel moves workers out of its way, onto each other's CPUs. */
static void yield_on(const struct slot *slot, uint64_t position, int64_t until)
{
    while (brood__spin_yield(&spinner) < until && !is_settled(slot, position))
        ;
}

static void poll_job(struct brood_pool *pool, struct wait_condition *condition, brood_deadline deadline)
{
    struct job *job = condition->next_job(pool, condition, NULL);
    int64_t until;

    if (!job)
        return;
    bool crowded = brood__is_crowded(&pool->shared);

    until = brood__spin_begin(&spinner, brood__now_ns());
    if (until == 0)
        return;
    const struct lane *lane = &pool->shared.lanes[job->lane];
    const struct slot *slot = &lane->slots[lane_index(lane, job->position)];
    uint64_t position = job->position;

    brood__unlock(&pool->lock);
    until = until < deadline.ns ? until : deadline.ns;
    if (crowded)
        yield_on(slot, position, until);
    else
        poll_on(slot, position, until);
    brood__lock(&pool->lock);
    brood__spin_end(&spinner, brood__word_is_over(slot_look(slot), position));
}

/* Host threads write `asleep` with the lock held; workers and the supervisor read it.  Relaxed, both: the store of a
 * waiter in a slot, or the waiter's heavy fence, orders it (header.h). */
static void set_asleep(struct brood_pool *pool, uint64_t asleep)
{
    pool->sleepers.asleep = asleep;
    atomic_store_explicit(&pool->shared.header->asleep, asleep, memory_order_relaxed);
}

static unsigned use_parker(struct brood_pool *pool, unsigned parker)
{
    set_asleep(pool, pool->sleepers.asleep | (uint64_t)1 << parker);
    return parker;
}

/* A waiter that returns to its own parker gets one of the upper half, each a different one, so that the other waiters,
 * of which there are few at a time, leave it free. */
static unsigned pick_parker(struct brood_pool *pool, const struct wait_condition *condition)
{
    unsigned own = condition->named_parker;

    if (condition->announce && own == 0) {
        pool->sleepers.last_kept = (pool->sleepers.last_kept + 1) % (HEADER_PARKERS / 2 - 1);
        own = HEADER_PARKERS / 2 + pool->sleepers.last_kept;
    }
    return own > 0 && pool->sleepers.free_parkers >> own & 1 ? own : (unsigned)__builtin_ctzll(pool->sleepers.free_parkers);
}

static unsigned take_parker(struct brood_pool *pool, const struct wait_condition *condition)
{
    unsigned parker;

    if (!pool->sleepers.free_parkers)
        return 0;
    parker = pick_parker(pool, condition);
    pool->sleepers.free_parkers &= ~((uint64_t)1 << parker);
    return use_parker(pool, parker);
}

static void give_parker(struct brood_pool *pool, unsigned parker)
{
    if (parker == 0)
        return;
    if (parker != EVENT_THREAD_PARKER)
        pool->sleepers.free_parkers |= (uint64_t)1 << parker;
    set_asleep(pool, pool->sleepers.asleep & ~((uint64_t)1 << parker));
}

void brood__announce_in(struct brood_pool *pool, const struct job *job, unsigned parker)
{
    brood__assert_locked(pool);
    struct lane *lane = &pool->shared.lanes[job->lane];
    uint32_t index = lane_index(lane, job->position);
    uint8_t *waiter = &pool->shadows[job->lane].waiters[index];

    *waiter = (uint8_t)slot_add_waiter(&lane->slots[index], *waiter, parker);
}

/* Names the parker in every slot whose settling may end the wait. */
static void condition_announce(struct brood_pool *pool, struct wait_condition *condition, unsigned parker)
{
    if (condition->announce) {
        condition->announce(pool, condition, parker);
        condition->named_parker = parker;
        return;
    }
    for (struct job *job = condition->next_job(pool, condition, NULL); job; job = condition->next_job(pool, condition, job))
        brood__announce_in(pool, job, parker);
}

void brood__announce_each(struct brood_pool *pool, next_job_fn *next_job, unsigned parker)
{
    brood__assert_locked(pool);
    condition_announce(pool, &(struct wait_condition){.next_job = next_job}, parker);
}

/* Does deferred work of that kind wait for a job, for a thread that may be silent? */
static bool deferred_is_waiting(const struct deferred *kind, const struct brood_pool *pool, bool is_silent)
{
    return kind->is_waiting && deferred_has_work(kind, pool, is_silent) && kind->is_waiting(pool);
}

static bool any_is_waiting(const struct brood_pool *pool, bool is_silent)
{
    for (const struct deferred *const *kind = brood__deferred; *kind; kind++)
        if (deferred_is_waiting(*kind, pool, is_silent))
            return true;
    return false;
}

static bool any_is_due(struct brood_pool *pool, bool is_silent)
{
    for (const struct deferred *const *kind = brood__deferred; *kind; kind++)
        if (deferred_has_work(*kind, pool, is_silent) && (*kind)->is_due(pool))
            return true;
    return false;
}

/* Does the wait end when any job is settled? */
static bool awaits_anything(const struct brood_pool *pool, const struct wait_condition *condition)
{
    return condition->next_job == brood__middle_job || condition->next_job == brood__early_job ||
           condition->next_job == brood__no_job || any_is_waiting(pool, condition->is_silent);
}

/* parker.h says why there is a second check.  Of many jobs, the waiter chose some in which to name the parker: if one of
 * these is over already, it has to choose others. */
static bool sleep_is_needless(struct brood_pool *pool, struct wait_condition *condition, uint64_t settled)
{
    brood__check_life(pool);   /* a death before this thread had named its parker is not reported again */
    brood__collect_lost(pool); /* nor is a lost task */
    if (brood__interrupt_cancels(pool) || condition->is_ready(pool, condition) || any_is_due(pool, condition->is_silent))
        return true;
    if (awaits_anything(pool, condition))
        brood__collect_claimed(pool);
    if (pool->counts.settled != settled && awaits_anything(pool, condition))
        return true;
    brood__placement_leave(pool);
    if (brood__watcher_any(pool->shared.header) && brood__any_waiting(&pool->shared))
        (void)brood__idle_wake_any(&pool->shared, NULL); /* the watcher would look only later */
    return false;
}

/* No process has woken this thread: there is nothing new, or a worker has overwritten the memory that says which threads to wake,
 * or whether the supervisor lives. */
static void look_unasked(struct brood_pool *pool)
{
    if (!pool->ops->is_alive(pool))
        pool->life.torn = brood__interrupt_kills(pool) ? brood__torn_interrupted : brood__torn_supervisor_died;
    for (unsigned i = 0; i < pool->size.max; i++)
        if (pool->shadows[i].outstanding > 0) {
            brood__parker_wake(&pool->shared.lanes[i].worker_state->parker);
            brood__scale_up(pool, i);
        }
    brood__collect_scattered(pool);
}

/* Names the parker for the deferred work that waits for jobs.  Returns when some of it becomes due by itself. */
static brood_deadline announce_deferred(struct brood_pool *pool, unsigned parker, bool is_silent)
{
    brood_deadline until = BROOD_FOREVER;

    for (const struct deferred *const *kind = brood__deferred; *kind; kind++) {
        bool has_work = deferred_has_work(*kind, pool, is_silent);
        brood_deadline next = has_work && (*kind)->next ? (*kind)->next(pool) : BROOD_FOREVER;

        if (!brood__is_past(next)) /* else it waits for room */
            until = brood__sooner(until, next);
        if (deferred_is_waiting(*kind, pool, is_silent))
            (*kind)->announce(pool, parker);
    }
    return until;
}

/* Takes a parker, and reads its generation before any process knows of it. */
static void place_begin(struct brood_pool *pool, struct sleep_place *place, struct futex_word **words)
{
    struct header *header = pool->shared.header;
    unsigned own = place->condition->parker;

    place->parker = own ? use_parker(pool, own) : take_parker(pool, place->condition);
    place->alive = life_is_broken(pool->life.state) ? 0 : pool->life.word; /* the host has handled a broken pool already */
    place->settled = pool->counts.settled;
    place->unasked =
        place->alive ? brood__after_ns(brood__life_is_marked(place->alive) ? UNASKED_NS : UNMARKED_NS) : BROOD_FOREVER;
    struct parker *parker = &header->parkers[place->parker];

    *(*words)++ = (struct futex_word){&parker->generation, brood__parker_look(parker)};
    if (place->alive)
        *(*words)++ = (struct futex_word){&header->life, place->alive};
}

/* Names the parker wherever it may be needed.  Returns until when the thread may sleep. */
static brood_deadline place_announce(struct brood_pool *pool, struct sleep_place *place)
{
    brood_deadline until = place->unasked;

    if (place->parker == 0)
        until = brood__sooner(until, brood__after_ns(UNPARKED_NS));
    else
        condition_announce(pool, place->condition, place->parker);
    return brood__sooner(until, announce_deferred(pool, place->parker, place->condition->is_silent));
}

/* Appends the words to sleep on to *words. */
static brood_deadline place_enter(struct sleep_place *place, struct futex_word **words)
{
    struct brood_pool *pool = place->pool;
    brood_deadline until;

    brood__lock(&pool->lock);
    pool->users.inside++;
    place->is_inside = true;
    place_begin(pool, place, words);
    until = place_announce(pool, place);
    brood__unlock(&pool->lock);
    return until;
}

static bool place_is_needless(struct sleep_place *place)
{
    bool needless;

    brood__lock(&place->pool->lock);
    needless = sleep_is_needless(place->pool, place->condition, place->settled);
    brood__unlock(&place->pool->lock);
    return needless;
}

static void place_leave(struct sleep_place *place, bool has_slept)
{
    struct brood_pool *pool = place->pool;

    brood__lock(&pool->lock);
    place->is_inside = false;
    give_parker(pool, place->parker);
    if (has_slept && !life_is_closed(pool->life.state) && brood__is_past(place->unasked))
        look_unasked(pool);
    /* The kernel notifies one sleeper of the supervisor's death; that one wakes the others. */
    brood__check_life(pool);
    brood__pool_leave(pool);
}

/* The waiter has stored its parker in the slots, and loads the slots' words after the heavy fence. */
void brood__sleep(struct sleep_place *first, const struct sleep_extra *extra, struct futex_word *words,
                  brood_deadline deadline)
{
    struct futex_word *end = words;
    bool needless = false;

    for (struct sleep_place *place = first; place; place = place->next)
        deadline = brood__sooner(deadline, place_enter(place, &end));
    /* pairs with the light fence of a worker after it has stored a slot's word, and with the fence in brood__wake_host() */
    if (first && !brood__fence_heavy())
        deadline = brood__sooner(deadline, brood__after_ns(UNPARKED_NS));
    for (struct sleep_place *place = first; place; place = place->next)
        needless |= place_is_needless(place);
    if (extra)
        needless |= extra->is_needless(extra->waiter, end++);
    if (!needless)
        (void)brood__futex_wait_any(words, (size_t)(end - words), deadline);
    for (struct sleep_place *place = first; place; place = place->next)
        place_leave(place, !needless);
}

bool brood__make_progress(struct brood_pool *pool, struct wait_condition *condition)
{
    brood__assert_locked(pool);
    brood__check_life(pool);
    if (brood__interrupt_cancels(pool))
        brood__pool_cancel(pool);
    brood__collect_lost(pool);
    if (!brood__run_deferred(pool, condition->is_silent))
        return false;
    brood__run_inline(pool);
    return true;
}

/* ---- a wait in one pool ---- */

struct pool_waiter {
    struct brood_pool *pool;
    struct wait_condition *condition;
};

static bool waiter_is_over(void *subject)
{
    struct pool_waiter *waiter = subject;

    return waiter->condition->is_ready(waiter->pool, waiter->condition);
}

static int waiter_make_progress(void *subject)
{
    struct pool_waiter *waiter = subject;

    return brood__make_progress(waiter->pool, waiter->condition);
}

static int waiter_help(void *subject, brood_deadline deadline)
{
    struct pool_waiter *waiter = subject;

    if (!waiter->condition->help || !wait_may_help(waiter->pool, deadline))
        return 0;
    return waiter->condition->help(waiter->pool, waiter->condition);
}

static void waiter_spin(void *subject, brood_deadline deadline)
{
    struct pool_waiter *waiter = subject;

    poll_job(waiter->pool, waiter->condition, deadline);
}

static void waiter_sleep(void *subject, brood_deadline deadline)
{
    struct pool_waiter *waiter = subject;
    struct sleep_place place = {.pool = waiter->pool, .condition = waiter->condition};
    struct futex_word words[2];

    brood__unlock(&waiter->pool->lock);
    brood__sleep(&place, NULL, words, deadline);
    brood__lock(&waiter->pool->lock);
}

static const struct wait_ops waiter_ops = {
    .is_over = waiter_is_over,
    .make_progress = waiter_make_progress,
    .help = waiter_help,
    .spin = waiter_spin,
    .sleep_once = waiter_sleep,
};

int brood__wait(struct brood_pool *pool, struct wait_condition *condition, brood_deadline deadline)
{
    brood__assert_locked(pool);
    int r = wait_by(&waiter_ops, &(struct pool_waiter){pool, condition}, deadline);

    if (r == 0)
        deferred_run_after_wait(pool, condition->is_silent);
    return r;
}
