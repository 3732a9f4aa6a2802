/* bench_core.c - the pool's calls beside what machine and system allow, and the marks that they are to meet.
 *
 *     bench_core                          # all of it, a minute
 *     bench_core --only hot
 *     bench_core --quick --json results.json
 *
 * Workers are forked processes.  Whatever is compared takes turns in short batches (bench.h), and the one waits until the
 * other's processes sleep (settle()), so that neither is measured beside the other's spinning.  OpenMP lives in a child of
 * its own: its threads go on spinning after a loop, and would be this process's for good.
 *
 * CPUs are chosen by the program only for round trips and the stream to one worker, for brood and peer alike, since these
 * are about two processes that run at the same time.  Elsewhere the scheduler chooses, as it does for users.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <brood.h>

#include "bench.h"
#include "os/clock.h"
#include "peers.h"

/* ---- the tasks ---- */

BROOD_TASK(add_one, uint64_t, uint64_t)
{
    *result = *arg + 1;
    return 0;
}

struct span {
    double from, to;
    int64_t steps;
};

/* The area below x^2.  Not inlined: pool and threads call one compilation of it. */
static __attribute__((noinline)) int integrate(const struct span *span, double *area)
{
    double h = (span->to - span->from) / (double)span->steps, sum = 0;

    for (int64_t i = 0; i < span->steps; i++) {
        double x = span->from + ((double)i + 0.5) * h;

        sum += x * x;
    }
    *area = sum * h;
    return 0;
}

BROOD_TASK(integral, struct span, double)
{
    return integrate(arg, result);
}

static int integrate_bytes(const void *arg, void *result)
{
    return integrate(arg, result);
}

/* ---- pools ---- */

static void must(int r, const char *what)
{
    if (r < 0)
        bench_fail("%s: %s (%s)", what, brood_error(), strerror(-r));
}

static struct brood_pool *open_pool(int workers)
{
    struct brood_pool *pool;

    must(brood_pool_open(&pool, BROOD_POOL(.workers = workers)), "brood_pool_open");
    return pool;
}

static void close_pool(struct brood_pool *pool)
{
    must(brood_pool_close(pool, BROOD_FOREVER), "brood_pool_close");
}

/* Waits until the pool's workers sleep. */
static void settle(const struct brood_pool *pool)
{
    for (int i = 0; i < brood_pool_workers(pool); i++)
        bench_await_sleep(brood_pool_worker_pid(pool, i));
}

/* A pool and what it is compared with. */
struct pair {
    struct brood_pool *pool;
    struct servant *servant;
    uint64_t *args, *results;
    size_t items;
    unsigned chunk, loops;
};

/* One worker, bound to the second CPU; this process is bound to the first. */
static struct pair open_pinned(enum service service)
{
    struct pair pair = {.pool = open_pool(1)};

    bench_pin(brood_pool_worker_pid(pair.pool, 0), bench_cpu(1));
    bench_pin(0, bench_cpu(0));
    pair.servant = servant_start(service, bench_cpu(1));
    return pair;
}

static void close_pinned(struct pair *pair)
{
    servant_end(pair->servant);
    bench_unpin(0);
    close_pool(pair->pool);
}

static bool has_two_cpus(struct report *report)
{
    if (bench_cpu(1) >= 0)
        return true;
    report_remark(report, "left out: it needs two CPUs");
    return false;
}

/* ---- integral ---- */

#define CHUNKS 8

struct problem {
    struct brood_pool *pool;
    struct span spans[CHUNKS];
    double areas[CHUNKS];
};

static double total(const struct problem *problem)
{
    double sum = 0;

    for (int i = 0; i < CHUNKS; i++)
        sum += problem->areas[i];
    return sum;
}

static void check_total(const struct problem *problem)
{
    if (fabs(total(problem) - 1000.0 / 3) > 1e-6)
        bench_fail("the integral is %.17g", total(problem));
}

static double integrate_by_pool(void *state)
{
    struct problem *problem = state;
    int64_t start = brood__now_ns();

    must(brood_map(problem->pool, integral, problem->areas, problem->spans, CHUNKS), "brood_map");
    start = brood__now_ns() - start;
    check_total(problem);
    return (double)start / 1e6;
}

static double integrate_by_threads(void *state)
{
    struct problem *problem = state;
    struct span_work work = {
        integrate_bytes, (const char *)problem->spans, (char *)problem->areas, sizeof(struct span), sizeof(double), CHUNKS};
    double seconds = threads_map(&work, 2);

    check_total(problem);
    return seconds * 1e3;
}

static void bench_integral(struct report *report)
{
    struct problem problem = {.pool = open_pool(2)};
    int64_t steps = is_quick(report) ? 10000000 : 100000000;
    struct side sides[] = {{"brood", integrate_by_pool, &problem, {0}},
                           {"2 POSIX threads, 8 chunks", integrate_by_threads, &problem, {0}}};

    for (int i = 0; i < CHUNKS; i++)
        problem.spans[i] = (struct span){10.0 * i / CHUNKS, 10.0 * (i + 1) / CHUNKS, steps / CHUNKS};
    sides_measure(sides, 2, rounds(report, 15));
    report_ratio(report, is_quick(report) ? "integral, 10^7 steps, 2 workers" : "integral, 10^8 steps, 2 workers", "ms",
                 &sides[0], &sides[1], 1.03);
    sides_free(sides, 2);
    close_pool(problem.pool);
}

/* ---- apply, the worker awake ---- */

#define WARM_UP 20

static double time_applies(struct brood_pool *pool, unsigned count)
{
    uint64_t answer = 0;
    int64_t start = 0;

    for (unsigned i = 0; i < WARM_UP + count; i++) {
        if (i == WARM_UP)
            start = brood__now_ns();
        must(brood_apply(pool, add_one, &answer, &(uint64_t){i}), "brood_apply");
        if (answer != i + 1)
            bench_fail("brood_apply: the answer to %u is %llu", i, (unsigned long long)answer);
    }
    return (double)(brood__now_ns() - start) / count;
}

static double apply_hot(void *state)
{
    struct pair *pair = state;
    double ns = time_applies(pair->pool, 500);

    settle(pair->pool);
    return ns;
}

static double ping_line(void *state)
{
    struct pair *pair = state;
    double ns = servant_pingpong(pair->servant, 500);

    bench_await_sleep(servant_pid(pair->servant));
    return ns;
}

static void bench_hot(struct report *report)
{
    if (!has_two_cpus(report))
        return;
    struct pair pair = open_pinned(SERVE_PINGPONG);
    struct side sides[] = {{"brood", apply_hot, &pair, {0}}, {"ping-pong on one line", ping_line, &pair, {0}}};

    sides_measure(sides, 2, rounds(report, 1000));
    report_ratio(report, "apply round trip, worker hot", "ns", &sides[0], &sides[1], 2.5);
    sides_free(sides, 2);
    close_pinned(&pair);

    pair.pool = open_pool(2);
    struct side loose = {"brood", apply_hot, &pair, {0}};

    sides_measure(&loose, 1, rounds(report, 300));
    report_ratio(report, "  of 2 workers, nothing pinned", "ns", &loose, NULL, 0);
    sides_free(&loose, 1);
    close_pool(pair.pool);
    report_remark(report, "pinned: this process and the worker or servant, to a CPU each; 500 round trips a batch");
}

/* ---- apply, the worker asleep ---- */

static double apply_parked(void *state)
{
    struct pair *pair = state;
    uint64_t answer;
    int64_t start;

    settle(pair->pool);
    start = brood__now_ns();
    must(brood_apply(pair->pool, add_one, &answer, &(uint64_t){1}), "brood_apply");
    return (double)(brood__now_ns() - start) / 1e3;
}

static double ping_futex(void *state)
{
    struct pair *pair = state;

    bench_await_sleep(servant_pid(pair->servant));
    return servant_futex(pair->servant) / 1e3;
}

/* Nanoseconds of CPU time, and how often it slept, of a process of one thread so far. */
static void usage_of(pid_t pid, double *ret_ns, double *ret_switches)
{
    char path[64], line[128];
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
    file = fopen(path, "re");
    if (!file || fscanf(file, "%lf", ret_ns) != 1)
        bench_fail("cannot read %s: %s", path, strerror(errno));
    (void)fclose(file);
    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "voluntary_ctxt_switches: %lf", ret_switches) == 1)
            break;
    if (file)
        (void)fclose(file);
}

/* Field number `index` of /proc/PID/stat, from 1; those behind the name. */
static long long stat_field(pid_t pid, int index)
{
    char path[64], text[1024];
    char *at;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (!file)
        bench_fail("cannot read %s: %s", path, strerror(errno));
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    (void)fclose(file);
    at = strrchr(text, ')');
    for (int field = 2; at && field < index; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoll(at, NULL, 10) : -1;
}

struct usage {
    long long ticks;
    double ns, switches;
};

/* Of workers and supervisor together. */
static struct usage usage_of_pool(const struct brood_pool *pool)
{
    int workers = brood_pool_workers(pool);
    struct usage sum = {0};

    for (int i = 0; i <= workers; i++) {
        pid_t pid = i < workers ? brood_pool_worker_pid(pool, i) : (pid_t)stat_field(brood_pool_worker_pid(pool, 0), 4);
        double ns = 0, switches = 0;

        usage_of(pid, &ns, &switches);
        sum.ticks += stat_field(pid, 14) + stat_field(pid, 15);
        sum.ns += ns;
        sum.switches += switches;
    }
    return sum;
}

static void bench_idle(struct report *report)
{
    struct brood_pool *pool = open_pool(2);
    struct usage before, after;

    (void)time_applies(pool, 1000);
    settle(pool);
    before = usage_of_pool(pool);
    (void)sleep(1); /* the time to be idle in */
    after = usage_of_pool(pool);
    report_line(report, &(struct line){.what = "CPU time of an idle pool in 1 s",
                                       .unit = "ticks",
                                       .value = (double)(after.ticks - before.ticks),
                                       .value_low = (double)(after.ticks - before.ticks),
                                       .mark = 0.5});
    report_remark(report, "in that second supervisor and 2 workers ran for %.0f ns and slept %.0f times",
                  after.ns - before.ns, after.switches - before.switches);
    close_pool(pool);
}

static void bench_parked(struct report *report)
{
    if (!has_two_cpus(report))
        return;
    struct pair pair = open_pinned(SERVE_FUTEX);
    struct side sides[] = {{"brood", apply_parked, &pair, {0}}, {"ping-pong by futex", ping_futex, &pair, {0}}};

    sides_measure(sides, 2, rounds(report, 500));
    report_ratio(report, "apply round trip, worker parked", "us", &sides[0], &sides[1], 1.4);
    sides_free(sides, 2);
    close_pinned(&pair);
    report_remark(report,
                  "pinned: this process and the worker or servant, to a CPU each; both have slept for more than 1 ms");
}

/* ---- the stream ---- */

#define WINDOW SERVANT_SLOTS

static void stream_window(struct brood_pool *pool)
{
    struct brood_future *futures[WINDOW];
    uint64_t answer;

    for (uint64_t i = 0; i < WINDOW; i++)
        must(brood_apply_async(pool, add_one, &futures[i], &i), "brood_apply_async");
    for (uint64_t i = 0; i < WINDOW; i++) {
        must(brood_future_wait(futures[i], BROOD_FOREVER), "brood_future_wait");
        must(brood_future_result(futures[i], &answer, sizeof(answer)), "brood_future_result");
        if (answer != i + 1)
            bench_fail("a future has a wrong answer");
        brood_future_free(futures[i]);
    }
}

#define LAPS 8

static double stream(void *state)
{
    struct pair *pair = state;
    int64_t start;

    stream_window(pair->pool);
    start = brood__now_ns();
    for (int i = 0; i < LAPS; i++)
        stream_window(pair->pool);
    start = brood__now_ns() - start;
    settle(pair->pool);
    return (double)start / (LAPS * WINDOW);
}

static double stream_slots(void *state)
{
    struct pair *pair = state;
    double ns = servant_slots(pair->servant, LAPS);

    bench_await_sleep(servant_pid(pair->servant));
    return ns;
}

static void bench_stream(struct report *report)
{
    if (!has_two_cpus(report))
        return;
    struct pair pair = open_pinned(SERVE_SLOTS);
    struct side sides[] = {{"brood", stream, &pair, {0}}, {"bare slots, one line each", stream_slots, &pair, {0}}};

    sides_measure(sides, 2, rounds(report, 500));
    report_value(report, "apply_async stream, 1 worker, a task", "ns", &sides[0], &sides[1], 60);
    sides_free(sides, 2);
    close_pinned(&pair);

    pair.pool = open_pool(2);
    struct side loose = {"brood", stream, &pair, {0}};

    sides_measure(&loose, 1, rounds(report, 500));
    report_value(report, "apply_async stream, 2 workers, a task", "ns", &loose, NULL, 60);
    sides_free(&loose, 1);
    close_pool(pair.pool);
    report_remark(report,
                  "%d futures are submitted, waited for, asked and freed, again and again; pinned: with 1 worker, this "
                  "process and the worker or servant, to a CPU each",
                  WINDOW);
}

/* ---- map ---- */

static double map_items(void *state)
{
    struct pair *pair = state;
    int64_t start = 0;

    for (unsigned i = 0; i <= pair->loops; i++) {
        if (i == 1)
            start = brood__now_ns();
        must(brood_pool_map(pair->pool, &add_one.task, pair->results, pair->args, pair->items,
                            BROOD_MAP(.chunk = pair->chunk)),
             "brood_pool_map");
    }
    start = brood__now_ns() - start;
    for (size_t i = 0; i < pair->items; i++)
        if (pair->results[i] != pair->args[i] + 1)
            bench_fail("item %zu of a map is wrong", i);
    memset(pair->results, 0, pair->items * sizeof(uint64_t));
    settle(pair->pool);
    return (double)start / ((double)pair->items * pair->loops);
}

static double loop_items(void *state)
{
    struct pair *pair = state;
    double ns = servant_openmp(pair->servant, add_one_body, pair->items, pair->chunk == 1, pair->loops);

    bench_await_sleep(servant_pid(pair->servant));
    return ns;
}

static void compare_maps(struct report *report, struct pair *pair, const char *what, const char *peer, double mark)
{
    struct side sides[] = {{"brood", map_items, pair, {0}}, {peer, loop_items, pair, {0}}};

    sides_measure(sides, 2, rounds(report, 25));
    if (isnan(samples_quantile(&sides[1].samples, 0.5)))
        report_ratio(report, what, "ns", &sides[0], NULL, 0);
    else
        report_ratio(report, what, "ns", &sides[0], &sides[1], mark);
    sides_free(sides, 2);
}

static void compare_chunks(struct report *report, struct pair *pair, bool shared)
{
    pair->chunk = 1;
    pair->loops = 1;
    compare_maps(report, pair, shared ? "map, chunk 1, an item" : "  arrays of the caller's, copied",
                 "OpenMP schedule(dynamic,1)", shared ? 0.35 : 0);
    pair->chunk = 0;
    pair->loops = 10;
    compare_maps(report, pair, shared ? "map, adaptive chunks, an item" : "  arrays of the caller's, copied",
                 "OpenMP schedule(static)", shared ? 2 : 0);
}

static uint64_t *fill(uint64_t *array, size_t items)
{
    if (!array)
        bench_fail("no memory for the arrays: %s", brood_error());
    for (size_t i = 0; i < items; i++)
        array[i] = i;
    return array;
}

static void bench_map(struct report *report)
{
    struct pair pair = {.items = is_quick(report) ? 200000 : 1000000};

    pair.servant = servant_start(SERVE_OPENMP, -1);
    pair.pool = open_pool(2);
    pair.args = fill(brood_alloc(pair.pool, pair.items * sizeof(uint64_t)), pair.items);
    pair.results = fill(brood_alloc(pair.pool, pair.items * sizeof(uint64_t)), pair.items);
    compare_chunks(report, &pair, true);
    brood_free(pair.pool, pair.args);
    brood_free(pair.pool, pair.results);

    pair.args = fill(malloc(pair.items * sizeof(uint64_t)), pair.items);
    pair.results = fill(malloc(pair.items * sizeof(uint64_t)), pair.items);
    compare_chunks(report, &pair, false);
    free(pair.args);
    free(pair.results);
    close_pool(pair.pool);
    servant_end(pair.servant);
    report_remark(report,
                  "%zu items of 8 bytes with results of 8 bytes, 2 workers or threads, nothing pinned; the first loop of "
                  "each batch does not count",
                  pair.items);
}

/* ---- opening and closing ---- */

struct openings {
    struct samples open, close;
};

static double open_and_close(void *state)
{
    struct openings *openings = state;
    int64_t start = brood__now_ns(), opened;
    struct brood_pool *pool = open_pool(2);

    opened = brood__now_ns();
    samples_add(&openings->open, (double)(opened - start) / 1e3);
    close_pool(pool);
    samples_add(&openings->close, (double)(brood__now_ns() - opened) / 1e3);
    return (double)(brood__now_ns() - start) / 1e3;
}

static double fork_twice(void *state)
{
    (void)state;
    return bare_forks(2) * 1e6;
}

static void bench_pool(struct report *report)
{
    struct openings openings = {{0}, {0}};
    struct side sides[] = {{"brood", open_and_close, &openings, {0}}, {"2 x fork, _exit, wait", fork_twice, NULL, {0}}};
    struct side open = {.name = "brood"}, close = {.name = "brood"};

    sides_measure(sides, 2, rounds(report, 200));
    report_ratio(report, "pool of 2: open, ready, close", "us", &sides[0], &sides[1], 4);
    open.samples = openings.open;
    close.samples = openings.close;
    report_ratio(report, "  open and ready", "us", &open, NULL, 0);
    report_ratio(report, "  close", "us", &close, NULL, 0);
    sides_free(sides, 2);
    sides_free(&open, 1);
    sides_free(&close, 1);
}

#define MANY 512

static double many_us(void *state)
{
    int64_t start = brood__now_ns();

    (void)state;
    close_pool(open_pool(MANY));
    return (double)(brood__now_ns() - start) / 1e3 / MANY;
}

static double forks_us(void *state)
{
    (void)state;
    return bare_forks(MANY) * 1e6 / MANY;
}

/* Where a worker costs the others something this is too much by far. */
static void bench_many(struct report *report)
{
    struct side sides[] = {{"brood", many_us, NULL, {0}}, {"a fork, _exit, wait", forks_us, NULL, {0}}};

    sides_measure(sides, 2, rounds(report, 20));
    report_value(report, "pool of 512: open, ready, close, a worker", "us", &sides[0], &sides[1], 500);
    sides_free(sides, 2);
}

/* ---- memory ---- */

/* KiB of memory that is that process's alone. */
static double private_kib(pid_t pid)
{
    char path[64], line[256];
    double sum = 0, kib;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    file = fopen(path, "re");
    if (!file)
        bench_fail("cannot read %s: %s", path, strerror(errno));
    while (fgets(line, sizeof(line), file))
        if (sscanf(line, "Private_Clean: %lf", &kib) == 1 || sscanf(line, "Private_Dirty: %lf", &kib) == 1)
            sum += kib;
    (void)fclose(file);
    return sum;
}

/* The largest of the workers'. */
static double worker_kib(const struct brood_pool *pool)
{
    double most = 0;

    for (int i = 0; i < brood_pool_workers(pool); i++)
        most = fmax(most, private_kib(brood_pool_worker_pid(pool, i)));
    return most;
}

static void bench_memory(struct report *report)
{
    struct brood_pool *pool = open_pool(2);
    struct servant *servant = servant_start(SERVE_NOTHING, -1);
    struct line line = {.what = "private memory of an idle worker", .unit = "KiB", .peer = "a forked child that sleeps"};

    (void)time_applies(pool, 1000);
    stream_window(pool);
    settle(pool);
    bench_await_sleep(servant_pid(servant));
    line.value = line.value_low = worker_kib(pool);
    line.peer_value = line.peer_low = private_kib(servant_pid(servant));
    line.mark = 300;
    line.mark_is_value = true;
    report_line(report, &line);
    servant_end(servant);
    close_pool(pool);
}

/* ---- rings ---- */

static void bench_ring(struct report *report)
{
    report_remark(report, "messages through a ring: see bench_ring");
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {
        {"integral", "CPU-bound work: the integral of x^2 in 8 chunks", bench_integral},
        {"hot", "apply, with a worker that is awake", bench_hot},
        {"parked", "apply, with a worker that sleeps", bench_parked},
        {"idle", "the CPU time of a pool with nothing to do", bench_idle},
        {"stream", "apply_async, from one thread", bench_stream},
        {"map", "maps of tiny items", bench_map},
        {"ring", "where to find it", bench_ring},
        {"pool", "opening and closing a pool", bench_pool},
        {"many", "opening and closing a pool of many workers", bench_many},
        {"memory", "what a worker has of its own", bench_memory},
        {NULL, NULL, NULL},
    };

    return bench_main(argc, argv, "bench_core", benches);
}
