/* lock.c - an account that processes share, and one of them is killed in the middle of a change. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>

#include <brood.h>

#define DEPOSITS 1000 /* of each of two processes */

struct account {
    struct brood_lock lock; /* zeroed: free */
    long deposits, balance; /* the balance is ten times the deposits, whenever the lock is free */
};

static void deposit(struct account *account)
{
    int r;

    BROOD_WITH_LOCK (&account->lock, &r) {
        if (r == -EOWNERDEAD) /* its owner was killed, and its change may be half done */
            account->balance = account->deposits * 10;
        account->deposits++;
        account->balance += 10;
    }
}

static int deposit_often(void *context)
{
    for (int n = 0; n < DEPOSITS; n++)
        deposit(context);
    return 0;
}

static int die_in_a_deposit(void *context)
{
    struct account *account = context;

    BROOD_WITH_LOCK (&account->lock, NULL) {
        account->deposits++;
        (void)raise(SIGKILL);
    }
    return -EOWNERDEAD; /* not reached */
}

int main(void)
{
    struct account *account = mmap(NULL, sizeof(*account), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    brood_auto(process) *first = NULL, *second = NULL, *killed = NULL;
    int status = 0;

    if (account == MAP_FAILED)
        return 1;
    int r = brood_process_start(&first, BROOD_PROCESS(.run = deposit_often, .context = account));
    if (r == 0)
        r = brood_process_start(&second, BROOD_PROCESS(.run = deposit_often, .context = account));
    if (r == 0)
        r = brood_process_start(&killed, BROOD_PROCESS(.run = die_in_a_deposit, .context = account));
    if (r == 0)
        r = brood_process_join(killed, BROOD_FOREVER);
    if (r == 0)
        r = brood_process_status(killed, &status);
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }
    deposit(account);
    brood_process_join(first, BROOD_FOREVER);
    brood_process_join(second, BROOD_FOREVER);
    printf("%ld deposits, %ld in the account\n", account->deposits, account->balance);
    return status == -SIGKILL && account->deposits == 2 * DEPOSITS + 2 && account->balance == account->deposits * 10 ? 0
                                                                                                                     : 1;
}
