/* crash.c - a task that takes its worker with it: it alone fails, and says how; all others go on. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <brood.h>

BROOD_TASK(twice, int, int)
{
    if (*arg == 13)
        abort();
    *result = 2 * *arg;
    return 0;
}

int main(void)
{
    enum { COUNT = 100 };
    brood_auto(pool) *pool = NULL;
    brood_auto(future) *map = NULL;
    int in[COUNT], out[COUNT], good = 0;
    struct brood_death death;

    for (int i = 0; i < COUNT; i++)
        in[i] = i;
    int r = brood_pool_open(&pool, BROOD_POOL(.workers = 2));
    if (r == 0)
        r = brood_map_async(pool, twice, &map, out, in, COUNT);
    if (r == 0)
        r = brood_future_wait(map, BROOD_FOREVER);
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }

    for (size_t i = 0; i < COUNT; i++) {
        int outcome = brood_future_item(map, i);

        if (outcome == 0)
            good += out[i] == 2 * in[i];
        else
            printf("item %zu: %s\n", i, outcome == -EOWNERDEAD ? "its worker died" : "failed");
    }
    printf("%d of %d are right\n", good, COUNT);

    if (brood_future_death(map, &death) < 0)
        return 1;
    printf("%s\n", brood_future_error(map)); /* worker 0 (pid 4711) was killed by signal 6 (Aborted) … */

    r = brood_apply(pool, twice, &out[0], &(int){21}); /* the worker has been replaced */
    printf("%d: %d\n", r, out[0]);
    return good == COUNT - 1 && death.item == 13 && death.signal == SIGABRT && r == 0 && out[0] == 42 ? 0 : 1;
}
