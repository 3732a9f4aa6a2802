/* measure.c - running a problem by each kind of worker. */
#include "measure.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <brood/pool.h>

BROOD_TASK_DECLARE(speedup_span, struct span, double); /* kernels.c */

static const char *const kind_names[KINDS] = {"serial", "locked", "threads", "processes", "exec"};

const char *kind_name(enum kind kind)
{
    return kind_names[kind];
}

enum kind kind_find(const char *name)
{
    int kind = 0;

    while (kind < KINDS && strcmp(kind_names[kind], name) != 0)
        kind++;
    return (enum kind)kind;
}

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- the problem ---- */

static int64_t step_of_chunk(const struct problem *problem, int chunk)
{
    int64_t each = problem->whole.steps / problem->chunks, more = problem->whole.steps % problem->chunks;

    return chunk * each + (chunk < more ? chunk : more);
}

/* Where a chunk begins.  A chunk ends exactly where the next begins, and the last where the whole does. */
static double edge_of_chunk(const struct problem *problem, int chunk)
{
    const struct span *whole = &problem->whole;

    if (chunk == problem->chunks)
        return whole->to;
    return whole->from + (whole->to - whole->from) * ((double)step_of_chunk(problem, chunk) / (double)whole->steps);
}

static void cut(struct problem *problem)
{
    for (int i = 0; i < problem->chunks; i++) {
        problem->spans[i] = (struct span){
            .kernel = problem->whole.kernel,
            .from = edge_of_chunk(problem, i),
            .to = edge_of_chunk(problem, i + 1),
            .steps = step_of_chunk(problem, i + 1) - step_of_chunk(problem, i),
        };
    }
}

int problem_open(struct problem *ret_problem, const struct span *whole, int chunks)
{
    struct problem problem = {.whole = *whole, .chunks = chunks};

    problem.exact = kernel_numbered(whole->kernel)->integral(whole->from, whole->to);
    problem.tolerance = kernel_tolerance(whole);
    if (!isfinite(problem.exact) || !isfinite(problem.tolerance))
        return -ERANGE;
    problem.spans = calloc((size_t)chunks, sizeof(*problem.spans));
    problem.areas = calloc((size_t)chunks, sizeof(*problem.areas));
    if (!problem.spans || !problem.areas) {
        problem_close(&problem);
        return -ENOMEM;
    }
    cut(&problem);
    *ret_problem = problem;
    return 0;
}

void problem_close(struct problem *problem)
{
    free(problem->spans);
    free(problem->areas);
    problem->spans = NULL;
    problem->areas = NULL;
}

bool problem_accepts(const struct problem *problem, double result)
{
    return fabs(result - problem->exact) <= problem->tolerance;
}

double problem_error(const struct problem *problem, double result)
{
    double difference = fabs(result - problem->exact);

    return problem->exact != 0 ? difference / fabs(problem->exact) : difference;
}

static double total_area(const struct problem *problem)
{
    double sum = 0;

    for (int i = 0; i < problem->chunks; i++)
        sum += problem->areas[i];
    return sum;
}

/* ---- serial ---- */

static int run_serial(const struct problem *problem, struct sample *sample)
{
    double start = seconds_now();
    int r = 0;

    for (int i = 0; i < problem->chunks && r == 0; i++)
        r = kernel_integrate(&problem->spans[i], &problem->areas[i]);
    sample->seconds = seconds_now() - start;
    return r;
}

/* ---- locked ---- */

struct crowd {
    const struct problem *problem;
    pthread_mutex_t lock; /* held while a chunk is computed; guards what follows */
    int next;             /* chunk */
    int error;
};

/* One chunk, all of it under the lock.  False when none is left. */
static bool locked_chunk(struct crowd *crowd)
{
    bool more;

    pthread_mutex_lock(&crowd->lock);
    more = crowd->next < crowd->problem->chunks && crowd->error == 0;
    if (more) {
        int chunk = crowd->next++;

        crowd->error = kernel_integrate(&crowd->problem->spans[chunk], &crowd->problem->areas[chunk]);
    }
    pthread_mutex_unlock(&crowd->lock);
    return more;
}

static void *locked_thread(void *arg)
{
    while (locked_chunk(arg))
        ;
    return NULL;
}

static int start_threads(struct crowd *crowd, pthread_t *threads, int wanted, int *ret_started)
{
    int r = 0;

    for (*ret_started = 0; *ret_started < wanted; (*ret_started)++) {
        r = pthread_create(&threads[*ret_started], NULL, locked_thread, crowd);
        if (r != 0)
            return brood_fail(-r, "cannot start thread %d of %d: %s", *ret_started + 1, wanted, strerror(r));
    }
    return 0;
}

/* The lock is held while the threads are started, so that none begins before the clock does. */
static int run_crowd(struct crowd *crowd, pthread_t *threads, int workers, struct sample *sample)
{
    double start = seconds_now();
    int started;

    pthread_mutex_lock(&crowd->lock);
    crowd->error = start_threads(crowd, threads, workers, &started);
    sample->startup_seconds = seconds_now() - start;
    start = seconds_now();
    pthread_mutex_unlock(&crowd->lock);
    while (started > 0)
        pthread_join(threads[--started], NULL);
    sample->seconds = seconds_now() - start;
    return crowd->error;
}

static int run_locked(const struct problem *problem, int workers, struct sample *sample)
{
    struct crowd crowd = {.problem = problem, .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[BROOD_WORKERS_MAX];

    return run_crowd(&crowd, threads, workers, sample);
}

/* ---- pools ---- */

static int run_pool(const struct problem *problem, const struct brood_pool_options *options, struct sample *sample)
{
    brood_auto(pool) *pool = NULL;
    double start = seconds_now();
    int r;

    r = brood_pool_open(&pool, options);
    if (r < 0)
        return r;
    sample->startup_seconds = seconds_now() - start;
    start = seconds_now();
    r = brood_map(pool, speedup_span, problem->areas, problem->spans, (size_t)problem->chunks);
    sample->seconds = seconds_now() - start;
    return r;
}

static int run_kind(const struct problem *problem, enum kind kind, int workers, const char *worker, struct sample *sample)
{
    switch (kind) {
    case SERIAL:
        return run_serial(problem, sample);
    case LOCKED:
        return run_locked(problem, workers, sample);
    case THREADS:
        return run_pool(problem, BROOD_POOL(.kind = BROOD_THREADS, .workers = workers), sample);
    case PROCESSES:
        return run_pool(problem, BROOD_POOL(.kind = BROOD_PROCESSES, .workers = workers), sample);
    default:
        return run_pool(problem, BROOD_POOL(.kind = BROOD_PROCESSES, .workers = workers, .worker = worker), sample);
    }
}

/* A chunk that no worker computes must not pass with the area that the run before left there. */
static void forget_areas(const struct problem *problem)
{
    for (int i = 0; i < problem->chunks; i++)
        problem->areas[i] = NAN;
}

int measure(const struct problem *problem, enum kind kind, int workers, const char *worker, struct sample *ret_sample)
{
    struct sample sample = {0};
    int r;

    forget_areas(problem);
    r = run_kind(problem, kind, workers, worker, &sample);
    if (r < 0)
        return r;
    sample.result = total_area(problem);
    *ret_sample = sample;
    return 0;
}
