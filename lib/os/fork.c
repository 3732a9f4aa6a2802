#include "os/fork.h"

#include <pthread.h>

atomic_uint brood__fork_generation;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void count_fork(void)
{
    atomic_fetch_add_explicit(&brood__fork_generation, 1, memory_order_relaxed);
}

static void fork_watch(void)
{
    (void)pthread_atfork(NULL, NULL, count_fork);
}

void brood__fork_watch(void)
{
    (void)pthread_once(&once, fork_watch);
}
