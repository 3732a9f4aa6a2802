/* Workers that prepare themselves once, come when there is something to do, and go again. */
#include <brood.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PRIMES 20000

/* What each worker makes for itself before its first task: a table that takes longer than a look at it. */
static int make_sieve(void *context, void **ret_state)
{
    const long *limit = context;
    bool *composite = calloc((size_t)*limit, sizeof(bool));

    if (!composite)
        return brood_fail(-ENOMEM, "no memory for a sieve of %ld numbers", *limit);
    for (long i = 2; i * i < *limit; i++)
        for (long j = i * i; !composite[i] && j < *limit; j += i)
            composite[j] = true;
    *ret_state = composite;
    return 0;
}

static void drop_sieve(void *context, void *state)
{
    (void)context;
    free(state);
}

BROOD_TASK(count_primes, long, long)
{
    const bool *composite = brood_worker_state();

    *result = 0;
    for (long i = *arg; i < *arg + 100; i++)
        *result += i > 1 && !composite[i];
    return 0;
}

int main(void)
{
    brood_auto(pool) *pool = NULL;
    struct brood_pool_stats stats = {.size = sizeof(stats)};
    long limit = PRIMES, from[PRIMES / 100], found[PRIMES / 100], sum = 0;

    for (long i = 0; i < PRIMES / 100; i++)
        from[i] = i * 100;
    int r = brood_pool_open(&pool, BROOD_POOL(.workers = 4, .workers_min = 1, .workers_max = 8, .idle_ms = 500,
                                              .initializer = make_sieve, .finalizer = drop_sieve, .context = &limit));
    if (r == 0)
        r = brood_map(pool, count_primes, found, from, PRIMES / 100);
    if (r == 0)
        r = brood_pool_resize(pool, 2); /* of the four, the last two end after what they run */
    if (r == 0)
        r = brood_pool_stats(pool, &stats);
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }
    for (int i = 0; i < PRIMES / 100; i++)
        sum += found[i];
    printf("%ld primes below %d, by at most %d workers from now on\n", sum, PRIMES, stats.workers);
    (void)brood_pool_shutdown(pool, false);
    r = brood_map(pool, count_primes, found, from, 1);
    printf("afterwards: %s\n", r < 0 ? brood_error() : "?");
    return sum == 2262 && r < 0 ? 0 : 1;
}
