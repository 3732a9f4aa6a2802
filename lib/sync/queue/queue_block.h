/* queue_block.h - chains of blocks, in which messages lie that are in the store or do not fit into a slot. */
#ifndef BROOD_SYNC_QUEUE_BLOCK_H
#define BROOD_SYNC_QUEUE_BLOCK_H

#include "sync/queue/queue_lock.h"

/* Copies a message into blocks that it claims with `word`; the first block begins with *first, unless `first` is NULL.
 * Returns the first block of the chain; -EAGAIN: no block is free now; -EBUSY: and the lock, which it takes to add blocks,
 * is not free either; -ENOSPC, with an error text. */
int64_t brood__blocks_write(struct brood_queue *queue, struct brood_bytes message, uint64_t word,
                            const struct stored *first, struct queue_locking locking);

/* Stores that word in each block of the chain. */
void brood__blocks_name(struct brood_queue *queue, uint64_t block, uint64_t word);

/* Frees the blocks of a message that a dead owner was about to put. */
void brood__blocks_free_owned(struct brood_queue *queue, unsigned owner);

static inline uint64_t block_owned(unsigned owner)
{
    return BLOCK_OWNED | (uint64_t)owner << BLOCK_STATE_BITS;
}

/* Copies `length` bytes out of the chain.  `is_stored`: its first block begins with a struct stored. */
void brood__blocks_read(const struct brood_queue *queue, uint32_t block, bool is_stored, void *to, uint64_t length);

/* Makes sure that the first `blocks` blocks have memory.  The caller has the lock.  0 or -ENOSPC. */
int brood__blocks_commit(struct brood_queue *queue, uint64_t blocks);

#endif
