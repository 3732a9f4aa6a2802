/* The state of a barrier is one word, {how many have arrived, ACTING, BROKEN : 32 | cycle : 32}, and each change of it is
 * one compare-and-swap: a party arrives, a cycle ends, a barrier breaks or is reset.  So no participant ever waits for
 * another that was stopped or killed in the middle of a change.  Waiters sleep until the cycle moves; none has to leave
 * before the next cycle begins.
 *
 * The waiter table counts how many threads of each process wait, in which cycle.  A party is entered there before it
 * arrives, so that the waiters that look find its death.  It need not leave the table: an entry of another cycle counts no
 * waiter.
 *
 * A cycle that breaks moves on to one that is BROKEN and has no party until it is reset.  So a waiter that comes late finds
 * out how its cycle ended: BROKEN still stands for the cycle before, or the reset has noted that cycle before it took
 * BROKEN away. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <brood/barrier.h>

#include "os/error.h"
#include "sync/sleep.h"

#define BROKEN (UINT64_C(1) << 63)
#define ACTING (UINT64_C(1) << 62) /* all have arrived, and the last one runs its action */
#define ARRIVED_ONE (UINT64_C(1) << 32)
#define PARTIES_MAX ((1 << 30) - 1)

#define HISTORY 8         /* broken cycles that are remembered, at least the last one */
#define NOTED ARRIVED_ONE /* so that no cycle is 0 */
#define LOOKED_AT_ONCE 16 /* processes, each time a waiter looks for the dead */

struct barrier_entry {
    /* The identity of a process, or 0.  The process that claims the entry stores it by CAS, with CLAIMING until it knows
     * that the entry is free. */
    _Atomic uint64_t process;
    /* {cycle : 32 | how many : 32}.  Threads of the process change it by CAS. */
    _Atomic uint64_t waiting;
};
#define CLAIMING (UINT64_C(1) << 31)

_Static_assert(sizeof(struct brood_barrier) == 128 + sizeof(struct barrier_entry) * BROOD_BARRIER_PROCESSES,
               "shared layout");
_Static_assert((CLAIMING & IDENTITY_BITS) == 0, "an identity has room for it");

static struct barrier_entry *barrier_table(struct brood_barrier *barrier)
{
    return (struct barrier_entry *)(void *)barrier->waiters;
}

/* All participants write it.  Each party that arrives releases, and each that goes on acquires: so it sees what all stored
 * before they arrived. */
static _Atomic uint64_t *barrier_word(struct brood_barrier *barrier)
{
    return (_Atomic uint64_t *)&barrier->word;
}

/* Slept on until it changes. */
static _Atomic uint32_t *cycle_of(struct brood_barrier *barrier)
{
    return low_half(&barrier->word);
}

static uint64_t barrier_look(const struct brood_barrier *barrier)
{
    return atomic_load_explicit((const _Atomic uint64_t *)&barrier->word, memory_order_acquire);
}

static bool barrier_replace(struct brood_barrier *barrier, uint64_t seen, uint64_t word)
{
    return atomic_compare_exchange_strong_explicit(barrier_word(barrier), &seen, word, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

static uint32_t cycle_in(uint64_t word)
{
    return (uint32_t)word;
}

static uint32_t arrived_in(uint64_t word)
{
    return (uint32_t)((word & ~(BROKEN | ACTING)) >> 32);
}

static bool barrier_is_over(struct brood_barrier *barrier, uint32_t cycle)
{
    return cycle_in(barrier_look(barrier)) != cycle;
}

/* ---- making one ---- */

int brood_barrier_init(struct brood_barrier *barrier, int parties)
{
    if (parties < 1 || parties > PARTIES_MAX)
        return brood_fail(-EINVAL, "a barrier for %d parties: it takes 1 to %d", parties, PARTIES_MAX);
    memset(barrier, 0, sizeof(*barrier));
    barrier->parties = (uint32_t)parties;
    barrier->namespaces = brood__namespaces();
    return 0;
}

void brood_barrier_set_timeout(struct brood_barrier *barrier, int64_t timeout_ms)
{
    int64_t ns;

    if (__builtin_mul_overflow(timeout_ms, 1000000, &ns) || ns < 0)
        ns = 0;
    barrier->timeout_ns = ns;
}

/* ---- cycles ---- */

static void wake_all(struct brood_barrier *barrier)
{
    (void)brood__futex_wake(cycle_of(barrier), INT_MAX);
}

/* False: the word has changed since `seen`. */
static bool end_cycle(struct brood_barrier *barrier, uint64_t seen, uint64_t outcome)
{
    uint32_t next = cycle_in(seen) + 1;

    if (!barrier_replace(barrier, seen, outcome | next))
        return false;
    if (arrived_in(seen) > 0)
        wake_all(barrier);
    return true;
}

/* False: the cycle is over already. */
static bool break_cycle(struct brood_barrier *barrier, uint32_t cycle)
{
    uint64_t seen;

    while (cycle_in(seen = barrier_look(barrier)) == cycle)
        if (end_cycle(barrier, seen, BROKEN))
            return true;
    return false;
}

static _Atomic uint64_t *note_of(struct brood_barrier *barrier, uint32_t cycle)
{
    return (_Atomic uint64_t *)&barrier->broken[cycle % HISTORY];
}

/* Takes BROKEN away after noting the cycle that broke.  False: the word has changed since `seen`.  Loads the note before
 * the word, so that a caller that was stopped in between does not overwrite a later note.  The release of the word pairs
 * with the acquire in outcome(). */
static bool barrier_unbreak(struct brood_barrier *barrier, uint64_t seen)
{
    uint32_t cycle = cycle_in(seen) - 1;
    uint64_t noted = atomic_load_explicit(note_of(barrier, cycle), memory_order_acquire);

    if (barrier_look(barrier) != seen)
        return false;
    if (noted != (NOTED | cycle) && !atomic_compare_exchange_strong_explicit(note_of(barrier, cycle), &noted, NOTED | cycle,
                                                                             memory_order_relaxed, memory_order_relaxed))
        return false;
    return barrier_replace(barrier, seen, seen & ~BROKEN);
}

void brood_barrier_abort(struct brood_barrier *barrier)
{
    uint64_t seen;

    while (!((seen = barrier_look(barrier)) & BROKEN) && !end_cycle(barrier, seen, BROKEN))
        ;
}

/* The waiters get -ENOTRECOVERABLE, so the barrier breaks first. */
void brood_barrier_reset(struct brood_barrier *barrier)
{
    uint64_t seen;

    while (!((seen = barrier_look(barrier)) & BROKEN) && arrived_in(seen) > 0 && !end_cycle(barrier, seen, BROKEN))
        ;
    while ((seen = barrier_look(barrier)) & BROKEN && !barrier_unbreak(barrier, seen))
        ;
}

/* ---- the waiter table ----
 *
 * A process that counts itself and a process that claims the same entry each store and then load what the other stores: the
 * first changes `waiting` and then loads `process`, the second changes `process` and then loads `waiting`.  Either the
 * first finds that the entry is not its own, or the second finds that the first has counted itself; or both.  Only
 * sequential consistency orders a store before a load, so all operations here have it.  Model: tests/model/barrier.pml. */

static uint64_t table_load(_Atomic uint64_t *at)
{
    return atomic_load_explicit(at, memory_order_seq_cst); /* pairs with the CAS on the entry's other field, see above */
}

static void table_store(_Atomic uint64_t *at, uint64_t value)
{
    atomic_store_explicit(at, value, memory_order_seq_cst);
}

static bool table_swap(_Atomic uint64_t *at, uint64_t *seen, uint64_t value)
{
    return atomic_compare_exchange_strong_explicit(at, seen, value, memory_order_seq_cst, memory_order_seq_cst);
}

static bool waits_in(uint64_t waiting, uint32_t cycle)
{
    return waiting >> 32 == cycle && (uint32_t)waiting > 0;
}

/* False: the cycle is over, and the entry may already be of a later one.  If the cycle is not over after the entry was
 * loaded, the entry is of an earlier one. */
static bool barrier_count(struct brood_barrier *barrier, struct barrier_entry *entry, uint32_t cycle, int more)
{
    uint64_t seen = table_load(&entry->waiting), counted;

    do {
        if (seen >> 32 != cycle && barrier_is_over(barrier, cycle))
            return false;
        counted = (uint64_t)cycle << 32 | ((seen >> 32 == cycle ? (uint32_t)seen : 0) + (uint32_t)more);
    } while (!table_swap(&entry->waiting, &seen, counted));
    return true;
}

static struct barrier_entry *barrier_find(struct brood_barrier *barrier)
{
    struct barrier_entry *table = barrier_table(barrier);
    uint64_t self = brood__self();

    for (int i = 0; i < BROOD_BARRIER_PROCESSES; i++)
        if (table_load(&table[i].process) == self)
            return &table[i];
    return NULL;
}

/* Claims the entry of another process that no longer waits: not in this cycle, and in no later one either, since this cycle
 * is not over after the entry was loaded. */
static bool claim(struct brood_barrier *barrier, struct barrier_entry *entry, uint32_t cycle)
{
    uint64_t waiting = table_load(&entry->waiting), process = table_load(&entry->process);

    if (waits_in(waiting, cycle) || barrier_is_over(barrier, cycle) ||
        (process & CLAIMING && !brood__identity_is_dead(process)))
        return false;
    if (!table_swap(&entry->process, &process, brood__self() | CLAIMING))
        return false;
    if (table_load(&entry->waiting) != waiting) {
        table_store(&entry->process, process);
        return false;
    }
    table_store(&entry->process, brood__self());
    return true;
}

static struct barrier_entry *claim_any(struct brood_barrier *barrier, uint32_t cycle)
{
    struct barrier_entry *table = barrier_table(barrier);

    for (int i = 0; i < BROOD_BARRIER_PROCESSES; i++)
        if (claim(barrier, &table[i], cycle))
            return &table[i];
    return NULL;
}

/* True if a waiter is dead.  Looks at `count` of them, and the next time at the next ones: each costs some microseconds. */
static bool has_dead(struct brood_barrier *barrier, uint32_t cycle, int count)
{
    _Atomic uint32_t *next = (_Atomic uint32_t *)&barrier->looked_at; /* a hint that waiters share: relaxed */
    uint32_t from = atomic_load_explicit(next, memory_order_relaxed), i;

    for (i = 0; i < BROOD_BARRIER_PROCESSES && count > 0; i++) {
        struct barrier_entry *entry = &barrier_table(barrier)[(from + i) % BROOD_BARRIER_PROCESSES];

        if (!waits_in(table_load(&entry->waiting), cycle))
            continue;
        if (brood__identity_is_dead(table_load(&entry->process)))
            return true;
        count--;
    }
    atomic_store_explicit(next, from + i, memory_order_relaxed);
    return false;
}

static bool barrier_is_look_due(struct brood_barrier *barrier, struct slice *slice)
{
    return brood__look_is_due_since(slice, (_Atomic int64_t *)&barrier->looked_ns);
}

static void break_if_dead(struct brood_barrier *barrier, int looks)
{
    uint64_t seen = barrier_look(barrier);

    if (arrived_in(seen) > 0 && has_dead(barrier, cycle_in(seen), looks))
        (void)break_cycle(barrier, cycle_in(seen));
}

/* Where a thread is entered in the waiter table, and for which cycle. */
struct seat {
    struct barrier_entry *entry; /* or NULL */
    uint32_t cycle;
};

/* False: the table has no room, or the cycle is over. */
static bool barrier_enter(struct brood_barrier *barrier, uint32_t cycle, struct seat *seat)
{
    if (seat->entry && seat->cycle == cycle)
        return true;
    *seat = (struct seat){.cycle = cycle};
    do {
        struct barrier_entry *entry = barrier_find(barrier);

        if (!entry)
            entry = claim_any(barrier, cycle);
        if (!entry || !barrier_count(barrier, entry, cycle, 1))
            return false;
        if (table_load(&entry->process) == brood__self())
            seat->entry = entry;
        else
            (void)barrier_count(barrier, entry, cycle, -1); /* another process claimed it before the count */
    } while (!seat->entry);
    return true;
}

/* The party did not arrive. */
static void barrier_leave(struct brood_barrier *barrier, const struct seat *seat)
{
    if (seat->entry)
        (void)barrier_count(barrier, seat->entry, seat->cycle, -1);
}

/* ---- waiting ---- */

static int barrier_broken(void)
{
    return brood_fail(-ENOTRECOVERABLE, "the barrier is broken: a party gave up, failed or died; call "
                                        "brood_barrier_reset() to use it again");
}

/* The outcome of a cycle that is over.  The load of the word acquires: a waiter that finds BROKEN taken away sees the note
 * about it.  A waiter that was stopped until a later cycle replaced the note counts as let through. */
static int outcome(struct brood_barrier *barrier, uint32_t cycle, uint32_t index)
{
    uint64_t seen = barrier_look(barrier);

    if (seen & BROKEN && cycle_in(seen) == cycle + 1)
        return barrier_broken();
    if (atomic_load_explicit(note_of(barrier, cycle), memory_order_relaxed) == (NOTED | cycle))
        return barrier_broken();
    return (int)index;
}

static int barrier_give_up(struct brood_barrier *barrier, uint32_t cycle, uint32_t index, brood_deadline deadline)
{
    if (!break_cycle(barrier, cycle))
        return outcome(barrier, cycle, index);
    return brood_fail(too_late(deadline), "not all parties came to the barrier until the deadline: now it is broken");
}

static _Thread_local struct spin spins;

static void barrier_spin(struct brood_barrier *barrier, uint32_t cycle)
{
    for (int left = brood__spins(&spins); left > 0 && !barrier_is_over(barrier, cycle); left--)
        brood__pause();
    (void)spin_paid(&spins, barrier_is_over(barrier, cycle));
}

/* False: the deadline has passed. */
static bool sleep_until_over(struct brood_barrier *barrier, uint32_t cycle, brood_deadline deadline)
{
    struct slice slice = SLICE_FIRST;
    int slept = 0;

    barrier_spin(barrier, cycle);
    while (!barrier_is_over(barrier, cycle)) {
        if (brood__is_past(deadline))
            return false;
        slept = sleep_a_slice(cycle_of(barrier), cycle, &slice, deadline);
        if (slept == -ETIMEDOUT && barrier_is_look_due(barrier, &slice))
            break_if_dead(barrier, LOOKED_AT_ONCE);
    }
    if (slept == -ETIMEDOUT) /* the party that ended the cycle was killed before it woke the others */
        wake_all(barrier);
    return true;
}

/* The next cycle begins when the action has ended: more threads come than there are parties, or a party died.  A thread
 * that times out here has not arrived, so it does not break the barrier. */
static int await_action(struct brood_barrier *barrier, uint32_t cycle, brood_deadline deadline)
{
    if (sleep_until_over(barrier, cycle, deadline))
        return 1;
    return brood_fail(too_late(deadline), "the action of the cycle before went on until the deadline");
}

/* 0: a party may arrive; 1: look again. */
static int look_before(struct brood_barrier *barrier, uint64_t seen, brood_deadline deadline)
{
    if (seen & ACTING)
        return await_action(barrier, cycle_in(seen), deadline);
    if (seen & BROKEN)
        return barrier_broken();
    if (deadline.ns <= 0 && arrived_in(seen) + 1 < barrier->parties)
        return brood_fail(-EAGAIN, "not all of the other parties have come to the barrier");
    return 0;
}

static int no_room(struct brood_barrier *barrier, uint32_t cycle)
{
    if (!barrier_is_over(barrier, cycle))
        break_if_dead(barrier, BROOD_BARRIER_PROCESSES);
    if (barrier_is_over(barrier, cycle))
        return 1;
    return brood_fail(
        -ENOSPC, "%d processes wait at the barrier, and no more can: let more of the parties be threads of one process",
        BROOD_BARRIER_PROCESSES);
}

/* What the word becomes when one more arrives. */
static uint64_t with_one_more(const struct brood_barrier *barrier, uint64_t seen, bool has_action)
{
    if (arrived_in(seen) + 1 < barrier->parties)
        return seen + ARRIVED_ONE;
    return has_action ? (seen + ARRIVED_ONE) | ACTING : (uint32_t)(cycle_in(seen) + 1);
}

/* *ret_seen: the word before. */
static int arrive(struct brood_barrier *barrier, bool has_action, brood_deadline deadline, uint64_t *ret_seen)
{
    struct seat seat = {.entry = NULL};
    int r;

    if (barrier_is_look_due(barrier, &SLICE_FIRST))
        break_if_dead(barrier, LOOKED_AT_ONCE);
    do {
        *ret_seen = barrier_look(barrier);
        r = look_before(barrier, *ret_seen, deadline);
        if (r == 0 && !barrier_enter(barrier, cycle_in(*ret_seen), &seat))
            r = no_room(barrier, cycle_in(*ret_seen));
    } while (r == 1 || (r == 0 && !barrier_replace(barrier, *ret_seen, with_one_more(barrier, *ret_seen, has_action))));
    if (r < 0)
        barrier_leave(barrier, &seat);
    return r;
}

/* By the last one to arrive.  Others may break the cycle meanwhile: then it is over, and the action was for nothing. */
static int act(struct brood_barrier *barrier, uint64_t seen, int (*action)(void *context), void *context)
{
    int r;

    brood__error_clear();
    r = BROOD__UNCANCELLED(action(context));
    if (r < 0) {
        (void)brood__error_complete(r);
        (void)break_cycle(barrier, cycle_in(seen));
        return r;
    }
    return end_cycle(barrier, (seen + ARRIVED_ONE) | ACTING, 0) ? 0 : barrier_broken();
}

static brood_deadline barrier_limited(const struct brood_barrier *barrier, brood_deadline deadline)
{
    if (deadline.ns <= 0 || barrier->timeout_ns == 0)
        return deadline;
    return brood__sooner(deadline, brood__after_ns(barrier->timeout_ns));
}

int brood_barrier_wait_with(struct brood_barrier *barrier, int (*action)(void *context), void *context,
                            brood_deadline deadline)
{
    brood_deadline until = barrier_limited(barrier, deadline);
    uint32_t index, cycle;
    uint64_t seen = 0;
    int r;

    if (barrier->parties == 0)
        return brood_fail(-EINVAL, "the barrier has no parties: brood_barrier_init() says how many it has");
    r = brood__namespaces_check(barrier->namespaces, "the barrier");
    if (r == 0)
        r = arrive(barrier, action != NULL, until, &seen);
    if (r < 0)
        return r;
    index = arrived_in(seen);
    cycle = cycle_in(seen);
    if (index + 1 < barrier->parties)
        return sleep_until_over(barrier, cycle, until) ? outcome(barrier, cycle, index)
                                                       : barrier_give_up(barrier, cycle, index, until);
    if (action)
        r = act(barrier, seen, action, context);
    else if (index > 0)
        wake_all(barrier);
    return r < 0 ? r : (int)index;
}

int brood_barrier_wait(struct brood_barrier *barrier, brood_deadline deadline)
{
    return brood_barrier_wait_with(barrier, NULL, NULL, deadline);
}

/* ---- looking ---- */

int brood_barrier_waiting(const struct brood_barrier *barrier)
{
    return (int)arrived_in(barrier_look(barrier));
}

int brood_barrier_parties(const struct brood_barrier *barrier)
{
    return (int)barrier->parties;
}

bool brood_barrier_is_broken(const struct brood_barrier *barrier)
{
    return (barrier_look(barrier) & BROKEN) != 0;
}

size_t brood_barrier_bytes(void)
{
    return sizeof(struct brood_barrier);
}
