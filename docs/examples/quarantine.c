/* quarantine.c - one item of a map kills every worker that tries it: after three it is left alone, the others are done, and
 * what it did is on record. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include <brood.h>

static void parse_header(int number)
{
    if (number == 613)
        (void)raise(SIGSEGV); /* the bug */
}

BROOD_TASK(parse, int, int)
{
    parse_header(*arg);
    *result = *arg % 10;
    return 0;
}

int main(void)
{
    enum { COUNT = 1000 };
    static int in[COUNT], out[COUNT];
    brood_auto(pool) *pool = NULL;
    brood_auto(future) *map = NULL;
    struct brood_death deaths[3];
    int good = 0, poison = 0;

    for (int i = 0; i < COUNT; i++)
        in[i] = i;
    int r = brood_pool_open(&pool, BROOD_POOL(.workers = 2, .retries = 2));
    if (r == 0)
        r = brood_map_async(pool, parse, &map, out, in, COUNT);
    if (r == 0)
        r = brood_future_wait(map, BROOD_FOREVER);
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }

    for (size_t i = 0; i < COUNT; i++) {
        good += brood_future_item(map, i) == 0 && out[i] == (int)i % 10;
        if (brood_future_item(map, i) != -EOWNERDEAD)
            continue;
        int count = brood_future_deaths(map, i, deaths, 3);

        printf("item %zu has killed %d workers\n", i, count);
        for (int n = 0; n < count; n++)
            printf("attempt %u: worker %d, signal %d\n%s", deaths[n].attempt, deaths[n].pid, deaths[n].signal,
                   deaths[n].backtrace);
        poison += count;
    }
    printf("%d of %d are right\n", good, COUNT);
    return good == COUNT - 1 && poison == 3 && deaths[2].signal == SIGSEGV ? 0 : 1;
}
