/* Who comes enters the cycle, with the lock, and sleeps until the generation moves, without it.  The last one ends the
 * cycle: it stores whether the cycle was broken, and moves the generation.  Nobody has to leave before the next cycle
 * begins, so one that is stopped on its way out holds up nobody.
 *
 * Whoever dies with the lock was in a wait, an abort or a reset that is half done: the next one, who is told, breaks the
 * barrier, and that makes all of it whole.  Whoever dies asleep is in the roster, and found by those who look. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <brood/barrier.h>

#include "os/error.h"
#include "sync/claim.h"
#include "sync/roster.h"
#include "sync/sleep.h"

_Static_assert(sizeof(struct brood_barrier) == 64 + 16 * BROOD_BARRIER_PROCESSES, "shared layout");

enum { BROKEN = 1, ACTING = 2 }; /* of the state: ACTING while the last one runs its action, without the lock */

#define HISTORY 64 /* cycles */

static struct roster_entry *roster_of(struct brood_barrier *barrier)
{
    return (struct roster_entry *)(void *)barrier->roster;
}

/* Written with the lock, by who ends a cycle, after all else: release.  Read and slept on without: acquire. */
static _Atomic uint32_t *generation_of(struct brood_barrier *barrier)
{
    return (_Atomic uint32_t *)&barrier->generation;
}

static uint32_t look(struct brood_barrier *barrier)
{
    return atomic_load_explicit(generation_of(barrier), memory_order_acquire);
}

/* These are written with the lock and may be read without: relaxed. */
static void set(uint32_t *field, uint32_t value)
{
    atomic_store_explicit((_Atomic uint32_t *)field, value, memory_order_relaxed);
}

static uint32_t get(const uint32_t *field)
{
    return atomic_load_explicit((const _Atomic uint32_t *)field, memory_order_relaxed);
}

/* ---- making one ---- */

int brood_barrier_init(struct brood_barrier *barrier, int parties)
{
    if (parties < 1)
        return brood_fail(-EINVAL, "a barrier for %d parties: it takes 1 or more", parties);
    memset(barrier, 0, sizeof(*barrier));
    barrier->parties = (uint32_t)parties;
    return 0;
}

void brood_barrier_set_timeout(struct brood_barrier *barrier, int64_t timeout_ms)
{
    int64_t ns;

    if (__builtin_mul_overflow(timeout_ms, 1000000, &ns) || ns < 0)
        ns = 0;
    barrier->timeout_ns = ns;
}

/* ---- cycles, with the lock ---- */

static void wake_all(struct brood_barrier *barrier)
{
    (void)brood__futex_wake(generation_of(barrier), INT_MAX);
}

/* All who have entered are out of it from here on. */
static void end_cycle(struct brood_barrier *barrier, bool broken)
{
    uint64_t bit = UINT64_C(1) << (barrier->generation % HISTORY);
    uint64_t history = broken ? barrier->history | bit : barrier->history & ~bit;

    atomic_store_explicit((_Atomic uint64_t *)&barrier->history, history, memory_order_release); /* pairs with outcome() */
    for (uint32_t i = 0; i < barrier->entries; i++)
        roster_of(barrier)[i].waiting = 0;
    set(&barrier->arrived, 0);
    set(&barrier->state, broken ? BROKEN : 0);
    atomic_store_explicit(generation_of(barrier), barrier->generation + 1, memory_order_release);
    wake_all(barrier);
}

static void acquire(struct brood_barrier *barrier)
{
    if (claim_take(&barrier->lock.word, brood__self(), brood__identity_is_dead, BROOD_FOREVER) == -EOWNERDEAD)
        end_cycle(barrier, true);
}

static void release(struct brood_barrier *barrier)
{
    (void)claim_give(&barrier->lock.word);
}

/* One look in LOOK_AGAIN_NS does for all who wait, whose slices end at different times; so a bit less is due. */
static bool is_look_due(struct brood_barrier *barrier)
{
    _Atomic int64_t *looked = (_Atomic int64_t *)&barrier->looked_ns;
    int64_t now = brood__now_ns();

    if (now - atomic_load_explicit(looked, memory_order_relaxed) < LOOK_AGAIN_NS * 3 / 4)
        return false;
    atomic_store_explicit(looked, now, memory_order_relaxed);
    return true;
}

static void break_if_dead(struct brood_barrier *barrier)
{
    if (barrier->arrived > 0 && is_look_due(barrier) && roster_bury(roster_of(barrier), barrier->entries))
        end_cycle(barrier, true);
}

void brood_barrier_abort(struct brood_barrier *barrier)
{
    acquire(barrier);
    end_cycle(barrier, true);
    release(barrier);
}

void brood_barrier_reset(struct brood_barrier *barrier)
{
    acquire(barrier);
    if (barrier->arrived > 0)
        end_cycle(barrier, true);
    set(&barrier->state, 0);
    release(barrier);
}

/* ---- waiting ---- */

static int broken(void)
{
    return brood_fail(-ENOTRECOVERABLE, "the barrier is broken: a party gave up, failed or died; brood_barrier_reset() "
                                        "makes it whole");
}

/* Of a cycle that has ended.  Acquire: who sees a history that is newer than the cycle by 64 sees the generation that it
 * was stored in.  Who has slept through 64 more of them, because there are more that come than parties and it was stopped,
 * counts as let through. */
static int outcome(struct brood_barrier *barrier, uint32_t mine, uint32_t index)
{
    uint64_t history = atomic_load_explicit((const _Atomic uint64_t *)&barrier->history, memory_order_acquire);

    if (look(barrier) - mine >= HISTORY || !(history >> (mine % HISTORY) & 1))
        return (int)index;
    return broken();
}

static int give_up(struct brood_barrier *barrier, uint32_t mine, uint32_t index, brood_deadline deadline)
{
    bool is_over;

    acquire(barrier);
    is_over = barrier->generation != mine;
    if (!is_over)
        end_cycle(barrier, true);
    release(barrier);
    if (is_over)
        return outcome(barrier, mine, index);
    return brood_fail(too_late(deadline), "not all parties came to the barrier until the deadline: now it is broken");
}

static void look_for_dead(struct brood_barrier *barrier)
{
    acquire(barrier);
    break_if_dead(barrier);
    release(barrier);
}

static void spin(struct brood_barrier *barrier, uint32_t mine)
{
    for (int i = 0; i < SPINS && brood__spinning_pays() && look(barrier) == mine; i++)
        brood__pause();
}

/* Also of who dies with the lock: whoever looks acquires it.  False: the deadline has passed. */
static bool sleep_until_over(struct brood_barrier *barrier, uint32_t mine, brood_deadline deadline)
{
    spin(barrier, mine);
    while (look(barrier) == mine) {
        if (brood__is_past(deadline))
            return false;
        if (sleep_a_slice(generation_of(barrier), mine, deadline) == -ETIMEDOUT)
            look_for_dead(barrier);
    }
    return true;
}

/* There are more that come than parties: the next cycle begins when the action has ended.  With the lock, before and after.
 * A party that does not come in is none whose time-out breaks anything. */
static int await_action(struct brood_barrier *barrier, brood_deadline deadline)
{
    bool is_over;

    while (barrier->state & ACTING) {
        uint32_t mine = barrier->generation;

        release(barrier);
        is_over = sleep_until_over(barrier, mine, deadline);
        acquire(barrier);
        if (!is_over)
            return brood_fail(too_late(deadline), "the action of the cycle before went on until the deadline");
    }
    return 0;
}

/* With the lock. */
static int enter(struct brood_barrier *barrier, brood_deadline deadline, uint32_t *ret_index)
{
    struct roster_entry *entry;
    int r = await_action(barrier, deadline);

    if (r < 0)
        return r;
    break_if_dead(barrier);
    if (barrier->state & BROKEN)
        return broken();
    if (deadline.ns <= 0 && barrier->arrived + 1 < barrier->parties)
        return brood_fail(-EAGAIN, "not all of the other parties have come to the barrier");
    entry = roster_enter(roster_of(barrier), &barrier->entries, BROOD_BARRIER_PROCESSES);
    if (!entry)
        return brood_fail(
            -ENOSPC, "%d processes wait at the barrier, and no more can: let more of the parties be threads of one process",
            BROOD_BARRIER_PROCESSES);
    entry->waiting++;
    *ret_index = barrier->arrived;
    set(&barrier->arrived, barrier->arrived + 1);
    return 0;
}

/* With the lock.  Others may break the cycle meanwhile: then it is over, and the action was for nothing. */
static int act(struct brood_barrier *barrier, int (*action)(void *context), void *context)
{
    uint32_t mine = barrier->generation;
    int r;

    if (!action)
        return 0;
    set(&barrier->state, ACTING);
    release(barrier);
    brood__error_clear();
    r = action(context);
    if (r < 0)
        (void)brood__error_complete(r);
    acquire(barrier);
    if (barrier->generation != mine)
        return r < 0 ? r : broken();
    if (r < 0)
        end_cycle(barrier, true);
    return r < 0 ? r : 0;
}

static brood_deadline limited(const struct brood_barrier *barrier, brood_deadline deadline)
{
    if (deadline.ns <= 0 || barrier->timeout_ns == 0)
        return deadline;
    return brood__sooner(deadline, brood__after_ns(barrier->timeout_ns));
}

int brood_barrier_wait_with(struct brood_barrier *barrier, int (*action)(void *context), void *context,
                            brood_deadline deadline)
{
    brood_deadline until = limited(barrier, deadline);
    uint32_t index = 0, mine;
    bool is_last = false;
    int r;

    if (barrier->parties == 0)
        return brood_fail(-EINVAL, "the barrier is for nobody: brood_barrier_init() says for how many it is");
    acquire(barrier);
    r = enter(barrier, until, &index);
    mine = barrier->generation;
    if (r == 0 && barrier->arrived == barrier->parties) {
        is_last = true;
        r = act(barrier, action, context);
        if (r == 0)
            end_cycle(barrier, false);
    }
    release(barrier);
    if (r < 0 || is_last)
        return r < 0 ? r : (int)index;
    return sleep_until_over(barrier, mine, until) ? outcome(barrier, mine, index) : give_up(barrier, mine, index, until);
}

int brood_barrier_wait(struct brood_barrier *barrier, brood_deadline deadline)
{
    return brood_barrier_wait_with(barrier, NULL, NULL, deadline);
}

/* ---- looking ---- */

int brood_barrier_waiting(const struct brood_barrier *barrier)
{
    return (int)get(&barrier->arrived);
}

int brood_barrier_parties(const struct brood_barrier *barrier)
{
    return (int)barrier->parties;
}

bool brood_barrier_is_broken(const struct brood_barrier *barrier)
{
    return (get(&barrier->state) & BROKEN) != 0;
}
