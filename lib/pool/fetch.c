#include <errno.h>
#include <stdlib.h>

#include "os/error.h"
#include "pool/fetch.h"
#include "pool/future.h"

struct fetch {
    struct brood_future *next; /* in pool->fetches */
    size_t capacity, length;
    uint32_t region;
    int outcome;
    bool is_soiled; /* a worker died of it, perhaps with something written */
};

uint32_t brood__fetch_prepare(struct brood_pool *pool, struct brood_future *future, size_t capacity)
{
    struct fetch *fetch = calloc(1, sizeof(*fetch));

    if (!fetch)
        return SPILL_NONE;
    fetch->capacity = capacity;
    fetch->region = brood__spill_take(&pool->shared.spill, &pool->regions);
    future->fetch = fetch;
    return fetch->region;
}

uint32_t brood__fetch_region(const struct brood_future *future)
{
    const struct fetch *fetch = brood__future_fetch(future);

    return fetch ? fetch->region : SPILL_NONE;
}

void brood__fetch_soil(struct brood_future *future)
{
    struct fetch *fetch = brood__future_fetch(future);

    if (fetch)
        fetch->is_soiled = true;
}

void brood__fetch_drop(struct brood_pool *pool, struct brood_future *future)
{
    struct fetch *fetch = brood__future_fetch(future);

    if (!fetch)
        return;
    brood__spill_give(&pool->regions, fetch->region);
    free(fetch);
    future->fetch = NULL;
}

bool brood__fetch_later(struct brood_pool *pool, struct brood_future *future, int outcome, size_t length)
{
    struct fetch *fetch = brood__future_fetch(future);

    if (!fetch || fetch->region == SPILL_NONE || (length == 0 && !fetch->is_soiled))
        return false;
    fetch->outcome = outcome;
    fetch->length = length;
    fetch->next = pool->fetches;
    pool->fetches = future;
    return true;
}

/* Without the lock.  The future is nobody else's until it is done. */
static int fetch_result(struct brood_pool *pool, struct brood_future *future, const struct fetch *fetch)
{
    if (fetch->capacity == SIZE_MAX) {
        void *larger = realloc(future->result, fetch->length);

        if (!larger)
            return brood_fail(-ENOMEM, "no memory for a result of %zu bytes", fetch->length);
        future->result = larger;
    } else if (fetch->length > fetch->capacity)
        return brood_fail(-EMSGSIZE, "the result has %zu bytes, and there is room for %zu", fetch->length, fetch->capacity);
    return brood__spill_read(&pool->shared.spill, fetch->region, future->result, fetch->length);
}

bool brood__fetch_turn(struct brood_pool *pool)
{
    struct brood_future *future = pool->fetches;
    struct fetch *fetch;
    int r = 0;

    if (!future)
        return false;
    fetch = future->fetch;
    pool->fetches = fetch->next;
    bool is_wanted = fetch->length > 0 && !future->abandoned;

    brood__unlock(&pool->lock);
    if (is_wanted)
        r = fetch_result(pool, future, fetch);
    brood__spill_clear(&pool->shared.spill, fetch->region);
    brood__lock(&pool->lock);
    if (r < 0)
        brood__future_keep_words(future, brood_error(), SIZE_MAX);
    else if (is_wanted)
        future->length = (uint32_t)fetch->length;
    r = r < 0 ? r : fetch->outcome;
    brood__fetch_drop(pool, future);
    brood__future_finish(future, r);
    brood__wake_waiter(pool->shared.board, WAITER_ALL);
    return true;
}
