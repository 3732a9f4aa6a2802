/* pool.c - one pool, and the four ways to give it work: a call, a call whose result is wanted later, a map, and a map whose
 * results are wanted later. */
#include <stdio.h>

#include <brood.h>

#define NUMBERS 10

BROOD_TASK(square, int, int)
{
    *result = *arg * *arg;
    return 0;
}

static void print_all(const int *results)
{
    for (int i = 0; i < NUMBERS; i++)
        printf("%d%c", results[i], i + 1 < NUMBERS ? ' ' : '\n');
}

static int later(struct brood_pool *pool, const int *numbers, int *results)
{
    brood_auto(future) *one = NULL, *all = NULL;
    int result;

    int r = brood_apply_async(pool, square, &one, &(int){10});
    if (r == 0)
        r = brood_map_async(pool, square, &all, results, numbers, NUMBERS);
    if (r == 0)
        r = brood_pool_shutdown(pool, false); /* that was all: what was handed in is finished */
    if (r == 0)
        r = brood_future_wait(one, brood_after_ms(1000));
    if (r == 0)
        r = brood_future_result(one, &result, sizeof(result));
    if (r == 0)
        printf("%d\n", result);
    if (r == 0)
        r = brood_future_wait(all, BROOD_FOREVER);
    return r == 0 ? brood_future_result(all, NULL, 0) : r;
}

int main(void)
{
    brood_auto(pool) *pool = NULL;
    int numbers[NUMBERS], results[NUMBERS], result = 0;

    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = i;
    int r = brood_pool_open(&pool, BROOD_POOL(.workers = 4));
    if (r == 0)
        r = brood_apply(pool, square, &result, &(int){10});
    if (r == 0)
        printf("%d\n", result);
    if (r == 0)
        r = brood_map(pool, square, results, numbers, NUMBERS);
    if (r == 0)
        print_all(results);
    if (r == 0)
        r = later(pool, numbers, results);
    if (r == 0)
        print_all(results);
    else
        fprintf(stderr, "%s\n", brood_error());
    return r == 0 && result == 100 && results[NUMBERS - 1] == 81 ? 0 : 1;
}
