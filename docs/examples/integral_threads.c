/* integral_threads.c - the integral of x² from 0 to 10 by threads, each with a part of the interval and a place for its
 * result. */
#include <math.h>
#include <stdio.h>

#include <brood.h>

#define THREADS 8
#define STEPS 10000000L

struct part {
    double from, to, area;
    long steps;
};

static int integrate(void *context)
{
    struct part *part = context;
    double h = (part->to - part->from) / (double)part->steps, sum = 0;

    for (long i = 0; i < part->steps; i++) {
        double x = part->from + ((double)i + 0.5) * h;
        sum += x * x;
    }
    part->area = sum * h;
    return 0;
}

/* Whatever happens, nobody works on the parts any more when this returns. */
static int integrate_all(struct part *parts)
{
    struct brood_thread *threads[THREADS];
    int started = 0, r = 0;

    while (r == 0 && started < THREADS) {
        r = brood_thread_start(&threads[started], BROOD_THREAD(.run = integrate, .context = &parts[started]));
        if (r == 0)
            printf("%s started\n", brood_thread_name(threads[started++]));
    }
    for (int i = 0; i < started; i++) {
        (void)brood_thread_join(threads[i], BROOD_FOREVER);
        brood_thread_free(threads[i]);
    }
    return r;
}

int main(void)
{
    struct part parts[THREADS];
    double width = 10.0 / THREADS, sum = 0;

    for (int i = 0; i < THREADS; i++)
        parts[i] = (struct part){.from = i * width, .to = (i + 1) * width, .steps = STEPS / THREADS};
    if (integrate_all(parts) < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }
    for (int i = 0; i < THREADS; i++)
        sum += parts[i].area;
    printf("Numerical solution with N=%ld: %f\n", STEPS, sum);
    return fabs(sum - 1000.0 / 3) < 1e-6 ? 0 : 1;
}
