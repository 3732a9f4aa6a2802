/* print_time.c - two threads that print the time, each at its own pace, and know their names. */
#include <stdio.h>
#include <time.h>

#include <brood.h>

#define TIMES 5

static int print_time(void *context)
{
    const int *delay_ms = context;

    for (int i = 0; i < TIMES; i++) {
        time_t now;
        char text[32];

        nanosleep(&(struct timespec){.tv_nsec = *delay_ms * 1000000L}, NULL);
        now = time(NULL);
        printf("%s: %s", brood_thread_name(brood_thread_current()), ctime_r(&now, text));
    }
    return 0;
}

int main(void)
{
    brood_auto(thread) *first = NULL;
    brood_auto(thread) *second = NULL;
    int quick = 10, slow = 20;

    int r = brood_thread_start(&first, BROOD_THREAD(.run = print_time, .context = &quick));
    if (r == 0)
        r = brood_thread_start(&second, BROOD_THREAD(.run = print_time, .context = &slow, .name = "slow one"));
    if (r < 0)
        fprintf(stderr, "unable to start thread: %s\n", brood_error());
    return r < 0 ? 1 : 0; /* leaving the scope waits for both */
}
