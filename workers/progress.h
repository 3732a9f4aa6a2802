/* progress.h - a bar on stderr that shows how far a long run has come, if a terminal is there to show it.
 *
 *     struct progress progress = progress_begin(runs);
 *     for (...) {
 *         progress_show(&progress, "4 threads");       // what runs now
 *         ...
 *         progress.done++;
 *     }
 *     progress_end(&progress);                         // before anything else is printed
 */
#ifndef BROOD_WORKERS_PROGRESS_H
#define BROOD_WORKERS_PROGRESS_H

#include <stdbool.h>

struct progress {
    int done, total;
    bool visible;
};

struct progress progress_begin(int total);
void progress_show(const struct progress *progress, const char *label);

/* Wipes the bar away. */
void progress_end(const struct progress *progress);

#endif
