#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "os/error.h"
#include "os/owned.h"
#include "os/pidfd.h"
#include "pool/core/interrupt.h"
#include "pool/core/kind.h"

#define POOLS_MAX 16

_Atomic unsigned brood__interrupts;

/* Threads write the entries with the lock held; the handler reads them.  A thread closes a pidfd or frees a pool only
 * while no handler runs.  Sequentially consistent, as Dekker's algorithm needs: a handler adds itself to `handlers` and
 * then loads the entries; a thread clears its entry and then loads `handlers`. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    const struct brood_pool *_Atomic pool;
    _Atomic int supervisor; /* its pidfd, or -1 */
} heeding[POOLS_MAX];
static unsigned heeding_count;
static _Atomic unsigned handlers;
static struct sigaction before;

static void kill_supervisor(unsigned i)
{
    int supervisor = atomic_load_explicit(&heeding[i].supervisor, memory_order_seq_cst);

    if (supervisor > 0)
        (void)brood__pidfd_kill(supervisor, SIGKILL);
}

static void wake_waiters(unsigned i)
{
    const struct brood_pool *pool = atomic_load_explicit(&heeding[i].pool, memory_order_seq_cst);

    if (pool)
        brood__wake_host(pool->shared.header);
}

/* The first SIGINT wakes the threads that wait in the pools, and they handle it.  Each further one kills the
 * supervisors, and the workers die with them. */
static void interrupted(int number)
{
    int error = errno;
    bool is_first;

    (void)number;
    atomic_fetch_add_explicit(&handlers, 1, memory_order_seq_cst);
    is_first = atomic_fetch_add_explicit(&brood__interrupts, 1, memory_order_relaxed) == 0;
    for (unsigned i = 0; i < POOLS_MAX; i++)
        if (is_first)
            wake_waiters(i);
        else
            kill_supervisor(i);
    atomic_fetch_sub_explicit(&handlers, 1, memory_order_seq_cst);
    errno = error;
}

/* Locked. */
static int install(void)
{
    struct sigaction action = {.sa_handler = interrupted};

    if (heeding_count > 0)
        return 0;
    if (sigaction(SIGINT, NULL, &before) < 0 || (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN))
        return brood_fail(-EBUSY, "the program handles SIGINT itself");
    atomic_store_explicit(&brood__interrupts, 0, memory_order_relaxed);
    if (before.sa_handler == SIG_IGN) /* a background job, for example: SIGINT stays ignored */
        return 0;
    return sigaction(SIGINT, &action, NULL) == 0 ? 0 : brood_fail(-errno, "sigaction: %s", strerror(errno));
}

/* Locked. */
static int table_enter(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    unsigned i = 0;
    int r, supervisor;

    while (i < POOLS_MAX && heeding[i].pool && heeding[i].pool != pool)
        i++;
    if (i == POOLS_MAX)
        return brood_fail(-ENOSPC, "%d pools heed SIGINT already", POOLS_MAX);
    if (heeding[i].pool)
        return 0;
    supervisor = pool->ops->watched ? brood__own(brood__pidfd_copy(pool->ops->watched(pool))) : 0;
    if (supervisor < 0)
        return brood_fail(supervisor, "cannot keep the supervisor's descriptor: %s", strerror(-supervisor));
    r = install();
    if (r < 0) {
        if (supervisor > 0)
            (void)close(brood__disown(supervisor));
        return r;
    }
    atomic_store_explicit(&heeding[i].pool, pool, memory_order_seq_cst);
    atomic_store_explicit(&heeding[i].supervisor, supervisor, memory_order_seq_cst);
    heeding_count++;
    pool->interrupts.are_heeded = true;
    return 0;
}

int brood_pool_heed_interrupts(struct brood_pool *pool, enum brood_interrupt first)
{
    int r;

    if ((unsigned)first > BROOD_INTERRUPT_DRAIN)
        return brood_fail(-EINVAL, "there is no answer %d to an interrupt", (int)first);
    r = brood__pool_enter_open(pool);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&lock);
    r = table_enter(pool);
    (void)pthread_mutex_unlock(&lock);
    if (r == 0)
        pool->interrupts.cancel = first == BROOD_INTERRUPT_CANCEL;
    brood__pool_leave(pool);
    return r;
}

/* Locked. */
static void table_leave(unsigned i)
{
    int supervisor = atomic_exchange_explicit(&heeding[i].supervisor, 0, memory_order_seq_cst);

    atomic_store_explicit(&heeding[i].pool, NULL, memory_order_seq_cst);
    if (--heeding_count == 0)
        (void)sigaction(SIGINT, &before, NULL);
    while (atomic_load_explicit(&handlers, memory_order_seq_cst) >
           0) /* a handler in another thread may be about to use it */
        (void)sched_yield();
    if (supervisor > 0)
        (void)close(brood__disown(supervisor));
}

void brood__interrupts_forget(struct brood_pool *pool)
{
    if (!pool->interrupts.are_heeded)
        return;
    (void)pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < POOLS_MAX; i++)
        if (heeding[i].pool == pool)
            table_leave(i);
    (void)pthread_mutex_unlock(&lock);
}
