/* loop.c - a loop over indices, and a sum over one: squares in shared memory, and pi. */
#include <math.h>
#include <stdio.h>

#include <brood.h>

struct squares {
    double *of; /* in memory of brood_alloc() */
};

BROOD_LOOP(fill_in, struct squares) /* a name and a context type */
{
    context->of[index] = (double)index * (double)index;
    return 0;
}

struct steps {
    double width;
};

BROOD_SUM(circle, struct steps, double) /* … and the type of what is summed up */
{
    double x = ((double)index + 0.5) * context->width;

    *result += context->width * 4 / (1 + x * x);
    return 0;
}

int main(void)
{
    brood_auto(pool) *pool = NULL;
    struct squares squares = {NULL};
    double pi = 0;

    int r = brood_pool_open(&pool, BROOD_POOL(.workers = 4));
    if (r == 0)
        squares.of = brood_alloc(pool, 1000000 * sizeof(double));
    if (squares.of)
        r = brood_for(pool, fill_in, &squares, 0, 1000000);
    if (r == 0)
        r = brood_sum(pool, circle, &pi, &(struct steps){1e-7}, 0, 10000000);
    if (r < 0 || !squares.of) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }
    printf("pi is about %.9f; the square of 1234 is %.0f\n", pi, squares.of[1234]);
    return fabs(pi - 3.14159265358979) < 1e-9 && squares.of[1234] == 1522756 ? 0 : 1;
}
