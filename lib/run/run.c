#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "os/clock.h"
#include "os/log.h"
#include "run/run.h"

struct lock brood__run_lock;

static void before_fork(void)
{
    brood__lock(&brood__run_lock);
}

static void after_fork_here(void)
{
    brood__unlock(&brood__run_lock);
}

static void after_fork_there(void)
{
    brood__run_hooks.after_fork();
    brood__unlock(&brood__run_lock);
}

static void run_init(void)
{
    brood__run_hooks.init();
    brood__fork_watch(); /* first: so a child counts the fork before it runs after_fork_there() */
    (void)pthread_atfork(before_fork, after_fork_here, after_fork_there);
    brood__log_set_label(brood__run_hooks.label);
}

void brood__run_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, run_init);
}

void brood__run_end(void)
{
    brood__run_hooks.end();
}

static void run_at_exit(void)
{
    (void)atexit(brood__run_end);
}

void brood__run_at_exit(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, run_at_exit);
}

int brood__run_await(_Atomic uint32_t *word, uint32_t value, brood_deadline deadline)
{
    for (;;) {
        uint32_t seen = atomic_load_explicit(word, memory_order_acquire);

        if (seen == value)
            return 0;
        if (brood__is_past(deadline))
            return brood__timeout(deadline);
        (void)brood__futex_wait(word, seen, deadline);
    }
}

void brood__run_set(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
    (void)brood__futex_wake(word, INT32_MAX);
}
