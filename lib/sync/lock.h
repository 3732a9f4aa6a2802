/* lock.h - the errors that both kinds of locks report. */
#ifndef BROOD_SYNC_LOCK_H
#define BROOD_SYNC_LOCK_H

/* Sets the error text for `r`, which claim_take() has returned, and returns it. */
int brood__lock_fail(int r);

#endif
