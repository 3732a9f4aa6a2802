/* ledger.h - which processes died: an account for each process id, so that no task is charged to a worker that did not die of it, or
 * after another one.
 *
 * A number may be used again by a later process; so an account has counts, and only their balance says something.
 */
#ifndef BROOD_WORKERS_LEDGER_H
#define BROOD_WORKERS_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct account {
    _Atomic int64_t killed_ns; /* when it was killed last, on the monotonic clock */
    _Atomic uint32_t kills;    /* from outside; counted before the signal is sent */
    _Atomic uint32_t suicides; /* by a task of its own */
    _Atomic uint32_t lost;     /* tasks that failed with it */
};

struct ledger {
    struct account *accounts; /* by process id */
};

/* 0 or -ENOMEM. */
int ledger_open(struct ledger *ledger);
void ledger_close(struct ledger *ledger);

/* NULL if no process can have that number. */
struct account *ledger_account(const struct ledger *ledger, pid_t pid);

struct balance {
    uint64_t kills, suicides, lost;
    uint64_t overcharged; /* tasks that failed with a worker beyond the one that its death may cost */
};

struct balance ledger_balance(const struct ledger *ledger);

#endif
