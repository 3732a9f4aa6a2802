/* integrate.c - a worker executable of one's own: its tasks, and a main() that serves them.
 *
 *     cc integrate.c $(pkg-config --cflags --libs brood) -o integrate
 *
 * A program that shares `struct span`, and has a task of the same name and sizes, opens a pool of such workers and uses it
 * as any other:
 *
 *     r = brood_pool_open(&pool, BROOD_POOL(.worker = "./integrate"));
 *     r = brood_map(pool, integrate, areas, spans, 64);
 */
#include <errno.h>

#include <brood.h>

struct span {
    double from, to;
    long steps;
};

static double square(double x)
{
    return x * x;
}

/* The area under x^2, by the midpoint rule. */
BROOD_TASK(integrate, struct span, double)
{
    double h = (arg->to - arg->from) / (double)arg->steps, sum = 0;

    if (arg->steps < 1)
        return brood_fail(-EDOM, "%ld steps: at least one is needed", arg->steps);
    for (long i = 0; i < arg->steps; i++)
        sum += square(arg->from + ((double)i + 0.5) * h);
    *result = sum * h;
    return 0;
}

int main(int argc, char **argv)
{
    return brood_worker_main(argc, argv);
}
