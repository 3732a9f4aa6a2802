/* check_queue.c - what a queue does, between threads and between processes: orders, bounds, waiting, shutting down.
 *
 *     check_queue --threads     only what keeps to one process: for ThreadSanitizer, which does not follow shared memory
 */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>

#include "os/clock.h"
#include "peer.h"
#include "sync/queue/queue_member.h"
#include "sync/queue/queue_store.h"
#include "sync/queue/queue_wake.h"

enum { SHORT_MS = 30, LONG_MS = 60000 };

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

static void expect_put(struct brood_queue *queue, int value)
{
    ck_assert_msg(put(queue, value, BROOD_NOW) == 0, "%d: %s", value, brood_error());
}

/* The value, or a negative errno. */
static int get(struct brood_queue *queue, brood_deadline deadline)
{
    int value = -1;
    struct brood_space space = {&value, sizeof(value)};
    int r = brood_queue_get(queue, &space, deadline);

    ck_assert(r < 0 || space.len == sizeof(value));
    return r < 0 ? r : value;
}

static void expect_get(struct brood_queue *queue, int value)
{
    int got = get(queue, BROOD_NOW);

    ck_assert_msg(got == value, "%d instead of %d", got, value);
}

/* ---- orders ---- */

static const struct brood_queue_options all_kinds[] = {
    {.size = sizeof(struct brood_queue_options), .kind = BROOD_FIFO, .bound = 64},
    {.size = sizeof(struct brood_queue_options), .kind = BROOD_FIFO},
    {.size = sizeof(struct brood_queue_options), .kind = BROOD_FIFO, .bound = 5},
    {.size = sizeof(struct brood_queue_options), .kind = BROOD_LIFO, .bound = 64},
    {.size = sizeof(struct brood_queue_options), .kind = BROOD_LIFO},
    {.size = sizeof(struct brood_queue_options), .kind = BROOD_PRIORITY, .bound = 64},
    {.size = sizeof(struct brood_queue_options), .kind = BROOD_PRIORITY},
};
enum { ALL_KINDS = sizeof(all_kinds) / sizeof(all_kinds[0]) };

/* semantics: Q1 */
START_TEST(messages_come_out_in_the_order_of_the_kind)
{
    static const int priorities[] = {5, -2, 9, 5, INT_MIN};
    static const int orders[][5] = {{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {4, 1, 0, 3, 2}};
    brood_auto(queue) *queue = open_queue(&all_kinds[_i]);

    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(brood_queue_put_priority(queue, (struct brood_bytes){&i, sizeof(i)}, priorities[i], BROOD_NOW), 0);
    for (int i = 0; i < 5; i++)
        expect_get(queue, orders[all_kinds[_i].kind][i]);
    ck_assert_int_eq(get(queue, BROOD_NOW), -EAGAIN);
}
END_TEST

/* semantics: Q1 */
START_TEST(many_priorities_come_out_sorted_and_equal_ones_in_order_of_insertion)
{
    enum { COUNT = 2000 };
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = BROOD_PRIORITY));
    int last = -1;

    for (int i = 0; i < COUNT; i++) {
        int value = i * 7919 % 50 * COUNT + i;

        ck_assert_int_eq(
            brood_queue_put_priority(queue, (struct brood_bytes){&value, sizeof(value)}, value / COUNT, BROOD_NOW), 0);
    }
    for (int i = 0; i < COUNT; i++) {
        int value = get(queue, BROOD_NOW);

        ck_assert_int_gt(value, last);
        last = value;
    }
}
END_TEST

/* semantics: Q2 */
START_TEST(a_queue_without_a_bound_grows_and_keeps_its_order)
{
    enum { COUNT = 20000 };
    brood_auto(queue) *queue = open_queue(NULL);
    int next = 0;

    for (int i = 0; i < COUNT; i++) {
        expect_put(queue, i);
        if (i % 7 == 0)
            expect_get(queue, next++);
    }
    ck_assert(!brood_queue_full(queue));
    ck_assert_uint_eq(brood_queue_size(queue), (size_t)(COUNT - next));
    while (next < COUNT)
        expect_get(queue, next++);
    ck_assert(brood_queue_empty(queue));
    expect_put(queue, 1);
    expect_get(queue, 1);
}
END_TEST

/* semantics: Q2 Q14 */
START_TEST(size_counts_what_was_put_and_not_got)
{
    brood_auto(queue) *queue = open_queue(&all_kinds[_i]);

    ck_assert(brood_queue_empty(queue));
    for (size_t i = 0; i < 5; i++) {
        ck_assert_uint_eq(brood_queue_size(queue), i);
        expect_put(queue, (int)i);
    }
    ck_assert_uint_eq(brood_queue_size(queue), 5);
    ck_assert(!brood_queue_empty(queue));
    ck_assert_int_eq(brood_queue_full(queue), all_kinds[_i].bound == 5);
    ck_assert_int_ge(get(queue, BROOD_NOW), 0);
    ck_assert_uint_eq(brood_queue_size(queue), 4);
    ck_assert(!brood_queue_full(queue));
}
END_TEST

/* ---- bounds and time-outs ---- */

static const enum brood_queue_kind kinds[] = {BROOD_FIFO, BROOD_LIFO, BROOD_PRIORITY};

/* semantics: Q3 Q4 Q5 Q6 Q10 K19 */
START_TEST(a_full_queue_and_an_empty_one_say_so_at_once_or_at_the_deadline)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i], .bound = 3));
    int64_t begin;

    for (int i = 0; i < 3; i++)
        expect_put(queue, i);
    ck_assert_int_eq(put(queue, 3, BROOD_NOW), -EAGAIN);
    ck_assert_str_ne(brood_error(), "");
    ck_assert_int_eq(put(queue, 3, brood_after_ms(-1)), -EAGAIN);
    begin = now_ms();
    ck_assert_int_eq(put(queue, 3, brood_after_ms(SHORT_MS)), -ETIMEDOUT);
    ck_assert_int_ge(now_ms() - begin, SHORT_MS - 1);
    ck_assert_uint_eq(brood_queue_size(queue), 3);
    ck_assert_uint_eq(brood_queue_unfinished(queue), 3);

    for (int i = 0; i < 3; i++)
        expect_get(queue, kinds[_i] == BROOD_LIFO ? 2 - i : i);
    ck_assert_int_eq(get(queue, BROOD_NOW), -EAGAIN);
    ck_assert_str_ne(brood_error(), "");
    ck_assert_int_eq(get(queue, brood_after_ms(INT64_MIN)), -EAGAIN);
    begin = now_ms();
    ck_assert_int_eq(get(queue, brood_after_ms(SHORT_MS)), -ETIMEDOUT);
    ck_assert_int_ge(now_ms() - begin, SHORT_MS - 1);
    ck_assert_uint_eq(brood_queue_unfinished(queue), 3);
}
END_TEST

/* semantics: Q3 K19 */
START_TEST(a_deadline_does_not_matter_where_no_wait_is_needed)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i], .bound = 3));

    ck_assert_int_eq(put(queue, 1, brood_after_ms(INT64_MAX)), 0);
    ck_assert_int_eq(put(queue, 2, (brood_deadline){INT64_MAX - 1}), 0);
    ck_assert_int_eq(put(queue, 3, (brood_deadline){INT64_MIN}), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_gt(get(queue, (brood_deadline){i - 1}), 0);
}
END_TEST

/* semantics: Q7 */
START_TEST(a_bound_below_what_is_there_keeps_it_full_until_it_is_drained)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i], .bound = 10));

    for (int i = 0; i < 8; i++)
        expect_put(queue, i);
    ck_assert_int_eq(brood_queue_set_bound(queue, 3), 0);
    ck_assert_uint_eq(brood_queue_bound(queue), 3);
    for (int left = 8; left >= 3; left--) {
        ck_assert(brood_queue_full(queue));
        ck_assert_int_eq(put(queue, 100, BROOD_NOW), -EAGAIN);
        ck_assert_int_ge(get(queue, BROOD_NOW), 0);
    }
    expect_put(queue, 100);
    ck_assert_int_eq(put(queue, 100, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_queue_set_bound(queue, 0), 0);
    for (int i = 0; i < 3000; i++)
        expect_put(queue, 101 + i);
    ck_assert_uint_eq(brood_queue_size(queue), 3003);
    ck_assert_int_eq(brood_queue_set_bound(queue, 3003), 0);
    ck_assert_int_eq(put(queue, 100, BROOD_NOW), -EAGAIN);
}
END_TEST

/* ---- messages of any size ---- */

static void fill(unsigned char *bytes, size_t count, unsigned seed)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (unsigned char)(seed + i * 31 + (i >> 8));
}

static void expect_filled(const unsigned char *bytes, size_t count, unsigned seed)
{
    size_t i = 0;

    while (i < count && bytes[i] == (unsigned char)(seed + i * 31 + (i >> 8)))
        i++;
    ck_assert_msg(i == count, "byte %zu of %zu", i, count);
}

START_TEST(messages_have_any_size)
{
    static const size_t sizes[] = {0, 1, 7, 8, 9, 56, 57, 232, 233, 256, 4079, 4080, 4094, 4095, 4096, 100000, 3000000};
    enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };
    brood_auto(queue) *queue = open_queue(&all_kinds[_i]);
    unsigned char *bytes = malloc(sizes[SIZES - 1]);
    bool is_lifo = all_kinds[_i].kind == BROOD_LIFO;

    for (int from = 0; from < SIZES; from += 5) {
        int count = from + 5 < SIZES ? 5 : SIZES - from;

        for (int i = from; i < from + count; i++) {
            fill(bytes, sizes[i], (unsigned)i);
            ck_assert_msg(brood_queue_put(queue, (struct brood_bytes){bytes, sizes[i]}, BROOD_NOW) == 0, "%s",
                          brood_error());
        }
        for (int n = 0; n < count; n++) {
            int i = is_lifo ? from + count - 1 - n : from + n;
            struct brood_space space = {bytes, sizes[i]};

            ck_assert_int_eq(brood_queue_get(queue, &space, BROOD_NOW), 0);
            ck_assert_uint_eq(space.len, sizes[i]);
            expect_filled(bytes, sizes[i], (unsigned)i);
        }
    }
    free(bytes);
}
END_TEST

START_TEST(a_message_that_is_too_long_stays_and_says_its_size)
{
    static const size_t sizes[] = {10, 100, 5000};
    brood_auto(queue) *queue = open_queue(&all_kinds[_i]);
    unsigned char bytes[5000];

    for (size_t i = 0; i < 3; i++) {
        struct brood_space space = {bytes, sizes[i] - 1};

        fill(bytes, sizes[i], 3);
        ck_assert_int_eq(brood_queue_put(queue, (struct brood_bytes){bytes, sizes[i]}, BROOD_NOW), 0);
        memset(bytes, 0, sizeof(bytes));
        ck_assert_int_eq(brood_queue_get(queue, &space, BROOD_NOW), -EMSGSIZE);
        ck_assert_uint_eq(space.len, sizes[i]);
        ck_assert_uint_eq(bytes[0], 0);
        ck_assert_uint_eq(brood_queue_size(queue), 1);
        ck_assert_int_eq(brood_queue_get(queue, &space, BROOD_NOW), 0);
        expect_filled(bytes, sizes[i], 3);
    }
}
END_TEST

START_TEST(the_size_of_the_next_message_is_told_and_the_message_stays)
{
    static const size_t sizes[] = {0, 10, 100, 5000};
    brood_auto(queue) *queue = open_queue(&all_kinds[_i]);
    unsigned char bytes[5000];
    size_t size = 77;

    ck_assert_int_eq(brood_queue_next_size(NULL, &size, BROOD_NOW), -EBADF);
    ck_assert_int_eq(brood_queue_next_size(queue, &size, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_queue_next_size(queue, &size, brood_after_ms(5)), -ETIMEDOUT);
    ck_assert_uint_eq(size, 77);
    for (size_t i = 0; i < 4; i++) {
        struct brood_space space = {bytes, sizeof(bytes)};

        fill(bytes, sizes[i], 3);
        ck_assert_int_eq(brood_queue_put(queue, (struct brood_bytes){bytes, sizes[i]}, BROOD_NOW), 0);
        for (int again = 0; again < 2; again++) {
            ck_assert_int_eq(brood_queue_next_size(queue, &size, BROOD_FOREVER), 0);
            ck_assert_uint_eq(size, sizes[i]);
        }
        ck_assert_uint_eq(brood_queue_size(queue), 1);
        ck_assert_int_eq(brood_queue_get(queue, &space, BROOD_NOW), 0);
        ck_assert_uint_eq(space.len, sizes[i]);
    }
    ck_assert_int_eq(brood_queue_shutdown(queue, false), 0);
    ck_assert_int_eq(brood_queue_next_size(queue, &size, BROOD_NOW), -ESHUTDOWN);
}
END_TEST

START_TEST(blocks_are_used_again)
{
    enum { ROUNDS = 3000, BYTES = 3000 };
    brood_auto(queue) *queue =
        open_queue(BROOD_QUEUE(.kind = kinds[_i], .memory_bytes = (size_t)64 << 10, .message_bytes = 8));
    unsigned char bytes[BYTES];
    struct brood_space space = {bytes, sizeof(bytes)};

    for (unsigned i = 0; i < ROUNDS; i++) {
        fill(bytes, sizeof(bytes), i);
        ck_assert_msg(brood_queue_put(queue, (struct brood_bytes){bytes, sizeof(bytes)}, BROOD_NOW) == 0, "round %u: %s", i,
                      brood_error());
        if (i % 3 == 0)
            continue;
        ck_assert_int_eq(brood_queue_get(queue, &space, BROOD_NOW), 0);
        if (i % 3 == 2 && brood_queue_size(queue) > 0)
            ck_assert_int_eq(brood_queue_get(queue, &space, BROOD_NOW), 0);
    }
}
END_TEST

START_TEST(a_queue_that_is_out_of_memory_says_so_and_goes_on)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i], .memory_bytes = (size_t)64 << 10));
    unsigned char bytes[30000];
    struct brood_space space = {bytes, sizeof(bytes)};
    struct brood_bytes message = {bytes, sizeof(bytes)};

    memset(bytes, 1, sizeof(bytes));
    ck_assert_int_eq(brood_queue_put(queue, message, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_queue_put(queue, message, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_queue_put(queue, message, BROOD_FOREVER), -ENOSPC);
    ck_assert_ptr_nonnull(strstr(brood_error(), "memory_bytes"));
    ck_assert_uint_eq(brood_queue_unfinished(queue), 2);
    ck_assert_int_eq(brood_queue_get(queue, &space, BROOD_NOW), 0);
    ck_assert_int_eq(brood_queue_put(queue, message, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_queue_put(queue, (struct brood_bytes){bytes, SIZE_MAX}, BROOD_NOW), -ENOSPC);
    ck_assert_uint_eq(brood_queue_size(queue), 2);
}
END_TEST

START_TEST(batches_take_what_there_is)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i], .bound = 10));
    struct brood_bytes messages[16];
    struct brood_space spaces[16];
    int values[16], got[16];
    size_t count = 99;

    for (int i = 0; i < 16; i++) {
        values[i] = i;
        messages[i] = (struct brood_bytes){&values[i], sizeof(values[i])};
        spaces[i] = (struct brood_space){&got[i], sizeof(got[i])};
    }
    ck_assert_int_eq(brood_queue_get_many(queue, spaces, 16, &count, BROOD_NOW), -EAGAIN);
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(brood_queue_put_many(queue, messages, 16, &count, BROOD_NOW), 0);
    ck_assert_uint_eq(count, 10);
    ck_assert_int_eq(brood_queue_put_many(queue, messages, 16, &count, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_queue_get_many(queue, spaces, 4, &count, BROOD_NOW), 0);
    ck_assert_uint_eq(count, 4);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(got[i], kinds[_i] == BROOD_LIFO ? 9 - i : i);
    ck_assert_int_eq(brood_queue_get_many(queue, spaces, 16, &count, BROOD_FOREVER), 0);
    ck_assert_uint_eq(count, 6);
    ck_assert_int_eq(brood_queue_get_many(queue, spaces, 0, &count, BROOD_FOREVER), 0);
}
END_TEST

/* ---- threads and processes ---- */

struct scene {
    struct brood_queue *queue;
    int each; /* messages a peer */
    _Atomic int got, sum, outcome, started, order, step;
};

static struct scene *scene_of(struct brood_queue *queue)
{
    struct scene *scene = shared_memory(sizeof(*scene));

    scene->queue = queue;
    return scene;
}

/* Ways to wait. */
static int put_somehow(struct brood_queue *queue, int value, int way)
{
    int r;

    switch (way % 3) {
    case 0:
        return put(queue, value, BROOD_FOREVER);
    case 1:
        while ((r = put(queue, value, BROOD_NOW)) == -EAGAIN)
            (void)sched_yield();
        return r;
    default:
        while ((r = put(queue, value, brood_after_ms(1))) == -ETIMEDOUT)
            ;
        return r;
    }
}

static int get_somehow(struct brood_queue *queue, int way)
{
    int r;

    switch (way % 3) {
    case 0:
        return get(queue, BROOD_FOREVER);
    case 1:
        while ((r = get(queue, BROOD_NOW)) == -EAGAIN)
            (void)sched_yield();
        return r;
    default:
        while ((r = get(queue, brood_after_ms(1))) == -ETIMEDOUT)
            ;
        return r;
    }
}

static void produce(void *argument)
{
    struct scene *scene = argument;
    int number = atomic_fetch_add(&scene->started, 1);

    for (int i = 1; i <= scene->each; i++)
        ck_assert_int_eq(put_somehow(scene->queue, number << 20 | i, number), 0);
}

/* Of what one producer puts, each consumer gets what it gets in order, if the queue is one that keeps it. */
static void consume(void *argument)
{
    struct scene *scene = argument;
    int way = atomic_fetch_add(&scene->order, 1) % 3, last[64] = {0}, value;

    while ((value = get_somehow(scene->queue, way)) >= 0) {
        if (scene->queue->kind == BROOD_FIFO)
            ck_assert_int_gt(value & 0xfffff, last[value >> 20]);
        last[value >> 20] = value & 0xfffff;
        atomic_fetch_add(&scene->got, 1);
        atomic_fetch_add(&scene->sum, value & 0xfffff);
        ck_assert_int_eq(brood_queue_task_done(scene->queue), 0);
    }
    ck_assert_int_eq(value, -ESHUTDOWN);
}

static void many_to_many(int peers_kind, const struct brood_queue_options *options)
{
    enum { SIDES = 4 };
    brood_auto(queue) *queue = open_queue(options);
    struct scene *scene = scene_of(queue);
    struct peer producers[SIDES], consumers[SIDES];

    scene->each = 500;
    start_peers(consumers, SIDES, peers_kind, consume, scene);
    start_peers(producers, SIDES, peers_kind, produce, scene);
    join_peers(producers, SIDES);
    ck_assert_msg(brood_queue_join(queue, BROOD_FOREVER) == 0, "%s", brood_error());
    ck_assert_int_eq(scene->got, SIDES * scene->each);
    ck_assert_int_eq(scene->sum, SIDES * scene->each * (scene->each + 1) / 2);
    ck_assert_int_eq(brood_queue_shutdown(queue, false), 0);
    join_peers(consumers, SIDES);
    ck_assert_uint_eq(brood_queue_lost(queue, NULL), 0);
}

/* Loops over kinds of queues and of peers. */
static int peer_kinds = KINDS;
#define PEERS (_i % peer_kinds)
#define WHICH (_i / peer_kinds)

/* semantics: Q9 Q16 Q17 Q19 */
START_TEST(many_producers_and_consumers_lose_and_double_nothing)
{
    many_to_many(PEERS, &all_kinds[WHICH]);
}
END_TEST

static void get_one_later(void *argument)
{
    struct scene *scene = argument;

    atomic_store(&scene->started, 1);
    atomic_store(&scene->outcome, get(scene->queue, brood_after_ms(LONG_MS)));
}

START_TEST(a_put_wakes_a_waiting_consumer)
{
    brood_auto(queue) *queue = open_queue(&all_kinds[WHICH]);
    struct scene *scene = scene_of(queue);
    struct peer peer = start_peer(PEERS, get_one_later, scene);

    await(is_asleep(peer.pid));
    expect_put(queue, 7);
    join_peer(&peer);
    ck_assert_int_eq(scene->outcome, 7);
}
END_TEST

enum { PAIRS_MS = 100, PAIRS_SIDES = 4, PATIENCE_MS = 40 };

/* Whatever the others do, there is a message after one's own put, and room after one's own get. */
static void put_and_get_at_once(void *argument)
{
    struct scene *scene = argument;
    int64_t end = now_ms() + PAIRS_MS;
    int calls = 0, failures = 0;

    for (; now_ms() < end; calls++) {
        if (put(scene->queue, calls, BROOD_NOW) != 0) {
            failures++;
        } else if (get(scene->queue, BROOD_NOW) < 0) {
            failures++;
            ck_assert_int_ge(get(scene->queue, brood_after_ms(LONG_MS)), 0); /* or it would fill up, and be full in truth */
        }
    }
    atomic_fetch_add(&scene->got, calls);
    atomic_fetch_add(&scene->outcome, failures);
}

/* But for a process that waits for one that does not run for longer than its patience, as may be on a crowded machine. */
START_TEST(one_is_not_told_that_a_queue_is_empty_or_full_while_it_is_not)
{
    brood_auto(queue) *queue = open_queue(&all_kinds[WHICH]);
    struct scene *scene = scene_of(queue);
    struct peer peers[PAIRS_SIDES];

    start_peers(peers, PAIRS_SIDES, PEERS, put_and_get_at_once, scene);
    join_peers(peers, PAIRS_SIDES);
    ck_assert_msg(scene->outcome <= scene->got / 100 + PAIRS_SIDES * (PAIRS_MS / PATIENCE_MS + 1), "%d of %d",
                  scene->outcome, scene->got);
}
END_TEST

START_TEST(a_caller_that_is_blocked_gets_an_error_that_says_so)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.bound = 4));
    struct brood_ring *ring = queue_ring(queue);
    uint64_t position = 0;
    struct ring_slot *slot = ring_put_begin(ring, BROOD_QUEUE_USERS_MAX, 0, &position); /* a process that is stopped */

    expect_put(queue, 2);
    ck_assert_int_eq(get(queue, BROOD_NOW), -EAGAIN);
    ck_assert_ptr_nonnull(strstr(brood_error(), "in the middle of a call"));
    ck_assert_int_eq(get(queue, brood_after_ms(SHORT_MS)), -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(brood_error(), "in the middle of a call"));
    memcpy(slot->message, &(int){1}, sizeof(int));
    ring_put_end(ring, BROOD_QUEUE_USERS_MAX, slot, sizeof(int), position);
    expect_get(queue, 1);
    expect_get(queue, 2);
    ck_assert_int_eq(get(queue, BROOD_NOW), -EAGAIN);
    ck_assert_ptr_nonnull(strstr(brood_error(), "empty"));
}
END_TEST

/* ---- one that is stopped in the middle of a call ---- */

enum { TRIES = 5, SOON_MS = 25, GROWTH_BYTES = 100000 };

static void stop_with_lock(void *argument)
{
    struct brood_queue *queue = argument;

    ck_assert_int_eq(queue_store_lock(queue, BROOD_FOREVER), 0);
    ck_assert_int_eq(raise(SIGSTOP), 0);
    brood__queue_unlock(queue);
}

static void stop_while_writing(void *argument)
{
    struct brood_queue *queue = argument;
    unsigned me = (unsigned)queue_me(queue, BROOD_NOW);
    uint64_t position = 0;
    struct ring_slot *slot = ring_put_begin(queue_ring(queue), me, 0, &position);

    memcpy(slot->message, &(int){1}, sizeof(int));
    ck_assert_int_eq(raise(SIGSTOP), 0);
    ring_put_end(queue_ring(queue), me, slot, sizeof(int), position);
}

static pid_t spawn_and_stop(void (*body)(void *), struct brood_queue *queue)
{
    pid_t pid = spawn(body, queue);
    int status;

    ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
    ck_assert(WIFSTOPPED(status));
    return pid;
}

static void let_go(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGCONT), 0);
    join(pid);
}

static int put_long_or_short(struct brood_queue *queue, brood_deadline deadline)
{
    static char message[GROWTH_BYTES];

    return brood_queue_put(queue, (struct brood_bytes){message, queue->kind == BROOD_FIFO ? sizeof(message) : 4}, deadline);
}

static int get_one_of(struct brood_queue *queue, brood_deadline deadline)
{
    return get(queue, deadline);
}

/* It ends as said, and, the quickest of some tries on a busy machine, not much later than its deadline. */
static void expect_held_up(struct brood_queue *queue, int (*call)(struct brood_queue *, brood_deadline), int64_t ms)
{
    int64_t least = INT64_MAX;

    for (int i = 0; i < TRIES; i++) {
        int64_t begin = now_ms();
        int r = call(queue, ms > 0 ? brood_after_ms(ms) : BROOD_NOW);

        ck_assert_msg(r == (ms > 0 ? -ETIMEDOUT : -EAGAIN), "%d: %s", r, brood_error());
        least = now_ms() - begin < least ? now_ms() - begin : least;
    }
    ck_assert_msg(least <= ms + SOON_MS, "%d ms instead of %d", (int)least, (int)ms);
}

static int join_it(struct brood_queue *queue, brood_deadline deadline)
{
    return brood_queue_join(queue, deadline);
}

START_TEST(deadlines_are_kept_while_another_participant_is_stopped_with_the_lock)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i], .joinable = true));
    pid_t pid;

    expect_put(queue, 1);
    pid = spawn_and_stop(stop_with_lock, queue);
    for (int64_t ms = 0; ms <= 10; ms += 10) {
        expect_held_up(queue, put_long_or_short, ms);
        ck_assert_ptr_nonnull(strstr(brood_error(), "in the middle of a call"));
        expect_held_up(queue, join_it, ms);
        if (kinds[_i] != BROOD_FIFO)
            expect_held_up(queue, get_one_of, ms);
    }
    ck_assert_int_eq(brood_queue_task_done(queue), -EAGAIN);
    ck_assert_ptr_nonnull(strstr(brood_error(), "in the middle of a call"));
    ck_assert_int_eq(brood_queue_set_bound(queue, 100), 0);
    let_go(pid);
    ck_assert_int_eq(put_long_or_short(queue, BROOD_NOW), 0);
    ck_assert_uint_eq(brood_queue_size(queue), 2);
}
END_TEST

START_TEST(deadlines_are_kept_while_another_participant_is_stopped_in_a_put)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.bound = 4));
    pid_t pid = spawn_and_stop(stop_while_writing, queue);

    expect_put(queue, 2);
    for (int64_t ms = 0; ms <= 10; ms += 10) {
        expect_held_up(queue, get_one_of, ms);
        ck_assert_ptr_nonnull(strstr(brood_error(), "in the middle of a call"));
    }
    let_go(pid);
    expect_get(queue, 1);
    expect_get(queue, 2);
}
END_TEST

/* A process that waits without a deadline for the lock of one that is stopped sees that the queue is shut down meanwhile. */
START_TEST(a_shutdown_ends_a_wait_for_one_that_is_stopped)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = BROOD_LIFO));
    struct scene *scene = scene_of(queue);
    struct peer getter;
    pid_t pid;

    expect_put(queue, 1);
    pid = spawn_and_stop(stop_with_lock, queue);
    getter = start_peer(PROCESSES, get_one_later, scene);
    await(is_asleep(getter.pid));
    ck_assert_int_eq(brood_queue_shutdown(queue, true), 0);
    join_peer(&getter);
    ck_assert_int_eq(scene->outcome, -ESHUTDOWN);
    let_go(pid);
    ck_assert_int_eq(get(queue, BROOD_NOW), -ESHUTDOWN);
    ck_assert_int_eq(brood_queue_join(queue, brood_after_ms(LONG_MS)), 0);
}
END_TEST

static void put_one_later(void *argument)
{
    struct scene *scene = argument;

    atomic_store(&scene->outcome, put(scene->queue, 4, brood_after_ms(LONG_MS)));
}

START_TEST(a_get_wakes_a_producer_that_waits_for_room)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[WHICH], .bound = 3));
    struct scene *scene = scene_of(queue);
    struct peer peer;

    for (int i = 1; i <= 3; i++)
        expect_put(queue, i);
    peer = start_peer(PEERS, put_one_later, scene);
    await(is_asleep(peer.pid));
    ck_assert_int_gt(get(queue, BROOD_NOW), 0);
    join_peer(&peer);
    ck_assert_int_eq(scene->outcome, 0);
    ck_assert_uint_eq(brood_queue_size(queue), 3);
}
END_TEST

START_TEST(a_larger_bound_wakes_producers_that_wait_for_room)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[WHICH], .bound = 1));
    struct scene *scene = scene_of(queue);
    struct peer peer;

    expect_put(queue, 1);
    peer = start_peer(PEERS, put_one_later, scene);
    await(is_asleep(peer.pid));
    ck_assert_int_eq(brood_queue_set_bound(queue, 2), 0);
    join_peer(&peer);
    ck_assert_int_eq(scene->outcome, 0);
}
END_TEST

/* semantics: Q11 K18 */
START_TEST(what_was_put_before_a_fork_and_in_the_child_arrives)
{
    brood_auto(queue) *queue = open_queue(&all_kinds[_i]);
    int sum = 0;
    pid_t pid;

    expect_put(queue, 1);
    expect_put(queue, 2);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        _exit(put(queue, 4, BROOD_NOW) == 0 && put(queue, 8, BROOD_NOW) == 0 && brood_queue_close(queue) == 0 ? 0 : 1);
    }
    for (int i = 0; i < 4; i++)
        sum += get(queue, brood_after_ms(LONG_MS));
    join(pid);
    ck_assert_int_eq(sum, 15);
    ck_assert_uint_eq(brood_queue_unfinished(queue), 4);
    expect_put(queue, 16);
    expect_get(queue, 16);
}
END_TEST

/* ---- task_done and join ---- */

/* semantics: Q8 K19 */
START_TEST(done_too_often_is_refused_and_join_can_be_used_again)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i], .joinable = true));

    ck_assert_int_eq(brood_queue_task_done(queue), -EOVERFLOW);
    ck_assert_int_eq(brood_queue_join(queue, BROOD_NOW), 0);
    for (int round = 0; round < 2; round++) {
        expect_put(queue, 1);
        expect_put(queue, 2);
        ck_assert_int_eq(brood_queue_join(queue, BROOD_NOW), -EAGAIN);
        ck_assert_int_gt(get(queue, BROOD_NOW), 0);
        ck_assert_int_gt(get(queue, BROOD_NOW), 0);
        ck_assert_int_eq(brood_queue_task_done(queue), 0);
        ck_assert_int_eq(brood_queue_join(queue, brood_after_ms(SHORT_MS)), -ETIMEDOUT);
        ck_assert_uint_eq(brood_queue_unfinished(queue), 1);
        ck_assert_int_eq(brood_queue_task_done(queue), 0);
        ck_assert_int_eq(brood_queue_join(queue, BROOD_FOREVER), 0);
        ck_assert_int_eq(brood_queue_task_done(queue), -EOVERFLOW);
    }
}
END_TEST

/* Each message in hand is counted: one that is not would be missed neither by a join nor when its thread dies. */
START_TEST(a_hand_that_is_full_is_given_nothing_and_all_in_it_is_counted)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[_i], .joinable = true));
    static int got[BROOD_QUEUE_HAND_MAX + 10];
    static struct brood_space spaces[BROOD_QUEUE_HAND_MAX + 10];
    enum { MESSAGES = BROOD_QUEUE_HAND_MAX + 10 };
    size_t count = 0;

    for (int i = 0; i < MESSAGES; i++) {
        expect_put(queue, i);
        spaces[i] = (struct brood_space){&got[i], sizeof(got[i])};
    }
    ck_assert_int_ge(get(queue, BROOD_NOW), 0);
    ck_assert_int_eq(brood_queue_get_many(queue, spaces, MESSAGES, &count, BROOD_NOW), 0);
    ck_assert_uint_eq(count, BROOD_QUEUE_HAND_MAX - 1);
    ck_assert_int_eq(get(queue, BROOD_FOREVER), -EOVERFLOW);
    ck_assert_ptr_nonnull(strstr(brood_error(), "task_done"));
    ck_assert_uint_eq(brood_queue_size(queue), 10);
    ck_assert_int_eq(brood_queue_task_done(queue), 0);
    ck_assert_int_ge(get(queue, BROOD_NOW), 0);
    ck_assert_int_eq(brood_queue_shutdown(queue, true), 0);
    ck_assert_uint_eq(brood_queue_unfinished(queue), BROOD_QUEUE_HAND_MAX);
    for (int i = 0; i < BROOD_QUEUE_HAND_MAX; i++)
        ck_assert_int_eq(brood_queue_task_done(queue), 0);
    ck_assert_int_eq(brood_queue_task_done(queue), -EOVERFLOW);
    ck_assert_int_eq(brood_queue_join(queue, BROOD_NOW), 0);
}
END_TEST

static void get_only(void *argument)
{
    expect_get(argument, 1);
}

/* semantics: Q8 */
START_TEST(the_receiver_of_a_message_says_that_it_is_done_or_any_process_when_the_receiver_has_left)
{
    struct brood_queue_options options = all_kinds[WHICH];
    brood_auto(queue) *queue = NULL;
    struct peer peer;

    options.joinable = true;
    queue = open_queue(&options);
    expect_put(queue, 1);
    ck_assert_int_eq(brood_queue_task_done(queue), -EPERM);
    ck_assert_str_ne(brood_error(), "");
    peer = start_peer(PEERS, get_only, queue);
    join_peer(&peer);
    ck_assert_int_eq(brood_queue_join(queue, BROOD_NOW), PEERS == THREADS ? -EAGAIN : -EOWNERDEAD);
    ck_assert_int_eq(brood_queue_task_done(queue), PEERS == THREADS ? 0 : -EOVERFLOW);
    ck_assert_int_eq(brood_queue_join(queue, BROOD_NOW), 0);
}
END_TEST

static void join_later(void *argument)
{
    struct scene *scene = argument;

    atomic_store(&scene->outcome, brood_queue_join(scene->queue, brood_after_ms(LONG_MS)) + 1);
}

/* semantics: Q8 */
START_TEST(the_last_message_done_wakes_the_joiner)
{
    brood_auto(queue) *queue = open_queue(&all_kinds[WHICH]);
    struct scene *scene = scene_of(queue);
    struct peer peer;

    expect_put(queue, 1);
    peer = start_peer(PEERS, join_later, scene);
    await(is_asleep(peer.pid));
    expect_get(queue, 1);
    ck_assert_int_eq(brood_queue_task_done(queue), 0);
    join_peer(&peer);
    ck_assert_int_eq(scene->outcome, 1);
}
END_TEST

/* ---- shutting down ---- */

/* semantics: Q17 Q20 */
START_TEST(a_queue_that_is_shut_down_takes_nothing_and_gives_what_is_left)
{
    brood_auto(queue) *queue = open_queue(&all_kinds[_i]);

    expect_put(queue, 1);
    expect_put(queue, 2);
    ck_assert(!brood_queue_is_shut_down(queue));
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(brood_queue_shutdown(queue, false), 0);
    ck_assert(brood_queue_is_shut_down(queue));
    ck_assert_int_eq(put(queue, 3, BROOD_FOREVER), -ESHUTDOWN);
    ck_assert_str_ne(brood_error(), "");
    ck_assert_int_gt(get(queue, BROOD_FOREVER), 0);
    ck_assert_int_gt(get(queue, BROOD_FOREVER), 0);
    ck_assert_int_eq(get(queue, BROOD_FOREVER), -ESHUTDOWN);
    ck_assert_int_eq(get(queue, BROOD_NOW), -ESHUTDOWN);
    ck_assert_int_eq(brood_queue_join(queue, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_queue_task_done(queue), 0);
    ck_assert_int_eq(brood_queue_task_done(queue), 0);
    ck_assert_int_eq(brood_queue_join(queue, BROOD_FOREVER), 0);
}
END_TEST

/* semantics: Q18 Q20 */
START_TEST(shut_down_immediately_it_throws_away_what_is_left)
{
    brood_auto(queue) *queue = open_queue(&all_kinds[_i]);

    for (int i = 0; i < 5; i++)
        expect_put(queue, i);
    ck_assert_int_ge(get(queue, BROOD_NOW), 0);
    ck_assert_int_eq(brood_queue_shutdown(queue, false), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(brood_queue_shutdown(queue, true), 0);
    ck_assert_int_eq(brood_queue_shutdown(queue, false), 0);
    ck_assert_uint_eq(brood_queue_size(queue), 0);
    ck_assert_int_eq(get(queue, BROOD_FOREVER), -ESHUTDOWN);
    ck_assert_int_eq(put(queue, 9, BROOD_FOREVER), -ESHUTDOWN);
    ck_assert_uint_eq(brood_queue_unfinished(queue), 1); /* the one that was got before */
    ck_assert_int_eq(brood_queue_task_done(queue), 0);
    ck_assert_int_eq(brood_queue_join(queue, BROOD_FOREVER), 0);
    ck_assert_uint_eq(brood_queue_lost(queue, NULL), 0);
}
END_TEST

/* semantics: Q18 Q19 */
START_TEST(shutting_down_wakes_all_waiters)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = kinds[WHICH / 2], .bound = 1));
    struct scene *putting = scene_of(queue), *joining = scene_of(queue), *getting;
    struct peer putter, joiner, getter;
    bool immediate = WHICH % 2;
    brood_auto(queue) *other = open_queue(BROOD_QUEUE(.kind = kinds[WHICH / 2]));

    getting = scene_of(other);
    expect_put(queue, 1);
    putter = start_peer(PEERS, put_one_later, putting);
    joiner = start_peer(PEERS, join_later, joining);
    getter = start_peer(PEERS, get_one_later, getting);
    await(is_asleep(putter.pid) && is_asleep(joiner.pid) && is_asleep(getter.pid));
    ck_assert_int_eq(brood_queue_shutdown(queue, immediate), 0);
    ck_assert_int_eq(brood_queue_shutdown(other, immediate), 0);
    join_peer(&putter);
    join_peer(&getter);
    ck_assert_int_eq(putting->outcome, -ESHUTDOWN);
    ck_assert_int_eq(getting->outcome, -ESHUTDOWN);
    if (!immediate) {
        expect_get(queue, 1);
        ck_assert_int_eq(brood_queue_task_done(queue), 0);
    }
    join_peer(&joiner);
    ck_assert_int_eq(joining->outcome, 1);
}
END_TEST

/* ---- what happens while one waits for the lock ---- */

/* One comes with a call that needs the lock, which this thread has; then it is done, and the lock given back. */
static int call_meanwhile(int kind, struct brood_queue *queue, void (*body)(void *),
                          void (*meanwhile)(struct brood_queue *))
{
    struct scene *scene = scene_of(queue);
    struct peer peer;

    ck_assert_int_eq(queue_store_lock(queue, BROOD_FOREVER), 0);
    peer = start_peer(kind, body, scene);
    await_sleep(peer.pid);
    meanwhile(queue);
    brood__queue_unlock(queue);
    join_peer(&peer);
    return scene->outcome;
}

static void shut_down(struct brood_queue *queue)
{
    ck_assert_int_eq(brood_queue_shutdown(queue, false), 0);
}

static void throw_away(struct brood_queue *queue)
{
    ck_assert_int_eq(brood_queue_shutdown(queue, true), 0);
}

START_TEST(a_producer_that_finds_a_shutdown_under_the_lock_puts_nothing)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = BROOD_LIFO));

    expect_put(queue, 1);
    ck_assert_int_eq(call_meanwhile(PEERS, queue, put_one_later, shut_down), -ESHUTDOWN);
    ck_assert_uint_eq(brood_queue_unfinished(queue), 1);
    expect_get(queue, 1);
    ck_assert_int_eq(get(queue, BROOD_NOW), -ESHUTDOWN);
}
END_TEST

/* The shutdown could not: the lock was held. */
START_TEST(a_get_or_put_during_a_shutdown_discards_what_is_left)
{
    for (int i = 0; i < 2; i++) {
        brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.kind = BROOD_LIFO));
        int outcome;

        for (int value = 1; value <= 3; value++)
            expect_put(queue, value);
        outcome = call_meanwhile(PEERS, queue, i == 0 ? get_one_later : put_one_later, throw_away);
        ck_assert_msg(outcome == -ESHUTDOWN || (i == 0 && outcome == 3), "%d", outcome);
        if (outcome == 3 && PEERS == THREADS)
            ck_assert_int_eq(brood_queue_task_done(queue), 0);
        ck_assert_uint_eq(brood_queue_lost(queue, NULL), outcome == 3 && PEERS == PROCESSES);
        ck_assert_int_eq(brood_queue_join(queue, BROOD_NOW), outcome == 3 && PEERS == PROCESSES ? -EOWNERDEAD : 0);
        ck_assert_uint_eq(brood_queue_size(queue), 0);
    }
}
END_TEST

static void put_long_later(void *argument)
{
    struct scene *scene = argument;
    static char message[GROWTH_BYTES];

    atomic_store(&scene->outcome,
                 brood_queue_put(scene->queue, (struct brood_bytes){message, sizeof(message)}, brood_after_ms(LONG_MS)));
}

static void grow_it(struct brood_queue *queue)
{
    ck_assert_int_eq(brood__blocks_commit(queue, ring_load(&queue->committed) + 64), 0);
}

START_TEST(a_producer_that_comes_to_grow_a_grown_queue_goes_on)
{
    brood_auto(queue) *queue = open_queue(NULL);

    ck_assert_int_eq(call_meanwhile(PEERS, queue, put_long_later, grow_it), 0);
    ck_assert_uint_eq(brood_queue_size(queue), 1);
}
END_TEST

static void fill_ring(struct brood_queue *queue, int more)
{
    for (int i = 0; i < (int)queue_ring(queue)->slots + more; i++)
        expect_put(queue, i);
}

static void get_the_first(struct brood_queue *queue)
{
    expect_get(queue, 0);
}

START_TEST(a_producer_at_a_full_ring_uses_it_if_there_is_room_by_then)
{
    brood_auto(queue) *queue = open_queue(NULL);

    fill_ring(queue, 0);
    ck_assert_int_eq(call_meanwhile(PEERS, queue, put_one_later, get_the_first), 0);
    ck_assert_uint_eq(queue_gate(queue) & QUEUE_HAS_STORED, 0);
    ck_assert_uint_eq(brood_queue_size(queue), queue_ring(queue)->slots);
}
END_TEST

/* As one does that was about to put when the ring was full. */
static void put_into_the_ring(struct brood_queue *queue)
{
    unsigned me = (unsigned)queue_me(queue, BROOD_NOW);
    uint64_t position = 0;
    struct ring_slot *slot = ring_put_begin(queue_ring(queue), me, 0, &position);

    memcpy(slot->message, &(int){77}, sizeof(int));
    ring_put_end(queue_ring(queue), me, slot, sizeof(int), position);
}

START_TEST(a_consumer_of_the_store_gets_what_came_into_the_ring_before)
{
    brood_auto(queue) *queue = open_queue(NULL);
    int slots = (int)queue_ring(queue)->slots;

    fill_ring(queue, 1);
    for (int i = 0; i < slots; i++)
        expect_get(queue, i);
    ck_assert_int_eq(call_meanwhile(PEERS, queue, get_one_later, put_into_the_ring), 77);
    expect_get(queue, slots);
    ck_assert_uint_eq(queue_gate(queue) & QUEUE_HAS_STORED, 0);
}
END_TEST

static void die_with_lock(void *queue)
{
    ck_assert_int_eq(queue_store_lock(queue, BROOD_FOREVER), 0);
    pause_for_ever(NULL);
}

START_TEST(what_is_beside_the_ring_outlives_one_that_dies_with_the_lock)
{
    brood_auto(queue) *queue = open_queue(NULL);
    int slots = (int)queue_ring(queue)->slots;
    pid_t pid;

    fill_ring(queue, 3);
    pid = spawn(die_with_lock, queue);
    await(brood_lock_held(&queue->lock));
    put_to_death(pid);
    expect_put(queue, slots + 3);
    for (int i = 0; i < slots + 4; i++)
        expect_get(queue, i);
    ck_assert_uint_eq(queue_gate(queue) & QUEUE_HAS_STORED, 0);
}
END_TEST

/* The ring is full, the first message beside it finds no memory: the next one finds its way into the ring again. */
START_TEST(a_message_that_finds_no_room_beside_a_full_ring_leaves_no_trace)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.memory_bytes = (size_t)64 << 10));
    unsigned char bytes[3000] = {0};
    struct brood_space space = {bytes, sizeof(bytes)};
    size_t count = 0;
    int r;

    while ((r = brood_queue_put(queue, (struct brood_bytes){bytes, sizeof(bytes)}, BROOD_NOW)) == 0)
        count++;
    ck_assert_int_eq(r, -ENOSPC);
    while (brood_queue_put(queue, (struct brood_bytes){bytes, 200}, BROOD_NOW) == 0)
        count++;
    for (; count < queue_ring(queue)->slots; count++)
        expect_put(queue, 1);
    ck_assert_int_eq(put(queue, 2, BROOD_NOW), -ENOSPC);
    ck_assert_uint_eq(brood_queue_size(queue), count);
    ck_assert_uint_eq(queue_gate(queue) & QUEUE_HAS_STORED, 0);
    ck_assert_int_eq(brood_queue_get(queue, &space, BROOD_NOW), 0);
    expect_put(queue, 3);
    ck_assert_uint_eq(brood_queue_unfinished(queue), count + 1);
}
END_TEST

/* ---- memory of the user's ---- */

START_TEST(a_queue_in_memory_of_the_users_is_bounded_by_it)
{
    const struct brood_queue_options *options = BROOD_QUEUE(.kind = kinds[_i], .bound = 100, .message_bytes = 500);
    size_t bytes = brood_queue_bytes(options), count = 0;
    struct brood_queue *queue = shared_memory(bytes);
    unsigned char message[500];
    struct brood_space space = {message, sizeof(message)};

    ck_assert_uint_gt(bytes, 0);
    memset(queue, 0xee, bytes);
    ck_assert_int_eq(brood_queue_init(queue, options), 0);
    ck_assert_int_eq(brood_queue_check(queue, bytes), 0);
    ck_assert_int_eq(brood_queue_set_bound(queue, 0), -EINVAL);
    for (int round = 0; round < 3; round++) {
        for (count = 0; count < 100; count++) {
            fill(message, sizeof(message), (unsigned)count);
            ck_assert_int_eq(brood_queue_put(queue, (struct brood_bytes){message, sizeof(message)}, BROOD_NOW), 0);
        }
        ck_assert_int_eq(brood_queue_put(queue, (struct brood_bytes){message, sizeof(message)}, BROOD_NOW), -EAGAIN);
        for (count = 0; count < 100; count++) {
            ck_assert_int_eq(brood_queue_get(queue, &space, BROOD_NOW), 0);
            expect_filled(message, sizeof(message), (unsigned)(kinds[_i] == BROOD_LIFO ? 99 - count : count));
        }
    }
    ck_assert_int_eq(brood_queue_close(queue), 0);
    munmap(queue, bytes);
}
END_TEST

START_TEST(long_messages_fill_memory_of_the_users_and_wait_for_room)
{
    const struct brood_queue_options *options =
        BROOD_QUEUE(.kind = kinds[_i], .bound = 100, .memory_bytes = (size_t)64 << 10);
    struct brood_queue *queue = shared_memory(brood_queue_bytes(options));
    static unsigned char message[20000];
    struct brood_bytes bytes = {message, sizeof(message)};
    struct brood_space space = {message, sizeof(message)};
    int count = 0;

    ck_assert_int_eq(brood_queue_init(queue, options), 0);
    while (brood_queue_put(queue, bytes, BROOD_NOW) == 0)
        count++;
    ck_assert_int_eq(count, 3);
    ck_assert_int_eq(brood_queue_put(queue, bytes, brood_after_ms(SHORT_MS)), -ETIMEDOUT);
    ck_assert_int_eq(brood_queue_get(queue, &space, BROOD_NOW), 0);
    ck_assert_int_eq(brood_queue_put(queue, bytes, BROOD_NOW), 0);
    ck_assert_uint_eq(brood_queue_unfinished(queue), 4);
    ck_assert_int_eq(brood_queue_put(queue, (struct brood_bytes){message, 1000000}, BROOD_FOREVER), -ENOSPC);
    ck_assert_int_eq(brood_queue_close(queue), 0);
    munmap(queue, brood_queue_bytes(options));
}
END_TEST

/* semantics: K18 */
START_TEST(a_queue_may_be_mapped_elsewhere)
{
    const struct brood_queue_options *options = BROOD_QUEUE(.kind = kinds[_i], .bound = 8);
    size_t bytes = brood_queue_bytes(options);
    int fd = memfd_create("queue", MFD_CLOEXEC);
    struct brood_queue *here, *there;
    char text[200];
    struct brood_space space = {text, sizeof(text)};

    ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
    here = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    there = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert(here != MAP_FAILED && there != MAP_FAILED && here != there);
    ck_assert_int_eq(brood_queue_init(here, options), 0);
    memset(text, 'x', sizeof(text));
    ck_assert_int_eq(brood_queue_put(here, (struct brood_bytes){text, sizeof(text)}, BROOD_NOW), 0);
    ck_assert_int_eq(brood_queue_check(there, bytes), 0);
    ck_assert_int_eq(brood_queue_get(there, &space, BROOD_NOW), 0);
    ck_assert_uint_eq(space.len, sizeof(text));
    (void)brood_queue_close(here);
    (void)brood_queue_close(there);
    munmap(here, bytes);
    munmap(there, bytes);
    close(fd);
}
END_TEST

START_TEST(what_makes_no_queue_is_refused_in_words)
{
    const struct brood_queue_options *wrong[] = {BROOD_QUEUE(.kind = (enum brood_queue_kind)7),
                                                 BROOD_QUEUE(.message_bytes = SIZE_MAX),
                                                 BROOD_QUEUE(.bound = SIZE_MAX),
                                                 BROOD_QUEUE(.memory_bytes = SIZE_MAX),
                                                 &(struct brood_queue_options){.size = 0},
                                                 &(struct brood_queue_options){.size = 4096}};
    struct brood_queue *queue = NULL;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_int_eq(brood_queue_open(&queue, wrong[i]), -EINVAL);
        ck_assert_str_ne(brood_error(), "");
        ck_assert_uint_eq(brood_queue_bytes(wrong[i]), 0);
        ck_assert_ptr_null(queue);
    }
    ck_assert_int_eq(brood_queue_init(NULL, NULL), -EINVAL);
    ck_assert_int_eq(brood_queue_check(NULL, 100), -EINVAL);
}
END_TEST

/* semantics: Q13 Q15 K19 */
START_TEST(a_queue_that_is_not_there_is_refused)
{
    struct brood_queue *queue = open_queue(NULL);
    int pid = 1;

    ck_assert_int_eq(brood_queue_close(queue), 0);
    ck_assert_int_eq(brood_queue_close(NULL), 0);
    ck_assert_int_eq(put(NULL, 1, BROOD_NOW), -EBADF);
    ck_assert_int_eq(get(NULL, BROOD_NOW), -EBADF);
    ck_assert_int_eq(brood_queue_task_done(NULL), -EBADF);
    ck_assert_int_eq(brood_queue_join(NULL, BROOD_NOW), -EBADF);
    ck_assert_int_eq(brood_queue_shutdown(NULL, false), -EBADF);
    ck_assert_int_eq(brood_queue_set_bound(NULL, 1), -EBADF);
    ck_assert_uint_eq(brood_queue_size(NULL), 0);
    ck_assert(brood_queue_empty(NULL));
    ck_assert(!brood_queue_full(NULL));
    ck_assert_uint_eq(brood_queue_bound(NULL), 0);
    ck_assert_uint_eq(brood_queue_unfinished(NULL), 0);
    ck_assert_uint_eq(brood_queue_lost(NULL, &pid), 0);
    ck_assert_int_eq(pid, 0);
    ck_assert(!brood_queue_is_shut_down(NULL));
}
END_TEST

/* semantics: K19 */
START_TEST(bytes_at_no_address_are_refused_in_words)
{
    brood_auto(queue) *queue = open_queue(&all_kinds[_i]);
    char byte = 0;
    struct brood_bytes messages[] = {{&byte, 1}, {NULL, 5}};
    struct brood_space nowhere = {NULL, 5}, empty = {NULL, 0}, spaces[] = {{&byte, 1}, {NULL, 5}};
    size_t count;

    ck_assert_int_eq(brood_queue_put(queue, messages[1], BROOD_NOW), -EINVAL);
    ck_assert_str_ne(brood_error(), "");
    ck_assert_int_eq(brood_queue_put_many(queue, messages, 2, &count, BROOD_NOW), -EINVAL);
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(brood_queue_put_many(queue, NULL, 2, &count, BROOD_NOW), -EINVAL);
    ck_assert_uint_eq(brood_queue_unfinished(queue), 0);
    ck_assert_int_eq(brood_queue_put(queue, (struct brood_bytes){NULL, 0}, BROOD_NOW), 0);
    ck_assert_int_eq(brood_queue_get(queue, &nowhere, BROOD_NOW), -EINVAL);
    ck_assert_str_ne(brood_error(), "");
    ck_assert_int_eq(brood_queue_get(queue, NULL, BROOD_FOREVER), -EINVAL);
    ck_assert_int_eq(brood_queue_get_many(queue, spaces, 2, &count, BROOD_NOW), -EINVAL);
    ck_assert_int_eq(brood_queue_get_many(queue, NULL, 2, &count, BROOD_NOW), -EINVAL);
    ck_assert_uint_eq(brood_queue_size(queue), 1);
    ck_assert_int_eq(brood_queue_get(queue, &empty, BROOD_NOW), 0);
    ck_assert_uint_eq(empty.len, 0);
}
END_TEST

/* ---- users ---- */

START_TEST(one_thread_uses_many_queues_by_turns)
{
    enum { QUEUES = 20 };
    struct brood_queue *queues[QUEUES];

    for (int i = 0; i < QUEUES; i++)
        queues[i] = open_queue(BROOD_QUEUE(.bound = 16));
    for (int round = 0; round < 10; round++)
        for (int i = 0; i < QUEUES; i++)
            expect_put(queues[i], i * 100 + round);
    for (int round = 0; round < 10; round++)
        for (int i = 0; i < QUEUES; i++)
            expect_get(queues[i], i * 100 + round);
    for (int i = 0; i < QUEUES; i++)
        ck_assert_int_eq(brood_queue_close(queues[i]), 0);
}
END_TEST

static void put_one(void *argument)
{
    expect_put(argument, 1);
}

START_TEST(threads_and_children_that_end_leave_room_for_others)
{
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.bound = 4));

    for (int i = 0; i < BROOD_QUEUE_USERS_MAX + 20; i++) {
        struct peer peer = start_peer(PEERS, put_one, queue);

        join_peer(&peer);
        expect_get(queue, 1);
    }
}
END_TEST

static void use_and_stay(void *argument)
{
    struct scene *scene = argument;

    expect_put(scene->queue, 1);
    atomic_fetch_add(&scene->started, 1);
    await(atomic_load(&scene->outcome) != 0 || atomic_load(&scene->step) != 0);
    if (atomic_load(&scene->step) != 0)
        ck_assert_int_eq(get(scene->queue, brood_after_ms(LONG_MS)), 1);
    while (atomic_load(&scene->outcome) == 0)
        rest();
}

START_TEST(more_users_than_there_are_numbers_wait_for_one_or_are_refused_in_words)
{
    brood_auto(queue) *queue = open_queue(NULL);
    struct scene *scene = scene_of(queue), *waiting = scene_of(queue);
    struct peer waiter;
    struct peer peers[BROOD_QUEUE_USERS_MAX];

    start_peers(peers, BROOD_QUEUE_USERS_MAX, THREADS, use_and_stay, scene);
    while (atomic_load(&scene->started) < BROOD_QUEUE_USERS_MAX)
        rest();
    ck_assert_int_eq(put(queue, 1, BROOD_NOW), -EAGAIN);
    ck_assert_ptr_nonnull(strstr(brood_error(), "256"));
    ck_assert_int_eq(get(queue, brood_after_ms(SHORT_MS)), -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(brood_error(), "256"));
    waiter = start_peer(THREADS, put_one_later, waiting);
    await(is_asleep(waiter.pid));
    atomic_store(&scene->outcome, 1);
    join_peer(&waiter);
    ck_assert_int_eq(waiting->outcome, 0);
    join_peers(peers, BROOD_QUEUE_USERS_MAX);
    expect_put(queue, 1);
}
END_TEST

static void stay(void *argument)
{
    struct scene *scene = argument;

    ck_assert_int_eq(get(scene->queue, BROOD_NOW), -EAGAIN);
    atomic_fetch_add(&scene->started, 1);
    await(atomic_load(&scene->outcome) != 0);
}

static void get_at_last(void *argument)
{
    (void)get(argument, brood_after_ms(LONG_MS));
}

START_TEST(a_waiter_gets_the_number_of_a_sleeper_that_died)
{
    brood_auto(queue) *queue = open_queue(NULL);
    struct scene *scene = scene_of(queue), *waiting = scene_of(queue);
    struct peer waiter, peers[BROOD_QUEUE_USERS_MAX - 1];
    pid_t sleeper = spawn(get_at_last, queue);

    await(is_asleep(sleeper) && atomic_load(&queue->users[0]) != 0);
    start_peers(peers, BROOD_QUEUE_USERS_MAX - 1, THREADS, stay, scene);
    await(atomic_load(&scene->started) == BROOD_QUEUE_USERS_MAX - 1);
    waiter = start_peer(THREADS, put_one_later, waiting);
    await_sleep(waiter.pid);
    put_to_death(sleeper);
    join_peer(&waiter);
    ck_assert_int_eq(waiting->outcome, 0);
    atomic_store(&scene->outcome, 1);
    join_peers(peers, BROOD_QUEUE_USERS_MAX - 1);
}
END_TEST

enum { IN_HAND = 20 };

static void use_all(void *argument)
{
    struct brood_queue **queues = argument;

    for (int i = 0; i < IN_HAND; i++) {
        ck_assert_int_eq(brood_queue_task_done(queues[i]), -EPERM);
        expect_put(queues[i], 2);
    }
    for (int i = 0; i < IN_HAND; i++) {
        expect_get(queues[i], 2);
        ck_assert_int_eq(brood_queue_task_done(queues[i]), 0);
    }
}

/* More than there is room for in the thread's own memory. */
START_TEST(the_child_of_one_with_messages_of_many_queues_in_hand_has_none_of_them)
{
    struct brood_queue *queues[IN_HAND];

    for (int i = 0; i < IN_HAND; i++) {
        queues[i] = open_queue(BROOD_QUEUE(.joinable = true));
        expect_put(queues[i], 1);
        expect_get(queues[i], 1);
    }
    in_child(use_all, queues);
    for (int i = 0; i < IN_HAND; i++) {
        ck_assert_uint_eq(brood_queue_lost(queues[i], NULL), 0);
        ck_assert_int_eq(brood_queue_task_done(queues[i]), 0);
        ck_assert_int_eq(brood_queue_join(queues[i], BROOD_NOW), 0);
        ck_assert_int_eq(brood_queue_close(queues[i]), 0);
    }
}
END_TEST

START_TEST(a_process_that_waits_for_a_number_learns_of_a_shutdown)
{
    brood_auto(queue) *queue = open_queue(NULL);
    struct scene *scene = scene_of(queue), *waiting = scene_of(queue);
    struct peer peers[BROOD_QUEUE_USERS_MAX], waiter;

    start_peers(peers, BROOD_QUEUE_USERS_MAX, THREADS, use_and_stay, scene);
    while (atomic_load(&scene->started) < BROOD_QUEUE_USERS_MAX)
        rest();
    waiter = start_peer(THREADS, put_one_later, waiting);
    await(is_asleep(waiter.pid));
    ck_assert_int_eq(brood_queue_shutdown(queue, false), 0);
    atomic_store(&scene->step, 1);
    await(brood_queue_empty(queue));
    brood__queue_wake_all(queue);
    join_peer(&waiter);
    ck_assert_int_eq(waiting->outcome, -ESHUTDOWN);
    atomic_store(&scene->outcome, 1);
    join_peers(peers, BROOD_QUEUE_USERS_MAX);
}
END_TEST

static struct brood_queue *interrupted;
static _Atomic int handler_puts;

static void put_in_handler(int number)
{
    (void)number;
    if (put(interrupted, 1, BROOD_NOW) == 0)
        atomic_fetch_add(&handler_puts, 1);
}

/* semantics: Q16 */
START_TEST(a_put_may_interrupt_a_put)
{
    enum { COUNT = 30000 };
    brood_auto(queue) *queue = open_queue(BROOD_QUEUE(.bound = 65536));
    int sum = 0, value, own = 0;

    interrupted = queue;
    expect_put(queue, 1); /* the first call of a thread is not one to be interrupted */
    interrupt_often(put_in_handler);
    for (int i = 0; i < COUNT; i++) {
        while (put(queue, 1, BROOD_NOW) < 0)
            sum += get(queue, BROOD_NOW) == 1;
        own++;
    }
    interrupt_no_more();
    while ((value = get(queue, BROOD_NOW)) > 0)
        sum += value;
    ck_assert_int_eq(sum, own + 1 + atomic_load(&handler_puts));
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue");

    peer_kinds = kinds_for(argc, argv);
    add_loop_tests(suite, "kinds", 0, ALL_KINDS, messages_come_out_in_the_order_of_the_kind,
                   size_counts_what_was_put_and_not_got, messages_have_any_size,
                   a_message_that_is_too_long_stays_and_says_its_size,
                   the_size_of_the_next_message_is_told_and_the_message_stays,
                   a_queue_that_is_shut_down_takes_nothing_and_gives_what_is_left,
                   shut_down_immediately_it_throws_away_what_is_left, bytes_at_no_address_are_refused_in_words, NULL);
    add_loop_tests(
        suite, "orders", 0, 3, a_full_queue_and_an_empty_one_say_so_at_once_or_at_the_deadline,
        a_deadline_does_not_matter_where_no_wait_is_needed, a_bound_below_what_is_there_keeps_it_full_until_it_is_drained,
        blocks_are_used_again, a_queue_that_is_out_of_memory_says_so_and_goes_on, batches_take_what_there_is,
        done_too_often_is_refused_and_join_can_be_used_again, a_hand_that_is_full_is_given_nothing_and_all_in_it_is_counted,
        a_queue_in_memory_of_the_users_is_bounded_by_it, long_messages_fill_memory_of_the_users_and_wait_for_room,
        a_queue_may_be_mapped_elsewhere, NULL);
    add_tests(suite, "one", many_priorities_come_out_sorted_and_equal_ones_in_order_of_insertion,
              a_queue_without_a_bound_grows_and_keeps_its_order, what_makes_no_queue_is_refused_in_words,
              a_queue_that_is_not_there_is_refused, one_thread_uses_many_queues_by_turns,
              more_users_than_there_are_numbers_wait_for_one_or_are_refused_in_words, a_put_may_interrupt_a_put,
              a_caller_that_is_blocked_gets_an_error_that_says_so, a_process_that_waits_for_a_number_learns_of_a_shutdown,
              NULL);
    add_loop_tests(suite, "kinds, between peers", 0, ALL_KINDS * peer_kinds,
                   many_producers_and_consumers_lose_and_double_nothing, a_put_wakes_a_waiting_consumer,
                   the_last_message_done_wakes_the_joiner, one_is_not_told_that_a_queue_is_empty_or_full_while_it_is_not,
                   the_receiver_of_a_message_says_that_it_is_done_or_any_process_when_the_receiver_has_left, NULL);
    add_loop_tests(suite, "orders, between peers", 0, 3 * peer_kinds, a_get_wakes_a_producer_that_waits_for_room,
                   a_larger_bound_wakes_producers_that_wait_for_room, NULL);
    add_loop_tests(suite, "shutting down", 0, 6 * peer_kinds, shutting_down_wakes_all_waiters, NULL);
    add_loop_tests(suite, "users", 0, peer_kinds, threads_and_children_that_end_leave_room_for_others, NULL);
    add_loop_tests(suite, "lock", 0, peer_kinds, a_producer_that_finds_a_shutdown_under_the_lock_puts_nothing,
                   a_get_or_put_during_a_shutdown_discards_what_is_left,
                   a_producer_that_comes_to_grow_a_grown_queue_goes_on,
                   a_producer_at_a_full_ring_uses_it_if_there_is_room_by_then,
                   a_consumer_of_the_store_gets_what_came_into_the_ring_before, NULL);
    add_tests(suite, "memory", a_message_that_finds_no_room_beside_a_full_ring_leaves_no_trace, NULL);
    if (peer_kinds == KINDS) {
        add_tests(suite, "children", what_is_beside_the_ring_outlives_one_that_dies_with_the_lock,
                  the_child_of_one_with_messages_of_many_queues_in_hand_has_none_of_them,
                  a_waiter_gets_the_number_of_a_sleeper_that_died, NULL);
        add_loop_tests(suite, "stopped", 0, 3, deadlines_are_kept_while_another_participant_is_stopped_with_the_lock, NULL);
        add_tests(suite, "stopped in the ring", deadlines_are_kept_while_another_participant_is_stopped_in_a_put,
                  a_shutdown_ends_a_wait_for_one_that_is_stopped, NULL);
        add_loop_tests(suite, "forks", 0, ALL_KINDS, what_was_put_before_a_fork_and_in_the_child_arrives, NULL);
    }
    return run_suite(suite);
}
