/* bench.h - what the benchmarks share: samples and their medians, a table of marks, JSON, the command line.
 *
 *     static void bench_nothing(struct report *report)
 *     {
 *         struct side sides[] = {{.name = "brood", .measure = call_brood}, {.name = "bare call", .measure = call_bare}};
 *
 *         sides_measure(sides, 2, rounds(report, 200));                    // brood, bare, brood, bare, …
 *         report_ratio(report, "call", "ns", &sides[0], &sides[1], 2.5);   // the mark: at most 2.5 x as much
 *         sides_free(sides, 2);
 *     }
 *
 *     int main(int argc, char **argv)
 *     {
 *         static const struct bench benches[] = {{"nothing", "what a call costs", bench_nothing}, {NULL}};
 *         return bench_main(argc, argv, "bench_calls", benches);
 *     }
 *
 * Machines are noisy, and noisier at some times than at others.  So whatever is compared is measured in turns, in many
 * batches of less than the time between two interruptions, and the medians are compared.  Beside each median stands the
 * lower decile, which on a busy machine is nearer to what a quiet one would show.
 *
 * A benchmark that cannot go on says why and ends the program: bench_fail().
 */
#ifndef BROOD_TESTS_BENCH_H
#define BROOD_TESTS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- samples ---- */

struct samples {
    double *values;
    size_t count, room;
};

void samples_add(struct samples *samples, double value);
void samples_free(struct samples *samples);

/* The value below which that part (0 … 1) of them lies; 0.5: the median. */
double samples_quantile(struct samples *samples, double part);

/* ---- sides: what is compared ---- */

struct side {
    const char *name;
    double (*measure)(void *state); /* one batch: what one operation took, in the unit of the report */
    void *state;
    struct samples samples;
};

/* One batch of each side that does not count, then `rounds` times one of each. */
void sides_measure(struct side *sides, size_t count, int rounds);
void sides_free(struct side *sides, size_t count);

/* ---- reports ---- */

struct report;

/* How many rounds to run, of that many in a full run: a fifth in a quick one, at least three. */
int rounds(const struct report *report, int full);
bool is_quick(const struct report *report);

/* One line of the table: `what` was so much, the peer (or NULL) so much, and the ratio (or, without a peer, or with
 * mark_is_value, the value) is to be at most `mark`; 0: no mark. */
struct line {
    const char *what, *unit;
    double value, value_low; /* median and lower decile */
    const char *peer;
    double peer_value, peer_low;
    double mark;
    bool mark_is_value;
};

void report_line(struct report *report, const struct line *line);

/* The usual lines: medians of two sides, with a mark on the ratio; the same with a mark on the first one's value. */
void report_ratio(struct report *report, const char *what, const char *unit, struct side *side, struct side *peer,
                  double mark);
void report_value(struct report *report, const char *what, const char *unit, struct side *side, struct side *peer,
                  double mark);

/* A remark below the table, in whole sentences: what was pinned, what was left out. */
void report_remark(struct report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- processors ---- */

/* CPU number `index` of those that this process may use, or -1 if it may not use so many. */
int bench_cpu(int index);

/* Binds a thread (0: this one) to one CPU, or to all that the program was started with. */
void bench_pin(pid_t thread, int cpu);
void bench_unpin(pid_t thread);

/* Returns when every thread of that process sleeps, and has slept for about a millisecond: by then its CPU is idle. */
void bench_await_sleep(pid_t pid);

/* ---- the program ---- */

struct bench {
    const char *name;  /* for --only */
    const char *about; /* for --list */
    void (*run)(struct report *report);
};

/* The benchmarks end with a name of NULL.  Returns the status for main(): 0 when all could be measured, marks met or not.
 */
int bench_main(int argc, char **argv, const char *program, const struct bench *benches);

/* Says so on stderr and exits with status 1. */
_Noreturn void bench_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
