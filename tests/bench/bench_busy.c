/* bench_busy.c - what queues, pipes, locks and the like cost while other processes keep every CPU busy.
 *
 * Two processes a CPU do nothing but count.  Beside them a few participants, which are pinned nowhere, use one object for
 * a while, brood's and its peer's in turns: what the kernel or the C library offers for the same, or what one would make of
 * a mutex and conditions.  A thread that waits on such a
 * machine should sleep: a participant that spins, or gives its CPU away without sleeping, uses up its share of the CPU, and
 * what it waits for cannot come until another one has run for a time slice.
 *
 * Counted is the time from one operation to the next, of all participants together.  The marks are 2: nothing may take more
 * than twice as long as its peer.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <brood.h>

#include "bench.h"
#include "os/clock.h"

#define ROUNDS 15
#define BUSY_EACH 2 /* processes that do nothing else, for each CPU */
#define BUSY_MAX 64
#define MEASURED_NS 200000000 /* many time slices */
#define GIVE_UP_NS 5000000000
#define PARTICIPANTS_MAX 4
#define CAPACITY 10 /* of queues: what every user may ask of mq_open() */
#define BYTES 64
#define ITEMS 256 /* of a map */
#define WORKERS 2

static void *map_memory(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED)
        bench_fail("mmap: %s", strerror(errno));
    return memory;
}

static void check(int r)
{
    if (r < 0)
        bench_fail("%s", brood_error());
}

static void check_errno(int r, const char *what)
{
    if (r < 0)
        bench_fail("%s: %s", what, strerror(errno));
}

static pid_t fork_one(void)
{
    pid_t pid = fork();

    check_errno(pid, "fork");
    if (pid == 0)
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* no process would stop it */
    return pid;
}

/* ---- what they share ---- */

/* The mutex, the conditions and the words of the peers that are made of a mutex and conditions. */
struct cond_table {
    pthread_mutex_t mutex;
    pthread_cond_t conditions[2];
    unsigned count, next, turn, done;
    unsigned char messages[CAPACITY][BYTES];
};

struct table {
    struct count {
        _Alignas(64) _Atomic uint64_t operations;
    } counts[PARTICIPANTS_MAX];

    struct brood_queue *queue;
    struct brood_pipe *pipe_ends[2];
    struct brood_lock lock;
    struct brood_condition conditions[2];
    struct brood_semaphore semaphores[2];
    struct brood_barrier barrier;
    unsigned turn;

    mqd_t mq;
    int fds[2];
    sem_t sems[2];
    pthread_barrier_t pthread_barrier;
    struct cond_table cond;
};

static void count_one(struct table *table, unsigned me)
{
    atomic_fetch_add_explicit(&table->counts[me].operations, 1, memory_order_relaxed);
}

/* One way to do it.  `open` may be NULL; `play` never returns. */
struct way {
    const char *name;
    void (*open)(struct table *table);
    void (*close)(struct table *table);
    void (*play)(struct table *table, unsigned me);
    unsigned participants;
};

/* ---- a queue: two producers, one consumer ---- */

static const unsigned char message[BYTES];

static void queue_open(struct table *table)
{
    check(brood_queue_open(&table->queue, BROOD_QUEUE(.bound = CAPACITY, .message_bytes = BYTES)));
}

static void stack_open(struct table *table)
{
    check(brood_queue_open(&table->queue, BROOD_QUEUE(.kind = BROOD_LIFO, .bound = CAPACITY, .message_bytes = BYTES)));
}

static void queue_close(struct table *table)
{
    (void)brood_queue_close(table->queue);
}

static void queue_play(struct table *table, unsigned me)
{
    unsigned char bytes[BYTES];

    for (;;) {
        struct brood_space space = {bytes, sizeof(bytes)};

        if (me > 0) {
            check(brood_queue_put(table->queue, (struct brood_bytes){message, BYTES}, BROOD_FOREVER));
            continue;
        }
        check(brood_queue_get(table->queue, &space, BROOD_FOREVER));
        count_one(table, me);
    }
}

static void mq_channel_open(struct table *table)
{
    struct mq_attr attributes = {.mq_maxmsg = CAPACITY, .mq_msgsize = BYTES};
    char name[64];

    (void)snprintf(name, sizeof(name), "/brood-bench-%d", (int)getpid());
    table->mq = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    check_errno(table->mq, "mq_open");
    (void)mq_unlink(name);
}

static void mq_channel_close(struct table *table)
{
    (void)mq_close(table->mq);
}

static void mq_play(struct table *table, unsigned me)
{
    char bytes[BYTES];

    for (;;) {
        if (me > 0) {
            check_errno(mq_send(table->mq, (const char *)message, BYTES, 0), "mq_send");
            continue;
        }
        check_errno((int)mq_receive(table->mq, bytes, sizeof(bytes), NULL), "mq_receive");
        count_one(table, me);
    }
}

static void cond_open(struct table *table)
{
    pthread_mutexattr_t mutex;
    pthread_condattr_t condition;
    int failed = pthread_mutexattr_init(&mutex) + pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED) +
                 pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST) +
                 pthread_mutex_init(&table->cond.mutex, &mutex) + pthread_condattr_init(&condition) +
                 pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);

    for (int i = 0; i < 2; i++)
        failed += pthread_cond_init(&table->cond.conditions[i], &condition);
    if (failed)
        bench_fail("there is no mutex or condition between processes");
}

static void cond_lock(struct cond_table *cond)
{
    if (pthread_mutex_lock(&cond->mutex) != 0)
        bench_fail("a mutex of the C library fails");
}

static void cond_unlock(struct cond_table *cond)
{
    (void)pthread_mutex_unlock(&cond->mutex);
}

static void cond_put(struct cond_table *cond)
{
    cond_lock(cond);
    while (cond->count == CAPACITY)
        (void)pthread_cond_wait(&cond->conditions[1], &cond->mutex);
    memcpy(cond->messages[cond->next++ % CAPACITY], message, BYTES);
    cond->count++;
    (void)pthread_cond_signal(&cond->conditions[0]);
    cond_unlock(cond);
}

static void cond_get(struct cond_table *cond, unsigned char *ret_bytes)
{
    cond_lock(cond);
    while (cond->count == 0)
        (void)pthread_cond_wait(&cond->conditions[0], &cond->mutex);
    memcpy(ret_bytes, cond->messages[(cond->next - cond->count--) % CAPACITY], BYTES);
    (void)pthread_cond_signal(&cond->conditions[1]);
    cond_unlock(cond);
}

static void cond_queue_play(struct table *table, unsigned me)
{
    unsigned char bytes[BYTES];

    for (;;) {
        if (me > 0) {
            cond_put(&table->cond);
            continue;
        }
        cond_get(&table->cond, bytes);
        count_one(table, me);
    }
}

/* ---- a pipe: from one to the other ---- */

static void pipe_open(struct table *table)
{
    check(brood_pipe_open(&table->pipe_ends[0], &table->pipe_ends[1], BROOD_PIPE_ONE_WAY));
}

static void pipe_close(struct table *table)
{
    for (int i = 0; i < 2; i++)
        (void)brood_pipe_close(table->pipe_ends[i]);
}

static void pipe_play(struct table *table, unsigned me)
{
    unsigned char bytes[BYTES];

    for (;;) {
        struct brood_space space = {bytes, sizeof(bytes)};

        if (me > 0) {
            check(brood_pipe_send(table->pipe_ends[1], (struct brood_bytes){message, BYTES}, BROOD_FOREVER));
            continue;
        }
        check(brood_pipe_recv(table->pipe_ends[0], &space, BROOD_FOREVER));
        count_one(table, me);
    }
}

static void fds_open(struct table *table)
{
    check_errno(pipe2(table->fds, O_CLOEXEC), "pipe2");
}

static void fds_close(struct table *table)
{
    (void)close(table->fds[0]);
    (void)close(table->fds[1]);
}

static void fds_play(struct table *table, unsigned me)
{
    char bytes[BYTES];

    for (;;) {
        if (me > 0) {
            check_errno((int)write(table->fds[1], message, BYTES), "write");
            continue;
        }
        check_errno((int)read(table->fds[0], bytes, BYTES), "read");
        count_one(table, me);
    }
}

/* ---- a lock that three want ---- */

static void work(void)
{
    for (int i = 0; i < 1000; i++)
        atomic_signal_fence(memory_order_seq_cst);
}

static void lock_play(struct table *table, unsigned me)
{
    for (;; work()) {
        check(brood_lock_acquire(&table->lock, BROOD_FOREVER));
        work();
        check(brood_lock_release(&table->lock));
        count_one(table, me);
    }
}

static void mutex_play(struct table *table, unsigned me)
{
    for (;; work()) {
        cond_lock(&table->cond);
        work();
        cond_unlock(&table->cond);
        count_one(table, me);
    }
}

/* ---- turns, by two semaphores, or by a lock and two conditions ---- */

static void semaphores_open(struct table *table)
{
    check(brood_semaphore_init(&table->semaphores[0], 1, BROOD_SEMAPHORE_MAX));
    check(brood_semaphore_init(&table->semaphores[1], 0, BROOD_SEMAPHORE_MAX));
}

static void semaphores_play(struct table *table, unsigned me)
{
    for (;;) {
        check(brood_semaphore_acquire(&table->semaphores[me], BROOD_FOREVER));
        count_one(table, me);
        check(brood_semaphore_release(&table->semaphores[1 - me], 1));
    }
}

static void sems_open(struct table *table)
{
    check_errno(sem_init(&table->sems[0], 1, 1), "sem_init");
    check_errno(sem_init(&table->sems[1], 1, 0), "sem_init");
}

static void sems_play(struct table *table, unsigned me)
{
    for (;;) {
        check_errno(sem_wait(&table->sems[me]), "sem_wait");
        count_one(table, me);
        check_errno(sem_post(&table->sems[1 - me]), "sem_post");
    }
}

static void conditions_open(struct table *table)
{
    for (int i = 0; i < 2; i++)
        check(brood_condition_init(&table->conditions[i], &table->lock));
}

static void conditions_play(struct table *table, unsigned me)
{
    for (;;) {
        check(brood_lock_acquire(&table->lock, BROOD_FOREVER));
        while (table->turn != me)
            check(brood_condition_wait(&table->conditions[me], BROOD_FOREVER));
        table->turn = 1 - me;
        check(brood_condition_notify(&table->conditions[1 - me], 1));
        check(brood_lock_release(&table->lock));
        count_one(table, me);
    }
}

static void take_turn(struct cond_table *cond, unsigned me)
{
    cond_lock(cond);
    while (cond->turn != me)
        (void)pthread_cond_wait(&cond->conditions[me], &cond->mutex);
    cond->turn = 1 - me;
    (void)pthread_cond_signal(&cond->conditions[1 - me]);
    cond_unlock(cond);
}

static void turns_play(struct table *table, unsigned me)
{
    for (;;) {
        take_turn(&table->cond, me);
        count_one(table, me);
    }
}

/* ---- a barrier for three ---- */

static void barrier_open(struct table *table)
{
    check(brood_barrier_init(&table->barrier, 3));
}

static void barrier_play(struct table *table, unsigned me)
{
    for (;;) {
        check(brood_barrier_wait(&table->barrier, BROOD_FOREVER));
        if (me == 0)
            count_one(table, me);
    }
}

static void pthread_barrier_open(struct table *table)
{
    pthread_barrierattr_t attributes;

    if (pthread_barrierattr_init(&attributes) != 0 ||
        pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) != 0 ||
        pthread_barrier_init(&table->pthread_barrier, &attributes, 3) != 0)
        bench_fail("there is no barrier between processes");
}

static void pthread_barrier_play(struct table *table, unsigned me)
{
    for (;;) {
        (void)pthread_barrier_wait(&table->pthread_barrier);
        if (me == 0)
            count_one(table, me);
    }
}

/* ---- calls, one after the other: of a worker, or by two turns of a lock and conditions ---- */

BROOD_TASK(add_one, int, int)
{
    *result = *arg + 1;
    return 0;
}

static void apply_play(struct table *table, unsigned me)
{
    brood_auto(pool) *pool = NULL;
    int result;

    check(brood_pool_open(&pool, BROOD_POOL(.workers = 1)));
    for (;;) {
        check(brood_apply(pool, add_one, &result, &(int){1}));
        count_one(table, me);
    }
}

static void call_play(struct table *table, unsigned me)
{
    for (;;) {
        take_turn(&table->cond, me);
        if (me == 0)
            count_one(table, me);
    }
}

/* ---- a map of short items: by two workers, or by two processes that a lock and conditions wake ---- */

BROOD_TASK(work_once, int, int)
{
    work();
    *result = *arg;
    return 0;
}

static void map_play(struct table *table, unsigned me)
{
    static int arguments[ITEMS], results[ITEMS];
    brood_auto(pool) *pool = NULL;

    check(brood_pool_open(&pool, BROOD_POOL(.workers = WORKERS)));
    for (;;) {
        check(brood_map(pool, work_once, results, arguments, ITEMS));
        count_one(table, me);
    }
}

/* Claims items until none is left, and says so.  With the lock. */
static void share_round(struct cond_table *cond)
{
    while (cond->next < ITEMS) {
        cond->next++;
        cond_unlock(cond);
        work();
        cond_lock(cond);
        if (++cond->done == ITEMS)
            (void)pthread_cond_signal(&cond->conditions[1]);
    }
}

static void share_play(struct table *table, unsigned me)
{
    struct cond_table *cond = &table->cond;

    cond_lock(cond);
    if (me > 0)
        for (;; (void)pthread_cond_wait(&cond->conditions[0], &cond->mutex))
            share_round(cond);
    for (;;) {
        cond->next = cond->done = 0;
        (void)pthread_cond_broadcast(&cond->conditions[0]);
        while (cond->done < ITEMS)
            (void)pthread_cond_wait(&cond->conditions[1], &cond->mutex);
        count_one(table, me);
    }
}

/* ---- one batch ---- */

static uint64_t operations_in(const struct table *table)
{
    uint64_t operations = 0;

    for (int i = 0; i < PARTICIPANTS_MAX; i++)
        operations += atomic_load_explicit(&table->counts[i].operations, memory_order_relaxed);
    return operations;
}

static void sleep_ns(long ns)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

/* Until there are some: by then all are at it.  And then for a while, and until there is one. */
static double us_an_operation(const struct table *table)
{
    int64_t begin = brood__now_ns(), end;
    uint64_t before, operations;

    while (operations_in(table) < 10 && brood__now_ns() - begin < GIVE_UP_NS)
        sleep_ns(1000000);
    before = operations_in(table);
    begin = brood__now_ns();
    do {
        sleep_ns(MEASURED_NS);
        operations = operations_in(table) - before;
        end = brood__now_ns();
    } while (operations == 0 && end - begin < GIVE_UP_NS);
    return (double)(end - begin) / 1e3 / (double)(operations > 0 ? operations : 1);
}

static void kill_all(const pid_t *pids, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        (void)kill(pids[i], SIGKILL);
    for (unsigned i = 0; i < count; i++)
        if (waitpid(pids[i], NULL, 0) < 0)
            bench_fail("waitpid: %s", strerror(errno));
}

static double measure(void *state)
{
    const struct way *way = state;
    struct table *table = map_memory(sizeof(*table));
    pid_t pids[PARTICIPANTS_MAX];
    double us;

    if (way->open)
        way->open(table);
    for (unsigned i = 0; i < way->participants; i++) {
        pids[i] = fork_one();
        if (pids[i] == 0)
            way->play(table, i);
    }
    us = us_an_operation(table);
    kill_all(pids, way->participants);
    if (way->close)
        way->close(table);
    (void)munmap(table, sizeof(*table));
    return us;
}

/* ---- the benchmarks ---- */

static int count_cpus(void)
{
    int count = 0;

    while (bench_cpu(count) >= 0)
        count++;
    return count;
}

static unsigned start_busy(pid_t *ret_pids)
{
    unsigned count = (unsigned)count_cpus() * BUSY_EACH;

    count = count < BUSY_MAX ? count : BUSY_MAX;
    for (unsigned i = 0; i < count; i++) {
        ret_pids[i] = fork_one();
        while (ret_pids[i] == 0)
            atomic_signal_fence(memory_order_seq_cst);
    }
    return count;
}

/* The mark: so many times the peer's time. */
static void compare_with(struct report *report, const char *what, const struct way *mine, const struct way *peer,
                         double mark)
{
    struct side sides[] = {{.name = mine->name, .measure = measure, .state = (void *)(uintptr_t)mine},
                           {.name = peer->name, .measure = measure, .state = (void *)(uintptr_t)peer}};
    pid_t busy[BUSY_MAX];
    unsigned count = start_busy(busy);

    sides_measure(sides, 2, rounds(report, ROUNDS));
    kill_all(busy, count);
    report_ratio(report, what, "us", &sides[0], &sides[1], mark);
    sides_free(sides, 2);
}

static void compare(struct report *report, const char *what, const struct way *mine, const struct way *peer)
{
    compare_with(report, what, mine, peer, 2);
}

static const struct way cond_queue_way = {"mutex and conditions", cond_open, NULL, cond_queue_play, 3};

static void queues(struct report *report)
{
    static const struct way queue = {"brood_queue", queue_open, queue_close, queue_play, 3};
    static const struct way stack = {"brood_queue", stack_open, queue_close, queue_play, 3};
    static const struct way mq = {"POSIX mq", mq_channel_open, mq_channel_close, mq_play, 3};

    compare(report, "queue for 10, 2 producers, 1 consumer", &queue, &mq);
    compare(report, "the same", &queue, &cond_queue_way);
    compare(report, "stack for 10, 2 producers, 1 consumer", &stack, &cond_queue_way);
}

static void pipes(struct report *report)
{
    static const struct way mine = {"brood_pipe", pipe_open, pipe_close, pipe_play, 2};
    static const struct way cond = {"mutex and conditions", cond_open, NULL, cond_queue_play, 2};
    static const struct way fds = {"pipe(2), no framing", fds_open, fds_close, fds_play, 2};

    compare(report, "pipe, 64 bytes", &mine, &cond);
    compare_with(report, "the same", &mine, &fds, 0); /* which keeps no messages apart, and knows no deadlines */
}

static void locks(struct report *report)
{
    static const struct way mine = {"brood_lock", NULL, NULL, lock_play, 3};
    static const struct way peer = {"robust pthread_mutex", cond_open, NULL, mutex_play, 3};

    compare(report, "lock that 3 want", &mine, &peer);
}

static void semaphores(struct report *report)
{
    static const struct way mine = {"brood_semaphore", semaphores_open, NULL, semaphores_play, 2};
    static const struct way peer = {"sem_t", sems_open, NULL, sems_play, 2};

    compare(report, "semaphores, a turn", &mine, &peer);
}

static void conditions(struct report *report)
{
    static const struct way mine = {"brood_condition", conditions_open, NULL, conditions_play, 2};
    static const struct way peer = {"pthread_cond", cond_open, NULL, turns_play, 2};

    compare(report, "conditions, a turn", &mine, &peer);
}

static void barriers(struct report *report)
{
    static const struct way mine = {"brood_barrier", barrier_open, NULL, barrier_play, 3};
    static const struct way peer = {"pthread_barrier", pthread_barrier_open, NULL, pthread_barrier_play, 3};

    compare(report, "barrier for 3, a cycle", &mine, &peer);
}

static void applies(struct report *report)
{
    static const struct way mine = {"brood_apply", NULL, NULL, apply_play, 1};
    static const struct way peer = {"mutex and conditions", cond_open, NULL, call_play, 2};

    compare(report, "apply, a call", &mine, &peer);
}

static void maps(struct report *report)
{
    static const struct way mine = {"brood_map", NULL, NULL, map_play, 1};
    static const struct way peer = {"mutex and conditions", cond_open, NULL, share_play, 1 + WORKERS};

    compare(report, "map of 256 items, 2 workers", &mine, &peer);
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {
        {"queue", "messages through a queue for 10", queues},
        {"pipe", "messages through a pipe", pipes},
        {"lock", "a lock that is wanted", locks},
        {"semaphore", "turns by semaphores", semaphores},
        {"condition", "turns by conditions", conditions},
        {"barrier", "cycles of a barrier", barriers},
        {"apply", "calls of a worker", applies},
        {"map", "maps of short items", maps},
        {NULL, NULL, NULL},
    };

    return bench_main(argc, argv, "bench_busy", benches);
}
