/* lock.c - an account that processes share, and one of them is killed in the middle of a change. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <brood.h>

struct account {
    struct brood_lock lock; /* zeroed: free */
    long deposits, balance; /* the balance is ten times the deposits, whenever the lock is free */
};

static void deposit(struct account *account)
{
    int r;

    BROOD_WITH_LOCK (&account->lock, &r) {
        if (r == -EOWNERDEAD) /* who had it was killed, and its change may be half done */
            account->balance = account->deposits * 10;
        account->deposits++;
        account->balance += 10;
    }
}

static void die_in_a_deposit(struct account *account)
{
    BROOD_WITH_LOCK (&account->lock, NULL) {
        account->deposits++;
        (void)raise(SIGKILL);
    }
}

int main(void)
{
    struct account *account = mmap(NULL, sizeof(*account), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (account == MAP_FAILED)
        return 1;
    for (int i = 0; i < 4; i++) {
        if (fork() == 0) {
            for (int n = 0; n < 1000; n++)
                deposit(account);
            if (i == 0)
                die_in_a_deposit(account);
            _exit(0);
        }
    }
    while (wait(NULL) > 0)
        ;
    deposit(account);
    printf("%ld deposits, %ld in the account\n", account->deposits, account->balance);
    return account->balance == account->deposits * 10 ? 0 : 1;
}
