/* check_thread_cpu.c - where threads are, and having them moved. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "os/thread_cpu.h"
#include "support.h"

/* A thread that works until it is told to stop. */
struct busy {
    pthread_t id;
    _Atomic pid_t tid;
    _Atomic bool stop;
    _Atomic uint64_t seen; /* CPUs that it has run on, a bit each for the first 64 */
};

static void *work(void *argument)
{
    struct busy *busy = argument;

    atomic_store(&busy->tid, gettid());
    while (!atomic_load(&busy->stop))
        atomic_fetch_or(&busy->seen, UINT64_C(1) << sched_getcpu() % 64);
    return NULL;
}

static void start(struct busy *busy)
{
    *busy = (struct busy){0};
    ck_assert_int_eq(pthread_create(&busy->id, NULL, work, busy), 0);
    await(atomic_load(&busy->tid) != 0);
}

static void stop(struct busy *busy)
{
    atomic_store(&busy->stop, true);
    pthread_join(busy->id, NULL);
}

static cpu_set_t affinity_of(pid_t tid)
{
    cpu_set_t set;

    ck_assert_int_eq(sched_getaffinity(tid, sizeof(set), &set), 0);
    return set;
}

static unsigned nth_cpu(const cpu_set_t *set, int n)
{
    unsigned cpu = 0;

    for (; n > 0 || !CPU_ISSET(cpu, set); cpu++)
        n -= CPU_ISSET(cpu, set) != 0;
    return cpu;
}

static void pin(pid_t tid, unsigned cpu)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ck_assert_int_eq(sched_setaffinity(tid, sizeof(one), &one), 0);
}

START_TEST(a_thread_that_runs_wants_the_cpu_that_it_is_on)
{
    cpu_set_t all = affinity_of(0);

    for (int i = 0; i < CPU_COUNT(&all) && i < 4; i++) {
        pin(0, nth_cpu(&all, i));
        ck_assert_uint_eq(brood__cpu_here(), nth_cpu(&all, i));
        ck_assert_uint_eq(brood__cpu_wanted_by(gettid()), nth_cpu(&all, i));
    }
}
END_TEST

static struct sleeper {
    int ends[2];
    _Atomic pid_t tid;
} sleeper;

static void *sleep_on(void *nothing)
{
    char byte;

    atomic_store(&sleeper.tid, gettid());
    (void)!read(sleeper.ends[0], &byte, 1);
    return nothing;
}

START_TEST(a_thread_that_sleeps_or_is_none_wants_no_cpu)
{
    pthread_t id;

    ck_assert_int_eq(pipe(sleeper.ends), 0);
    ck_assert_int_eq(pthread_create(&id, NULL, sleep_on, NULL), 0);
    await(atomic_load(&sleeper.tid) != 0 && brood__cpu_wanted_by(sleeper.tid) == CPU_NONE);
    ck_assert_uint_eq(brood__cpu_wanted_by(0x7fffffff), CPU_NONE);
    close(sleeper.ends[1]);
    pthread_join(id, NULL);
    close(sleeper.ends[0]);
}
END_TEST

START_TEST(a_thread_is_moved_to_the_callers_cpu_and_may_run_where_it_might_before)
{
    cpu_set_t all = affinity_of(0), after;
    struct busy busy;

    if (CPU_COUNT(&all) < 2)
        return;
    start(&busy);
    pin(0, nth_cpu(&all, 0));
    pin(busy.tid, nth_cpu(&all, 1));
    ck_assert_int_eq(sched_setaffinity(busy.tid, sizeof(all), &all), 0);
    await(brood__cpu_wanted_by(busy.tid) == nth_cpu(&all, 1)); /* where it stays, as long as no process moves it */
    atomic_store(&busy.seen, 0);

    brood__cpu_give_to(busy.tid);

    await(atomic_load(&busy.seen) >> nth_cpu(&all, 0) % 64 & 1);
    after = affinity_of(busy.tid);
    ck_assert(CPU_EQUAL(&after, &all));
    stop(&busy);
}
END_TEST

START_TEST(a_thread_that_may_not_run_on_the_callers_cpu_stays)
{
    cpu_set_t all = affinity_of(0);
    struct busy busy;

    if (CPU_COUNT(&all) < 2)
        return;
    start(&busy);
    pin(0, nth_cpu(&all, 0));
    pin(busy.tid, nth_cpu(&all, 1));

    brood__cpu_give_to(busy.tid);

    ck_assert_uint_eq(brood__cpu_wanted_by(busy.tid), nth_cpu(&all, 1));
    stop(&busy);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("placement");

    add_tests(suite, "placement", a_thread_that_runs_wants_the_cpu_that_it_is_on,
              a_thread_that_sleeps_or_is_none_wants_no_cpu,
              a_thread_is_moved_to_the_callers_cpu_and_may_run_where_it_might_before,
              a_thread_that_may_not_run_on_the_callers_cpu_stays, NULL);
    return run_suite(suite);
}
