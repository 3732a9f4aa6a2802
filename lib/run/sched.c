/* sched.c - a heap of events.
 *
 * Events lie in slots; the heap has the slots' numbers, and each slot knows its place in the heap, so that one can be taken
 * out of the middle.  An event's name is its slot's number and how often that has been used, so an old name fits nothing.
 *
 * All schedulers share brood__run_lock, for the sake of forks: what is done under it is a few steps in a heap, and now and
 * then an allocation.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <brood/sched.h>

#include "os/clock.h"
#include "os/error.h"
#include "os/options.h"
#include "run/run.h"

#define NOWHERE UINT32_MAX

struct sched_slot {
    int64_t time_ns;
    uint64_t sequence; /* in which they were entered */
    int (*action)(void *context);
    void *context;
    int priority;
    uint32_t uses;  /* counts the events that were in it */
    uint32_t place; /* in the heap, or NOWHERE */
    uint32_t free;  /* of one that is: the next free one, or NOWHERE */
};

struct brood_sched {
    struct brood_sched_options options;
    /* Counts changes that a sleeper must see; a futex.  Threads that enter or cancel an event increment it, under the lock,
     * with release; pairs with the acquire of the runner before it sleeps. */
    _Atomic uint32_t changes;
    /* Under brood__run_lock: */
    unsigned sleepers;
    uint64_t entered;
    struct sched_slot *slots;
    uint32_t *heap;
    uint32_t count, room; /* events; slots, and room in the heap */
    uint32_t free;
};

/* ---- the heap ---- */

static bool sched_is_before(const struct sched_slot *a, const struct sched_slot *b)
{
    if (a->time_ns != b->time_ns)
        return a->time_ns < b->time_ns;
    if (a->priority != b->priority)
        return a->priority < b->priority;
    return a->sequence < b->sequence;
}

static struct sched_slot *at(const struct brood_sched *sched, uint32_t place)
{
    return &sched->slots[sched->heap[place]];
}

static void sched_put(struct brood_sched *sched, uint32_t place, uint32_t number)
{
    sched->heap[place] = number;
    sched->slots[number].place = place;
}

static void sched_rise(struct brood_sched *sched, uint32_t place)
{
    uint32_t number = sched->heap[place];

    while (place > 0 && sched_is_before(&sched->slots[number], at(sched, (place - 1) / 2))) {
        sched_put(sched, place, sched->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    sched_put(sched, place, number);
}

static void output_buffer(struct brood_sched *sched, uint32_t place)
{
    uint32_t number = sched->heap[place];

    for (;;) {
        uint32_t child = 2 * place + 1;

        if (child + 1 < sched->count && sched_is_before(at(sched, child + 1), at(sched, child)))
            child++;
        if (child >= sched->count || !sched_is_before(at(sched, child), &sched->slots[number]))
            break;
        sched_put(sched, place, sched->heap[child]);
        place = child;
    }
    sched_put(sched, place, number);
}

/* What was last goes where the gap is, and from there where it belongs. */
static void sched_take_out(struct brood_sched *sched, uint32_t place)
{
    uint32_t number = sched->heap[place], last = sched->heap[--sched->count];
    struct sched_slot *slot = &sched->slots[number];

    if (place < sched->count) {
        sched_put(sched, place, last);
        sched_rise(sched, place);
        output_buffer(sched, sched->slots[last].place);
    }
    slot->place = NOWHERE;
    slot->uses++;
    slot->free = sched->free;
    sched->free = number;
}

static int sched_grow(struct brood_sched *sched)
{
    uint32_t room = sched->room ? 2 * sched->room : 16;
    struct sched_slot *slots = NULL;
    uint32_t *heap = NULL;

    if (sched->room < UINT32_MAX / 4)
        heap = realloc(sched->heap, room * sizeof(*heap));
    if (heap) {
        sched->heap = heap;
        slots = realloc(sched->slots, room * sizeof(*slots));
    }
    if (!slots)
        return -ENOMEM;
    sched->slots = slots;
    for (uint32_t number = room; number-- > sched->room;) {
        slots[number] = (struct sched_slot){.place = NOWHERE, .free = sched->free};
        sched->free = number;
    }
    sched->room = room;
    return 0;
}

static uint64_t sched_name_of(const struct brood_sched *sched, uint32_t number)
{
    return (uint64_t)sched->slots[number].uses << 32 | (number + 1);
}

/* ---- opening ---- */

int brood_sched_open(struct brood_sched **ret_sched, const struct brood_sched_options *given)
{
    struct brood_sched_options options = {.size = sizeof(options)};
    struct brood_sched *sched;
    int r = given ? brood__options(&options, sizeof(options), given, "BROOD_SCHED") : 0;

    if (r < 0)
        return r;
    brood__run_init();
    sched = calloc(1, sizeof(*sched));
    if (!sched)
        return brood_fail(-ENOMEM, "out of memory");
    sched->options = options;
    sched->free = NOWHERE;
    *ret_sched = sched;
    return 0;
}

void brood_sched_close(struct brood_sched *sched)
{
    if (!sched)
        return;
    free(sched->slots);
    free(sched->heap);
    free(sched);
}

int64_t brood_sched_now(struct brood_sched *sched)
{
    return sched && sched->options.clock ? BROOD__UNCANCELLED(sched->options.clock(sched->options.context))
                                         : brood__now_ns();
}

/* ---- entering and cancelling ---- */

/* Under the lock; true: there are sleepers to wake. */
static bool note_change(struct brood_sched *sched)
{
    brood__run_assert_locked();
    (void)atomic_fetch_add_explicit(&sched->changes, 1, memory_order_release);
    return sched->sleepers > 0;
}

static void sched_wake(struct brood_sched *sched, bool has_sleepers)
{
    if (has_sleepers)
        (void)brood__futex_wake(&sched->changes, INT32_MAX);
}

static int sched_enter(struct brood_sched *sched, const struct sched_slot *event, uint64_t *ret_event)
{
    uint32_t number, uses;

    if (sched->free == NOWHERE && sched_grow(sched) < 0)
        return -ENOMEM;
    number = sched->free;
    sched->free = sched->slots[number].free;
    uses = sched->slots[number].uses;
    sched->slots[number] = *event;
    sched->slots[number].uses = uses;
    sched->slots[number].sequence = sched->entered++;
    sched->heap[sched->count] = number;
    sched_rise(sched, sched->count++);
    *ret_event = sched_name_of(sched, number);
    return 0;
}

int brood_sched_enterabs(struct brood_sched *sched, int64_t time_ns, int priority, int (*action)(void *context),
                         void *context, uint64_t *ret_event)
{
    struct sched_slot event = {.time_ns = time_ns, .priority = priority, .action = action, .context = context};
    bool has_sleepers = false;
    uint64_t name = 0;
    int r;

    if (!sched || !action)
        return brood_fail(-EINVAL, "an event needs a scheduler and an action");
    brood__lock(&brood__run_lock);
    r = sched_enter(sched, &event, &name);
    if (r == 0)
        has_sleepers = note_change(sched);
    brood__unlock(&brood__run_lock);
    sched_wake(sched, has_sleepers);
    if (r < 0)
        return brood_fail(r, "out of memory for one more event");
    if (ret_event)
        *ret_event = name;
    return 0;
}

int brood_sched_enter(struct brood_sched *sched, int64_t delay_ns, int priority, int (*action)(void *context),
                      void *context, uint64_t *ret_event)
{
    int64_t time_ns;

    if (!sched)
        return brood_sched_enterabs(sched, 0, priority, action, context, ret_event);
    if (__builtin_add_overflow(brood_sched_now(sched), delay_ns, &time_ns))
        time_ns = delay_ns < 0 ? INT64_MIN : INT64_MAX;
    return brood_sched_enterabs(sched, time_ns, priority, action, context, ret_event);
}

int brood_sched_cancel(struct brood_sched *sched, uint64_t event)
{
    uint32_t number = (uint32_t)event - 1;
    bool found, has_sleepers = false;

    if (!sched)
        return brood_fail(-EINVAL, "the scheduler is NULL");
    brood__lock(&brood__run_lock);
    found = number < sched->room && sched->slots[number].place != NOWHERE && sched_name_of(sched, number) == event;
    if (found) {
        sched_take_out(sched, sched->slots[number].place);
        has_sleepers = note_change(sched);
    }
    brood__unlock(&brood__run_lock);
    sched_wake(sched, has_sleepers);
    return found ? 0 : brood_fail(-ESTALE, "that event has been run or cancelled");
}

/* ---- running ---- */

enum next { NEXT_NONE, NEXT_LATER, NEXT_DUE };

/* The next event, taken out if it is due; else how long until then, and what to sleep on until that changes. */
static enum next sched_look(struct brood_sched *sched, struct sched_slot *ret_event, int64_t *ret_ns, uint32_t *ret_seen)
{
    int64_t now = brood_sched_now(sched);
    enum next next = NEXT_NONE;

    brood__lock(&brood__run_lock);
    *ret_seen = atomic_load_explicit(&sched->changes, memory_order_acquire);
    if (sched->count > 0) {
        *ret_event = *at(sched, 0);
        next = ret_event->time_ns > now ? NEXT_LATER : NEXT_DUE;
    }
    if (next == NEXT_DUE)
        sched_take_out(sched, 0);
    brood__unlock(&brood__run_lock);
    if (next == NEXT_LATER && __builtin_sub_overflow(ret_event->time_ns, now, ret_ns))
        *ret_ns = INT64_MAX;
    return next;
}

static void sleepers(struct brood_sched *sched, int more)
{
    brood__lock(&brood__run_lock);
    sched->sleepers += (unsigned)more;
    brood__unlock(&brood__run_lock);
}

/* A thread that changes something before this sleeper is counted has changed the word, too, so the futex does not sleep. */
static void sleep_until_changed(struct brood_sched *sched, uint32_t seen, brood_deadline deadline)
{
    sleepers(sched, 1);
    (void)brood__futex_wait(&sched->changes, seen, deadline);
    sleepers(sched, -1);
}

/* What a function of the program's has returned. */
static int sched_fail(int r)
{
    return r < 0 ? brood__error_complete(r) : r;
}

static int delay(struct brood_sched *sched, int64_t ns, uint32_t seen, brood_deadline deadline)
{
    if (sched->options.delay)
        return sched_fail(BROOD__UNCANCELLED(sched->options.delay(ns, sched->options.context)));
    if (ns > 0) /* with 0 there is nothing to wait for: other threads run anyway */
        sleep_until_changed(sched, seen, brood__sooner(brood__after_ns(ns), deadline));
    return 0;
}

int brood_sched_run(struct brood_sched *sched, int64_t *ret_next_ns, brood_deadline deadline)
{
    struct sched_slot event = {0};
    int64_t ns = 0;
    uint32_t seen;
    int r = 0;

    if (!sched)
        return brood_fail(-EINVAL, "the scheduler is NULL");
    while (r >= 0) {
        enum next next = sched_look(sched, &event, &ns, &seen);

        brood__error_clear();
        if (next == NEXT_NONE)
            return 0;
        if (next == NEXT_LATER && brood__is_past(deadline)) {
            if (ret_next_ns)
                *ret_next_ns = ns;
            return 1;
        }
        if (next == NEXT_DUE) {
            r = sched_fail(BROOD__UNCANCELLED(event.action(event.context)));
            ns = 0;
        }
        if (r >= 0)
            r = delay(sched, ns, seen, deadline);
    }
    return r;
}

/* ---- looking ---- */

size_t brood_sched_count(struct brood_sched *sched)
{
    size_t count;

    if (!sched)
        return 0;
    brood__lock(&brood__run_lock);
    count = sched->count;
    brood__unlock(&brood__run_lock);
    return count;
}

bool brood_sched_is_empty(struct brood_sched *sched)
{
    return brood_sched_count(sched) == 0;
}

static int sched_compare(const void *a, const void *b, void *slots)
{
    const struct sched_slot *first = (const struct sched_slot *)slots + *(const uint32_t *)a;
    const struct sched_slot *second = (const struct sched_slot *)slots + *(const uint32_t *)b;

    return sched_is_before(first, second) ? -1 : 1;
}

/* Under the lock. */
static int copy_in_order(const struct brood_sched *sched, struct brood_sched_entry *ret_entries, size_t room)
{
    uint32_t *order = malloc((sched->count + 1) * sizeof(*order));

    brood__run_assert_locked();
    if (!order)
        return -ENOMEM;
    if (sched->count > 0)
        memcpy(order, sched->heap, sched->count * sizeof(*order));
    qsort_r(order, sched->count, sizeof(*order), sched_compare, sched->slots);
    for (size_t i = 0; i < sched->count && i < room; i++) {
        const struct sched_slot *slot = &sched->slots[order[i]];

        ret_entries[i] = (struct brood_sched_entry){
            .event = sched_name_of(sched, order[i]),
            .time_ns = slot->time_ns,
            .priority = slot->priority,
            .action = slot->action,
            .context = slot->context,
        };
    }
    free(order);
    return 0;
}

int64_t brood_sched_queue(struct brood_sched *sched, struct brood_sched_entry *ret_entries, size_t room)
{
    int64_t count;
    int r;

    if (!sched)
        return brood_fail(-EINVAL, "the scheduler is NULL");
    if (!ret_entries && room > 0)
        return brood_fail(-EINVAL, "there is no room for %zu events at NULL", room);
    brood__lock(&brood__run_lock);
    r = copy_in_order(sched, ret_entries, room);
    count = sched->count;
    brood__unlock(&brood__run_lock);
    return r < 0 ? brood_fail(r, "out of memory for the order of %lld events", (long long)count) : count;
}
