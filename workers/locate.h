/* locate.h - finding the executable of a worker. */
#ifndef BROOD_WORKERS_LOCATE_H
#define BROOD_WORKERS_LOCATE_H

#include <limits.h>

struct location {
    char path[PATH_MAX];
};

/* Finds brood-worker: beside the running executable, in the libexec directory that belongs to it, or in PATH.
 * 0 or -ENOENT. */
int locate_brood_worker(struct location *ret_location);

/* Finds an executable that was named by the user: a path if it has a slash, else looked up in PATH.
 * 0, -ENOENT, or why it cannot be run. */
int locate_program(const char *name, struct location *ret_location);

#endif
