/* as_completed.c - results in the order in which they come, the quickest first. */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include <brood.h>

#define TASKS 5

BROOD_TASK(nap, int, int) /* for so many milliseconds */
{
    struct timespec time = {.tv_nsec = *arg * 1000000L};

    *result = *arg;
    return nanosleep(&time, NULL);
}

int main(void)
{
    brood_auto(pool) *pool = NULL;
    brood_auto(as_completed) *iterator = NULL;
    struct brood_future *naps[TASKS] = {NULL}, *next;
    int given = 0;

    int r = brood_pool_open(&pool, BROOD_POOL(.workers = TASKS));
    for (int i = 0; r == 0 && i < TASKS; i++)
        r = brood_apply_async(pool, nap, &naps[i], &(int){100 - 20 * i});
    if (r == 0)
        r = brood_as_completed_open(&iterator, naps, TASKS);
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }

    while ((r = brood_as_completed_next(iterator, &next, brood_after_ms(10000))) == 0) {
        int ms = 0;

        if (brood_future_result(next, &ms, sizeof(ms)) == 0)
            printf("%d ms\n", ms);
        brood_future_free(next);
        given++;
    }
    return r == -ENODATA && given == TASKS ? 0 : 1;
}
