/* billion.c - usage: billion [count]: a loop over a billion indices, in the memory of a loop over ten.  It adds up those
 * that 3 or 5 divides. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <brood.h>

BROOD_SUM(multiples, int, uint64_t) /* no context: NULL */
{
    (void)context;
    if (index % 3 == 0 || index % 5 == 0)
        *result += index;
    return 0;
}

/* What 3 divides, and what 5 divides, but what both divide only once. */
static uint64_t expected(uint64_t count)
{
    static const uint64_t of[] = {3, 5, 15};
    uint64_t sums[3];

    for (int i = 0; i < 3; i++) {
        uint64_t n = (count - 1) / of[i];

        sums[i] = of[i] * (n % 2 ? (n + 1) / 2 * n : n / 2 * (n + 1));
    }
    return sums[0] + sums[1] - sums[2];
}

/* The most that any of them ever had. */
static long peak_mib(void)
{
    struct rusage mine, workers;

    if (getrusage(RUSAGE_SELF, &mine) < 0 || getrusage(RUSAGE_CHILDREN, &workers) < 0)
        return -1;
    return (mine.ru_maxrss > workers.ru_maxrss ? mine.ru_maxrss : workers.ru_maxrss) / 1024;
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000000, sum = 0;
    struct brood_pool *pool = NULL;

    if (count == 0 || count > 4000000000) {
        fprintf(stderr, "usage: %s [how many indices, at most 4000000000]\n", argv[0]);
        return 2;
    }
    int r = brood_pool_open(&pool, NULL);
    if (r == 0)
        r = brood_sum(pool, multiples, &sum, NULL, 0, count);
    if (r < 0)
        fprintf(stderr, "%s\n", brood_error());
    brood_pool_close(pool, BROOD_FOREVER); /* afterwards it is known what the workers had */
    printf("%llu, in at most %ld MiB of each process\n", (unsigned long long)sum, peak_mib());
    return r == 0 && sum == expected(count) && peak_mib() < 64 ? 0 : 1;
}
