/* check_header.c - what the processes of a pool share: its layout, which threads sleep and are woken, its tasks by name. */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "child.h"
#include "os/fence.h"
#include "proto/header.h"

#define MIB ((size_t)1 << 20)
#define SLOTS 16

static struct shared shared;
static struct header *header;

static void open_board(bool between_processes, unsigned workers)
{
    int r = brood__shared_open(&shared, between_processes ? SEGMENT_JOINED : SEGMENT_PRIVATE, workers, SLOTS, MIB, false);

    ck_assert_msg(r == 0, "%s", brood_error());
    header = shared.header;
}

static void close_board(void)
{
    brood__shared_close(&shared);
    ck_assert_ptr_null(shared.header);
    ck_assert_ptr_null(shared.lanes);
}

static void expect_words(const char *words)
{
    ck_assert_msg(strstr(brood_error(), words) != NULL, "'%s' is not in: %s", words, brood_error());
}

/* ---- layout ---- */

static const unsigned crowds[] = {1, 2, 3, 64, BROOD_WORKERS_MAX};
#define CROWDS (int)(sizeof(crowds) / sizeof(crowds[0]))

/* Takes the bytes for one owner: they lie before the heap, and no other test has them. */
static void take(const void *memory, size_t bytes, size_t alignment)
{
    const char *base = shared.segment.base;
    size_t offset = (size_t)((const char *)memory - base);

    if ((const char *)memory < base || offset + bytes > header->heap_offset || offset + bytes > shared.segment.committed)
        ck_abort_msg("%zu bytes at %zu are outside", bytes, offset);
    if (offset % alignment != 0)
        ck_abort_msg("offset %zu is not aligned", offset);
    for (size_t i = 0; i < bytes; i++)
        if (base[offset + i] != 0)
            ck_abort_msg("byte %zu has two owners", offset + i);
    memset(shared.segment.base + offset, 1, bytes);
}

START_TEST(nothing_on_a_board_overlaps)
{
    unsigned workers = crowds[_i];
    size_t heap;

    open_board(false, workers);
    heap = header->heap_offset;
    ck_assert_uint_eq(header->workers, workers);
    ck_assert_uint_eq(header->lane_slots, SLOTS);
    ck_assert_uint_eq(heap % 4096, 0);
    ck_assert_uint_ge(shared.segment.reserved, heap + MIB - 4096);
    ck_assert_ptr_eq(header, shared.segment.base);
    memset(header, 0, heap);
    header->heap_offset = heap;
    for (unsigned i = 0; i < workers; i++) {
        const struct lane *lane = &shared.lanes[i];

        ck_assert_uint_eq(lane->mask, SLOTS - 1);
        take(lane->worker_state, sizeof(*lane->worker_state), 128);
        take(lane->slots, (SLOTS + 1) * sizeof(*lane->slots), 64);
        take(lane->extensions, (SLOTS + 1) * sizeof(*lane->extensions), 64);
    }
    header->heap_offset = 0;
    for (size_t i = 0; i < sizeof(*header); i++)
        if (shared.segment.base[i] != 0)
            ck_abort_msg("byte %zu of the board has two owners", i);
    close_board();
}
END_TEST

START_TEST(a_board_begins_empty)
{
    open_board(true, 3);
    ck_assert_int_eq(brood__header_state(header), HEADER_OPEN);
    ck_assert_uint_eq(brood__idle_count(&shared), 0);
    ck_assert(!brood__idle_any(&shared));
    ck_assert_ptr_null(brood__header_entry(header, 0));
    for (unsigned i = 0; i < 3; i++) {
        uint64_t position;

        ck_assert_int_eq(brood__worker_phase(shared.lanes[i].worker_state), PHASE_EMPTY);
        ck_assert(!brood__lane_waiting(&shared.lanes[i], &position));
    }
    close_board();
}
END_TEST

START_TEST(a_first_task_is_seen_by_thieves_before_its_worker_has_looked)
{
    open_board(true, 3);
    for (unsigned i = 0; i < 3; i++) {
        struct lane *lane = &shared.lanes[i];
        uint64_t first = lane_first_position(lane), position = 0;

        slot_publish(&lane->slots[lane_index(lane, first)], first);
        ck_assert(brood__lane_waiting(lane, &position));
        ck_assert_uint_eq(position, first);
    }
    close_board();
}
END_TEST

static void open_without_memory(void *argument)
{
    struct shared untouched = {.segment = SEGMENT_CLOSED};

    (void)argument;
    deny(SYS_mmap, ENOMEM);
    ck_assert_int_eq(brood__shared_open(&untouched, true, 4, SLOTS, MIB, false), -ENOMEM);
    expect_words("address space");
    ck_assert_ptr_null(untouched.header);
}

START_TEST(a_board_that_does_not_fit_says_so)
{
    in_child(open_without_memory, NULL);
}
END_TEST

START_TEST(a_state_is_what_was_set_last)
{
    open_board(false, 1);
    brood__header_set_state(header, HEADER_STOPPING);
    ck_assert_int_eq(brood__header_state(header), HEADER_STOPPING);
    brood__header_set_state(header, HEADER_BROKEN);
    ck_assert_int_eq(brood__header_state(header), HEADER_BROKEN);
    brood__worker_set_phase(shared.lanes[0].worker_state, PHASE_READY);
    ck_assert_int_eq(brood__worker_phase(shared.lanes[0].worker_state), PHASE_READY);
    close_board();
}
END_TEST

/* ---- joining ---- */

START_TEST(an_attached_process_sees_the_same_header_and_lanes)
{
    struct shared other;

    open_board(true, 5);
    slot_publish(&shared.lanes[3].slots[7], 23);
    ck_assert_int_eq(brood__shared_attach(&other, dup(shared.segment.fd)), 0);
    ck_assert_ptr_ne(other.header, header);
    ck_assert_uint_eq(other.header->workers, 5);
    for (unsigned i = 0; i < 5; i++) {
        struct lane *theirs = &other.lanes[i], *ours = &shared.lanes[i];
        char *their_base = other.segment.base, *our_base = shared.segment.base;

        ck_assert_int_eq((char *)theirs->slots - their_base, (char *)ours->slots - our_base);
        ck_assert_int_eq((char *)theirs->extensions - their_base, (char *)ours->extensions - our_base);
        ck_assert_int_eq((char *)theirs->worker_state - their_base, (char *)ours->worker_state - our_base);
        ck_assert_uint_eq(theirs->mask, ours->mask);
    }
    ck_assert_uint_eq(slot_look(&other.lanes[3].slots[7]), word_of(SLOT_READY, 0, 23));
    brood__header_set_state(other.header, HEADER_STOPPING);
    ck_assert_int_eq(brood__header_state(header), HEADER_STOPPING);
    brood__shared_close(&other);
    close_board();
}
END_TEST

/* The descriptor may or may not have been closed with the attempt. */
static void expect_no_board(int fd, const char *words)
{
    struct shared other = {.header = NULL};

    ck_assert_int_eq(brood__shared_attach(&other, fd), -EPROTO);
    expect_words(words);
    ck_assert_ptr_null(other.header);
    if (fd >= 0 && fcntl(fd, F_GETFD) >= 0)
        close(fd);
}

static int file_of(size_t bytes)
{
    int fd = memfd_create("board", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
    return fd;
}

START_TEST(a_board_of_another_version_is_refused)
{
    open_board(true, 1);
    header->magic++;
    expect_no_board(dup(shared.segment.fd), brood_version());
    close_board();
}
END_TEST

static const struct geometry {
    uint32_t workers, lane_slots;
} nonsense[] = {
    {0, SLOTS},  {BROOD_WORKERS_MAX + 1, SLOTS}, {UINT32_MAX, SLOTS}, {1, 0}, {1, 12}, {1, 1U << 31}, {1, UINT32_MAX},
    {512, 4096},
};
#define NONSENSE (int)(sizeof(nonsense) / sizeof(nonsense[0]))

START_TEST(a_board_that_cannot_be_is_refused)
{
    ck_assert_int_eq(brood__shared_open(&shared, SEGMENT_JOINED, 4, SLOTS, 64 * MIB, false), 0);
    header = shared.header;
    header->workers = nonsense[_i].workers;
    header->lane_slots = nonsense[_i].lane_slots;
    expect_no_board(dup(shared.segment.fd), "");
    header->workers = 4;
    close_board();
}
END_TEST

START_TEST(a_file_that_is_no_board_is_refused)
{
    static const size_t sizes[] = {1, 4096, sizeof(struct header) - 1, sizeof(struct header), MIB};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        expect_no_board(file_of(sizes[i]), "version");
}
END_TEST

START_TEST(what_is_no_segment_is_refused)
{
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    expect_no_board(ends[0], "no segment");
    expect_no_board(open("/dev/null", O_RDWR | O_CLOEXEC), "no segment");
    expect_no_board(file_of(0), "no segment");
    expect_no_board(-1, "no segment");
    close(ends[1]);
}
END_TEST

/* A board that is cut has the right magic, and touching what is missing would be SIGBUS. */
static void attach_what_is_cut(void *argument)
{
    size_t bytes = *(size_t *)argument;
    int fd;

    open_board(true, 8);
    fd = file_of(bytes);
    ck_assert_int_eq(pwrite(fd, header, bytes, 0), (ssize_t)bytes);
    expect_no_board(fd, "");
    close_board();
}

START_TEST(a_board_that_is_cut_is_refused)
{
    static const size_t sizes[] = {8, 4096, sizeof(struct header), sizeof(struct header) + 8 * sizeof(struct worker_state)};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        in_child(attach_what_is_cut, (void *)(uintptr_t)&sizes[i]);
}
END_TEST

/* ---- which workers are idle ---- */

#define CROWD 200 /* more than one word of bits */

static uint32_t wakes_of(unsigned worker)
{
    return brood__parker_look(&shared.lanes[worker].worker_state->parker);
}

static const unsigned numbers[] = {0, 1, 63, 64, 65, 127, 128, CROWD - 1};
#define NUMBERS (int)(sizeof(numbers) / sizeof(numbers[0]))

START_TEST(a_worker_is_idle_until_it_leaves)
{
    unsigned worker = numbers[_i];

    open_board(false, CROWD);
    brood__idle_enter(header, worker);
    ck_assert(brood__idle_any(&shared));
    ck_assert_uint_eq(brood__idle_count(&shared), 1);
    for (unsigned i = 0; i < CROWD; i++)
        if (brood__idle_is(header, i) != (i == worker))
            ck_abort_msg("worker %u is wrong", i);
    brood__idle_enter(header, worker ^ 1);
    brood__idle_leave(header, worker);
    ck_assert(brood__idle_is(header, worker ^ 1));
    brood__idle_leave(header, worker);
    brood__idle_leave(header, worker ^ 1);
    ck_assert(!brood__idle_any(&shared));
    ck_assert_uint_eq(wakes_of(worker), 0);
    close_board();
}
END_TEST

START_TEST(a_worker_is_away_until_it_is_back)
{
    unsigned worker = numbers[_i];

    open_board(false, CROWD);
    brood__unavailable_enter(header, worker);
    for (unsigned i = 0; i < CROWD; i++)
        if (brood__unavailable_is(header, i) != (i == worker) || brood__idle_is(header, i))
            ck_abort_msg("worker %u is wrong", i);
    brood__unavailable_enter(header, worker ^ 1);
    brood__unavailable_leave(header, worker);
    ck_assert(brood__unavailable_is(header, worker ^ 1));
    brood__unavailable_leave(header, worker);
    brood__unavailable_leave(header, worker ^ 1);
    for (unsigned i = 0; i < CROWD; i++)
        if (brood__unavailable_is(header, i))
            ck_abort_msg("worker %u is wrong", i);
    close_board();
}
END_TEST

START_TEST(one_worker_at_a_time_is_the_watcher)
{
    open_board(false, CROWD);
    ck_assert(!brood__watcher_any(header));
    ck_assert(brood__watcher_enter(header, 0));
    ck_assert(brood__watcher_enter(header, 0)); /* it has the post already */
    ck_assert(!brood__watcher_enter(header, CROWD - 1));
    brood__watcher_leave(header, CROWD - 1); /* it has nothing to leave */
    ck_assert(brood__watcher_any(header));
    brood__watcher_leave(header, 0);
    ck_assert(!brood__watcher_any(header));
    ck_assert(brood__watcher_enter(header, CROWD - 1));
    close_board();
}
END_TEST

START_TEST(a_leaving_worker_learns_whether_it_was_called)
{
    open_board(false, CROWD);
    brood__idle_enter(header, 3);
    ck_assert(brood__idle_leave(header, 3));
    brood__idle_enter(header, 3);
    ck_assert(brood__idle_wake(&shared, 3, NULL));
    ck_assert(!brood__idle_leave(header, 3));
    close_board();
}
END_TEST

START_TEST(an_idle_worker_is_woken_once)
{
    unsigned worker = numbers[_i];

    open_board(false, CROWD);
    ck_assert(!brood__idle_wake(&shared, worker, NULL)); /* it is busy */
    ck_assert_uint_eq(wakes_of(worker), 0);
    brood__idle_enter(header, worker);
    ck_assert(brood__idle_wake(&shared, worker, NULL));
    ck_assert_uint_eq(wakes_of(worker), 1);
    ck_assert(!brood__idle_is(header, worker));
    ck_assert(!brood__idle_wake(&shared, worker, NULL));
    ck_assert_uint_eq(wakes_of(worker), 1);
    close_board();
}
END_TEST

START_TEST(any_idle_worker_is_found_and_no_other_woken)
{
    unsigned worker = numbers[_i];

    open_board(false, CROWD);
    ck_assert(!brood__idle_wake_any(&shared, NULL));
    brood__idle_enter(header, worker);
    ck_assert(brood__idle_wake_any(&shared, NULL));
    for (unsigned i = 0; i < CROWD; i++)
        if (wakes_of(i) != (i == worker))
            ck_abort_msg("worker %u was woken %u times", i, wakes_of(i));
    ck_assert(!brood__idle_wake_any(&shared, NULL));
    close_board();
}
END_TEST

START_TEST(an_overwritten_board_names_no_worker_that_is_not_there)
{
    open_board(true, 3);
    memset(shared.segment.base, 0xff, header->heap_offset);
    ck_assert_uint_eq(brood__idle_count(&shared), 3);
    for (int i = 0; i < 3; i++)
        ck_assert(brood__idle_wake_any(&shared, NULL));
    ck_assert(!brood__idle_wake_any(&shared, NULL));
    brood__wake_workers(&shared, 0);
    close_board();
}
END_TEST

static void *wake_until_none(void *argument)
{
    _Atomic unsigned *woken = argument;

    while (brood__idle_wake_any(&shared, NULL))
        atomic_fetch_add(woken, 1);
    return NULL;
}

START_TEST(of_many_that_wake_at_once_each_wakes_another)
{
    open_board(false, CROWD);
    for (uint32_t round = 1; round <= 50; round++) {
        _Atomic unsigned woken = 0;
        pthread_t threads[3];

        for (unsigned i = 0; i < CROWD; i++)
            brood__idle_enter(header, i);
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, wake_until_none, (void *)&woken), 0);
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_uint_eq(woken, CROWD);
        for (unsigned i = 0; i < CROWD; i++)
            if (wakes_of(i) != round)
                ck_abort_msg("worker %u was woken %u times in %u rounds", i, wakes_of(i), round);
    }
    close_board();
}
END_TEST

static volatile sig_atomic_t woken_in_between, interruptions;

static void wake_in_between(int signal)
{
    (void)signal;
    interruptions++;
    woken_in_between += brood__idle_wake(&shared, 0, NULL);
}

START_TEST(a_worker_that_two_would_wake_is_woken_by_one)
{
    open_board(false, 1);
    interrupt_often(wake_in_between);
    for (uint32_t round = 1; interruptions < 3000; round++) {
        int woken;

        woken_in_between = 0;
        brood__idle_enter(header, 0);
        woken = brood__idle_wake(&shared, 0, NULL);
        if (woken + woken_in_between != 1 || wakes_of(0) != round)
            ck_abort_msg("round %u: woken by %d, %u times in all", round, woken + woken_in_between, wakes_of(0));
    }
    interrupt_no_more();
    close_board();
}
END_TEST

static void become_idle(void *argument)
{
    (void)argument;
    brood__idle_enter(header, 0);
}

static void go_away(void *argument)
{
    (void)argument;
    brood__unavailable_enter(header, 0);
}

/* Else a submitter's store could wait in its processor while it finds no worker idle or unavailable, and the worker nothing to do. */
START_TEST(a_worker_that_becomes_idle_or_goes_away_fences_in_the_submitters_too)
{
    open_board(true, 1);
    if (brood__fence_open()) {
        ck_assert(reaches_other_processes(become_idle, NULL));
        ck_assert(reaches_other_processes(go_away, NULL));
    }
    close_board();
}
END_TEST

static void sleep_at_zero(void *argument)
{
    struct parker *parker = &shared.lanes[0].worker_state->parker;
    uint32_t seen = brood__parker_look(parker);

    (void)argument;
    brood__idle_enter(header, 0);
    brood__parker_sleep(parker, seen, NULL, 0, BROOD_FOREVER);
    ck_assert_uint_eq(brood__parker_look(parker), seen + 1);
}

START_TEST(an_idle_worker_in_another_process_is_woken)
{
    pid_t pid;

    open_board(true, 1);
    pid = spawn(sleep_at_zero, NULL);
    await(brood__idle_is(header, 0) && is_asleep(pid));
    ck_assert(brood__idle_wake(&shared, 0, NULL));
    join(pid);
    close_board();
}
END_TEST

START_TEST(all_workers_from_one_on_are_woken_idle_or_not)
{
    unsigned first = numbers[_i];

    open_board(false, CROWD);
    brood__idle_enter(header, 3);
    brood__wake_workers(&shared, first);
    for (unsigned i = 0; i < CROWD; i++)
        if (wakes_of(i) != (i >= first))
            ck_abort_msg("worker %u was woken %u times", i, wakes_of(i));
    close_board();
}
END_TEST

/* What a worker does that is killed before the instruction that wakes. */
START_TEST(a_worker_that_the_dead_one_was_about_to_wake_is_woken)
{
    struct worker_state *waker;
    unsigned worker = numbers[_i];

    open_board(false, CROWD);
    waker = shared.lanes[1].worker_state;
    brood__idle_wake_for(&shared, waker); /* it was about nothing */
    brood__idle_enter(header, worker);
    ck_assert(brood__idle_wake(&shared, worker, waker));
    brood__idle_wake_for(&shared, waker); /* it has done it */
    ck_assert_uint_eq(wakes_of(worker), 1);
    atomic_store(&waker->waking, worker + 1);
    brood__idle_wake_for(&shared, waker);
    ck_assert_uint_eq(wakes_of(worker), 2);
    for (unsigned i = 0; i < CROWD; i++)
        ck_assert(i == worker || wakes_of(i) == 0);
    atomic_store(&waker->waking, UINT32_MAX); /* it has written over its state */
    brood__idle_wake_for(&shared, waker);
    close_board();
}
END_TEST

/* The first task of that lane, as the host publishes one. */
static void publish_in(unsigned number)
{
    const struct lane *lane = &shared.lanes[number];
    uint64_t position = lane_first_position(lane);

    slot_publish(&lane->slots[lane_index(lane, position)], position);
    brood__waiting_set(header, number);
}

static void take_from(unsigned number)
{
    const struct lane *lane = &shared.lanes[number];
    uint64_t position = lane_first_position(lane);

    ck_assert(slot_cancel(&lane->slots[lane_index(lane, position)], position));
}

START_TEST(one_that_is_idle_is_called_for_what_waits_and_is_looked_after_by_no_other)
{
    open_board(false, CROWD);
    brood__idle_enter(header, 0);
    brood__idle_enter(header, 1);
    brood__pass_wake(&shared, NULL); /* nothing waits */
    ck_assert_uint_eq(brood__idle_count(&shared), 2);
    publish_in(2);
    ck_assert(brood__watcher_enter(header, 3));
    brood__pass_wake(&shared, NULL);
    ck_assert_uint_eq(brood__idle_count(&shared), 2);
    brood__watcher_leave(header, 3);
    brood__pass_wake(&shared, NULL);
    ck_assert_uint_eq(brood__idle_count(&shared), 1);
    ck_assert(brood__help_was_requested(header, &(uint32_t){0}));
    close_board();
}
END_TEST

/* ---- which lanes have work ---- */

START_TEST(only_a_lane_with_work_is_looked_into)
{
    unsigned lane = numbers[_i];

    open_board(false, CROWD);
    ck_assert_uint_eq(brood__waiting_from(&shared, 0), CROWD);
    publish_in(lane);
    ck_assert_uint_eq(brood__waiting_from(&shared, 0), lane);
    ck_assert_uint_eq(brood__waiting_from(&shared, lane), lane);
    ck_assert_uint_eq(brood__waiting_from(&shared, lane + 1), CROWD);
    ck_assert(brood__any_waiting(&shared));
    take_from(lane);
    ck_assert(!brood__any_waiting(&shared));
    ck_assert_uint_eq(brood__waiting_from(&shared, 0), lane); /* until a worker that is about to sleep has looked */
    close_board();
}
END_TEST

START_TEST(a_worker_about_to_sleep_clears_the_bits_of_empty_lanes_and_no_others)
{
    unsigned empty = numbers[_i], full = (numbers[_i] + 1) % CROWD;
    struct cleared cleared;

    open_board(false, CROWD);
    publish_in(empty);
    publish_in(full);
    take_from(empty);
    brood__waiting_clear(&shared, shared.lanes[0].worker_state, &cleared);
    ck_assert_uint_eq(brood__waiting_from(&shared, 0), full);
    ck_assert_uint_eq(brood__waiting_from(&shared, full + 1), CROWD);
    ck_assert(!brood__waiting_restore(&shared, shared.lanes[0].worker_state, &cleared));
    ck_assert_uint_eq(brood__waiting_from(&shared, 0), full);
    close_board();
}
END_TEST

/* The host may have seen the bit set and left it so. */
START_TEST(a_task_that_comes_while_its_lane_is_cleared_is_found_again)
{
    unsigned number = numbers[_i];
    const struct lane *lane;
    struct cleared cleared;
    uint64_t next;

    open_board(false, CROWD);
    lane = &shared.lanes[number];
    next = lane_first_position(lane) + 1;
    publish_in(number);
    take_from(number);
    brood__waiting_clear(&shared, shared.lanes[0].worker_state, &cleared);
    slot_publish(&lane->slots[lane_index(lane, next)], next);
    ck_assert(brood__waiting_restore(&shared, shared.lanes[0].worker_state, &cleared));
    ck_assert_uint_eq(brood__waiting_from(&shared, 0), number);
    close_board();
}
END_TEST

START_TEST(what_a_worker_has_cleared_that_dies_before_its_second_look_is_found_again)
{
    unsigned number = numbers[_i];
    struct worker_state *dead;
    const struct lane *lane;
    struct cleared cleared;
    uint64_t next;

    open_board(false, CROWD);
    dead = shared.lanes[0].worker_state;
    lane = &shared.lanes[number];
    next = lane_first_position(lane) + 1;
    publish_in(number);
    take_from(number);
    brood__waiting_clear(&shared, dead, &cleared);
    slot_publish(&lane->slots[lane_index(lane, next)], next);
    brood__waiting_repair(&shared, dead, CROWD);
    ck_assert_uint_eq(brood__waiting_from(&shared, 0), number);
    ck_assert_uint_eq(brood__waiting_from(&shared, number + 1), CROWD);
    close_board();
}
END_TEST

static long blocks_of(const struct segment *segment)
{
    struct stat st;

    ck_assert_int_eq(fstat(segment->fd, &st), 0);
    return (long)st.st_blocks;
}

START_TEST(a_lane_has_as_much_memory_as_was_asked_for)
{
    enum { DEEP = 4096, LANES = 100 };
    struct lane *lane;
    long before;

    ck_assert_int_eq(brood__shared_open(&shared, SEGMENT_SHARED, LANES, DEEP, MIB, true), 0);
    lane = &shared.lanes[LANES / 2];
    before = blocks_of(&shared.segment);
    ck_assert_uint_eq(lane->depth, 0);
    ck_assert_int_eq(brood__lane_commit(&shared, LANES / 2, lane_depth_at_first(lane)), 0);
    ck_assert_uint_eq(lane->depth, LANE_DEPTH_MIN);
    ck_assert_int_ge(blocks_of(&shared.segment) - before, LANE_DEPTH_MIN * (64 + 192) / 512);
    ck_assert_int_le(blocks_of(&shared.segment) - before, 10 * 4096 / 512);
    before = blocks_of(&shared.segment);
    ck_assert_int_eq(brood__lane_commit(&shared, LANES / 2, 10), 0); /* it has them */
    ck_assert_int_eq(blocks_of(&shared.segment), before);
    ck_assert_int_eq(brood__lane_commit(&shared, LANES / 2, UINT32_MAX), 0);
    ck_assert_uint_eq(lane->depth, DEEP);
    memset(lane->slots, 1, (DEEP + 1) * sizeof(*lane->slots));
    memset(lane->extensions, 1, (DEEP + 1) * sizeof(*lane->extensions));
    brood__shared_close(&shared);
}
END_TEST

/* The host neither takes memory nor touches what it may not have because a worker has written any number. */
START_TEST(the_host_does_not_look_where_a_lane_has_no_memory)
{
    enum { DEEP = 4096 };
    unsigned number;
    uint64_t position;
    long before;

    ck_assert_int_eq(brood__shared_open(&shared, SEGMENT_SHARED, 2, DEEP, MIB, true), 0);
    ck_assert_int_eq(brood__lane_commit(&shared, 0, LANE_DEPTH_MIN), 0);
    before = blocks_of(&shared.segment);
    atomic_store(&shared.lanes[0].worker_state->head, lane_first_position(&shared.lanes[0]) + 3000);
    ck_assert(!brood__lane_waiting(&shared.lanes[0], &position));
    atomic_store(&shared.lanes[0].worker_state->current, slot_ref(0, lane_first_position(&shared.lanes[0]) + 3000));
    ck_assert_ptr_null(brood__lane_held_by(shared.lanes, 2, 0, &number, &position));
    atomic_store(&shared.lanes[0].worker_state->current, slot_ref(1, MAILBOX | 1));
    ck_assert_ptr_null(brood__lane_held_by(shared.lanes, 2, 0, &number, &position));
    ck_assert_int_eq(blocks_of(&shared.segment), before);
    brood__shared_close(&shared);
}
END_TEST

START_TEST(an_overwritten_board_names_no_lane_that_is_not_there)
{
    open_board(true, 3);
    memset(shared.segment.base, 0xff, header->heap_offset);
    ck_assert_uint_eq(brood__waiting_from(&shared, 3), 3);
    ck_assert_uint_eq(brood__waiting_from(&shared, BROOD_WORKERS_MAX), 3);
    close_board();
}
END_TEST

/* ---- the host's threads ---- */

/* Each of them, from the lowest bit up: was it woken? */
static uint64_t woken_hosts(void)
{
    uint64_t woken = 0;

    for (unsigned i = 0; i < HEADER_PARKERS; i++)
        woken |= (uint64_t)(brood__parker_look(&header->parkers[i]) != 0) << i;
    return woken;
}

static const struct wake {
    unsigned waiter;
    uint64_t asleep, woken;
} wakes[] = {
    {WAITER_NONE, 0, 0},
    {WAITER_NONE, UINT64_MAX, 0},
    {1, 0, 1 << 1}, /* the named waiter, whether known to sleep or not */
    {1, 1 << 1 | 1 << 2, 1 << 1},
    {HEADER_PARKERS - 1, 0, (uint64_t)1 << 63},
    {WAITER_ALL, 0, 0},
    {WAITER_ALL, 1 << 5, 1 << 5},
    {WAITER_ALL, (uint64_t)1 << 63 | 1 << 1, (uint64_t)1 << 63 | 1 << 1},
    {WAITER_ALL, UINT64_MAX, UINT64_MAX},
};
#define WAKES (int)(sizeof(wakes) / sizeof(wakes[0]))

START_TEST(the_waiters_of_a_slot_are_woken)
{
    open_board(false, 1);
    atomic_store(&header->asleep, wakes[_i].asleep);
    brood__wake_waiter(header, wakes[_i].waiter);
    ck_assert_uint_eq(woken_hosts(), wakes[_i].woken);
    ck_assert_uint_eq(atomic_load(&header->asleep), wakes[_i].asleep); /* it is the host's */
    close_board();
}
END_TEST

/* Neither may it reach beyond the parkers: a hostile worker can write anything into a slot. */
START_TEST(a_waiter_that_does_not_exist_does_no_harm)
{
    open_board(false, 1);
    for (unsigned waiter = HEADER_PARKERS; waiter < WAITER_ALL; waiter++)
        brood__wake_waiter(header, waiter);
    ck_assert_uint_eq(atomic_load(&header->task_count), 0); /* what lies behind the parkers */
    ck_assert_uint_eq(atomic_load(&header->asleep), 0);
    close_board();
}
END_TEST

START_TEST(the_whole_host_is_woken)
{
    open_board(false, 1);
    atomic_store(&header->asleep, 0x8000000000000006);
    brood__wake_host(header);
    ck_assert_uint_eq(woken_hosts(), 0x8000000000000007); /* number 0 waits without saying so */
    close_board();
}
END_TEST

/* ---- tasks by name ---- */

static char names[HEADER_TASKS + 1][16];

static struct brood_task task_number(unsigned i)
{
    (void)snprintf(names[i], sizeof(names[i]), "task-%u", i);
    return (struct brood_task){.name = names[i], .arg_size = i, .result_size = i * 2};
}

static int enter(struct brood_task task)
{
    return brood__header_task(&shared, &task);
}

START_TEST(a_task_is_entered_once)
{
    const struct header_task *entry;

    open_board(false, 1);
    ck_assert_int_eq(enter(task_number(5)), 0);
    ck_assert_int_eq(enter(task_number(6)), 1);
    ck_assert_int_eq(enter(task_number(5)), 0);
    ck_assert_int_eq(enter(task_number(6)), 1);
    ck_assert_uint_eq(atomic_load(&header->task_count), 2);
    entry = brood__header_entry(header, 1);
    ck_assert_ptr_nonnull(entry);
    ck_assert_str_eq(entry->name, "task-6");
    ck_assert_uint_eq(entry->arg_size, 6);
    ck_assert_uint_eq(entry->result_size, 12);
    ck_assert_ptr_null(brood__header_entry(header, 2));
    ck_assert_ptr_null(brood__header_entry(header, UINT_MAX));
    close_board();
}
END_TEST

START_TEST(a_full_table_says_so_and_still_knows_its_tasks)
{
    open_board(false, 1);
    for (unsigned i = 0; i < HEADER_TASKS; i++)
        ck_assert_int_eq(enter(task_number(i)), i);
    ck_assert_int_eq(enter(task_number(HEADER_TASKS)), -ENOSPC);
    expect_words("256");
    for (unsigned i = 0; i < HEADER_TASKS; i++)
        ck_assert_int_eq(enter(task_number(i)), i);
    ck_assert_str_eq(brood__header_entry(header, HEADER_TASKS - 1)->name, "task-255");
    ck_assert_ptr_null(brood__header_entry(header, HEADER_TASKS));
    close_board();
}
END_TEST

START_TEST(a_name_that_is_too_long_is_refused)
{
    char name[BROOD_TASK_NAME_MAX + 2];

    memset(name, 'n', sizeof(name));
    name[BROOD_TASK_NAME_MAX + 1] = '\0';
    open_board(false, 1);
    ck_assert_int_eq(enter((struct brood_task){.name = name}), -EINVAL);
    expect_words(name);
    ck_assert_uint_eq(atomic_load(&header->task_count), 0);
    name[BROOD_TASK_NAME_MAX] = '\0';
    ck_assert_int_eq(enter((struct brood_task){.name = name}), 0);
    ck_assert_str_eq(brood__header_entry(header, 0)->name, name);
    close_board();
}
END_TEST

START_TEST(a_count_that_a_worker_spoiled_is_not_believed)
{
    open_board(false, 1);
    atomic_store(&header->task_count, UINT32_MAX);
    ck_assert_ptr_null(brood__header_entry(header, HEADER_TASKS));
    ck_assert_ptr_null(brood__header_entry(header, UINT_MAX - 1));
    ck_assert_int_eq(enter(task_number(1)), 0);
    close_board();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("board");

    add_loop_tests(suite, "layout", 0, CROWDS, nothing_on_a_board_overlaps, NULL);
    add_tests(suite, "state", a_board_begins_empty, a_first_task_is_seen_by_thieves_before_its_worker_has_looked,
              a_board_that_does_not_fit_says_so, a_state_is_what_was_set_last, NULL);
    add_tests(suite, "attach", an_attached_process_sees_the_same_header_and_lanes, a_board_of_another_version_is_refused,
              a_file_that_is_no_board_is_refused, what_is_no_segment_is_refused, a_board_that_is_cut_is_refused, NULL);
    add_loop_tests(suite, "nonsense", 0, NONSENSE, a_board_that_cannot_be_is_refused, NULL);
    add_loop_tests(suite, "idle", 0, NUMBERS, a_worker_is_idle_until_it_leaves, a_worker_is_away_until_it_is_back,
                   an_idle_worker_is_woken_once, any_idle_worker_is_found_and_no_other_woken,
                   all_workers_from_one_on_are_woken_idle_or_not, a_worker_that_the_dead_one_was_about_to_wake_is_woken,
                   NULL);
    add_tests(suite, "watcher", one_worker_at_a_time_is_the_watcher, a_leaving_worker_learns_whether_it_was_called, NULL);
    add_tests(suite, "hostile", an_overwritten_board_names_no_worker_that_is_not_there, NULL);
    add_tests(suite, "wake", of_many_that_wake_at_once_each_wakes_another, a_worker_that_two_would_wake_is_woken_by_one,
              a_worker_that_becomes_idle_or_goes_away_fences_in_the_submitters_too,
              an_idle_worker_in_another_process_is_woken,
              one_that_is_idle_is_called_for_what_waits_and_is_looked_after_by_no_other,
              a_waiter_that_does_not_exist_does_no_harm, the_whole_host_is_woken, NULL);
    add_loop_tests(suite, "waiters", 0, WAKES, the_waiters_of_a_slot_are_woken, NULL);
    add_loop_tests(suite, "lanes with work", 0, NUMBERS, only_a_lane_with_work_is_looked_into,
                   a_worker_about_to_sleep_clears_the_bits_of_empty_lanes_and_no_others,
                   a_task_that_comes_while_its_lane_is_cleared_is_found_again,
                   what_a_worker_has_cleared_that_dies_before_its_second_look_is_found_again, NULL);
    add_tests(suite, "memory of lanes", a_lane_has_as_much_memory_as_was_asked_for,
              the_host_does_not_look_where_a_lane_has_no_memory, NULL);
    add_tests(suite, "lanes with work", an_overwritten_board_names_no_lane_that_is_not_there, NULL);
    add_tests(suite, "tasks", a_task_is_entered_once, a_full_table_says_so_and_still_knows_its_tasks,
              a_name_that_is_too_long_is_refused, a_count_that_a_worker_spoiled_is_not_believed, NULL);
    return run_suite(suite);
}
