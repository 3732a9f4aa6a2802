/* thread.h - what a thread's handle is made of. */
#ifndef BROOD_RUN_THREAD_H
#define BROOD_RUN_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <brood/thread.h>

#include "run/name.h"

enum thread_kind {
    THREAD_STARTED, /* by brood_thread_start() */
    THREAD_FOREIGN, /* by somebody else: it has asked for itself */
    THREAD_MAIN,
};

enum { THREAD_RUNS, THREAD_ENDED };

struct brood_thread {
    enum thread_kind kind;
    unsigned generation;     /* of the process that has it: see brood__fork_generation */
    atomic_uint holders;     /* handles given out, and one while it runs; who gives the last one back frees */
    _Atomic uint32_t state;  /* RUNS or ENDED.  Stored by the thread itself as its last word on `result`; a futex */
    _Atomic uint32_t joined; /* 0; 1: somebody is in pthread_join(); 2: it is over.  A futex */
    _Atomic uint32_t tid;    /* 0 until the thread has told.  A futex */
    pthread_t id;
    /* Its sentinel, an eventfd, or 0: none; and of which descriptors (see brood__threads_descriptors_closed()) that is.
     * Under brood__run_lock. */
    int sentinel;
    unsigned sentinel_of;
    bool daemon, left_behind; /* left_behind: by the fork, in the child */
    int result;               /* by itself before ENDED, read by others after it */
    int (*run)(void *context);
    void *context, *copied; /* `copied`: freed at its end */
    struct names names;
    struct brood_thread *next, **place; /* among those alive; under brood__run_lock */
};

/* This process has closed all its descriptors: numbers that threads have are other files' from now on. */
void brood__threads_descriptors_closed(void);

/* The calling thread's name, also if it is not brood's and has never asked. */
void brood__thread_who(char *ret_text, size_t size);

#endif
