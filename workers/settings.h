/* settings.h - what `brood speedup` was asked to do: its arguments, checked, and its defaults.
 *
 *     struct settings settings;
 *     if (settings_read(&settings, argc, argv) < 0)     // which said why, on stderr
 *         return USAGE;
 */
#ifndef BROOD_WORKERS_SETTINGS_H
#define BROOD_WORKERS_SETTINGS_H

#include "locate.h"
#include "measure.h"

#define COUNTS_MAX 64
#define REPEATS_MAX 1000

struct settings {
    struct span whole;
    int chunks, repeats;
    int counts[COUNTS_MAX]; /* of workers: which to try */
    int count_count;
    bool kinds[KINDS];
    const char *json;   /* file, or "-", or NULL */
    const char *worker; /* as given, or NULL */
    struct location worker_found;
    int cores;           /* that this process may use */
    int default_workers; /* what a pool would choose */
    char reason[512];    /* and why: "2: ..." */
};

/* 0, or -EINVAL with one line on stderr.  Does not return for --help, nor for what argp refuses: that exits with USAGE. */
int settings_read(struct settings *settings, int argc, char **argv);

#endif
