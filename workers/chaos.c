/* chaos.c - kills the workers of a busy pool at random, and sees whether every task is accounted for. */
#include "chaos.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "arguments.h"
#include "json_out.h"
#include "storm.h"
#include "words.h"

/* ---- arguments ---- */

struct wishes {
    struct storm storm;
    const char *json; /* file, or "-", or NULL */
};

enum { SECONDS = 256, WORKERS, SEED, EVERY_MS, JSON };

static const struct argp_option options[] = {
    {"seconds", SECONDS, "N", 0, "How long [10]", 0},
    {"workers", WORKERS, "N", 0, "How many workers [one less than CPUs]", 0},
    {"seed", SEED, "N", 0, "Of the random numbers [1]", 0},
    {"every-ms", EVERY_MS, "X", 0, "A worker is killed every X milliseconds, on average [3]", 0},
    {"json", JSON, "FILE", 0, "Write the results as JSON too; - writes them to standard output, in place of the table", 0},
    {0},
};

/* clang-format off */
static const char purpose[] =
    "Keeps a pool of processes busy with maps and single tasks while its workers are killed at random, by this program "
    "and by the tasks themselves, and checks that every task has just one outcome, and the right one."
    "\v"
    "Exit status: 0; 1 if anything was lost without a death, run twice, wrong, or left behind, or the pool failed; 2 for "
    "bad arguments.";
/* clang-format on */

static double interval_arg(const struct argp_state *state, const char *text)
{
    double ms = real_arg(state, "every-ms", text);

    if (!(ms >= 0.01 && ms <= 60000))
        argp_failure(state, USAGE, 0, "--every-ms '%s': give a number from 0.01 to 60000", text);
    return ms;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct wishes *wishes = state->input;

    switch (key) {
    case SECONDS:
        wishes->storm.seconds = (int)count_arg(state, "seconds", arg, 1000000);
        return 0;
    case WORKERS:
        wishes->storm.workers = (int)count_arg(state, "workers", arg, BROOD_WORKERS_MAX);
        return 0;
    case SEED:
        wishes->storm.seed = (uint64_t)count_arg(state, "seed", arg, UINT32_MAX);
        return 0;
    case EVERY_MS:
        wishes->storm.every_ms = interval_arg(state, arg);
        return 0;
    case JSON:
        wishes->json = arg;
        return 0;
    case ARGP_KEY_ARG:
        argp_failure(state, USAGE, 0, "unexpected argument '%s'", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- the table ---- */

static void print_header(const struct storm *storm)
{
    say(stdout, "%d worker%s for %d s; one is killed every %.3g ms on average, seed %" PRIu64 ".", storm->workers,
        storm->workers == 1 ? "" : "s", storm->seconds, storm->every_ms, storm->seed);
    putchar('\n');
    /* Forked workers would inherit what is still in the buffer. */
    fflush(stdout);
}

static uint64_t sum_of(const struct storm *storm, enum count count)
{
    return storm->maps.counts[count] + storm->tasks.counts[count] + storm->rest.counts[count];
}

static void print_count(const struct storm *storm, enum count count)
{
    printf("%-27s %15s %15s %12s\n", count_words(count), grouped((int64_t)storm->maps.counts[count]).text,
           grouped((int64_t)storm->tasks.counts[count]).text, grouped((int64_t)storm->rest.counts[count]).text);
}

static void print_fates(const struct storm *storm)
{
    printf("%-27s %15s %15s %12s\n", "", "items of maps", "single tasks", "after rest");
    for (int count = 0; count < COUNTS; count++)
        if (count < FIRST_FAULT || sum_of(storm, (enum count)count) > 0)
            print_count(storm, (enum count)count);
    putchar('\n');
}

static void print_deaths(const struct storm *storm)
{
    printf("%-27s %15s\n", "workers killed from outside", grouped((int64_t)storm->balance.kills).text);
    printf("%-27s %15s\n", "workers ended by their task", grouped((int64_t)storm->balance.suicides).text);
    printf("%-27s %15s\n", "of these, cost no task", grouped((int64_t)storm->idle).text);
    putchar('\n');
}

static void print_spread(const char *what, const struct spread *spread)
{
    if (spread->count > 0)
        printf("%-27s %15s %15s %12s %6zu\n", what, duration(spread->median).text, duration(spread->p99).text,
               duration(spread->max).text, spread->count);
}

static void print_latencies(const struct storm *storm)
{
    printf("%-27s %15s %15s %12s %6s\n", "from the kill to", "median", "p99", "max", "of");
    print_spread("the outcome of its task", &storm->known);
    print_spread("the next worker", &storm->replaced);
    putchar('\n');
}

/* ---- what it means ---- */

static uint64_t faults_in(const struct storm *storm)
{
    return tally_faults(&storm->maps) + tally_faults(&storm->tasks) + tally_faults(&storm->rest);
}

static const char *first_fault(const struct storm *storm)
{
    const struct tally *const tallies[] = {&storm->maps, &storm->tasks, &storm->rest};

    for (size_t i = 0; i < sizeof(tallies) / sizeof(tallies[0]); i++)
        if (tallies[i]->first_fault[0])
            return tallies[i]->first_fault;
    return "";
}

static void explain_account(const struct storm *storm)
{
    if (faults_in(storm) > 0)
        say(stdout, "The account is not even: %s cases that must not be.  The first: %s.",
            grouped((int64_t)faults_in(storm)).text, first_fault(storm));
    else
        say(stdout,
            "Every one of %s tasks and items had just one outcome, and the right one; %s died with their workers, in %s "
            "deaths.",
            grouped((int64_t)sum_of(storm, SUBMITTED)).text, grouped((int64_t)storm->lost).text,
            grouped((int64_t)(storm->balance.kills + storm->balance.suicides)).text);
}

static void explain_end(const struct storm *storm)
{
    const struct inventory *leaks = &storm->leaks;

    if (leaks->descriptors + leaks->mappings + leaks->names + leaks->children > 0)
        say(stdout, "Left behind: %d descriptors, %d mappings, %d names in /dev/shm, %s.", leaks->descriptors,
            leaks->mappings, leaks->names, leaks->children ? "processes" : "no process");
    else if (!storm->closed)
        say(stdout, "Closing the pool did not come to a good end, but nothing was left behind.");
    else
        say(stdout, "Nothing was left behind: no process, descriptor, mapping or name.");
}

/* ---- JSON ---- */

static json_t *tally_json(const struct tally *tally)
{
    json_t *object = json_object();

    for (int count = 0; count < COUNTS; count++)
        json_object_set_new(object, count_key((enum count)count), json_integer((json_int_t)tally->counts[count]));
    return object;
}

static json_t *spread_json(const struct spread *spread)
{
    return json_pack("{s:I, s:f, s:f, s:f}", "count", (json_int_t)spread->count, "median_seconds", spread->median,
                     "p99_seconds", spread->p99, "max_seconds", spread->max);
}

static json_t *deaths_json(const struct storm *storm)
{
    return json_pack("{s:I, s:I, s:I, s:i}", "killed", (json_int_t)storm->balance.kills, "by_task",
                     (json_int_t)storm->balance.suicides, "cost_no_task", (json_int_t)storm->idle, "killed_at_rest",
                     storm->kills_at_rest);
}

static json_t *leaks_json(const struct inventory *leaks)
{
    return json_pack("{s:i, s:i, s:i, s:i}", "descriptors", leaks->descriptors, "mappings", leaks->mappings, "names",
                     leaks->names, "children", leaks->children);
}

static json_t *storm_json(const struct storm *storm)
{
    return json_pack("{s:b, s:i, s:i, s:I, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:s}", "even", storm_is_even(storm),
                     "seconds", storm->seconds, "workers", storm->workers, "seed", (json_int_t)storm->seed, "every_ms",
                     storm->every_ms, "map_items", tally_json(&storm->maps), "tasks", tally_json(&storm->tasks),
                     "after_rest", tally_json(&storm->rest), "deaths", deaths_json(storm), "outcome_known",
                     spread_json(&storm->known), "replaced", spread_json(&storm->replaced), "leaks",
                     leaks_json(&storm->leaks), "closed", storm->closed, "first_fault", first_fault(storm));
}

/* ---- the command ---- */

static int report(const struct storm *storm, struct json_out *json)
{
    int r = json_out_write(json, json->file ? storm_json(storm) : NULL);

    if (json_out_alone(json))
        return r;
    print_fates(storm);
    print_deaths(storm);
    print_latencies(storm);
    explain_account(storm);
    explain_end(storm);
    return finish(json->program) < 0 ? -EIO : r;
}

static int run(struct storm *storm, struct json_out *json)
{
    int r;

    if (!json_out_alone(json))
        print_header(storm);
    r = storm_run(storm);
    if (r < 0)
        return complain(json->program, "%s", brood_error());
    r = report(storm, json);
    return storm_is_even(storm) ? r : -EIO;
}

/* One CPU is left to the processes that watch: with all of them busy, what is measured is how long a process that is to die, or to
 * notice a death, waits for a CPU. */
static int default_workers(void)
{
    int cpus = brood_workers_default(NULL, 0);

    return cpus > 1 ? cpus - 1 : 1;
}

int chaos_main(int argc, char **argv)
{
    static const struct argp argp = {options, parse_option, NULL, purpose, NULL, NULL, NULL};
    struct wishes wishes = {.storm = {.seconds = 10, .workers = default_workers(), .seed = 1, .every_ms = 3}};
    struct json_out json;
    int status = USAGE;

    argp_parse(&argp, argc, argv, 0, NULL, &wishes);
    if (json_out_open(&json, argv[0], wishes.json) == 0)
        status = run(&wishes.storm, &json) < 0 ? 1 : 0;
    json_out_close(&json);
    storm_close(&wishes.storm);
    return status;
}
