/* fault.h - a worker process that a signal ends writes a backtrace into its certificate. */
#ifndef BROOD_WORKER_FAULT_H
#define BROOD_WORKER_FAULT_H

#include <signal.h>

#include "proto/header.h"

/* Installs handlers for the signals of faults, on a stack of their own, for each signal that the program does not
 * handle.  The signal then takes its course, core dump included. */
void brood__fault_watch(const struct shared *shared, unsigned worker);

#endif
