#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "os/error.h"
#include "os/pidfd.h"
#include "pool/backend.h"
#include "pool/interrupt.h"

#define POOLS_MAX 16

_Atomic unsigned brood__interrupts;

/* Entries are written under the lock and read in the handler; a pidfd is closed only when no handler runs any more. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    const struct brood_pool *pool;
    _Atomic int supervisor; /* its pidfd, or -1 */
} heeding[POOLS_MAX];
static unsigned heeding_count;
static _Atomic unsigned handlers;
static struct sigaction before;

/* The first lets the pools finish what they have; the next kill their supervisors, and the workers die with these. */
static void interrupted(int number)
{
    int error = errno;

    (void)number;
    atomic_fetch_add(&handlers, 1);
    if (atomic_fetch_add(&brood__interrupts, 1) > 0)
        for (unsigned i = 0; i < POOLS_MAX; i++) {
            int supervisor = atomic_load(&heeding[i].supervisor);

            if (supervisor > 0)
                (void)brood__pidfd_kill(supervisor, SIGKILL);
        }
    atomic_fetch_sub(&handlers, 1);
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
    atomic_store(&brood__interrupts, 0);
    if (before.sa_handler == SIG_IGN) /* a job in the background, say: it stays so */
        return 0;
    return sigaction(SIGINT, &action, NULL) == 0 ? 0 : brood_fail(-errno, "sigaction: %s", strerror(errno));
}

/* Locked. */
static int enter(struct brood_pool *pool)
{
    unsigned i = 0;
    int r, supervisor;

    while (i < POOLS_MAX && heeding[i].pool && heeding[i].pool != pool)
        i++;
    if (i == POOLS_MAX)
        return brood_fail(-ENOSPC, "%d pools heed SIGINT already", POOLS_MAX);
    if (heeding[i].pool)
        return 0;
    supervisor = pool->backend->watched ? fcntl(pool->backend->watched(pool), F_DUPFD_CLOEXEC, 3) : 0;
    if (supervisor < 0)
        return brood_fail(-errno, "cannot keep the supervisor's descriptor: %s", strerror(errno));
    r = install();
    if (r < 0) {
        if (supervisor > 0)
            (void)close(supervisor);
        return r;
    }
    heeding[i].pool = pool;
    atomic_store(&heeding[i].supervisor, supervisor);
    heeding_count++;
    pool->heeds_interrupts = true;
    return 0;
}

int brood_pool_heed_interrupts(struct brood_pool *pool)
{
    int r = brood__pool_enter(pool);

    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&lock);
    r = enter(pool);
    (void)pthread_mutex_unlock(&lock);
    brood__pool_leave(pool);
    return r;
}

/* Locked. */
static void leave(unsigned i)
{
    int supervisor = atomic_exchange(&heeding[i].supervisor, 0);

    heeding[i].pool = NULL;
    if (--heeding_count == 0)
        (void)sigaction(SIGINT, &before, NULL);
    while (atomic_load(&handlers) > 0) /* in another thread, which is about to use it */
        (void)sched_yield();
    if (supervisor > 0)
        (void)close(supervisor);
}

void brood__interrupts_forget(struct brood_pool *pool)
{
    if (!pool->heeds_interrupts)
        return;
    (void)pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < POOLS_MAX; i++)
        if (heeding[i].pool == pool)
            leave(i);
    (void)pthread_mutex_unlock(&lock);
}
