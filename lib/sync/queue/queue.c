#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "os/clock.h"
#include "os/identity.h"
#include "sync/queue/queue_block.h"
#include "sync/queue/queue_member.h"

#define MESSAGE_BYTES 56 /* with the slot's word: a cache line */
#define MEMORY_BYTES ((size_t)1 << 30)
#define BOUND_FIXED 1024 /* of a queue in the user's memory, unless an option gives another */

#define SLOTS_DEFAULT 1024
#define SLOTS_MAX 65536
#define RING_BYTES_MAX ((size_t)4 << 20) /* beyond that, the store takes the messages for which the ring has no room */
#define SLOT_MESSAGE_MIN 8               /* the word that names a chain of blocks */
#define SLOT_MESSAGE_MAX 4080
#define BLOCK_BYTES_MIN 256 /* so that long messages are few blocks */
#define BLOCK_BYTES_MAX 4096
#define LINE ((size_t)64)
#define PAGE ((size_t)4096)

static size_t queue_round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static size_t queue_limited(size_t n, size_t least, size_t most)
{
    return n < least ? least : n > most ? most : n;
}

/* ---- options ---- */

static int queue_read_options(const struct brood_queue_options *given, struct brood_queue_options *ret_options)
{
    struct brood_queue_options options = {.size = sizeof(options)};

    if (given && (given->size == 0 || given->size > sizeof(options)))
        return brood_fail(-EINVAL, "the options' .size is %zu, and this library knows %zu: use BROOD_QUEUE(...)",
                          given->size, sizeof(options));
    if (given)
        memcpy(&options, given, given->size);
    if (options.kind > BROOD_PRIORITY)
        return brood_fail(-EINVAL, "%d is no kind of queue", (int)options.kind);
    if (options.message_bytes == 0)
        options.message_bytes = MESSAGE_BYTES;
    if (options.message_bytes > QUEUE_LENGTH_MAX)
        return brood_fail(-EINVAL, "messages cannot have %zu bytes", options.message_bytes);
    if (options.bound > SIZE_MAX / 2 || options.memory_bytes > SIZE_MAX / 4)
        return brood_fail(-EINVAL, "a queue of %zu messages in %zu bytes is more than there can be", options.bound,
                          options.memory_bytes);
    *ret_options = options;
    return 0;
}

/* ---- geometry ---- */

struct shape {
    size_t slots, slot_message_bytes;
    size_t block_bytes, blocks;
    size_t index_at, blocks_at, end;
};

static size_t power_of_two(size_t least)
{
    size_t n = 2;

    while (n < least)
        n *= 2;
    return n;
}

static void shape_ring(struct shape *shape, const struct brood_queue_options *options)
{
    size_t wanted = options->bound ? queue_limited(options->bound, 2, SLOTS_MAX) : SLOTS_DEFAULT;

    shape->slot_message_bytes = queue_limited(options->message_bytes, SLOT_MESSAGE_MIN, SLOT_MESSAGE_MAX);
    shape->slots = power_of_two(wanted);
    if (options->kind != BROOD_FIFO) {
        shape->slot_message_bytes = SLOT_MESSAGE_MIN;
        shape->slots = 2;
    }
    while (shape->slots > 2 && shape->slots * shape->slot_message_bytes > RING_BYTES_MAX)
        shape->slots /= 2;
}

static size_t blocks_of_a_message(const struct shape *shape, size_t message_bytes)
{
    size_t room = shape->block_bytes - sizeof(struct block);

    return (message_bytes + sizeof(struct stored) + room - 1) / room;
}

/* How many blocks a queue in the user's memory has: for all messages that the ring has no room for, and some longer ones.
 */
static size_t blocks_for(const struct shape *shape, const struct brood_queue_options *options)
{
    size_t each = blocks_of_a_message(shape, options->message_bytes);
    bool in_slots = options->kind == BROOD_FIFO && options->message_bytes <= SLOT_MESSAGE_MAX;
    size_t messages = in_slots ? (options->bound > shape->slots ? options->bound - shape->slots : 0) : options->bound;

    if (options->memory_bytes)
        return options->memory_bytes / (shape->block_bytes + sizeof(uint32_t));
    if (each > BLOCKS_MAX || messages > BLOCKS_MAX)
        return BLOCKS_MAX + 1;
    return messages * each + options->bound / 4 + 1;
}

static int find_shape(struct shape *ret_shape, const struct brood_queue_options *options, bool is_fixed)
{
    struct shape shape = {.slots = 0};
    size_t ring_bytes;

    shape_ring(&shape, options);
    shape.block_bytes =
        queue_limited(queue_round_up(options->message_bytes + sizeof(struct block) + sizeof(struct stored), LINE),
                      BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
    if (is_fixed)
        shape.blocks = blocks_for(&shape, options);
    else
        shape.blocks = (options->memory_bytes ? options->memory_bytes : MEMORY_BYTES) / (shape.block_bytes + 4);
    if (!is_fixed && shape.blocks > BLOCKS_MAX)
        shape.blocks = BLOCKS_MAX;
    if (shape.blocks > BLOCKS_MAX)
        return brood_fail(-EINVAL, "so many messages need more than the %" PRIu64 " blocks that a queue can have",
                          BLOCKS_MAX);
    ring_bytes = brood_ring_bytes(shape.slots, shape.slot_message_bytes);
    shape.index_at = queue_round_up(sizeof(struct brood_queue) + ring_bytes, LINE);
    shape.blocks_at = queue_round_up(shape.index_at + shape.blocks * sizeof(uint32_t), LINE);
    shape.end = queue_round_up(shape.blocks_at + shape.blocks * shape.block_bytes, LINE);
    *ret_shape = shape;
    return 0;
}

/* ---- making ---- */

static uint64_t new_serial(void)
{
    static _Atomic uint64_t count; /* threads of this process increment it, relaxed: only uniqueness counts */

    return (uint64_t)brood__now_ns() << 8 | (atomic_fetch_add_explicit(&count, 1, memory_order_relaxed) & 0xff);
}

static int queue_make(struct brood_queue *queue, const struct shape *shape, const struct brood_queue_options *options)
{
    uint32_t gate = options->joinable ? QUEUE_JOINABLE : 0;
    int r;

    memset(queue, 0, sizeof(*queue));
    r = brood_ring_init(queue_ring(queue), shape->slots, shape->slot_message_bytes);
    if (r < 0)
        return r;
    queue->serial = new_serial();
    queue->namespaces = brood__namespaces();
    queue->index_at = shape->index_at;
    queue->blocks_at = shape->blocks_at;
    queue->blocks_max = shape->blocks;
    queue->kind = (uint32_t)options->kind;
    queue->block_bytes = (uint32_t)shape->block_bytes;
    atomic_store_explicit(&queue->gate, gate, memory_order_relaxed);
    ring_store(&queue->bound, options->bound);
    return 0;
}

size_t brood_queue_bytes(const struct brood_queue_options *options)
{
    struct brood_queue_options read;
    struct shape shape = {.end = 0};

    if (queue_read_options(options, &read) < 0)
        return 0;
    read.bound = read.bound ? read.bound : BOUND_FIXED;
    (void)find_shape(&shape, &read, true);
    return shape.end;
}

int brood_queue_init(struct brood_queue *queue, const struct brood_queue_options *options)
{
    struct brood_queue_options read;
    struct shape shape;
    int r = queue_read_options(options, &read);

    if (r < 0)
        return r;
    if (!queue || (uintptr_t)queue % LINE != 0)
        return brood_fail(-EINVAL, "a queue needs memory that begins at a multiple of %zu bytes, not at %p", LINE,
                          (void *)queue);
    read.bound = read.bound ? read.bound : BOUND_FIXED;
    r = find_shape(&shape, &read, true);
    if (r == 0)
        r = queue_make(queue, &shape, &read);
    if (r < 0)
        return r;
    for (uint64_t i = 0; i < shape.blocks; i++)
        ring_store(&queue_block(queue, i)->word, BLOCK_FREE);
    ring_store(&queue->committed, shape.blocks);
    queue_gate_set(queue, QUEUE_FIXED);
    queue->magic = QUEUE_MAGIC;
    return 0;
}

/* Maps address space for the queue; by default as much as the limit of this process allows. */
static struct brood_queue *queue_map(struct shape *shape, const struct brood_queue_options *options)
{
    for (struct brood_queue_options less = *options;; less.memory_bytes = shape->blocks * shape->block_bytes / 2) {
        void *memory = mmap(NULL, queue_round_up(shape->end, PAGE), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (memory != MAP_FAILED)
            return memory;
        if (options->memory_bytes != 0 || shape->blocks < 1024 || find_shape(shape, &less, false) < 0)
            return NULL;
    }
}

int brood_queue_open(struct brood_queue **ret_queue, const struct brood_queue_options *options)
{
    struct brood_queue_options read;
    struct brood_queue *queue;
    struct shape shape;
    int r = queue_read_options(options, &read);

    if (r == 0)
        r = find_shape(&shape, &read, false);
    if (r != 0)
        return r;
    queue = queue_map(&shape, &read);
    if (!queue)
        return brood_fail(-ENOMEM, "no address space for a queue of %zu KiB: %s (see ulimit -v)", shape.end >> 10,
                          strerror(errno));
    (void)madvise(queue, shape.end, MADV_DONTDUMP);
    r = queue_make(queue, &shape, &read);
    if (r < 0) {
        (void)munmap(queue, queue_round_up(shape.end, PAGE));
        return r;
    }
    queue->mapped_bytes = queue_round_up(shape.end, PAGE);
    queue->magic = QUEUE_MAGIC;
    *ret_queue = queue;
    return 0;
}

int brood_queue_close(struct brood_queue *queue)
{
    if (!queue)
        return 0;
    brood__queue_leave(queue);
    if (queue->mapped_bytes)
        (void)munmap(queue, queue->mapped_bytes);
    return 0;
}

/* ---- checking memory that another process prepared ---- */

static bool shape_is_sound(const struct brood_queue *queue, size_t bytes)
{
    uint64_t block_bytes = queue->block_bytes, blocks = queue->blocks_max, index_at = queue->index_at;
    uint64_t blocks_at = queue->blocks_at;

    return queue->kind <= BROOD_PRIORITY && block_bytes >= BLOCK_BYTES_MIN && block_bytes <= BLOCK_BYTES_MAX &&
           block_bytes % LINE == 0 && blocks <= BLOCKS_MAX && index_at % LINE == 0 && blocks_at % LINE == 0 &&
           blocks_at >= index_at && blocks_at <= bytes && blocks * sizeof(uint32_t) <= blocks_at - index_at &&
           blocks * block_bytes <= bytes - blocks_at && ring_load(&queue->committed) <= blocks;
}

static bool ring_is_sound(const struct brood_queue *queue)
{
    const struct brood_ring *ring = queue_ring(queue);
    size_t bytes = queue->index_at - sizeof(*queue);

    return queue->index_at >= sizeof(*queue) + sizeof(*ring) && brood_ring_check(ring, bytes, ring->message_bytes) == 0 &&
           ring->message_bytes >= SLOT_MESSAGE_MIN && ring->message_bytes <= SLOT_MESSAGE_MAX;
}

/* Other processes may use the queue, so this checks only what is always true. */
static bool store_is_sound(const struct brood_queue *queue)
{
    uint64_t committed = ring_load(&queue->committed), stored = ring_load(&queue->stored);
    uint64_t first = ring_load(&queue->first);

    for (uint64_t i = first; i < first + stored && i < committed; i++)
        if (atomic_load_explicit(&queue_index(queue)[i], memory_order_relaxed) >= committed)
            return false;
    return stored <= committed && first <= committed &&
           atomic_load_explicit(&queue->users_up, memory_order_relaxed) <= BROOD_QUEUE_USERS_MAX;
}

int brood_queue_check(const struct brood_queue *queue, size_t bytes)
{
    if (!queue || (uintptr_t)queue % LINE != 0)
        return brood_fail(-EINVAL, "a queue begins at a multiple of %zu bytes, not at %p", LINE, (const void *)queue);
    if (bytes < sizeof(*queue) || queue->magic != QUEUE_MAGIC)
        return brood_fail(-EINVAL, "these %zu bytes are no queue", bytes);
    if (!shape_is_sound(queue, bytes))
        return brood_fail(-EINVAL, "the queue's header is damaged, or the queue is larger than %zu bytes", bytes);
    if (!ring_is_sound(queue) || !store_is_sound(queue))
        return brood_fail(-EINVAL, "the queue has been written over");
    return brood__namespaces_check(queue->namespaces, "the queue");
}
