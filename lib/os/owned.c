#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

#include "os/owned.h"

/* The largest number that Linux allows by default, fs.nr_open.  Pages of the array without a descriptor take no memory. */
#define NUMBERS (1 << 20)

/* A bit for each descriptor: written and read by any thread.  Relaxed: passing the descriptor itself between threads
 * orders the accesses, and a forked child has one thread. */
static _Atomic uint64_t owned[NUMBERS / 64];

int brood__own(int fd)
{
    if (fd >= 0 && fd < NUMBERS)
        atomic_fetch_or_explicit(&owned[fd / 64], UINT64_C(1) << (fd % 64), memory_order_relaxed);
    return fd;
}

int brood__disown(int fd)
{
    if (fd >= 0 && fd < NUMBERS)
        atomic_fetch_and_explicit(&owned[fd / 64], ~(UINT64_C(1) << (fd % 64)), memory_order_relaxed);
    return fd;
}

bool brood__is_owned(int fd)
{
    return fd >= 0 && fd < NUMBERS && (atomic_load_explicit(&owned[fd / 64], memory_order_relaxed) >> (fd % 64) & 1) != 0;
}

static bool is_one_of(int fd, const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fds[i] == fd)
            return true;
    return false;
}

void brood__owned_close_all_but(const int *kept, size_t count)
{
    for (int word = 0; word < NUMBERS / 64; word++) {
        uint64_t bits = atomic_load_explicit(&owned[word], memory_order_relaxed);

        for (; bits; bits &= bits - 1) {
            int fd = word * 64 + __builtin_ctzll(bits);

            if (!is_one_of(fd, kept, count))
                (void)close(brood__disown(fd));
        }
    }
}
