/* check_condition.c - condition variables: which waiters are woken, how many, and what becomes of the others when a process dies.
 *
 *     check_condition --threads     only what keeps to one process
 */
#include <brood/condition.h>

#include "peer.h"

#define PEERS 10
#define ROUNDS 10000
#define A_WHILE_MS 50 /* longer than any waiter sleeps without a look */

struct scene {
    struct brood_lock lock;
    struct brood_condition condition, other;
    struct brood_rlock rlock;
    struct brood_condition rcondition;
    _Atomic int waiting, awake, told, phase;
    int deadline_ms;
    int turn;
};

static struct scene *new_scene(void)
{
    struct scene *scene = shared_memory(sizeof(*scene));

    ck_assert_int_eq(brood_condition_init(&scene->condition, &scene->lock), 0);
    ck_assert_int_eq(brood_condition_init(&scene->other, &scene->lock), 0);
    ck_assert_int_eq(brood_condition_init_rlock(&scene->rcondition, &scene->rlock), 0);
    scene->deadline_ms = 60000;
    return scene;
}

static void acquire(struct scene *scene)
{
    ck_assert_int_eq(brood_lock_acquire(&scene->lock, BROOD_FOREVER), 0);
}

static void release(struct scene *scene)
{
    ck_assert_int_eq(brood_lock_release(&scene->lock), 0);
}

static void notify(struct scene *scene, int n)
{
    acquire(scene);
    ck_assert_int_eq(brood_condition_notify(&scene->condition, n), 0);
    release(scene);
}

/* Counts as waiting before the lock is given back, so a process that has the lock and sees the number can notify so many. */
static void wait_once(void *argument)
{
    struct scene *scene = argument;

    acquire(scene);
    atomic_fetch_add(&scene->waiting, 1);
    ck_assert_int_eq(brood_condition_wait(&scene->condition, brood_after_ms(scene->deadline_ms)), 0);
    ck_assert(brood_lock_held(&scene->lock));
    atomic_fetch_add(&scene->awake, 1);
    release(scene);
}

static void start_waiters(struct peer *peers, int count, int kind, struct scene *scene)
{
    int already = atomic_load(&scene->waiting);

    start_peers(peers, count, kind, wait_once, scene);
    await(atomic_load(&scene->waiting) == already + count);
    acquire(scene); /* by now the last one of them has given it back */
    release(scene);
}

/* So many are woken, and no more. */
static void expect_awake(struct scene *scene, int count)
{
    int64_t end;

    await(atomic_load(&scene->awake) >= count);
    for (end = now_ms() + A_WHILE_MS; now_ms() < end;)
        rest();
    ck_assert_int_eq(atomic_load(&scene->awake), count);
}

/* ---- alone ---- */

static int never(void *context)
{
    (void)context;
    return 0;
}

/* semantics: V1 */
START_TEST(without_its_lock_a_condition_does_nothing)
{
    struct scene *scene = new_scene();
    struct brood_condition *both[] = {&scene->condition, &scene->rcondition};

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(brood_condition_wait(both[i], BROOD_NOW), -EPERM);
        ck_assert_str_ne(brood_error(), "");
        ck_assert_int_eq(brood_condition_wait_for(both[i], never, NULL, BROOD_NOW), -EPERM);
        ck_assert_int_eq(brood_condition_notify(both[i], 1), -EPERM);
        ck_assert_int_eq(brood_condition_notify_all(both[i]), -EPERM);
    }
}
END_TEST

START_TEST(a_condition_without_a_lock_is_refused_in_words)
{
    struct brood_condition condition;
    struct scene *scene = new_scene();

    ck_assert_int_eq(brood_condition_init(&condition, NULL), -EINVAL);
    ck_assert_int_eq(brood_condition_init_rlock(&condition, NULL), -EINVAL);
    ck_assert_str_ne(brood_error(), "");
    memset(&condition, 0, sizeof(condition));
    ck_assert_int_eq(brood_condition_wait(&condition, BROOD_NOW), -EINVAL);
    ck_assert_int_eq(brood_condition_notify(&condition, 1), -EINVAL);
    acquire(scene);
    ck_assert_int_eq(brood_condition_notify(&scene->condition, 0), -EINVAL);
    ck_assert_int_eq(brood_condition_notify(&scene->condition, -3), -EINVAL);
}
END_TEST

/* semantics: V4 K19 */
START_TEST(a_wait_in_vain_takes_its_time_and_ends_with_the_lock)
{
    struct scene *scene = new_scene();
    int64_t began = now_ms();

    acquire(scene);
    ck_assert_int_eq(brood_condition_wait(&scene->condition, brood_after_ms(50)), -ETIMEDOUT);
    ck_assert_int_ge(now_ms() - began, 49);
    ck_assert_str_ne(brood_error(), "");
    ck_assert_int_eq(brood_condition_wait(&scene->condition, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_condition_wait(&scene->condition, brood_after_ms(-1)), -EAGAIN);
    ck_assert(brood_lock_held(&scene->lock));
    release(scene);
}
END_TEST

START_TEST(a_notification_without_a_waiter_is_lost)
{
    struct scene *scene = new_scene();

    acquire(scene);
    ck_assert_int_eq(brood_condition_notify_all(&scene->condition), 0);
    ck_assert_int_eq(brood_condition_wait(&scene->condition, brood_after_ms(30)), -ETIMEDOUT);
    ck_assert_int_eq(brood_condition_notify(&scene->condition, 1), 0);
    ck_assert_int_eq(brood_condition_wait(&scene->condition, BROOD_NOW), -EAGAIN);
}
END_TEST

static _Atomic int signals;

static void count_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals, 1);
}

/* semantics: V5 */
START_TEST(a_signal_is_handled_and_the_wait_goes_on)
{
    struct scene *scene = new_scene();
    int64_t began = now_ms();

    interrupt_often(count_signal);
    acquire(scene);
    ck_assert_int_eq(brood_condition_wait(&scene->condition, brood_after_ms(50)), -ETIMEDOUT);
    interrupt_no_more();
    ck_assert_int_ge(now_ms() - began, 49);
    ck_assert_int_gt(signals, 0);
}
END_TEST

/* ---- how many ---- */

/* semantics: V2 */
START_TEST(so_many_are_woken_as_were_notified)
{
    struct scene *scene = new_scene();
    struct peer peers[PEERS];

    start_waiters(peers, PEERS, _i, scene);
    expect_awake(scene, 0);
    notify(scene, 3);
    expect_awake(scene, 3);
    notify(scene, 5);
    expect_awake(scene, 8);
    acquire(scene);
    ck_assert_int_eq(brood_condition_notify_all(&scene->condition), 0);
    release(scene);
    expect_awake(scene, PEERS);
    notify(scene, 3);
    join_peers(peers, PEERS);
    ck_assert_int_eq(scene->awake, PEERS);
}
END_TEST

/* semantics: V2 */
START_TEST(notifications_before_a_waiter_could_wake_up_add_up)
{
    struct scene *scene = new_scene();
    struct peer peers[PEERS];

    start_waiters(peers, PEERS, _i, scene);
    acquire(scene);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(brood_condition_notify(&scene->condition, 1), 0);
    release(scene);
    expect_awake(scene, 4);
    notify(scene, PEERS);
    join_peers(peers, PEERS);
}
END_TEST

static void wait_in_vain(void *argument)
{
    struct scene *scene = argument;

    acquire(scene);
    ck_assert_int_eq(brood_condition_wait(&scene->condition, brood_after_ms(20)), -ETIMEDOUT);
    release(scene);
}

/* semantics: V3 */
START_TEST(a_waiter_that_has_timed_out_is_not_counted)
{
    struct scene *scene = new_scene();
    struct peer late[3], peers[3];

    start_peers(late, 3, _i, wait_in_vain, scene);
    join_peers(late, 3);
    start_waiters(peers, 3, _i, scene);
    notify(scene, 1);
    expect_awake(scene, 1);
    notify(scene, 2);
    expect_awake(scene, 3);
    join_peers(peers, 3);
}
END_TEST

static void wait_again(void *argument)
{
    struct scene *scene = argument;

    acquire(scene);
    atomic_fetch_add(&scene->phase, 1);
    ck_assert_int_eq(brood_condition_wait(&scene->condition, BROOD_FOREVER), 0);
    atomic_fetch_add(&scene->phase, 1);
    ck_assert_int_eq(brood_condition_wait(&scene->condition, BROOD_FOREVER), 0);
    atomic_fetch_add(&scene->phase, 1);
    release(scene);
}

START_TEST(a_waiter_that_waits_again_waits_for_the_next_notification)
{
    struct scene *scene = new_scene();
    struct peer peer = start_peer(_i, wait_again, scene);
    int64_t end;

    await(scene->phase == 1);
    notify(scene, 5);
    await(scene->phase == 2);
    for (end = now_ms() + A_WHILE_MS; now_ms() < end;)
        rest();
    ck_assert_int_eq(scene->phase, 2);
    notify(scene, 1);
    join_peer(&peer);
    ck_assert_int_eq(scene->phase, 3);
}
END_TEST

/* ---- predicates ---- */

static int is_my_turn(void *context)
{
    struct scene *scene = context;

    atomic_fetch_add(&scene->phase, 1);
    return scene->turn == 3;
}

static void wait_for_turn(void *argument)
{
    struct scene *scene = argument;

    acquire(scene);
    ck_assert_int_eq(brood_condition_wait_for(&scene->condition, is_my_turn, scene, brood_after_ms(60000)), 0);
    ck_assert_int_eq(scene->turn, 3);
    release(scene);
}

/* semantics: V6 */
START_TEST(a_predicate_is_looked_at_first_and_when_notified)
{
    struct scene *scene = new_scene();
    struct peer peer = start_peer(_i, wait_for_turn, scene);

    for (int turn = 1; turn <= 3; turn++) {
        await(scene->phase == turn);
        acquire(scene);
        scene->turn = turn;
        ck_assert_int_eq(brood_condition_notify_all(&scene->condition), 0);
        release(scene);
    }
    join_peer(&peer);
    ck_assert_int_eq(scene->phase, 4);
    acquire(scene);
    ck_assert_int_eq(brood_condition_wait_for(&scene->condition, is_my_turn, scene, BROOD_NOW), 0);
    release(scene);
    ck_assert_int_eq(scene->phase, 5);
}
END_TEST

static void disturb(void *argument)
{
    struct scene *scene = argument;

    while (atomic_load(&scene->told) == 0) {
        notify(scene, 1);
        rest();
    }
}

/* semantics: V6 */
START_TEST(a_predicate_that_stays_false_ends_at_the_deadline_however_often_one_is_woken)
{
    struct scene *scene = new_scene();
    struct peer peer = start_peer(_i, disturb, scene);
    int64_t began = now_ms();

    acquire(scene);
    ck_assert_int_eq(brood_condition_wait_for(&scene->condition, never, NULL, brood_after_ms(80)), -ETIMEDOUT);
    ck_assert_int_ge(now_ms() - began, 79);
    ck_assert_int_lt(now_ms() - began, AT_ONCE_MS);
    ck_assert_int_eq(brood_condition_wait_for(&scene->condition, never, NULL, BROOD_NOW), -EAGAIN);
    release(scene);
    atomic_store(&scene->told, 1);
    join_peer(&peer);
}
END_TEST

/* ---- locks ---- */

static void hold_deep_and_wait(void *argument)
{
    struct scene *scene = argument;

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(brood_rlock_acquire(&scene->rlock, BROOD_FOREVER), 0);
    atomic_store(&scene->waiting, 1);
    ck_assert_int_eq(brood_condition_wait(&scene->rcondition, brood_after_ms(60000)), 0);
    ck_assert_uint_eq(brood_rlock_depth(&scene->rlock), 3);
    ck_assert_int_eq(brood_condition_wait(&scene->rcondition, BROOD_NOW), -EAGAIN);
    ck_assert_uint_eq(brood_rlock_depth(&scene->rlock), 3);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(brood_rlock_release(&scene->rlock), 0);
}

/* semantics: V7 K16 */
START_TEST(a_recursive_lock_is_given_back_wholly_and_has_its_depth_again)
{
    struct scene *scene = new_scene();
    struct peer peer = start_peer(_i, hold_deep_and_wait, scene);

    await(scene->waiting == 1);
    ck_assert_int_eq(brood_rlock_acquire(&scene->rlock, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_condition_notify(&scene->rcondition, 1), 0);
    ck_assert_int_eq(brood_rlock_release(&scene->rlock), 0);
    join_peer(&peer);
    ck_assert(!brood_rlock_held(&scene->rlock));
}
END_TEST

static void take_turns(struct scene *scene, struct brood_condition *own, struct brood_condition *other, int turn)
{
    struct pace pace = {0};

    for (int i = 0; i < ROUNDS; i++) {
        acquire(scene);
        while (scene->turn % 2 != turn)
            ck_assert_int_eq(brood_condition_wait(own, BROOD_FOREVER), 0);
        scene->turn++;
        ck_assert_int_eq(brood_condition_notify(other, 1), 0);
        release(scene);
        pace_count(&pace);
    }
    expect_no_lost_wake_ups(&pace);
}

static void take_odd_turns(void *argument)
{
    struct scene *scene = argument;

    take_turns(scene, &scene->other, &scene->condition, 1);
}

START_TEST(a_lock_may_have_two_conditions_and_no_wake_up_is_lost)
{
    struct scene *scene = new_scene();
    struct peer peer = start_peer(_i, take_odd_turns, scene);

    take_turns(scene, &scene->condition, &scene->other, 0);
    join_peer(&peer);
    ck_assert_int_eq(scene->turn, 2 * ROUNDS);
}
END_TEST

static struct scene *map_again(int fd)
{
    struct scene *scene = mmap(NULL, sizeof(*scene), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    ck_assert_ptr_ne(scene, MAP_FAILED);
    return scene;
}

START_TEST(it_may_be_mapped_at_different_addresses)
{
    int fd = memfd_create("condition", MFD_CLOEXEC);
    struct scene *one, *other;
    struct peer peer;

    ck_assert_int_eq(ftruncate(fd, sizeof(struct scene)), 0);
    one = map_again(fd);
    other = map_again(fd);
    ck_assert_int_eq(brood_condition_init(&one->condition, &one->lock), 0);
    one->deadline_ms = 60000;
    start_waiters(&peer, 1, _i, one);
    notify(other, 1);
    join_peer(&peer);
    (void)close(fd);
}
END_TEST

/* ---- deaths ---- */

/* semantics: V8 V3 K14 */
START_TEST(a_waiter_that_was_killed_is_not_counted_and_not_waited_for)
{
    struct scene *scene = new_scene();
    struct peer dead[3], peers[4];
    int64_t began;

    start_waiters(dead, 3, PROCESSES, scene);
    start_waiters(peers, 2, _i, scene);
    for (int i = 0; i < 3; i++)
        put_to_death(dead[i].pid);
    began = now_ms();
    notify(scene, 1);
    ck_assert_int_lt(now_ms() - began, AT_ONCE_MS);
    expect_awake(scene, 1);
    notify(scene, 4); /* one of the living waiters, and no later one */
    expect_awake(scene, 2);
    start_waiters(&peers[2], 2, _i, scene);
    expect_awake(scene, 2);
    notify(scene, 1);
    expect_awake(scene, 3);
    notify(scene, 1);
    join_peers(peers, 4);
}
END_TEST

/* The first one that the kernel wakes is killed while the lock is not free yet. */
START_TEST(the_wake_up_of_a_waiter_that_dies_before_it_returns_goes_to_another_waiter)
{
    struct scene *scene = new_scene();
    struct peer first, second, later;

    start_waiters(&first, 1, PROCESSES, scene);
    await(is_asleep(first.pid));
    start_waiters(&second, 1, _i, scene);
    acquire(scene);
    ck_assert_int_eq(brood_condition_notify(&scene->condition, 1), 0);
    put_to_death(first.pid);
    release(scene);
    join_peer(&second);
    ck_assert_int_eq(scene->awake, 1);

    start_waiters(&later, 1, _i, scene);
    expect_awake(scene, 1);
    notify(scene, 1);
    join_peer(&later);
}
END_TEST

/* The grant that the dead one did not take is not there for a waiter that came after it. */
START_TEST(a_wake_up_with_no_waiter_left_is_dropped)
{
    struct scene *scene = new_scene();
    struct peer dead, peers[2];

    start_waiters(&dead, 1, PROCESSES, scene);
    await(is_asleep(dead.pid));
    acquire(scene);
    ck_assert_int_eq(brood_condition_notify(&scene->condition, 1), 0);
    put_to_death(dead.pid);
    release(scene);

    start_waiters(peers, 2, _i, scene);
    expect_awake(scene, 0);
    notify(scene, 1);
    expect_awake(scene, 1);
    notify(scene, 1);
    join_peers(peers, 2);
}
END_TEST

static void wait_and_be_told(void *argument)
{
    struct scene *scene = argument;
    int r;

    acquire(scene);
    atomic_fetch_add(&scene->waiting, 1);
    r = brood_condition_wait(&scene->condition, brood_after_ms(60000));
    ck_assert(r == 0 || r == -EOWNERDEAD);
    atomic_fetch_add(r == 0 ? &scene->awake : &scene->told, 1);
    ck_assert_int_eq(brood_condition_notify(&scene->condition, 1), 0);
    release(scene);
}

static void hold_for_ever(void *argument)
{
    struct scene *scene = argument;

    acquire(scene);
    atomic_store(&scene->phase, 1);
    for (;;)
        (void)pause();
}

/* semantics: K14 */
START_TEST(when_the_lock_holder_dies_one_waiter_learns_of_it)
{
    struct scene *scene = new_scene();
    struct peer peers[3];
    pid_t holder;

    start_peers(peers, 3, _i, wait_and_be_told, scene);
    await(atomic_load(&scene->waiting) == 3);
    holder = spawn(hold_for_ever, scene);
    await(atomic_load(&scene->phase) == 1);
    put_to_death(holder);
    join_peers(peers, 3);
    ck_assert_int_eq(scene->told, 1);
    ck_assert_int_eq(scene->awake, 2);
}
END_TEST

START_TEST(more_processes_than_there_is_room_for_are_told_until_one_dies)
{
    struct scene *scene = new_scene();
    struct peer peers[BROOD_CONDITION_PROCESSES];

    start_waiters(peers, BROOD_CONDITION_PROCESSES, PROCESSES, scene);
    acquire(scene);
    ck_assert_int_eq(brood_condition_wait(&scene->condition, brood_after_ms(60000)), -ENOSPC);
    ck_assert_ptr_ne(strstr(brood_error(), "64"), NULL);
    ck_assert_int_eq(brood_condition_wait(&scene->condition, BROOD_NOW), -ENOSPC);
    put_to_death(peers[0].pid);
    ck_assert_int_eq(brood_condition_wait(&scene->condition, brood_after_ms(20)), -ETIMEDOUT);
    ck_assert_int_eq(brood_condition_notify_all(&scene->condition), 0);
    release(scene);
    join_peers(&peers[1], BROOD_CONDITION_PROCESSES - 1);
}
END_TEST

/* semantics: K18 */
START_TEST(one_made_before_a_fork_works_in_every_child_and_outlives_each)
{
    struct scene *scene = new_scene();

    for (int i = 1; i <= 3; i++) {
        struct peer peer;

        start_waiters(&peer, 1, PROCESSES, scene);
        notify(scene, 1);
        join_peer(&peer);
        ck_assert_int_eq(scene->awake, i);
    }
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("condition");
    int kinds = kinds_for(argc, argv);

    add_tests(suite, "alone", without_its_lock_a_condition_does_nothing, a_condition_without_a_lock_is_refused_in_words,
              a_wait_in_vain_takes_its_time_and_ends_with_the_lock, a_notification_without_a_waiter_is_lost,
              a_signal_is_handled_and_the_wait_goes_on, NULL);
    add_loop_tests(suite, "how many", THREADS, kinds, so_many_are_woken_as_were_notified,
                   notifications_before_a_waiter_could_wake_up_add_up, a_waiter_that_has_timed_out_is_not_counted,
                   a_waiter_that_waits_again_waits_for_the_next_notification, NULL);
    add_loop_tests(suite, "predicates", THREADS, kinds, a_predicate_is_looked_at_first_and_when_notified,
                   a_predicate_that_stays_false_ends_at_the_deadline_however_often_one_is_woken, NULL);
    add_loop_tests(suite, "locks", THREADS, kinds, a_recursive_lock_is_given_back_wholly_and_has_its_depth_again,
                   a_lock_may_have_two_conditions_and_no_wake_up_is_lost, it_may_be_mapped_at_different_addresses, NULL);
    if (kinds == KINDS) {
        add_loop_tests(suite, "deaths", THREADS, kinds, a_waiter_that_was_killed_is_not_counted_and_not_waited_for,
                       the_wake_up_of_a_waiter_that_dies_before_it_returns_goes_to_another_waiter,
                       a_wake_up_with_no_waiter_left_is_dropped, when_the_lock_holder_dies_one_waiter_learns_of_it, NULL);
        add_tests(suite, "processes", more_processes_than_there_is_room_for_are_told_until_one_dies,
                  one_made_before_a_fork_works_in_every_child_and_outlives_each, NULL);
    }
    return run_suite(suite);
}
