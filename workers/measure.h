/* measure.h - one problem, solved by each kind of worker in turn, with a clock running.
 *
 *     struct problem problem;
 *     r = problem_open(&problem, &whole, 8);                  // eight chunks of it
 *     r = measure(&problem, THREADS, 4, NULL, &sample);       // a pool of its own: opened, timed, closed
 *     problem_close(&problem);
 *
 * Every kind computes the same chunks by the same function, and adds up the areas in the same order: results are equal to
 * the last bit, or something is wrong.
 */
#ifndef BROOD_WORKERS_MEASURE_H
#define BROOD_WORKERS_MEASURE_H

#include <stdbool.h>

#include "kernels.h"

enum kind {
    SERIAL,    /* one loop over the chunks, in the caller */
    LOCKED,    /* threads that hold one lock while they compute, as under a global interpreter lock */
    THREADS,   /* a pool of threads */
    PROCESSES, /* a pool of forked processes */
    EXEC,      /* a pool of processes started from an executable */
    KINDS
};

const char *kind_name(enum kind kind);

/* The kind of that name, or KINDS. */
enum kind kind_find(const char *name);

struct problem {
    struct span whole;
    int chunks;
    double exact;       /* the true value */
    double tolerance;   /* how far a correct result may be from it */
    struct span *spans; /* one for each chunk */
    double *areas;      /* of the chunks, by the worker that ran last */
};

/* Cuts the problem into chunks of equal length.  0; -ENOMEM; -ERANGE: its value does not fit a double. */
int problem_open(struct problem *ret_problem, const struct span *whole, int chunks);
void problem_close(struct problem *problem);

/* Is this a correct result, as far as step size and rounding allow to tell? */
bool problem_accepts(const struct problem *problem, double result);

/* The difference from the true value, divided by it where it is not zero. */
double problem_error(const struct problem *problem, double result);

struct sample {
    double startup_seconds; /* until the workers were ready */
    double seconds;         /* for the work */
    double result;
};

/* Solves the problem once.  `worker` is the executable of EXEC.  0 or a negative errno, with words in brood_error().
 * Callers: one at a time. */
int measure(const struct problem *problem, enum kind kind, int workers, const char *worker, struct sample *ret_sample);

#endif
