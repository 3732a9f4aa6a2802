/* brood_worker.c - brood-worker: a worker executable that runs the tasks of the modules it is given.
 *
 *     cc -shared -fPIC -o tasks.so tasks.c                 # with BROOD_TASKs in it
 *
 *     brood_pool_open(&pool, BROOD_POOL(.worker = "brood-worker",
 *                                       .worker_args = (const char *[]){"--module", "./tasks.so", NULL}));
 *
 * A module's tasks register themselves when it is loaded, which is before the pool is told that the worker is ready.  It
 * also has the tasks of kernels.c, for `brood speedup`.
 */
#include <argp.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <brood/worker.h>

#define FAILED 1
#define USAGE 2

static const struct argp_option options[] = {
    {"module", 'm', "LIB.so", 0, "Load a shared object whose tasks the worker shall run; may be given many times", 0},
    {0},
};

static const char purpose[] = "Runs tasks for a brood pool that was opened with .worker = \"brood-worker\".  The pool "
                              "starts it; started by hand it has "
                              "nothing to do."
                              "\v"
                              "A module named without a slash is looked for where the dynamic linker looks for libraries; "
                              "write ./LIB.so for one in the "
                              "current directory.  Further arguments are left to the modules.";

/* The dynamic linker names the file that is at fault, which may be the module or something that it needs. */
static void refuse_module(const char *path, const char *reason, const struct argp_state *state)
{
    size_t length = strlen(path);
    const char *named = strncmp(reason, path, length) == 0 && reason[length] == ':' ? "" : path;
    const char *hint = strchr(path, '/') ? "" : " (a file in the current directory is ./NAME)";

    argp_failure(state, FAILED, 0, "cannot load module %s%s%s%s", named, *named ? ": " : "", reason, hint);
}

/* Everything is resolved now: a missing symbol is an error at the start and not in the middle of a task. */
static void load_module(const char *path, const struct argp_state *state)
{
    if (!dlopen(path, RTLD_NOW | RTLD_LOCAL))
        refuse_module(path, dlerror(), state);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    switch (key) {
    case 'm':
        load_module(arg, state);
        return 0;
    case ARGP_KEY_ARG:
        state->next = state->argc;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_version(FILE *out, struct argp_state *state)
{
    (void)state;
    fprintf(out, "brood-worker %s\n", brood_version());
}

int main(int argc, char **argv)
{
    static const struct argp argp = {options, parse_option, "[ARG...]", purpose, NULL, NULL, NULL};

    argp_err_exit_status = USAGE;
    argp_program_version_hook = print_version;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, NULL);
    return brood_worker_main(argc, argv);
}
