/* check_lane.c - lanes: slots and their words, claims, the mailbox, and what is found after a death. */
#include <pthread.h>
#include <stdlib.h>

#include "child.h"
#include "proto/lane.h"

#define SLOTS 8 /* of the ring */
#define LANES 2
#define WORKERS_HERE 3

/* A pool's lanes as they lie in a segment, and this process's view of them. */
struct memory {
    struct slot slots[LANES][SLOTS + 1];
    struct slot_extension extensions[LANES][SLOTS + 1];
    struct worker_state worker_states[WORKERS_HERE];
};

static struct memory *memory;
static struct lane lanes[LANES];
static struct lane *const lane = &lanes[0];

static void lay_out(void)
{
    memory = shared_memory(sizeof(*memory));
    for (int i = 0; i < LANES; i++)
        lanes[i] = (struct lane){memory->slots[i], memory->extensions[i], &memory->worker_states[i], SLOTS - 1, SLOTS};
}

static struct slot *slot_at(uint64_t position)
{
    return &lane->slots[lane_index(lane, position)];
}

static void publish(uint64_t position)
{
    slot_publish(slot_at(position), position);
}

static bool claim(uint64_t position, unsigned worker)
{
    return slot_claim(slot_at(position), &memory->worker_states[worker], 0, position, worker);
}

static void settle(uint64_t position, unsigned worker)
{
    ck_assert(claim(position, worker));
    slot_answer(slot_at(position), position, worker);
}

static void expect_word(uint64_t position, enum slot_state state, unsigned worker)
{
    uint64_t word = slot_look(slot_at(position));

    ck_assert_int_eq(word_state(word), state);
    ck_assert_uint_eq(word_worker(word), worker);
    ck_assert_uint_eq(word_position(word), position);
}

/* ---- words ---- */

static const uint64_t positions[] = {0, 1, 8, 65535, MAILBOX - 1, MAILBOX, MAILBOX | 7, MAILBOX | (MAILBOX - 1)};
static const unsigned workers[] = {0, 1, 1023, 4095};
#define POSITIONS (int)(sizeof(positions) / sizeof(positions[0]))
#define WORKERS (int)(sizeof(workers) / sizeof(workers[0]))

START_TEST(a_word_carries_a_state_a_worker_and_a_position)
{
    for (int state = SLOT_FREE; state <= SLOT_CANCELLED; state++)
        for (int i = 0; i < WORKERS; i++) {
            uint64_t word = word_of((enum slot_state)state, workers[i], positions[_i]);

            ck_assert_int_eq(word_state(word), state);
            ck_assert_uint_eq(word_worker(word), workers[i]);
            ck_assert_uint_eq(word_position(word), positions[_i]);
        }
}
END_TEST

START_TEST(a_reference_carries_a_lane_and_a_position)
{
    for (int i = 0; i < WORKERS; i++) {
        uint64_t ref = slot_ref(workers[i], positions[_i]);

        ck_assert_uint_eq(ref_lane(ref), workers[i]);
        ck_assert_uint_eq(ref_position(ref), positions[_i]);
    }
}
END_TEST

START_TEST(positions_go_round_the_ring_and_the_mailbox_lies_behind_it)
{
    lay_out();
    for (uint64_t position = 0; position < 3 * SLOTS; position++) {
        ck_assert_uint_eq(lane_index(lane, position), position % SLOTS);
        ck_assert_uint_eq(lane_index(lane, MAILBOX | position), SLOTS);
    }
}
END_TEST

/* ---- one slot ---- */

static const uint64_t tasks[] = {SLOTS, SLOTS + 3, 1000, MAILBOX, MAILBOX | 77};
#define TASKS (int)(sizeof(tasks) / sizeof(tasks[0]))

START_TEST(a_task_is_published_claimed_and_answered)
{
    uint64_t position = tasks[_i];

    lay_out();
    publish(position);
    expect_word(position, SLOT_READY, 0);
    ck_assert(claim(position, 1));
    expect_word(position, SLOT_RUN, 1);
    slot_answer(slot_at(position), position, 1);
    expect_word(position, SLOT_DONE, 1);
}
END_TEST

START_TEST(a_claim_is_made_once)
{
    uint64_t position = tasks[_i];

    lay_out();
    publish(position);
    ck_assert(claim(position, 1));
    ck_assert(!claim(position, 0));
    ck_assert(!claim(position, 1));
    expect_word(position, SLOT_RUN, 1);
}
END_TEST

START_TEST(only_what_is_ready_at_that_position_can_be_claimed)
{
    uint64_t position = tasks[_i], lap = position & MAILBOX ? 1 : SLOTS;

    lay_out();
    ck_assert(!claim(position, 1)); /* never published */
    publish(position);
    ck_assert(!claim(position + lap, 1)); /* the same slot, later … */
    ck_assert(!claim(position - lap, 1)); /* … and earlier */
    ck_assert(claim(position, 1));
    slot_answer(slot_at(position), position, 1);
    ck_assert(!claim(position, 0));
    slot_mark_lost(slot_at(position), position, 1);
    ck_assert(!claim(position, 0));
}
END_TEST

START_TEST(a_cancelled_task_is_not_claimed)
{
    uint64_t position = tasks[_i];

    lay_out();
    publish(position);
    ck_assert(slot_cancel(slot_at(position), position));
    expect_word(position, SLOT_CANCELLED, 0);
    ck_assert(!claim(position, 1));
    ck_assert(!slot_cancel(slot_at(position), position));
}
END_TEST

START_TEST(only_unclaimed_tasks_are_cancelled)
{
    uint64_t position = tasks[_i];
    struct slot *slot;

    lay_out();
    slot = slot_at(position);
    ck_assert(!slot_cancel(slot, position));
    publish(position);
    ck_assert(!slot_cancel(slot, position + SLOTS));
    ck_assert(claim(position, 1));
    ck_assert(!slot_cancel(slot, position));
    slot_answer(slot, position, 1);
    ck_assert(!slot_cancel(slot, position));
    expect_word(position, SLOT_DONE, 1);
}
END_TEST

START_TEST(a_lost_task_names_the_worker_that_died)
{
    uint64_t position = tasks[_i];

    lay_out();
    publish(position);
    ck_assert(claim(position, 1));
    slot_mark_lost(slot_at(position), position, 1);
    expect_word(position, SLOT_LOST, 1);
}
END_TEST

START_TEST(one_waiter_is_named_and_several_are_all)
{
    struct slot *slot;

    lay_out();
    slot = slot_at(SLOTS);
    ck_assert_uint_eq(slot_waiter(slot), WAITER_NONE);
    ck_assert_uint_eq(slot_add_waiter(slot, WAITER_NONE, 5), 5);
    ck_assert_uint_eq(slot_waiter(slot), 5);
    ck_assert_uint_eq(slot_add_waiter(slot, 5, 5), 5);
    ck_assert_uint_eq(slot_add_waiter(slot, 5, 63), WAITER_ALL);
    ck_assert_uint_eq(slot_waiter(slot), WAITER_ALL);
    ck_assert_uint_eq(slot_add_waiter(slot, WAITER_ALL, 5), WAITER_ALL);
    ck_assert_uint_eq(slot_waiter(slot), WAITER_ALL);
}
END_TEST

/* ---- what comes next ---- */

static uint64_t head;

static void begin(void)
{
    lay_out();
    head = lane_first_position(lane);
}

static void expect_next(uint64_t position)
{
    uint64_t next = 0;

    ck_assert(brood__lane_next(lane, &head, &next));
    ck_assert_uint_eq(next, position);
}

static void expect_none(void)
{
    uint64_t next;

    ck_assert(!brood__lane_next(lane, &head, &next));
}

START_TEST(in_a_fresh_lane_nothing_waits)
{
    uint64_t position;

    begin();
    expect_none();
    ck_assert_uint_eq(head, lane_first_position(lane));
    ck_assert(!brood__lane_waiting(lane, &position));
}
END_TEST

START_TEST(tasks_come_in_the_order_of_their_positions_lap_after_lap)
{
    begin();
    for (uint64_t position = head; position < 5 * SLOTS; position += 3) {
        for (uint64_t i = 0; i < 3; i++)
            publish(position + i);
        for (uint64_t i = 0; i < 3; i++) {
            expect_next(position + i);
            expect_next(position + i); /* looking takes nothing */
            settle(position + i, 0);
        }
        expect_none();
        ck_assert_uint_eq(head, position + 3);
    }
}
END_TEST

START_TEST(what_others_took_is_passed_over)
{
    begin();
    for (uint64_t i = 0; i < 6; i++)
        publish(head + i);
    settle(head, 1);
    ck_assert(claim(head + 1, 1));
    ck_assert(slot_cancel(slot_at(head + 2), head + 2));
    ck_assert(claim(head + 4, 1));
    slot_mark_lost(slot_at(head + 4), head + 4, 1);
    expect_next(SLOTS + 3);
    settle(SLOTS + 3, 0);
    expect_next(SLOTS + 5);
}
END_TEST

START_TEST(a_slot_that_was_used_again_since_is_met_again_a_lap_later)
{
    begin();
    for (uint64_t i = 0; i < SLOTS; i++)
        publish(head + i);
    for (uint64_t i = 0; i < SLOTS; i++)
        settle(head + i, 1); /* all stolen */
    publish(head + SLOTS);
    publish(head + SLOTS + 1);
    expect_next(2 * SLOTS);
    ck_assert_uint_eq(head, 2 * SLOTS);
    settle(2 * SLOTS, 0);
    expect_next(2 * SLOTS + 1);
}
END_TEST

START_TEST(the_mailbox_comes_first_and_moves_nothing)
{
    begin();
    publish(head);
    publish(MAILBOX | 1);
    expect_next(MAILBOX | 1);
    ck_assert_uint_eq(head, lane_first_position(lane));
    settle(MAILBOX | 1, 0);
    expect_next(head);
    publish(MAILBOX | 2);
    expect_next(MAILBOX | 2);
    ck_assert(slot_cancel(slot_at(MAILBOX | 2), MAILBOX | 2));
    expect_next(lane_first_position(lane));
}
END_TEST

START_TEST(a_look_for_waiting_tasks_begins_at_the_workers_head)
{
    uint64_t position = 0;

    begin();
    atomic_store(&lane->worker_state->head, head + 1);
    for (uint64_t i = 0; i < 3; i++)
        publish(head + i);
    ck_assert(brood__lane_waiting(lane, &position));
    ck_assert_uint_eq(position, head + 1);
    settle(head + 1, 1);
    settle(head + 2, 1);
    ck_assert(!brood__lane_waiting(lane, &position));
    publish(MAILBOX | 9);
    ck_assert(brood__lane_waiting(lane, &position));
    ck_assert_uint_eq(position, MAILBOX | 9);
    ck_assert_uint_eq(atomic_load(&lane->worker_state->head), head + 1); /* it is the worker's alone */
}
END_TEST

/* A worker that means harm: whenever it comes, all slots are a lap further on. */
#define HUNTED_SLOTS ((uint64_t)1 << 16)
#define HUNTS_MAX 1000

static struct lane hunted;
static volatile sig_atomic_t hunts;

static void hunt_after_us(int us)
{
    struct itimerval once = {.it_value.tv_usec = us};

    (void)setitimer(ITIMER_REAL, &once, NULL);
}

static void advance_all(int number)
{
    (void)number;
    if (++hunts == HUNTS_MAX)
        return;
    for (uint64_t i = 0; i < HUNTED_SLOTS; i++)
        atomic_store_explicit(&hunted.slots[(head + i) % HUNTED_SLOTS].word, word_of(SLOT_DONE, 0, head + i),
                              memory_order_relaxed);
    hunt_after_us(50);
}

START_TEST(a_look_ends_however_fast_a_worker_advances_the_lane)
{
    uint64_t position;

    hunted = (struct lane){
        .slots = shared_memory((HUNTED_SLOTS + 1) * sizeof(struct slot)), .mask = HUNTED_SLOTS - 1, .depth = HUNTED_SLOTS};
    head = lane_first_position(&hunted);
    ck_assert(signal(SIGALRM, advance_all) != SIG_ERR);
    advance_all(SIGALRM);
    ck_assert(!brood__lane_next(&hunted, &head, &position));
    hunt_after_us(0);
    ck_assert_int_lt(hunts, HUNTS_MAX);
}
END_TEST

/* ---- where a worker begins whose predecessor died ---- */

static unsigned seed;

static unsigned pick(unsigned below)
{
    seed = seed * 1103515245 + 12345;
    return (seed >> 16) % below;
}

static bool is_state(uint64_t position, enum slot_state state)
{
    uint64_t word = slot_look(slot_at(position));

    return word_state(word) == state && word_position(word) == position;
}

/* The host publishes while there is room, thieves and the host take what they like. */
static void disturb(uint64_t *tail, uint64_t *oldest)
{
    for (unsigned i = pick(6); i > 0; i--)
        if (*tail < *oldest + SLOTS)
            publish((*tail)++);
    for (uint64_t position = *oldest; position < *tail; position++) {
        if (!is_state(position, SLOT_READY) || pick(3) == 0)
            continue;
        if (pick(2) == 0)
            settle(position, 1);
        else
            ck_assert(slot_cancel(slot_at(position), position));
    }
    while (*oldest < *tail && !is_state(*oldest, SLOT_READY))
        ++*oldest;
}

/* The head may be as old as its worker's last task but one: it can die before it stores the new one. */
START_TEST(a_reader_that_begins_at_an_old_head_finds_every_waiting_task_in_order)
{
    uint64_t tail, oldest, stored;

    begin();
    seed = 7;
    tail = oldest = stored = head;
    for (int round = 0; round < 500; round++) {
        disturb(&tail, &oldest);
        head = stored;
        for (uint64_t position = oldest; position < tail; position++)
            if (is_state(position, SLOT_READY)) {
                expect_next(position);
                if (pick(4) == 0)
                    break; /* dies before the claim */
                settle(position, 0);
                head = position + 1;
                if (pick(3) > 0)
                    stored = head;
            }
        while (oldest < tail && !is_state(oldest, SLOT_READY))
            oldest++;
        if (oldest == tail)
            expect_none();
    }
    ck_assert_uint_gt(tail, 20 * SLOTS);
}
END_TEST

/* ---- what a dead worker held ---- */

static void expect_held(unsigned worker, unsigned in_lane, uint64_t position)
{
    unsigned found_lane = 99;
    uint64_t found_position = 99;
    struct slot *slot = brood__lane_held_by(lanes, LANES, worker, &found_lane, &found_position);

    ck_assert_ptr_eq(slot, &lanes[in_lane].slots[lane_index(&lanes[in_lane], position)]);
    ck_assert_uint_eq(found_lane, in_lane);
    ck_assert_uint_eq(found_position, position);
}

static void expect_nothing_held(unsigned worker)
{
    unsigned found_lane;
    uint64_t found_position;

    ck_assert_ptr_null(brood__lane_held_by(lanes, LANES, worker, &found_lane, &found_position));
}

START_TEST(a_worker_that_never_claimed_anything_holds_nothing)
{
    lay_out();
    expect_nothing_held(0);
    expect_nothing_held(1);
    publish(SLOTS);
    expect_nothing_held(0);
}
END_TEST

START_TEST(the_slot_that_it_runs_is_found_in_any_lane)
{
    for (unsigned in_lane = 0; in_lane < LANES; in_lane++) {
        uint64_t position = tasks[_i];

        lay_out();
        struct slot *slot = &lanes[in_lane].slots[lane_index(&lanes[in_lane], position)];

        slot_publish(slot, position);
        ck_assert(slot_claim(slot, &memory->worker_states[1], in_lane, position, 1));
        expect_held(1, in_lane, position);
        expect_nothing_held(0);
        slot_answer(slot, position, 1);
        expect_nothing_held(1);
    }
}
END_TEST

START_TEST(a_slot_that_it_only_meant_to_claim_is_not_its_own)
{
    uint64_t position = tasks[_i];

    lay_out();
    publish(position);
    atomic_store(&memory->worker_states[1].current, slot_ref(0, position));
    expect_nothing_held(1); /* died before the claim */
    ck_assert(claim(position, 0));
    ck_assert(!claim(position, 1));
    expect_nothing_held(1); /* another was first */
    expect_held(0, 0, position);
}
END_TEST

START_TEST(a_settled_slot_is_held_by_no_worker)
{
    uint64_t position = tasks[_i];

    lay_out();
    publish(position);
    ck_assert(claim(position, 1));
    slot_mark_lost(slot_at(position), position, 1);
    expect_nothing_held(1);
    publish(position + SLOTS);
    expect_nothing_held(1);
}
END_TEST

START_TEST(a_worker_that_scribbled_over_its_state_holds_nothing)
{
    static const uint64_t nonsense[] = {UINT64_MAX, (uint64_t)LANES << WORD_POSITION_BITS | SLOTS,
                                        (uint64_t)0xffff << WORD_POSITION_BITS | SLOTS};

    lay_out();
    publish(SLOTS);
    ck_assert(claim(SLOTS, 1));
    for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
        atomic_store(&memory->worker_states[1].current, nonsense[i]);
        expect_nothing_held(1);
    }
}
END_TEST

/* Host and worker 1 in one: publishes, claims and answers until it is killed, in lanes of its own and of another. */
static void work_until_killed(void *argument)
{
    die_after_us(*(int *)argument);
    for (uint64_t position = SLOTS;; position++) {
        unsigned number = position % 5 == 0;
        uint64_t at = position % 3 == 0 ? MAILBOX | position : position;
        struct slot *slot = &lanes[number].slots[lane_index(&lanes[number], at)];

        slot_publish(slot, at);
        if (slot_claim(slot, &memory->worker_states[1], number, at, 1))
            slot_answer(slot, at, 1);
    }
}

/* The slots that are in the hands of worker 1, by looking at all of them. */
static int count_running(struct slot **ret_slot)
{
    int count = 0;

    for (int i = 0; i < LANES; i++)
        for (int j = 0; j <= SLOTS; j++) {
            uint64_t word = slot_look(&lanes[i].slots[j]);

            if (word_state(word) == SLOT_RUN && word_worker(word) == 1) {
                *ret_slot = &lanes[i].slots[j];
                count++;
            }
        }
    return count;
}

START_TEST(whenever_a_worker_is_killed_one_look_finds_what_it_held)
{
    int held = 0;

    lay_out();
    for (int round = 0; round < 200; round++) {
        struct slot *running = NULL;
        unsigned found_lane;
        uint64_t found_position;
        int life_us = 20 + 3 * round;

        reap(spawn(work_until_killed, &life_us));
        ck_assert_int_le(count_running(&running), 1);
        ck_assert_ptr_eq(brood__lane_held_by(lanes, LANES, 1, &found_lane, &found_position), running);
        if (running) {
            slot_mark_lost(running, found_position, 1);
            ck_assert_int_eq(count_running(&running), 0);
            held++;
        }
    }
    ck_assert_msg(held > 0, "no worker was killed while it held a slot");
}
END_TEST

/* ---- many at once ---- */

#define CLAIMERS 3
#define RACES 20000

/* The host publishes, collects and now and then cancels; the claimers all claim from the one lane.  Position and argument name
 * the task; the threads only count, and the host checks. */
static _Atomic unsigned char runs[RACES];
static _Atomic bool is_over, saw_a_wrong_argument;

static bool run_next(unsigned worker, uint64_t *own_head)
{
    uint64_t position;
    struct slot *slot;

    if (!brood__lane_next(lane, own_head, &position))
        return false;
    slot = slot_at(position);
    if (!claim(position, worker))
        return true;
    if (slot->arg.offset >= RACES || slot->task != (uint16_t)(position * 3))
        atomic_store(&saw_a_wrong_argument, true);
    else
        atomic_fetch_add_explicit(&runs[slot->arg.offset], 1, memory_order_relaxed);
    slot->result.offset = slot->arg.offset * 5;
    slot->status = (int16_t)worker;
    slot_answer(slot, position, worker);
    return true;
}

static void *run_all(void *argument)
{
    uint64_t own_head = lane_first_position(lane);

    while (!atomic_load(&is_over))
        if (!run_next(*(unsigned *)argument, &own_head))
            (void)sched_yield();
    return NULL;
}

static void hand_over(uint64_t position, uint64_t number)
{
    struct slot *slot = slot_at(position);

    slot->task = (uint16_t)(position * 3);
    slot->arg.offset = number;
    slot_publish(slot, position);
}

/* Waits until the slot can be used for another task, and checks what has become of this one. */
static void collect(uint64_t position)
{
    struct slot *slot = slot_at(position);
    uint64_t word, number = slot->arg.offset;
    unsigned wanted;

    while (word_state(word = slot_look(slot)) == SLOT_READY || word_state(word) == SLOT_RUN)
        (void)sched_yield();
    wanted = word_state(word) == SLOT_CANCELLED ? 0 : 1;
    if (word_position(word) != position || atomic_load(&runs[number]) != wanted)
        ck_abort_msg("task %llu ran %d times, not %u", (unsigned long long)number, runs[number], wanted);
    if (wanted && (slot->result.offset != number * 5 || (unsigned)slot->status != word_worker(word)))
        ck_abort_msg("task %llu was answered with %llu by %d, and %u signed it", (unsigned long long)number,
                     (unsigned long long)slot->result.offset, slot->status, word_worker(word));
}

static unsigned race_through(void)
{
    uint64_t tail = lane_first_position(lane), oldest = tail, mail = MAILBOX;
    unsigned cancelled = 0;

    for (uint64_t number = 0; number < RACES; number++) {
        if (number % 11 == 0) {
            if (mail > MAILBOX)
                collect(mail);
            hand_over(++mail, number);
        } else {
            if (tail == oldest + SLOTS)
                collect(oldest++);
            hand_over(tail++, number);
        }
        if (number % 5 == 0)
            cancelled += slot_cancel(slot_at(tail - 1), tail - 1) + slot_cancel(slot_at(mail), mail);
    }
    for (; oldest < tail; oldest++)
        collect(oldest);
    collect(mail);
    return cancelled;
}

START_TEST(every_task_runs_once_unless_it_was_cancelled)
{
    unsigned numbers[CLAIMERS] = {0, 1, 2}, cancelled;
    pthread_t threads[CLAIMERS];

    lay_out();
    for (int i = 0; i < CLAIMERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_all, &numbers[i]), 0);
    cancelled = race_through();
    atomic_store(&is_over, true);
    for (int i = 0; i < CLAIMERS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert(!atomic_load(&saw_a_wrong_argument));
    ck_assert_uint_lt(cancelled, RACES);
}
END_TEST

/* ---- the same task at once ---- */

#define MANY 5000
#define TIME_MS 400 /* … or fewer, where the two share a processor */

/* Two rivals go over the same tasks in step: both claim, or one cancels.  Rival number 0 is the host. */
struct rival {
    unsigned number;
    const struct rival *other;
    _Alignas(64) _Atomic uint32_t step;
    unsigned wins[MANY];
};

static struct rival rivals[2];
static struct slot *prizes;
static _Atomic uint32_t end; /* before this one they stop: the first rival says so before the two meet there */

static void *race_for_all(void *argument)
{
    struct rival *own = argument;
    struct worker_state worker_state = {.current = 0};
    int64_t until_ms = now_ms() + TIME_MS;

    for (uint32_t i = 0; i < MANY; i++) {
        if (own == &rivals[0] && now_ms() >= until_ms)
            atomic_store(&end, i);
        meet(&own->step, &own->other->step, i + 1);
        if (i >= atomic_load(&end))
            break;
        stagger(i, 31 + 6 * own->number);
        own->wins[i] =
            own->number == 0 ? slot_cancel(&prizes[i], i) : slot_claim(&prizes[i], &worker_state, 0, i, own->number);
    }
    return NULL;
}

static void expect_one_winner(uint32_t i)
{
    const struct rival *winner = &rivals[rivals[1].wins[i] ? 1 : 0];

    if (rivals[0].wins[i] + rivals[1].wins[i] != 1)
        ck_abort_msg("task %u was won %u times", i, rivals[0].wins[i] + rivals[1].wins[i]);
    if (slot_look(&prizes[i]) != word_of(winner->number == 0 ? SLOT_CANCELLED : SLOT_RUN, winner->number, i))
        ck_abort_msg("task %u was won by %u, and does not say so", i, winner->number);
}

START_TEST(a_task_that_two_want_is_won_once)
{
    pthread_t threads[2];

    prizes = shared_memory(MANY * sizeof(*prizes));
    end = MANY;
    for (uint64_t i = 0; i < MANY; i++)
        slot_publish(&prizes[i], i);
    for (unsigned i = 0; i < 2; i++) {
        rivals[i].number = (unsigned)_i + i;
        rivals[i].other = &rivals[1 - i];
        ck_assert_int_eq(pthread_create(&threads[i], NULL, race_for_all, &rivals[i]), 0);
    }
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_gt(end, 0);
    for (uint32_t i = 0; i < end; i++)
        expect_one_winner(i);
}
END_TEST

/* The other rival is a signal handler. */
static struct {
    struct slot slot;
    struct worker_state worker_state;
    volatile uint64_t position;
    volatile sig_atomic_t wins, interruptions;
} contest;

static void claim_in_between(int signal)
{
    (void)signal;
    contest.interruptions++;
    contest.wins += slot_claim(&contest.slot, &contest.worker_state, 0, contest.position, 1);
}

static bool try_to_win(uint64_t position, bool is_host)
{
    struct worker_state worker_state = {.current = 0};

    return is_host ? slot_cancel(&contest.slot, position) : slot_claim(&contest.slot, &worker_state, 0, position, 2);
}

START_TEST(a_task_that_is_wanted_in_between_is_won_once)
{
    interrupt_often(claim_in_between);
    for (uint64_t position = 1; contest.interruptions < 3000; position++) {
        int wins;

        contest.wins = 0;
        contest.position = position;
        slot_publish(&contest.slot, position);
        wins = try_to_win(position, _i == 0);
        if (wins + contest.wins != 1)
            ck_abort_msg("task %llu was won %d times", (unsigned long long)position, wins + (int)contest.wins);
    }
    interrupt_no_more();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lane");

    add_loop_tests(suite, "words", 0, POSITIONS, a_word_carries_a_state_a_worker_and_a_position,
                   a_reference_carries_a_lane_and_a_position, NULL);
    add_loop_tests(suite, "slot", 0, TASKS, a_task_is_published_claimed_and_answered, a_claim_is_made_once,
                   only_what_is_ready_at_that_position_can_be_claimed, a_cancelled_task_is_not_claimed,
                   only_unclaimed_tasks_are_cancelled, a_lost_task_names_the_worker_that_died, NULL);
    add_tests(suite, "lane", positions_go_round_the_ring_and_the_mailbox_lies_behind_it,
              one_waiter_is_named_and_several_are_all, NULL);
    add_tests(suite, "next", in_a_fresh_lane_nothing_waits, tasks_come_in_the_order_of_their_positions_lap_after_lap,
              what_others_took_is_passed_over, a_slot_that_was_used_again_since_is_met_again_a_lap_later,
              the_mailbox_comes_first_and_moves_nothing, a_look_for_waiting_tasks_begins_at_the_workers_head,
              a_look_ends_however_fast_a_worker_advances_the_lane, NULL);
    add_tests(suite, "successor", a_reader_that_begins_at_an_old_head_finds_every_waiting_task_in_order, NULL);
    add_loop_tests(suite, "held", 0, TASKS, the_slot_that_it_runs_is_found_in_any_lane,
                   a_slot_that_it_only_meant_to_claim_is_not_its_own, a_settled_slot_is_held_by_no_worker, NULL);
    add_tests(suite, "death", a_worker_that_never_claimed_anything_holds_nothing,
              a_worker_that_scribbled_over_its_state_holds_nothing, whenever_a_worker_is_killed_one_look_finds_what_it_held,
              NULL);
    add_tests(suite, "race", every_task_runs_once_unless_it_was_cancelled, NULL);
    add_loop_tests(suite, "rivals", 0, 2, a_task_that_two_want_is_won_once, a_task_that_is_wanted_in_between_is_won_once,
                   NULL);
    return run_suite(suite);
}
