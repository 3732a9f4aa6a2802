/* timer.c - a function that is called once after a while, one that is not, and one that is called again and again. */
#include <stdio.h>
#include <time.h>

#include <brood.h>

static int called_once(void *context)
{
    time_t now = time(NULL);
    char text[32];

    (void)context;
    printf("I just got called! It's now: %s", ctime_r(&now, text));
    return 0;
}

static int tick(void *context)
{
    int *ticks = context;

    printf("tick %d\n", ++*ticks);
    return *ticks == 3; /* and then no more */
}

int main(void)
{
    brood_auto(timer) *once = NULL;
    brood_auto(timer) *never = NULL;
    brood_auto(timer) *clock = NULL;
    int ticks = 0;

    int r = brood_timer_start(&once, BROOD_TIMER(.run = called_once, .after_ms = 30));
    if (r == 0)
        r = brood_timer_start(&never, BROOD_TIMER(.run = called_once, .after_ms = 3000));
    if (r == 0)
        r = brood_timer_cancel(never); /* you can cancel it if you want */
    if (r == 0)
        r = brood_timer_start(&clock, BROOD_TIMER(.run = tick, .context = &ticks, .every_ms = 20));
    if (r == 0)
        r = brood_timer_join(clock, BROOD_FOREVER);
    if (r == 0)
        r = brood_timer_join(once, BROOD_FOREVER);
    if (r < 0)
        fprintf(stderr, "%s\n", brood_error());
    return r == 0 && ticks == 3 && brood_timer_count(never) == 0 ? 0 : 1;
}
