/* A program that knows brood only as it is installed: halves a million numbers in two processes. */
#include <stdio.h>
#include <stdlib.h>

#include <brood.h>

BROOD_TASK(halve, double, double)
{
    *result = *arg / 2;
    return 0;
}

int main(void)
{
    enum { COUNT = 1000000 };
    static double in[COUNT], out[COUNT];
    brood_auto(pool) *pool = NULL;
    double sum = 0;

    for (int i = 0; i < COUNT; i++)
        in[i] = i;
    int r = brood_pool_open(&pool, BROOD_POOL(.workers = 2));
    if (r == 0)
        r = brood_map(pool, halve, out, in, COUNT);
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return EXIT_FAILURE;
    }
    for (int i = 0; i < COUNT; i++)
        sum += out[i];
    printf("%.0f\n", sum);
    return EXIT_SUCCESS;
}
