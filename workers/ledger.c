/* ledger.c - which processes died. */
#include "ledger.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#define PIDS (1 << 22) /* Linux has no higher ones */

/* Takes memory only for those that are used. */
int ledger_open(struct ledger *ledger)
{
    void *memory = mmap(NULL, PIDS * sizeof(struct account), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    ledger->accounts = memory == MAP_FAILED ? NULL : memory;
    return ledger->accounts ? 0 : -ENOMEM;
}

void ledger_close(struct ledger *ledger)
{
    if (ledger->accounts)
        munmap(ledger->accounts, PIDS * sizeof(struct account));
    ledger->accounts = NULL;
}

struct account *ledger_account(const struct ledger *ledger, pid_t pid)
{
    return pid > 0 && pid < PIDS ? &ledger->accounts[pid] : NULL;
}

struct balance ledger_balance(const struct ledger *ledger)
{
    struct balance balance = {0};

    for (int pid = 0; pid < PIDS; pid++) {
        struct account *account = &ledger->accounts[pid];
        uint64_t deaths = account->kills + account->suicides;

        balance.kills += account->kills;
        balance.suicides += account->suicides;
        balance.lost += account->lost;
        balance.overcharged += account->lost > deaths ? account->lost - deaths : 0;
    }
    return balance;
}
