/* check_semaphore.c - permits, between threads and between processes.
 *
 *     check_semaphore --threads     only what keeps to one process
 */
#include <brood/semaphore.h>

#include "peer.h"

#define PEERS 5
#define ROUNDS 10000

struct scene {
    struct brood_semaphore semaphore, other;
    _Atomic int inside, most, through;
};

static struct scene *new_scene(int value, int bound)
{
    struct scene *scene = shared_memory(sizeof(*scene));

    ck_assert_int_eq(brood_semaphore_init(&scene->semaphore, value, bound), 0);
    return scene;
}

static void acquire(struct brood_semaphore *semaphore)
{
    ck_assert_int_eq(brood_semaphore_acquire(semaphore, BROOD_FOREVER), 0);
}

static void release(struct brood_semaphore *semaphore, int n)
{
    ck_assert_int_eq(brood_semaphore_release(semaphore, n), 0);
}

/* semantics: S1 */
START_TEST(values_and_bounds_that_make_no_sense_are_refused_in_words)
{
    struct brood_semaphore semaphore;

    ck_assert_int_eq(brood_semaphore_init(&semaphore, -1, 0), -EINVAL);
    ck_assert_str_ne(brood_error(), "");
    ck_assert_int_eq(brood_semaphore_init(&semaphore, 0, -1), -EINVAL);
    ck_assert_int_eq(brood_semaphore_init(&semaphore, 3, 2), -EINVAL);
    ck_assert_int_eq(brood_semaphore_init(&semaphore, 3, BROOD_SEMAPHORE_MAX), 0);
    ck_assert_int_eq(brood_semaphore_value(&semaphore), 3);
    ck_assert_int_eq(brood_semaphore_bound(&semaphore), BROOD_SEMAPHORE_MAX);
    ck_assert_int_eq(brood_semaphore_init(&semaphore, 3, 3), 0);
    ck_assert_int_eq(brood_semaphore_bound(&semaphore), 3);
}
END_TEST

START_TEST(a_semaphore_with_a_bound_of_zero_never_has_a_permit)
{
    struct brood_semaphore semaphore;

    ck_assert_int_eq(brood_semaphore_init(&semaphore, 0, 0), 0);
    ck_assert_int_eq(brood_semaphore_bound(&semaphore), 0);
    ck_assert_int_eq(brood_semaphore_release(&semaphore, 1), -EOVERFLOW);
    ck_assert_int_eq(brood_semaphore_acquire(&semaphore, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_semaphore_init(&semaphore, 1, 0), -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), "BROOD_SEMAPHORE_MAX"));
}
END_TEST

START_TEST(zeroed_memory_is_a_semaphore_without_permits_and_without_a_bound)
{
    static struct brood_semaphore semaphore;

    ck_assert_int_eq(brood_semaphore_bound(&semaphore), BROOD_SEMAPHORE_MAX);
    ck_assert_int_eq(brood_semaphore_acquire(&semaphore, BROOD_NOW), -EAGAIN);
    release(&semaphore, 3);
    ck_assert_int_eq(brood_semaphore_value(&semaphore), 3);
}
END_TEST

/* semantics: S2 */
START_TEST(permits_are_taken_and_added_also_beyond_the_first_value)
{
    struct brood_semaphore semaphore;

    ck_assert_int_eq(brood_semaphore_init(&semaphore, 2, BROOD_SEMAPHORE_MAX), 0);
    acquire(&semaphore);
    ck_assert_int_eq(brood_semaphore_value(&semaphore), 1);
    acquire(&semaphore);
    ck_assert_int_eq(brood_semaphore_acquire(&semaphore, BROOD_NOW), -EAGAIN);
    for (int value = 1; value <= 4; value++) {
        release(&semaphore, 1);
        ck_assert_int_eq(brood_semaphore_value(&semaphore), value);
    }
}
END_TEST

/* semantics: S3 S4 K19 */
START_TEST(a_release_over_the_bound_changes_nothing)
{
    struct brood_semaphore semaphore;

    ck_assert_int_eq(brood_semaphore_init(&semaphore, 2, 2), 0);
    ck_assert_int_eq(brood_semaphore_release(&semaphore, 1), -EOVERFLOW);
    ck_assert_str_ne(brood_error(), "");
    acquire(&semaphore);
    ck_assert_int_eq(brood_semaphore_release(&semaphore, 2), -EOVERFLOW);
    ck_assert_int_eq(brood_semaphore_release(&semaphore, INT32_MAX), -EOVERFLOW);
    ck_assert_int_eq(brood_semaphore_value(&semaphore), 1);
    release(&semaphore, 1);
    ck_assert_int_eq(brood_semaphore_value(&semaphore), 2);

    ck_assert_int_eq(brood_semaphore_init(&semaphore, BROOD_SEMAPHORE_MAX - 1, BROOD_SEMAPHORE_MAX), 0);
    ck_assert_int_eq(brood_semaphore_release(&semaphore, 2), -EOVERFLOW);
    release(&semaphore, 1);
    ck_assert_int_eq(brood_semaphore_release(&semaphore, 1), -EOVERFLOW);
    ck_assert_int_eq(brood_semaphore_value(&semaphore), BROOD_SEMAPHORE_MAX);
}
END_TEST

/* semantics: S4 */
START_TEST(a_release_of_less_than_one_is_refused)
{
    struct brood_semaphore semaphore = {0};

    ck_assert_int_eq(brood_semaphore_release(&semaphore, 0), -EINVAL);
    ck_assert_int_eq(brood_semaphore_release(&semaphore, INT32_MIN), -EINVAL);
    ck_assert_int_eq(brood_semaphore_value(&semaphore), 0);
}
END_TEST

/* semantics: S5 K19 */
START_TEST(a_wait_for_a_permit_in_vain_lasts_until_its_deadline_and_no_longer)
{
    struct brood_semaphore semaphore = {0};
    int64_t began = now_ms();

    ck_assert_int_eq(brood_semaphore_acquire(&semaphore, brood_after_ms(50)), -ETIMEDOUT);
    ck_assert_int_ge(now_ms() - began, 49);
    ck_assert_str_ne(brood_error(), "");
    ck_assert_int_eq(brood_semaphore_acquire(&semaphore, brood_after_ms(-5)), -EAGAIN);
    release(&semaphore, 1);
    ck_assert_int_eq(brood_semaphore_acquire(&semaphore, brood_after_ms(INT64_MAX)), 0);
    ck_assert_int_eq(brood_semaphore_value(&semaphore), 0);
}
END_TEST

static void come_and_go(void *argument)
{
    struct scene *scene = argument;

    for (int i = 0; i < ROUNDS; i++) {
        int inside;

        acquire(&scene->semaphore);
        inside = atomic_fetch_add(&scene->inside, 1) + 1;
        if (inside > atomic_load(&scene->most))
            atomic_store(&scene->most, inside);
        atomic_fetch_sub(&scene->inside, 1);
        release(&scene->semaphore, 1);
    }
}

START_TEST(no_more_are_inside_than_there_are_permits)
{
    struct scene *scene = new_scene(2, 2);
    struct peer peers[PEERS];

    start_peers(peers, PEERS, _i, come_and_go, scene);
    join_peers(peers, PEERS);
    ck_assert_int_le(scene->most, 2);
    ck_assert_int_eq(brood_semaphore_value(&scene->semaphore), 2);
}
END_TEST

static void go_through(void *argument)
{
    struct scene *scene = argument;

    acquire(&scene->semaphore);
    atomic_fetch_add(&scene->through, 1);
}

/* semantics: S4 */
START_TEST(a_release_of_n_lets_n_through)
{
    struct scene *scene = new_scene(0, BROOD_SEMAPHORE_MAX);
    struct peer peers[PEERS];

    start_peers(peers, PEERS, _i, go_through, scene);
    for (int i = 0; i < PEERS; i++)
        await(is_asleep(peers[i].pid));
    release(&scene->semaphore, 2);
    await(scene->through == 2);
    ck_assert_int_eq(brood_semaphore_value(&scene->semaphore), 0);
    release(&scene->semaphore, 3);
    join_peers(peers, PEERS);
    ck_assert_int_eq(scene->through, PEERS);
    ck_assert_int_eq(brood_semaphore_value(&scene->semaphore), 0);
}
END_TEST

static void answer(void *argument)
{
    struct scene *scene = argument;

    for (int i = 0; i < ROUNDS; i++) {
        acquire(&scene->semaphore);
        release(&scene->other, 1);
    }
}

START_TEST(no_wake_up_is_lost_from_one_to_the_other_and_back)
{
    struct scene *scene = new_scene(0, 1);
    struct peer peer = start_peer(_i, answer, scene);
    struct pace pace = {0};

    for (int i = 0; i < ROUNDS; i++) {
        release(&scene->semaphore, 1);
        acquire(&scene->other);
        pace_count(&pace);
    }
    join_peer(&peer);
    expect_no_lost_wake_ups(&pace);
}
END_TEST

/* What is left when the one that the kernel woke does not live to take it: a permit, and no waiter is woken. */
START_TEST(a_wake_up_that_was_for_a_dead_sleeper_is_not_lost)
{
    struct scene *scene = new_scene(0, BROOD_SEMAPHORE_MAX);
    struct peer peers[PEERS];

    start_peers(peers, PEERS, _i, go_through, scene);
    for (int i = 0; i < PEERS; i++)
        await(is_asleep(peers[i].pid));
    ck_assert_int_eq(brood_semaphore_init(&scene->semaphore, PEERS, BROOD_SEMAPHORE_MAX), 0);
    join_peers(peers, PEERS);
    ck_assert_int_eq(brood_semaphore_value(&scene->semaphore), 0);
}
END_TEST

static void wait_in_vain(void *argument)
{
    struct scene *scene = argument;

    acquire(&scene->semaphore);
}

/* semantics: K14 */
START_TEST(a_waiter_that_was_killed_takes_no_permit)
{
    struct scene *scene = new_scene(0, BROOD_SEMAPHORE_MAX);
    pid_t waiter = spawn(wait_in_vain, scene);

    await(is_asleep(waiter));
    put_to_death(waiter);
    release(&scene->semaphore, 1);
    ck_assert_int_eq(brood_semaphore_acquire(&scene->semaphore, BROOD_NOW), 0);
}
END_TEST

/* semantics: K18 */
START_TEST(one_made_before_a_fork_works_in_every_child_and_outlives_each)
{
    struct scene *scene = new_scene(3, BROOD_SEMAPHORE_MAX);

    for (int i = 1; i <= 3; i++) {
        in_child(go_through, scene);
        ck_assert_int_eq(brood_semaphore_value(&scene->semaphore), 3 - i);
    }
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("semaphore");
    int kinds = kinds_for(argc, argv);

    add_tests(suite, "alone", values_and_bounds_that_make_no_sense_are_refused_in_words,
              a_semaphore_with_a_bound_of_zero_never_has_a_permit,
              zeroed_memory_is_a_semaphore_without_permits_and_without_a_bound,
              permits_are_taken_and_added_also_beyond_the_first_value, a_release_over_the_bound_changes_nothing,
              a_release_of_less_than_one_is_refused, a_wait_for_a_permit_in_vain_lasts_until_its_deadline_and_no_longer,
              NULL);
    add_loop_tests(suite, "together", THREADS, kinds, no_more_are_inside_than_there_are_permits,
                   a_release_of_n_lets_n_through, no_wake_up_is_lost_from_one_to_the_other_and_back,
                   a_wake_up_that_was_for_a_dead_sleeper_is_not_lost, NULL);
    if (kinds == KINDS)
        add_tests(suite, "processes", a_waiter_that_was_killed_takes_no_permit,
                  one_made_before_a_fork_works_in_every_child_and_outlives_each, NULL);
    return run_suite(suite);
}
