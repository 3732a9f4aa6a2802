/* kernels.h - integrals whose values are known: the CPU-bound work that `brood speedup` measures.
 *
 *     const struct kernel *kernel = kernel_find("square");
 *     struct span span = {.kernel = kernel->number, .from = 0, .to = 10, .steps = 1000000};
 *     double area;
 *     r = kernel_integrate(&span, &area);                      // here and now
 *     r = brood_map(pool, speedup_span, areas, spans, n);      // the same function, run by workers
 *     fabs(area - kernel->integral(0, 10)) <= kernel_tolerance(&span)
 *
 * kernel_integrate() is never inlined, and brood and brood-worker are linked with one compilation of kernels.c, so that
 * what is compared is which worker runs the loop and not how it was compiled.
 */
#ifndef BROOD_WORKERS_KERNELS_H
#define BROOD_WORKERS_KERNELS_H

#include <stdint.h>

/* The integral of a kernel over an interval, by the midpoint rule with that many steps. */
struct span {
    int64_t kernel; /* its number */
    double from, to;
    int64_t steps;
};

struct kernel {
    const char *name;
    const char *formula;
    int64_t number;
    double (*sum)(const struct span *span);                      /* of the values at the midpoints */
    double (*integral)(double from, double to);                  /* the true value */
    void (*bound)(double from, double to, double ret_limits[3]); /* of |f|, |f'| and |f''| between from and to */
};

/* The kernel of that name or number, or NULL. */
const struct kernel *kernel_find(const char *name);
const struct kernel *kernel_numbered(int64_t number);

/* "square, damped, ...": all names, for messages. */
const char *kernel_names(void);

/* Computes the integral in the caller.  0; -EINVAL: no such kernel, or fewer steps than one. */
int kernel_integrate(const struct span *span, double *ret_area);

/* How far a correct result may be from the true value: what the midpoint rule leaves at this step size, and rounding. */
double kernel_tolerance(const struct span *span);

/* kernels.c also defines the task of it: BROOD_TASK(speedup_span, struct span, double).  A file that hands it to a pool
 * declares it for itself, since the file that defines a task cannot see a declaration too. */

#endif
