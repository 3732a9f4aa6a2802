/* integral_queue.c - the integral of x² from 0 to 10 by threads, and once more by processes: each puts the area of its part
 * into a queue, and the main program adds them up. */
#include <math.h>
#include <stdio.h>

#include <brood.h>

#define PARTS 8
#define STEPS 8000000L

struct part {
    double from, to;
    struct brood_queue *areas;
};

static int integrate(void *context)
{
    const struct part *part = context;
    long steps = STEPS / PARTS;
    double h = (part->to - part->from) / (double)steps, area = 0;

    for (long i = 0; i < steps; i++) {
        double x = part->from + ((double)i + 0.5) * h;
        area += x * x * h;
    }
    return brood_queue_put(part->areas, (struct brood_bytes){&area, sizeof(area)}, BROOD_FOREVER);
}

static int by_threads(struct part *parts)
{
    struct brood_thread *threads[PARTS] = {NULL};
    int r = 0;

    for (int i = 0; r == 0 && i < PARTS; i++)
        r = brood_thread_start(&threads[i], BROOD_THREAD(.run = integrate, .context = &parts[i]));
    for (int i = 0; i < PARTS; i++)
        brood_thread_closep(&threads[i]); /* waits for it */
    return r;
}

static int by_processes(struct part *parts)
{
    struct brood_process *processes[PARTS] = {NULL};
    int r = 0;

    for (int i = 0; r == 0 && i < PARTS; i++)
        r = brood_process_start(&processes[i], BROOD_PROCESS(.run = integrate, .context = &parts[i]));
    for (int i = 0; i < PARTS; i++)
        brood_process_closep(&processes[i]);
    return r;
}

static double sum_of(struct brood_queue *areas)
{
    double sum = 0, area;

    while (brood_queue_get(areas, &(struct brood_space){&area, sizeof(area)}, BROOD_NOW) == 0)
        sum += area;
    return sum;
}

static double integral(const char *kind, int (*run)(struct part *parts))
{
    brood_auto(queue) *areas = NULL;
    struct part parts[PARTS];
    double sum;
    int r = brood_queue_open(&areas, NULL);

    for (int i = 0; i < PARTS; i++)
        parts[i] = (struct part){.from = 10.0 * i / PARTS, .to = 10.0 * (i + 1) / PARTS, .areas = areas};
    if (r == 0)
        r = run(parts);
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return NAN;
    }
    sum = sum_of(areas);
    printf("Numerical solution with N=%ld, by %d %s: %f\n", STEPS, PARTS, kind, sum);
    return sum;
}

int main(void)
{
    double exact = 1000.0 / 3;
    bool threads = fabs(integral("threads", by_threads) - exact) < 1e-6;
    bool processes = fabs(integral("processes", by_processes) - exact) < 1e-6;

    return threads && processes ? 0 : 1;
}
