#include <errno.h>
#include <stdlib.h>

#include "os/error.h"
#include "pool/future/future.h"
#include "pool/work/fetch.h"

struct fetch {
    struct brood_future *next; /* in pool->fetches.due */
    size_t capacity, length;
    uint32_t region;
    int outcome;
    bool is_soiled; /* a worker died of it, and may have written something */
};

uint32_t brood__fetch_prepare(struct brood_pool *pool, struct brood_future *future, size_t capacity)
{
    brood__assert_locked(pool);
    struct fetch *fetch = calloc(1, sizeof(*fetch));

    if (!fetch)
        return LARGE_NONE;
    fetch->capacity = capacity;
    fetch->region = brood__large_take(&pool->shared.large, &pool->fetches.regions);
    future->fetch = fetch;
    return fetch->region;
}

uint32_t brood__fetch_region(const struct brood_future *future)
{
    const struct fetch *fetch = brood__future_fetch(future);

    return fetch ? fetch->region : LARGE_NONE;
}

void brood__fetch_mark_dirty(struct brood_future *future)
{
    brood__assert_locked(future->pool);
    struct fetch *fetch = brood__future_fetch(future);

    if (fetch)
        fetch->is_soiled = true;
}

void brood__fetch_drop(struct brood_pool *pool, struct brood_future *future)
{
    brood__assert_locked(pool);
    struct fetch *fetch = brood__future_fetch(future);

    if (!fetch)
        return;
    brood__large_give(&pool->fetches.regions, fetch->region);
    free(fetch);
    future->fetch = NULL;
}

bool brood__fetch_later(struct brood_pool *pool, struct brood_future *future, int outcome, size_t length)
{
    brood__assert_locked(pool);
    struct fetch *fetch = brood__future_fetch(future);

    if (!fetch || fetch->region == LARGE_NONE || (length == 0 && !fetch->is_soiled))
        return false;
    fetch->outcome = outcome;
    fetch->length = length;
    fetch->next = pool->fetches.due;
    pool->fetches.due = future;
    return true;
}

/* Not locked.  No other thread uses the future until it is done. */
static int fetch_result(struct brood_pool *pool, struct brood_future *future, const struct fetch *fetch)
{
    if (fetch->capacity == SIZE_MAX) {
        void *larger = realloc(future->result, fetch->length);

        if (!larger)
            return brood_fail(-ENOMEM, "no memory for a result of %zu bytes", fetch->length);
        future->result = larger;
    } else if (fetch->length > fetch->capacity)
        return brood_fail(-EMSGSIZE, "the result has %zu bytes, and there is room for %zu", fetch->length, fetch->capacity);
    return brood__large_read(&pool->shared.large, fetch->region, future->result, fetch->length);
}

bool brood__fetch_run_deferred(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    struct brood_future *future = pool->fetches.due;
    struct fetch *fetch;
    int r = 0;

    if (!future)
        return false;
    fetch = future->fetch;
    pool->fetches.due = fetch->next;
    bool is_wanted = fetch->length > 0 && !future->abandoned;

    brood__unlock(&pool->lock);
    if (is_wanted)
        r = fetch_result(pool, future, fetch);
    brood__large_clear(&pool->shared.large, fetch->region);
    brood__lock(&pool->lock);
    if (r == 0 && is_wanted)
        future->length = (uint32_t)fetch->length;
    if (r < 0 && fetch->outcome == 0)
        brood__future_keep_message(future, brood_error(), SIZE_MAX);
    r = fetch->outcome < 0 ? fetch->outcome : r; /* an error stays that error although its reply is lost */
    brood__fetch_drop(pool, future);
    brood__future_finish(future, r);
    brood__wake_waiter(pool->shared.header, WAITER_ALL);
    return true;
}

static bool fetch_is_due(struct brood_pool *pool)
{
    return pool->fetches.due != NULL;
}

const struct deferred brood__deferred_fetches = {
    .words = {DEFERRED_WORD(fetches.due)},
    .run = brood__fetch_run_deferred,
    .is_due = fetch_is_due,
};
