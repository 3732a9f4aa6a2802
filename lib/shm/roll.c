#include <errno.h>
#include <sys/mman.h>

#include <brood/base.h>

#include "shm/roll.h"

static size_t bytes_for(unsigned workers)
{
    return sizeof(struct roll) + workers * sizeof(_Atomic int32_t);
}

int brood__roll_open(struct roll **ret_roll, unsigned workers)
{
    struct roll *roll = mmap(NULL, bytes_for(workers), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (roll == MAP_FAILED)
        return brood_fail(-ENOMEM, "out of memory");
    roll->workers = workers;
    *ret_roll = roll;
    return 0;
}

void brood__roll_keep(struct roll *roll)
{
    (void)madvise(roll, bytes_for(roll->workers), MADV_DONTFORK);
}

void brood__roll_close(struct roll *roll)
{
    if (roll)
        (void)munmap(roll, bytes_for(roll->workers));
}

void brood__roll_rest(struct roll *roll, unsigned worker)
{
    atomic_fetch_add_explicit(&roll->resting, 1, memory_order_relaxed);
    atomic_store(&roll->entries[worker], ROLL_RESTS);
}

bool brood__roll_call(struct roll *roll, unsigned worker)
{
    int32_t rests = ROLL_RESTS;

    if (!atomic_compare_exchange_strong(&roll->entries[worker], &rests, ROLL_NOBODY))
        return false;
    atomic_fetch_sub_explicit(&roll->resting, 1, memory_order_relaxed);
    return true;
}

int32_t brood__roll_pid(const struct roll *roll, unsigned worker)
{
    int32_t entry = roll && worker < roll->workers ? atomic_load(&roll->entries[worker]) : 0;

    return entry > ROLL_THREAD ? entry : 0;
}
