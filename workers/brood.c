/* brood.c - the command-line tool: `brood COMMAND [OPTION...]`.
 *
 * A command is one row of the table below, and a file of its own.  It gets the arguments after its name, with "brood
 * COMMAND" as argv[0], and returns the exit status: 0, 1 if something failed, 2 for bad arguments.
 */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <brood/pool.h>

#include "arguments.h"
#include "chaos.h"
#include "gc.h"
#include "speedup.h"
#include "words.h"

/* `brood workers`: how many workers a pool has that was not told. */
static int workers_main(int argc, char **argv)
{
    static const struct argp argp = {
        .doc = "Prints how many workers a pool has when the program does not say how many (workers = 0), and why."};
    char reason[512]; /* begins with the number */

    argp_parse(&argp, argc, argv, 0, NULL, NULL);
    (void)brood_workers_default(reason, sizeof(reason));
    say(stdout, "%s", reason);
    return finish(argv[0]) < 0;
}

struct command {
    const char *name;
    int (*main)(int argc, char **argv);
};

static const struct command commands[] = {
    {"chaos", chaos_main},
    {"gc", gc_main},
    {"speedup", speedup_main},
    {"workers", workers_main},
};

static const char purpose[] =
    "A pool of worker processes for C: tools to try it with."
    "\v"
    "Commands:\n"
    "  chaos     kill the workers of a busy pool at random, and see whether every task is accounted for\n"
    "  gc        find shared memory that killed programs have left, and remove it if asked to\n"
    "  speedup   compare threads, threads behind one lock, and processes on CPU-bound work\n"
    "  workers   print how many workers a pool has by default, and why\n\n"
    "`brood COMMAND --help' tells more about one.  Exit status: 0; 1 if something failed; 2 for bad arguments.";

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* What the arguments ask for. */
struct request {
    const struct command *command;
    int index; /* of its name in argv */
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct request *request = state->input;

    switch (key) {
    case ARGP_KEY_ARG:
        request->command = find_command(arg);
        if (!request->command)
            argp_failure(state, USAGE, 0, "no command is called '%s'; there are chaos, gc, speedup and workers", arg);
        /* What follows is for the command to read. */
        request->index = state->next - 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_failure(state, USAGE, 0, "which command?  There are chaos, gc, speedup and workers; --help tells more");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_version(FILE *out, struct argp_state *state)
{
    (void)state;
    fprintf(out, "brood %s\n", brood_version());
}

int main(int argc, char **argv)
{
    static const struct argp argp = {NULL, parse_option, "COMMAND [OPTION...]", purpose, NULL, NULL, NULL};
    struct request request = {0};
    char name[64];

    argp_err_exit_status = USAGE;
    argp_program_version_hook = print_version;
    /* In order: an option after the command's name is the command's, also if it is --help. */
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &request);
    snprintf(name, sizeof(name), "brood %s", request.command->name);
    check_environment(name);
    argv[request.index] = name;
    return request.command->main(argc - request.index, argv + request.index);
}
