/* brood.h - everything: a process pool for C.  Start with brood/pool.h. */
#ifndef BROOD_H
#define BROOD_H

#include <brood/array.h>
#include <brood/barrier.h>
#include <brood/base.h>
#include <brood/condition.h>
#include <brood/event.h>
#include <brood/future.h>
#include <brood/heap.h>
#include <brood/imap.h>
#include <brood/lock.h>
#include <brood/log.h>
#include <brood/loop.h>
#include <brood/memory.h>
#include <brood/pipe.h>
#include <brood/pool.h>
#include <brood/process.h>
#include <brood/promise.h>
#include <brood/queue.h>
#include <brood/ring.h>
#include <brood/rlock.h>
#include <brood/sandbox.h>
#include <brood/sched.h>
#include <brood/semaphore.h>
#include <brood/task.h>
#include <brood/thread.h>
#include <brood/timer.h>
#include <brood/wait.h>
#include <brood/worker.h>

#endif
