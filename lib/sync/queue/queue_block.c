#include "sync/queue/queue_block.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "os/available.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define PAGE ((uint64_t)4096)
#define BLOCK_LOOKS 64 /* at blocks in use, one after the other, before the queue asks for more memory */
#define GROW_MIN 64    /* blocks */
#define GROW_SHARE 8   /* ... or this part of the blocks there are */

/* ---- which blocks are free ---- */

static bool slot_is_alive(const struct brood_queue *queue, uint64_t position)
{
    const struct brood_ring *ring = queue_ring(queue);
    uint64_t word = ring_load(&ring_slot_at(ring, position)->word);
    enum ring_state state = ring_word_state(word);

    return ring_word_position(word) == position && state != RING_FREE && state != RING_TOMB;
}

static bool head_is_alive(const struct brood_queue *queue, uint64_t part)
{
    uint64_t head = part >> BLOCK_STATE_BITS & BLOCKS_MAX;
    uint64_t word = ring_load(&queue_block(queue, head)->word);
    uint64_t state = word & ((1u << BLOCK_STATE_BITS) - 1);

    return word >> BLOCK_NUMBER_SHIFT == part >> BLOCK_NUMBER_SHIFT && (state == BLOCK_BUILDING || state == BLOCK_STORED);
}

static bool block_is_free(const struct brood_queue *queue, uint64_t word)
{
    switch (word & ((1u << BLOCK_STATE_BITS) - 1)) {
    case BLOCK_FREE:
        return true;
    case BLOCK_SLOT:
        return !slot_is_alive(queue, ring_word_position(word));
    case BLOCK_PART:
        return !head_is_alive(queue, word);
    default:
        return false;
    }
}

/* ---- memory ---- */

/* Makes the kernel allocate the pages now: later, in the middle of a copy, it could report a lack of memory by a signal
 * only. */
static int populate(const struct brood_queue *queue, uint64_t begin, uint64_t end)
{
    char *base = (char *)(uintptr_t)queue;
    uint64_t available;

    begin = begin / PAGE * PAGE;
    end = (end + PAGE - 1) / PAGE * PAGE;
    if (!brood__memory_allows(begin, end, &available)) /* in a control group the kernel would kill a process */
        return brood_fail(-ENOSPC,
                          "no memory for %llu KiB more of the queue: this machine, or the memory limit of a control group, "
                          "leaves %llu KiB",
                          (unsigned long long)(end - begin) >> 10, (unsigned long long)available >> 10);
    if (madvise(base + begin, end - begin, MADV_POPULATE_WRITE) == 0 || errno == EINVAL) /* a kernel before 5.14 */
        return 0;
    return brood_fail(-ENOSPC, "no memory for %llu KiB more of the queue: %s", (unsigned long long)(end - begin) >> 10,
                      strerror(errno));
}

int brood__blocks_commit(struct brood_queue *queue, uint64_t blocks)
{
    uint64_t had = ring_load(&queue->committed);
    int r;

    if (blocks > queue->blocks_max)
        blocks = queue->blocks_max;
    if (blocks <= had)
        return brood_fail(-ENOSPC,
                          "the queue's %llu KiB are used up: open it with a larger .memory_bytes, or with a .bound",
                          (unsigned long long)queue->blocks_max * queue->block_bytes >> 10);
    r = populate(queue, queue->index_at + had * sizeof(uint32_t), queue->index_at + blocks * sizeof(uint32_t));
    if (r == 0)
        r = populate(queue, queue->blocks_at + had * queue->block_bytes, queue->blocks_at + blocks * queue->block_bytes);
    if (r < 0)
        return r;
    ring_store(&queue->next_block, had);
    ring_store(&queue->committed, blocks);
    return 0;
}

static int queue_grow(struct brood_queue *queue, uint64_t had, struct queue_locking locking)
{
    uint64_t more = had / GROW_SHARE > GROW_MIN ? had / GROW_SHARE : GROW_MIN;
    int r = 0;

    if (queue_gate(queue) & QUEUE_FIXED)
        return -EAGAIN;
    if (!locking.has_lock && (r = brood__queue_lock(queue, locking.repair, locking.deadline)) < 0)
        return r;
    if (ring_load(&queue->committed) == had) /* else another thread was faster */
        r = brood__blocks_commit(queue, had + more);
    if (!locking.has_lock)
        brood__queue_unlock(queue);
    return r;
}

/* ---- claims ---- */

/* Claims a free block among the next `looks`.  BLOCK_NONE: there is none. */
static uint32_t claim_among(struct brood_queue *queue, uint64_t claim, uint64_t committed, uint64_t looks)
{
    uint64_t next = ring_load(&queue->next_block);

    for (uint64_t i = 0; i < looks; i++, next++) {
        struct block *block;
        uint64_t word;

        next = next < committed ? next : 0;
        block = queue_block(queue, next);
        word = ring_load(&block->word);
        if (block_is_free(queue, word) && ring_swap(&block->word, word, claim)) {
            ring_store(&queue->next_block, next + 1);
            return (uint32_t)next;
        }
    }
    return BLOCK_NONE;
}

static int64_t claim_block(struct brood_queue *queue, uint64_t claim, struct queue_locking locking)
{
    for (;;) {
        uint64_t committed = ring_load(&queue->committed);
        uint32_t block = claim_among(queue, claim, committed, committed < BLOCK_LOOKS ? committed : BLOCK_LOOKS);
        int r;

        if (block != BLOCK_NONE)
            return block;
        r = queue_grow(queue, committed, locking);
        if (r == 0)
            continue;
        block = claim_among(queue, claim, committed, committed);
        return block != BLOCK_NONE ? (int64_t)block : r;
    }
}

/* ---- chains ---- */

/* Where the message's bytes are in a block, and how many fit. */
static unsigned char *room_in(const struct brood_queue *queue, struct block *block, bool is_first, uint64_t *ret_room)
{
    uint64_t used = is_first ? sizeof(struct stored) : 0;

    *ret_room = queue->block_bytes - sizeof(*block) - used;
    return block->bytes + used;
}

static uint64_t write_block(const struct brood_queue *queue, struct block *block, struct brood_bytes message, uint64_t done,
                            const struct stored *first)
{
    uint64_t room, bytes;
    unsigned char *to = room_in(queue, block, first, &room);

    if (first)
        *block_stored(block) = *first;
    atomic_store_explicit(&block->next, BLOCK_NONE, memory_order_relaxed);
    bytes = queue_smaller(room, message.len - done);
    if (bytes > 0)
        memcpy(to, (const char *)message.ptr + done, bytes);
    return done + bytes;
}

static bool can_ever_fit(const struct brood_queue *queue, uint64_t length, bool has_head)
{
    uint64_t room = queue->block_bytes - sizeof(struct block);
    uint64_t bytes = length + (has_head ? sizeof(struct stored) : 0);

    return length <= QUEUE_LENGTH_MAX && queue->blocks_max > 0 && (bytes + room - 1) / room <= queue->blocks_max;
}

int64_t brood__blocks_write(struct brood_queue *queue, struct brood_bytes message, uint64_t word,
                            const struct stored *first, struct queue_locking locking)
{
    int64_t head = -1, last = -1;
    uint64_t done = 0;

    if (!can_ever_fit(queue, message.len, first != NULL))
        return brood_fail(-ENOSPC,
                          "a message of %zu bytes can never fit into the queue: make it with a larger .memory_bytes",
                          message.len);
    while (head < 0 || done < message.len) {
        /* The other blocks name the first one, so that one names the message before they exist. */
        uint64_t claim = first && head >= 0 ? (word >> BLOCK_NUMBER_SHIFT << BLOCK_NUMBER_SHIFT) |
                                                  (uint64_t)head << BLOCK_STATE_BITS | BLOCK_PART
                                            : word;
        int64_t block = claim_block(queue, claim, locking);

        if (block < 0) {
            if (head >= 0)
                brood__blocks_name(queue, (uint64_t)head, BLOCK_FREE);
            return block;
        }
        done = write_block(queue, queue_block(queue, (uint64_t)block), message, done, head < 0 ? first : NULL);
        if (last >= 0)
            atomic_store_explicit(&queue_block(queue, (uint64_t)last)->next, (uint32_t)block, memory_order_relaxed);
        last = block;
        head = head < 0 ? block : head;
    }
    return head;
}

void brood__blocks_name(struct brood_queue *queue, uint64_t block, uint64_t word)
{
    while (block != BLOCK_NONE) {
        struct block *at = queue_block(queue, block);

        block = atomic_load_explicit(&at->next,
                                     memory_order_relaxed); /* first: once a block is free another thread may claim it */
        ring_store(&at->word, word);
    }
}

void brood__blocks_free_owned(struct brood_queue *queue, unsigned owner)
{
    uint64_t committed = ring_load(&queue->committed);

    for (uint64_t i = 0; i < committed; i++)
        if (ring_load(&queue_block(queue, i)->word) == block_owned(owner))
            ring_store(&queue_block(queue, i)->word, BLOCK_FREE);
}

void brood__blocks_read(const struct brood_queue *queue, uint32_t block, bool is_stored, void *to, uint64_t length)
{
    uint64_t committed = ring_load(&queue->committed);

    for (uint64_t done = 0; done < length && block < committed;) {
        struct block *at = queue_block(queue, block);
        uint64_t room, bytes;
        const unsigned char *from = room_in(queue, at, is_stored && done == 0, &room);

        bytes = queue_smaller(room, length - done);
        memcpy((char *)to + done, from, bytes);
        done += bytes;
        block = atomic_load_explicit(&at->next, memory_order_relaxed);
    }
}
