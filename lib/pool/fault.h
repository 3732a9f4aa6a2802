/* fault.h - a worker process says where it was when a signal ended it: a backtrace, into its certificate. */
#ifndef BROOD_POOL_FAULT_H
#define BROOD_POOL_FAULT_H

#include <signal.h>

#include "shm/board.h"

#define FAULT_FRAMES_MAX 48 /* in a backtrace */

/* Loads what a backtrace needs, which takes longer than to fork a worker, and could not be done in a signal handler: once,
 * before the workers are forked. */
void brood__fault_prepare(void);

/* Catches the signals that mean a fault, on a stack of their own, wherever the program has no handler; the signal then
 * takes its course, core dump and all. */
void brood__fault_watch(const struct shared *shared, unsigned worker);

/* Where this worker says what it sees of its end; NULL if it has nothing, and in a child that a task has forked.  Also in a
 * signal handler. */
struct certificate *brood__fault_certificate(void);

/* In a signal handler, whose `context` (or NULL) says where the thread was: writes its backtrace from there on, in the form
 * that pool/backtrace.h reads.  dladdr(3) and snprintf(3) are not promised to be safe there, which is why this is called
 * only where the process is about to end. */
void brood__fault_write_backtrace(struct certificate *certificate, const void *context);

#endif
