/* promise.c - a future that a thread of this program completes, awaited together with one of a pool. */
#include <pthread.h>
#include <stdio.h>

#include <brood.h>

BROOD_TASK(half, int, int)
{
    *result = *arg / 2;
    return 0;
}

static void *work(void *argument)
{
    struct brood_future *answer = argument;

    if (brood_promise_set_running(answer) == 0) /* else it was cancelled, and there is nothing to do */
        brood_promise_set_result(answer, &(int){42}, sizeof(int));
    return NULL;
}

int main(void)
{
    brood_auto(pool) *pool = NULL;
    brood_auto(future) *answer = NULL;
    brood_auto(future) *check = NULL;
    pthread_t thread;
    int x = 0, y = 0;

    int r = brood_pool_open(&pool, BROOD_POOL(.workers = 1));
    if (r == 0)
        r = brood_promise_open(&answer);
    if (r == 0)
        r = brood_apply_async(pool, half, &check, &(int){84});
    if (r == 0)
        r = -pthread_create(&thread, NULL, work, answer);
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }

    struct brood_future *both[] = {answer, check};
    int done = brood_futures_wait(both, 2, BROOD_ALL_COMPLETED, NULL, brood_after_ms(10000));
    int outcome = brood_future_result(answer, &x, sizeof(x));

    if (outcome == 0)
        outcome = brood_future_result(check, &y, sizeof(y));
    printf("%d done: %d and %d\n", done, x, y);
    pthread_join(thread, NULL);
    return done == 2 && outcome == 0 && x == 42 && y == 42 ? 0 : 1;
}
