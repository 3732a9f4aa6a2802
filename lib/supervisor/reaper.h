/* reaper.h - handles the death of a worker: fails its task, wakes waiters, starts the successor. */
#ifndef BROOD_SUPERVISOR_REAPER_H
#define BROOD_SUPERVISOR_REAPER_H

#include "supervisor/state.h"

/* That worker's pidfd is readable.  Fails what it was running, wakes the waiters, and schedules its successor. */
void brood__reap(struct supervisor *s, unsigned worker);

/* The first half of it: reports the lost task and completes the dead worker's wake-ups.  No thread of the worker runs
 * any more. */
void brood__reap_work(struct supervisor *s, unsigned worker, struct brood__ending ending, bool is_orderly);

/* Counts a death that was not an orderly end. */
void brood__count_death(struct supervisor *s);

#endif
