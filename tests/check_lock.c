/* check_lock.c - the lock, between threads and between processes: its holder, its waiters, and their deaths.
 *
 *     check_lock --threads     only what keeps to one process
 */
#include <brood/lock.h>

#include "os/identity.h"
#include "peer.h"

#define PEERS 4
#define ROUNDS 20000

struct scene {
    struct brood_lock lock;
    long count;
    _Atomic int phase;
    _Atomic int ready;
};

static struct scene *new_scene(void)
{
    return shared_memory(sizeof(struct scene));
}

static void acquire(struct brood_lock *lock)
{
    ck_assert_int_eq(brood_lock_acquire(lock, BROOD_FOREVER), 0);
}

static void release(struct brood_lock *lock)
{
    ck_assert_int_eq(brood_lock_release(lock), 0);
}

static void await_phase(struct scene *scene, int phase)
{
    await(atomic_load(&scene->phase) >= phase);
}

/* ---- one alone ---- */

/* semantics: L1 K19 */
START_TEST(zeroed_memory_is_a_free_lock_that_one_can_try)
{
    struct brood_lock lock = {0};

    ck_assert(!brood_lock_held(&lock));
    ck_assert_int_eq(brood_lock_acquire(&lock, BROOD_NOW), 0);
    ck_assert(brood_lock_held(&lock));
    ck_assert_int_eq(brood_lock_acquire(&lock, BROOD_NOW), -EAGAIN);
    ck_assert_str_ne(brood_error(), "");
    release(&lock);
    ck_assert_int_eq(brood_lock_acquire(&lock, BROOD_NOW), 0);
    release(&lock);
    ck_assert(!brood_lock_held(&lock));
}
END_TEST

START_TEST(a_lock_is_made_free_in_memory_that_was_used)
{
    struct brood_lock lock;

    memset(&lock, 0xff, sizeof(lock));
    brood_lock_init(&lock);
    ck_assert(!brood_lock_held(&lock));
    acquire(&lock);
}
END_TEST

/* semantics: L2 */
START_TEST(a_lock_without_a_holder_is_not_released)
{
    struct brood_lock lock = {0};

    ck_assert_int_eq(brood_lock_release(&lock), -EPERM);
    ck_assert_str_ne(brood_error(), "");
    acquire(&lock);
    release(&lock);
    ck_assert_int_eq(brood_lock_release(&lock), -EPERM);
}
END_TEST

/* semantics: L8 K19 */
START_TEST(an_acquisition_that_times_out_takes_its_time_and_leaves_the_lock_right)
{
    struct brood_lock lock = {0};
    int64_t began;

    acquire(&lock);
    began = now_ms();
    ck_assert_int_eq(brood_lock_acquire(&lock, brood_after_ms(50)), -ETIMEDOUT);
    ck_assert_int_ge(now_ms() - began, 49);
    ck_assert_str_ne(brood_error(), "");
    release(&lock);
    ck_assert_int_eq(brood_lock_acquire(&lock, brood_after_ms(AT_ONCE_MS)), 0);
    release(&lock);
}
END_TEST

/* semantics: L7 K19 */
START_TEST(no_deadline_overflows_and_one_in_the_past_tries)
{
    struct brood_lock lock = {0};
    const brood_deadline far[] = {BROOD_FOREVER, {INT64_MAX - 1}, brood_after_ms(INT64_MAX)};

    for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
        ck_assert_int_eq(brood_lock_acquire(&lock, far[i]), 0);
        release(&lock);
    }
    acquire(&lock);
    ck_assert_int_eq(brood_lock_acquire(&lock, brood_after_ms(-1)), -EAGAIN);
    ck_assert_int_eq(brood_lock_acquire(&lock, (brood_deadline){INT64_MIN}), -EAGAIN);
    ck_assert_int_eq(brood_lock_acquire(&lock, (brood_deadline){1}), -ETIMEDOUT);
    release(&lock);
}
END_TEST

static int leave_early(struct brood_lock *lock)
{
    BROOD_WITH_LOCK (lock, NULL) {
        ck_assert(brood_lock_held(lock));
        return 7;
    }
    return 0;
}

/* semantics: L9 */
START_TEST(a_scope_releases_on_every_way_out)
{
    struct brood_lock lock = {0};
    int outcome = -1, rounds = 0;

    BROOD_WITH_LOCK (&lock, &outcome) {
        ck_assert(brood_lock_held(&lock));
        rounds++;
    }
    ck_assert(!brood_lock_held(&lock));
    ck_assert_int_eq(outcome, 0);
    ck_assert_int_eq(rounds, 1);
    BROOD_WITH_LOCK (&lock, &outcome) {
        break;
    }
    ck_assert(!brood_lock_held(&lock));
    ck_assert_int_eq(leave_early(&lock), 7);
    ck_assert(!brood_lock_held(&lock));
    BROOD_WITH_LOCK (&lock, NULL) {
        goto out;
    }
out:
    ck_assert(!brood_lock_held(&lock));
}
END_TEST

/* ---- with others ---- */

static void count_up(void *argument)
{
    struct scene *scene = argument;

    for (int i = 0; i < ROUNDS; i++) {
        acquire(&scene->lock);
        scene->count++;
        release(&scene->lock);
    }
}

/* semantics: L11 */
START_TEST(only_one_at_a_time_has_it)
{
    struct scene *scene = new_scene();
    struct peer peers[PEERS];

    start_peers(peers, PEERS, _i, count_up, scene);
    join_peers(peers, PEERS);
    ck_assert_int_eq(scene->count, PEERS * ROUNDS);
    ck_assert(!brood_lock_held(&scene->lock));
}
END_TEST

static void release_it(void *argument)
{
    struct scene *scene = argument;

    ck_assert_int_eq(brood_lock_acquire(&scene->lock, BROOD_NOW), -EAGAIN);
    release(&scene->lock);
}

/* semantics: L3 */
START_TEST(another_process_may_release_it)
{
    struct scene *scene = new_scene();
    struct peer peer;

    acquire(&scene->lock);
    peer = start_peer(_i, release_it, scene);
    acquire(&scene->lock);
    join_peer(&peer);
    release(&scene->lock);
    ck_assert_int_eq(brood_lock_release(&scene->lock), -EPERM);
}
END_TEST

static void wait_for_it(void *argument)
{
    struct scene *scene = argument;

    acquire(&scene->lock);
    atomic_fetch_add(&scene->ready, 1);
    release(&scene->lock);
}

START_TEST(a_sleeper_gets_it_when_it_is_released)
{
    struct scene *scene = new_scene();
    struct peer peers[PEERS];

    acquire(&scene->lock);
    start_peers(peers, PEERS, _i, wait_for_it, scene);
    for (int i = 0; i < PEERS; i++)
        await(is_asleep(peers[i].pid));
    ck_assert_int_eq(scene->ready, 0);
    release(&scene->lock);
    join_peers(peers, PEERS);
    ck_assert_int_eq(scene->ready, PEERS);
}
END_TEST

/* ---- forks ---- */

static void start_afresh(void *argument)
{
    struct brood_lock *lock = argument;

    ck_assert_int_eq(brood_lock_acquire(lock, BROOD_NOW), -EAGAIN);
    brood_lock_init(lock);
    acquire(lock);
    release(lock);
}

/* The copy that a child has of a lock in private memory is its own. */
/* semantics: L10 */
START_TEST(after_a_fork_a_private_lock_can_be_made_free_in_the_child)
{
    static struct brood_lock lock;

    acquire(&lock);
    in_child(start_afresh, &lock);
    ck_assert(brood_lock_held(&lock));
    release(&lock);
}
END_TEST

static void use_and_leave(void *argument)
{
    struct scene *scene = argument;

    acquire(&scene->lock);
    scene->count++;
    release(&scene->lock);
    ck_assert_int_eq(munmap(scene, sizeof(*scene)), 0);
}

/* semantics: K18 */
START_TEST(a_lock_made_before_a_fork_works_in_every_child_and_outlives_each)
{
    struct scene *scene = new_scene();

    for (int i = 1; i <= 3; i++) {
        in_child(use_and_leave, scene);
        acquire(&scene->lock);
        ck_assert_int_eq(scene->count, i);
        release(&scene->lock);
    }
}
END_TEST

static void drop_it_held(void *argument)
{
    struct scene *scene = argument;

    acquire(&scene->lock);
    ck_assert_int_eq(munmap(scene, sizeof(*scene)), 0);
}

/* semantics: K18 */
START_TEST(a_held_lock_may_be_dropped)
{
    struct scene *scene = new_scene();

    in_child(drop_it_held, scene);
    ck_assert_int_eq(brood_lock_acquire(&scene->lock, BROOD_NOW), -EOWNERDEAD);
    release(&scene->lock);
    acquire(&scene->lock);
}
END_TEST

static struct brood_lock *map_again(int fd)
{
    struct brood_lock *lock = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    ck_assert_ptr_ne(lock, MAP_FAILED);
    return lock;
}

START_TEST(it_may_be_mapped_at_different_addresses)
{
    int fd = memfd_create("lock", MFD_CLOEXEC);
    struct brood_lock *one, *other;

    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    one = map_again(fd);
    other = map_again(fd);
    acquire(one);
    ck_assert_int_eq(brood_lock_acquire(other, BROOD_NOW), -EAGAIN);
    release(other);
    ck_assert(!brood_lock_held(one));
    (void)close(fd);
}
END_TEST

/* ---- deaths ---- */

static void hold(void *argument)
{
    struct scene *scene = argument;

    acquire(&scene->lock);
    atomic_store(&scene->phase, 1);
    for (;;)
        (void)pause();
}

/* semantics: K14 */
START_TEST(a_process_that_acquires_after_the_holder_was_killed_learns_of_it)
{
    struct scene *scene = new_scene();
    pid_t holder = spawn(hold, scene);

    await_phase(scene, 1);
    ck_assert_int_eq(brood_lock_acquire(&scene->lock, BROOD_NOW), -EAGAIN);
    put_to_death(holder);
    ck_assert_int_eq(brood_lock_acquire(&scene->lock, BROOD_NOW), -EOWNERDEAD);
    ck_assert_str_ne(brood_error(), "");
    release(&scene->lock);
    acquire(&scene->lock);
    release(&scene->lock);
}
END_TEST

static void inherit(void *argument)
{
    struct scene *scene = argument;
    int r;

    atomic_fetch_add(&scene->ready, 1);
    BROOD_WITH_LOCK (&scene->lock, &r) {
        scene->count += r == -EOWNERDEAD;
    }
}

/* semantics: K14 */
START_TEST(a_sleeper_learns_of_the_holders_death_and_the_others_go_on)
{
    struct scene *scene = new_scene();
    pid_t holder = spawn(hold, scene);
    struct peer peers[PEERS];
    int64_t began;

    await_phase(scene, 1);
    start_peers(peers, PEERS, _i, inherit, scene);
    await(atomic_load(&scene->ready) == PEERS);
    began = now_ms();
    put_to_death(holder);
    join_peers(peers, PEERS);
    ck_assert_int_lt(now_ms() - began, AT_ONCE_MS);
    ck_assert_int_eq(scene->count, 1);
    acquire(&scene->lock);
    release(&scene->lock);
}
END_TEST

/* What is left when the one that the kernel woke does not live to take it: free, and no waiter is woken. */
START_TEST(a_wake_up_that_was_for_a_dead_sleeper_is_not_lost)
{
    struct scene *scene = new_scene();
    struct peer peers[PEERS];

    acquire(&scene->lock);
    start_peers(peers, PEERS, _i, wait_for_it, scene);
    for (int i = 0; i < PEERS; i++)
        await(is_asleep(peers[i].pid));
    brood_lock_init(&scene->lock);
    join_peers(peers, PEERS);
    ck_assert_int_eq(scene->ready, PEERS);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("lock");
    int kinds = kinds_for(argc, argv);

    add_tests(suite, "alone", zeroed_memory_is_a_free_lock_that_one_can_try, a_lock_is_made_free_in_memory_that_was_used,
              a_lock_without_a_holder_is_not_released,
              an_acquisition_that_times_out_takes_its_time_and_leaves_the_lock_right,
              no_deadline_overflows_and_one_in_the_past_tries, a_scope_releases_on_every_way_out,
              it_may_be_mapped_at_different_addresses, NULL);
    add_loop_tests(suite, "together", THREADS, kinds, only_one_at_a_time_has_it, another_process_may_release_it,
                   a_sleeper_gets_it_when_it_is_released, a_wake_up_that_was_for_a_dead_sleeper_is_not_lost, NULL);
    if (kinds == KINDS) {
        add_loop_tests(suite, "inheritance", THREADS, kinds, a_sleeper_learns_of_the_holders_death_and_the_others_go_on,
                       NULL);
        add_tests(suite, "processes", after_a_fork_a_private_lock_can_be_made_free_in_the_child,
                  a_lock_made_before_a_fork_works_in_every_child_and_outlives_each, a_held_lock_may_be_dropped,
                  a_process_that_acquires_after_the_holder_was_killed_learns_of_it, NULL);
    }
    return run_suite(suite);
}
