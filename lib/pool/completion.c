#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "os/clock.h"
#include "os/error.h"
#include "os/fence.h"
#include "pool/attendant.h"
#include "pool/completion.h"
#include "pool/future.h"
#include "pool/map.h"
#include "pool/promise.h"

/* ---- being told ---- */

/* Locked by the gathering, as the next. */
static void make_ready(struct gathering *gathering, struct entry *entry)
{
    entry->is_told = true;
    entry->next = NULL;
    *gathering->ready_end = entry;
    gathering->ready_end = &entry->next;
    gathering->failed += brood__future_has_failed(entry->future);
}

static bool is_over(const struct gathering *gathering)
{
    if (gathering->unfinished == 0)
        return true;
    if (gathering->until == BROOD_FIRST_COMPLETED)
        return gathering->ready != NULL;
    return gathering->until == BROOD_FIRST_EXCEPTION && gathering->failed > 0;
}

static bool look(struct gathering *gathering)
{
    bool over;

    brood__lock(&gathering->lock);
    over = is_over(gathering);
    brood__unlock(&gathering->lock);
    return over;
}

static void leave_party(struct entry *entry)
{
    *entry->place = entry->next;
    if (entry->next)
        entry->next->place = entry->place;
}

static void tell(struct hook *hook, struct brood_future *future)
{
    struct entry *entry = (struct entry *)(void *)hook; /* its first member */
    struct gathering *gathering = entry->gathering;
    bool is_asleep;

    (void)future;
    if (entry->party)
        leave_party(entry);
    brood__lock(&gathering->lock);
    make_ready(gathering, entry);
    gathering->unfinished--;
    if (entry->party)
        entry->party->unfinished--;
    (void)atomic_fetch_add(&gathering->told, 1);
    is_asleep = gathering->is_asleep && is_over(gathering);
    brood__unlock(&gathering->lock);
    if (is_asleep) /* the gathering may be gone by now; then this wakes nobody */
        (void)brood__futex_wake(&gathering->told, 1);
}

/* ---- gathering ---- */

/* Where the future's entry is, or is to be. */
static struct entry **place_of(const struct gathering *gathering, const struct brood_future *future)
{
    size_t at = (uintptr_t)future / sizeof(*future) * 0x9e3779b97f4a7c15u >> 20 & gathering->places_mask;

    while (gathering->places[at] && gathering->places[at]->future != future)
        at = (at + 1) & gathering->places_mask;
    return &gathering->places[at];
}

static bool collect_and_look(struct brood_pool *pool, struct watch *watch);
static struct job *next_job(struct brood_pool *pool, struct watch *watch, struct job *previous);

static struct party *find_party(struct gathering *gathering, struct brood_pool *pool)
{
    struct party *party = gathering->parties;

    while (party && party->pool != pool)
        party = party->next;
    if (party)
        return party;
    party = malloc(sizeof(*party));
    if (!party)
        return NULL;
    *party = (struct party){.pool = pool, .gathering = gathering, .next = gathering->parties};
    party->watch = (struct watch){.is_ready = collect_and_look, .next_job = next_job, .subject = party};
    gathering->parties = party;
    return party;
}

static void join_party(struct entry *entry, struct party *party)
{
    entry->party = party;
    entry->next = party->waiting;
    entry->place = &party->waiting;
    if (entry->next)
        entry->next->place = &entry->next;
    party->waiting = entry;
    party->unfinished++;
}

/* Is it done for those who wait for several? */
static bool is_complete(struct brood_future *future)
{
    return brood__future_look(future) && (future->pool || !brood__promise_is_untold(brood__promise(future)));
}

/* Inside the future.  Nobody else knows the entry yet; others know the gathering. */
static int take_part(struct gathering *gathering, struct entry *entry)
{
    struct brood_future *future = entry->future;
    struct party *party = NULL;

    if (future->pool) {
        party = find_party(gathering, future->pool);
        if (!party)
            return brood_fail(-ENOMEM, "out of memory");
    }
    bool complete = is_complete(future);

    brood__lock(&gathering->lock);
    gathering->count++;
    if (complete)
        make_ready(gathering, entry);
    else {
        gathering->unfinished++;
        if (party)
            join_party(entry, party);
    }
    brood__unlock(&gathering->lock);
    if (!complete)
        brood__hook_add(future, &entry->hook);
    return 0;
}

static int add(struct gathering *gathering, struct entry *entry, struct brood_future *future)
{
    struct entry **place;
    int r;

    if (!future)
        return brood_fail(-EINVAL, "one of the futures is NULL");
    place = place_of(gathering, future);
    if (*place)
        return 0; /* it is there twice */
    r = brood__future_enter(future);
    if (r < 0)
        return r;
    *entry = (struct entry){
        .hook = {.tell = tell, .is_patient = true}, .gathering = gathering, .future = future, .is_given = false};
    r = take_part(gathering, entry);
    if (r == 0)
        *place = entry;
    brood__future_leave(future);
    return r;
}

static void disband(struct gathering *gathering)
{
    for (size_t i = 0; gathering->entries && i < gathering->count; i++) {
        struct entry *entry = &gathering->entries[i];

        if (entry->is_given || brood__future_enter(entry->future) < 0)
            continue;
        brood__hook_remove(entry->future, &entry->hook);
        brood__future_leave(entry->future);
    }
    while (gathering->parties) {
        struct party *party = gathering->parties;

        gathering->parties = party->next;
        free(party);
    }
    free(gathering->entries);
    free(gathering->places);
    free(gathering->words);
}

static int make_room(struct gathering *gathering, size_t n)
{
    size_t places = 4;

    while (places < 2 * n)
        places *= 2;
    gathering->entries = malloc((n ? n : 1) * sizeof(*gathering->entries));
    gathering->places = calloc(places, sizeof(struct entry *));
    gathering->places_mask = places - 1;
    return gathering->entries && gathering->places ? 0 : brood_fail(-ENOMEM, "out of memory");
}

static int make_words(struct gathering *gathering)
{
    size_t words = 1;

    for (const struct party *party = gathering->parties; party; party = party->next)
        words += 2;
    gathering->words = malloc(words * sizeof(*gathering->words));
    return gathering->words ? 0 : brood_fail(-ENOMEM, "out of memory");
}

/* On failure there is nothing to disband. */
static int gather(struct gathering *gathering, struct brood_future *const *futures, size_t n, enum brood_until until)
{
    int r;

    *gathering = (struct gathering){.until = until, .ready_end = &gathering->ready};
    if (!futures && n > 0)
        return brood_fail(-EINVAL, "%zu futures cannot be at NULL", n);
    r = n <= SIZE_MAX / 4 / sizeof(struct entry) ? make_room(gathering, n) : brood_fail(-EINVAL, "too many futures");
    for (size_t i = 0; r == 0 && i < n; i++)
        r = add(gathering, &gathering->entries[gathering->count], futures[i]);
    if (r == 0)
        r = make_words(gathering);
    if (r < 0)
        disband(gathering);
    return r;
}

/* ---- waiting ---- */

static void collect(struct brood_pool *pool, struct party *party)
{
    struct entry *next;

    brood__collect_all(pool);
    for (struct entry *entry = party->waiting; entry; entry = next) {
        next = entry->next; /* to collect one tells that one alone */
        if (brood__future_map(entry->future))
            brood__map_collect(pool, entry->future->map);
        else
            (void)brood__collect(pool, &entry->future->job);
    }
}

static bool collect_and_look(struct brood_pool *pool, struct watch *watch)
{
    struct party *party = watch->subject;

    collect(pool, party);
    return look(party->gathering);
}

/* Each of the pool's; or, where all have to be done, the last one: a wake-up for each would be one too many. */
static struct job *next_job(struct brood_pool *pool, struct watch *watch, struct job *previous)
{
    struct party *party = watch->subject;
    struct job *job = NULL;

    (void)pool;
    if (previous && party->gathering->until == BROOD_ALL_COMPLETED)
        return NULL;
    for (party->cursor = previous ? party->cursor->next : party->waiting; party->cursor && !job;) {
        job = brood__future_job(party->cursor->future);
        if (!job)
            party->cursor = party->cursor->next;
    }
    return job;
}

/* The next party whose pool is to be looked into, after `party` or, if that is NULL, from the first one on. */
static struct party *next_party(struct gathering *gathering, struct party *party)
{
    party = party ? party->next : gathering->parties;
    brood__lock(&gathering->lock);
    while (party && party->unfinished == 0)
        party = party->next;
    brood__unlock(&gathering->lock);
    return party;
}

/* Collects in every pool, and brings on what waits for a thread that waits.  1 if there may be more to do at once. */
static int visit_all(struct gathering *gathering)
{
    int r = 0;

    for (struct party *party = next_party(gathering, NULL); party; party = next_party(gathering, party)) {
        int entered = brood__pool_enter(party->pool);

        if (entered < 0)
            return entered;
        if (!collect_and_look(party->pool, &party->watch) && brood__bring_on(party->pool, &party->watch))
            r = 1;
        brood__pool_leave(party->pool);
    }
    return r;
}

/* From here to get_up() this thread is inside each pool, so that none is closed. */
static size_t lie_down(struct gathering *gathering, brood_deadline *deadline)
{
    size_t words = 1;

    for (struct party *party = next_party(gathering, NULL); party; party = next_party(gathering, party)) {
        struct board *board = party->pool->shared.board;

        brood__lock(&party->pool->lock);
        party->pool->users++;
        party->is_inside = true;
        brood__nap_begin(party->pool, &party->watch, &party->nap);
        brood__unlock(&party->pool->lock);
        *deadline = brood__sooner(*deadline, party->nap.until);
        gathering->words[words++] = (struct futex_word){&board->parkers[party->nap.parker].generation, party->nap.seen};
        if (party->nap.alive)
            gathering->words[words++] = (struct futex_word){&board->life, party->nap.alive};
    }
    return words;
}

static bool is_needless(struct gathering *gathering)
{
    bool needless = false;

    for (struct party *party = gathering->parties; party; party = party->next) {
        if (!party->is_inside)
            continue;
        brood__lock(&party->pool->lock);
        needless |= brood__nap_is_needless(party->pool, &party->watch, &party->nap);
        brood__unlock(&party->pool->lock);
    }
    brood__lock(&gathering->lock);
    gathering->words[0] = (struct futex_word){&gathering->told, atomic_load(&gathering->told)};
    gathering->is_asleep = true;
    needless |= is_over(gathering);
    brood__unlock(&gathering->lock);
    return needless;
}

static void get_up(struct gathering *gathering, bool has_slept)
{
    brood__lock(&gathering->lock);
    gathering->is_asleep = false;
    brood__unlock(&gathering->lock);
    for (struct party *party = gathering->parties; party; party = party->next) {
        if (!party->is_inside)
            continue;
        party->is_inside = false;
        brood__lock(&party->pool->lock);
        brood__nap_end(party->pool, &party->nap, has_slept);
        brood__pool_leave(party->pool);
    }
}

static void sleep_once(struct gathering *gathering, brood_deadline deadline)
{
    size_t words = lie_down(gathering, &deadline);
    bool needless;

    if (words > 1 && !brood__fence_heavy())
        deadline = brood__sooner(deadline, brood__after_ns(UNPARKED_NS));
    needless = is_needless(gathering);
    if (!needless)
        (void)brood__futex_wait_any(gathering->words, words, deadline);
    get_up(gathering, !needless);
}

/* As brood__wait() does: a hot worker answers sooner than anybody can be woken. */
static bool spin(struct gathering *gathering, brood_deadline deadline)
{
    brood_deadline until = brood__sooner(deadline, brood__after_ns(SPIN_NS_MIN));
    struct party *party = next_party(gathering, NULL);
    bool over = false;

    while (party && !over && !brood__is_past(until)) {
        brood__lock(&party->pool->lock);
        brood__collect_all(party->pool);
        brood__unlock(&party->pool->lock);
        over = look(gathering);
        (void)sched_yield();
        party = next_party(gathering, party);
        if (!party)
            party = next_party(gathering, NULL);
    }
    return over;
}

/* 0; -ETIMEDOUT; -EPERM. */
static int await(struct gathering *gathering, brood_deadline deadline)
{
    bool has_spun = false;
    int r;

    while (!look(gathering)) {
        r = visit_all(gathering);
        if (r < 0)
            return r;
        if (r > 0)
            continue;
        if (look(gathering))
            break;
        if (brood__is_past(deadline))
            return -ETIMEDOUT;
        if (has_spun)
            sleep_once(gathering, deadline);
        else
            (void)spin(gathering, deadline);
        has_spun = true;
    }
    return 0;
}

/* Before a wait for a future returns, its callbacks have been called.  Nobody frees it before it is given. */
static void call_callbacks(struct brood_pool *pool)
{
    if (brood__pool_enter(pool) < 0)
        return;
    (void)brood__call_due(pool);
    brood__pool_leave(pool);
}

/* Locked by the gathering. */
static int say_timeout(const struct gathering *gathering, brood_deadline deadline)
{
    return brood_fail(deadline.ns <= 0 ? -EAGAIN : -ETIMEDOUT, "%zu (of %zu) futures unfinished", gathering->unfinished,
                      gathering->count);
}

/* ---- the calls ---- */

static void report(struct gathering *gathering, struct brood_future *const *futures, size_t n, bool *ret_done)
{
    for (size_t i = 0; ret_done && i < n; i++)
        ret_done[i] = (*place_of(gathering, futures[i]))->is_told;
}

int brood_futures_wait(struct brood_future *const *futures, size_t n, enum brood_until until, bool *ret_done,
                       brood_deadline deadline)
{
    struct gathering gathering;
    int r;

    if ((unsigned)until > BROOD_FIRST_EXCEPTION)
        return brood_fail(-EINVAL, "there is no way to wait %d", (int)until);
    r = gather(&gathering, futures, n, until);
    if (r < 0)
        return r;
    r = await(&gathering, deadline);
    for (struct party *party = gathering.parties; party; party = party->next)
        call_callbacks(party->pool);
    brood__lock(&gathering.lock);
    if (r == 0)
        r = (int)(gathering.count - gathering.unfinished);
    else if (r == -ETIMEDOUT)
        r = say_timeout(&gathering, deadline);
    report(&gathering, futures, n, ret_done);
    brood__unlock(&gathering.lock);
    disband(&gathering);
    return r;
}

struct brood_as_completed {
    struct gathering gathering;
};

int brood_as_completed_open(struct brood_as_completed **ret_iterator, struct brood_future *const *futures, size_t n)
{
    struct brood_as_completed *iterator = malloc(sizeof(*iterator));
    int r =
        iterator ? gather(&iterator->gathering, futures, n, BROOD_FIRST_COMPLETED) : brood_fail(-ENOMEM, "out of memory");

    if (r < 0)
        free(iterator);
    else
        *ret_iterator = iterator;
    return r;
}

static struct entry *take_ready(struct gathering *gathering)
{
    struct entry *entry;

    brood__lock(&gathering->lock);
    entry = gathering->ready;
    if (entry) {
        gathering->ready = entry->next;
        if (!entry->next)
            gathering->ready_end = &gathering->ready;
    }
    brood__unlock(&gathering->lock);
    return entry;
}

int brood_as_completed_next(struct brood_as_completed *iterator, struct brood_future **ret_future, brood_deadline deadline)
{
    struct gathering *gathering = &iterator->gathering;
    int r = await(gathering, deadline);
    struct entry *entry = take_ready(gathering);

    if (entry) {
        if (entry->future->pool)
            call_callbacks(entry->future->pool);
        entry->is_given = true;
        *ret_future = entry->future;
        return 0;
    }
    if (r != -ETIMEDOUT)
        return r < 0 ? r : brood_fail(-ENODATA, "all futures have been given");
    brood__lock(&gathering->lock);
    r = say_timeout(gathering, deadline);
    brood__unlock(&gathering->lock);
    return r;
}

void brood_as_completed_close(struct brood_as_completed *iterator)
{
    if (!iterator)
        return;
    disband(&iterator->gathering);
    free(iterator);
}
