#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/assert.h"
#include "shm/segment_heap.h"

#define SPAN ((size_t)64 << 10)
#define CLASS_0 ((size_t)64)
#define CLASS_LAST (CLASS_0 << (HEAP_CLASSES - 1))
#define BLOCKS_MAX (SPAN / CLASS_0)

enum span_use { SPAN_FREE, SPAN_SMALL, SPAN_RUN, SPAN_REST };

struct heap_span {
    uint8_t use;
    uint8_t class;
    uint32_t length;                /* of the run that begins here, in spans */
    uint64_t used[BLOCKS_MAX / 64]; /* of a small span, a bit for each block: it detects a double free */
};

/* Cheap: no stack has more blocks than exist, or more than fit. */
static bool heap_is_valid(const struct heap *heap)
{
    bool is_valid = heap->span_count <= heap->span_room;

    for (size_t i = 0; i < HEAP_CLASSES; i++)
        is_valid = is_valid && heap->free[i].count <= heap->free[i].blocks && heap->free[i].blocks <= heap->free[i].room;
    return is_valid;
}

/* Walks all spans: each block that exists is either in use or on its stack. */
bool brood__heap_is_consistent(const struct heap *heap)
{
    size_t blocks[HEAP_CLASSES] = {0}, used[HEAP_CLASSES] = {0};

    for (size_t i = 0; i < heap->span_count; i += heap->spans[i].use == SPAN_RUN ? heap->spans[i].length : 1) {
        const struct heap_span *span = &heap->spans[i];

        if (span->use == SPAN_REST || (span->use == SPAN_RUN && (span->length == 0 || span->length > heap->span_count - i)))
            return false;
        if (span->use != SPAN_SMALL)
            continue;
        blocks[span->class] += SPAN / (CLASS_0 << span->class);
        for (size_t word = 0; word < BLOCKS_MAX / 64; word++)
            used[span->class] += (size_t)__builtin_popcountll(span->used[word]);
    }
    for (size_t i = 0; i < HEAP_CLASSES; i++)
        if (blocks[i] != heap->free[i].blocks || used[i] + heap->free[i].count != blocks[i])
            return false;
    return heap_is_valid(heap);
}

void brood__heap_init(struct heap *heap, struct segment *segment, size_t start)
{
    *heap = (struct heap){.segment = segment, .start = (start + SPAN - 1) / SPAN * SPAN};
}

void brood__heap_close(struct heap *heap)
{
    for (size_t i = 0; i < HEAP_CLASSES; i++)
        free(heap->free[i].offsets);
    free(heap->spans);
    *heap = (struct heap){0};
}

static int heap_grow(void **array, size_t *room, size_t needed, size_t size)
{
    size_t larger = *room * 2 > needed ? *room * 2 : needed;
    void *grown;

    if (needed <= *room)
        return 0;
    grown = realloc(*array, larger * size);
    if (!grown)
        return brood_fail(-ENOMEM, "out of memory");
    *array = grown;
    *room = larger;
    return 0;
}

/* Returns the first of `count` adjacent free spans; if there are not enough, where a run at the end of the heap would
 * begin. */
static size_t run_find(const struct heap *heap, size_t count)
{
    size_t run = 0;

    for (size_t i = 0; i < heap->span_count; i += heap->spans[i].use == SPAN_RUN ? heap->spans[i].length : 1) {
        run = heap->spans[i].use == SPAN_FREE ? run + 1 : 0;
        if (run == count)
            return i + 1 - count;
    }
    return heap->span_count - run; /* free spans at the end begin a run that the heap extends */
}

static int run_take(struct heap *heap, size_t count, size_t *ret_first, bool *ret_fresh)
{
    size_t first = run_find(heap, count), end = first + count;
    int r;

    *ret_fresh = first == heap->span_count;
    if (end > heap->span_count) {
        r = heap_grow((void **)&heap->spans, &heap->span_room, end, sizeof(*heap->spans));
        if (r == 0)
            r = brood__segment_commit(heap->segment, heap->start + end * SPAN);
        if (r < 0)
            return r;
        heap->span_count = end;
    }
    memset(&heap->spans[first], 0, count * sizeof(*heap->spans));
    for (size_t i = first; i < end; i++)
        heap->spans[i].use = SPAN_REST;
    heap->spans[first].use = SPAN_RUN;
    heap->spans[first].length = (uint32_t)count;
    *ret_first = first;
    return 0;
}

static size_t size_class(size_t bytes)
{
    size_t class = 0;

    while ((CLASS_0 << class) < bytes)
        class ++;
    brood__assert(class < HEAP_CLASSES);
    return class;
}

/* Divides a new span into blocks of a class. */
static int class_refill(struct heap *heap, size_t class)
{
    struct heap_stack *stack = &heap->free[class];
    size_t size = CLASS_0 << class, span;
    bool fresh;
    int r = heap_grow((void **)&stack->offsets, &stack->room, stack->blocks + SPAN / size, sizeof(*stack->offsets));

    if (r == 0)
        r = run_take(heap, 1, &span, &fresh);
    if (r < 0)
        return r;
    stack->blocks += SPAN / size;
    heap->spans[span].use = SPAN_SMALL;
    heap->spans[span].class = (uint8_t) class;
    for (size_t at = SPAN; at >= size; at -= size) /* pushes the lowest block last, so it is the first to be taken */
        stack->offsets[stack->count++] = heap->start + span * SPAN + at - size;
    return 0;
}

static uint64_t *used_word(struct heap *heap, uint64_t offset, uint64_t *ret_bit)
{
    struct heap_span *span = &heap->spans[(offset - heap->start) / SPAN];
    size_t block = (offset - heap->start) % SPAN / (CLASS_0 << span->class);

    *ret_bit = (uint64_t)1 << (block % 64);
    return &span->used[block / 64];
}

static int small_alloc(struct heap *heap, size_t bytes, uint64_t *ret_offset)
{
    size_t class = size_class(bytes);
    uint64_t bit, *used;
    int r;

    if (heap->free[class].count == 0 && (r = class_refill(heap, class)) < 0)
        return r;
    *ret_offset = heap->free[class].offsets[--heap->free[class].count];
    used = used_word(heap, *ret_offset, &bit);
    brood__assert(!(*used & bit));
    *used |= bit;
    return 0;
}

int brood__heap_alloc(struct heap *heap, size_t bytes, bool zeroed, uint64_t *ret_offset)
{
    bool fresh = false;
    size_t first;
    int r;

    if (bytes > heap->segment->reserved)
        return brood_fail(-ENOMEM,
                          "%zu MiB are more than the pool's %zu MiB of address space: open it with a larger "
                          ".memory_bytes",
                          bytes >> 20, heap->segment->reserved >> 20);
    if (bytes <= CLASS_LAST) {
        r = small_alloc(heap, bytes, ret_offset);
    } else {
        r = run_take(heap, (bytes + SPAN - 1) / SPAN, &first, &fresh);
        if (r == 0)
            *ret_offset = heap->start + first * SPAN;
    }
    if (r == 0 && zeroed && !fresh)
        memset(heap->segment->base + *ret_offset, 0, bytes);
    brood__assert_valid(heap_is_valid(heap));
    brood__assert_costly(brood__heap_is_consistent(heap));
    return r;
}

static int small_free(struct heap *heap, uint64_t offset)
{
    size_t class = heap->spans[(offset - heap->start) / SPAN].class;
    uint64_t bit, *used = used_word(heap, offset, &bit);

    if ((offset - heap->start) % (CLASS_0 << class) != 0 || !(*used & bit))
        return -EINVAL;
    *used &= ~bit;
    /* class_refill() has made room for every block of the class */
    brood__assert_valid(heap_is_valid(heap));
    heap->free[class].offsets[heap->free[class].count++] = offset;
    return 0;
}

int brood__heap_free(struct heap *heap, uint64_t offset)
{
    size_t at = (size_t)(offset - heap->start) / SPAN;

    if (offset < heap->start || at >= heap->span_count)
        return -EINVAL;
    if (heap->spans[at].use == SPAN_SMALL)
        return small_free(heap, offset);
    if (heap->spans[at].use != SPAN_RUN || (offset - heap->start) % SPAN != 0)
        return -EINVAL;
    for (size_t i = heap->spans[at].length; i-- > 0;)
        heap->spans[at + i].use = SPAN_FREE;
    brood__assert_costly(brood__heap_is_consistent(heap));
    return 0;
}
