/* conform_standby.c - a worker's place is taken by a process that was there already: over forked and exec'ed workers. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "os/clock.h"
#include "os/pidfd.h"
#include "pools.h"
#include "support.h"
#include "tasks.h"

enum { CHILDREN = 16 };

static struct brood_pool *open_with(int kind, int workers, int spares)
{
    return open_processes(kind, BROOD_POOL(.workers = workers, .spares = spares));
}

static bool is_worker(const struct brood_pool *pool, pid_t pid)
{
    for (int i = 0; i < brood_pool_workers(pool); i++)
        if (brood_pool_worker_pid(pool, i) == pid)
            return true;
    return false;
}

/* A process that waits for its number, or 0.  It sleeps, or it is still on its way there. */
static pid_t find_spare(const struct brood_pool *pool, pid_t supervisor)
{
    pid_t children[CHILDREN];
    int count = children_of(supervisor, children, CHILDREN);

    for (int i = 0; i < count; i++)
        if (!is_worker(pool, children[i]) && is_asleep(children[i]))
            return children[i];
    return 0;
}

/* While all workers are there. */
static pid_t await_spare(const struct brood_pool *pool, pid_t supervisor)
{
    pid_t spare = 0;

    for (int i = 0; i < brood_pool_workers(pool); i++)
        await(brood_pool_worker_pid(pool, i) > 0);
    await((spare = find_spare(pool, supervisor)) > 0);
    return spare;
}

START_TEST(a_spare_takes_the_place_of_the_dead)
{
    brood_auto(pool) *pool = open_with(_i, 2, 1);
    pid_t supervisor = supervisor_of(pool);

    for (int round = 0; round < 3; round++) {
        pid_t spare = await_spare(pool, supervisor);

        ck_assert_int_eq(brood_apply(pool, die_by, &(int){0}, &(int){SIGKILL}), -EOWNERDEAD);
        await(is_worker(pool, spare));
        expect_working(pool);
    }
}
END_TEST

START_TEST(a_spare_that_dies_costs_nothing_and_is_replaced)
{
    brood_auto(pool) *pool = open_with(_i, 1, 1);
    pid_t supervisor = supervisor_of(pool);

    for (int round = 0; round < 3; round++) {
        pid_t spare = await_spare(pool, supervisor);

        ck_assert_int_eq(kill(spare, SIGKILL), 0);
        expect_working(pool);
        ck_assert_int_ne(await_spare(pool, supervisor), spare);
    }
}
END_TEST

/* Together with the worker whose place it should take: stopped, the supervisor learns of both at once. */
START_TEST(a_spare_that_dies_with_its_worker_is_no_worker)
{
    brood_auto(pool) *pool = open_with(_i, 1, 1);
    pid_t supervisor = supervisor_of(pool);

    for (int round = 0; round < 6; round++) {
        pid_t spare = await_spare(pool, supervisor), victim = brood_pool_worker_pid(pool, 0);

        ck_assert_int_eq(kill(supervisor, SIGSTOP), 0);
        ck_assert_int_eq(kill(round % 2 ? spare : victim, SIGKILL), 0);
        ck_assert_int_eq(kill(round % 2 ? victim : spare, SIGKILL), 0);
        ck_assert_int_eq(kill(supervisor, SIGCONT), 0);
        expect_working(pool);
        ck_assert_int_ne(brood_pool_worker_pid(pool, 0), victim);
    }
}
END_TEST

START_TEST(more_may_die_at_once_than_there_are_spares)
{
    brood_auto(pool) *pool = open_with(_i, 3, 1);
    pid_t supervisor = supervisor_of(pool);
    struct brood_future *lost[3];
    pid_t victims[3];

    (void)await_spare(pool, supervisor);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(brood_apply_async(pool, hang, &lost[i], &(int){0}), 0);
        victims[i] = brood_pool_worker_pid(pool, i);
    }
    for (int i = 0; i < 3; i++)
        await(brood_future_running(lost[i]));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(kill(victims[i], SIGKILL), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(outcome_of(lost[i]), -EOWNERDEAD);
    for (int i = 0; i < 3; i++)
        brood_future_free(lost[i]);
    expect_working(pool);
    (void)await_spare(pool, supervisor);
}
END_TEST

START_TEST(a_worker_that_retires_is_followed_by_a_spare)
{
    enum { N = 300 };
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2, .spares = 2, .worker_tasks = 7));
    struct brood_future *futures[N];

    for (int i = 0; i < N; i++)
        ck_assert_int_eq(brood_apply_async(pool, square, &futures[i], &(double){i}), 0);
    for (int i = 0; i < N; i++) {
        double y = -1;

        ck_assert_int_eq(brood_future_wait(futures[i], brood_after_ms(60000)), 0);
        ck_assert_int_eq(brood_future_result(futures[i], &y, sizeof(y)), 0);
        ck_assert_double_eq(y, (double)i * i);
        brood_future_free(futures[i]);
    }
}
END_TEST

static int64_t ms_to_close(int kind, bool has_spare)
{
    struct brood_pool *pool = open_with(kind, 1, 3);
    pid_t supervisor = supervisor_of(pool);
    int64_t began;

    if (has_spare)
        (void)await_spare(pool, supervisor);
    began = now_ms();
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    return now_ms() - began;
}

/* It has no number yet, and so no work to finish: a close that waited for it would take a second, each time. */
START_TEST(a_pool_that_closes_does_not_wait_for_spares)
{
    for (int has_spare = 0; has_spare < 2; has_spare++) {
        int64_t ms = INT64_MAX;

        for (int i = 0; i < 10 && ms >= 900; i++)
            ms = ms_to_close(_i, has_spare);
        ck_assert_int_lt(ms, 900);
    }
}
END_TEST

static void be_host(int kind, int ready)
{
    struct brood_pool *pool = open_with(kind, 1, 2);
    pid_t supervisor = supervisor_of(pool);

    (void)await_spare(pool, supervisor);
    if (write(ready, "", 1) != 1)
        _exit(1);
    _exit(brood_apply(pool, hang, &(int){0}, &(int){0}));
}

/* The fixture makes orphans this process's children, and fails if one stays. */
START_TEST(when_the_host_is_killed_its_spares_go_too)
{
    pid_t host = start_host(be_host, _i);
    int status;

    put_to_death(host);
    while (waitpid(-1, &status, 0) > 0) /* supervisor, workers and spares, as they go */
        ;
    ck_assert_int_eq(errno, ECHILD);
}
END_TEST

/* Any child of the supervisor then: worker, standby, or one that is just becoming a worker. */
START_TEST(random_kills_of_workers_and_spares_leave_every_task_with_one_outcome)
{
    enum { TASKS = 100 };
    brood_auto(pool) *pool = open_with(_i, 2, 2);
    pid_t supervisor = supervisor_of(pool), children[CHILDREN];
    int64_t end = now_us() + 700000;

    srandom(3);
    while (now_us() < end) {
        struct brood_future *futures[TASKS];
        int count, lost = 0;

        for (int i = 0; i < TASKS; i++)
            ck_assert_int_eq(brood_apply_async(pool, square, &futures[i], &(double){i}), 0);
        count = children_of(supervisor, children, CHILDREN);
        if (count > 0)
            (void)kill(children[random() % count], SIGKILL);
        for (int i = 0; i < TASKS; i++) {
            double y = -1;
            int r;

            ck_assert_int_eq(brood_future_wait(futures[i], brood_after_ms(60000)), 0);
            r = brood_future_result(futures[i], &y, sizeof(y));
            ck_assert_msg(r == -EOWNERDEAD || (r == 0 && y == (double)i * i), "task %d: %d %s", i, r, brood_error());
            lost += r < 0;
            brood_future_free(futures[i]);
        }
        ck_assert_int_le(lost, 1);
    }
    expect_working(pool);
}
END_TEST

START_TEST(forked_spares_may_inherit_descriptors)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2, .spares = 2, .inherit_fds = true));
    pid_t supervisor = supervisor_of(pool);

    for (int round = 0; round < 4; round++) {
        (void)await_spare(pool, supervisor);
        ck_assert_int_eq(brood_apply(pool, die_by, &(int){0}, &(int){SIGKILL}), -EOWNERDEAD);
    }
    expect_working(pool);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    pool = NULL;
}
END_TEST

START_TEST(a_spare_is_confined_when_it_is_a_worker)
{
    brood_auto(pool) *pool =
        open_processes(_i, BROOD_POOL(.workers = 1, .spares = 1, .sandbox = BROOD_SANDBOX(.no_processes = true)));
    pid_t supervisor = supervisor_of(pool);
    pid_t spare = await_spare(pool, supervisor);
    int r, child;

    ck_assert_int_eq(brood_apply(pool, die_by, &(int){0}, &(int){SIGKILL}), -EOWNERDEAD);
    await(is_worker(pool, spare));
    r = brood_apply(pool, leave_a_child, &child, &(int){0});
    ck_assert_msg(r < 0, "it has started a process");
    expect_working(pool);
}
END_TEST

/* ---- initializers ---- */

struct tally {
    _Atomic int begun, ended, failing;
};

static int begin(void *context, void **ret_state)
{
    struct tally *tally = context;

    *ret_state = tally;
    if (atomic_load(&tally->failing))
        return brood_fail(-ENODEV, "out of luck");
    atomic_fetch_add(&tally->begun, 1);
    return 0;
}

static void end(void *context, void *state)
{
    struct tally *tally = state;

    ck_assert_ptr_eq(context, state);
    atomic_fetch_add(&tally->ended, 1);
}

static struct brood_pool *open_tallied(struct tally *tally)
{
    return open_processes(FORKED,
                          BROOD_POOL(.workers = 1, .spares = 1, .initializer = begin, .finalizer = end, .context = tally));
}

START_TEST(a_spare_has_begun_before_it_is_needed)
{
    struct tally *tally = shared_memory(sizeof(*tally));
    struct brood_pool *pool = open_tallied(tally);
    pid_t supervisor = supervisor_of(pool);

    (void)await_spare(pool, supervisor);
    await(atomic_load(&tally->begun) == 2);
    ck_assert_int_eq(brood_apply(pool, die_by, &(int){0}, &(int){SIGKILL}), -EOWNERDEAD);
    expect_working(pool);
    (void)await_spare(pool, supervisor);
    await(atomic_load(&tally->begun) == 3);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    ck_assert_int_eq(atomic_load(&tally->ended), 2); /* the worker and the spare */
    (void)munmap(tally, sizeof(*tally));
}
END_TEST

/* As it would have been without a spare: when it is needed. */
START_TEST(a_spare_that_could_not_begin_breaks_the_pool_when_it_is_needed)
{
    struct tally *tally = shared_memory(sizeof(*tally));
    brood_auto(pool) *pool = NULL;
    brood_auto(future) *lost = NULL, *waiting = NULL;
    char words[256];
    pid_t supervisor;
    int r;

    pool = open_tallied(tally);
    supervisor = supervisor_of(pool);
    (void)await_spare(pool, supervisor);
    atomic_store(&tally->failing, 1);
    ck_assert_int_eq(brood_apply(pool, die_by, &(int){0}, &(int){SIGKILL}), -EOWNERDEAD); /* the good one takes over */
    (void)await_spare(pool, supervisor);
    expect_working(pool);
    ck_assert_int_eq(brood_apply_async(pool, die_by, &lost, &(int){SIGKILL}), 0);
    r = brood_apply_async(pool, square, &waiting, &(double){3}); /* the pool may be broken already */
    (void)snprintf(words, sizeof(words), "%s", brood_error());   /* the next failure changes it */
    ck_assert_int_eq(outcome_of(lost), -EOWNERDEAD);
    if (r == 0) {
        r = outcome_of(waiting);
        (void)snprintf(words, sizeof(words), "%s", brood_future_error(waiting));
    }
    ck_assert_int_eq(r, -ESHUTDOWN);
    ck_assert_msg(strstr(words, "out of luck") != NULL, "%s", words);
    (void)munmap(tally, sizeof(*tally));
}
END_TEST

static uint64_t spare_deaths(struct brood_pool *pool)
{
    struct brood_pool_stats stats = {.size = sizeof(stats)};

    ck_assert_int_eq(brood_pool_stats(pool, &stats), 0);
    return stats.spare_deaths;
}

static const char *own_name(void)
{
    static char name[16];

    (void)prctl(PR_GET_NAME, name);
    return name;
}

static int crash_if_told(void *context, void **ret_state)
{
    struct tally *tally = context;

    (void)ret_state;
    if (atomic_load(&tally->failing) && strstr(own_name(), "spare")) {
        atomic_fetch_add(&tally->begun, 1);
        raise(SIGKILL);
    }
    return 0;
}

/* Ten take three seconds, with the pauses between them; then there is one more with each worker that is started. */
START_TEST(spares_that_die_in_their_initializer_are_not_forked_for_ever)
{
    struct tally *tally = shared_memory(sizeof(*tally));
    brood_auto(pool) *pool = NULL;
    pid_t supervisor;

    atomic_store(&tally->failing, 1);
    pool = open_processes(FORKED, BROOD_POOL(.workers = 2, .spares = 1, .initializer = crash_if_told, .context = tally));
    supervisor = supervisor_of(pool);
    await(spare_deaths(pool) == 10);
    expect_working(pool);
    ck_assert_int_eq(brood_apply(pool, die_by, &(int){0}, &(int){SIGKILL}), -EOWNERDEAD);
    await(spare_deaths(pool) == 11);
    atomic_store(&tally->failing, 0);
    ck_assert_int_eq(atomic_load(&tally->begun), 11);
    ck_assert_int_eq(brood_apply(pool, die_by, &(int){0}, &(int){SIGKILL}), -EOWNERDEAD);
    (void)await_spare(pool, supervisor);
    expect_working(pool);
    ck_assert_uint_eq(spare_deaths(pool), 11);
    (void)munmap(tally, sizeof(*tally));
}
END_TEST

/* ---- a program that is large ---- */

#define LARGE ((size_t)256 << 20)

static char *become_large(void)
{
    char *memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(memory, MAP_FAILED);
    (void)madvise(memory, LARGE, MADV_NOHUGEPAGE); /* so that there are many pages */
    memset(memory, 1, LARGE);
    return memory;
}

/* How long after its death it is replaced.  Between the kill and the death the kernel takes its memory down. */
static int64_t replace(struct brood_pool *pool)
{
    pid_t victim = brood_pool_worker_pid(pool, 0), next;
    int pidfd = brood__pidfd_open(victim);
    int64_t began;

    ck_assert_int_ge(pidfd, 0);
    ck_assert_int_eq(brood__pidfd_kill(pidfd, SIGKILL), 0);
    ck_assert_int_eq(brood__pidfd_wait(pidfd, brood_after_ms(60000)), 0);
    began = brood__now_ns();
    close(pidfd);
    while ((next = brood_pool_worker_pid(pool, 0)) == victim || next == 0)
        (void)sched_yield();
    return brood__now_ns() - began;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int64_t median_of_replacements(struct brood_pool *pool, bool has_spare)
{
    enum { ROUNDS = 7 };
    pid_t supervisor = supervisor_of(pool);
    int64_t took[ROUNDS];

    for (int i = 0; i < ROUNDS; i++) {
        if (has_spare)
            (void)await_spare(pool, supervisor);
        took[i] = replace(pool);
    }
    qsort(took, ROUNDS, sizeof(took[0]), compare);
    return took[ROUNDS / 2];
}

START_TEST(a_large_program_with_a_spare_does_not_wait_for_a_fork)
{
    char *memory = become_large();
    struct brood_pool *with = open_with(FORKED, 1, 1), *without = open_with(FORKED, 1, -1);
    int64_t spared, forked;

    spared = median_of_replacements(with, true);
    forked = median_of_replacements(without, false);
    ck_assert_msg(spared < forked, "%lld µs with a spare, %lld µs without", (long long)spared / 1000,
                  (long long)forked / 1000);
    ck_assert_int_eq(brood_pool_close(with, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_pool_close(without, BROOD_FOREVER), 0);
    (void)munmap(memory, LARGE);
}
END_TEST

static int64_t quickest_fork(void)
{
    int64_t quickest = INT64_MAX;

    for (int i = 0; i < 5; i++) {
        int64_t began = brood__now_ns(), took;
        pid_t child = fork();

        if (child == 0)
            _exit(0);
        took = brood__now_ns() - began;
        ck_assert_int_eq(waitpid(child, NULL, 0), child);
        if (took < quickest)
            quickest = took;
    }
    return quickest;
}

/* Where a fork takes twice as long as what brood calls long. */
START_TEST(a_large_program_has_a_spare_without_asking)
{
    char *memory = become_large();

    if (quickest_fork() > 2000000) {
        brood_auto(pool) *pool = open_with(FORKED, 1, 0);

        (void)await_spare(pool, supervisor_of(pool));
    }
    (void)munmap(memory, LARGE);
}
END_TEST

START_TEST(a_small_program_has_none)
{
    brood_auto(pool) *pool = open_with(FORKED, 2, 0);
    pid_t children[CHILDREN];

    expect_working(pool);
    ck_assert_int_eq(children_of(supervisor_of(pool), children, CHILDREN), 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spares");

    add_loop_tests(suite, "a spare", 0, PROCESS_KINDS, a_spare_takes_the_place_of_the_dead,
                   a_spare_that_dies_costs_nothing_and_is_replaced, a_spare_that_dies_with_its_worker_is_no_worker,
                   more_may_die_at_once_than_there_are_spares, a_worker_that_retires_is_followed_by_a_spare,
                   a_pool_that_closes_does_not_wait_for_spares, when_the_host_is_killed_its_spares_go_too,
                   random_kills_of_workers_and_spares_leave_every_task_with_one_outcome,
                   forked_spares_may_inherit_descriptors, a_spare_is_confined_when_it_is_a_worker, NULL);
    add_tests(suite, "initializers", a_spare_has_begun_before_it_is_needed,
              a_spare_that_could_not_begin_breaks_the_pool_when_it_is_needed,
              spares_that_die_in_their_initializer_are_not_forked_for_ever, NULL);
    add_tests(suite, "large programs", a_large_program_with_a_spare_does_not_wait_for_a_fork,
              a_large_program_has_a_spare_without_asking, a_small_program_has_none, NULL);
    return run_suite(suite);
}
