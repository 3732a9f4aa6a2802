/* thread.h - the handle of a thread. */
#ifndef BROOD_RUN_THREAD_H
#define BROOD_RUN_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <brood/thread.h>

#include "run/name.h"

enum thread_kind {
    THREAD_STARTED, /* by brood_thread_start() */
    THREAD_FOREIGN, /* by other code: it has called brood_thread_current() */
    THREAD_MAIN,
};

enum { THREAD_RUNS, THREAD_ENDED };

struct brood_thread {
    enum thread_kind kind;
    unsigned generation; /* of the process that has it: see brood__fork_generation */
    /* RUNS or ENDED; a futex.  The thread stores ENDED with release after `result`; pairs with the acquire of joiners. */
    _Atomic uint32_t state;
    /* 0; 1: a joiner is in pthread_join(); 2: there is nothing to join; a futex.  Joiners change it by CAS (acq_rel), the
     * starter and the joiner store it with release; pairs with the acquire of the other joiners. */
    _Atomic uint32_t joined;
    /* 0 until the thread has stored it, with release; in a fork's child that does not have the thread, for ever.  Pairs
     * with the acquire of threads that ask for it.  A futex. */
    _Atomic uint32_t tid;
    pthread_t id;
    /* Under brood__run_lock: handles given out, and one while it runs.  The thread that gives the last one back frees. */
    unsigned holders;
    /* Its sentinel, an eventfd, or 0: none; and of which descriptors (see brood__threads_descriptors_closed()) that is.
     * Under brood__run_lock. */
    int sentinel;
    unsigned sentinel_of;
    bool daemon, left_behind; /* left_behind: by the fork, in the child */
    int result;               /* the thread stores it before ENDED, others load it after */
    int (*run)(void *context);
    void *context, *copied;        /* `copied`: freed at its end */
    void (*let_go)(void *context); /* called at its end; or NULL */
    struct names names;
    struct brood_thread *next, **place; /* among those alive; under brood__run_lock */
};

/* brood_thread_start(), for a thread that holds a reference to its context.  let_go(context) drops that reference, under
 * brood__run_lock: once, in the step that takes the thread off the list of live threads, at its end or in a fork's child
 * that does not have the thread.  So a child never finds a reference without its thread, nor a thread without its
 * reference. */
int brood__thread_start(struct brood_thread **ret_thread, const struct brood_thread_options *given,
                        void (*let_go)(void *context));

/* This process has closed all its descriptors: the numbers that threads have noted now belong to other files. */
void brood__threads_descriptors_closed(void);

/* The calling thread's name, also if brood did not start it and it has no handle. */
void brood__thread_label(char *ret_text, size_t size);

/* ---- by run_hooks.c ---- */

void brood__threads_after_fork(void);
void brood__threads_await(void);

#endif
