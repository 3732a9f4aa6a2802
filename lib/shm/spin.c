#include <sched.h>
#include <sys/resource.h>

#include "os/clock.h"
#include "shm/spin.h"

#define BARRED_NS_MIN 20000000
#define BARRED_NS_MAX 160000000
#define SOON_NS 100000000

static void spinner_bar(struct spinner *spinner, int64_t now_ns)
{
    bool is_soon = now_ns - spinner->barred_until_ns < SOON_NS;

    spinner->barred_ns = is_soon ? spinner->barred_ns * 2 : BARRED_NS_MIN;
    if (spinner->barred_ns > BARRED_NS_MAX)
        spinner->barred_ns = BARRED_NS_MAX;
    spinner->barred_until_ns = now_ns + spinner->barred_ns;
}

/* The thread was without a CPU since it last read the clock. */
static void spinner_lost_cpu(struct spinner *spinner, int64_t now_ns)
{
    bool has_paid = spinner->saved_ns >= now_ns - spinner->looked_ns;

    spinner->saved_ns = 0;
    if (!has_paid)
        spinner_bar(spinner, now_ns);
}

void brood__spin_ask(struct spinner *spinner, int64_t now_ns)
{
    long before = spinner->switches;
    struct rusage usage;

    if (getrusage(RUSAGE_THREAD, &usage) < 0)
        return;
    spinner->switches = usage.ru_nivcsw;
    if (before >= 0 && spinner->switches != before && now_ns >= spinner->barred_until_ns)
        spinner_lost_cpu(spinner, now_ns);
}

/* The kernel counts a yield as an involuntary switch, so its count up to now says nothing. */
void brood__spin_has_yielded(struct spinner *spinner, int64_t now_ns)
{
    spinner->switches = -1;
    if (now_ns - spinner->looked_ns > SPIN_GAP_NS)
        spinner_lost_cpu(spinner, now_ns);
    spinner->looked_ns = now_ns;
}

int64_t brood__spin_yield(struct spinner *spinner)
{
    (void)sched_yield();
    brood__spin_has_yielded(spinner, brood__now_ns());
    return spinner->looked_ns;
}
