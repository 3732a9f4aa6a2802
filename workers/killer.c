/* killer.c - a thread that kills workers. */
#include "killer.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "chore.h"

#define LOOK_NS 50000           /* how finely it looks for a replacement */
#define REPLACED_NS 10000000000 /* … and for how long at most: the pool may be broken */

/* A pool whose workers keep dying before they are ready gives up, rightly.  So only a few of a worker's successors in a row
 * are killed before they have begun a chore. */
#define UNREADY_KILLS_MAX 3

struct mark {
    pid_t pid;         /* seen last */
    pid_t killed;      /* this one was, and is not to be killed twice */
    int64_t killed_ns; /* 0: its replacement has been seen */
    int unready_kills; /* in a row */
};

/* ---- looking ---- */

/* True while a replacement is waited for. */
static bool look_at(struct killer *killer, int worker)
{
    struct mark *mark = &killer->marks[worker];
    pid_t pid = brood_pool_worker_pid(killer->pool, worker);
    int64_t now = latency_now_ns();

    if (pid == 0 || pid == mark->pid)
        return mark->killed_ns != 0;
    if (mark->killed_ns != 0)
        latency_add(&killer->replaced, now - mark->killed_ns);
    mark->pid = pid;
    mark->killed_ns = 0;
    return false;
}

static bool look_around(struct killer *killer)
{
    bool waiting = false;

    for (int worker = 0; worker < brood_pool_workers(killer->pool); worker++)
        waiting |= look_at(killer, worker);
    return waiting;
}

static void sleep_until(int64_t ns)
{
    struct timespec until = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

static void watch_until(struct killer *killer, int64_t end)
{
    int64_t now;

    while ((now = latency_now_ns()) < end) {
        int64_t soon = look_around(killer) ? now + LOOK_NS : end;

        sleep_until(soon < end ? soon : end);
    }
}

/* ---- killing ---- */

static bool may_kill(struct mark *mark, int worker)
{
    bool ready = chores_begun_by(worker) == mark->pid;

    if (mark->pid == 0 || mark->pid == mark->killed || (!ready && mark->unready_kills == UNREADY_KILLS_MAX))
        return false;
    mark->unready_kills = ready ? 0 : mark->unready_kills + 1;
    return true;
}

/* Books it first: a thread that sees the death must find it in the ledger.  The number is certainly the worker's: the pool forgets it
 * a few instructions after it has reaped the process, and by then the kernel has not gone once around all the numbers. */
static bool strike(struct killer *killer, struct mark *mark)
{
    struct account *account = ledger_account(killer->ledger, mark->pid);
    int64_t now = latency_now_ns();

    atomic_store(&account->killed_ns, now);
    atomic_fetch_add(&account->kills, 1);
    if (kill(mark->pid, SIGKILL) < 0) {
        atomic_fetch_sub(&account->kills, 1); /* it was gone already */
        return false;
    }
    mark->killed = mark->pid;
    mark->killed_ns = now;
    return true;
}

/* If it may be. */
static bool kill_worker(struct killer *killer, int worker)
{
    struct mark *mark = &killer->marks[worker];

    (void)look_at(killer, worker);
    return may_kill(mark, worker) && brood_pool_worker_pid(killer->pool, worker) == mark->pid && strike(killer, mark);
}

static int64_t next_pause(struct killer *killer)
{
    double chance = (double)(dice_roll(&killer->dice) >> 11) * 0x1p-53;

    return (int64_t)(-log1p(-chance) * killer->every_ns);
}

static void *run(void *argument)
{
    struct killer *killer = argument;

    while (!killer->stop) {
        watch_until(killer, latency_now_ns() + next_pause(killer));
        (void)kill_worker(killer, (int)dice_below(&killer->dice, (unsigned)brood_pool_workers(killer->pool)));
    }
    return NULL;
}

int killer_start(struct killer *killer)
{
    killer->marks = calloc((size_t)brood_pool_workers(killer->pool), sizeof(*killer->marks));
    return killer->marks ? -pthread_create(&killer->thread, NULL, run, killer) : -ENOMEM;
}

void killer_stop(struct killer *killer)
{
    killer->stop = true;
    pthread_join(killer->thread, NULL);
}

/* Until the killed process is dead, and replaced. */
static void await_replacements(struct killer *killer)
{
    int64_t end = latency_now_ns() + REPLACED_NS;

    while (look_around(killer) && latency_now_ns() < end)
        sleep_until(latency_now_ns() + LOOK_NS);
}

int killer_kill_all(struct killer *killer)
{
    int killed = 0;

    await_replacements(killer);
    for (int worker = 0; worker < brood_pool_workers(killer->pool); worker++)
        killed += kill_worker(killer, worker);
    await_replacements(killer);
    return killed;
}

void killer_close(struct killer *killer)
{
    latency_close(&killer->replaced);
    free(killer->marks);
    killer->marks = NULL;
}
