/* watcher.h - how an idle worker finds tasks that other workers do not get to.
 *
 * A thief takes a task that waits in the lane of a worker which makes no progress.  Where the worker makes progress the
 * task is better left to it: the worker has done it before a thief would have it, and where there are fewer CPUs than
 * processes a thief takes the CPU from the busy worker, or from the host.  But any task may turn out to be long.  So
 * while other workers make progress, one of the idle workers is the watcher: it sleeps with a timer and scans the lanes,
 * at ever longer intervals; and the host wakes no worker for a task that waits for a few short ones.
 */
#ifndef BROOD_WORKER_WATCHER_H
#define BROOD_WORKER_WATCHER_H

#include "proto/header.h"

struct progress {
    uint64_t current, head;
};

struct watcher {
    struct progress *seen; /* of each worker, at the last scan */
    int64_t looked_ns;     /* time of the last scan; INT64_MIN: too long ago for a comparison */
    bool is_sure;          /* the scan before was recent enough to compare with */
    bool sees_progress;    /* a worker has made progress since */
};

/* A lane in which a task waits. */
struct steal_victim {
    unsigned worker;
    uint64_t position;
};

/* Returns 0, or -ENOMEM with a message. */
int brood__watcher_open(struct watcher *ret_watcher, unsigned workers);
void brood__watcher_close(struct watcher *watcher);

/* Finds, for that worker, a task in the lane of a worker that has made no progress since the last scan; false if there
 * is none. */
bool brood__watcher_find(struct watcher *watcher, const struct shared *shared, unsigned worker, int64_t now_ns,
                         struct steal_victim *ret_victim);

/* Makes the next scan start afresh: the worker was woken, perhaps to help. */
void brood__watcher_forget(struct watcher *watcher);

#endif
