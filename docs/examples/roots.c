/* roots.c - usage: roots [count]: a daemon thread calculates square roots; the main thread looks at its progress once a
 * second, or without a count, when there is less to do, every 20 ms, and is told by the thread's end that it is complete.
 */
#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <brood.h>

struct calculator {
    long target;
    int look_every_ms;
    double *results;
    atomic_long done; /* results that can be read: stored after them */
};

static int calculate(void *context)
{
    struct calculator *calculator = context;

    for (long i = 1; i <= calculator->target; i++) {
        calculator->results[i - 1] = sqrt((double)i);
        atomic_store(&calculator->done, i);
    }
    return 0;
}

static int watch(struct calculator *calculator)
{
    struct brood_thread *thread;

    /* A daemon: the program may end without waiting for it. */
    int r = brood_thread_start(&thread, BROOD_THREAD(.run = calculate, .context = calculator, .daemon = 1));
    if (r < 0)
        return r;
    do {
        printf("%ld square roots calculated so far.\n", atomic_load(&calculator->done));
        r = brood_thread_join(thread, brood_after_ms(calculator->look_every_ms));
    } while (r == -ETIMEDOUT);
    brood_thread_free(thread);
    return r;
}

int main(int argc, char **argv)
{
    struct calculator calculator = {.target = 10000000, .look_every_ms = 20};

    if (argc > 1)
        calculator = (struct calculator){.target = atol(argv[1]), .look_every_ms = 1000};
    if (calculator.target < 1) {
        fprintf(stderr, "usage: %s [number of square roots to calculate]\n", argv[0]);
        return 2;
    }
    calculator.results = calloc((size_t)calculator.target, sizeof(double));
    if (!calculator.results)
        return 1;
    int r = watch(&calculator);
    if (r < 0)
        fprintf(stderr, "%s\n", brood_error());
    else
        printf("Calculated %ld square root(s); the last one is sqrt(%ld)=%f\n", calculator.target, calculator.target,
               calculator.results[calculator.target - 1]);
    free(calculator.results);
    return r == 0 ? 0 : 1;
}
