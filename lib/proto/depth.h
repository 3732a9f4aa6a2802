/* depth.h - how many workers the calling thread is nested in: a task may open a pool, whose tasks may open pools. */
#ifndef BROOD_PROTO_DEPTH_H
#define BROOD_PROTO_DEPTH_H

#include "proto/header.h"

/* 0 outside any worker. */
unsigned brood__depth(void);

/* Called by a worker process before its first task: what its threads open is one level deeper than the pool. */
void brood__depth_set_process(const struct header *header);

/* Called by a thread that begins to run tasks of that pool; NULL: it has ended.  Keeps the pointer. */
void brood__depth_set_thread(const struct header *header);

#endif
