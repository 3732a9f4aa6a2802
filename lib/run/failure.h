/* failure.h - a thread's or process's function has failed: who is told, and who it was. */
#ifndef BROOD_RUN_FAILURE_H
#define BROOD_RUN_FAILURE_H

#include <stddef.h>

#include <brood/thread.h>

/* A hook and what it is called with; both written under brood__run_lock. */
struct hook {
    int (*call)(const struct brood_failure *failure, void *context);
    void *context;
};

void brood__hook_set(struct hook *hook, struct hook with);

/* Tells the hook, or standard error if there is none.  `what` is "thread" or "process". */
void brood__failed(struct hook *hook, const char *what, const char *name, int error);

/* "Process-1 MainThread", for log lines. */
void brood__failure_who(char *ret_text, size_t size);

#endif
