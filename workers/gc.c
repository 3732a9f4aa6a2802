#include "gc.h"

#include <argp.h>
#include <stdbool.h>
#include <stdio.h>

#include <brood/memory.h>

#include "words.h"

static const struct argp_option options[] = {
    {"remove", 'r', NULL, 0, "remove them", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    bool *remove = state->input;

    (void)arg;
    if (key != 'r')
        return ARGP_ERR_UNKNOWN;
    *remove = true;
    return 0;
}

struct findings {
    int count, removed;
    size_t bytes;
};

/* A name may have any bytes, and is one line here: what a terminal would act on, or is not ASCII, is written as \xNN. */
static void print_name(const char *name)
{
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        printf(*c >= ' ' && *c < 0x7f && *c != '\\' ? "%c" : "\\x%02x", *c);
}

static void print(void *context, const struct brood_memory_stale *stale)
{
    struct findings *findings = context;

    findings->count++;
    findings->removed += stale->is_removed;
    findings->bytes += stale->bytes;
    if (stale->name[0] == '/')
        printf("control group ");
    print_name(stale->name);
    printf(": %s KiB", grouped((int64_t)(stale->bytes >> 10)).text);
    if (stale->creator != 0)
        printf(", of process %d, which is dead", stale->creator);
    printf("%s\n", stale->is_removed ? ": removed" : "");
}

static void sum_up(const struct findings *findings, bool remove)
{
    const char *names = findings->count == 1 ? "name" : "names";

    if (findings->count == 0)
        say(stdout, "Nothing has been left behind.");
    else if (remove)
        say(stdout, "%d of %d %s removed.", findings->removed, findings->count, names);
    else
        say(stdout,
            "%d %s of shared memory, %s KiB, that no process has and whose creators are dead. `brood gc --remove' removes "
            "%s.",
            findings->count, names, grouped((int64_t)(findings->bytes >> 10)).text, findings->count == 1 ? "it" : "them");
}

int gc_main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .doc = "Lists the names of shared memory (brood_memory) that programs left when they were killed.",
    };
    struct findings findings = {0};
    bool remove = false;

    argp_parse(&argp, argc, argv, 0, NULL, &remove);
    if (brood_memory_sweep(remove, print, &findings) < 0) {
        (void)complain(argv[0], "%s", brood_error());
        return 1;
    }
    sum_up(&findings, remove);
    return finish(argv[0]) < 0 || (remove && findings.removed < findings.count);
}
