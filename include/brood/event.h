/* brood/event.h - a flag that threads and processes wait for.
 *
 *     publish_something();
 *     brood_event_set(&ready);                             // present and later waiters
 *     ...
 *     r = brood_event_wait(&ready, brood_after_ms(500));   // 0: what was published is visible
 *
 * It lies wherever the user puts it: static, on a stack, in memory that processes map at different addresses.  Zeroed
 * memory is an event that is not set, and no call destroys it.
 *
 * Every thread that waits when the event is set wakes up, also if it is cleared at once.  The setter never waits: a process
 * that is killed or stopped while it waits delays no other.  No call is a system call while no thread sleeps.
 */
#ifndef BROOD_EVENT_H
#define BROOD_EVENT_H

#include <stdbool.h>

#include <brood/base.h>

BROOD_BEGIN

struct brood_event {
    uint32_t state; /* private: whether it is set, how often it was, whether threads sleep */
};

/* Makes it an event that is not set.  For memory that is not zero; not while others use it. */
BROOD_API void brood_event_init(struct brood_event *event);

/* Sets it and wakes all waiters.  Nothing happens if it is set already.  Never blocks.  Callers: any number. */
BROOD_API void brood_event_set(struct brood_event *event);

/* Clears it: later calls wait again. */
BROOD_API void brood_event_clear(struct brood_event *event);

BROOD_API bool brood_event_is_set(const struct brood_event *event);

/* Waits until it is set.  0: it is, or was since this began to wait; -EAGAIN: it is not, and the deadline was BROOD_NOW;
 * -ETIMEDOUT.  Callers: any number. */
BROOD_API BROOD_MUST_USE int brood_event_wait(struct brood_event *event, brood_deadline deadline);

/* sizeof(struct brood_event), which lies at a multiple of 4: for bindings to languages that cannot read this header. */
BROOD_API size_t brood_event_bytes(void);

BROOD_END

#endif
