/* brood/heap.h - a heap in shared memory: any process that sees it allocates and frees, and any may be killed at that.
 *
 *     struct brood_heap *heap = brood_memory_address(memory);
 *     r = brood_heap_init(heap, brood_memory_size(memory));
 *     ...
 *     uint64_t place;
 *     r = brood_heap_alloc(heap, sizeof(struct node), &place, BROOD_FOREVER);
 *     struct node *node = brood_heap_at(heap, place);
 *
 * Blocks are named by their offset, since the memory lies at another address in every process that attaches; a child that
 * is forked may pass pointers.  Offsets are what one block keeps of another.  No block has the offset 0.
 *
 * Death.  A robust lock guards the page table; after a death with it the next process that takes it repairs the table.  A
 * block is allocated, or free, from one store on, so that none is lost or given out twice.  Blocks that a dead process had
 * are not freed, since others may use them.  (brood_alloc() of a pool belongs to the host, which outlives its workers.)
 *
 * Sizes.  Up to 2 KiB in powers of two, from 64 bytes, cut from pages of 4 KiB; beyond that whole pages, first fit.
 * Everything is aligned to 64 bytes.  The page table takes 1/256.
 *
 * Trust.  All processes that map it may write to all of it.  brood_heap_check() tells a heap from other memory; it is no
 * defence against a participant that means harm.
 */
#ifndef BROOD_HEAP_H
#define BROOD_HEAP_H

#include <brood/base.h>
#include <brood/lock.h>

BROOD_BEGIN

/* All of it private. */
struct brood_heap {
    uint64_t magic;
    uint64_t pages;      /* how many, after the page table */
    uint64_t first_page; /* offset of page 0 */
    struct brood_lock lock;
    uint64_t hints[8];   /* of each size, where the search for a block begins */
    uint64_t top;        /* the pages from here on have never been used */
    uint64_t namespaces; /* of its maker: see brood_lock */
    uint64_t reserved[2];
};

#define BROOD_HEAP_BYTES_MIN ((size_t)16384)

/* Makes an empty heap in `bytes` bytes of memory, BROOD_HEAP_BYTES_MIN or more, 64-byte aligned.  0 or -EINVAL.  Before
 * another thread uses it. */
BROOD_API BROOD_MUST_USE int brood_heap_init(struct brood_heap *heap, size_t bytes);

/* Checks that this memory, of `bytes` bytes, is a heap, for a process that attaches to it.  0; -EINVAL; -EXDEV: it was made
 * in another PID namespace (see brood/lock.h), as all calls say then. */
BROOD_API BROOD_MUST_USE int brood_heap_check(const struct brood_heap *heap, size_t bytes);

/* A block of at least `bytes` bytes, zeroed.  0; -ENOMEM: there is no such room; -EAGAIN, -ETIMEDOUT: another is at the
 * books.  Callers: any number. */
BROOD_API BROOD_MUST_USE int brood_heap_alloc(struct brood_heap *heap, size_t bytes, uint64_t *ret_offset,
                                              brood_deadline deadline);

/* Frees a block; 0 is fine.  0; -EINVAL: there is no block at that offset, or it is free already; -EAGAIN, -ETIMEDOUT.  The
 * block need not be the caller's. */
BROOD_API int brood_heap_free(struct brood_heap *heap, uint64_t offset, brood_deadline deadline);

/* Where it is in this process; and the offset of what lies there.  NULL is 0, and 0 NULL. */
BROOD_API void *brood_heap_at(struct brood_heap *heap, uint64_t offset);
BROOD_API uint64_t brood_heap_offset(const struct brood_heap *heap, const void *memory);

/* Bytes of blocks that are allocated, each with what it was rounded up to.  0; -EAGAIN, -ETIMEDOUT.  Takes time in
 * proportion to the pages. */
BROOD_API BROOD_MUST_USE int brood_heap_used(struct brood_heap *heap, size_t *ret_bytes, brood_deadline deadline);

BROOD_END

#endif
