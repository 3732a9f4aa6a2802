/* fault.h - a worker process that a signal ends writes a backtrace into its certificate. */
#ifndef BROOD_WORKER_FAULT_H
#define BROOD_WORKER_FAULT_H

#include <signal.h>

#include "proto/header.h"

/* Loads what a backtrace needs.  This takes longer than to fork a worker and is not possible in a signal handler, so it
 * is called once, before the workers are forked. */
void brood__fault_prepare(void);

/* Installs handlers for the signals of faults, on a stack of their own, for each signal that the program does not
 * handle.  The signal then takes its course, core dump included. */
void brood__fault_watch(const struct shared *shared, unsigned worker);

/* This worker's certificate; NULL if it has none, and in a child that a task has forked.  May be called in a signal
 * handler. */
struct certificate *brood__fault_certificate(void);

/* Writes the backtrace of the thread, from where `context` (or NULL) says it was interrupted, in the form that
 * pool/future/backtrace.h reads.  Runs in a signal handler.  It takes no lock of the process where the C library is new
 * enough (os/module.h) and libgcc, which finds the callers, is too (gcc 12); older ones take the loader's lock.  So the
 * caller makes sure that the process ends soon, even if this hangs. */
void brood__fault_write_backtrace(struct certificate *certificate, const void *context);

#endif
