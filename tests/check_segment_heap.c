/* check_segment_heap.c - the allocator of a segment: blocks that do not overlap, and mistakes that are found out. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "os/assert.h"
#include "shm/segment_heap.h"
#include "support.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define SPAN (64 * KIB)
#define SMALL_MAX (32 * KIB)

/* ---- the fixture's heap ---- */

static struct segment segment;
static struct heap heap;

/* A heap in `reserve` bytes of private memory that begins behind `start` bytes of something else. */
static void open_heap(size_t reserve, size_t start)
{
    brood__costly_assertions = true; /* walk all spans after each call */
    ck_assert_int_eq(brood__segment_open(&segment, false, reserve, start), 0);
    brood__heap_init(&heap, &segment, start);
}

static void close_heap(void)
{
    brood__heap_close(&heap);
    brood__segment_close(&segment);
}

static uint64_t alloc(size_t bytes)
{
    uint64_t offset = 1;
    int r = brood__heap_alloc(&heap, bytes, false, &offset);

    if (r != 0)
        ck_abort_msg("%zu bytes: %d: %s", bytes, r, brood_error());
    if (offset % 64 != 0 || offset < heap.start || offset + bytes > segment.committed)
        ck_abort_msg("%zu bytes at %llu, of %zu", bytes, (unsigned long long)offset, segment.committed);
    return offset;
}

static void release(uint64_t offset)
{
    int r = brood__heap_free(&heap, offset);

    if (r != 0)
        ck_abort_msg("no block at %llu", (unsigned long long)offset);
}

/* ---- single blocks ---- */

static const size_t sizes[] = {0,        1,    63,       64,       65,     4096, SMALL_MAX - 1, SMALL_MAX, SMALL_MAX + 1,
                               SPAN - 1, SPAN, SPAN + 1, 3 * SPAN, MIB + 7};
#define SIZES (int)(sizeof(sizes) / sizeof(sizes[0]))

START_TEST(a_block_lies_behind_the_start_and_is_aligned)
{
    open_heap(16 * MIB, 100 * KIB + 1);
    ck_assert_uint_ge(alloc(sizes[_i]), 100 * KIB + 1);
    (void)alloc(sizes[_i]);
    close_heap();
}
END_TEST

START_TEST(a_block_has_all_of_its_bytes)
{
    uint64_t before, block, after;

    open_heap(16 * MIB, SPAN);
    before = alloc(sizes[_i]);
    block = alloc(sizes[_i]);
    after = alloc(sizes[_i]);
    memset(segment.base + before, 'b', sizes[_i]);
    memset(segment.base + after, 'a', sizes[_i]);
    memset(segment.base + block, 'x', sizes[_i]);
    for (size_t i = 0; i < sizes[_i]; i++)
        if (segment.base[before + i] != 'b' || segment.base[after + i] != 'a')
            ck_abort_msg("byte %zu of a neighbour was overwritten", i);
    close_heap();
}
END_TEST

START_TEST(a_zeroed_block_is_zero_also_where_another_was_before)
{
    uint64_t offset, again;

    open_heap(16 * MIB, SPAN);
    offset = alloc(sizes[_i]);
    memset(segment.base + offset, 'x', sizes[_i]);
    release(offset);
    ck_assert_int_eq(brood__heap_alloc(&heap, sizes[_i], true, &again), 0);
    ck_assert_uint_eq(again, offset); /* else this tests nothing */
    for (size_t i = 0; i < sizes[_i]; i++)
        if (segment.base[again + i] != 0)
            ck_abort_msg("byte %zu is not zero", i);
    close_heap();
}
END_TEST

START_TEST(a_zeroed_block_that_is_partly_old_is_zero_all_over)
{
    uint64_t offset;

    open_heap(16 * MIB, SPAN);
    offset = alloc(2 * SPAN);
    memset(segment.base + offset, 'x', 2 * SPAN);
    release(offset);
    ck_assert_int_eq(brood__heap_alloc(&heap, 5 * SPAN, true, &offset), 0); /* two old spans and three new ones */
    for (size_t i = 0; i < 5 * SPAN; i++)
        if (segment.base[offset + i] != 0)
            ck_abort_msg("byte %zu is not zero", i);
    close_heap();
}
END_TEST

START_TEST(a_freed_block_is_used_again)
{
    size_t committed;

    open_heap(16 * MIB, SPAN);
    release(alloc(sizes[_i]));
    committed = segment.committed;
    for (int i = 0; i < 1000; i++)
        release(alloc(sizes[_i]));
    ck_assert_uint_eq(segment.committed, committed);
    close_heap();
}
END_TEST

START_TEST(what_is_freed_twice_is_found_out)
{
    uint64_t offset, other;

    open_heap(16 * MIB, SPAN);
    offset = alloc(sizes[_i]);
    other = alloc(sizes[_i]);
    release(offset);
    ck_assert_int_eq(brood__heap_free(&heap, offset), -EINVAL);
    release(other);
    ck_assert_int_eq(brood__heap_free(&heap, other), -EINVAL);
    ck_assert_int_eq(brood__heap_free(&heap, offset), -EINVAL);
    ck_assert_uint_ne(alloc(sizes[_i]), alloc(sizes[_i])); /* neither is handed out twice */
    close_heap();
}
END_TEST

START_TEST(where_no_block_begins_none_is_freed)
{
    uint64_t offset;

    open_heap(16 * MIB, SPAN);
    ck_assert_int_eq(brood__heap_free(&heap, heap.start), -EINVAL); /* no block at all yet */
    offset = alloc(sizes[_i]);
    ck_assert_int_eq(brood__heap_free(&heap, 0), -EINVAL);
    ck_assert_int_eq(brood__heap_free(&heap, offset + 1), -EINVAL);
    ck_assert_int_eq(brood__heap_free(&heap, offset + 32), -EINVAL);
    for (uint64_t i = 1; i <= 8; i++) {
        ck_assert_int_eq(brood__heap_free(&heap, offset + i * 64), -EINVAL);
        ck_assert_int_eq(brood__heap_free(&heap, offset + i * 4096), -EINVAL);
    }
    ck_assert_int_eq(brood__heap_free(&heap, offset + SPAN), -EINVAL);
    ck_assert_int_eq(brood__heap_free(&heap, offset - SPAN), -EINVAL);
    ck_assert_int_eq(brood__heap_free(&heap, segment.reserved), -EINVAL);
    ck_assert_int_eq(brood__heap_free(&heap, UINT64_MAX), -EINVAL);
    ck_assert_int_eq(brood__heap_free(&heap, UINT64_MAX / 2), -EINVAL);
    release(offset);
    close_heap();
}
END_TEST

/* ---- runs of spans ---- */

START_TEST(large_blocks_leave_no_hole_behind)
{
    uint64_t a, b, c;

    open_heap(16 * MIB, SPAN);
    a = alloc(2 * SPAN);
    b = alloc(3 * SPAN);
    c = alloc(SPAN);
    ck_assert_uint_eq(b, a + 2 * SPAN);
    ck_assert_uint_eq(c, b + 3 * SPAN);
    release(b);
    release(a); /* together five spans */
    ck_assert_uint_eq(alloc(5 * SPAN), a);
    close_heap();
}
END_TEST

START_TEST(a_large_block_is_not_put_into_a_smaller_hole)
{
    uint64_t hole, behind;

    open_heap(16 * MIB, SPAN);
    hole = alloc(2 * SPAN);
    behind = alloc(SPAN);
    release(hole);
    ck_assert_uint_gt(alloc(2 * SPAN + 1), behind);
    ck_assert_uint_eq(alloc(SPAN), hole);
    ck_assert_uint_eq(alloc(SPAN), hole + SPAN);
    close_heap();
}
END_TEST

START_TEST(free_spans_at_the_end_are_the_beginning_of_what_is_added)
{
    uint64_t first;

    open_heap(16 * MIB, SPAN);
    (void)alloc(SPAN);
    first = alloc(2 * SPAN);
    release(first);
    ck_assert_uint_eq(alloc(6 * SPAN), first);
    ck_assert_uint_eq(segment.committed, first + 6 * SPAN);
    close_heap();
}
END_TEST

START_TEST(a_freed_large_block_serves_small_ones)
{
    uint64_t run;
    size_t committed;

    open_heap(16 * MIB, SPAN);
    run = alloc(2 * SPAN);
    committed = segment.committed;
    release(run);
    for (size_t bytes = 64; bytes <= 128; bytes *= 2) {
        uint64_t small = alloc(bytes);

        ck_assert(small >= run && small < run + 2 * SPAN);
        ck_assert_int_eq(brood__heap_free(&heap, small + bytes / 2), -EINVAL);
        release(small);
    }
    ck_assert_uint_eq(segment.committed, committed);
    ck_assert_int_eq(brood__heap_free(&heap, run), -EINVAL); /* the run is gone, whatever begins there now */
    close_heap();
}
END_TEST

/* ---- running out ---- */

START_TEST(a_full_heap_says_so_and_goes_on_when_something_is_freed)
{
    uint64_t blocks[64], offset = 7;
    size_t count = 0;

    open_heap(2 * MIB, SPAN);
    while (brood__heap_alloc(&heap, 2 * SPAN, false, &blocks[count]) == 0)
        count++;
    ck_assert_uint_eq(count, (2 * MIB - SPAN) / (2 * SPAN));
    ck_assert_int_eq(brood__heap_alloc(&heap, 2 * SPAN, false, &offset), -ENOMEM);
    ck_assert_ptr_nonnull(strstr(brood_error(), ".memory_bytes"));
    ck_assert_uint_eq(offset, 7);
    release(blocks[3]);
    ck_assert_uint_eq(alloc(2 * SPAN), blocks[3]);
    (void)alloc(64); /* the last span, which was too small */
    ck_assert_int_eq(brood__heap_alloc(&heap, 128, false, &offset), -ENOMEM);
    for (size_t i = 0; i < count; i++)
        release(blocks[i]);
    (void)alloc(128);
    close_heap();
}
END_TEST

START_TEST(small_blocks_fill_a_heap_to_its_last_byte)
{
    uint64_t offset;
    size_t count = 0;

    open_heap(MIB, SPAN);
    while (brood__heap_alloc(&heap, 64, false, &offset) == 0)
        count++;
    ck_assert_uint_eq(count, (MIB - SPAN) / 64);
    close_heap();
}
END_TEST

START_TEST(more_than_everything_is_refused_in_words)
{
    static const size_t too_much[] = {MIB + 1, 2 * MIB, SIZE_MAX / 2, SIZE_MAX - 63, SIZE_MAX};
    uint64_t offset = 7;

    open_heap(MIB, SPAN);
    for (size_t i = 0; i < sizeof(too_much) / sizeof(too_much[0]); i++) {
        ck_assert_int_eq(brood__heap_alloc(&heap, too_much[i], false, &offset), -ENOMEM);
        ck_assert_ptr_nonnull(strstr(brood_error(), ".memory_bytes"));
    }
    ck_assert_uint_eq(offset, 7);
    (void)alloc(64);
    close_heap();
}
END_TEST

START_TEST(a_heap_that_was_never_used_can_be_closed)
{
    open_heap(MIB, SPAN);
    close_heap();
}
END_TEST

/* ---- everything at once ---- */

#define BLOCKS 300
#define STEPS 60000

struct block {
    uint64_t offset;
    size_t bytes;
    unsigned char mark;
};

static unsigned seed;

static unsigned pick(unsigned below)
{
    seed = seed * 1103515245 + 12345;
    return (seed >> 16) % below;
}

/* Of all magnitudes alike. */
static size_t pick_size(void)
{
    size_t bytes = (size_t)1 << pick(18);

    return bytes + pick((unsigned)bytes);
}

static void expect_marks(const struct block *block)
{
    const char *bytes = segment.base + block->offset;

    for (size_t i = 0; i < block->bytes; i += 61)
        if ((unsigned char)bytes[i] != block->mark)
            ck_abort_msg("byte %zu of a block of %zu was overwritten", i, block->bytes);
    if ((unsigned char)bytes[block->bytes - 1] != block->mark)
        ck_abort_msg("the last byte of a block of %zu was overwritten", block->bytes);
}

static void take(struct block *block)
{
    block->bytes = pick_size();
    block->offset = alloc(block->bytes);
    block->mark = (unsigned char)(1 + pick(255));
    memset(segment.base + block->offset, block->mark, block->bytes);
}

static void give_back(struct block *block)
{
    expect_marks(block);
    release(block->offset);
    block->bytes = 0;
}

START_TEST(blocks_of_all_sizes_come_and_go_and_none_touches_another)
{
    static struct block blocks[BLOCKS];

    seed = 1;
    open_heap(256 * MIB, SPAN);
    for (int step = 0; step < STEPS; step++) {
        struct block *block = &blocks[pick(BLOCKS)];

        if (block->bytes)
            give_back(block);
        else
            take(block);
    }
    for (int i = 0; i < BLOCKS; i++)
        if (blocks[i].bytes)
            give_back(&blocks[i]);
    ck_assert_uint_lt(segment.committed, 64 * MIB); /* half of 300 blocks, of 30 KiB on average */
    close_heap();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("heap");

    (void)mallopt(M_PERTURB, 1); /* books that are not initialised are wrong, and not zero by chance */
    add_loop_tests(suite, "block", 0, SIZES, a_block_lies_behind_the_start_and_is_aligned, a_block_has_all_of_its_bytes,
                   a_zeroed_block_is_zero_also_where_another_was_before, a_freed_block_is_used_again,
                   what_is_freed_twice_is_found_out, where_no_block_begins_none_is_freed, NULL);
    add_tests(suite, "spans", a_zeroed_block_that_is_partly_old_is_zero_all_over, large_blocks_leave_no_hole_behind,
              a_large_block_is_not_put_into_a_smaller_hole, free_spans_at_the_end_are_the_beginning_of_what_is_added,
              a_freed_large_block_serves_small_ones, NULL);
    add_tests(suite, "limits", a_full_heap_says_so_and_goes_on_when_something_is_freed,
              small_blocks_fill_a_heap_to_its_last_byte, more_than_everything_is_refused_in_words,
              a_heap_that_was_never_used_can_be_closed, NULL);
    add_tests(suite, "all", blocks_of_all_sizes_come_and_go_and_none_touches_another, NULL);
    return run_suite(suite);
}
