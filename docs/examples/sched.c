/* sched.c - calls at points in time: by delay and by time, by priority, and one that is cancelled. */
#include <stdio.h>
#include <string.h>

#include <brood.h>

#define MS 1000000L

static char order[64];

static int print(void *context)
{
    printf("%s\n", (const char *)context);
    strncat(order, context, 1);
    return 0;
}

int main(void)
{
    brood_auto(sched) *sched = NULL;
    uint64_t event;

    int r = brood_sched_open(&sched, NULL);
    if (r < 0)
        return 1;
    int64_t soon = brood_sched_now(sched) + 20 * MS;
    r |= brood_sched_enterabs(sched, soon, 2, print, "second: at the same time, less important", NULL);
    r |= brood_sched_enterabs(sched, soon, 1, print, "first: at that time", NULL);
    r |= brood_sched_enter(sched, 40 * MS, 1, print, "third: after a while", NULL);
    r |= brood_sched_enter(sched, 3600000 * MS, 1, print, "never: an hour is too long", &event);
    r |= brood_sched_cancel(sched, event);
    if (r == 0)
        r = brood_sched_run(sched, NULL, BROOD_FOREVER); /* until nothing is left */
    if (r < 0)
        fprintf(stderr, "%s\n", brood_error());
    return r == 0 && strcmp(order, "fst") == 0 ? 0 : 1;
}
