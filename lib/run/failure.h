/* failure.h - reports that the function of a thread or process has failed. */
#ifndef BROOD_RUN_FAILURE_H
#define BROOD_RUN_FAILURE_H

#include <stddef.h>

#include <brood/thread.h>

/* A hook and what it is called with; both written under brood__run_lock. */
struct failure_hook {
    int (*call)(const struct brood_failure *failure, void *context);
    void *context;
};

void brood__hook_set(struct failure_hook *hook, struct failure_hook with);

/* Reports it to the hook, or on standard error if there is none.  `what` is "thread" or "process". */
void brood__failed(struct failure_hook *hook, const char *what, const char *name, int error);

#endif
