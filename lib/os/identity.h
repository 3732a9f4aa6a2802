/* identity.h - the identity of a process or thread, in 64 bits of shared memory, and whether it is dead.
 *
 *     atomic_compare_exchange_strong(&word, &zero, brood__self());       // a claim that names its owner
 *     ...
 *     if (brood__identity_is_dead(word & ~MY_FLAGS))                     // by another process, maybe much later
 *         recover();
 *
 * The kernel reuses the numbers of processes and threads.  So an identity has, above the number, parts of the inode of
 * its pidfd (Linux 6.9), which is never reused, and of its start time, in 10 ms: either tells it from another process
 * that has the number now.  A part that cannot be found out is 0 and is not compared: if neither can, a process that has
 * the number now is taken for the one that had it before.
 *
 * A number is valid in its own PID namespace only.  So an identity also has a mark of that namespace (and of the time
 * namespace, which shifts start times): a process of another one is *foreign*.  Whether it is dead cannot be found out,
 * so it is never reported as dead.  The mark has 10 bits; objects that have the room store all of brood__namespaces().
 *
 * Of the threads that sleep until another process acts, one checks about every LOOK_AGAIN_NS whether that process is
 * alive (sync/sleep.h).  Processes without a supervisor have no better way: no call of the supported kernels waits for
 * "this futex word or that pidfd", and the robust list of a thread, by which the kernel reports a death, belongs to the
 * C library.  The slices also let a sleeper take what was left for another one that was woken, and killed before it
 * could take it.
 */
#ifndef BROOD_OS_IDENTITY_H
#define BROOD_OS_IDENTITY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define LOOK_AGAIN_NS 20000000

/* {space : 10 | inode : 11 | tick : 11 | 0 : 10 | number : 22}.  The kernel's largest number is 2^22 - 1, so the ten
 * bits are free for flags of a word that holds an identity.  No identity is 0. */
#define IDENTITY_NUMBER 0x3fffffu
#define IDENTITY_BITS (UINT64_C(0xffffffff00000000) | IDENTITY_NUMBER)
#define IDENTITY_TICK_SHIFT 32
#define IDENTITY_INODE_SHIFT 43
#define IDENTITY_SPACE_SHIFT 54
#define IDENTITY_SPACES 1023u /* the number of values; none is 0 */

/* Written by the threads of this process, all with the same value, and set to 0 by the child of a fork; read by all.
 * Relaxed: no other memory depends on it. */
extern _Atomic uint64_t brood__self_cached;
uint64_t brood__self_find(void);

/* This process.  Also correct in the child of a fork() of the C library. */
static inline uint64_t brood__self(void)
{
    uint64_t self = atomic_load_explicit(&brood__self_cached, memory_order_relaxed);

    return __builtin_expect(self != 0, true) ? self : brood__self_find();
}

/* This thread.  Its number is its thread id, which is unique among all threads of all processes. */
uint64_t brood__self_thread(void);

/* {inode of the PID namespace : 32 | inode of the time namespace : 32} of this process; 0: /proc does not say. */
uint64_t brood__namespaces(void);

/* Are both known, and different?  Of brood__namespaces(), one of which was stored in an object. */
static inline bool brood__namespaces_differ(uint64_t a, uint64_t b)
{
    return a != 0 && b != 0 && a != b;
}

/* Returns 0, or -EXDEV with a message: `what`, an object that stores brood__namespaces() when it is made, is of other
 * namespaces. */
int brood__namespaces_check(uint64_t noted, const char *what);

/* Is it of a process in another PID namespace?  False when in doubt. */
static inline bool brood__identity_is_foreign(uint64_t identity)
{
    return brood__namespaces_differ(identity >> IDENTITY_SPACE_SHIFT, brood__self() >> IDENTITY_SPACE_SHIFT);
}

/* Is the process gone, or a zombie?  False when in doubt, and for a foreign one.  Takes some ten microseconds for any
 * but the caller's own. */
bool brood__identity_is_dead(uint64_t process);

/* Is the process stopped, by a signal or by a debugger?  False when in doubt.  Takes some microseconds. */
bool brood__identity_is_stopped(uint64_t process);

/* Has the thread, of any process, ended? */
bool brood__thread_is_dead(uint64_t thread);

static inline int brood__identity_number(uint64_t identity)
{
    return (int)(identity & IDENTITY_NUMBER);
}

#endif
