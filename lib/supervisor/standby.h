/* standby.h - processes that are forked ahead and replace workers that die. */
#ifndef BROOD_SUPERVISOR_STANDBY_H
#define BROOD_SUPERVISOR_STANDBY_H

#include "supervisor/state.h"

/* Decides how many standbys the pool keeps, by the time that forking the first workers took. */
void brood__standbys_open(struct supervisor *s);

/* Assigns a standby to that worker number.  False: there is none. */
bool brood__standby_take(struct supervisor *s, unsigned worker, struct child *ret_child);

/* When to start the next standby; INT64_MAX: none is wanted. */
int64_t brood__standby_due(const struct supervisor *s);

void brood__standby_start(struct supervisor *s);

void brood__standby_reap(struct supervisor *s, unsigned standby);

/* Tells all standbys to end. */
void brood__standbys_dismiss(struct supervisor *s);

#endif
