/* check_rlock.c - the lock that its owner, a thread, can acquire again.
 *
 *     check_rlock --threads     only what keeps to one process
 */
#include <brood/rlock.h>

#include "peer.h"

#define PEERS 4
#define ROUNDS 10000

struct scene {
    struct brood_rlock rlock;
    long count;
    _Atomic int phase;
};

static struct scene *new_scene(void)
{
    return shared_memory(sizeof(struct scene));
}

static void acquire(struct brood_rlock *rlock)
{
    ck_assert_int_eq(brood_rlock_acquire(rlock, BROOD_FOREVER), 0);
}

static void release(struct brood_rlock *rlock)
{
    ck_assert_int_eq(brood_rlock_release(rlock), 0);
}

/* semantics: L5 */
START_TEST(three_acquisitions_take_three_releases_and_a_fourth_is_refused)
{
    struct brood_rlock rlock = {0};

    for (unsigned depth = 1; depth <= 3; depth++) {
        acquire(&rlock);
        ck_assert_uint_eq(brood_rlock_depth(&rlock), depth);
    }
    for (unsigned depth = 3; depth-- > 0;) {
        ck_assert(brood_rlock_held(&rlock));
        release(&rlock);
        ck_assert_uint_eq(brood_rlock_depth(&rlock), depth);
    }
    ck_assert(!brood_rlock_held(&rlock));
    ck_assert_int_eq(brood_rlock_release(&rlock), -EPERM);
    ck_assert_str_ne(brood_error(), "");
}
END_TEST

START_TEST(it_is_made_free_in_memory_that_was_used_and_does_not_go_too_deep)
{
    struct brood_rlock rlock;

    memset(&rlock, 0xff, sizeof(rlock));
    brood_rlock_init(&rlock);
    ck_assert(!brood_rlock_held(&rlock));
    acquire(&rlock);
    rlock.depth = UINT32_MAX;
    ck_assert_int_eq(brood_rlock_acquire(&rlock, BROOD_FOREVER), -EOVERFLOW);
    ck_assert_uint_eq(brood_rlock_depth(&rlock), UINT32_MAX);
}
END_TEST

static void try_to_release(void *argument)
{
    struct scene *scene = argument;

    ck_assert(brood_rlock_held(&scene->rlock));
    ck_assert_uint_eq(brood_rlock_depth(&scene->rlock), 0);
    ck_assert_int_eq(brood_rlock_release(&scene->rlock), -EPERM);
    ck_assert_int_eq(brood_rlock_acquire(&scene->rlock, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_rlock_acquire(&scene->rlock, brood_after_ms(30)), -ETIMEDOUT);
}

/* semantics: L4 */
START_TEST(no_other_process_can_release_it)
{
    struct scene *scene = new_scene();
    struct peer peer;

    acquire(&scene->rlock);
    acquire(&scene->rlock);
    peer = start_peer(_i, try_to_release, scene);
    join_peer(&peer);
    ck_assert_uint_eq(brood_rlock_depth(&scene->rlock), 2);
    release(&scene->rlock);
    release(&scene->rlock);
}
END_TEST

static void count_up_deep(void *argument)
{
    struct scene *scene = argument;

    for (int i = 0; i < ROUNDS; i++) {
        BROOD_WITH_RLOCK (&scene->rlock, NULL) {
            BROOD_WITH_RLOCK (&scene->rlock, NULL) {
                scene->count++;
            }
        }
    }
}

/* semantics: L9 L11 */
START_TEST(only_one_at_a_time_has_it)
{
    struct scene *scene = new_scene();
    struct peer peers[PEERS];

    start_peers(peers, PEERS, _i, count_up_deep, scene);
    join_peers(peers, PEERS);
    ck_assert_int_eq(scene->count, PEERS * ROUNDS);
    ck_assert(!brood_rlock_held(&scene->rlock));
}
END_TEST

static void leave_it_held(void *argument)
{
    struct scene *scene = argument;

    acquire(&scene->rlock);
    acquire(&scene->rlock);
}

START_TEST(when_its_thread_has_ended_the_next_one_is_told)
{
    struct scene *scene = new_scene();
    struct peer peer = start_peer(_i, leave_it_held, scene);

    join_peer(&peer);
    ck_assert_int_eq(brood_rlock_acquire(&scene->rlock, brood_after_ms(AT_ONCE_MS)), -EOWNERDEAD);
    ck_assert_str_ne(brood_error(), "");
    ck_assert_uint_eq(brood_rlock_depth(&scene->rlock), 1);
    release(&scene->rlock);
    ck_assert(!brood_rlock_held(&scene->rlock));
}
END_TEST

static void hold(void *argument)
{
    struct scene *scene = argument;

    acquire(&scene->rlock);
    atomic_store(&scene->phase, 1);
    for (;;)
        (void)pause();
}

/* semantics: K14 */
START_TEST(when_its_process_was_killed_the_next_one_is_told)
{
    struct scene *scene = new_scene();
    pid_t holder = spawn(hold, scene);

    await(atomic_load(&scene->phase) == 1);
    ck_assert_int_eq(brood_rlock_acquire(&scene->rlock, brood_after_ms(50)), -ETIMEDOUT);
    put_to_death(holder);
    ck_assert_int_eq(brood_rlock_acquire(&scene->rlock, BROOD_NOW), -EOWNERDEAD);
    release(&scene->rlock);
}
END_TEST

static void find_it_held_and_start_afresh(void *argument)
{
    struct brood_rlock *rlock = argument;

    ck_assert_uint_eq(brood_rlock_depth(rlock), 0);
    ck_assert_int_eq(brood_rlock_release(rlock), -EPERM);
    ck_assert_int_eq(brood_rlock_acquire(rlock, BROOD_NOW), -EAGAIN);
    brood_rlock_init(rlock);
    acquire(rlock);
    release(rlock);
}

/* semantics: L10 */
START_TEST(the_child_of_its_owner_is_not_its_owner)
{
    static struct brood_rlock rlock;

    acquire(&rlock);
    in_child(find_it_held_and_start_afresh, &rlock);
    ck_assert_uint_eq(brood_rlock_depth(&rlock), 1);
    release(&rlock);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("rlock");
    int kinds = kinds_for(argc, argv);

    add_tests(suite, "alone", three_acquisitions_take_three_releases_and_a_fourth_is_refused,
              it_is_made_free_in_memory_that_was_used_and_does_not_go_too_deep, NULL);
    add_loop_tests(suite, "together", THREADS, kinds, no_other_process_can_release_it, only_one_at_a_time_has_it,
                   when_its_thread_has_ended_the_next_one_is_told, NULL);
    if (kinds == KINDS)
        add_tests(suite, "processes", when_its_process_was_killed_the_next_one_is_told,
                  the_child_of_its_owner_is_not_its_owner, NULL);
    return run_suite(suite);
}
