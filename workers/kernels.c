/* kernels.c - the integrands, their loops, and what is known about their integrals. */
#include "kernels.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include <brood/task.h>

/* ---- the integrands, as the mean over a step of width h around x ---- */

static inline double square(double x, double h)
{
    (void)h;
    return x * x;
}

static inline double damped(double x, double h)
{
    (void)h;
    return exp(-x) * sin(x);
}

static inline double oscillating(double x, double h)
{
    (void)h;
    return 1 + sin(20 * x);
}

static const double peak_at = 3, peak_width = 0.1;

static inline double peak_height(double x)
{
    double d = (x - peak_at) / peak_width;

    return 1 / (1 + d * d);
}

/* The peak is refined where it is high: the second derivative, and with it the error of a step, falls with the square of
 * the height, and the error of a divided step with the square of the parts.  So steps near the top cost up to 32 times as
 * much as those far away, and pieces of equal length do not cost the same. */
static inline double peak(double x, double h)
{
    int parts = 1 + (int)(31 * peak_height(x));
    double width = h / parts, sum = 0;

    for (int i = 0; i < parts; i++)
        sum += peak_height(x - h / 2 + (i + 0.5) * width);
    return sum / parts;
}

/* ---- the loop ---- */

/* Steps that are added up before they go to the total: rounding grows with the longest chain of additions, which is so
 * thousands of times shorter than the number of steps. */
#define BLOCK_STEPS 4096

/* Inlined into one small function for each kernel, so that a step is not a call through a pointer. */
static inline __attribute__((always_inline)) double sum_of(const struct span *span, double (*f)(double x, double h))
{
    double h = (span->to - span->from) / (double)span->steps, sum = 0;

    for (int64_t i = 0; i < span->steps;) {
        int64_t end = span->steps - i > BLOCK_STEPS ? i + BLOCK_STEPS : span->steps;
        double block = 0;

        for (; i < end; i++)
            block += f(span->from + ((double)i + 0.5) * h, h);
        sum += block;
    }
    return sum;
}

static double square_sum(const struct span *span)
{
    return sum_of(span, square);
}

static double damped_sum(const struct span *span)
{
    return sum_of(span, damped);
}

static double oscillating_sum(const struct span *span)
{
    return sum_of(span, oscillating);
}

static double peak_sum(const struct span *span)
{
    return sum_of(span, peak);
}

/* ---- the true values, written so that nothing cancels where the ends are close together ---- */

static double square_integral(double a, double b)
{
    return (b - a) * (a * a + a * b + b * b) / 3;
}

static double damped_primitive(double x)
{
    return -exp(-x) * (sin(x) + cos(x)) / 2;
}

static double damped_integral(double a, double b)
{
    return damped_primitive(b) - damped_primitive(a);
}

static double oscillating_integral(double a, double b)
{
    return (b - a) + sin(10 * (a + b)) * sin(10 * (b - a)) / 10;
}

/* A difference of two arcs, as one. */
static double peak_integral(double a, double b)
{
    double left = (a - peak_at) / peak_width, right = (b - peak_at) / peak_width;

    return peak_width * atan2(right - left, 1 + left * right);
}

/* ---- bounds of |f|, |f'|, |f''| ---- */

static void square_bound(double a, double b, double ret_limits[3])
{
    double x = fmax(fabs(a), fabs(b));

    ret_limits[0] = x * x;
    ret_limits[1] = 2 * x;
    ret_limits[2] = 2;
}

static void damped_bound(double a, double b, double ret_limits[3])
{
    (void)b;
    ret_limits[0] = exp(-a);
    ret_limits[1] = 1.5 * exp(-a);
    ret_limits[2] = 2 * exp(-a);
}

static void oscillating_bound(double a, double b, double ret_limits[3])
{
    (void)a, (void)b;
    ret_limits[0] = 2;
    ret_limits[1] = 20;
    ret_limits[2] = 400;
}

static void peak_bound(double a, double b, double ret_limits[3])
{
    (void)a, (void)b;
    ret_limits[0] = 1;
    ret_limits[1] = 0.65 / peak_width;
    ret_limits[2] = 2 / (peak_width * peak_width);
}

/* ---- by name and number ---- */

static const struct kernel kernels[] = {
    {"square", "x^2", 0, square_sum, square_integral, square_bound},
    {"damped", "exp(-x) sin(x)", 1, damped_sum, damped_integral, damped_bound},
    {"oscillating", "1 + sin(20 x)", 2, oscillating_sum, oscillating_integral, oscillating_bound},
    {"peak", "1 / (1 + ((x - 3) / 0.1)^2)", 3, peak_sum, peak_integral, peak_bound},
};

#define KERNELS ((int64_t)(sizeof(kernels) / sizeof(kernels[0])))

const struct kernel *kernel_find(const char *name)
{
    for (int64_t i = 0; i < KERNELS; i++)
        if (strcmp(kernels[i].name, name) == 0)
            return &kernels[i];
    return NULL;
}

const struct kernel *kernel_numbered(int64_t number)
{
    return number >= 0 && number < KERNELS ? &kernels[number] : NULL;
}

const char *kernel_names(void)
{
    return "square, damped, oscillating, peak";
}

__attribute__((noinline)) int kernel_integrate(const struct span *span, double *ret_area)
{
    const struct kernel *kernel = kernel_numbered(span->kernel);

    if (!kernel)
        return brood_fail(-EINVAL, "there is no kernel %lld", (long long)span->kernel);
    if (span->steps < 1)
        return brood_fail(-EINVAL, "%lld steps are too few", (long long)span->steps);
    *ret_area = kernel->sum(span) * ((span->to - span->from) / (double)span->steps);
    return 0;
}

/* The midpoint rule is off by at most (b - a) h^2 max|f''| / 24.  Rounding: of the sum, of each midpoint (which matters as
 * much as the function is steep there), and of the true value.  The eights leave room for some units in the last place. */
double kernel_tolerance(const struct span *span)
{
    double length = span->to - span->from, h = length / (double)span->steps;
    double ends = fmax(fabs(span->from), fabs(span->to)), limits[3], rule, chain, rounding;

    kernel_numbered(span->kernel)->bound(span->from, span->to, limits);
    rule = length * h * h * limits[2] / 24;
    chain = BLOCK_STEPS + (double)span->steps / BLOCK_STEPS;
    rounding = DBL_EPSILON * (chain * length * limits[0] + 8 * length * ends * limits[1] + 8 * limits[0]);
    return rule + rounding;
}

BROOD_TASK(speedup_span, struct span, double)
{
    return kernel_integrate(arg, result);
}
