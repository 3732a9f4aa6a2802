/* integral.c - the area under x^2 from 0 to 10, in chunks that the processes of a pool share. */
#include <math.h>
#include <stdio.h>

#include <brood.h>

struct span {
    double from, to;
    long steps;
};

BROOD_TASK(integrate, struct span, double)
{
    double h = (arg->to - arg->from) / (double)arg->steps, sum = 0;

    for (long i = 0; i < arg->steps; i++) {
        double x = arg->from + ((double)i + 0.5) * h;

        sum += x * x;
    }
    *result = sum * h;
    return 0;
}

int main(void)
{
    enum { CHUNKS = 64 };
    const double from = 0, to = 10, width = (to - from) / CHUNKS;
    brood_auto(pool) *pool = NULL;
    struct span spans[CHUNKS];
    double areas[CHUNKS], area = 0;

    int r = brood_pool_open(&pool, NULL); /* as many processes as this machine is good for */
    if (r < 0) {
        fprintf(stderr, "open: %s\n", brood_error());
        return 1;
    }

    for (int i = 0; i < CHUNKS; i++)
        spans[i] = (struct span){from + i * width, from + (i + 1) * width, 100000};
    r = brood_map(pool, integrate, areas, spans, CHUNKS);
    if (r < 0) {
        fprintf(stderr, "map: %s\n", brood_error());
        return 1;
    }
    for (int i = 0; i < CHUNKS; i++)
        area += areas[i];

    printf("%d processes: the area is %.6f\n", brood_pool_workers(pool), area);
    return fabs(area - 1000.0 / 3) < 1e-6 ? 0 : 1;
}
