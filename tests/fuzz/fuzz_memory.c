/* fuzz_memory.c - joining shared memory that a stranger made: its size, its first page and what lies in it are the input.
 * What is let in must be there to the last byte, and what passes for an array, a ring or a heap must be of use as one. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <brood.h>

#include "fuzz.h"

#define FRONT 4096
#define ITEM 8

static void need(bool what)
{
    if (!what)
        abort();
}

/* ---- what the stranger writes ---- */

/* Right things with a few bytes changed are let in oftener than noise is. */
static void furnish(struct brood_memory *memory, unsigned what)
{
    void *at = brood_memory_address(memory);
    size_t size = brood_memory_size(memory);
    uint64_t offset;

    if (what == 1 && size > 64)
        (void)!brood_array_init(at, (size - 64) / ITEM > 0 ? (size - 64) / ITEM : 1, ITEM);
    if (what == 2 && brood_ring_bytes(4, ITEM) <= size)
        (void)!brood_ring_init(at, 4, ITEM);
    if (what == 3 && brood_heap_init(at, size) == 0)
        for (size_t bytes = 50; bytes < 20000; bytes *= 3)
            (void)!brood_heap_alloc(at, bytes, &offset, BROOD_NOW);
}

static void scribble(int fd, struct fuzz_input *input)
{
    while (input->size > 0) {
        off_t at = (off_t)fuzz_number(input, fuzz_byte(input) % 4 == 0 ? 3 : 1);
        uint8_t bytes[8];
        size_t count = fuzz_byte(input) % (sizeof(bytes) + 1);

        if (fuzz_byte(input) % 2) /* there the things are that brood itself has written */
            at += FRONT;
        for (size_t i = 0; i < count; i++)
            bytes[i] = fuzz_byte(input);
        need(pwrite(fd, bytes, count, at) == (ssize_t)count);
    }
}

/* A copy of real memory, that the stranger may write to, and make of another size. */
static int forge(struct fuzz_input *input)
{
    brood_auto(memory) *memory = NULL;
    size_t bytes = fuzz_number(input, 2) + 1, file;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    need(fd >= 0 && brood_memory_create(&memory, NULL, bytes) == 0);
    furnish(memory, fuzz_byte(input) % 4);
    file = FRONT + (bytes + FRONT - 1) / FRONT * FRONT;
    need(write(fd, (char *)brood_memory_address(memory) - FRONT, file) == (ssize_t)file);
    if (fuzz_byte(input) % 4 == 0)
        need(ftruncate(fd, (off_t)fuzz_number(input, 3)) == 0);
    scribble(fd, input);
    return fd;
}

/* ---- what is made of it ---- */

static void use_array(struct brood_array *array, size_t size)
{
    uint64_t item;
    int r;

    if (brood_array_check(array, size, ITEM) < 0)
        return;
    r = brood_array_get(array, brood_array_count(array) - 1, &item, BROOD_NOW);
    need(r == 0 || r == -EOWNERDEAD || r == -EAGAIN);
    need(brood_array_get(array, brood_array_count(array), &item, BROOD_NOW) == -ERANGE);
}

static void use_heap(struct brood_heap *heap, size_t size)
{
    uint64_t offsets[8] = {0};
    size_t used = 0;
    int r = 0;

    if (brood_heap_check(heap, size) < 0)
        return;
    for (int i = 0; i < 8 && r == 0; i++) {
        size_t bytes = (size_t)60 << i;

        r = brood_heap_alloc(heap, bytes, &offsets[i], BROOD_NOW);
        need(r == 0 || r == -ENOMEM || r == -EAGAIN);
        if (r == 0) {
            need(offsets[i] % 64 == 0 && offsets[i] < size && size - offsets[i] >= bytes);
            memset(brood_heap_at(heap, offsets[i]), 0xff, bytes);
        }
    }
    for (int i = 0; i < 8; i++)
        need(brood_heap_free(heap, offsets[i], BROOD_NOW) <= 0);
    r = brood_heap_used(heap, &used, BROOD_NOW);
    need(r == -EAGAIN || (r == 0 && used <= size));
}

static void use_ring(struct brood_ring *ring, size_t size)
{
    uint64_t message = 0;

    if (brood_ring_check(ring, size, ITEM) < 0)
        return;
    need(brood_ring_put(ring, 1, &message) <= 0);
    need(brood_ring_get(ring, 1, &message) <= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    brood_auto(memory) *memory = NULL;
    int fd = forge(&input);

    if (brood_memory_from_fd(&memory, fd) < 0) {
        need(close(fd) == 0); /* it stayed ours */
        return 0;
    }
    size = brood_memory_size(memory);
    need(size > 0);
    ((volatile char *)brood_memory_address(memory))[size - 1]++;
    ((volatile char *)brood_memory_address(memory))[size - 1]--;
    use_array(brood_memory_address(memory), size);
    use_heap(brood_memory_address(memory), size);
    use_ring(brood_memory_address(memory), size);
    return 0;
}
