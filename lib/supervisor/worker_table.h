/* worker_table.h - starts the workers that the membership wants, and ends all of them. */
#ifndef BROOD_SUPERVISOR_WORKER_TABLE_H
#define BROOD_SUPERVISOR_WORKER_TABLE_H

#include "supervisor/state.h"

/* Reaps the children that are left, and exits.  All workers and standbys have ended. */
void brood__supervisor_leave(void) __attribute__((noreturn));

/* The host is gone: kills all workers, which must not outlive it, and exits.  No other state has to be put in order. */
void brood__supervisor_quit(struct supervisor *s) __attribute__((noreturn));

/* Starts a worker of that number.  After a failure the supervisor tries again later; if no worker of this number has
 * ever been ready, the pool breaks. */
void brood__worker_start(struct supervisor *s, unsigned worker);

/* Makes each worker that the membership wants and that is missing due now; cancels the start of all others. */
void brood__workers_check(struct supervisor *s);

/* Starts one of the workers that are due; the caller then handles deaths before it starts the next. */
void brood__workers_start_due(struct supervisor *s);

#endif
