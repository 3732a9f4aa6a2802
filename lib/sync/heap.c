/* heap.c - an allocator whose page table is right after a death at any instruction.
 *
 * There are no lists, and no fact is stored twice: a descriptor for each page says what the page is, and one bit for each
 * of its blocks whether that is allocated.  An allocation or a release is one store (marked "commits"): a process that dies
 * before it has changed nothing, and one that dies after it leaves at most pages that are in no run, which heap_repair()
 * finds.  The stores must keep the order in which they are written here, for the process that takes the lock after a death.
 * The kernel orders that process after the death; so only the compiler must keep the order, by in_order().
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include <brood/heap.h>

#include "os/assert.h"
#include "os/identity.h"
#include "shm/segment.h"
#include "sync/claim.h"

#define MAGIC UINT64_C(0x3130706165687262) /* "brheap01" in memory */
#define LINE_BYTES 64
#define PAGE ((size_t)4096)
#define CLASSES 6 /* of 64 bytes, 128 … 2048 */
#define CLASS_0 ((size_t)64)
#define SMALL_MAX (CLASS_0 << (CLASSES - 1))
#define RUNS CLASSES /* the hint of what is larger */

enum page_use { PAGE_FREE, PAGE_SMALL, PAGE_RUN, PAGE_REST };

/* What a page is.  The holder of the lock writes it; brood_heap_check() reads it without. */
struct page {
    uint16_t use;
    uint16_t class;  /* of a small page */
    uint32_t length; /* of the run that begins here, in pages */
    uint64_t used;   /* of a small page, a bit a block */
};

_Static_assert(sizeof(struct brood_heap) == 2 * LINE_BYTES && sizeof(struct page) == 16, "shared layout");

static void in_order(void)
{
    atomic_signal_fence(memory_order_seq_cst); /* pairs with the acquire of the lock after a death, see above */
}

static struct page *page_at(const struct brood_heap *heap, size_t index)
{
    return (struct page *)(uintptr_t)(heap + 1) + index;
}

/* ---- geometry ---- */

static size_t books_bytes(size_t pages)
{
    return (sizeof(struct brood_heap) + pages * sizeof(struct page) + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
}

static size_t pages_for(size_t bytes)
{
    size_t pages =
        bytes < sizeof(struct brood_heap) ? 0 : (bytes - sizeof(struct brood_heap)) / (PAGE + sizeof(struct page));

    while (pages > 0 && books_bytes(pages) + pages * PAGE > bytes)
        pages--;
    return pages;
}

static int heap_check_place(const struct brood_heap *heap, size_t bytes)
{
    if (!heap || (uintptr_t)heap % LINE_BYTES != 0)
        return brood_fail(-EINVAL, "a heap needs memory that begins at a multiple of %d bytes, not at %p", LINE_BYTES,
                          (const void *)heap);
    if (bytes < BROOD_HEAP_BYTES_MIN || bytes / PAGE > UINT32_MAX)
        return brood_fail(-EINVAL, "%zu bytes make no heap: it takes %zu or more", bytes, BROOD_HEAP_BYTES_MIN);
    return 0;
}

int brood_heap_init(struct brood_heap *heap, size_t bytes)
{
    int r = heap_check_place(heap, bytes);
    size_t pages = pages_for(bytes);

    if (r < 0)
        return r;
    memset(heap, 0, books_bytes(pages));
    heap->pages = pages;
    heap->first_page = books_bytes(pages);
    heap->namespaces = brood__namespaces();
    heap->magic = MAGIC;
    return 0;
}

static uint64_t all_blocks(size_t class)
{
    size_t blocks = PAGE / (CLASS_0 << class);

    return blocks == 64 ? UINT64_MAX : (UINT64_C(1) << blocks) - 1;
}

static bool is_run(const struct brood_heap *heap, size_t first, size_t length)
{
    if (length == 0 || length > heap->pages - first)
        return false;
    for (size_t i = first + 1; i < first + length; i++)
        if (read_once(page_at(heap, i)->use) != PAGE_REST)
            return false;
    return true;
}

static bool is_sound(const struct brood_heap *heap, size_t index)
{
    const struct page *page = page_at(heap, index);
    uint16_t use = read_once(page->use), class = read_once(page->class);

    if (use == PAGE_SMALL)
        return class < CLASSES && (read_once(page->used) & ~all_blocks(class)) == 0;
    return use == PAGE_RUN ? is_run(heap, index, read_once(page->length)) : use <= PAGE_REST;
}

/* Other processes may be changing the page table, so values that are read at two times need not fit together. */
static bool is_sound_now_or_soon(const struct brood_heap *heap, size_t index)
{
    return is_sound(heap, index) || is_sound(heap, index) || is_sound(heap, index);
}

int brood_heap_check(const struct brood_heap *heap, size_t bytes)
{
    int r = heap_check_place(heap, bytes);

    if (r < 0)
        return r;
    if (heap->magic != MAGIC || heap->pages == 0 || heap->pages > pages_for(bytes) ||
        heap->first_page != books_bytes((size_t)heap->pages))
        return brood_fail(-EINVAL, "these %zu bytes are no heap", bytes);
    for (size_t i = 0; i < heap->pages; i++)
        if (!is_sound_now_or_soon(heap, i))
            return brood_fail(-EINVAL, "the page table of this heap was written over: page %zu", i);
    return brood__namespaces_check(heap->namespaces, "the heap");
}

/* ---- the lock ---- */

/* Frees the pages of a run that was never finished, or was being freed. */
static void heap_repair(struct brood_heap *heap)
{
    size_t i = 0;

    brood__assert(claim_is_ours(&heap->lock.word));
    while (i < heap->pages) {
        struct page *page = page_at(heap, i);

        if (page->use == PAGE_REST || (page->use == PAGE_SMALL && page->used == 0))
            page->use = PAGE_FREE;
        i += page->use == PAGE_RUN ? page->length : 1;
    }
    memset(heap->hints, 0, sizeof(heap->hints));
}

/* If the caller dies in the repair, the next caller gets -EOWNERDEAD and begins again. */
static int heap_enter(struct brood_heap *heap, brood_deadline deadline)
{
    int r = brood__namespaces_check(heap->namespaces, "the heap");

    if (r == 0)
        r = brood_lock_acquire(&heap->lock, deadline);
    if (r != -EOWNERDEAD)
        return r;
    heap_repair(heap);
    return 0;
}

static int heap_leave(struct brood_heap *heap, int r)
{
    brood__assert(claim_is_ours(&heap->lock.word));
    (void)brood_lock_release(&heap->lock);
    return r;
}

/* ---- blocks ---- */

static size_t class_of(size_t bytes)
{
    size_t class = 0;

    while ((CLASS_0 << class) < bytes)
        class ++;
    return class;
}

static uint64_t heap_offset_of(const struct brood_heap *heap, size_t page)
{
    return heap->first_page + page * PAGE;
}

/* The first of `count` free pages in a row, from the hint on; or heap->pages. */
static size_t find_run(const struct brood_heap *heap, size_t count, size_t from)
{
    size_t run = 0, i = from;

    while (i < heap->pages) {
        const struct page *page = page_at(heap, i);

        run = page->use == PAGE_FREE ? run + 1 : 0;
        if (run == count)
            return i + 1 - count;
        i += page->use == PAGE_RUN ? page->length : 1;
    }
    return (size_t)heap->pages;
}

/* All pages before the hint are taken. */
static size_t find_free_run(struct brood_heap *heap, size_t count)
{
    size_t first = heap->hints[RUNS] = find_run(heap, 1, (size_t)heap->hints[RUNS]);

    return count == 1 ? first : find_run(heap, count, first);
}

/* No page from `top` on was ever taken.  Before a page is. */
static void raise_top(struct brood_heap *heap, size_t end)
{
    if (heap->top < end)
        heap->top = end;
    in_order();
}

static size_t pages_to_search(const struct brood_heap *heap)
{
    return (size_t)(heap->top < heap->pages ? heap->top : heap->pages);
}

/* A page of that class with a free block, or a free page that is made one; or heap->pages. */
static size_t find_small(struct brood_heap *heap, size_t class)
{
    size_t i, end = pages_to_search(heap);

    for (i = (size_t)heap->hints[class]; i < end; i++) {
        const struct page *page = page_at(heap, i);

        if (page->use == PAGE_SMALL && page->class == class && page->used != all_blocks(class))
            return heap->hints[class] = i;
    }
    heap->hints[class] = heap->pages;
    i = find_free_run(heap, 1);
    if (i == heap->pages)
        return i;
    heap->hints[class] = i;
    raise_top(heap, i + 1);
    page_at(heap, i)->used = 0;
    page_at(heap, i)->class = (uint16_t) class;
    in_order();
    page_at(heap, i)->use = PAGE_SMALL; /* without a block it is as good as free, see heap_repair() */
    return i;
}

static int alloc_small(struct brood_heap *heap, size_t class, uint64_t *ret_offset)
{
    size_t index = find_small(heap, class), block;
    struct page *page = page_at(heap, index);

    if (index == heap->pages)
        return -ENOMEM;
    block = (size_t)__builtin_ctzll(~page->used);
    *ret_offset = heap_offset_of(heap, index) + block * (CLASS_0 << class);
    page->used |= UINT64_C(1) << block; /* commits */
    return 0;
}

static int alloc_run(struct brood_heap *heap, size_t bytes, uint64_t *ret_offset)
{
    size_t count = (bytes + PAGE - 1) / PAGE, first = find_free_run(heap, count);

    if (first == heap->pages)
        return -ENOMEM;
    raise_top(heap, first + count);
    for (size_t i = first + 1; i < first + count; i++)
        page_at(heap, i)->use = PAGE_REST;
    page_at(heap, first)->length = (uint32_t)count;
    *ret_offset = heap_offset_of(heap, first);
    in_order();
    page_at(heap, first)->use = PAGE_RUN; /* commits */
    return 0;
}

int brood_heap_alloc(struct brood_heap *heap, size_t bytes, uint64_t *ret_offset, brood_deadline deadline)
{
    uint64_t offset = 0;
    int r = heap_enter(heap, deadline);

    if (r < 0)
        return r;
    if (bytes <= SMALL_MAX)
        r = alloc_small(heap, class_of(bytes), &offset);
    else
        r = bytes > heap->pages * PAGE ? -ENOMEM : alloc_run(heap, bytes, &offset);
    (void)heap_leave(heap, r);
    if (r < 0)
        return brood_fail(r, "the heap of %zu KiB has no room for %zu bytes", (size_t)heap->pages * PAGE >> 10, bytes);
    memset(brood_heap_at(heap, offset), 0, bytes); /* without the lock: no other thread has the block */
    *ret_offset = offset;
    return 0;
}

static void hint(struct brood_heap *heap, size_t which, size_t page)
{
    if (heap->hints[which] > page)
        heap->hints[which] = page;
}

static int free_small(struct brood_heap *heap, size_t index, size_t at)
{
    struct page *page = page_at(heap, index);
    size_t size = CLASS_0 << page->class;
    uint64_t bit = UINT64_C(1) << (at / size);

    if (at % size != 0 || !(page->used & bit))
        return -EINVAL;
    hint(heap, page->class, index);
    in_order();
    page->used &= ~bit; /* commits */
    if (page->used == 0) {
        page->use = PAGE_FREE;
        hint(heap, RUNS, index);
    }
    return 0;
}

static int free_run(struct brood_heap *heap, size_t index, size_t at)
{
    struct page *page = page_at(heap, index);
    size_t count = page->length;

    if (at != 0 || page->use != PAGE_RUN)
        return -EINVAL;
    hint(heap, RUNS, index);
    in_order();
    page->use = PAGE_FREE; /* commits */
    in_order();
    for (size_t i = index + 1; i < index + count; i++)
        page_at(heap, i)->use = PAGE_FREE;
    return 0;
}

static int free_block(struct brood_heap *heap, uint64_t offset)
{
    size_t at = (size_t)(offset - heap->first_page), index = at / PAGE;

    brood__assert(claim_is_ours(&heap->lock.word));
    if (offset < heap->first_page || index >= heap->pages)
        return -EINVAL;
    if (page_at(heap, index)->use == PAGE_SMALL)
        return free_small(heap, index, at % PAGE);
    return free_run(heap, index, at % PAGE);
}

int brood_heap_free(struct brood_heap *heap, uint64_t offset, brood_deadline deadline)
{
    int r;

    if (offset == 0)
        return 0;
    r = heap_enter(heap, deadline);
    if (r < 0)
        return r;
    r = heap_leave(heap, free_block(heap, offset));
    return r == 0 ? 0 : brood_fail(r, "no block of the heap begins at %llu, or it is free", (unsigned long long)offset);
}

void *brood_heap_at(struct brood_heap *heap, uint64_t offset)
{
    return offset == 0 ? NULL : (char *)heap + offset;
}

uint64_t brood_heap_offset(const struct brood_heap *heap, const void *memory)
{
    return memory ? (uint64_t)((const char *)memory - (const char *)heap) : 0;
}

static size_t used_of(const struct page *page)
{
    if (page->use == PAGE_RUN)
        return page->length * PAGE;
    return page->use == PAGE_SMALL ? (size_t)__builtin_popcountll(page->used) * (CLASS_0 << page->class) : 0;
}

int brood_heap_used(struct brood_heap *heap, size_t *ret_bytes, brood_deadline deadline)
{
    size_t bytes = 0;
    int r = heap_enter(heap, deadline);

    if (r < 0)
        return r;
    for (size_t i = 0; i < heap->pages; i++)
        bytes += used_of(page_at(heap, i));
    *ret_bytes = bytes;
    return heap_leave(heap, 0);
}
