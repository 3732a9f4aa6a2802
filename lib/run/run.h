/* run.h - what processes, threads, timers and schedulers share: one lock, what happens at a fork, and the program's exit.
 *
 * One lock for all of it: it is held for a few steps, never while user code runs or anything is waited for, and a
 * fork takes it first, so that a child never finds it held by a thread that it does not have.
 */
#ifndef BROOD_RUN_RUN_H
#define BROOD_RUN_RUN_H

#include <stdatomic.h>

#include <brood/base.h>

#include "os/fork.h"
#include "os/lock.h"

extern struct lock brood__run_lock;

/* Before anything of this floor is made.  Cheap after the first time. */
void brood__run_init(void);

/* From now on the program's exit waits for what brood__run_end() waits for. */
void brood__run_mind_exit(void);

/* The orderly end of this process: waits for its threads and children that are not daemons and ends the others. */
void brood__run_end(void);

/* Sleeps until *word is `value`, which must be followed by a wake-up of all: 0; -EAGAIN: BROOD_NOW, and it is not yet;
 * -ETIMEDOUT. */
int brood__run_await(_Atomic uint32_t *word, uint32_t value, brood_deadline deadline);

/* Sets the word and wakes all. */
void brood__run_tell(_Atomic uint32_t *word, uint32_t value);

/* ---- by each file, for run.c ---- */

void brood__threads_after_fork(void);
void brood__threads_await(void);
void brood__processes_init(void);
void brood__processes_after_fork(void);
void brood__processes_end(void);

#endif
