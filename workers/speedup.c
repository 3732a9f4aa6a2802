/* speedup.c - what threads, threads behind a lock, and processes make of CPU-bound work. */
#include "speedup.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <brood/base.h>

#include "arguments.h"
#include "json_out.h"
#include "progress.h"
#include "settings.h"
#include "table.h"
#include "words.h"

/* ---- running ---- */

/* One row of the table to be: the same measurement over and over. */
struct series {
    enum kind kind;
    int workers;
    struct sample *samples; /* one for each repeat */
};

/* All of them; the first is serial, what the others are compared with. */
struct plan {
    struct series *series;
    int count;
};

static void plan_close(struct plan *plan)
{
    for (int i = 0; i < plan->count; i++)
        free(plan->series[i].samples);
    free(plan->series);
}

static int plan_add(struct plan *plan, enum kind kind, int workers, int repeats)
{
    struct sample *samples = calloc((size_t)repeats, sizeof(*samples));

    if (!samples)
        return -ENOMEM;
    plan->series[plan->count++] = (struct series){kind, workers, samples};
    return 0;
}

static int plan_open(struct plan *plan, const struct settings *settings)
{
    int r;

    *plan = (struct plan){.series = calloc(1 + KINDS * COUNTS_MAX, sizeof(*plan->series))};
    r = plan->series ? plan_add(plan, SERIAL, 1, settings->repeats) : -ENOMEM;
    for (int kind = LOCKED; kind < KINDS; kind++)
        for (int i = 0; settings->kinds[kind] && i < settings->count_count && r == 0; i++)
            r = plan_add(plan, (enum kind)kind, settings->counts[i], settings->repeats);
    return r;
}

/* Round after round over all series, so that a machine that is slower for a while is so for all of them. */
static int run_plan(const struct plan *plan, const struct problem *problem, const struct settings *settings)
{
    struct progress progress = progress_begin(plan->count * settings->repeats);
    int r = 0;

    for (; progress.done < progress.total && r == 0; progress.done++) {
        const struct series *series = &plan->series[progress.done % plan->count];
        struct sample *sample = &series->samples[progress.done / plan->count];
        char label[40];

        snprintf(label, sizeof(label), "%s, %d", kind_name(series->kind), series->workers);
        progress_show(&progress, label);
        r = measure(problem, series->kind, series->workers, settings->worker_found.path, sample);
    }
    progress_end(&progress);
    return r;
}

/* ---- results ---- */

static double seconds_of(const struct sample *sample)
{
    /* A clock that did not move would make the speedup infinite. */
    return fmax(sample->seconds, 1e-9);
}

static double startup_of(const struct sample *sample)
{
    return sample->startup_seconds;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(const struct series *series, int repeats, double (*value)(const struct sample *sample))
{
    double values[REPEATS_MAX];

    for (int i = 0; i < repeats; i++)
        values[i] = value(&series->samples[i]);
    qsort(values, (size_t)repeats, sizeof(values[0]), by_size);
    return (values[(repeats - 1) / 2] + values[repeats / 2]) / 2;
}

/* The result of the series; one that differs from what is expected, if any does. */
static double result_of(const struct series *series, int repeats, double expected)
{
    for (int i = 0; i < repeats; i++)
        if (series->samples[i].result != expected)
            return series->samples[i].result;
    return expected;
}

static struct row make_row(const struct series *series, const struct problem *problem, const struct settings *settings,
                           const struct series *serial)
{
    int usable = series->workers < settings->cores ? series->workers : settings->cores;
    struct row row = {.kind = series->kind, .workers = series->workers};

    row.seconds = median(series, settings->repeats, seconds_of);
    row.startup_seconds = median(series, settings->repeats, startup_of);
    row.speedup = median(serial, settings->repeats, seconds_of) / row.seconds;
    row.efficiency = row.speedup / usable;
    row.result = result_of(series, settings->repeats, serial->samples[0].result);
    row.error = problem_error(problem, row.result);
    return row;
}

/* Says on stderr what is wrong with the result, if anything is. */
static bool row_is_right(const char *name, const struct row *row, const struct problem *problem, double expected)
{
    if (!problem_accepts(problem, row->result))
        complain(name, "wrong integral: %s with %d worker(s) got %.17g, the true value is %.17g", kind_name(row->kind),
                 row->workers, row->result, problem->exact);
    else if (row->result != expected)
        complain(name, "results disagree: %s with %d worker(s) got %.17g, serial got %.17g", kind_name(row->kind),
                 row->workers, row->result, expected);
    else
        return true;
    return false;
}

/* "2: for this reason" without the number. */
static const char *after_number(const char *reason)
{
    size_t digits = strspn(reason, "0123456789");

    return digits > 0 && strncmp(reason + digits, ": ", 2) == 0 ? reason + digits + 2 : reason;
}

static void print_header(const struct settings *settings)
{
    const struct span *whole = &settings->whole;

    say(stdout, "Integral of %s from %.10g to %.10g: %s steps, %d chunk%s, %d run%s of each kind.",
        kernel_numbered(whole->kernel)->formula, whole->from, whole->to, grouped(whole->steps).text, settings->chunks,
        settings->chunks == 1 ? "" : "s", settings->repeats, settings->repeats == 1 ? "" : "s");
    say(stdout, "A pool has %d worker%s by default: %s.", settings->default_workers,
        settings->default_workers == 1 ? "" : "s", after_number(settings->reason));
    putchar('\n');
    /* Forked workers would inherit what is still in the buffer. */
    fflush(stdout);
}

/* ---- the command ---- */

static int report(const char *name, const struct table *table, struct json_out *json)
{
    int r = json_out_write(json, json->file ? table_json(table) : NULL);

    if (json_out_alone(json))
        return r;
    table_print(stdout, table);
    putchar('\n');
    table_explain(stdout, table);
    return finish(name) < 0 ? -EIO : r;
}

static int judge(const char *name, const struct plan *plan, const struct problem *problem, const struct settings *settings,
                 struct json_out *json)
{
    struct row rows[1 + KINDS * COUNTS_MAX];
    int hidden = settings->kinds[SERIAL] ? 0 : 1, r;
    struct table table = {.rows = rows + hidden, .count = plan->count - hidden, .cores = settings->cores};
    bool right = true;

    for (int i = 0; i < plan->count; i++)
        rows[i] = make_row(&plan->series[i], problem, settings, &plan->series[0]);
    table.serial_seconds = rows[0].seconds;
    r = report(name, &table, json);
    for (int i = 0; i < plan->count; i++)
        right = row_is_right(name, &rows[i], problem, rows[0].result) && right;
    return right ? r : -EIO;
}

static int run(const char *name, const struct settings *settings, const struct problem *problem, struct json_out *json)
{
    struct plan plan;
    int r;

    r = plan_open(&plan, settings);
    if (r < 0) {
        complain(name, "%s", strerror(-r));
        goto out;
    }
    if (!json_out_alone(json))
        print_header(settings);
    r = run_plan(&plan, problem, settings);
    r = r < 0 ? complain(name, "%s", brood_error()) : judge(name, &plan, problem, settings, json);
out:
    plan_close(&plan);
    return r;
}

static int problem_failed(const char *name, const struct settings *settings, int error)
{
    const struct span *whole = &settings->whole;

    if (error != -ERANGE)
        return complain(name, "%s", strerror(-error));
    return complain(name, "--from %.10g --to %.10g: the integral of %s there is beyond the arithmetic of a double",
                    whole->from, whole->to, kernel_numbered(whole->kernel)->formula);
}

int speedup_main(int argc, char **argv)
{
    struct settings settings;
    struct problem problem;
    struct json_out json;
    int r, status = USAGE;

    if (settings_read(&settings, argc, argv) < 0)
        return USAGE;
    r = problem_open(&problem, &settings.whole, settings.chunks);
    if (r < 0) {
        problem_failed(argv[0], &settings, r);
        return USAGE;
    }
    if (json_out_open(&json, argv[0], settings.json) == 0)
        status = run(argv[0], &settings, &problem, &json) < 0 ? 1 : 0;
    json_out_close(&json);
    problem_close(&problem);
    return status;
}
