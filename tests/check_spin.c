/* check_spin.c - when a thread of the pool polls, and when it sleeps at once. */
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"
#include "shm/spin.h"
#include "support.h"

#define MS 1000000

static bool polls(struct spinner *spinner, int64_t now_ns)
{
    return brood__spin_begin(spinner, now_ns) > now_ns;
}

START_TEST(a_thread_polls_longer_while_that_pays_and_less_while_it_does_not)
{
    struct spinner spinner = SPINNER;

    ck_assert_int_eq(brood__spin_begin(&spinner, 0), SPIN_NS_MAX);
    for (int i = 0; i < 5; i++)
        brood__spin_end(&spinner, false);
    ck_assert_int_eq(brood__spin_begin(&spinner, 0), SPIN_NS_MIN);
    for (int i = 0; i < 5; i++)
        brood__spin_end(&spinner, true);
    ck_assert_int_eq(brood__spin_begin(&spinner, 0), SPIN_NS_MAX);
}
END_TEST

START_TEST(a_yield_that_took_long_bars_the_thread_from_polling_for_a_while)
{
    struct spinner spinner = SPINNER;

    ck_assert(polls(&spinner, 100 * MS));
    brood__spin_has_yielded(&spinner, 100 * MS + SPIN_GAP_NS / 2);
    ck_assert(polls(&spinner, 100 * MS + SPIN_GAP_NS / 2));
    brood__spin_has_yielded(&spinner, 103 * MS);
    ck_assert(!polls(&spinner, 104 * MS));
    ck_assert(polls(&spinner, 1000 * MS));
}
END_TEST

START_TEST(a_thread_whose_polls_have_saved_more_than_it_lost_goes_on_polling)
{
    struct spinner spinner = SPINNER;
    int64_t now = 100 * MS;

    ck_assert(polls(&spinner, now));
    for (int64_t saved = 0; saved < 3 * MS; saved += SPIN_SAVES_NS)
        brood__spin_end(&spinner, true);
    now += 3 * MS;
    brood__spin_has_yielded(&spinner, now);
    ck_assert(polls(&spinner, now));
    now += 3 * MS;
    brood__spin_has_yielded(&spinner, now); /* and since then they have saved nothing */
    ck_assert(!polls(&spinner, now));
}
END_TEST

/* How long the thread is barred when a yield takes long just as it may poll again. */
static int64_t bar_again(struct spinner *spinner)
{
    int64_t began = spinner->barred_until_ns + 3 * MS;

    spinner->looked_ns = began - 3 * MS;
    brood__spin_has_yielded(spinner, began);
    return spinner->barred_until_ns - began;
}

START_TEST(the_while_doubles_where_the_thread_loses_its_cpu_again_soon_and_has_an_end)
{
    struct spinner spinner = SPINNER;
    int64_t before;

    spinner.barred_until_ns = -1000 * (int64_t)MS;
    spinner.looked_ns = 0;
    brood__spin_has_yielded(&spinner, 3 * MS);
    before = spinner.barred_until_ns - 3 * MS;
    ck_assert_int_gt(before, 0);
    ck_assert_int_eq(bar_again(&spinner), 2 * before);
    for (int i = 0; i < 40; i++)
        (void)bar_again(&spinner);
    ck_assert_int_le(bar_again(&spinner), 1000 * (int64_t)MS);

    spinner.looked_ns = spinner.barred_until_ns + 5000 * (int64_t)MS;
    brood__spin_has_yielded(&spinner, spinner.looked_ns + MS);
    ck_assert_int_eq(spinner.barred_until_ns - spinner.looked_ns, before);
}
END_TEST

static pid_t keep_busy(void)
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            ;
    }
    return pid;
}

/* Looks at the clock as a thread that polls does, for so long or until it is barred. */
static void look_until_barred(struct spinner *spinner, int64_t ms)
{
    int64_t until = brood__now_ns() + ms * MS;

    while (brood__spin_begin(spinner, brood__now_ns()) && brood__now_ns() < until)
        ;
}

START_TEST(a_thread_that_loses_its_cpu_to_another_process_does_not_poll)
{
    struct spinner spinner = SPINNER;
    cpu_set_t one;
    pid_t rival;

    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    rival = keep_busy();
    look_until_barred(&spinner, 20000);
    ck_assert(!polls(&spinner, brood__now_ns()));
    ck_assert_int_eq(kill(rival, SIGKILL), 0);
    ck_assert_int_eq(waitpid(rival, NULL, 0), rival);
    await(polls(&spinner, brood__now_ns()));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spin");

    add_tests(suite, "polls", a_thread_polls_longer_while_that_pays_and_less_while_it_does_not,
              a_yield_that_took_long_bars_the_thread_from_polling_for_a_while,
              a_thread_whose_polls_have_saved_more_than_it_lost_goes_on_polling,
              the_while_doubles_where_the_thread_loses_its_cpu_again_soon_and_has_an_end,
              a_thread_that_loses_its_cpu_to_another_process_does_not_poll, NULL);
    return run_suite(suite);
}
