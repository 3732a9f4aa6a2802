#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/futex.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

/* Without futex_waitv a sleeper checks its second word at this interval. */
#define SLICE_NS 5000000

int brood__futex_wait(_Atomic uint32_t *word, uint32_t expected, brood_deadline deadline)
{
    struct timespec at = brood__timespec(deadline);

    /* FUTEX_WAIT_BITSET takes an absolute time. */
    if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, brood__is_forever(deadline) ? NULL : &at, NULL,
                FUTEX_BITSET_MATCH_ANY) == 0 ||
        errno == EAGAIN)
        return 0;
    return -errno;
}

static int wait_slice(_Atomic uint32_t *word, uint32_t expected, brood_deadline deadline)
{
    brood_deadline slice = brood__after_ns(SLICE_NS);
    int r;

    if (deadline.ns <= slice.ns)
        return brood__futex_wait(word, expected, deadline);
    r = brood__futex_wait(word, expected, slice);
    return r == -ETIMEDOUT ? 0 : r;
}

static _Atomic bool missing; /* the kernel has no futex_waitv: set by the first thread that notices, relaxed */

int brood__futex_wait_any(const struct futex_word *words, size_t count, brood_deadline deadline)
{
    struct futex_waitv all[FUTEX_WAITV_MAX];
    struct timespec at = brood__timespec(deadline);

    if (count > FUTEX_WAITV_MAX || count == 1 || atomic_load_explicit(&missing, memory_order_relaxed))
        return count == 1 ? brood__futex_wait(words[0].word, words[0].expected, deadline)
                          : wait_slice(words[0].word, words[0].expected, deadline);
    for (size_t i = 0; i < count; i++)
        all[i] = (struct futex_waitv){.val = words[i].expected, .uaddr = (uintptr_t)words[i].word, .flags = FUTEX_32};
    if (syscall(SYS_futex_waitv, all, count, 0, brood__is_forever(deadline) ? NULL : &at, CLOCK_MONOTONIC) >= 0 ||
        errno == EAGAIN)
        return 0;
    if (errno != ENOSYS && errno != EPERM)
        return -errno;
    atomic_store_explicit(&missing, true, memory_order_relaxed);
    return 0;
}

int brood__futex_wait2(_Atomic uint32_t *word, uint32_t expected, _Atomic uint32_t *other, uint32_t other_expected,
                       brood_deadline deadline)
{
    return brood__futex_wait_any((struct futex_word[]){{word, expected}, {other, other_expected}}, 2, deadline);
}

int brood__futex_wake(_Atomic uint32_t *word, int count)
{
    long woken = syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);

    return woken < 0 ? 0 : (int)woken;
}

/* What the kernel walks at the thread's end: a ring of entries, each with its futex word at `futex_offset` from it.  The
 * word is in a segment and the entry here, so the offset is their distance. */
static struct robust_list entry;
static struct robust_list_head list;

int brood__futex_die_with_me(_Atomic uint32_t *word)
{
    entry.next = &list.list;
    list.list.next = &entry;
    list.futex_offset = (long)((intptr_t)word - (intptr_t)&entry);
    list.list_op_pending = NULL;
    return syscall(SYS_set_robust_list, &list, sizeof(list)) == 0 ? 0 : -errno;
}

uint32_t brood__life_word(bool is_marked)
{
    /* FUTEX_WAITERS: the kernel wakes a sleeper only if the word says that there may be one */
    return ((uint32_t)syscall(SYS_gettid) & FUTEX_TID_MASK) | (is_marked ? FUTEX_WAITERS : 0);
}
