/* fuzz_attach.c - joining a pool by a descriptor behind which lies anything: the head of its board is the input. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "proto/header.h"

/* What it believes has to be there: the last byte of the last lane, too. */
static void touch(const struct shared *shared)
{
    const struct lane *last = &shared->lanes[shared->workers - 1];
    const volatile char *end = (const char *)(last->extensions + last->mask + 2) - 1;

    if (shared->workers > BROOD_WORKERS_MAX || (last->mask & (last->mask + 1)) != 0)
        abort();
    (void)*end;
    (void)slot_look(&last->slots[last->mask + 1]);
    (void)brood__worker_phase(last->worker_state);
    (void)brood__idle_count(shared);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct header head = {.magic = HEADER_MAGIC};
    size_t bytes = fuzz_number(&input, 3);
    struct shared shared;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    head.workers = (uint32_t)fuzz_number(&input, fuzz_byte(&input) % 5);
    head.lane_slots = fuzz_byte(&input) % 2 ? 1u << fuzz_byte(&input) % 32 : (uint32_t)fuzz_number(&input, 4);
    if (input.size > 0)
        memcpy((char *)&head + offsetof(struct header, cpus), input.data, input.size < 32 ? input.size : 32);
    head.magic += fuzz_byte(&input) == 1;
    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 || pwrite(fd, &head, bytes < 64 ? bytes : 64, 0) < 0)
        abort();
    if (brood__shared_attach(&shared, fd) == 0) {
        touch(&shared);
        brood__shared_close(&shared);
    } else if (bytes == 0) {
        close(fd);
    }
    return 0;
}
