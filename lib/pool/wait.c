/* wait.c - how the host learns that something is over: by looking, by spinning, by sleeping. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>

#include "os/clock.h"
#include "os/fence.h"
#include "os/futex.h"
#include "pool/attendant.h"
#include "pool/backend.h"
#include "pool/backlog.h"
#include "pool/map.h"
#include "pool/placement.h"
#include "pool/pool.h"
#include "pool/retry.h"

/* While a lane is collected: so many slots are asked for ahead, since the worker has their lines. */
#define SLOTS_AHEAD 6

/* Whoever should wake a sleeper is told by memory that workers can write to.  So it looks again this often, unasked. */
#define UNASKED_NS 250000000

/* ---- settling ---- */

static void count_answer(struct brood_pool *pool, unsigned lane, unsigned worker)
{
    pool->mirrors[worker].answered++;
    if (worker != lane)
        pool->stolen++;
}

static void settle(struct brood_pool *pool, unsigned lane_number, uint32_t index, enum slot_state state, unsigned worker)
{
    struct mirror *mirror = &pool->mirrors[lane_number];
    struct lane *lane = &pool->shared.lanes[lane_number];
    struct slot *slot = &lane->slots[index];
    struct job *job = mirror->jobs[index];
    unsigned waiter = mirror->waiters[index];
    struct answer answer = {state, worker, slot, &lane->notes[index]};

    mirror->jobs[index] = NULL;
    mirror->waiters[index] = WAITER_NONE;
    mirror->outstanding--;
    mirror->is_starved = mirror->is_starved && mirror->outstanding > 0;
    pool->settled++;
    if (state == SLOT_DONE)
        count_answer(pool, lane_number, worker);
    job->in_lane = false;
    job->settle(pool, job, &answer);
    if (state == SLOT_LOST)
        brood__certificate_free(&pool->shared, read_once(answer.note->certificate));
    /* The worker wakes them too; but it may look at `waiter` only after the slot has been used again.  The attendant would
     * only do what is done here. */
    if (waiter != WAITER_NONE && waiter != ATTENDANT_PARKER && (waiter == WAITER_ALL || pool->asleep >> waiter & 1))
        brood__wake_waiter(pool->shared.board, waiter);
}

static const char supervisor_died[] = "its supervisor died";
static const char overwritten[] = "a worker has written over its memory";

/* May this stand in the slot of a job that is in a lane?  The host alone leaves it in any other way. */
static bool is_possible(const struct brood_pool *pool, uint64_t word, uint64_t position)
{
    enum slot_state state = word_state(word);

    return word_position(word) == position && word_worker(word) < pool->workers && state >= SLOT_READY &&
           state <= SLOT_LOST;
}

static bool is_over(uint64_t word, uint64_t position)
{
    enum slot_state state = word_state(word);

    return word_position(word) == position && (state == SLOT_DONE || state == SLOT_LOST);
}

bool brood__collect(struct brood_pool *pool, struct job *job)
{
    uint32_t index;
    uint64_t word;

    if (!job->in_lane)
        return false;
    index = lane_index(&pool->shared.lanes[job->lane], job->position);
    word = slot_look(&pool->shared.lanes[job->lane].slots[index]);
    if (!is_possible(pool, word, job->position)) {
        pool->torn = overwritten;
        return false;
    }
    if (!is_over(word, job->position))
        return false;
    settle(pool, job->lane, index, word_state(word), word_worker(word));
    return true;
}

void brood__collect_lane(struct brood_pool *pool, unsigned number)
{
    struct mirror *mirror = &pool->mirrors[number];
    const struct lane *lane = &pool->shared.lanes[number];
    struct job *last = mirror->jobs[lane_index(lane, MAILBOX)];

    if (last)
        (void)brood__collect(pool, last);
    if (mirror->tail - mirror->oldest > lane->mask) /* the others have been collected, and their slots used again */
        mirror->oldest = mirror->tail - lane->mask - 1;
    for (; mirror->oldest < mirror->tail; mirror->oldest++) {
        struct job *job = mirror->jobs[lane_index(lane, mirror->oldest)];

        __builtin_prefetch(&lane->slots[lane_index(lane, mirror->oldest + SLOTS_AHEAD)]);
        if (job && !brood__collect(pool, job))
            break;
    }
}

void brood__collect_all(struct brood_pool *pool)
{
    for (unsigned i = 0; i < pool->workers; i++)
        if (pool->mirrors[i].outstanding > 0)
            brood__collect_lane(pool, i);
}

/* Also what is over behind something that is not. */
static void collect_scattered(struct brood_pool *pool)
{
    for (unsigned i = 0; i < pool->workers; i++)
        for (uint32_t index = 0; pool->mirrors[i].outstanding > 0 && index <= pool->shared.lanes[i].mask + 1; index++)
            if (pool->mirrors[i].jobs[index])
                (void)brood__collect(pool, pool->mirrors[i].jobs[index]);
}

/* There are few certificates, so who waits for something else takes in what has died meanwhile, too. */
static void collect_lost(struct brood_pool *pool)
{
    const struct roll *roll = pool->shared.roll;
    uint64_t losses = roll ? atomic_load_explicit(&roll->losses, memory_order_acquire) : 0;

    if (losses == pool->losses)
        return;
    pool->losses = losses;
    collect_scattered(pool);
}

bool brood__is_claimed(struct brood_pool *pool, struct job *job)
{
    const struct lane *lane = &pool->shared.lanes[job->lane];

    return slot_look(&lane->slots[lane_index(lane, job->position)]) != word_of(SLOT_READY, 0, job->position);
}

bool brood__take_back(struct brood_pool *pool, struct job *job, enum slot_state state)
{
    struct lane *lane;
    uint32_t index;

    if (!job->in_lane)
        return false;
    lane = &pool->shared.lanes[job->lane];
    index = lane_index(lane, job->position);
    if (!slot_cancel(&lane->slots[index], job->position))
        return false;
    settle(pool, job->lane, index, state, 0);
    return true;
}

/* A thread goes on with what it runs, in memory that is its caller's, until the pool is closed. */
static void give_up(struct brood_pool *pool, unsigned lane, uint32_t index)
{
    struct job *job = pool->mirrors[lane].jobs[index];

    if (pool->backend->between_processes || pool->closed)
        settle(pool, lane, index, SLOT_FREE, 0);
    else {
        brood__map_stop(job);
        (void)brood__take_back(pool, job, SLOT_FREE);
    }
}

void brood__forget_waiting(struct brood_pool *pool, int outcome)
{
    brood__retry_forget_all(pool, outcome);
    brood__backlog_forget_all(pool, outcome);
}

void brood__settle_all(struct brood_pool *pool)
{
    for (unsigned i = 0; i < pool->workers; i++)
        for (uint32_t index = 0; index <= pool->shared.lanes[i].mask + 1; index++)
            if (pool->mirrors[i].jobs[index] && !brood__collect(pool, pool->mirrors[i].jobs[index]))
                give_up(pool, i, index);
    brood__forget_waiting(pool, -ESHUTDOWN);
    brood__maps_abandon(pool);
    brood__wake_waiter(pool->shared.board, WAITER_ALL);
}

/* Why the pool cannot go on, or NULL.  Until it is closed, the supervisor alone changes its state, to BROKEN, and the
 * kernel alone the word of its life. */
static const char *why(const struct brood_pool *pool)
{
    const struct board *board = pool->shared.board;
    enum board_state state = brood__board_state(board);
    uint32_t life = atomic_load(&board->life);

    if (pool->torn)
        return pool->torn;
    if (!brood__board_is_whole(&pool->shared))
        return overwritten;
    if (state == BOARD_BROKEN)
        return board->reason;
    if (life != pool->alive && brood__life_is_over(life))
        return supervisor_died;
    return state != BOARD_OPEN || life != pool->alive ? overwritten : NULL;
}

void brood__say_broken(struct brood_pool *pool, const char *reason)
{
    if (!pool->why_broken[0])
        (void)snprintf(pool->why_broken, sizeof(pool->why_broken), "the pool is broken: %.*s",
                       (int)sizeof(pool->shared.board->reason), reason);
}

void brood__check_life(struct brood_pool *pool)
{
    const char *reason;

    if (pool->broken || pool->closed)
        return;
    reason = why(pool);
    if (!reason)
        return;
    pool->broken = true;
    brood__say_broken(pool, reason);
    brood__settle_all(pool);
}

/* ---- waiting ---- */

static bool is_settled(const struct slot *slot, uint64_t position)
{
    uint64_t word = slot_look(slot);

    return is_over(word, position) || word_position(word) != position;
}

static void poll_on(const struct slot *slot, uint64_t position, int64_t until)
{
    do
        for (int i = 0; i < POLLS_PER_CLOCK; i++) {
            if (is_settled(slot, position))
                return;
            brood__pause();
        }
    while (brood__now_ns() < until);
}

/* In a crowd the CPU goes to whoever may bring the answer about: a switch there and back costs a tenth of a sleep and its
 * wake, and the worker comes back with all that it had to do, not with the one task that it was asked for.  It may also
 * come back a tick later, so the time is looked at each time: a thread that yields from tick to tick looks to the kernel
 * like one that wants the CPU, and has workers moved out of its way, onto each other's. */
static void yield_on(const struct slot *slot, uint64_t position, int64_t until)
{
    do
        (void)sched_yield();
    while (!is_settled(slot, position) && brood__now_ns() < until);
}

static void spin(struct brood_pool *pool, struct watch *watch, brood_deadline deadline)
{
    struct job *job = watch->next_job(pool, watch, NULL);
    int64_t until;

    if (!job)
        return;
    bool crowded = brood__is_crowded(&pool->shared);

    until = brood__now_ns() + pool->spin_ns;
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
    if (is_over(slot_look(slot), position))
        pool->spin_ns = pool->spin_ns * 2 < SPIN_NS_MAX ? pool->spin_ns * 2 : SPIN_NS_MAX;
    else
        pool->spin_ns = pool->spin_ns / 2 > SPIN_NS_MIN ? pool->spin_ns / 2 : SPIN_NS_MIN;
}

static void set_asleep(struct brood_pool *pool, uint64_t asleep)
{
    pool->asleep = asleep;
    atomic_store(&pool->shared.board->asleep, asleep);
}

static unsigned use_parker(struct brood_pool *pool, unsigned parker)
{
    set_asleep(pool, pool->asleep | (uint64_t)1 << parker);
    return parker;
}

static unsigned take_parker(struct brood_pool *pool)
{
    unsigned parker;

    if (!pool->parkers_free)
        return 0;
    parker = (unsigned)__builtin_ctzll(pool->parkers_free);
    pool->parkers_free &= pool->parkers_free - 1;
    return use_parker(pool, parker);
}

static void give_parker(struct brood_pool *pool, unsigned parker)
{
    if (parker == 0)
        return;
    if (parker != ATTENDANT_PARKER)
        pool->parkers_free |= (uint64_t)1 << parker;
    set_asleep(pool, pool->asleep & ~((uint64_t)1 << parker));
}

void brood__announce_in(struct brood_pool *pool, const struct job *job, unsigned parker)
{
    struct lane *lane = &pool->shared.lanes[job->lane];
    uint32_t index = lane_index(lane, job->position);
    uint8_t *waiter = &pool->mirrors[job->lane].waiters[index];

    *waiter = (uint8_t)slot_add_waiter(&lane->slots[index], *waiter, parker);
}

/* Names the parker in every slot whose settling may end the wait. */
static void announce(struct brood_pool *pool, struct watch *watch, unsigned parker)
{
    for (struct job *job = watch->next_job(pool, watch, NULL); job; job = watch->next_job(pool, watch, job))
        brood__announce_in(pool, job, parker);
}

void brood__announce_all(struct brood_pool *pool, unsigned parker)
{
    announce(pool, &(struct watch){.next_job = brood__every_job}, parker);
}

/* Does it end when anything is settled, whatever that is? */
static bool awaits_anything(const struct brood_pool *pool, const struct watch *watch)
{
    return watch->next_job == brood__middle_job || watch->next_job == brood__every_job ||
           watch->next_job == brood__no_job || pool->stalled || pool->again || pool->backlog.count > 0 ||
           pool->yielding > 0 || (!watch->is_silent && pool->calls_awaited > 0);
}

/* parker.h says why there is a second look.  Of many jobs, some were chosen to name the parker: should one have been over
 * already, others have to be. */
bool brood__nap_is_needless(struct brood_pool *pool, struct watch *watch, const struct nap *nap)
{
    brood__check_life(pool); /* said before this thread was announced, and not again */
    collect_lost(pool);      /* so is this */
    if (watch->is_ready(pool, watch) || brood__maps_need_turn(pool) || brood__retry_is_due(pool) ||
        brood__backlog_is_due(pool) || (!watch->is_silent && brood__calls_are_due(pool)))
        return true;
    if (awaits_anything(pool, watch))
        collect_scattered(pool);
    if (pool->settled != nap->settled && awaits_anything(pool, watch))
        return true;
    brood__placement_leave(pool);
    if (brood__lookout_any(pool->shared.board) && brood__any_waiting(&pool->shared))
        (void)brood__idle_wake_any(&pool->shared); /* it would have looked some time, but now somebody waits */
    return false;
}

/* Nobody has woken this thread: because there is nothing new, or because a worker has written over what tells whom to
 * wake, or whether the supervisor lives. */
static void look_unasked(struct brood_pool *pool)
{
    if (!pool->backend->is_alive(pool))
        pool->torn = supervisor_died;
    for (unsigned i = 0; i < pool->workers; i++)
        if (pool->mirrors[i].outstanding > 0) {
            brood__parker_wake(&pool->shared.lanes[i].station->parker);
            brood__call_rested(pool, i);
        }
}

void brood__nap_begin(struct brood_pool *pool, struct watch *watch, struct nap *ret_nap)
{
    unsigned parker = watch->parker ? use_parker(pool, watch->parker) : take_parker(pool);
    uint32_t alive = pool->broken ? 0 : pool->alive; /* of a broken pool the life has been heard of */
    brood_deadline again = brood__retry_next(pool), until;

    *ret_nap = (struct nap){
        .parker = parker,
        .seen = brood__parker_look(&pool->shared.board->parkers[parker]),
        .alive = alive,
        .settled = pool->settled,
        .unasked = alive ? brood__after_ns(UNASKED_NS) : BROOD_FOREVER,
    };
    until = ret_nap->unasked;
    if (parker == 0)
        until = brood__sooner(until, brood__after_ns(UNPARKED_NS));
    else
        announce(pool, watch, parker);
    if (!brood__is_past(again)) /* else it waits for room, as below */
        until = brood__sooner(until, again);
    if (pool->stalled || pool->again) /* they wait for room in a lane */
        announce(pool, &(struct watch){.next_job = brood__middle_job}, parker);
    if (pool->backlog.count > 0)
        announce(pool, &(struct watch){.next_job = brood__backlog_job}, parker);
    if (!watch->is_silent && pool->calls_awaited > 0 && brood__callers_wait(pool))
        brood__announce_all(pool, parker);
    ret_nap->until = until;
}

void brood__nap_end(struct brood_pool *pool, const struct nap *nap, bool has_slept)
{
    give_parker(pool, nap->parker);
    if (has_slept && !pool->closed && brood__is_past(nap->unasked))
        look_unasked(pool);
    /* The kernel tells one sleeper of the supervisor's death; the others hear of it from that one. */
    brood__check_life(pool);
}

/* Sleeps until something may have happened. */
static void sleep_once(struct brood_pool *pool, struct watch *watch, brood_deadline deadline)
{
    struct board *board = pool->shared.board;
    struct nap nap;
    bool needless;

    brood__nap_begin(pool, watch, &nap);
    deadline = brood__sooner(deadline, nap.until);
    brood__unlock(&pool->lock);
    if (!brood__fence_heavy())
        deadline = brood__sooner(deadline, brood__after_ns(UNPARKED_NS));
    brood__lock(&pool->lock);
    needless = brood__nap_is_needless(pool, watch, &nap);
    brood__unlock(&pool->lock);
    if (!needless)
        brood__parker_sleep(&board->parkers[nap.parker], nap.seen, nap.alive ? &board->life : NULL, nap.alive, deadline);
    brood__lock(&pool->lock);
    brood__nap_end(pool, &nap, !needless);
}

bool brood__take_turn(struct brood_pool *pool)
{
    return brood__maps_turn(pool) || brood__retry_due(pool) || brood__backlog_feed(pool);
}

bool brood__bring_on(struct brood_pool *pool, struct watch *watch)
{
    brood__check_life(pool);
    collect_lost(pool);
    if (brood__take_turn(pool)) {
        brood__run_inline(pool);
        return true;
    }
    return !watch->is_silent && brood__call_due(pool) > 0;
}

int brood__wait(struct brood_pool *pool, struct watch *watch, brood_deadline deadline)
{
    bool has_spun = false;

    while (!watch->is_ready(pool, watch)) {
        if (brood__bring_on(pool, watch))
            continue;
        if (watch->is_ready(pool, watch))
            break;
        if (brood__is_past(deadline))
            return -ETIMEDOUT;
        if (has_spun)
            sleep_once(pool, watch, deadline);
        else
            spin(pool, watch, deadline);
        has_spun = true;
    }
    return 0;
}
