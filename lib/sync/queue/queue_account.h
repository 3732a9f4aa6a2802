/* queue_account.h - which messages of a queue are unfinished: put, and neither done nor lost. */
#ifndef BROOD_SYNC_QUEUE_ACCOUNT_H
#define BROOD_SYNC_QUEUE_ACCOUNT_H

#include "sync/queue/queue_layout.h"

/* `account` of a ring_owner: {what it does:2, with so many messages in flight:16, how many it finished:46}.  The owner
 * stores it, with release; pairs with the acquire of all that sum up, and of the reaper, which stores it after the owner's
 * death. */
enum account_state {
    ACCOUNT_REST, /* nothing */
    ACCOUNT_DONE, /* finishes one message: that takes two stores */
    ACCOUNT_LOSE  /* a reaper counts all its messages in flight as lost */
};

#define ACCOUNT_COUNT_SHIFT 2
#define ACCOUNT_DONE_SHIFT 18

static inline uint64_t account_of(enum account_state state, unsigned count, uint64_t done)
{
    return state | (uint64_t)count << ACCOUNT_COUNT_SHIFT | done << ACCOUNT_DONE_SHIFT;
}

static inline enum account_state account_state(uint64_t account)
{
    return (enum account_state)(account & 3);
}

static inline unsigned account_count(uint64_t account)
{
    return account >> ACCOUNT_COUNT_SHIFT & 0xffff;
}

static inline uint64_t account_done(uint64_t account)
{
    return account >> ACCOUNT_DONE_SHIFT;
}

/* Takes one of `count` messages out of what the owner has in flight, unless that has been done. */
void brood__account_land(struct ring_owner *own, unsigned count);

/* The owner has finished one message that it got. */
void brood__queue_finish(struct brood_queue *queue, unsigned owner);

/* Wakes the joiners if nothing is unfinished.  Called after messages were finished. */
void brood__queue_notify_joiners(struct brood_queue *queue);

/* True if the queue has no message and no user is in the middle of a get or a put. */
bool brood__queue_is_drained(const struct brood_queue *queue);

/* True if a message is unfinished that is neither in the queue nor in flight.  The caller has the lock. */
bool brood__queue_has_stray(const struct brood_queue *queue);

/* How many messages were lost, ever. */
uint64_t brood__queue_count_lost(const struct brood_queue *queue);

#endif
