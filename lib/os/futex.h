/* futex.h - sleep until a word in memory changes.
 *
 *     uint32_t seen = atomic_load_explicit(word, memory_order_acquire);
 *     if (!condition())
 *         brood__futex_wait(word, seen, deadline);       // sleeps only if the word still is `seen`
 *
 * The words are in memory that processes share, so these are futexes without FUTEX_PRIVATE.
 */
#ifndef BROOD_OS_FUTEX_H
#define BROOD_OS_FUTEX_H

#include <stdatomic.h>
#include <stdbool.h>

#include <brood/base.h>

/* Sleeps while *word == expected.  Returns 0 when woken, spuriously or not, or when the word had changed; -ETIMEDOUT;
 * -EINTR. */
int brood__futex_wait(_Atomic uint32_t *word, uint32_t expected, brood_deadline deadline);

/* The same for two words: sleeps while both are as expected.  If the kernel has no futex_waitv (before 5.16, or denied),
 * it sleeps on the first alone, in slices of 5 ms, so that the caller can check the second. */
int brood__futex_wait2(_Atomic uint32_t *word, uint32_t expected, _Atomic uint32_t *other, uint32_t other_expected,
                       brood_deadline deadline);

/* The same for any number of words.  More than the kernel accepts, 128, are treated as without futex_waitv. */
struct futex_word {
    _Atomic uint32_t *word;
    uint32_t expected;
};
int brood__futex_wait_any(const struct futex_word *words, size_t count, brood_deadline deadline);

/* Wakes up to `count` sleepers; returns how many.  Never blocks. */
int brood__futex_wake(_Atomic uint32_t *word, int count);

/* When the calling thread ends by any cause, the kernel ors FUTEX_OWNER_DIED into *word and wakes one sleeper on it: the
 * robust-futex list (Documentation/locking/robust-futexes.rst) with this word as its only entry.  It replaces the list
 * of the C library, so the thread must not own a robust mutex.  The word must hold what brood__life_word() returns.  One
 * word for each process: the list itself must stay at its address.  Returns 0 or a negative errno: qemu-user has no such
 * list, and a filter may deny it. */
int brood__futex_die_with_me(_Atomic uint32_t *word);

/* The life word of the calling thread, which includes whether the kernel will mark it; whether its thread has died; and
 * whether the kernel marks it, or sleepers must check the thread's life themselves. */
uint32_t brood__life_word(bool is_marked);
static inline bool brood__life_is_over(uint32_t word)
{
    return (word & 0x40000000u) != 0; /* FUTEX_OWNER_DIED */
}

static inline bool brood__life_is_marked(uint32_t word)
{
    return (word & 0x80000000u) != 0; /* FUTEX_WAITERS */
}

/* The id of the thread. */
static inline int brood__life_number(uint32_t word)
{
    return (int)(word & 0x3fffffffu); /* FUTEX_TID_MASK */
}

#endif
