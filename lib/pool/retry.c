#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/clock.h"
#include "os/error.h"
#include "pool/retry.h"

#define PAUSE_DOUBLINGS_MAX 10

struct retry {
    struct brood_future *next; /* in pool->again */
    struct request request;
    int left;      /* negative: it is not to be run again whatever happens */
    int64_t at_ns; /* not before */
    unsigned char arg[SLOT_ARG_BYTES];
};

int brood__retry_prepare(struct brood_pool *pool, struct brood_future *future, const struct request *request, int retries)
{
    struct retry *retry = malloc(sizeof(*retry));

    (void)pool;
    if (!retry)
        return brood_fail(-ENOMEM, "out of memory");
    *retry = (struct retry){.request = *request, .left = retries};
    if (!request->arg_offset && request->arg.len > 0) {
        memcpy(retry->arg, request->arg.ptr, request->arg.len);
        retry->request.arg.ptr = retry->arg;
    }
    brood__future_add_more(future);
    future->more.retry = retry;
    future->more.attempt = 1;
    return 0;
}

static struct retry *retry_of(const struct brood_future *future)
{
    return future->has_more ? future->more.retry : NULL;
}

const struct request *brood__retry_request(const struct brood_future *future)
{
    return retry_of(future) ? &retry_of(future)->request : NULL;
}

static int64_t pause_before(const struct brood_pool *pool, uint32_t attempt)
{
    uint32_t doublings = attempt - 2;

    return pool->retry_pause_ns << (doublings < PAUSE_DOUBLINGS_MAX ? doublings : PAUSE_DOUBLINGS_MAX);
}

bool brood__retry(struct brood_pool *pool, struct brood_future *future)
{
    struct retry *retry = retry_of(future);

    if (!retry || retry->left <= 0 || pool->broken || pool->closed || pool->given_up)
        return false;
    retry->left--;
    future->more.attempt++;
    pool->retried++;
    retry->at_ns = brood__now_ns() + pause_before(pool, future->more.attempt);
    retry->next = pool->again;
    pool->again = future;
    return true;
}

/* Where the list names the first one from *place on that is due. */
static struct brood_future **find_due(struct brood_future **place, int64_t now_ns)
{
    while (*place && retry_of(*place)->at_ns > now_ns)
        place = &retry_of(*place)->next;
    return *place ? place : NULL;
}

bool brood__retry_due(struct brood_pool *pool)
{
    struct brood_future **place = pool->again ? find_due(&pool->again, brood__now_ns()) : NULL, *future;

    if (!place)
        return false;
    future = *place;
    *place = retry_of(future)->next;
    if (brood__submit(pool, &future->job, &retry_of(future)->request, ANY_LANE))
        return true;
    retry_of(future)->next = pool->again;
    pool->again = future;
    return false;
}

bool brood__retry_is_due(const struct brood_pool *pool)
{
    return pool->again && brood__retry_next(pool).ns <= brood__now_ns() && brood__has_slot(pool);
}

brood_deadline brood__retry_next(const struct brood_pool *pool)
{
    int64_t next = BROOD_FOREVER.ns;

    for (const struct brood_future *future = pool->again; future; future = retry_of(future)->next)
        if (retry_of(future)->at_ns < next)
            next = retry_of(future)->at_ns;
    return (brood_deadline){next};
}

bool brood__retry_forget(struct brood_pool *pool, struct brood_future *future, int outcome)
{
    for (struct brood_future **place = &pool->again; *place; place = &retry_of(*place)->next)
        if (*place == future) {
            *place = retry_of(future)->next;
            brood__future_finish(future, outcome);
            return true;
        }
    return false;
}

void brood__retry_forget_all(struct brood_pool *pool, int outcome)
{
    while (pool->again)
        (void)brood__retry_forget(pool, pool->again, outcome);
}

void brood__retry_never(struct brood_future *future)
{
    if (retry_of(future))
        retry_of(future)->left = -1;
}

bool brood__retry_is_used_up(const struct brood_future *future)
{
    return !retry_of(future) || retry_of(future)->left == 0;
}
