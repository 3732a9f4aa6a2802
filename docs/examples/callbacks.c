/* callbacks.c - a program with a loop of its own: it polls the pool's descriptor, and is called when something is done. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include <brood.h>

#define TASKS 10

BROOD_TASK(cube, long, long)
{
    if (*arg == 7)
        return brood_fail(-EDOM, "I do not like %ld", *arg);
    *result = *arg * *arg * *arg;
    return 0;
}

struct totals {
    long sum;
    int done, failed;
};

static void add_up(struct brood_future *future, void *context)
{
    struct totals *totals = context;
    long y = 0;

    totals->done++;
    if (brood_future_result(future, &y, sizeof(y)) < 0) {
        printf("one failed: %s\n", brood_future_error(future));
        totals->failed++;
    }
    totals->sum += y;
    brood_future_free(future);
}

static int submit(struct brood_pool *pool, long x, struct totals *totals)
{
    struct brood_future *future;
    int r = brood_apply_async(pool, cube, &future, &x);

    return r < 0 ? r : brood_future_on_done(future, add_up, totals);
}

int main(void)
{
    brood_auto(pool) *pool = NULL;
    struct totals totals = {0, 0, 0};

    int r = brood_pool_open(&pool, BROOD_POOL(.workers = 2));
    for (long x = 0; r == 0 && x < TASKS; x++)
        r = submit(pool, x, &totals);
    if (r == 0)
        r = brood_pool_fd(pool);
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }

    struct pollfd watched[] = {{.fd = r, .events = POLLIN}}; /* beside sockets, timers, whatever there is */

    while (totals.done < TASKS && poll(watched, 1, 10000) > 0)
        brood_pool_run(pool, BROOD_NOW); /* calls add_up() for what is done */
    printf("%d done, %d failed, the others' sum is %ld\n", totals.done, totals.failed, totals.sum);
    return totals.done == TASKS && totals.failed == 1 && totals.sum == 2025 - 343 ? 0 : 1;
}
