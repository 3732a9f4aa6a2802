/* executable.c - workers that are a program of their own, workers/integrate.c: started by its name or path. */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include <brood.h>

struct span { /* the same as in the worker */
    double from, to;
    long steps;
};

/* The worker's task is found by this name.  Here it has no work to do. */
BROOD_TASK(integrate, struct span, double)
{
    (void)arg, (void)result;
    return brood_fail(-ENOSYS, "this runs in the worker executable only");
}

int main(int argc, char **argv)
{
    const char *worker = argc > 1 ? argv[1] : "integrate"; /* without a slash it is looked up in PATH */
    brood_auto(pool) *pool = NULL;
    struct span spans[8];
    double areas[8], area = 0;

    int r = brood_pool_open(&pool, BROOD_POOL(.worker = worker, .workers = 2));
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }

    for (int i = 0; i < 8; i++)
        spans[i] = (struct span){1.25 * i, 1.25 * (i + 1), 100000};
    r = brood_map(pool, integrate, areas, spans, 8);
    for (int i = 0; r == 0 && i < 8; i++)
        area += areas[i];
    printf("%d: the area is %.6f\n", r, area);

    int refused = brood_apply(pool, integrate, NULL, &(struct span){0, 1, 0});
    printf("%d: %s\n", refused, brood_error()); /* the worker's words */
    return r == 0 && fabs(area - 1000.0 / 3) < 1e-6 && refused == -EDOM ? 0 : 1;
}
