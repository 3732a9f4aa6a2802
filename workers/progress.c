/* progress.c - one line, drawn over and over. */
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_WIDTH 40
#define BAR_WIDTH_MIN 8

struct progress progress_begin(int total)
{
    return (struct progress){.total = total, .visible = isatty(STDERR_FILENO) == 1};
}

/* Asked each time: the terminal may have been made narrower meanwhile, and a line that is broken in two is not drawn over.
 */
static int columns(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* What is left for the bar beside so many characters: nothing, if that is too little to show anything. */
static int bar_width(int room)
{
    if (room < BAR_WIDTH_MIN)
        return 0;
    return room < BAR_WIDTH ? room : BAR_WIDTH;
}

void progress_show(const struct progress *progress, const char *label)
{
    static const char full[] = "########################################",
                      empty[] = "........................................";
    char words[80];
    int most = columns() - 1, width, filled;

    _Static_assert(sizeof(full) == BAR_WIDTH + 1 && sizeof(empty) == BAR_WIDTH + 1,
                   "one character for each step of the bar");
    if (!progress->visible)
        return;
    snprintf(words, sizeof(words), "%d of %d: %s", progress->done, progress->total, label);
    width = bar_width(most - (int)strlen(words) - (int)strlen("[] "));
    filled = (int)((long)width * progress->done / progress->total);
    if (width > 0)
        fprintf(stderr, "\r[%.*s%.*s] %s\033[K", filled, full, width - filled, empty, words);
    else
        fprintf(stderr, "\r%.*s\033[K", most, words);
}

void progress_end(const struct progress *progress)
{
    if (progress->visible)
        fputs("\r\033[K", stderr);
}
