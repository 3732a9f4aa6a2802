#include <string.h>

#include "child.h"
#include "support.h"

#define SOON brood_after_ms(60000)

static int count_up(void *context)
{
    atomic_fetch_add((_Atomic int *)context, 1);
    return 0;
}

/* A call that lasts until it is let go. */
struct stop {
    _Atomic int reached, go;
};

static int stay(void *context)
{
    struct stop *stop = context;

    atomic_fetch_add(&stop->reached, 1);
    while (!atomic_load(&stop->go))
        rest();
    return 0;
}

static struct brood_timer *start(const struct brood_timer_options *options)
{
    struct brood_timer *timer = NULL;

    ck_assert_msg(brood_timer_start(&timer, options) == 0, "%s", brood_error());
    return timer;
}

/* semantics: R1 R3 */
START_TEST(a_timer_fires_once_after_its_time)
{
    _Atomic int fired = 0;
    int64_t began = now_ms();
    struct brood_timer *timer = start(BROOD_TIMER(.run = count_up, .context = &fired, .after_ms = 30));

    ck_assert_int_eq(brood_timer_join(timer, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_timer_join(timer, SOON), 0);
    ck_assert_int_ge(now_ms() - began, 29);
    ck_assert_int_eq(fired, 1);
    ck_assert_uint_eq(brood_timer_count(timer), 1);
    ck_assert_int_eq(brood_timer_cancel(timer), 1);
    ck_assert_int_eq(brood_timer_cancel(timer), 1);
    brood_timer_free(timer);
}
END_TEST

/* semantics: R1 */
START_TEST(a_timer_that_was_cancelled_does_not_fire)
{
    _Atomic int fired = 0;
    struct brood_timer *timer = start(BROOD_TIMER(.run = count_up, .context = &fired, .after_ms = 3600000));

    ck_assert_int_eq(brood_timer_cancel(timer), 0);
    ck_assert_int_eq(brood_timer_cancel(timer), 1);
    ck_assert_int_eq(brood_timer_join(timer, SOON), 0);
    ck_assert_int_eq(fired, 0);
    brood_timer_free(timer);
    brood_timer_free(start(BROOD_TIMER(.run = count_up, .context = &fired, .after_ms = INT64_MAX)));
    await(brood_thread_count() == 1);
    ck_assert_int_eq(fired, 0);
    brood_timer_free(NULL);
}
END_TEST

START_TEST(cancelling_a_call_that_has_begun_is_too_late)
{
    struct stop stop = {0};
    struct brood_timer *timer = start(BROOD_TIMER(.run = stay, .context = &stop));

    await(stop.reached == 1);
    ck_assert_int_eq(brood_timer_cancel(timer), 1);
    stop.go = 1;
    ck_assert_int_eq(brood_timer_join(timer, SOON), 0);
    ck_assert_uint_eq(brood_timer_count(timer), 1);
    brood_timer_free(timer);
}
END_TEST

struct sum {
    int numbers[3];
    _Atomic int *total;
};

static int add(void *context)
{
    struct sum *sum = context;

    for (int i = 0; i < 3; i++)
        atomic_fetch_add(sum->total, sum->numbers[i]);
    sum->numbers[0] = 1000;
    return 0;
}

/* semantics: R2 */
START_TEST(each_timer_has_its_own_copy_of_the_context)
{
    _Atomic int total = 0;
    struct sum sum = {{1, 2, 3}, &total};
    struct brood_timer *first =
        start(BROOD_TIMER(.run = add, .context = &sum, .context_bytes = sizeof(sum), .after_ms = 1));
    struct brood_timer *second =
        start(BROOD_TIMER(.run = add, .context = &sum, .context_bytes = sizeof(sum), .after_ms = 1));

    sum.numbers[0] = 100;
    ck_assert_int_eq(brood_timer_join(first, SOON), 0);
    ck_assert_int_eq(brood_timer_join(second, SOON), 0);
    ck_assert_int_eq(total, 12);
    ck_assert_int_eq(sum.numbers[0], 100);
    brood_timer_free(first);
    brood_timer_free(second);
}
END_TEST

/* semantics: R3 */
START_TEST(a_timer_is_a_thread)
{
    _Atomic int fired = 0;
    struct brood_timer *timer =
        start(BROOD_TIMER(.run = count_up, .context = &fired, .after_ms = 3600000, .name = "reminder", .daemon = 1));
    struct brood_thread *thread = brood_timer_thread(timer);

    ck_assert_str_eq(brood_thread_name(thread), "reminder");
    ck_assert_int_eq(brood_thread_set_name(thread, "other"), 0);
    ck_assert_str_eq(brood_thread_name(thread), "other");
    ck_assert_int_eq(brood_thread_is_daemon(thread), 1);
    ck_assert_int_eq(brood_thread_is_alive(thread), 1);
    ck_assert_int_eq(brood_timer_cancel(timer), 0);
    ck_assert_int_eq(brood_thread_join(thread, SOON), 0);
    brood_timer_free(timer);
}
END_TEST

#define BEATS 20
#define PERIOD_MS 5

struct beats {
    int64_t first_ms;
    _Atomic int count;
    int late; /* calls that came before their time */
};

/* The n-th call is never before n periods after the first, however late the others came. */
static int keep_beat(void *context)
{
    struct beats *beats = context;
    int n = atomic_fetch_add(&beats->count, 1);

    if (n == 0)
        beats->first_ms = now_ms();
    else if (now_ms() - beats->first_ms > (int64_t)n * PERIOD_MS + AT_ONCE_MS)
        beats->late++;
    if (n == 3) /* as long as two periods: what passes meanwhile is left out */
        for (int64_t until = now_ms() + 2 * PERIOD_MS; now_ms() < until;)
            rest();
    return n == BEATS ? 1 : 0;
}

START_TEST(a_periodic_timer_keeps_its_beat_until_its_function_ends_it)
{
    struct beats beats = {0};
    int64_t began = now_ms();
    struct brood_timer *timer = start(BROOD_TIMER(.run = keep_beat, .context = &beats, .every_ms = PERIOD_MS));
    int result;

    ck_assert_int_eq(brood_timer_join(timer, SOON), 0);
    ck_assert_int_ge(now_ms() - began, (BEATS + 2) * PERIOD_MS - 1); /* the first after a period, and two were left out */
    ck_assert_int_eq(beats.late, 0);
    ck_assert_int_eq(beats.count, BEATS + 1);
    ck_assert_uint_eq(brood_timer_count(timer), BEATS + 1);
    ck_assert_int_eq(brood_thread_result(brood_timer_thread(timer), &result), 0);
    ck_assert_int_eq(result, 1);
    ck_assert_int_eq(brood_timer_cancel(timer), 1);
    brood_timer_free(timer);
}
END_TEST

START_TEST(a_periodic_timer_that_is_cancelled_ends_after_the_call)
{
    struct stop stop = {0};
    struct brood_timer *timer = start(BROOD_TIMER(.run = stay, .context = &stop, .after_ms = 1, .every_ms = 3600000));

    await(stop.reached == 1);
    ck_assert_int_eq(brood_timer_cancel(timer), 0);
    ck_assert_int_eq(brood_timer_cancel(timer), 1);
    ck_assert_int_eq(brood_timer_join(timer, BROOD_NOW), -EAGAIN);
    stop.go = 1;
    ck_assert_int_eq(brood_timer_join(timer, SOON), 0);
    ck_assert_uint_eq(brood_timer_count(timer), 1);
    brood_timer_free(timer);
}
END_TEST

static struct brood_timer *_Atomic itself;

static int cancel_itself(void *context)
{
    struct brood_timer *timer;

    while ((timer = atomic_load(&itself)) == NULL)
        rest();
    *(int *)context = brood_timer_join(timer, BROOD_FOREVER);
    return brood_timer_cancel(timer);
}

START_TEST(a_function_can_cancel_its_own_timer)
{
    int joined = 0;
    struct brood_timer *timer = start(BROOD_TIMER(.run = cancel_itself, .context = &joined, .every_ms = 1));

    atomic_store(&itself, timer);
    ck_assert_int_eq(brood_timer_join(timer, SOON), 0);
    ck_assert_int_eq(joined, -EDEADLK);
    ck_assert_uint_eq(brood_timer_count(timer), 1);
    brood_timer_free(timer);
}
END_TEST

static int leave(void *context)
{
    (void)count_up(context);
    brood_thread_exit(0);
}

START_TEST(leaving_a_scope_waits_for_the_call_that_has_begun)
{
    _Atomic int fired = 0;

    {
        brood_auto(timer) *timer = start(BROOD_TIMER(.run = leave, .context = &fired, .every_ms = 1));
        brood_auto(timer) *never = start(BROOD_TIMER(.run = leave, .context = &fired, .after_ms = 3600000));
        brood_auto(timer) *none = NULL;

        ck_assert_ptr_null(none);
        ck_assert_uint_eq(brood_timer_count(never), 0);
        await(brood_timer_count(timer) == 1);
    }
    ck_assert_int_eq(fired, 1);
    ck_assert_int_eq(brood_thread_count(), 1);
}
END_TEST

START_TEST(bad_options_are_refused)
{
    struct brood_timer *timer = NULL;

    ck_assert_int_eq(brood_timer_start(&timer, NULL), -EINVAL);
    ck_assert_int_eq(brood_timer_start(&timer, BROOD_TIMER(.after_ms = 1)), -EINVAL);
    ck_assert_int_eq(brood_timer_start(&timer, BROOD_TIMER(.run = leave, .every_ms = -1)), -EINVAL);
    ck_assert_int_eq(brood_timer_start(&timer, BROOD_TIMER(.run = leave, .context_bytes = 1)), -EINVAL);
    ck_assert_ptr_null(timer);
    ck_assert_int_eq(brood_timer_cancel(NULL), -EINVAL);
    ck_assert_int_eq(brood_timer_join(NULL, BROOD_NOW), -EINVAL);
}
END_TEST

static void look_at_timer(void *context)
{
    ck_assert_int_eq(brood_timer_cancel(context), 1);
    ck_assert_int_eq(brood_timer_join(context, BROOD_FOREVER), 0);
    brood_timer_free(context);
}

START_TEST(a_fork_has_no_timers)
{
    _Atomic int fired = 0;
    struct brood_timer *timer = start(BROOD_TIMER(.run = count_up, .context = &fired, .after_ms = 3600000));

    in_child(look_at_timer, timer);
    ck_assert_int_eq(brood_timer_cancel(timer), 0);
    ck_assert_int_eq(brood_timer_join(timer, SOON), 0);
    brood_timer_free(timer);
}
END_TEST

/* The thread has done all that the timer wants of it, and has its end before it. */
static void hold_the_end(enum brood_log_level level, const char *line, void *context)
{
    (void)level;
    if (strstr(line, "the thread ends"))
        (void)stay(context);
}

/* Under a checker of memory (asan, valgrind) this is a use after free, if the child takes the end for one that is to come.
 */
START_TEST(a_fork_amid_the_end_of_a_timer_frees_its_copy_once)
{
    struct stop stop = {0};
    _Atomic int fired = 0;
    struct brood_timer *timer;

    ck_assert_int_eq(brood_log_call(hold_the_end, &stop, BROOD_LOG_DEBUG), 0);
    timer = start(BROOD_TIMER(.run = count_up, .context = &fired, .after_ms = 1));
    await(stop.reached == 1);
    in_child(look_at_timer, timer);
    atomic_store(&stop.go, 1);
    ck_assert_int_eq(brood_timer_join(timer, SOON), 0);
    ck_assert_int_eq(brood_log_to(STDERR_FILENO, BROOD_LOG_OFF), 0);
    brood_timer_free(timer);
}
END_TEST

int main(int argc, char **argv)
{
    bool forks = argc < 2 || strcmp(argv[1], "--one-process") != 0;
    Suite *suite = suite_create("timer");

    add_tests(suite, "once", a_timer_fires_once_after_its_time, a_timer_that_was_cancelled_does_not_fire,
              cancelling_a_call_that_has_begun_is_too_late, each_timer_has_its_own_copy_of_the_context, a_timer_is_a_thread,
              bad_options_are_refused, NULL);
    add_tests(suite, "periodic", a_periodic_timer_keeps_its_beat_until_its_function_ends_it,
              a_periodic_timer_that_is_cancelled_ends_after_the_call, a_function_can_cancel_its_own_timer,
              leaving_a_scope_waits_for_the_call_that_has_begun, NULL);
    if (forks)
        add_tests(suite, "forks", a_fork_has_no_timers, a_fork_amid_the_end_of_a_timer_frees_its_copy_once, NULL);
    return run_suite(suite);
}
