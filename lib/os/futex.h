/* futex.h - sleep until a word in memory changes.
 *
 *     uint32_t seen = atomic_load(word);
 *     if (!condition())
 *         brood__futex_wait(word, seen, deadline);       // sleeps only if the word still is `seen`
 *
 * The words lie in memory that processes share, so all of this is FUTEX without FUTEX_PRIVATE.
 */
#ifndef BROOD_OS_FUTEX_H
#define BROOD_OS_FUTEX_H

#include <stdatomic.h>

#include <brood/base.h>

/* Sleeps while *word == expected.  0 when woken, also for no reason, or when the word had changed; -ETIMEDOUT; -EINTR. */
int brood__futex_wait(_Atomic uint32_t *word, uint32_t expected, brood_deadline deadline);

/* The same over two words: sleeps while both are as expected.  Where the kernel has no futex_waitv (before 5.16, or
 * denied), sleeps on the first alone, in slices of 5 ms, so that the caller gets to look at the second. */
int brood__futex_wait2(_Atomic uint32_t *word, uint32_t expected, _Atomic uint32_t *other, uint32_t other_expected,
                       brood_deadline deadline);

/* The same over any number of words; more than the kernel takes, 128, are as without futex_waitv. */
struct futex_word {
    _Atomic uint32_t *word;
    uint32_t expected;
};
int brood__futex_wait_any(const struct futex_word *words, size_t count, brood_deadline deadline);

/* Wakes up to `count` sleepers; returns how many.  Never blocks. */
int brood__futex_wake(_Atomic uint32_t *word, int count);

/* From now on, when the calling thread ends by any cause, the kernel ors FUTEX_OWNER_DIED into *word and wakes one sleeper
 * on it: the robust-futex list (Documentation/locking/robust-futexes.rst) with this word as its only entry.  It replaces
 * the list of the C library, so the thread must own no robust mutex.  The word must hold what brood__life_word() returns.
 * One word a process: the list itself has to stay where it is.  0 or a negative errno. */
int brood__futex_die_with_me(_Atomic uint32_t *word);

/* The value of a word that stands for the calling thread's life; and does a word say that its thread has died? */
uint32_t brood__life_word(void);
static inline int brood__life_is_over(uint32_t word)
{
    return (word & 0x40000000u) != 0; /* FUTEX_OWNER_DIED */
}

#endif
