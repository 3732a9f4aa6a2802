#include <errno.h>
#include <sys/mman.h>

#include <brood/base.h>

#include "os/assert.h"
#include "proto/membership.h"

static size_t membership_bytes(unsigned workers)
{
    return sizeof(struct membership) + workers * sizeof(_Atomic int32_t);
}

int brood__membership_open(struct membership **ret_membership, unsigned workers)
{
    struct membership *membership =
        mmap(NULL, membership_bytes(workers), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (membership == MAP_FAILED)
        return brood_fail(-ENOMEM, "out of memory");
    membership->workers = workers;
    *ret_membership = membership;
    return 0;
}

void brood__membership_keep(struct membership *membership)
{
    (void)madvise(membership, membership_bytes(membership->workers), MADV_DONTFORK);
}

void brood__membership_close(struct membership *membership)
{
    if (membership)
        (void)munmap(membership, membership_bytes(membership->workers));
}

void brood__membership_scale_down(struct membership *membership, unsigned worker)
{
    brood__assert(worker < membership->workers);
    atomic_fetch_add_explicit(&membership->scaled_down, 1, memory_order_relaxed);
    atomic_store_explicit(&membership->entries[worker], MEMBER_SCALED_DOWN, memory_order_release);
}

bool brood__membership_call(struct membership *membership, unsigned worker)
{
    int32_t expected = MEMBER_SCALED_DOWN;

    brood__assert(worker < membership->workers);
    if (!atomic_compare_exchange_strong_explicit(&membership->entries[worker], &expected, MEMBER_NONE, memory_order_acq_rel,
                                                 memory_order_relaxed))
        return false;
    atomic_fetch_sub_explicit(&membership->scaled_down, 1, memory_order_relaxed);
    return true;
}

int32_t brood__membership_pid(const struct membership *membership, unsigned worker)
{
    int32_t entry = MEMBER_NONE;

    if (membership && worker < membership->workers)
        entry = atomic_load_explicit(&membership->entries[worker], memory_order_acquire);
    return entry > MEMBER_THREAD ? entry : 0;
}
