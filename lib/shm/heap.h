/* heap.h - an allocator for the memory of a segment, with its books in private memory.
 *
 * Only the host allocates: a worker that dies, or scribbles, cannot leak or corrupt an allocator.  Blocks are named by
 * their offset in the segment.  Small ones (up to 32 KiB) are cut, in powers of two, from spans of 64 KiB; larger ones are
 * runs of whole spans, first fit.  Every block is 64-byte aligned.
 *
 * Callers: one thread at a time.
 */
#ifndef BROOD_SHM_HEAP_H
#define BROOD_SHM_HEAP_H

#include "shm/segment.h"

#define HEAP_CLASSES 10 /* 64 B, 128 B … 32 KiB */

struct heap_span;

struct heap {
    struct segment *segment;
    size_t start; /* offset of span 0 */
    struct heap_span *spans;
    size_t span_count, span_room;
    struct heap_stack {
        uint64_t *offsets;
        size_t count, room;
        size_t blocks; /* of this class that exist: the stack has room for all of them */
    } free[HEAP_CLASSES];
};

/* A heap over what lies behind `start` in the segment.  Takes no memory yet, cannot fail. */
void brood__heap_init(struct heap *heap, struct segment *segment, size_t start);

/* A block of `bytes` bytes; its offset goes to *ret_offset.  The content is whatever was there, or zero where `zeroed`.
 * 0; -ENOSPC or -ENOMEM, in words. */
int brood__heap_alloc(struct heap *heap, size_t bytes, bool zeroed, uint64_t *ret_offset);

/* Frees a block.  0; -EINVAL when there is no block at that offset. */
int brood__heap_free(struct heap *heap, uint64_t offset);

/* Frees the books; the blocks go with the segment. */
void brood__heap_close(struct heap *heap);

#endif
