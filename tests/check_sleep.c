/* check_sleep.c - what it costs that many wait for the same object, and that a death is found however many of them leave.
 *
 *     check_sleep --threads     only what keeps to one process
 */
#include <brood.h>

#include "os/identity.h"
#include "peer.h"
#include "sync/sleep.h"

/* As many processes as can wait for a condition, but for some.  They get used to each other, and then are counted. */
enum { WAITERS = 60, SETTLE_MS = 1500, COUNT_MS = 500 };

/* For what they cost: parts of a CPU, in the best of some times, since on a busy machine each look takes longer. */
enum { FEW = 64, MANY = 200, WINDOW_MS = 500, WINDOWS = 20 };
#define COST_MAX 0.03

struct scene {
    struct brood_lock lock, mutex;
    struct brood_rlock rlock;
    struct brood_semaphore semaphore;
    struct brood_event event, end;
    struct brood_condition condition;
    struct brood_barrier barrier;
    struct brood_queue *empty, *full, *unfinished, *held;
    int waiters;
    _Atomic int holders, inherited;
};

static int put(struct brood_queue *queue, brood_deadline deadline)
{
    return brood_queue_put(queue, (struct brood_bytes){"", 1}, deadline);
}

static struct brood_queue *open_queue(bool with_message)
{
    struct brood_queue *queue = NULL;

    ck_assert_int_eq(brood_queue_open(&queue, BROOD_QUEUE(.bound = 1, .joinable = true)), 0);
    if (with_message)
        ck_assert_int_eq(put(queue, BROOD_NOW), 0);
    return queue;
}

static struct scene *new_scene(int waiters)
{
    struct scene *scene = shared_memory(sizeof(*scene));

    scene->waiters = waiters;
    ck_assert_int_eq(brood_semaphore_init(&scene->semaphore, 0, BROOD_SEMAPHORE_MAX), 0);
    ck_assert_int_eq(brood_condition_init(&scene->condition, &scene->mutex), 0);
    ck_assert_int_eq(brood_barrier_init(&scene->barrier, waiters + 1), 0);
    scene->empty = open_queue(false);
    scene->full = open_queue(true);
    scene->unfinished = open_queue(true);
    ck_assert_int_eq(brood_queue_open(&scene->held, BROOD_QUEUE(.joinable = true)), 0);
    for (int i = 0; i < waiters; i++)
        ck_assert_int_eq(put(scene->held, BROOD_NOW), 0);
    ck_assert_int_eq(brood_lock_acquire(&scene->lock, BROOD_NOW), 0);
    ck_assert_int_eq(brood_rlock_acquire(&scene->rlock, BROOD_NOW), 0);
    return scene;
}

/* ---- how each object is waited for, and how the wait is ended ---- */

static void wait_for_lock(void *scene)
{
    struct brood_lock *lock = &((struct scene *)scene)->lock;

    ck_assert_int_eq(brood_lock_acquire(lock, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_lock_release(lock), 0);
}

static void wait_for_rlock(void *scene)
{
    struct brood_rlock *rlock = &((struct scene *)scene)->rlock;

    ck_assert_int_eq(brood_rlock_acquire(rlock, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_rlock_release(rlock), 0);
}

static void wait_for_semaphore(void *scene)
{
    ck_assert_int_eq(brood_semaphore_acquire(&((struct scene *)scene)->semaphore, BROOD_FOREVER), 0);
}

static void wait_for_event(void *scene)
{
    ck_assert_int_eq(brood_event_wait(&((struct scene *)scene)->event, BROOD_FOREVER), 0);
}

static void wait_for_condition(void *argument)
{
    struct scene *scene = argument;

    ck_assert_int_eq(brood_lock_acquire(&scene->mutex, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_condition_wait(&scene->condition, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_lock_release(&scene->mutex), 0);
}

static void wait_for_barrier(void *scene)
{
    ck_assert_int_ge(brood_barrier_wait(&((struct scene *)scene)->barrier, BROOD_FOREVER), 0);
}

static void wait_to_get(void *scene)
{
    char byte;
    struct brood_space space = {&byte, 1};

    ck_assert_int_eq(brood_queue_get(((struct scene *)scene)->empty, &space, BROOD_FOREVER), -ESHUTDOWN);
}

/* With a message in flight each. */
static void wait_to_get_more(void *argument)
{
    struct scene *scene = argument;
    struct brood_queue *queue = scene->held;
    char byte;
    struct brood_space space = {&byte, 1};

    ck_assert_int_eq(brood_queue_get(queue, &space, BROOD_NOW), 0);
    atomic_fetch_add(&scene->holders, 1);
    await(atomic_load(&scene->holders) == scene->waiters);
    ck_assert_int_eq(brood_queue_get(queue, &space, BROOD_FOREVER), -ESHUTDOWN);
}

static void wait_to_put(void *scene)
{
    ck_assert_int_eq(put(((struct scene *)scene)->full, BROOD_FOREVER), -ESHUTDOWN);
}

static void wait_to_join(void *scene)
{
    ck_assert_int_eq(brood_queue_join(((struct scene *)scene)->unfinished, BROOD_FOREVER), 0);
}

static const struct way {
    const char *name;
    void (*wait)(void *scene);
} ways[] = {
    {"lock", wait_for_lock},           {"rlock", wait_for_rlock},
    {"semaphore", wait_for_semaphore}, {"event", wait_for_event},
    {"condition", wait_for_condition}, {"barrier", wait_for_barrier},
    {"queue, to get", wait_to_get},    {"queue, to put", wait_to_put},
    {"queue, to join", wait_to_join},  {"queue, to get more", wait_to_get_more},
};
enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

static void shut_down(struct scene *scene)
{
    ck_assert_int_eq(brood_queue_shutdown(scene->empty, true), 0);
    ck_assert_int_eq(brood_queue_shutdown(scene->full, true), 0);
    ck_assert_int_eq(brood_queue_shutdown(scene->unfinished, true), 0);
    ck_assert_int_eq(brood_queue_shutdown(scene->held, true), 0);
}

static void end_all(struct scene *scene)
{
    ck_assert_int_eq(brood_lock_release(&scene->lock), 0);
    ck_assert_int_eq(brood_rlock_release(&scene->rlock), 0);
    ck_assert_int_eq(brood_semaphore_release(&scene->semaphore, WAITERS), 0);
    brood_event_set(&scene->event);
    ck_assert_int_eq(brood_lock_acquire(&scene->mutex, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_condition_notify_all(&scene->condition), 0);
    ck_assert_int_eq(brood_lock_release(&scene->mutex), 0);
    ck_assert_int_ge(brood_barrier_wait(&scene->barrier, BROOD_FOREVER), 0);
    shut_down(scene);
}

static void close_all(struct scene *scene)
{
    ck_assert_int_eq(brood_queue_close(scene->empty), 0);
    ck_assert_int_eq(brood_queue_close(scene->full), 0);
    ck_assert_int_eq(brood_queue_close(scene->unfinished), 0);
    ck_assert_int_eq(brood_queue_close(scene->held), 0);
}

/* ---- what it costs ---- */

/* How often the thread has gone to sleep, ever. */
static long sleeps_of(pid_t tid)
{
    char path[64], line[256];
    long sleeps = -1;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", tid);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    while (sleeps < 0 && fgets(line, sizeof(line), file))
        (void)sscanf(line, "voluntary_ctxt_switches: %ld", &sleeps);
    (void)fclose(file);
    ck_assert_int_ge(sleeps, 0);
    return sleeps;
}

static long sleeps_of_all(const struct peer *peers)
{
    long sleeps = 0;

    for (int i = 0; i < WAITERS; i++)
        sleeps += sleeps_of(peers[i].pid);
    return sleeps;
}

static void sleep_ms(struct scene *scene, int64_t ms)
{
    ck_assert_int_eq(brood_event_wait(&scene->end, brood_after_ms(ms)), -ETIMEDOUT);
}

/* How often they wake up in a second, in one window of time. */
static int64_t wake_ups_of(struct scene *scene, const struct peer *peers)
{
    int64_t begin = now_ms();
    long before = sleeps_of_all(peers);

    sleep_ms(scene, COUNT_MS);
    return (sleeps_of_all(peers) - before) * 1000 / (now_ms() - begin);
}

/* If each looked for itself they would wake up WAITERS * 50 times a second.  A sleeper that a busy machine keeps from its
 * look makes the others look, too: in one of some windows that does not happen. */
START_TEST(of_many_that_wait_few_look_around)
{
    static struct peer peers[WAYS][WAITERS];
    struct scene *scene = new_scene(WAITERS);

    for (int way = 0; way < WAYS; way++)
        start_peers(peers[way], WAITERS, _i, ways[way].wait, scene);
    for (int way = 0; way < WAYS; way++) {
        int64_t wake_ups = INT64_MAX;

        for (int i = 0; i < WINDOWS && wake_ups > WAITERS * 50 / 5; i++)
            wake_ups = wake_ups_of(scene, peers[way]);
        ck_assert_msg(wake_ups <= WAITERS * 50 / 5, "%s: %ld sleeps a second", ways[way].name, (long)wake_ups);
    }
    end_all(scene);
    for (int way = 0; way < WAYS; way++)
        join_peers(peers[way], WAITERS);
    close_all(scene);
}
END_TEST

static int64_t cpu_ns_of_all(const struct peer *peers, int count)
{
    int64_t ns = 0;

    for (int i = 0; i < count; i++) {
        struct timespec used;
        clockid_t clock;

        ck_assert_int_eq(peers[i].kind == PROCESSES ? clock_getcpuclockid(peers[i].pid, &clock)
                                                    : pthread_getcpuclockid(peers[i].thread, &clock),
                         0);
        ck_assert_int_eq(clock_gettime(clock, &used), 0);
        ns += used.tv_sec * 1000000000 + used.tv_nsec;
    }
    return ns;
}

/* How much of a CPU they use, in one window of time. */
static double cost_of(struct scene *scene, const struct peer *peers, int count)
{
    int64_t begin = now_us(), used = cpu_ns_of_all(peers, count);

    sleep_ms(scene, WINDOW_MS);
    return (double)(cpu_ns_of_all(peers, count) - used) / 1000 / (double)(now_us() - begin);
}

static void expect_cheap(struct scene *scene, const char *name, const struct peer *peers, int count)
{
    double cost = 1;

    for (int i = 0; i < WINDOWS && cost > COST_MAX; i++)
        cost = cost_of(scene, peers, count);
    ck_assert_msg(cost <= COST_MAX, "%d that wait for a %s used %.1f %% of a CPU", count, name, cost * 100);
}

/* If each looked for itself, 64 that wait for a lock would use 12 % and 200 would use 40 %. */
START_TEST(hundreds_that_wait_use_little_of_a_cpu)
{
    static const struct {
        struct way way;
        int count;
    } cases[] = {{{"lock", wait_for_lock}, FEW},
                 {{"lock", wait_for_lock}, MANY},
                 {{"queue, to get", wait_to_get}, MANY},
                 {{"queue, to get more", wait_to_get_more}, MANY},
                 {{"queue, to join", wait_to_join}, MANY}};
    static struct peer peers[MANY];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct scene *scene = new_scene(cases[i].count);

        start_peers(peers, cases[i].count, _i, cases[i].way.wait, scene);
        await_sleep(peers[cases[i].count - 1].pid);
        expect_cheap(scene, cases[i].way.name, peers, cases[i].count);
        ck_assert_int_eq(brood_lock_release(&scene->lock), 0);
        shut_down(scene);
        join_peers(peers, cases[i].count);
        close_all(scene);
    }
}
END_TEST

/* ---- what it must not cost ---- */

static void hold_lock(void *argument)
{
    struct scene *scene = argument;

    ck_assert_int_eq(brood_lock_acquire(&scene->lock, BROOD_NOW), 0);
    brood_event_set(&scene->event);
    pause_for_ever(NULL);
}

static void inherit_lock(void *argument)
{
    struct scene *scene = argument;

    if (brood_lock_acquire(&scene->lock, BROOD_FOREVER) == -EOWNERDEAD)
        atomic_fetch_add(&scene->inherited, 1);
}

START_TEST(the_last_of_many_that_wait_finds_a_death)
{
    struct scene *scene = shared_memory(sizeof(*scene));
    pid_t holder = spawn(hold_lock, scene), waiters[WAITERS];

    ck_assert_int_eq(brood_event_wait(&scene->event, BROOD_FOREVER), 0);
    for (int i = 0; i < WAITERS; i++)
        waiters[i] = spawn(inherit_lock, scene);
    sleep_ms(scene, SETTLE_MS);
    for (int i = 1; i < WAITERS; i++)
        put_to_death(waiters[i]);
    put_to_death(holder);
    join(waiters[0]);
    ck_assert_int_eq(scene->inherited, 1);
}
END_TEST

START_TEST(a_sleeper_looks_less_often_while_others_do_and_at_once_when_they_have_left)
{
    struct slice slice = SLICE_FIRST;

    ck_assert(brood__look_is_due(&slice, LOOK_AGAIN_NS));
    ck_assert_int_eq(slice.ns, LOOK_AGAIN_NS);
    for (int i = 0; i < 10; i++)
        ck_assert(!brood__look_is_due(&slice, 0));
    ck_assert_int_eq(slice.ns, SLICE_NS_MAX);
    ck_assert(brood__look_is_due(&slice, LOOK_AGAIN_NS));
    ck_assert_int_eq(slice.ns, SLICE_NS_MAX / 2);
    ck_assert(brood__look_is_due(&slice, 5 * LOOK_AGAIN_NS));
    ck_assert_int_eq(slice.ns, LOOK_AGAIN_NS);
}
END_TEST

START_TEST(a_thread_that_spins_in_vain_spins_less_until_it_pays)
{
    struct spin spin = {0};
    int all = brood__spins(&spin), spins = 0;

    for (int i = 0; i < 31; i++) {
        ck_assert_int_le(brood__spins(&spin), all);
        ck_assert(!spin_paid(&spin, false));
        spins += brood__spins(&spin);
    }
    ck_assert_int_le(spins, 3 * all);
    ck_assert_int_eq(brood__spins(&spin), all); /* is it as before? */
    ck_assert(!spin_paid(&spin, false));
    ck_assert_int_le(brood__spins(&spin), all / 2);
    ck_assert(spin_paid(&spin, true));
    ck_assert_int_eq(brood__spins(&spin), all);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("sleep");
    int kinds = kinds_for(argc, argv);

    add_tests(suite, "slices", a_sleeper_looks_less_often_while_others_do_and_at_once_when_they_have_left,
              a_thread_that_spins_in_vain_spins_less_until_it_pays, NULL);
    add_loop_tests(suite, "together", THREADS, kinds, of_many_that_wait_few_look_around,
                   hundreds_that_wait_use_little_of_a_cpu, NULL);
    if (kinds == KINDS)
        add_tests(suite, "processes", the_last_of_many_that_wait_finds_a_death, NULL);
    return run_suite(suite);
}
