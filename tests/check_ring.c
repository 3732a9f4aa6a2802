/* check_ring.c - the ring: order, bounds, threads, processes, and what recovery makes of a death at any instruction.
 *
 *     check_ring --threads     only what keeps to one process: for ThreadSanitizer, which does not follow shared memory
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ptrace.h>

#include "child.h"
#include "shm/ring.h"
#include "support.h"

#define POSITIONS (UINT64_C(1) << 48)

static struct brood_ring *ring_of(size_t slots, size_t message_bytes)
{
    struct brood_ring *ring = shared_memory(brood_ring_bytes(slots, message_bytes));

    ck_assert_int_eq(brood_ring_init(ring, slots, message_bytes), 0);
    return ring;
}

static void put(struct brood_ring *ring, unsigned owner, uint64_t message)
{
    ck_assert_int_eq(brood_ring_put(ring, owner, &message), 0);
}

static bool is_full(struct brood_ring *ring, unsigned owner)
{
    return brood_ring_put(ring, owner, &(uint64_t){0}) == -EAGAIN;
}

static uint64_t get(struct brood_ring *ring, unsigned owner)
{
    uint64_t message = 0;

    ck_assert_int_eq(brood_ring_get(ring, owner, &message), 0);
    return message;
}

static bool is_empty(struct brood_ring *ring, unsigned owner)
{
    uint64_t message;

    return brood_ring_get(ring, owner, &message) == -EAGAIN;
}

static void expect_report(struct brood_ring_report report, size_t unfinished_puts, size_t redelivered, size_t in_hand)
{
    ck_assert_uint_eq(report.unfinished_puts, unfinished_puts);
    ck_assert_uint_eq(report.redelivered, redelivered);
    ck_assert_uint_eq(report.in_hand, in_hand);
}

/* Every slot can still be filled and emptied: none was lost. */
static void expect_whole(struct brood_ring *ring, unsigned owner)
{
    for (uint32_t i = 0; i < ring->slots; i++)
        put(ring, owner, 1000 + i);
    ck_assert(is_full(ring, owner));
    for (uint32_t i = 0; i < ring->slots; i++)
        ck_assert_uint_eq(get(ring, owner), 1000 + i);
    ck_assert(is_empty(ring, owner));
}

static _Atomic uint64_t *word_at(struct brood_ring *ring, uint64_t position)
{
    return (_Atomic uint64_t *)(void *)((char *)(ring + 1) + (position & (ring->slots - 1)) * ring->slot_bytes);
}

static void set_hints(struct brood_ring *ring, uint64_t tail, uint64_t head)
{
    ring->tail.position = tail;
    ring->head.position = head;
    for (int i = 0; i < BROOD_RING_OWNERS_MAX; i++) {
        ring->owners[i].tail = tail;
        ring->owners[i].head = head;
    }
}

/* As new as hints can be: all have heard of all claims. */
static void renew_hints(struct brood_ring *ring)
{
    uint64_t tail = ring->tail.position, head = ring->head.position;

    while (ring_word_position(*word_at(ring, tail) - (tail << RING_POSITION_SHIFT)) < POSITIONS / 2 &&
           *word_at(ring, tail) != ring_word(RING_FREE, 0, tail))
        tail++;
    for (;;) {
        uint64_t word = *word_at(ring, head);
        uint64_t ahead = ring_word_position(word - (head << RING_POSITION_SHIFT));
        bool claimed = ring_word_state(word) == RING_READING || ring_word_state(word) == RING_AGAIN;

        if (ahead >= POSITIONS / 2 || (ahead == 0 && !claimed))
            break;
        head++;
    }
    set_hints(ring, tail, head);
}

/* After it no process finds by mere chance what was handed back. */
static struct brood_ring_report recover(struct brood_ring *ring, unsigned owner)
{
    struct brood_ring_report report;

    ck_assert_int_eq(brood_ring_recover(ring, owner, &report), 0);
    renew_hints(ring);
    return report;
}

/* Claims the next position from `position` on that is in state `from`, as producers or consumers do.  False if there is
 * none, or others were faster. */
static bool claim(struct brood_ring *ring, uint64_t position, enum ring_state from, enum ring_state to, unsigned owner)
{
    for (;; position++) {
        uint64_t word = *word_at(ring, position);
        uint64_t ahead = ring_word_position(word - (position << RING_POSITION_SHIFT));

        if (word == ring_word(from, 0, position))
            return atomic_compare_exchange_strong(word_at(ring, position), &word, ring_word(to, owner, position));
        if (ahead >= POSITIONS / 2 || (ahead == 0 && from == RING_FULL && ring_word_state(word) != RING_READING))
            return false;
    }
}

/* What a put() and a get() leave behind that were killed after their claim.  The stepped deaths below are real. */
static bool try_to_die_in_put(struct brood_ring *ring, unsigned owner)
{
    return claim(ring, ring->tail.position, RING_FREE, RING_WRITING, owner);
}

static bool try_to_die_in_get(struct brood_ring *ring, unsigned owner)
{
    return claim(ring, ring->head.position, RING_FULL, RING_READING, owner);
}

static void die_in_put(struct brood_ring *ring, unsigned owner)
{
    ck_assert(try_to_die_in_put(ring, owner));
}

static void die_in_get(struct brood_ring *ring, unsigned owner)
{
    ck_assert(try_to_die_in_get(ring, owner));
}

/* ---- shapes ---- */

START_TEST(what_makes_no_ring_is_refused_in_words)
{
    static const struct {
        size_t slots, message_bytes;
    } wrong[] = {{0, 8}, {1, 8}, {3, 8}, {1000, 8}, {(size_t)BROOD_RING_SLOTS_MAX * 2, 8}, {4, 0}, {4, SIZE_MAX}};
    struct brood_ring *ring = ring_of(4, 8);

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_uint_eq(brood_ring_bytes(wrong[i].slots, wrong[i].message_bytes), 0);
        ck_assert_int_eq(brood_ring_init(ring, wrong[i].slots, wrong[i].message_bytes), -EINVAL);
        ck_assert_str_ne(brood_error(), "");
    }
    ck_assert_int_eq(brood_ring_init(NULL, 4, 8), -EINVAL);
    ck_assert_int_eq(brood_ring_init((struct brood_ring *)(void *)((char *)ring + 8), 4, 8), -EINVAL);
    ck_assert_uint_gt(brood_ring_bytes(BROOD_RING_SLOTS_MAX, 8), 0);
}
END_TEST

START_TEST(an_owner_number_that_is_none_is_refused_in_words)
{
    struct brood_ring *ring = ring_of(4, 8);
    struct brood_ring_report report = {7, 7, 7};
    uint64_t message = 5;

    for (int i = 0; i < 3; i++) {
        const unsigned owner = (const unsigned[]){0, BROOD_RING_OWNERS_MAX + 1, UINT32_MAX}[i];

        ck_assert_int_eq(brood_ring_put(ring, owner, &message), -EINVAL);
        ck_assert_int_eq(brood_ring_get(ring, owner, &message), -EINVAL);
        ck_assert_int_eq(brood_ring_recover(ring, owner, &report), -EINVAL);
        ck_assert_str_ne(brood_error(), "");
        brood_ring_done(ring, owner);
    }
    expect_report(report, 7, 7, 7);
    ck_assert_uint_eq(message, 5);
    put(ring, BROOD_RING_OWNERS_MAX, 6);
    ck_assert_uint_eq(get(ring, BROOD_RING_OWNERS_MAX), 6);
}
END_TEST

START_TEST(memory_that_is_not_such_a_ring_is_found_out)
{
    size_t bytes = brood_ring_bytes(4, 8);
    struct brood_ring *ring = ring_of(4, 8);

    ck_assert_int_eq(brood_ring_check(ring, bytes, 8), 0);
    ck_assert_int_eq(brood_ring_check(ring, 2 * bytes, 8), 0);
    ck_assert_int_eq(brood_ring_check(ring, bytes - 1, 8), -EINVAL);
    ck_assert_str_ne(brood_error(), "");
    ck_assert_int_eq(brood_ring_check(ring, 0, 8), -EINVAL);
    ck_assert_int_eq(brood_ring_check(ring, bytes, 16), -EINVAL);
    ck_assert_int_eq(brood_ring_check(ring, bytes, 0), -EINVAL);
    ck_assert_int_eq(brood_ring_check(NULL, bytes, 8), -EINVAL);
    ck_assert_int_eq(brood_ring_check(shared_memory(bytes), bytes, 8), -EINVAL);
}
END_TEST

START_TEST(a_ring_that_was_written_over_is_found_out)
{
    size_t bytes = brood_ring_bytes(4, 8);
    struct brood_ring *ring = ring_of(4, 8), whole = *ring;
    const uint64_t wrong[] = {
        0,
        UINT64_MAX,
        ring_word(RING_FREE, 0, 6),       /* of another slot */
        ring_word(RING_FREE, 1, 5),       /* a free slot has no owner */
        ring_word(RING_WRITING, 0, 5),    /* it is not claimed */
        ring_word(RING_READING, 4000, 5), /* no process has that number */
        ring_word(RING_AGAIN + 1, 0, 5),  /* no such state */
    };

    ring->slots = 6;
    ck_assert_int_eq(brood_ring_check(ring, bytes, 8), -EINVAL);
    ring->slots = 1u << 30;
    ck_assert_int_eq(brood_ring_check(ring, SIZE_MAX, 8), -EINVAL);
    *ring = whole;
    ring->slot_bytes = 8;
    ck_assert_int_eq(brood_ring_check(ring, bytes, 8), -EINVAL);
    *ring = whole;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        *word_at(ring, 1) = wrong[i];
        ck_assert_int_eq(brood_ring_check(ring, bytes, 8), -EINVAL);
    }
    *word_at(ring, 1) = ring_word(RING_READING, BROOD_RING_OWNERS_MAX, 5);
    ck_assert_int_eq(brood_ring_check(ring, bytes, 8), 0);
}
END_TEST

START_TEST(a_ring_may_begin_at_any_cache_line)
{
    size_t bytes = brood_ring_bytes(4, 8);
    struct brood_ring *ring = (struct brood_ring *)(void *)((char *)shared_memory(bytes + 64) + 64);

    ck_assert_int_eq(brood_ring_init(ring, 4, 8), 0);
    expect_whole(ring, 1);
    ck_assert_int_eq(brood_ring_check(ring, bytes, 8), 0);
}
END_TEST

START_TEST(a_message_of_any_size_comes_out_as_it_went_in)
{
    static const size_t sizes[] = {1, 7, 8, 9, 16, 24, 25, 55, 56, 57, 64, 120, 121, 4096, 100001};
    size_t bytes = sizes[_i];
    struct brood_ring *ring = ring_of(4, bytes);
    unsigned char *in = malloc(bytes), *out = malloc(bytes + 1);

    ck_assert(in && out);
    for (unsigned i = 0; i < 9; i++) {
        memset(in, (int)i + 1, bytes);
        memset(out, 0xee, bytes + 1);
        ck_assert_int_eq(brood_ring_put(ring, 1, in), 0);
        ck_assert_int_eq(brood_ring_get(ring, 2, out), 0);
        ck_assert_mem_eq(in, out, bytes);
        ck_assert_uint_eq(out[bytes], 0xee);
    }
    ck_assert_int_eq(brood_ring_check(ring, brood_ring_bytes(4, bytes), bytes), 0);
    free(in);
    free(out);
}
END_TEST

/* ---- order and bounds ---- */

START_TEST(a_ring_is_full_at_its_capacity_and_then_empty_after_as_many)
{
    static const size_t sizes[] = {2, 4, 64, 4096};
    size_t slots = sizes[_i];
    struct brood_ring *ring = ring_of(slots, 8);

    ck_assert(is_empty(ring, 2));
    for (int lap = 0; lap < 3; lap++) {
        for (size_t i = 0; i < slots; i++) {
            ck_assert_uint_eq(brood_ring_count(ring), i);
            put(ring, 1, i);
        }
        ck_assert(is_full(ring, 1));
        ck_assert(is_full(ring, 3));
        ck_assert_uint_eq(brood_ring_count(ring), slots);
        for (size_t i = 0; i < slots; i++)
            ck_assert_uint_eq(get(ring, 2), i);
        ck_assert(is_empty(ring, 2));
        ck_assert(is_empty(ring, 4));
        ck_assert_uint_eq(brood_ring_count(ring), 0);
        put(ring, 1, 7); /* so that the next lap begins elsewhere */
        ck_assert_uint_eq(get(ring, 2), 7);
    }
}
END_TEST

START_TEST(a_slot_is_free_as_soon_as_its_message_was_got)
{
    struct brood_ring *ring = ring_of(2, 8);

    put(ring, 1, 1);
    put(ring, 1, 2);
    ck_assert(is_full(ring, 1));
    ck_assert_uint_eq(get(ring, 2), 1);
    put(ring, 1, 3);
    ck_assert(is_full(ring, 1));
    ck_assert_uint_eq(get(ring, 3), 2);
    ck_assert_uint_eq(get(ring, 3), 3);
}
END_TEST

START_TEST(order_is_kept_for_thousands_of_laps)
{
    struct brood_ring *ring = ring_of(4, 8);
    uint64_t in = 0, out = 0;

    while (out < 40000) {
        for (uint64_t last = in + out % 4; in <= last; in++)
            put(ring, (unsigned)(in % 5) + 1, in);
        for (; out < in; out++)
            ck_assert_uint_eq(get(ring, (unsigned)(out % 7) + 1), out);
        ck_assert(is_empty(ring, 1));
    }
}
END_TEST

START_TEST(positions_wrap_without_notice)
{
    struct brood_ring *ring = shared_memory(brood_ring_bytes(4, 8));

    ck_assert_int_eq(brood__ring_init_at(ring, 4, 8, POSITIONS - 10), 0);
    for (uint64_t i = 0; i < 8; i++)
        expect_whole(ring, 1);
    ck_assert_uint_lt(ring_word_position(*word_at(ring, 0)), 100);
    ck_assert_int_eq(brood_ring_check(ring, brood_ring_bytes(4, 8), 8), 0);
}
END_TEST

START_TEST(recovery_goes_back_over_the_wrap)
{
    struct brood_ring *ring = shared_memory(brood_ring_bytes(4, 8));

    ck_assert_int_eq(brood__ring_init_at(ring, 4, 8, POSITIONS - 2), 0);
    for (uint64_t i = 0; i < 4; i++)
        put(ring, 1, i);
    for (unsigned dead = 2; dead <= 4; dead++)
        die_in_get(ring, dead);
    for (unsigned dead = 4; dead >= 2; dead--)
        expect_report(recover(ring, dead), 0, 1, 0);
    for (uint64_t i = 0; i < 4; i++)
        ck_assert_uint_eq(get(ring, 5), i);
    expect_whole(ring, 6);
}
END_TEST

static uint64_t behind(uint64_t position)
{
    return position - (uint64_t)rand() % (position < 40 ? position + 1 : 40);
}

/* Hints may lag behind by any amount.  Here by up to ten laps, anew for each call. */
START_TEST(a_stale_hint_costs_nothing_but_time)
{
    struct brood_ring *ring = ring_of(4, 8);
    uint64_t in = 0, out = 0;

    srand(1);
    for (int i = 0; i < 20000; i++) {
        uint64_t message = UINT64_MAX;

        ring->tail.position = behind(in);
        ring->head.position = behind(out);
        ring->owners[0].tail = behind(in);
        ring->owners[1].head = behind(out);
        ck_assert_uint_eq(brood_ring_count(ring), in - out);
        if (rand() % 2 == 0) {
            ck_assert_int_eq(brood_ring_put(ring, 1, &in), in - out < 4 ? 0 : -EAGAIN);
            in += in - out < 4;
        } else {
            ck_assert_int_eq(brood_ring_get(ring, 2, &message), in > out ? 0 : -EAGAIN);
            ck_assert_uint_eq(message, in > out ? out : UINT64_MAX);
            out += in > out;
        }
    }
    ck_assert_uint_gt(out, 5000);
}
END_TEST

/* An owner that slept while positions wrapped halfway takes its own old hint for a new one, if it does not look twice. */
START_TEST(an_owner_that_slept_for_months_finds_its_way)
{
    struct brood_ring *ring = shared_memory(brood_ring_bytes(4, 8));

    ck_assert_int_eq(brood__ring_init_at(ring, 4, 8, POSITIONS / 2 + 100), 0);
    for (unsigned owner = 1; owner <= 3; owner++) {
        ring->owners[owner - 1].tail = 50 * owner;
        ring->owners[owner - 1].head = 50 * owner;
        expect_whole(ring, owner);
    }
}
END_TEST

/* ---- many at once ---- */

#define SIDES 4 /* so many producers and so many consumers */
#define EACH 5000

struct crowd {
    struct brood_ring *ring;
    _Atomic unsigned producers, consumers;
    _Atomic uint32_t left; /* messages still to be got */
    bool unordered;        /* some are delivered again, and then late */
    _Atomic unsigned char seen[SIDES * EACH];
};

static struct crowd *crowd_of(int slots)
{
    struct crowd *crowd = shared_memory(sizeof(*crowd));

    crowd->ring = ring_of((size_t)slots, sizeof(uint64_t));
    crowd->left = SIDES * EACH;
    return crowd;
}

static void produce(void *argument)
{
    struct crowd *crowd = argument;
    unsigned owner = ++crowd->producers;

    for (uint64_t i = 0; i < EACH; i++)
        while (brood_ring_put(crowd->ring, owner, &(uint64_t){(owner - 1) * EACH + i}) == -EAGAIN)
            sched_yield();
}

/* What one producer has put, each consumer sees in that order. */
static void consume(void *argument)
{
    struct crowd *crowd = argument;
    unsigned owner = SIDES + ++crowd->consumers;
    uint64_t last[SIDES], message;

    memset(last, 0xff, sizeof(last));
    while (crowd->left > 0) {
        if (brood_ring_get(crowd->ring, owner, &message) != 0) {
            sched_yield();
            continue;
        }
        ck_assert_uint_lt(message, SIDES * EACH);
        ck_assert_int_eq(crowd->seen[message]++, 0);
        ck_assert(crowd->unordered || last[message / EACH] == UINT64_MAX || last[message / EACH] < message);
        last[message / EACH] = message;
        crowd->left--;
    }
    brood_ring_done(crowd->ring, owner);
}

static void expect_all_seen(struct crowd *crowd)
{
    for (size_t i = 0; i < SIDES * EACH; i++)
        ck_assert_int_eq(crowd->seen[i], 1);
    for (unsigned owner = 1; owner <= BROOD_RING_OWNERS_MAX; owner++)
        expect_report(recover(crowd->ring, owner), 0, 0, 0);
    ck_assert(is_empty(crowd->ring, 1));
    munmap(crowd, sizeof(*crowd));
}

static void *produce_in_thread(void *argument)
{
    produce(argument);
    return NULL;
}

static void *consume_in_thread(void *argument)
{
    consume(argument);
    return NULL;
}

START_TEST(threads_neither_lose_nor_double_a_message)
{
    struct crowd *crowd = crowd_of(1 << _i);
    pthread_t threads[2 * SIDES];

    for (int i = 0; i < 2 * SIDES; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, i < SIDES ? produce_in_thread : consume_in_thread, crowd), 0);
    for (int i = 0; i < 2 * SIDES; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    expect_all_seen(crowd);
}
END_TEST

static void *die_again_and_again(void *argument)
{
    struct crowd *crowd = argument;
    struct brood_ring_report report;

    while (crowd->left > 0) {
        if (try_to_die_in_put(crowd->ring, 2 * SIDES + 1)) {
            ck_assert_int_eq(brood_ring_recover(crowd->ring, 2 * SIDES + 1, &report), 0);
            expect_report(report, 1, 0, 0);
        }
        if (try_to_die_in_get(crowd->ring, 2 * SIDES + 2)) {
            sched_yield(); /* others pass by */
            ck_assert_int_eq(brood_ring_recover(crowd->ring, 2 * SIDES + 2, &report), 0);
            expect_report(report, 0, 1, 0);
        }
    }
    return NULL;
}

START_TEST(threads_go_on_while_others_die_and_are_recovered)
{
    struct crowd *crowd = crowd_of(1 << _i);
    pthread_t threads[2 * SIDES], dying;

    crowd->unordered = true;
    for (int i = 0; i < 2 * SIDES; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, i < SIDES ? produce_in_thread : consume_in_thread, crowd), 0);
    ck_assert_int_eq(pthread_create(&dying, NULL, die_again_and_again, crowd), 0);
    for (int i = 0; i < 2 * SIDES; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(pthread_join(dying, NULL), 0);
    expect_all_seen(crowd);
}
END_TEST

START_TEST(processes_neither_lose_nor_double_a_message)
{
    struct crowd *crowd = crowd_of(1 << _i);
    pid_t pids[2 * SIDES];

    for (int i = 0; i < SIDES; i++)
        pids[i] = spawn(produce, crowd);
    for (int i = SIDES; i < 2 * SIDES; i++)
        pids[i] = spawn(consume, crowd);
    for (int i = 0; i < 2 * SIDES; i++)
        join(pids[i]);
    expect_all_seen(crowd);
}
END_TEST

/* ---- recovery ---- */

START_TEST(an_unfinished_put_is_reported_and_passed)
{
    struct brood_ring *ring = ring_of(4, 8);

    put(ring, 1, 1);
    die_in_put(ring, 2);
    put(ring, 1, 3);
    ck_assert_uint_eq(get(ring, 3), 1);
    ck_assert(is_empty(ring, 3)); /* it may still be written */
    expect_report(recover(ring, 2), 1, 0, 0);
    ck_assert_uint_eq(get(ring, 3), 3);
    ck_assert(is_empty(ring, 3));
    expect_whole(ring, 4);
}
END_TEST

START_TEST(a_ring_full_of_unfinished_puts_takes_messages_again)
{
    struct brood_ring *ring = ring_of(4, 8);

    for (unsigned dead = 1; dead <= 4; dead++)
        die_in_put(ring, dead);
    ck_assert(is_full(ring, 5));
    for (unsigned dead = 1; dead <= 4; dead++)
        expect_report(recover(ring, dead), 1, 0, 0);
    if (_i == 0)
        ck_assert(is_empty(ring, 5)); /* consumers come by first, or producers do */
    expect_whole(ring, 5);
}
END_TEST

START_TEST(a_message_that_was_not_given_is_delivered_again_and_first)
{
    struct brood_ring *ring = ring_of(4, 8);

    for (uint64_t i = 1; i <= 4; i++)
        put(ring, 1, i);
    die_in_get(ring, 2);
    ck_assert_uint_eq(get(ring, 3), 2);
    expect_report(recover(ring, 2), 0, 1, 0);
    ck_assert_uint_eq(get(ring, 3), 1);
    ck_assert_uint_eq(get(ring, 3), 3);
    ck_assert_uint_eq(get(ring, 3), 4);
    ck_assert(is_empty(ring, 3));
    expect_whole(ring, 4);
}
END_TEST

START_TEST(a_message_survives_any_number_of_deaths)
{
    struct brood_ring *ring = ring_of(4, 8);

    put(ring, 1, 1);
    put(ring, 1, 2);
    die_in_get(ring, 2);
    ck_assert_uint_eq(get(ring, 1), 2);
    for (unsigned dead = 2; dead <= BROOD_RING_OWNERS_MAX; dead++) {
        expect_report(recover(ring, dead), 0, 1, 0);
        ck_assert_uint_eq(*word_at(ring, 0), ring_word(RING_AGAIN, 0, 0));
        *word_at(ring, 0) = ring_word(RING_READING, dead % BROOD_RING_OWNERS_MAX + 1, 0);
        ck_assert(is_empty(ring, 1));
    }
    expect_report(recover(ring, 1), 0, 1, 0);
    ck_assert_uint_eq(get(ring, 1), 1);
    expect_whole(ring, 1);
}
END_TEST

START_TEST(a_message_in_the_hand_of_the_dead_is_reported_and_not_delivered_again)
{
    struct brood_ring *ring = ring_of(4, 8);

    put(ring, 1, 1);
    put(ring, 1, 2);
    ck_assert_uint_eq(get(ring, 2), 1);
    expect_report(recover(ring, 2), 0, 0, 1);
    ck_assert_uint_eq(get(ring, 3), 2);
    expect_whole(ring, 4);
}
END_TEST

START_TEST(a_message_that_was_dealt_with_is_not_in_hand)
{
    struct brood_ring *ring = ring_of(4, 8);

    put(ring, 1, 1);
    put(ring, 1, 2);
    ck_assert_uint_eq(get(ring, 2), 1);
    brood_ring_done(ring, 2);
    brood_ring_done(ring, 2);
    expect_report(recover(ring, 2), 0, 0, 0);
    ck_assert_uint_eq(get(ring, 2), 2);
    ck_assert(is_empty(ring, 2)); /* to ask for the next is to be done with the last */
    expect_report(recover(ring, 2), 0, 0, 0);
}
END_TEST

START_TEST(what_others_hold_is_left_to_them)
{
    struct brood_ring *ring = ring_of(4, 8);

    put(ring, 1, 1);
    put(ring, 1, 2);
    ck_assert_uint_eq(get(ring, 2), 1);
    die_in_get(ring, 3);
    die_in_put(ring, 4);
    for (unsigned owner = 5; owner <= BROOD_RING_OWNERS_MAX; owner++)
        expect_report(recover(ring, owner), 0, 0, 0);
    expect_report(recover(ring, 2), 0, 0, 1);
    expect_report(recover(ring, 3), 0, 1, 0);
    expect_report(recover(ring, 4), 1, 0, 0);
    ck_assert_uint_eq(get(ring, 5), 2);
    expect_whole(ring, 5);
}
END_TEST

START_TEST(to_recover_twice_is_harmless)
{
    struct brood_ring *ring = ring_of(4, 8);

    put(ring, 1, 1);
    put(ring, 1, 2);
    put(ring, 1, 3);
    ck_assert_uint_eq(get(ring, 2), 1);
    expect_report(recover(ring, 2), 0, 0, 1);
    die_in_get(ring, 2);
    expect_report(recover(ring, 2), 0, 1, 0);
    die_in_put(ring, 2);
    expect_report(recover(ring, 2), 1, 0, 0);
    for (int i = 0; i < 3; i++)
        expect_report(recover(ring, 2), 0, 0, 0);
    ck_assert_uint_eq(get(ring, 3), 2);
    ck_assert_uint_eq(get(ring, 3), 3);
    expect_report(recover(ring, 2), 0, 0, 0);
    expect_whole(ring, 4);
}
END_TEST

START_TEST(a_number_is_as_good_as_new_after_recovery)
{
    struct brood_ring *ring = ring_of(4, 8);

    for (int i = 0; i < 100; i++) {
        put(ring, 2, 1);
        put(ring, 2, 2);
        ck_assert_uint_eq(get(ring, 2), 1);
        expect_report(recover(ring, 2), 0, 0, 1);
        die_in_get(ring, 2);
        expect_report(recover(ring, 2), 0, 1, 0);
        die_in_put(ring, 2);
        expect_report(recover(ring, 2), 1, 0, 0);
        ck_assert_uint_eq(get(ring, 2), 2);
        expect_whole(ring, 2);
    }
}
END_TEST

START_TEST(others_go_on_while_one_is_recovered)
{
    struct brood_ring *ring = ring_of(8, 8);
    uint64_t sum = 0;

    for (uint64_t i = 0; i < 4; i++)
        put(ring, 1, 1u << i);
    for (unsigned dead = 2; dead <= 5; dead++)
        die_in_get(ring, dead);
    put(ring, 1, 16);
    ck_assert_uint_eq(get(ring, 6), 16);
    for (unsigned dead = 5; dead >= 2; dead--) { /* the youngest first: each is older than what was looked for before */
        expect_report(recover(ring, dead), 0, 1, 0);
        if (dead != 3)
            sum += get(ring, 6);
    }
    ck_assert_uint_eq(sum + get(ring, 6), 1 + 2 + 4 + 8);
    ck_assert(is_empty(ring, 6));
    expect_whole(ring, 7);
}
END_TEST

/* ---- death at any instruction ----
 *
 * The victim does one thing, one instruction at a time.  After each, what a kill would leave behind is what lies in the
 * ring: a copy of it is recovered and drained, and every message must have one fate.  Once as it is, and once after others
 * have used the ring beside the victim that stands still.  Copies that are equal need no second look. */

#define VICTIM 9
#define OLD_DEAD 8 /* someone who died before */
#define PEER 7
#define HEIR 6
#define MESSAGES 64
#define FROM_VICTIM 1 /* the message that the victim puts; others from 2 on */

struct stage {
    struct brood_ring *ring;
    _Atomic int phase; /* of the victim: 1 it is about to begin, 2 it has ended */
    uint64_t got;      /* by the victim */
};

struct scene {
    const char *name;
    void (*arrange)(struct stage *stage);
    void (*act)(struct stage *stage);
    const char *fates; /* those of `message` for growing k, in this order: the letters of fate_of() */
    uint64_t message;
};

static void put_old(struct stage *stage, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        put(stage->ring, PEER, FROM_VICTIM + 1 + i);
}

static void arrange_nothing(struct stage *stage)
{
    (void)stage;
}

static void arrange_two(struct stage *stage)
{
    put_old(stage, 2);
}

static void arrange_full(struct stage *stage)
{
    put_old(stage, 4);
}

static void arrange_tomb(struct stage *stage)
{
    die_in_put(stage->ring, OLD_DEAD);
    put_old(stage, 3);
    expect_report(recover(stage->ring, OLD_DEAD), 1, 0, 0);
}

static void arrange_stale_hints(struct stage *stage)
{
    expect_whole(stage->ring, PEER);
    put_old(stage, 2);
    set_hints(stage->ring, 0, 0);
}

static void arrange_again(struct stage *stage)
{
    put_old(stage, 3);
    die_in_get(stage->ring, OLD_DEAD);
    ck_assert_uint_eq(get(stage->ring, PEER), 3); /* so that hints have passed the other */
    brood_ring_done(stage->ring, PEER);
    expect_report(recover(stage->ring, OLD_DEAD), 0, 1, 0);
}

static void arrange_again_and_taken(struct stage *stage)
{
    put_old(stage, 1);
    die_in_get(stage->ring, OLD_DEAD);
    expect_report(recover(stage->ring, OLD_DEAD), 0, 1, 0);
    get(stage->ring, PEER);
    brood_ring_done(stage->ring, PEER);
}

static void arrange_in_hand(struct stage *stage)
{
    put_old(stage, 2);
    get(stage->ring, VICTIM);
}

static void arrange_last_in_hand(struct stage *stage)
{
    put_old(stage, 1);
    get(stage->ring, VICTIM);
}

static void arrange_unfinished_put(struct stage *stage)
{
    put_old(stage, 1);
    die_in_put(stage->ring, OLD_DEAD);
}

static void arrange_unfinished_get(struct stage *stage)
{
    put_old(stage, 3);
    die_in_get(stage->ring, OLD_DEAD);
    get(stage->ring, PEER);
    brood_ring_done(stage->ring, PEER);
}

static void arrange_unfinished_hand(struct stage *stage)
{
    put_old(stage, 2);
    get(stage->ring, OLD_DEAD);
    *word_at(stage->ring, 0) = ring_word(RING_READING, OLD_DEAD, 0); /* it was about to free the slot */
}

static void act_put(struct stage *stage)
{
    uint64_t message = FROM_VICTIM;

    (void)brood_ring_put(stage->ring, VICTIM, &message);
}

static void act_get(struct stage *stage)
{
    (void)brood_ring_get(stage->ring, VICTIM, &stage->got);
}

static void act_done(struct stage *stage)
{
    brood_ring_done(stage->ring, VICTIM);
}

static void act_recover(struct stage *stage)
{
    struct brood_ring_report report;
    int r = brood_ring_recover(stage->ring, OLD_DEAD, &report);

    (void)r;
}

/* What became of the message: `-` nothing, it was never begun or is dealt with; `u` an unfinished put; `d` delivered once;
 * `r` delivered again, after the victim had claimed it; `h` in the victim's hand. */
static const struct scene scenes[] = {
    {"put", arrange_nothing, act_put, "-ud", FROM_VICTIM},
    {"put behind others", arrange_two, act_put, "-ud", FROM_VICTIM},
    {"put into a full ring", arrange_full, act_put, "-", FROM_VICTIM},
    {"put over a tomb", arrange_tomb, act_put, "-ud", FROM_VICTIM},
    {"put after a stale hint", arrange_stale_hints, act_put, "-ud", FROM_VICTIM},
    {"get", arrange_two, act_get, "drh", 2},
    {"get from an empty ring", arrange_nothing, act_get, "-", 2},
    {"get after a get: the last message", arrange_last_in_hand, act_get, "h-", 2},
    {"get after a get: the next message", arrange_in_hand, act_get, "drh", 3},
    {"get after a tomb", arrange_tomb, act_get, "drh", 2},
    {"get after a stale hint", arrange_stale_hints, act_get, "drh", 2},
    {"get what is delivered again", arrange_again, act_get, "drh", 2},
    {"get where something was delivered again", arrange_again_and_taken, act_get, "-", 2},
    {"done", arrange_in_hand, act_done, "h-", 2},
    {"recover an unfinished put", arrange_unfinished_put, act_recover, "-", FROM_VICTIM},
    {"recover an unfinished get", arrange_unfinished_get, act_recover, "d", 2},
    {"recover what was in hand", arrange_unfinished_hand, act_recover, "-", 2},
};

/* The processes that put and get besides the victim keep account of it here. */
struct account {
    bool present[MESSAGES]; /* in the ring at the beginning, or put since */
    unsigned delivered[MESSAGES];
};

static void drain(struct stage *stage, struct account *account)
{
    uint64_t message;

    while (brood_ring_get(stage->ring, HEIR, &message) == 0) {
        ck_assert_uint_lt(message, MESSAGES);
        account->delivered[message]++;
    }
    brood_ring_done(stage->ring, HEIR);
}

/* What others do while the victim stands still. */
static void stand_by(struct stage *stage, struct account *account)
{
    (void)stage;
    (void)account;
}

static void work_hard(struct stage *stage, struct account *account)
{
    uint64_t message = MESSAGES / 2;

    renew_hints(stage->ring);
    for (int lap = 0; lap < 3; lap++) {
        while (message < MESSAGES && brood_ring_put(stage->ring, PEER, &message) == 0)
            account->present[message++] = true;
        drain(stage, account);
    }
}

static void (*const meanwhile[])(struct stage *, struct account *) = {stand_by, work_hard};

static void step(pid_t pid)
{
    int status;

    ck_assert_int_eq((int)ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP, "a step ended with status %#x", (unsigned)status);
}

static void play(const struct scene *scene, struct stage *stage)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        _exit(77);
    (void)raise(SIGSTOP);
    stage->phase = 1;
    scene->act(stage);
    stage->phase = 2;
    for (;;)
        (void)pause();
}

/* A victim that is about to begin.  0: no process may trace here. */
static pid_t victim(const struct scene *scene, struct stage *stage)
{
    pid_t pid = fork();
    int status;

    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        play(scene, stage);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status)) {
        (void)fprintf(stderr, "ptrace is not permitted here: no death at each instruction\n");
        return 0;
    }
    ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    while (stage->phase == 0)
        step(pid);
    return pid;
}

static char fate_of(uint64_t message, const struct account *account, struct brood_ring_report report)
{
    ck_assert_uint_le(account->delivered[message], 1);
    if (account->delivered[message] == 0)
        return report.unfinished_puts ? 'u' : report.in_hand ? 'h' : '-';
    ck_assert_uint_eq(report.unfinished_puts, 0);
    return report.redelivered ? 'r' : 'd';
}

/* All others have one fate as well. */
static void expect_others_delivered(const struct scene *scene, const struct account *account)
{
    for (uint64_t i = 0; i < MESSAGES; i++)
        if (i != scene->message)
            ck_assert_msg(account->delivered[i] == account->present[i], "%s: message %d was delivered %u times",
                          scene->name, (int)i, account->delivered[i]);
}

#define RING_BYTES brood_ring_bytes(4, 8)

static struct brood_ring *copy_of(const struct brood_ring *ring)
{
    struct brood_ring *copy = shared_memory(RING_BYTES);

    memcpy((void *)copy, ring, RING_BYTES);
    return copy;
}

/* What can be got from the ring before the victim begins. */
static struct account account_of(const struct brood_ring *ring)
{
    struct stage copy = {.ring = copy_of(ring)};
    struct account drained = {0}, account = {0};

    recover(copy.ring, OLD_DEAD);
    drain(&copy, &drained);
    for (int i = 0; i < MESSAGES; i++)
        account.present[i] = drained.delivered[i] != 0;
    munmap(copy.ring, RING_BYTES);
    return account;
}

/* What becomes of the scene's message if the victim dies with the ring like this. */
static char fate_in(const struct brood_ring *ring, const struct scene *scene, int variant, struct account account)
{
    struct stage copy = {.ring = copy_of(ring)};
    struct brood_ring_report report;

    meanwhile[variant](&copy, &account);
    report = recover(copy.ring, VICTIM);
    recover(copy.ring, OLD_DEAD);
    if (variant == 0)
        set_hints(copy.ring, 0, 0);
    drain(&copy, &account);
    expect_others_delivered(scene, &account);
    expect_whole(copy.ring, VICTIM);
    munmap(copy.ring, RING_BYTES);
    return fate_of(scene->message, &account, report);
}

static void append(char *fates, char fate)
{
    size_t length = strlen(fates);

    ck_assert_uint_lt(length, 8);
    if (length == 0 || fates[length - 1] != fate)
        fates[length] = fate;
}

static struct stage *stage_for(const struct scene *scene)
{
    struct stage *stage = shared_memory(sizeof(*stage));

    stage->ring = ring_of(4, 8);
    scene->arrange(stage);
    return stage;
}

static void clear(struct stage *stage)
{
    munmap(stage->ring, RING_BYTES);
    munmap(stage, sizeof(*stage));
}

START_TEST(at_whatever_instruction_one_is_killed_nothing_is_lost_or_doubled)
{
    const struct scene *scene = &scenes[_i];
    struct stage *stage = stage_for(scene);
    struct account account = account_of(stage->ring);
    struct brood_ring *seen = shared_memory(RING_BYTES);
    char fates[2][10] = {{0}};
    pid_t pid = victim(scene, stage);

    while (pid != 0) {
        if (memcmp(seen, stage->ring, RING_BYTES) != 0) {
            memcpy((void *)seen, stage->ring, RING_BYTES);
            append(fates[0], fate_in(seen, scene, 0, account));
            append(fates[1], fate_in(seen, scene, 1, account));
        }
        if (stage->phase == 2)
            break;
        step(pid);
    }
    if (pid != 0) {
        put_to_death(pid);
        ck_assert_msg(strcmp(fates[0], scene->fates) == 0, "%s: %s, not %s", scene->name, fates[0], scene->fates);
        ck_assert_msg(strcmp(fates[1], scene->fates) == 0, "%s: %s, not %s", scene->name, fates[1], scene->fates);
    }
    munmap(seen, RING_BYTES);
    clear(stage);
}
END_TEST

/* The same with real deaths, wherever the ring has just changed: the kill itself changes nothing. */
START_TEST(a_kill_leaves_what_was_there_at_the_last_instruction)
{
    const struct scene *scene = &scenes[_i];
    struct brood_ring *seen = NULL;
    bool ended = false;

    for (int changes = 0; !ended; changes++) {
        struct stage *stage = stage_for(scene);
        struct account account = account_of(stage->ring);
        pid_t pid = victim(scene, stage);

        for (int i = 0; pid != 0 && i < changes && !ended; i++) {
            seen = copy_of(stage->ring);
            while (!(ended = stage->phase == 2) && memcmp(seen, stage->ring, RING_BYTES) == 0)
                step(pid);
            munmap(seen, RING_BYTES);
        }
        if (pid == 0)
            break;
        seen = copy_of(stage->ring);
        put_to_death(pid);
        ck_assert_mem_eq(seen, stage->ring, RING_BYTES);
        (void)fate_in(stage->ring, scene, 0, account);
        munmap(seen, RING_BYTES);
        clear(stage);
    }
}
END_TEST

/* ---- the suite ---- */

int main(int argc, char **argv)
{
    Suite *suite = suite_create("ring");

    add_loop_tests(suite, "threads", 1, 5, threads_neither_lose_nor_double_a_message,
                   threads_go_on_while_others_die_and_are_recovered, NULL);
    if (argc > 1 && strcmp(argv[1], "--threads") == 0)
        return run_suite(suite);
    add_tests(suite, "shapes", what_makes_no_ring_is_refused_in_words, an_owner_number_that_is_none_is_refused_in_words,
              memory_that_is_not_such_a_ring_is_found_out, a_ring_that_was_written_over_is_found_out,
              a_ring_may_begin_at_any_cache_line, NULL);
    add_loop_tests(suite, "sizes", 0, 15, a_message_of_any_size_comes_out_as_it_went_in, NULL);
    add_loop_tests(suite, "bounds", 0, 4, a_ring_is_full_at_its_capacity_and_then_empty_after_as_many, NULL);
    add_tests(suite, "order", a_slot_is_free_as_soon_as_its_message_was_got, order_is_kept_for_thousands_of_laps,
              positions_wrap_without_notice, recovery_goes_back_over_the_wrap, a_stale_hint_costs_nothing_but_time,
              an_owner_that_slept_for_months_finds_its_way, NULL);
    add_tests(suite, "recovery", an_unfinished_put_is_reported_and_passed,
              a_message_that_was_not_given_is_delivered_again_and_first, a_message_survives_any_number_of_deaths,
              a_message_in_the_hand_of_the_dead_is_reported_and_not_delivered_again,
              a_message_that_was_dealt_with_is_not_in_hand, what_others_hold_is_left_to_them, to_recover_twice_is_harmless,
              a_number_is_as_good_as_new_after_recovery, others_go_on_while_one_is_recovered, NULL);
    add_loop_tests(suite, "tombs", 0, 2, a_ring_full_of_unfinished_puts_takes_messages_again, NULL);
    add_loop_tests(suite, "processes", 1, 5, processes_neither_lose_nor_double_a_message, NULL);
    add_loop_tests(suite, "deaths", 0, (int)(sizeof(scenes) / sizeof(scenes[0])),
                   at_whatever_instruction_one_is_killed_nothing_is_lost_or_doubled,
                   a_kill_leaves_what_was_there_at_the_last_instruction, NULL);
    return run_suite(suite);
}
