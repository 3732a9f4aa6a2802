/* future.h - inside the library: the structure of a future. */
#ifndef BROOD_POOL_FUTURE_FUTURE_H
#define BROOD_POOL_FUTURE_FUTURE_H

#include <stdatomic.h>
#include <stddef.h>

#include "pool/core/pool.h"
#include "pool/future/callback.h"

struct fetch;
struct map;
struct record;
struct retry;

#define FUTURE_INLINE_BYTES SLOT_RESULT_BYTES

/* A task and a map are work that a pool does; the program completes a promise, which has no pool. */
enum future_kind { FUTURE_TASK, FUTURE_MAP, FUTURE_PROMISE };

/* The operations of what guards a future: its pool or, for a promise, the promise itself.  NULL: there is nothing to do.
 * Locked, if not said otherwise. */
struct future_guard {
    /* Locks, for a call.  Returns 0, or -EPERM with a message in another process.  Not locked. */
    int (*enter)(struct brood_future *future);
    void (*leave)(struct brood_future *future);
    struct lock *(*lock)(struct brood_future *future);
    struct calls *(*calls)(struct brood_future *future);
    /* Collects what may complete the future.  Locked on entry and return, not in between. */
    void (*look)(struct brood_future *future);
    /* Waits, and calls callbacks that are due.  Not locked. */
    int (*wait)(struct brood_future *future, brood_deadline deadline);
    /* Some of its work has been taken back. */
    void (*make_use_of_room)(struct brood_future *future);
    /* From now on the future completes although no thread may wait for it.  Returns 0 or a negative errno. */
    int (*attend)(struct brood_future *future);
    /* Not locked. */
    void (*free)(struct brood_future *future);

    /* ---- callbacks ---- */
    /* A callback was added, or is due. */
    void (*call_added)(struct brood_future *future);
    void (*call_due)(struct brood_future *future);
    /* The calling thread has stopped calling callbacks; the future may be gone. */
    void (*calls_left)(struct brood_pool *pool);
    /* Can a callback of a finished future wait until another thread, or this one, calls it later?  Leaves it for that. */
    bool (*can_postpone)(const struct brood_future *future);
    void (*postpone)(struct brood_future *future);
    /* The calling thread is not inside the guard while it calls a callback.  Locked before and after. */
    void (*step_out)(struct brood_future *future);
    void (*step_in)(struct brood_future *future);
    /* The last callback of an abandoned future has returned. */
    void (*let_go)(struct brood_future *future);
};

extern const struct future_guard brood__pool_guard;

/* The operations of a kind.  Called with the future's guard locked, unless the future is done.  A promise is in no lane
 * and needs no collect, job, is_in_host and help. */
struct future_ops {
    const struct future_guard *guard;
    /* Settles its finished jobs. */
    void (*collect)(struct brood_future *future);
    /* A job of the future in a lane whose settling makes progress on it, or NULL. */
    struct job *(*job)(struct brood_future *future);
    /* Does it wait in the host to be submitted?  NULL: it never does. */
    bool (*is_in_host)(const struct brood_future *future);
    /* May a worker have started some of it? */
    bool (*is_running)(struct brood_future *future);
    /* A worker of the pool, which waits for the future, runs some of it.  1: it has; 0: there is nothing to run;
     * -EDEADLK with a message: the worker would wait for itself.  Locked on entry and return, not in between. */
    int (*help)(struct brood_future *future);
    /* Ends what no worker has started; true if that was all of it. */
    bool (*cancel)(struct brood_future *future);
    /* Is it cancelled, and does its producer not know yet?  NULL: the producer always knows. */
    bool (*is_untold)(const struct brood_future *future);
    /* Three operations that kill the workers that run it: if it cannot be cancelled; before the attempt to cancel it;
     * and after a successful cancel, in case a worker has it all the same.  Return 0 or a negative errno with a message.  The
     * last two may be NULL. */
    int (*kill)(struct brood_future *future);
    int (*kill_first)(struct brood_future *future);
    int (*kill_cancelled)(struct brood_future *future);
    /* For a finished future: the outcome of an item, or -ERANGE with a message; the name under which an item has its
     * outcome and its deaths; the first item that failed; the first item that was lost in a crash and not retried, false
     * if there is none. */
    int (*item)(const struct brood_future *future, size_t item);
    uint64_t (*item_name)(const struct brood_future *future, uint64_t item);
    uint64_t (*first_failed)(const struct brood_future *future);
    bool (*lost_item)(const struct brood_future *future, uint64_t *ret_item);
    /* Gives back its region for a large result. */
    void (*discard)(struct brood_future *future);
    /* Frees what belongs to this kind.  NULL: nothing does. */
    void (*drop)(struct brood_future *future);
    /* Its workers use the caller's memory, so it must be over before the future is freed. */
    bool borrows_memory;
};

/* Indexed by enum future_kind: host/tables.c. */
extern const struct future_ops *const brood__future_kinds[];

/* The pool's lock guards all fields until `done` is set.  After that only the fields next to `hooks`, and what these
 * need, change.  One cache line holds all that a small task needs, since a host with thousands of futures goes through
 * them three times; the second line is not touched unless `has_more`. */
struct brood_future {
    _Alignas(64) struct job job; /* of a single task */
    struct brood_pool *pool;     /* NULL: a promise */
    atomic_bool done;
    bool abandoned; /* freed before it was done or its callbacks were called: the thread that does that frees it */
    uint8_t kind;   /* enum future_kind: selects the operations */
    bool owns_result;
    /* The thread that holds the lock writes it, also when the future is done and other threads read the second line.
     * Release, in brood__future_add_more(); pairs with every load. */
    atomic_bool has_more;
    bool is_inline : 1;    /* the result is in `inline_result` */
    bool is_late : 1;      /* the task had exceeded its time when it returned */
    int16_t outcome;       /* 0 or a negative errno */
    uint32_t room, length; /* the promised size of the result, and the real one */
    union {
        struct {
            void *result; /* the place for the result; malloc()ed if `owns_result` */
            union {
                struct map *map;     /* of a map; NULL if the map is empty */
                struct fetch *fetch; /* else malloc()ed, for a result of any size, or NULL */
            };
        };
        unsigned char inline_result[FUTURE_INLINE_BYTES];
    };

    struct {
        uint64_t block;         /* in the segment, for a large argument and a large result; 0: none */
        uint64_t result_offset; /* the offset of a large result in the segment; 0: the result is in the slot */
        char *words;            /* malloc()ed, or NULL */
        struct record *deaths;  /* the deaths that it caused: death.h; or NULL */
        struct retry *retry;    /* malloc()ed, or NULL */
        uint32_t attempt;       /* the last attempt, from 1; 0 if attempts are not counted */
        unsigned calls;         /* callbacks that have not returned; guarded by the lock, as what follows */
        struct link *hooks;     /* the hooks to notify, in order: callback.h */
        int fd_plus_1;          /* of brood_future_fd(); 0: none */
        uint32_t death_count;
    } more;
};
_Static_assert(sizeof(struct brood_future) == 128, "two cache lines");
_Static_assert(offsetof(struct brood_future, more) == 64, "one cache line");

/* Acquire: a thread that sees that the future is done sees the outcome.  Pairs with the release in
 * brood__future_finish(). */
static inline bool brood__future_is_done(const struct brood_future *future)
{
    return atomic_load_explicit(&future->done, memory_order_acquire);
}

static inline const struct future_ops *brood__future_ops(const struct brood_future *future)
{
    return brood__future_kinds[future->kind];
}

static inline const struct future_guard *brood__future_guard(const struct brood_future *future)
{
    return brood__future_ops(future)->guard;
}

static inline struct map *brood__future_map(const struct brood_future *future)
{
    return future->kind == FUTURE_MAP ? future->map : NULL;
}

static inline struct fetch *brood__future_fetch(const struct brood_future *future)
{
    return future->kind == FUTURE_MAP || future->is_inline ? NULL : future->fetch;
}

/* An empty future, whose result goes to those `room` bytes.  Set field by field: for a struct of this size gcc clears
 * memory by `rep stos`, which takes 11 ns where these stores take one or two. */
static inline void brood__future_init(struct brood_future *future, struct brood_pool *pool, void *result, uint32_t room)
{
    future->job.ops = NULL;
    future->job.in_lane = false;
    future->pool = pool;
    atomic_init(&future->done, false);
    atomic_init(&future->has_more, false);
    future->kind = FUTURE_TASK;
    future->abandoned = future->owns_result = future->is_inline = future->is_late = false;
    future->outcome = 0;
    future->room = room;
    future->length = 0;
    future->result = result;
    future->map = NULL;
}

/* In a function that requires the guard's lock. */
#define brood__assert_guarded(future) \
    brood__assert(brood__lock_is_held(brood__future_guard(future)->lock((struct brood_future *)(uintptr_t)(future))))

/* The second line, for rarely used fields.  Locked. */
void brood__future_add_more(struct brood_future *future);
void brood__future_free_more(struct brood_future *future);

static inline void brood__hooks_move(struct brood_future *future)
{
    if (future->has_more)
        brood__hooks_move_each(future);
}

/* A new future of this pool; NULL with a message when memory is short.  Locked. */
struct brood_future *brood__future_new(struct brood_pool *pool);

/* Gives back a future whose work is over or was never submitted.  Locked. */
void brood__future_drop(struct brood_future *future);

/* Sets the outcome, and notifies the hooks; an abandoned future is dropped.  Locked. */
void brood__future_finish(struct brood_future *future, int outcome);

/* Is there an outcome?  Collects a finished job, and runs deferred work.  Locked on entry and return, not in between. */
static inline bool brood__future_look(struct brood_future *future)
{
    if (!brood__future_is_done(future) && brood__future_guard(future)->look)
        brood__future_guard(future)->look(future);
    return brood__future_is_done(future);
}

/* -EINVAL with a message: the program uses the NULL that a failed call has left. */
int brood__future_missing(void) __attribute__((cold));

/* Locks the future's guard, for a call.  Returns 0; -EPERM in another process; -EINVAL: it is NULL. */
int brood__future_enter(struct brood_future *future);

static inline void brood__future_leave(struct brood_future *future)
{
    brood__future_guard(future)->leave(future);
}

/* For a finished future: has it failed, and was not just cancelled?  Locked. */
bool brood__future_has_failed(const struct brood_future *future);

void brood__future_drop_message(struct brood_future *future);

/* Sets why it failed, or will fail.  Locked, before it is finished. */
void brood__future_keep_message(struct brood_future *future, const char *words, size_t size);
void brood__future_fail_shut_down(struct brood_future *future);

/* For a single task: the attempt that runs or ran last.  Locked, or the future is done. */
static inline uint32_t brood__future_attempt(const struct brood_future *future)
{
    return future->has_more && future->more.attempt ? future->more.attempt : 1;
}

/* Waits for a future of a pool.  Locked on entry and return, not in between. */
int brood__future_wait(struct brood_future *future, brood_deadline deadline);

#endif
