/* progress.c - one line, drawn over and over. */
#include "progress.h"

#include <stdio.h>
#include <unistd.h>

#define BAR_WIDTH 40

struct progress progress_begin(int total)
{
    return (struct progress){.total = total, .visible = isatty(STDERR_FILENO) == 1};
}

void progress_show(const struct progress *progress, const char *label)
{
    static const char full[] = "########################################",
                      empty[] = "........................................";
    int filled = (int)((long)BAR_WIDTH * progress->done / progress->total);

    _Static_assert(sizeof(full) == BAR_WIDTH + 1 && sizeof(empty) == BAR_WIDTH + 1,
                   "one character for each step of the bar");
    if (progress->visible)
        fprintf(stderr, "\r[%.*s%.*s] %d of %d: %s\033[K", filled, full, BAR_WIDTH - filled, empty, progress->done,
                progress->total, label);
}

void progress_end(const struct progress *progress)
{
    if (progress->visible)
        fputs("\r\033[K", stderr);
}
