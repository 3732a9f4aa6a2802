/* conform_queue.c - what becomes of a queue when processes that use it are killed: while they sleep, with a message in
 * hand, and at random, by the dozen.
 *
 *     conform_queue --seconds 3600      a longer storm for each kind, and nothing else
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include <brood/pool.h>
#include <brood/process.h>

#include "child.h"
#include "os/clock.h"
#include "os/identity.h"
#include "sync/queue/queue_layout.h"

static const enum brood_queue_kind kinds[] = {BROOD_FIFO, BROOD_LIFO, BROOD_PRIORITY};
enum { KINDS = 3, LONG_MS = 60000 };

static struct brood_queue *open_queue(const struct brood_queue_options *options)
{
    struct brood_queue *queue = NULL;

    ck_assert_msg(brood_queue_open(&queue, options) == 0, "%s", brood_error());
    return queue;
}

static int put(struct brood_queue *queue, int value, brood_deadline deadline)
{
    return brood_queue_put(queue, (struct brood_bytes){&value, sizeof(value)}, deadline);
}

static int get(struct brood_queue *queue, brood_deadline deadline)
{
    int value = -1;
    struct brood_space space = {&value, sizeof(value)};
    int r = brood_queue_get(queue, &space, deadline);

    return r < 0 ? r : value;
}

struct scene {
    struct brood_queue *queue;
    _Atomic int outcome, step;
};

static struct scene *scene_of(struct brood_queue *queue)
{
    struct scene *scene = shared_memory(sizeof(*scene));

    scene->queue = queue;
    return scene;
}

static void get_one(void *argument)
{
    struct scene *scene = argument;

    atomic_store(&scene->outcome, get(scene->queue, brood_after_ms(LONG_MS)));
}

static void put_one(void *argument)
{
    struct scene *scene = argument;

    atomic_store(&scene->outcome, put(scene->queue, 5, brood_after_ms(LONG_MS)));
}

/* ---- sleeping ---- */

/* semantics: K14 */
START_TEST(a_killed_sleeping_consumer_disturbs_no_other)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i]));
    struct scene *scene = scene_of(queue);
    pid_t pid = spawn(get_one, scene);

    await(is_asleep(pid));
    put_to_death(pid);
    for (int i = 1; i < 20; i++)
        ck_assert_int_eq(put(queue, i, BROOD_NOW), 0);
    for (int i = 1; i < 20; i++)
        ck_assert_int_eq(get(queue, BROOD_NOW), kinds[_i] == BROOD_LIFO ? 20 - i : i);
    ck_assert_uint_eq(brood_queue_lost(queue, NULL), 0);
}
END_TEST

/* The one that is woken cannot run, and is killed then: it had been woken for the message, and had not taken it. */
START_TEST(a_getter_that_is_killed_after_it_was_woken_leaves_the_message_to_another)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i]));
    struct scene *scene = scene_of(queue), *other = scene_of(queue);
    pid_t first = spawn(get_one, scene), second;

    await(is_asleep(first));
    ck_assert_int_eq(kill(first, SIGSTOP), 0);
    second = spawn(get_one, other);
    await(is_asleep(second));
    ck_assert_int_eq(put(queue, 7, BROOD_NOW), 0);
    put_to_death(first);
    join(second);
    ck_assert_int_eq(other->outcome, 7);
}
END_TEST

START_TEST(a_sleeping_putter_is_killed_and_its_message_was_never_there)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i], .bound = 2));
    struct scene *scene = scene_of(queue);
    pid_t pid;

    for (int i = 1; i <= 2; i++)
        ck_assert_int_eq(put(queue, i, BROOD_NOW), 0);
    pid = spawn(put_one, scene);
    await(is_asleep(pid));
    put_to_death(pid);
    ck_assert_int_gt(get(queue, BROOD_NOW), 0);
    ck_assert_int_gt(get(queue, BROOD_NOW), 0);
    ck_assert_int_eq(get(queue, brood_after_ms(50)), -ETIMEDOUT);
    ck_assert_uint_eq(brood_queue_unfinished(queue), 2);
}
END_TEST

/* ---- with a message in hand ---- */

static void get_and_stay(void *argument)
{
    struct scene *scene = argument;

    for (int i = 0; i < 2; i++)
        ck_assert_int_gt(get(scene->queue, BROOD_FOREVER), 0);
    atomic_store(&scene->step, 1);
    for (;;)
        rest();
}

static void join_queue(void *argument)
{
    struct scene *scene = argument;

    atomic_store(&scene->outcome, brood_queue_join(scene->queue, brood_after_ms(LONG_MS)));
}

START_TEST(a_join_ends_and_tells_when_what_is_unfinished_was_lost)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i], .joinable = true));
    struct scene *scene = scene_of(queue), *joining = scene_of(queue);
    pid_t pid, joiner;
    int process;

    for (int i = 1; i <= 3; i++)
        ck_assert_int_eq(put(queue, i, BROOD_NOW), 0);
    pid = spawn(get_and_stay, scene);
    await(atomic_load(&scene->step) == 1);
    joiner = spawn(join_queue, joining);
    await(is_asleep(joiner));
    put_to_death(pid);
    await(brood_queue_unfinished(queue) == 1);
    ck_assert_uint_eq(brood_queue_lost(queue, &process), 2);
    ck_assert_int_eq(process, pid);
    ck_assert_int_eq(atomic_load(&joining->outcome), 0);
    ck_assert_int_gt(get(queue, BROOD_NOW), 0);
    ck_assert_int_eq(brood_queue_task_done(queue), 0);
    join(joiner);
    ck_assert_int_eq(joining->outcome, -EOWNERDEAD);
    ck_assert_int_eq(brood_queue_join(queue, BROOD_NOW), 0);
}
END_TEST

/* Waits for a second message with one in flight. */
static void hold_and_sleep(void *argument)
{
    struct scene *scene = argument;

    ck_assert_int_eq(put(scene->queue, 1, BROOD_NOW), 0);
    ck_assert_int_eq(get(scene->queue, BROOD_NOW), 1);
    atomic_store(&scene->step, 1);
    (void)get(scene->queue, BROOD_FOREVER);
}

/* Getters, which do the looking for a join, too. */
START_TEST(a_join_hears_of_the_death_of_a_sleeper_with_a_message_in_flight)
{
    enum { GETTERS = 8 };
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i], .joinable = true));
    struct scene *scene = scene_of(queue), *getting = scene_of(queue), *joining = scene_of(queue);
    pid_t holder = spawn(hold_and_sleep, scene), getters[GETTERS], joiner;

    await(atomic_load(&scene->step) == 1 && is_asleep(holder));
    for (int i = 0; i < GETTERS; i++)
        getters[i] = spawn(get_one, getting);
    joiner = spawn(join_queue, joining);
    await(is_asleep(joiner) && is_asleep(getters[GETTERS - 1]));
    put_to_death(holder);
    join(joiner);
    ck_assert_int_eq(joining->outcome, -EOWNERDEAD);
    for (int i = 0; i < GETTERS; i++)
        put_to_death(getters[i]);
}
END_TEST

static bool sleeps_with_nothing_begun(struct brood_queue *queue, pid_t pid)
{
    for (int i = 0; i < BROOD_QUEUE_USERS_MAX; i++) {
        uint64_t user = atomic_load(&queue->users[i]);

        if (brood__identity_number(user) == pid)
            return user & USER_IDLE;
    }
    return false;
}

/* Sleepers get up now and then, to look: stops it while it sleeps. */
static void stop_asleep(struct brood_queue *queue, pid_t pid)
{
    int status;

    for (int tries = 0; tries < 200; tries++) {
        await(is_asleep(pid));
        ck_assert_int_eq(kill(pid, SIGSTOP), 0);
        ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
        if (sleeps_with_nothing_begun(queue, pid))
            return;
        ck_assert_int_eq(kill(pid, SIGCONT), 0);
        rest();
    }
    ck_abort_msg("a sleeper does not say that it has nothing begun");
}

/* Dies of a look: that asks the kernel for a descriptor of another process. */
static void get_without_a_look(void *argument)
{
    struct scene *scene = argument;

    ck_assert_int_eq(get(scene->queue, BROOD_NOW), -EAGAIN); /* the caller itself, and its number, are known then */
    die_of_call(SYS_pidfd_open);
    atomic_store(&scene->outcome, get(scene->queue, brood_after_ms(300)));
}

/* Each look costs some microseconds, and 200 of them are 200 times as many. */
START_TEST(getters_do_not_look_at_sleepers_with_a_message_in_flight)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.joinable = true));
    struct scene *scene = scene_of(queue), *getting = scene_of(queue);
    pid_t holder = spawn(hold_and_sleep, scene);

    await(atomic_load(&scene->step) == 1);
    stop_asleep(queue, holder);
    in_child(get_without_a_look, getting);
    ck_assert_int_eq(getting->outcome, -ETIMEDOUT);
    put_to_death(holder);
}
END_TEST

static void get_and_leave(void *argument)
{
    struct scene *scene = argument;

    ck_assert_int_gt(get(scene->queue, BROOD_FOREVER), 0);
    if (atomic_load(&scene->step) == 1)
        (void)brood_queue_close(scene->queue);
    if (atomic_load(&scene->step) == 2)
        exit(0);
}

/* A user that leaves, or ends by exit(), has lost nothing; one that is killed has had a message in flight. */
START_TEST(an_end_is_no_death_but_without_a_word_it_is)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i]));
    struct scene *scene = scene_of(queue);

    for (int way = 1; way <= 3; way++) {
        ck_assert_int_eq(put(queue, way, BROOD_NOW), 0);
        atomic_store(&scene->step, way);
        in_child(get_and_leave, scene);
        ck_assert_uint_eq(brood_queue_lost(queue, NULL), way == 3);
    }
}
END_TEST

static void get_one_and_stay(void *argument)
{
    struct scene *scene = argument;

    ck_assert_int_gt(get(scene->queue, BROOD_FOREVER), 0);
    atomic_store(&scene->step, 1);
    for (;;)
        rest();
}

/* semantics: Q8 */
START_TEST(no_process_reports_for_another_what_its_death_will_report)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i], .joinable = true));
    struct scene *scene = scene_of(queue);
    pid_t pid;

    ck_assert_int_eq(put(queue, 1, BROOD_NOW), 0);
    pid = spawn(get_one_and_stay, scene);
    await(atomic_load(&scene->step) == 1);
    ck_assert_int_eq(brood_queue_task_done(queue), -EPERM);
    ck_assert_int_eq(put(queue, 2, BROOD_NOW), 0);
    put_to_death(pid);
    ck_assert_uint_eq(brood_queue_lost(queue, NULL), 1);
    ck_assert_uint_eq(brood_queue_unfinished(queue), 1);
    ck_assert_int_eq(brood_queue_join(queue, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(get(queue, BROOD_NOW), 2);
    ck_assert_int_eq(brood_queue_task_done(queue), 0);
    ck_assert_int_eq(brood_queue_join(queue, BROOD_NOW), -EOWNERDEAD);
}
END_TEST

enum { OTHERS = 20 };

static struct brood_queue *others[OTHERS];

/* Each queue gives one message, and then all take part again; so each was used since the first message came to hand. */
static void get_from_many_and_die(void *argument)
{
    struct scene *scene = argument;

    ck_assert_int_gt(get(scene->queue, BROOD_NOW), 0);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < OTHERS; i++)
            ck_assert_int_eq(put(others[i], 1, BROOD_NOW), 0);
    for (int i = 0; i < OTHERS; i++)
        ck_assert_int_eq(get(others[i], BROOD_NOW), 1);
    (void)raise(SIGKILL);
}

START_TEST(a_death_is_noticed_in_as_many_queues_as_the_dead_one_had_messages_of)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i], .joinable = true));
    struct scene *scene = scene_of(queue);
    pid_t pid;

    for (int i = 0; i < OTHERS; i++)
        others[i] = open_queue(BROOD_QUEUE(.kind = kinds[_i], .joinable = i % 2 == 0));
    ck_assert_int_eq(put(queue, 1, BROOD_NOW), 0);
    pid = spawn(get_from_many_and_die, scene);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(brood_queue_join(queue, brood_after_ms(LONG_MS)), -EOWNERDEAD);
    ck_assert_uint_eq(brood_queue_lost(queue, NULL), 1);
    for (int i = 0; i < OTHERS; i++) {
        ck_assert_uint_eq(brood_queue_lost(others[i], NULL), 1);
        ck_assert_int_eq(brood_queue_close(others[i]), 0);
    }
}
END_TEST

static int get_and_return(void *context)
{
    struct scene *scene = context;

    return get(scene->queue, brood_after_ms(LONG_MS)) > 0 ? 0 : 1;
}

START_TEST(a_process_that_returns_has_lost_nothing)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i]));
    brood_auto(process) *process = NULL;

    ck_assert_int_eq(put(queue, 1, BROOD_NOW), 0);
    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.run = get_and_return, .context = scene_of(queue))), 0);
    ck_assert_int_eq(brood_process_join(process, brood_after_ms(LONG_MS)), 0);
    ck_assert_uint_eq(brood_queue_size(queue), 0);
    ck_assert_uint_eq(brood_queue_lost(queue, NULL), 0);
}
END_TEST

static struct brood_queue *of_tasks;

BROOD_TASK(get_in_task, int, int)
{
    *result = get(of_tasks, brood_after_ms(*arg));
    return 0;
}

START_TEST(a_worker_that_ends_with_its_pool_has_lost_nothing)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i]));
    brood_auto(pool) *pool = NULL;
    int result = 0;

    of_tasks = queue;
    ck_assert_int_eq(put(queue, 7, BROOD_NOW), 0);
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 1)), 0);
    ck_assert_int_eq(brood_apply(pool, get_in_task, &result, &(int){LONG_MS}), 0);
    ck_assert_int_eq(result, 7);
    ck_assert_int_eq(brood_pool_close(pool, brood_after_ms(LONG_MS)), 0);
    pool = NULL;
    ck_assert_uint_eq(brood_queue_lost(queue, NULL), 0);
}
END_TEST

/* ---- a storm ---- */

/* In a process that may be killed: a check that holds writes a note of it for the runner, which must not be cut off in the middle. */
#define must(what)                                            \
    do {                                                      \
        if (!(what))                                          \
            ck_abort_msg("not %s: %s", #what, brood_error()); \
    } while (0)

enum { PRODUCERS = 3, CONSUMERS = 3, EACH = 1 << 20, BYTES_MAX = 700, STORM_MS_MAX = 1000 };

/* Of each producer, message by message.  A message says whose it is, and which; longer ones end with the same. */
struct storm {
    struct brood_queue *queue;
    _Atomic uint32_t begun[PRODUCERS]; /* the number of the message that it puts; written by it and its successors */
    _Atomic uint8_t put[PRODUCERS][EACH];
    _Atomic uint8_t got[PRODUCERS][EACH]; /* how often */
    _Atomic int torn, stop;
};

struct letter {
    uint32_t producer, number;
};

static size_t length_of(uint32_t number)
{
    return number % 16 == 0 ? 2 * sizeof(struct letter) + number % BYTES_MAX / 8 * 8 : 2 * sizeof(struct letter);
}

static void put_letter(struct storm *storm, struct letter letter, unsigned char *bytes, int way)
{
    size_t length = length_of(letter.number);
    int r;

    memcpy(bytes, &letter, sizeof(letter));
    memcpy(bytes + length - sizeof(letter), &letter, sizeof(letter));
    do
        r = brood_queue_put_priority(storm->queue, (struct brood_bytes){bytes, length}, letter.number % 4,
                                     way == 0 ? BROOD_FOREVER : brood_after_ms(5));
    while (r == -ETIMEDOUT);
    must(r == 0);
    atomic_store(&storm->put[letter.producer][letter.number], 1);
}

static void produce(struct storm *storm, unsigned producer)
{
    unsigned char bytes[BYTES_MAX + 2 * sizeof(struct letter)] = {0};

    while (!atomic_load(&storm->stop)) {
        uint32_t number = atomic_fetch_add(&storm->begun[producer], 1);

        must(number < EACH);
        put_letter(storm, (struct letter){producer, number}, bytes, (int)producer % 2);
    }
}

static void record_message(struct storm *storm, const unsigned char *bytes, size_t length)
{
    struct letter first, last;

    memcpy(&first, bytes, sizeof(first));
    memcpy(&last, bytes + length - sizeof(last), sizeof(last));
    if (memcmp(&first, &last, sizeof(first)) != 0 || first.producer >= PRODUCERS || first.number >= EACH ||
        length != length_of(first.number))
        atomic_fetch_add(&storm->torn, 1);
    else
        atomic_fetch_add(&storm->got[first.producer][first.number], 1);
}

/* Until there is nothing more to come. */
static void consume(struct storm *storm)
{
    unsigned char bytes[BYTES_MAX + 2 * sizeof(struct letter)];

    for (;;) {
        struct brood_space space = {bytes, sizeof(bytes)};
        int r = brood_queue_get(storm->queue, &space, brood_after_ms(20));

        if (r == -ETIMEDOUT)
            continue;
        if (r == -ESHUTDOWN)
            break;
        must(r == 0);
        record_message(storm, bytes, space.len);
        must(brood_queue_task_done(storm->queue) == 0);
    }
    (void)brood_queue_close(storm->queue);
}

static pid_t start(struct storm *storm, unsigned number)
{
    pid_t pid = fork();

    must(pid >= 0);
    if (pid == 0) {
        if (number < PRODUCERS)
            produce(storm, number);
        else
            consume(storm);
        _exit(0);
    }
    return pid;
}

/* Kills one after the other, after up to a millisecond of its life. */
static int kill_at_random(struct storm *storm, pid_t *pids, int64_t until)
{
    int kills = 0;

    while (now_ms() < until) {
        unsigned victim = (unsigned)random() % (PRODUCERS + CONSUMERS);
        struct timespec pause = {.tv_nsec = random() % 1000000};

        (void)nanosleep(&pause, NULL);
        put_to_death(pids[victim]);
        kills++;
        pids[victim] = start(storm, victim);
    }
    return kills;
}

/* What was put, but not noted by any process, was lost on the way; what no process is known to have put may have come or not. */
static void expect_balance(const struct storm *storm, size_t lost, int kills)
{
    size_t put_count = 0, missing = 0, doubled = 0;

    for (int producer = 0; producer < PRODUCERS; producer++) {
        for (int i = 0; i < EACH; i++) {
            put_count += storm->put[producer][i];
            missing += storm->put[producer][i] && !storm->got[producer][i];
            doubled += storm->got[producer][i] > 1;
        }
    }
    printf("put %zu, %d kills, %zu in the hand of the dead, %zu of them not seen, %zu doubled, %d torn\n", put_count, kills,
           lost, missing, doubled, storm->torn);
    ck_assert_uint_gt(put_count, 0);
    ck_assert_uint_eq(doubled, 0);
    ck_assert_int_eq(storm->torn, 0);
    ck_assert_uint_le(missing, lost);
    ck_assert_uint_le(lost, (size_t)kills);
}

static void storm(const struct brood_queue_options *options, int64_t ms)
{
    struct storm *storm = shared_memory(sizeof(*storm));
    pid_t pids[PRODUCERS + CONSUMERS];
    unsigned seed = (unsigned)now_ms();
    int kills, joined;

    storm->queue = open_queue(options);
    srandom(seed);
    for (unsigned i = 0; i < PRODUCERS + CONSUMERS; i++)
        pids[i] = start(storm, i);
    kills = kill_at_random(storm, pids, now_ms() + ms);
    atomic_store(&storm->stop, 1);
    for (int i = 0; i < PRODUCERS; i++)
        join(pids[i]);
    joined = brood_queue_join(storm->queue, brood_after_ms(LONG_MS));
    ck_assert_msg(joined == 0 || joined == -EOWNERDEAD, "seed %u: %s", seed, brood_error());
    ck_assert_int_eq(brood_queue_shutdown(storm->queue, false), 0);
    for (int i = PRODUCERS; i < PRODUCERS + CONSUMERS; i++)
        join(pids[i]);
    ck_assert_uint_eq(brood_queue_size(storm->queue), 0);
    expect_balance(storm, brood_queue_lost(storm->queue, NULL), kills);
    ck_assert_int_eq(brood_queue_close(storm->queue), 0);
    munmap(storm, sizeof(*storm));
}

static int64_t storm_ms = 300;

static const struct brood_queue_options storms[] = {
    {.size = sizeof(struct brood_queue_options), .bound = 16, .joinable = true},
    {.size = sizeof(struct brood_queue_options), .joinable = true},
    {.size = sizeof(struct brood_queue_options), .kind = BROOD_LIFO, .bound = 50, .joinable = true},
    {.size = sizeof(struct brood_queue_options), .kind = BROOD_PRIORITY, .bound = 50, .joinable = true},
};
enum { STORMS = sizeof(storms) / sizeof(storms[0]) };

START_TEST(a_storm_of_kills_loses_only_what_was_in_the_hand_of_the_dead)
{
    int64_t end = now_ms() + storm_ms;

    /* Each one ends before its producers run out of numbers. */
    for (int64_t left = storm_ms; left > 0; left = end - now_ms())
        storm(&storms[_i], left < STORM_MS_MAX ? left : STORM_MS_MAX);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queues and deaths");
    bool is_long = argc == 3 && strcmp(argv[1], "--seconds") == 0;

    if (is_long)
        storm_ms = strtol(argv[2], NULL, 10) * 1000 / STORMS;
    else
        add_loop_tests(suite, "deaths", 0, KINDS, a_killed_sleeping_consumer_disturbs_no_other,
                       a_getter_that_is_killed_after_it_was_woken_leaves_the_message_to_another,
                       a_sleeping_putter_is_killed_and_its_message_was_never_there,
                       a_join_ends_and_tells_when_what_is_unfinished_was_lost,
                       a_join_hears_of_the_death_of_a_sleeper_with_a_message_in_flight,
                       an_end_is_no_death_but_without_a_word_it_is,
                       no_process_reports_for_another_what_its_death_will_report,
                       a_death_is_noticed_in_as_many_queues_as_the_dead_one_had_messages_of,
                       a_process_that_returns_has_lost_nothing, a_worker_that_ends_with_its_pool_has_lost_nothing, NULL);
    if (!is_long)
        add_tests(suite, "looks", getters_do_not_look_at_sleepers_with_a_message_in_flight, NULL);
    add_loop_tests(suite, "storms", 0, STORMS, a_storm_of_kills_loses_only_what_was_in_the_hand_of_the_dead, NULL);
    return run_suite(suite);
}
