/* segment_heap.h - an allocator for the memory of a segment, which keeps its state in private memory.
 *
 * Only the host allocates: a worker that dies, or writes anywhere, can neither leak memory nor corrupt the allocator.  A
 * block is named by its offset in the segment.  Small blocks (up to 32 KiB) are powers of two, cut from spans of 64 KiB;
 * larger ones are runs of whole spans, first fit.  Every block is 64-byte aligned.
 *
 * One thread at a time calls these functions.
 */
#ifndef BROOD_SHM_SEGMENT_HEAP_H
#define BROOD_SHM_SEGMENT_HEAP_H

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
        size_t blocks; /* existing blocks of this class; the stack has room for all of them */
    } free[HEAP_CLASSES];
};

/* Makes a heap of what lies after `start` in the segment.  Takes no memory yet and cannot fail. */
void brood__heap_init(struct heap *heap, struct segment *segment, size_t start);

/* Allocates a block of `bytes` bytes; its offset goes to *ret_offset.  The content is undefined, or zero with `zeroed`.
 * Returns 0; -ENOSPC or -ENOMEM with a message. */
int brood__heap_alloc(struct heap *heap, size_t bytes, bool zeroed, uint64_t *ret_offset);

/* Frees a block.  Returns 0; -EINVAL: no block begins at that offset. */
int brood__heap_free(struct heap *heap, uint64_t offset);

/* For assertions: walks the whole heap. */
bool brood__heap_is_consistent(const struct heap *heap);

/* Frees the allocator's state.  The blocks stay until the segment is closed. */
void brood__heap_close(struct heap *heap);

#endif
