/* run_hooks.c - what threads and processes do at a fork and at the program's end, and how log lines name them. */
#include <stdio.h>

#include "run/process.h"
#include "run/run.h"
#include "run/thread.h"

static void hooks_after_fork(void)
{
    brood__threads_after_fork();
    brood__processes_after_fork();
}

static void hooks_end(void)
{
    brood__threads_await();
    brood__processes_end();
}

static void hooks_label(char *ret_text, size_t size)
{
    char thread[NAME_MAX_BYTES + 1];

    brood__thread_label(thread, sizeof(thread));
    (void)snprintf(ret_text, size, "%s %s", brood_process_name(brood_process_current()), thread);
}

const struct run_hooks brood__run_hooks = {
    .init = brood__processes_init,
    .after_fork = hooks_after_fork,
    .end = hooks_end,
    .label = hooks_label,
};
