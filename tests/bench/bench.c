#include <argp.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include <brood.h>

#include "bench.h"
#include "os/clock.h"

void bench_fail(const char *format, ...)
{
    va_list arguments;

    (void)fflush(stdout);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    exit(1);
}

/* ---- samples ---- */

void samples_add(struct samples *samples, double value)
{
    if (samples->count == samples->room) {
        samples->room = samples->room ? 2 * samples->room : 256;
        samples->values = realloc(samples->values, samples->room * sizeof(double));
        if (!samples->values)
            bench_fail("out of memory");
    }
    samples->values[samples->count++] = value;
}

void samples_free(struct samples *samples)
{
    free(samples->values);
    *samples = (struct samples){0};
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double samples_quantile(struct samples *samples, double part)
{
    if (samples->count == 0)
        return NAN;
    qsort(samples->values, samples->count, sizeof(double), compare);
    return samples->values[(size_t)(part * (double)(samples->count - 1) + 0.5)];
}

/* ---- sides ---- */

void sides_measure(struct side *sides, size_t count, int rounds)
{
    for (size_t i = 0; i < count; i++)
        (void)sides[i].measure(sides[i].state);
    for (int round = 0; round < rounds; round++)
        for (size_t i = 0; i < count; i++)
            samples_add(&sides[i].samples, sides[i].measure(sides[i].state));
}

void sides_free(struct side *sides, size_t count)
{
    for (size_t i = 0; i < count; i++)
        samples_free(&sides[i].samples);
}

/* ---- reports ---- */

struct report {
    FILE *table; /* where it is printed */
    bool quick;
    const char *bench; /* that runs now */
    json_t *lines, *remarks;
};

bool is_quick(const struct report *report)
{
    return report->quick;
}

int rounds(const struct report *report, int full)
{
    int count = report->quick ? full / 5 : full;

    return count < 3 ? 3 : count;
}

static double ratio_of(const struct line *line)
{
    return line->peer && line->peer_value > 0 ? line->value / line->peer_value : NAN;
}

static double marked(const struct line *line)
{
    return line->mark_is_value || !line->peer ? line->value : ratio_of(line);
}

static const char *verdict(const struct line *line)
{
    return line->mark <= 0 ? "" : marked(line) <= line->mark ? "PASS" : "over";
}

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static void keep_json(struct report *report, const struct line *line)
{
    json_t *object = json_pack("{ss, ss, ss, so, so}", "bench", report->bench, "what", line->what, "unit", line->unit,
                               "median", number(line->value), "decile", number(line->value_low));

    if (line->peer)
        (void)json_object_update_new(object, json_pack("{ss, so, so, so}", "peer", line->peer, "peer_median",
                                                       number(line->peer_value), "peer_decile", number(line->peer_low),
                                                       "ratio", number(ratio_of(line))));
    if (line->mark > 0)
        (void)json_object_update_new(object, json_pack("{sf, ss, sb}", "mark", line->mark, "mark_on",
                                                       line->mark_is_value || !line->peer ? "median" : "ratio", "pass",
                                                       marked(line) <= line->mark));
    (void)json_array_append_new(report->lines, object);
}

static void print_quantity(FILE *out, double value, const char *unit)
{
    int decimals = value >= 100 ? 0 : value >= 10 ? 1 : 2;

    (void)fprintf(out, " %8.*f %-5s", decimals, value, unit);
}

static void print_mark(FILE *out, const struct line *line)
{
    if (line->mark <= 0)
        return;
    (void)fprintf(out, "  <= %-5g", line->mark);
    (void)fprintf(out, " %s", verdict(line));
}

void report_line(struct report *report, const struct line *line)
{
    FILE *out = report->table;

    keep_json(report, line);
    (void)fprintf(out, "%-40s", line->what);
    print_quantity(out, line->value, line->unit);
    (void)fprintf(out, "(%7.4g)", line->value_low);
    if (line->peer) {
        print_quantity(out, line->peer_value, line->unit);
        (void)fprintf(out, "(%7.4g) %-30s %6.2f", line->peer_low, line->peer, ratio_of(line));
    } else {
        (void)fprintf(out, "%62s", "");
    }
    print_mark(out, line);
    (void)fputc('\n', out);
    (void)fflush(out);
}

static struct line line_of(const char *what, const char *unit, struct side *side, struct side *peer, double mark)
{
    struct line line = {.what = what, .unit = unit, .mark = mark};

    line.value = samples_quantile(&side->samples, 0.5);
    line.value_low = samples_quantile(&side->samples, 0.1);
    if (peer) {
        line.peer = peer->name;
        line.peer_value = samples_quantile(&peer->samples, 0.5);
        line.peer_low = samples_quantile(&peer->samples, 0.1);
    }
    return line;
}

void report_ratio(struct report *report, const char *what, const char *unit, struct side *side, struct side *peer,
                  double mark)
{
    struct line line = line_of(what, unit, side, peer, mark);

    report_line(report, &line);
}

void report_value(struct report *report, const char *what, const char *unit, struct side *side, struct side *peer,
                  double mark)
{
    struct line line = line_of(what, unit, side, peer, mark);

    line.mark_is_value = true;
    report_line(report, &line);
}

void report_remark(struct report *report, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)json_array_append_new(report->remarks, json_sprintf("%s: %s", report->bench, text));
    (void)fprintf(report->table, "    %s\n", text);
    (void)fflush(report->table);
}

/* ---- processors ---- */

static cpu_set_t usable; /* what the program was started with */

int bench_cpu(int index)
{
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &usable) && index-- == 0)
            return (int)cpu;
    return -1;
}

void bench_pin(pid_t thread, int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(thread, sizeof(set), &set) < 0)
        bench_fail("cannot bind thread %d to CPU %d: %s", (int)thread, cpu, strerror(errno));
}

void bench_unpin(pid_t thread)
{
    if (sched_setaffinity(thread, sizeof(usable), &usable) < 0)
        bench_fail("cannot unbind thread %d: %s", (int)thread, strerror(errno));
}

/* The state of one thread, as in ps; 0 when it is gone. */
static char state_of(const char *process, const char *thread)
{
    char path[64], text[256];
    const char *end;
    FILE *file;

    (void)snprintf(path, sizeof(path), "%.20s/%.20s/stat", process, thread);
    file = fopen(path, "re");
    if (!file)
        return 0;
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    (void)fclose(file);
    end = strrchr(text, ')'); /* the name of the thread may hold anything */
    return end && end[1] ? end[2] : 0;
}

static bool is_asleep(const char *process)
{
    DIR *threads = opendir(process);
    bool asleep = true;

    if (!threads)
        bench_fail("%s: %s", process, strerror(errno));
    for (struct dirent *entry = readdir(threads); entry && asleep; entry = readdir(threads)) {
        char state = entry->d_name[0] == '.' ? 0 : state_of(process, entry->d_name);

        asleep = state == 0 || state == 'S';
    }
    (void)closedir(threads);
    return asleep;
}

void bench_await_sleep(pid_t pid)
{
    const struct timespec moment = {.tv_nsec = 50000}, while_it_sleeps = {.tv_nsec = 1000000};
    int64_t until = brood__now_ns() + 10000000000;
    char process[32];

    (void)snprintf(process, sizeof(process), "/proc/%d/task", (int)pid);
    while (!is_asleep(process)) {
        if (brood__now_ns() > until)
            bench_fail("process %d does not go to sleep", (int)pid);
        (void)nanosleep(&moment, NULL); /* the kernel has no event for it */
    }
    (void)nanosleep(&while_it_sleeps, NULL);
}

/* ---- the program ---- */

struct settings {
    const struct bench *benches;
    const char *only, *json;
    bool quick, list;
};

static const struct argp_option options[] = {
    {"json", 'j', "FILE", 0, "Write the results to FILE as JSON; '-' is standard output, and then the table goes to stderr",
     0},
    {"list", 'l', 0, 0, "Name the benchmarks and exit", 0},
    {"only", 'o', "NAME", 0, "Run this one", 0},
    {"quick", 'q', 0, 0, "A few seconds of rough numbers: does it all run?", 0},
    {0},
};

static const struct bench *find(const struct bench *benches, const char *name)
{
    while (benches->name && strcmp(benches->name, name) != 0)
        benches++;
    return benches->name ? benches : NULL;
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct settings *settings = state->input;

    if (key == 'j')
        settings->json = text;
    else if (key == 'l')
        settings->list = true;
    else if (key == 'q')
        settings->quick = true;
    else if (key == 'o') {
        settings->only = text;
        if (!find(settings->benches, text))
            argp_error(state, "there is no benchmark '%s'", text);
    } else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

static void print_list(const struct bench *benches)
{
    for (; benches->name; benches++)
        printf("%-12s %s\n", benches->name, benches->about);
}

static json_t *machine(void)
{
    struct utsname system;
    double load[3] = {NAN, NAN, NAN};

    (void)uname(&system);
    (void)getloadavg(load, 3);
    return json_pack("{ss, ss, si, so}", "kernel", system.release, "architecture", system.machine, "cpus",
                     CPU_COUNT(&usable), "load", number(load[0]));
}

static void print_machine(FILE *out, const char *program)
{
    json_t *about = machine();

    (void)fprintf(
        out, "%s %s, Linux %s, %s, %d CPUs, load %.1f\n\n", program, brood_version(),
        json_string_value(json_object_get(about, "kernel")), json_string_value(json_object_get(about, "architecture")),
        (int)json_integer_value(json_object_get(about, "cpus")), json_number_value(json_object_get(about, "load")));
    (void)fprintf(out, "%-40s %-23s %-54s %6s  %s\n", "", "median (lower decile)", "of what it is compared with", "ratio",
                  "mark");
    (void)fflush(out); /* or each child that a benchmark forks and that opens a pool writes it once more */
    json_decref(about);
}

static void write_json(const struct settings *settings, const char *program, struct report *report)
{
    json_t *all = json_pack("{ss, ss, so, sb, sO, sO}", "program", program, "brood", brood_version(), "machine", machine(),
                            "quick", settings->quick, "results", report->lines, "remarks", report->remarks);
    FILE *file = strcmp(settings->json, "-") == 0 ? stdout : fopen(settings->json, "we");

    if (!all)
        bench_fail("out of memory");
    if (!file || json_dumpf(all, file, JSON_INDENT(2)) < 0 || fputc('\n', file) == EOF || fflush(file) == EOF)
        bench_fail("cannot write %s: %s", settings->json, strerror(errno));
    if (file != stdout)
        (void)fclose(file);
    json_decref(all);
}

static void run(const struct settings *settings, struct report *report)
{
    for (const struct bench *bench = settings->benches; bench->name; bench++) {
        if (settings->only && strcmp(settings->only, bench->name) != 0)
            continue;
        report->bench = bench->name;
        bench->run(report);
    }
}

int bench_main(int argc, char **argv, const char *program, const struct bench *benches)
{
    const struct argp argp = {
        options,
        parse,
        NULL,
        "Prints what brood takes beside what it is compared with, measured in turns, and the mark that it "
        "is to meet.  Marks are printed, not enforced: the status is 0 when all could be measured.",
        NULL,
        NULL,
        NULL};
    struct settings settings = {.benches = benches};
    error_t error = argp_parse(&argp, argc, argv, 0, NULL, &settings);

    if (error != 0)
        return 1;
    if (settings.list) {
        print_list(benches);
        return 0;
    }
    if (sched_getaffinity(0, sizeof(usable), &usable) < 0)
        bench_fail("sched_getaffinity: %s", strerror(errno));

    struct report report = {.table = settings.json && strcmp(settings.json, "-") == 0 ? stderr : stdout,
                            .quick = settings.quick,
                            .lines = json_array(),
                            .remarks = json_array()};

    print_machine(report.table, program);
    run(&settings, &report);
    if (settings.json)
        write_json(&settings, program, &report);
    json_decref(report.lines);
    json_decref(report.remarks);
    return 0;
}
