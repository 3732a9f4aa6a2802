/* output.c - what tasks print, with the name of the worker that printed it; and the last output of one that crashes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <brood.h>

BROOD_TASK(grind, int, int)
{
    printf("grinding %d\n", *arg); /* [mill-0 grind] grinding 1 */
    if (*arg == 3) {
        printf("there is a stone in it\n");
        abort();
    }
    *result = *arg / 2;
    return 0;
}

int main(void)
{
    enum { COUNT = 5 };
    brood_auto(pool) *pool = NULL;
    brood_auto(future) *map = NULL;
    int in[COUNT] = {0, 1, 2, 3, 4}, out[COUNT];
    struct brood_death death;

    int r = brood_pool_open(&pool, BROOD_POOL(.workers = 2, .name = "mill", .output = BROOD_OUTPUT_PREFIX));
    if (r == 0)
        r = brood_map_async(pool, grind, &map, out, in, COUNT);
    if (r == 0)
        r = brood_future_wait(map, BROOD_FOREVER);
    if (r == 0)
        r = brood_future_death(map, &death);
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }
    printf("%s\nits last words:\n%s", brood_future_error(map), death.output);
    return strstr(death.output, "grinding 3\nthere is a stone in it\n") ? 0 : 1;
}
