/* storm_sync.c - processes that share a lock, a semaphore, an event and a condition are killed at random, and replaced. The
 * others go on, and the account is right.
 *
 *     BROOD_STORM_MS=60000 BROOD_STORM_SEED=7 storm_sync
 */
#include <brood.h>

#include <stdlib.h>
#include <time.h>

#include "child.h"

#define WORKERS 6
#define PERMITS 3
#define STORM_MS 1000

struct scene {
    struct brood_lock lock;
    struct brood_condition condition;
    struct brood_semaphore semaphore;
    struct brood_event event;

    /* With the lock: each is the sum of what the workers have done, once whoever inherits the lock has repaired it. */
    long total, twin;
    long done[WORKERS];
    pid_t inside;
    bool is_over;

    _Atomic long told, notified, permitted, heard;
};

static unsigned chance; /* of this process */

static unsigned dice(unsigned sides)
{
    chance = chance * 1103515245 + 12345;
    return (chance >> 16) % sides;
}

static long sum_of(const long *done)
{
    long sum = 0;

    for (int i = 0; i < WORKERS; i++)
        sum += done[i];
    return sum;
}

/* Whoever died may have got anywhere between two sums that are right. */
static void repair(struct scene *scene)
{
    atomic_fetch_add(&scene->told, 1);
    scene->total = scene->twin = sum_of(scene->done);
    scene->inside = 0;
}

static void enter(struct scene *scene, int r)
{
    ck_assert_msg(r == 0 || r == -EOWNERDEAD, "%d: %s", r, brood_error());
    if (r == -EOWNERDEAD)
        repair(scene);
    ck_assert_int_eq(scene->inside, 0); /* or two have it */
    ck_assert_int_eq(scene->total, scene->twin);
    ck_assert_int_eq(scene->total, sum_of(scene->done));
    scene->inside = getpid();
}

static void acquire(struct scene *scene)
{
    enter(scene, brood_lock_acquire(&scene->lock, brood_after_ms(60000)));
}

static void leave(struct scene *scene)
{
    ck_assert_int_eq(scene->inside, getpid());
    scene->inside = 0;
}

static void release(struct scene *scene)
{
    leave(scene);
    ck_assert_int_eq(brood_lock_release(&scene->lock), 0);
}

static void wait_for_news(struct scene *scene)
{
    if (scene->is_over)
        return;
    leave(scene);
    enter(scene, brood_condition_wait(&scene->condition, BROOD_FOREVER));
    atomic_fetch_add(&scene->notified, 1);
}

static void use_lock(struct scene *scene, int me)
{
    acquire(scene);
    scene->total++;
    scene->twin++;
    scene->done[me]++;
    if (dice(4) == 0)
        wait_for_news(scene);
    else
        ck_assert_int_eq(brood_condition_notify(&scene->condition, 1), 0);
    release(scene);
}

/* Permits die with who holds them, so there may be none. */
static void use_permit(struct scene *scene)
{
    if (brood_semaphore_acquire(&scene->semaphore, brood_after_ms(5)) < 0)
        return;
    atomic_fetch_add(&scene->permitted, 1);
    ck_assert_int_eq(brood_semaphore_release(&scene->semaphore, 1), 0);
}

static void use_event(struct scene *scene)
{
    if (dice(2) == 0)
        brood_event_set(&scene->event);
    else if (brood_event_wait(&scene->event, brood_after_ms(5)) == 0)
        atomic_fetch_add(&scene->heard, 1);
    brood_event_clear(&scene->event);
}

static bool is_over(struct scene *scene)
{
    return __atomic_load_n(&scene->is_over, __ATOMIC_RELAXED);
}

static pid_t start_worker(struct scene *scene, int me)
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid > 0)
        return pid;
    chance = (unsigned)getpid();
    while (!is_over(scene)) {
        use_lock(scene, me);
        use_permit(scene);
        use_event(scene);
    }
    _exit(0);
}

static struct scene *new_scene(void)
{
    struct scene *scene = shared_memory(sizeof(*scene));

    ck_assert_int_eq(brood_condition_init(&scene->condition, &scene->lock), 0);
    ck_assert_int_eq(brood_semaphore_init(&scene->semaphore, PERMITS, BROOD_SEMAPHORE_MAX), 0);
    return scene;
}

static long number(const char *name, long otherwise)
{
    const char *text = getenv(name);

    return text ? strtol(text, NULL, 0) : otherwise;
}

/* All may wait for news at once: who kills is also who sees to it that there are some. */
static void kill_one(struct scene *scene, pid_t *workers)
{
    unsigned victim = dice(WORKERS);

    (void)nanosleep(&(struct timespec){.tv_nsec = (long)dice(4000) * 1000}, NULL);
    put_to_death(workers[victim]);
    if (brood_semaphore_value(&scene->semaphore) == 0)
        ck_assert_int_eq(brood_semaphore_release(&scene->semaphore, 1), 0);
    workers[victim] = start_worker(scene, (int)victim);
    acquire(scene);
    ck_assert_int_eq(brood_condition_notify(&scene->condition, 2), 0);
    release(scene);
}

static void finish(struct scene *scene, const pid_t *workers)
{
    acquire(scene);
    __atomic_store_n(&scene->is_over, true, __ATOMIC_RELAXED);
    ck_assert_int_eq(brood_condition_notify_all(&scene->condition), 0);
    release(scene);
    for (int i = 0; i < WORKERS; i++)
        join(workers[i]);
    acquire(scene);
    release(scene);
}

START_TEST(after_any_kill_the_others_go_on_and_the_account_is_right)
{
    struct scene *scene = new_scene();
    int64_t end = now_ms() + number("BROOD_STORM_MS", STORM_MS);
    long seed = number("BROOD_STORM_SEED", getpid()), kills = 0, done;
    pid_t workers[WORKERS];

    chance = (unsigned)seed;
    for (int i = 0; i < WORKERS; i++)
        workers[i] = start_worker(scene, i);
    for (; now_ms() < end; kills++)
        kill_one(scene, workers);
    finish(scene, workers);

    done = sum_of(scene->done);
    printf("seed %ld: %ld kills, %ld changes, %ld told, %ld notified, %ld permitted, %ld heard\n", seed, kills, done,
           scene->told, scene->notified, scene->permitted, scene->heard);
    ck_assert_int_gt(kills, 0);
    ck_assert_int_le(scene->told, kills);
    ck_assert_int_gt(done, kills);
    ck_assert_int_gt(scene->notified, 0);
    ck_assert_int_gt(scene->permitted, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("a storm over locks and the like");

    add_tests(suite, "storm", after_any_kill_the_others_go_on_and_the_account_is_right, NULL);
    return run_suite(suite);
}
