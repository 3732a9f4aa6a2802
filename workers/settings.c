/* settings.c - the arguments of `brood speedup`. */
#include "settings.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <brood/pool.h>

#include "arguments.h"
#include "words.h"

/* Adds a number of workers to try, unless it is there. */
static bool add_count(struct settings *settings, int count)
{
    for (int i = 0; i < settings->count_count; i++)
        if (settings->counts[i] == count)
            return true;
    if (settings->count_count == COUNTS_MAX)
        return false;
    settings->counts[settings->count_count++] = count;
    return true;
}

/* ---- defaults ---- */

/* BROOD_WORKERS changes how many workers a pool has, but not how many cores there are to run them. */
static int count_cores(void)
{
    const char *wish = getenv("BROOD_WORKERS");
    char *copy = wish ? strdup(wish) : NULL;
    int cores;

    unsetenv("BROOD_WORKERS");
    cores = brood_workers_default(NULL, 0);
    if (copy)
        setenv("BROOD_WORKERS", copy, 1);
    free(copy);
    return cores;
}

static int by_value(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void set_default_counts(struct settings *settings)
{
    settings->count_count = 0;
    for (int count = 1; count <= 2 * settings->cores && count <= BROOD_WORKERS_MAX; count *= 2)
        add_count(settings, count);
    add_count(settings, settings->cores);
    qsort(settings->counts, (size_t)settings->count_count, sizeof(settings->counts[0]), by_value);
}

static void set_defaults(struct settings *settings)
{
    *settings = (struct settings){
        .whole = {.kernel = 0, .from = 0, .to = 10, .steps = 100000000},
        .chunks = 8,
        .repeats = 3,
        .kinds = {true, true, true, true, true},
    };
    settings->default_workers = brood_workers_default(settings->reason, sizeof(settings->reason));
    settings->cores = count_cores();
    set_default_counts(settings);
}

/* ---- arguments ---- */

enum { KERNEL = 256, FROM, TO, STEPS, CHUNKS, WORKERS, KIND_LIST, REPEATS, JSON, WORKER };

static const struct argp_option options[] = {
    {"kernel", KERNEL, "NAME", 0, "What to integrate: square, damped, oscillating or peak [square]", 0},
    {"from", FROM, "X", 0, "Where to begin [0]", 0},
    {"to", TO, "X", 0, "Where to end [10]", 0},
    {"steps", STEPS, "N", 0, "How many steps, for example 1e8 [1e8]", 0},
    {"chunks", CHUNKS, "N", 0, "How many tasks to cut that into [8]", 0},
    {"workers", WORKERS, "N,N...", 0, "How many workers to try [powers of two up to twice the cores, and the cores]", 0},
    {"kinds", KIND_LIST, "KIND,...", 0, "Of serial, locked, threads, processes and exec [all]", 0},
    {"repeats", REPEATS, "N", 0, "How often to run each; medians are shown [3]", 0},
    {"json", JSON, "FILE", 0, "Write the results as JSON too; - writes them to standard output, in place of the table", 0},
    {"worker", WORKER, "PATH", 0, "The executable that exec starts [the brood-worker of this brood]", 0},
    {0},
};

/* clang-format off */
static const char purpose[] =
    "Compares how fast the same CPU-bound work gets done by one loop, by threads that share one lock, by a pool of "
    "threads, by a pool of forked processes and by a pool of worker executables."
    "\v"
    "Kinds: serial is one loop in one thread, and what the others are compared with; it runs even if it is not listed.  "
    "locked is threads that hold one lock while they compute, as a global interpreter lock makes them.  threads, "
    "processes and exec are the kinds of brood pool.\n\n"
    "Exit status: 0; 1 if a result was wrong or a pool failed; 2 for bad arguments.";
/* clang-format on */

static int64_t kernel_arg(const struct argp_state *state, const char *text)
{
    const struct kernel *kernel = kernel_find(text);

    if (!kernel)
        argp_failure(state, USAGE, 0, "--kernel '%s': there are %s", text, kernel_names());
    return kernel->number;
}

static void worker_counts_arg(const struct argp_state *state, struct settings *settings, char *text)
{
    settings->count_count = 0;
    while (text) {
        char *word = strsep(&text, ",");

        if (!add_count(settings, (int)count_arg(state, "workers", word, BROOD_WORKERS_MAX)))
            argp_failure(state, USAGE, 0, "--workers: at most %d numbers", COUNTS_MAX);
    }
}

static void kinds_arg(const struct argp_state *state, struct settings *settings, char *text)
{
    memset(settings->kinds, 0, sizeof(settings->kinds));
    while (text) {
        char *word = strsep(&text, ",");
        enum kind kind = kind_find(word);

        if (kind == KINDS)
            argp_failure(state, USAGE, 0,
                         "--kinds: no kind is called '%s'; there are serial, locked, threads, processes, exec", word);
        else
            settings->kinds[kind] = true;
    }
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct settings *settings = state->input;

    switch (key) {
    case KERNEL:
        settings->whole.kernel = kernel_arg(state, arg);
        return 0;
    case FROM:
        settings->whole.from = real_arg(state, "from", arg);
        return 0;
    case TO:
        settings->whole.to = real_arg(state, "to", arg);
        return 0;
    case STEPS:
        settings->whole.steps = count_arg(state, "steps", arg, 1000000000000000);
        return 0;
    case CHUNKS:
        settings->chunks = (int)count_arg(state, "chunks", arg, 1000000);
        return 0;
    case WORKERS:
        worker_counts_arg(state, settings, arg);
        return 0;
    case KIND_LIST:
        kinds_arg(state, settings, arg);
        return 0;
    case REPEATS:
        settings->repeats = (int)count_arg(state, "repeats", arg, REPEATS_MAX);
        return 0;
    case JSON:
        settings->json = arg;
        return 0;
    case WORKER:
        settings->worker = arg;
        return 0;
    case ARGP_KEY_ARG:
        argp_failure(state, USAGE, 0, "unexpected argument '%s'", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- what can only be judged when all of them are known ---- */

static int find_worker(const char *name, struct settings *settings)
{
    int r;

    if (!settings->kinds[EXEC])
        return 0;
    if (settings->worker) {
        r = locate_program(settings->worker, &settings->worker_found);
        return r == 0 ? 0 : complain(name, "--worker '%s': %s", settings->worker, strerror(-r));
    }
    if (locate_brood_worker(&settings->worker_found) == 0)
        return 0;
    return complain(name,
                    "exec: brood-worker is neither beside brood nor in PATH; give --worker PATH, or --kinds without exec");
}

static int check_settings(const char *name, struct settings *settings)
{
    const struct span *whole = &settings->whole;

    if (!(whole->from < whole->to))
        return complain(name, "--from %.10g --to %.10g: --to must be greater than --from", whole->from, whole->to);
    if (settings->chunks > whole->steps)
        return complain(name, "--chunks %d: more than the %lld steps", settings->chunks, (long long)whole->steps);
    return find_worker(name, settings);
}

int settings_read(struct settings *settings, int argc, char **argv)
{
    static const struct argp argp = {options, parse_option, NULL, purpose, NULL, NULL, NULL};

    set_defaults(settings);
    argp_parse(&argp, argc, argv, 0, NULL, settings);
    return check_settings(argv[0], settings);
}
