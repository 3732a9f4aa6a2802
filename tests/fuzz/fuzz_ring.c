/* fuzz_ring.c - a stranger comes to memory that is said to be a ring: one that was made, and then written over by the
 * input; and uses it, if brood_ring_check() believes it. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "shm/ring.h"

#define MESSAGE_MAX 256
#define OWNER 3

/* Each call ends and stays within the memory, which is as long as the ring and not a byte longer. */
static void use(struct brood_ring *ring, struct fuzz_input *input, size_t message_bytes)
{
    unsigned char message[MESSAGE_MAX + 1] = {0};
    struct brood_ring_report report;

    message[message_bytes] = 0x5a;
    for (int i = 0; i < 16; i++) {
        uint8_t choice = fuzz_byte(input);
        unsigned owner = 1 + choice / 4 % OWNER;

        if (choice % 4 == 0)
            brood_ring_done(ring, owner);
        else if (choice % 4 == 1)
            (void)brood_ring_put(ring, owner, message);
        else if (choice % 4 == 2)
            (void)brood_ring_get(ring, owner, message);
        else if (brood_ring_recover(ring, owner, &report) < 0)
            abort();
    }
    (void)brood_ring_count(ring);
    if (message[message_bytes] != 0x5a)
        abort();
}

/* Up to four times, up to eight bytes, in the head or anywhere. */
static void write_over(unsigned char *memory, struct fuzz_input *input, size_t bytes)
{
    for (int i = fuzz_byte(input) % 5; i > 0; i--) {
        size_t count = fuzz_byte(input) % 9, within = fuzz_byte(input) % 2 ? 256 : bytes - 8;
        size_t at = (size_t)fuzz_number(input, 2) % within;

        for (size_t j = 0; j < count; j++)
            memory[at + j] = fuzz_byte(input);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    size_t slots = (size_t)2 << fuzz_byte(&input) % 5, message_bytes = (size_t)fuzz_byte(&input) + 1;
    size_t bytes = brood_ring_bytes(slots, message_bytes);
    struct brood_ring *ring = aligned_alloc(64, (bytes + 63) / 64 * 64);

    if (!ring || brood_ring_init(ring, slots, message_bytes) < 0 || brood_ring_check(ring, bytes, message_bytes) < 0)
        abort();
    if (fuzz_byte(&input) % 4 == 1) /* a size that chance would hardly hit on */
        ring->slots <<= fuzz_byte(&input) % 3;
    write_over((unsigned char *)ring, &input, bytes);
    if (brood_ring_check(ring, bytes, message_bytes) == 0)
        use(ring, &input, message_bytes);
    free(ring);
    return 0;
}
