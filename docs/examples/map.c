/* map.c - one task over an array: which of the first 10000 numbers are primes? */
#include <stdbool.h>
#include <stdio.h>

#include <brood.h>

BROOD_TASK(is_prime, long, bool) /* a name, an argument type, a result type */
{
    *result = *arg > 1;
    for (long d = 2; d * d <= *arg && *result; d++)
        *result = *arg % d != 0;
    return 0;
}

int main(void)
{
    brood_auto(pool) *pool = NULL; /* closed when main() returns */
    long numbers[10000];
    bool prime[10000];
    int found = 0;

    for (int i = 0; i < 10000; i++)
        numbers[i] = i;
    int r = brood_pool_open(&pool, BROOD_POOL(.workers = 4));
    if (r == 0)
        r = brood_map(pool, is_prime, prime, numbers, 10000);
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }
    for (int i = 0; i < 10000; i++)
        found += prime[i];
    printf("%d primes\n", found);
    return found == 1229 ? 0 : 1;
}
