/* A task that may hang: it gets a limit, and the pool goes on without it. */
#include <brood.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

BROOD_TASK(collatz, long, long)
{
    long steps = 0;

    for (long n = *arg; n != 1; steps++)
        n = n % 2 == 0 ? n / 2 : 3 * n + 1; /* 0 stays 0 */
    *result = steps;
    return 0;
}

int main(void)
{
    brood_auto(pool) *pool = NULL;
    brood_auto(future) *good = NULL;
    brood_auto(future) *stuck = NULL;
    struct brood_death death;
    long steps = 0;

    int r = brood_pool_open(&pool, BROOD_POOL(.workers = 2, .limit_ms = 100));
    if (r == 0)
        r = brood_apply_async(pool, collatz, &good, &(long){27});
    if (r == 0)
        r = brood_apply_async(pool, collatz, &stuck, &(long){0});
    if (r < 0 || brood_future_wait(good, BROOD_FOREVER) < 0 || brood_future_wait(stuck, BROOD_FOREVER) < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }
    r = brood_future_result(good, &steps, sizeof(steps));
    printf("27: %d, %ld steps\n", r, steps);
    r = brood_future_result(stuck, &steps, sizeof(steps));
    printf("0: %s\n", r == -ETIMEDOUT ? "had its time" : "?");
    if (brood_future_death(stuck, &death) == 0)
        printf("worker %d used %ld ms; it was at\n%s", death.worker, (long)(death.user_us / 1000), death.backtrace);
    return r == -ETIMEDOUT ? 0 : 1;
}
