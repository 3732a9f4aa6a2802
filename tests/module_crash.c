/* module_crash.c - a module whose constructor waits for a thread that crashes: the loader's lock is held meanwhile. */
#include <pthread.h>
#include <stdint.h>

static __attribute__((noinline)) void crash_in_module(uintptr_t address)
{
    *(volatile int *)address = 1; /* NOLINT */
}

static void *crash(void *unused)
{
    volatile uintptr_t address = 64;

    crash_in_module(address);
    return unused;
}

static __attribute__((constructor)) void begin(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, crash, NULL) == 0)
        (void)pthread_join(thread, NULL);
}
