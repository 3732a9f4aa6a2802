/* future.h - inside the library: what a future is made of. */
#ifndef BROOD_POOL_FUTURE_H
#define BROOD_POOL_FUTURE_H

#include <stdatomic.h>
#include <stddef.h>

#include "pool/pool.h"

struct fetch;
struct hook;
struct map;
struct record;
struct retry;

#define FUTURE_INLINE_BYTES SLOT_RESULT_BYTES

/* All of it is guarded by the pool's lock, until `done` is set; afterwards nothing changes but what stands beside `hooks`,
 * and what that takes.  One cache line for all that a small task needs, since a host that keeps thousands of futures goes
 * through them three times; the second is not touched before `has_more`. */
struct brood_future {
    _Alignas(64) struct job job; /* of a single task */
    struct brood_pool *pool;     /* NULL: it is a promise, and promise.h says what guards it */
    atomic_bool done;
    bool abandoned; /* freed before it was done, or before its callbacks had been called: whoever does that frees it */
    bool is_map, owns_result;
    /* By who has the lock, also when it is done and others look at the second line: release, by brood__future_add_more(),
     * which pairs with every load. */
    atomic_bool has_more;
    bool is_inline;        /* the result is kept here */
    int16_t outcome;       /* 0 or a negative errno */
    uint32_t room, length; /* of the result: promised, and got */
    union {
        struct {
            void *result; /* where it goes; malloc()ed if `owns_result` */
            union {
                struct map *map;     /* if `is_map`; NULL if that is empty */
                struct fetch *fetch; /* else malloc()ed, for a result of any size, or NULL */
            };
        };
        unsigned char inline_result[FUTURE_INLINE_BYTES];
    };

    struct {
        uint64_t block;         /* of the segment, for a large argument and a large result; 0: none */
        uint64_t result_offset; /* where in the segment a large result lies; 0: in the slot */
        char *words;            /* malloc()ed, or NULL */
        struct record *deaths;  /* that it cost: death.h; or NULL */
        struct retry *retry;    /* malloc()ed, or NULL */
        uint32_t attempt;       /* that runs or ran last, from 1; 0 where nobody counts */
        unsigned calls;         /* of callbacks that have not returned; guarded by the lock, as what follows */
        struct hook *hooks;     /* who is to be told, in order: callback.h */
        int fd_plus_1;          /* of brood_future_fd(); 0: none */
        uint32_t death_count;
    } more;
};
_Static_assert(sizeof(struct brood_future) == 128, "two cache lines");
_Static_assert(offsetof(struct brood_future, more) == 64, "one cache line");

/* The job's settle() for a single task. */
void brood__future_settle(struct brood_pool *pool, struct job *job, const struct answer *answer);

/* Acquire: who sees that it is done sees the outcome.  Pairs with the release in brood__future_finish(). */
static inline bool brood__future_is_done(const struct brood_future *future)
{
    return atomic_load_explicit(&future->done, memory_order_acquire);
}

static inline struct map *brood__future_map(const struct brood_future *future)
{
    return future->is_map ? future->map : NULL;
}

static inline struct fetch *brood__future_fetch(const struct brood_future *future)
{
    return future->is_map || future->is_inline ? NULL : future->fetch;
}

/* An empty future, whose result goes to those `room` bytes.  Field by field: for a struct of this size gcc clears memory by
 * `rep stos`, which takes 11 ns where these stores take one or two. */
static inline void brood__future_init(struct brood_future *future, struct brood_pool *pool, void *result, uint32_t room)
{
    future->job.settle = brood__future_settle;
    future->job.in_lane = false;
    future->pool = pool;
    atomic_init(&future->done, false);
    atomic_init(&future->has_more, false);
    future->abandoned = future->is_map = future->owns_result = future->is_inline = false;
    future->outcome = 0;
    future->room = room;
    future->length = 0;
    future->result = result;
    future->map = NULL;
}

/* The second line, for what few futures need.  Locked. */
void brood__future_add_more(struct brood_future *future);
void brood__future_free_more(struct brood_future *future);

/* A future of this pool.  NULL when memory is short, in words.  Locked. */
struct brood_future *brood__future_new(struct brood_pool *pool);

/* Gives a future back whose work is over or was never submitted.  Locked. */
void brood__future_drop(struct brood_future *future);

/* The outcome is there: tells who has asked for it by a hook; a future that was abandoned is dropped.  Locked. */
void brood__future_finish(struct brood_future *future, int outcome);

/* Is the outcome there?  Settles it if it only has to be collected, and brings on what waits for a thread that waits.
 * Locked on entry and return, not in between. */
bool brood__future_look(struct brood_future *future);

/* -EINVAL, in words: who was refused a future goes on with the NULL that it had before. */
int brood__future_missing(void) __attribute__((cold));

/* Locks what guards the future, for a call: its pool or, of a promise, itself.  0; -EPERM in another process; -EINVAL: it
 * is NULL. */
int brood__future_enter(struct brood_future *future);
void brood__future_leave(struct brood_future *future);
struct lock *brood__future_lock(struct brood_future *future);

/* Of one that is done: has it failed, and was not just cancelled?  Locked. */
bool brood__future_has_failed(const struct brood_future *future);

/* Its job, or one of its jobs, whose settling brings it on.  Locked. */
struct job *brood__future_job(struct brood_future *future);

void brood__future_drop_words(struct brood_future *future);

/* Why it failed, or will have failed.  Locked, before it is finished. */
void brood__future_keep_words(struct brood_future *future, const char *words, size_t size);
void brood__future_say_shut_down(struct brood_future *future);

/* Of a single task: which attempt runs or ran last.  Locked, or of one that is done. */
static inline uint32_t brood__future_attempt(const struct brood_future *future)
{
    return future->has_more && future->more.attempt ? future->more.attempt : 1;
}

/* Waits for it.  Locked on entry and return. */
int brood__future_wait(struct brood_future *future, brood_deadline deadline);

#endif
