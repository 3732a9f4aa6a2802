/* fuzz_queue.c - a stranger comes to memory that is said to be a queue: one that was made, and then written over by the
 * input. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "sync/queue/queue_layout.h"

#define BYTES_MAX (1 << 16)

static _Alignas(64) unsigned char memory[BYTES_MAX];

/* What it believes has to be there, to the last byte. */
static void touch(const struct brood_queue *queue, size_t bytes)
{
    const struct brood_ring *ring = queue_ring(queue);
    const volatile unsigned char *end = memory + bytes;

    if ((const unsigned char *)ring_slot_at(ring, ring->slots - 1) + ring->slot_bytes > end ||
        (const unsigned char *)queue_block(queue, queue->blocks_max) > end ||
        (const unsigned char *)&queue_index(queue)[queue->blocks_max] > end)
        abort();
    if (ring_load(&queue->committed) > queue->blocks_max || ring_load(&queue->stored) > queue->blocks_max)
        abort();
    (void)brood_queue_size(queue);
    (void)brood_queue_full(queue);
    (void)brood_queue_unfinished(queue);
    (void)brood_queue_is_shut_down(queue);
}

static const struct brood_queue_options *options_from(struct fuzz_input *input, struct brood_queue_options *options)
{
    *options = (struct brood_queue_options){.size = sizeof(*options)};
    options->kind = (enum brood_queue_kind)(fuzz_byte(input) % 3);
    options->bound = fuzz_byte(input) % 64;
    options->message_bytes = fuzz_byte(input);
    options->memory_bytes = (size_t)fuzz_number(input, 2) / 4;
    return options;
}

/* Three times, up to eight bytes anywhere, but rather in the head. */
static void write_over(struct fuzz_input *input, size_t bytes)
{
    for (int i = 0; i < 3 && input->size > 0; i++) {
        size_t count = fuzz_byte(input) % 9;
        size_t at = (size_t)fuzz_number(input, 2) % (fuzz_byte(input) % 2 ? 256 : bytes - 8);

        for (size_t j = 0; j < count; j++)
            memory[at + j] = fuzz_byte(input);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct brood_queue *queue = (struct brood_queue *)(void *)memory;
    struct brood_queue_options options;
    size_t bytes = brood_queue_bytes(options_from(&input, &options));

    if (bytes == 0 || bytes > BYTES_MAX)
        return 0;
    if (brood_queue_init(queue, &options) < 0 || brood_queue_check(queue, bytes) < 0)
        abort();
    write_over(&input, bytes);
    bytes -= fuzz_byte(&input) % 4 == 1 ? fuzz_byte(&input) : 0;
    if (brood_queue_check(queue, bytes) == 0)
        touch(queue, bytes);
    return 0;
}
