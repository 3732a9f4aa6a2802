/* bench_sync.c - what locks, semaphores, events and conditions cost, beside what the C library and the kernel offer.
 *
 * "free": one thread takes a lock that no other wants and gives it back.  The peer is a robust mutex of the C library
 * that is shared between processes, which is what one would use instead.
 *
 * "hand-over": two processes wake each other in turns, each on a CPU of its own.  The peer is the least that it can take:
 * two words, a store, FUTEX_WAKE and FUTEX_WAIT.  What is counted is one hand-over, half of a round trip.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <brood.h>

#include "bench.h"
#include "os/clock.h"
#include "os/futex.h"

#define PAIRS 20000
#define TURNS 1000
#define ROUNDS 101

static void *map(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED)
        bench_fail("mmap: %s", strerror(errno));
    return memory;
}

static void check(int r)
{
    if (r != 0)
        bench_fail("%s", brood_error());
}

/* ---- a lock that is free ---- */

static double ns_each(int64_t began)
{
    return (double)(brood__now_ns() - began) / PAIRS;
}

static double lock_free(void *state)
{
    int64_t began = brood__now_ns();

    for (int i = 0; i < PAIRS; i++) {
        check(brood_lock_acquire(state, BROOD_FOREVER));
        check(brood_lock_release(state));
    }
    return ns_each(began);
}

static double rlock_free(void *state)
{
    int64_t began = brood__now_ns();

    for (int i = 0; i < PAIRS; i++) {
        check(brood_rlock_acquire(state, BROOD_FOREVER));
        check(brood_rlock_release(state));
    }
    return ns_each(began);
}

static double mutex_free(void *state)
{
    int64_t began = brood__now_ns();

    for (int i = 0; i < PAIRS; i++)
        if (pthread_mutex_lock(state) != 0 || pthread_mutex_unlock(state) != 0)
            bench_fail("a mutex of the C library fails");
    return ns_each(began);
}

static void make_mutex(pthread_mutex_t *mutex, int type)
{
    pthread_mutexattr_t attributes;

    if (pthread_mutexattr_init(&attributes) != 0 || pthread_mutexattr_settype(&attributes, type) != 0 ||
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) != 0 ||
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) != 0 || pthread_mutex_init(mutex, &attributes) != 0)
        bench_fail("there is no robust mutex");
    (void)pthread_mutexattr_destroy(&attributes);
}

static void measure_free(struct report *report, const char *what, double (*measure)(void *), void *lock, int type)
{
    pthread_mutex_t *mutex = map(sizeof(*mutex));
    struct side sides[] = {{.name = "brood", .measure = measure, .state = lock},
                           {.name = "robust pthread_mutex", .measure = mutex_free, .state = mutex}};

    make_mutex(mutex, type);
    sides_measure(sides, 2, rounds(report, ROUNDS));
    report_ratio(report, what, "ns", &sides[0], &sides[1], 1);
    sides_free(sides, 2);
    (void)pthread_mutex_destroy(mutex);
    (void)munmap(mutex, sizeof(*mutex));
}

static void locks_free(struct report *report)
{
    struct brood_lock *lock = map(sizeof(*lock));
    struct brood_rlock *rlock = map(sizeof(*rlock));

    measure_free(report, "lock, acquire and release", lock_free, lock, PTHREAD_MUTEX_NORMAL);
    measure_free(report, "rlock, acquire and release", rlock_free, rlock, PTHREAD_MUTEX_RECURSIVE);
    (void)munmap(lock, sizeof(*lock));
    (void)munmap(rlock, sizeof(*rlock));
}

/* ---- from one process to another and back ---- */

struct table {
    _Atomic uint32_t words[2];
    struct brood_event events[2];
    struct brood_semaphore semaphores[2];
    struct brood_lock lock;
    struct brood_condition conditions[2];
    int turn;
    _Atomic bool is_ready;
};

/* How one gives the turn to `other`, and waits until it is the turn of `me`. */
struct way {
    void (*give)(struct table *table, int other);
    void (*await)(struct table *table, int me);
};

static void give_word(struct table *table, int other)
{
    atomic_store_explicit(&table->words[other], 1, memory_order_release);
    (void)brood__futex_wake(&table->words[other], 1);
}

static void await_word(struct table *table, int me)
{
    while (atomic_exchange_explicit(&table->words[me], 0, memory_order_acquire) == 0)
        (void)brood__futex_wait(&table->words[me], 0, BROOD_FOREVER);
}

static void give_event(struct table *table, int other)
{
    brood_event_set(&table->events[other]);
}

static void await_event(struct table *table, int me)
{
    check(brood_event_wait(&table->events[me], BROOD_FOREVER));
    brood_event_clear(&table->events[me]);
}

static void give_permit(struct table *table, int other)
{
    check(brood_semaphore_release(&table->semaphores[other], 1));
}

static void await_permit(struct table *table, int me)
{
    check(brood_semaphore_acquire(&table->semaphores[me], BROOD_FOREVER));
}

static void give_turn(struct table *table, int other)
{
    check(brood_lock_acquire(&table->lock, BROOD_FOREVER));
    table->turn = other;
    check(brood_condition_notify(&table->conditions[other], 1));
    check(brood_lock_release(&table->lock));
}

static void await_turn(struct table *table, int me)
{
    check(brood_lock_acquire(&table->lock, BROOD_FOREVER));
    while (table->turn != me)
        check(brood_condition_wait(&table->conditions[me], BROOD_FOREVER));
    check(brood_lock_release(&table->lock));
}

static struct table *new_table(void)
{
    struct table *table = map(sizeof(*table));

    for (int i = 0; i < 2; i++) {
        check(brood_semaphore_init(&table->semaphores[i], 0, BROOD_SEMAPHORE_MAX));
        check(brood_condition_init(&table->conditions[i], &table->lock));
    }
    return table;
}

static _Noreturn void answer(const struct way *way, struct table *table)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* no process would stop it */
    if (bench_cpu(1) >= 0)
        bench_pin(0, bench_cpu(1));
    atomic_store(&table->is_ready, true);
    for (int i = 0; i < TURNS; i++) {
        way->await(table, 1);
        way->give(table, 0);
    }
    _exit(0);
}

static double us_per_hand_over(void *state)
{
    const struct way *way = state;
    struct table *table = new_table();
    pid_t pid = fork();
    int64_t began;

    if (pid < 0)
        bench_fail("fork: %s", strerror(errno));
    if (pid == 0)
        answer(way, table);
    while (!atomic_load(&table->is_ready))
        ;
    bench_await_sleep(pid);
    began = brood__now_ns();
    for (int i = 0; i < TURNS; i++) {
        way->give(table, 1);
        way->await(table, 0);
    }
    began = brood__now_ns() - began;
    if (waitpid(pid, NULL, 0) != pid)
        bench_fail("waitpid: %s", strerror(errno));
    (void)munmap(table, sizeof(*table));
    return (double)began / (2.0 * TURNS * 1000);
}

static void hand_over(struct report *report)
{
    static const struct way ways[] = {
        {give_word, await_word}, {give_permit, await_permit}, {give_event, await_event}, {give_turn, await_turn}};
    struct side sides[] = {{.name = "bare futexes", .measure = us_per_hand_over, .state = (void *)&ways[0]},
                           {.name = "semaphore", .measure = us_per_hand_over, .state = (void *)&ways[1]},
                           {.name = "event", .measure = us_per_hand_over, .state = (void *)&ways[2]},
                           {.name = "condition", .measure = us_per_hand_over, .state = (void *)&ways[3]}};

    bench_pin(0, bench_cpu(0));
    sides_measure(sides, 4, rounds(report, ROUNDS));
    bench_unpin(0);
    report_ratio(report, "hand-over by semaphore", "us", &sides[1], &sides[0], 1.2);
    report_ratio(report, "hand-over by event", "us", &sides[2], &sides[0], 1.2);
    report_ratio(report, "hand-over by condition", "us", &sides[3], &sides[0], 1.2);
    if (bench_cpu(1) < 0)
        report_remark(report, "both processes share the only CPU");
    sides_free(sides, 4);
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {
        {"free", "a lock that no other wants", locks_free},
        {"hand-over", "two processes that wake each other in turns", hand_over},
        {NULL, NULL, NULL},
    };

    return bench_main(argc, argv, "bench_sync", benches);
}
