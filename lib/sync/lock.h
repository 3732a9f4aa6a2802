/* lock.h - what the two kinds of locks say in the same words. */
#ifndef BROOD_SYNC_LOCK_H
#define BROOD_SYNC_LOCK_H

/* The words for what claim_take() returned, which is returned. */
int brood__lock_said(int r);

#endif
