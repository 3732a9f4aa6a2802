/* identity.h - who somebody is, in 64 bits that can lie in shared memory, and whether that one is dead.
 *
 *     atomic_compare_exchange_strong(&word, &nobody, brood__self());     // a claim that names its owner
 *     ...
 *     if (brood__identity_is_dead(word & ~MY_FLAGS))                     // looked at by somebody else, maybe much later
 *         inherit();
 *
 * The kernel uses the numbers of processes and threads again.  So an identity has, above the number, a cookie made of when
 * that one was started: the pair is never used twice.  Where /proc cannot be read the cookie is 0, and then a number that
 * is in use again passes for the one that had it before.  All who look at an identity are in the same PID and time
 * namespace as the one that it names.
 *
 * Whoever sleeps until somebody does something sleeps in slices of LOOK_AGAIN_NS, and looks after each whether that one is
 * still alive.  There is no better way between processes that have no supervisor: no call of the kernels that we support
 * waits for "this futex word or that pidfd", and the robust list of a thread, by which the kernel tells of a death, belongs
 * to the C library.  The slices also let a sleeper find what was left for another one who was woken, and killed before it
 * could take it.
 */
#ifndef BROOD_OS_IDENTITY_H
#define BROOD_OS_IDENTITY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define LOOK_AGAIN_NS 20000000

/* {cookie : 32 | 0 : 10 | number : 22}.  The kernel's largest number is 2^22 - 1, so the ten bits are free for flags of a
 * word that holds an identity.  No identity is 0. */
#define IDENTITY_NUMBER 0x3fffffu
#define IDENTITY_BITS (UINT64_C(0xffffffff00000000) | IDENTITY_NUMBER)

/* Written by the threads of this process, all the same value, and by the child of a fork, 0; relaxed, since nothing else
 * is told by it. */
extern _Atomic uint64_t brood__self_cached;
uint64_t brood__self_find(void);

/* This process.  Also right in the child of a fork() by the C library. */
static inline uint64_t brood__self(void)
{
    uint64_t self = atomic_load_explicit(&brood__self_cached, memory_order_relaxed);

    return __builtin_expect(self != 0, true) ? self : brood__self_find();
}

/* This thread.  Its number is its thread id, which is unique among all threads of all processes. */
uint64_t brood__self_thread(void);

/* Is the process gone, or a zombie?  False when in doubt.  Costs some ten microseconds for any but the caller's own. */
bool brood__identity_is_dead(uint64_t process);

/* Has the thread, of whichever process, ended? */
bool brood__thread_is_dead(uint64_t thread);

static inline int brood__identity_number(uint64_t identity)
{
    return (int)(identity & IDENTITY_NUMBER);
}

#endif
