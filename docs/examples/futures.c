/* futures.c - work that goes on while the caller does something else: wait for it, ask for its outcome, cancel it. */
#include <errno.h>
#include <stdio.h>

#include <brood.h>

BROOD_TASK(count_primes, long, long) /* below *arg */
{
    if (*arg < 0)
        return brood_fail(-EDOM, "there is nothing to count below %ld", *arg);
    *result = 0;
    for (long n = 2; n < *arg; n++) {
        long d = 2;

        while (d * d <= n && n % d != 0)
            d++;
        *result += d * d > n;
    }
    return 0;
}

int main(void)
{
    brood_auto(pool) *pool = NULL;
    brood_auto(future) *primes = NULL;
    brood_auto(future) *nonsense = NULL;
    brood_auto(future) *unwanted = NULL;
    long found = 0;

    int r = brood_pool_open(&pool, BROOD_POOL(.workers = 1));
    if (r == 0)
        r = brood_apply_async(pool, count_primes, &primes, &(long){1000000});
    if (r == 0)
        r = brood_apply_async(pool, count_primes, &nonsense, &(long){-1});
    if (r == 0)
        r = brood_apply_async(pool, count_primes, &unwanted, &(long){1000000});
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }

    int cancelled = brood_future_cancel(unwanted); /* 0: it will not run; -EBUSY: it runs, or has run */

    while (brood_future_wait(primes, brood_after_ms(100)) == -ETIMEDOUT)
        printf("still counting\n");
    r = brood_future_result(primes, &found, sizeof(found));
    printf("%d: %ld primes\n", r, found);

    int waited = brood_future_wait(nonsense, BROOD_FOREVER);
    int outcome = brood_future_result(nonsense, &(long){0}, sizeof(long));
    printf("%d: %s\n", outcome, brood_future_error(nonsense));

    waited |= brood_future_wait(unwanted, BROOD_FOREVER); /* a cancelled one is done at once */
    int never = brood_future_result(unwanted, &(long){0}, sizeof(long));
    printf("%d: %s\n", never, brood_future_error(unwanted));

    return found == 78498 && outcome == -EDOM && waited == 0 && never == (cancelled == 0 ? -ECANCELED : 0) ? 0 : 1;
}
