/* brood/ring.h - a bounded queue of fixed-size messages in memory that processes share: no locks, and no system call.
 *
 *     size_t bytes = brood_ring_bytes(1024, sizeof(struct message));
 *     struct brood_ring *ring = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
 *     r = brood_ring_init(ring, 1024, sizeof(struct message));
 *     ...
 *     r = brood_ring_put(ring, me, &message);             // 0, or -EAGAIN: full
 *     r = brood_ring_get(ring, me, &message);             // 0, or -EAGAIN: empty
 *
 * Any number of producers and consumers, threads or processes, each with an owner number of its own.  Consumers get
 * messages in the order in which they were put, except one that is delivered again because its first consumer died: it
 * comes next.
 *
 * Progress.  No call waits.  But a participant that is stopped between its claim of a slot and the end of its copy makes
 * the others return -EAGAIN when they come to that slot, until it runs on or is recovered: nothing overtakes.
 *
 * Crashes.  A participant may be killed at any instruction.  Each claim is one compare-and-swap that writes the owner's
 * number into the word of the slot that it claims, so the slots alone show what a dead one held.  Once no thread
 * of that number can store any more (its pidfd is readable), one process calls brood_ring_recover(ring, owner): the ring is
 * whole again, and every message was delivered once or is accounted for in the report.
 *
 * Trust.  All participants can write to all of the ring.  brood_ring_check() tells a ring from other memory and finds one
 * that was written over; it is no defence against a participant that means harm.
 *
 * Source of the idea: Vyukov's bounded MPMC queue for state in the slot; owner-stamped claims after the failure detector
 * argument of Golab, "The recoverable consensus hierarchy" (SPAA'20).  Model: tests/model/ring.pml.
 */
#ifndef BROOD_RING_H
#define BROOD_RING_H

#include <brood/base.h>

BROOD_BEGIN

struct brood_ring; /* lies in shared memory at any address; holds no pointer */

#define BROOD_RING_OWNERS_MAX 256 /* owner numbers are 1 … this */
#define BROOD_RING_SLOTS_MAX (1u << 24)

/* Bytes of memory for a ring of `slots` messages (a power of two, 2 or more) of `message_bytes` each (1 to 2^30); 0 if
 * those make no ring. */
BROOD_API size_t brood_ring_bytes(size_t slots, size_t message_bytes);

/* Makes an empty ring in memory of brood_ring_bytes(), 64-byte aligned.  0 or -EINVAL.  Before another thread uses it.
 */
BROOD_API BROOD_MUST_USE int brood_ring_init(struct brood_ring *ring, size_t slots, size_t message_bytes);

/* Checks that this memory, of `bytes` bytes, is a ring of such messages: for a process that attaches to one that another
 * has made.  0 or -EINVAL. */
BROOD_API BROOD_MUST_USE int brood_ring_check(const struct brood_ring *ring, size_t bytes, size_t message_bytes);

/* Copies a message in.  0; -EAGAIN: full, or the oldest slot is still being read out; -EINVAL: no such owner number.  Never
 * blocks.  Callers: any number; an owner number is used by one thread at a time. */
BROOD_API int brood_ring_put(struct brood_ring *ring, unsigned owner, const void *message);

/* Copies the oldest message out.  0; -EAGAIN: empty, or the oldest is still being written; -EINVAL.  Never blocks.  Its
 * slot is free when this returns.  The message is in flight until the owner's next brood_ring_get() or
 * brood_ring_done(), so that it is accounted for if the owner dies before. */
BROOD_API int brood_ring_get(struct brood_ring *ring, unsigned owner, void *ret_message);

/* Finishes the message that this owner got last: it is no longer in flight. */
BROOD_API void brood_ring_done(struct brood_ring *ring, unsigned owner);

/* About how many messages are in it.  A hint the moment it returns. */
BROOD_API size_t brood_ring_count(const struct brood_ring *ring);

/* What brood_ring_recover() found of the dead owner: each 0 or 1, for an owner does one thing at a time. */
struct brood_ring_report {
    size_t unfinished_puts; /* messages that it had begun to write: no consumer ever gets them */
    size_t redelivered;     /* messages it had claimed but not got: the next brood_ring_get() gets them */
    size_t in_hand;         /* messages it had got and not finished: outcome unknown */
};

/* Repairs the ring after the death of all threads with that number.  Callers: one at a time, after the death fence
 * described above; others may go on using the ring meanwhile.  The number may then be used again.  0 or -EINVAL.  Takes
 * time in proportion to the slots.  If the caller dies in it, call again: what it did not come to do is done then. */
BROOD_API BROOD_MUST_USE int brood_ring_recover(struct brood_ring *ring, unsigned owner,
                                                struct brood_ring_report *ret_report);

BROOD_END

#endif
