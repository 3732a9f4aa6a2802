/* certificate_writer.h - a worker process writes into its certificate where it is, from a signal handler. */
#ifndef BROOD_WORKER_CERTIFICATE_WRITER_H
#define BROOD_WORKER_CERTIFICATE_WRITER_H

#include "proto/header.h"

/* Loads what a backtrace needs.  This takes longer than to fork a worker and is not possible in a signal handler, so it
 * is called once, before the workers are forked. */
void brood__certificate_writer_prepare(void);

/* Called in the worker before its first task: from now on it has a certificate. */
void brood__certificate_writer_open(const struct shared *shared, unsigned worker);

/* This worker's certificate; NULL if it has none, and in a child that a task has forked.  May be called in a signal
 * handler. */
struct certificate *brood__own_certificate(void);

/* Writes the backtrace of the thread, from where `context` (or NULL) says it was interrupted, in the form that
 * pool/future/backtrace.h reads.  Runs in a signal handler.  It takes no lock of the process where the C library is new
 * enough (os/module.h) and libgcc, which finds the callers, is too (gcc 12); older ones take the loader's lock.  So the
 * caller makes sure that the process ends soon, even if this hangs. */
void brood__backtrace_write(struct certificate *certificate, const void *context);

#endif
