/* run.h - what processes, threads, timers and schedulers share: one lock, the fork handlers, and the program's exit.
 *
 * One lock guards all of it.  Its holder keeps it for a few steps, and neither runs user code nor waits meanwhile.  A fork
 * takes it first, so that a child never finds it held by a thread that it does not have.
 */
#ifndef BROOD_RUN_RUN_H
#define BROOD_RUN_RUN_H

#include <stdatomic.h>

#include <brood/base.h>

#include "os/assert.h"
#include "os/fork.h"
#include "os/mutex.h"

extern struct lock brood__run_lock;

/* At the start of a function that is called under the lock. */
#define brood__run_assert_locked() brood__assert(brood__lock_is_held(&brood__run_lock))

/* Called before anything of this folder is made.  Cheap after the first time. */
void brood__run_init(void);

/* From now on the program's exit waits for what brood__run_end() waits for. */
void brood__run_at_exit(void);

/* The orderly end of this process: waits for its threads and children that are not daemons and ends the others. */
void brood__run_end(void);

/* Sleeps until *word is `value`; brood__run_set() stores it.  0; -EAGAIN: BROOD_NOW, and it is not yet; -ETIMEDOUT. */
int brood__run_await(_Atomic uint32_t *word, uint32_t value, brood_deadline deadline);

/* Stores the word, with release, and wakes all that sleep on it; pairs with the acquire in brood__run_await(). */
void brood__run_set(_Atomic uint32_t *word, uint32_t value);

/* What the kinds of things do, in this order; run.c calls them and knows none of them: run_hooks.c names them. */
struct run_hooks {
    void (*init)(void);                         /* before the first fork that is watched */
    void (*after_fork)(void);                   /* in the child of any fork, under brood__run_lock */
    void (*end)(void);                          /* the orderly end of this process */
    void (*label)(char *ret_text, size_t size); /* "Process-1 MainThread", for log lines */
};

extern const struct run_hooks brood__run_hooks;

#endif
