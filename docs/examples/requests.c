/* requests.c - one thread owns a resource, and a queue feeds it with what the others want of it: no other thread touches the
 * resource, so nothing has to be locked.
 */
#include <stdbool.h>
#include <stdio.h>

#include <brood.h>

#define CLERKS 4
#define REQUESTS 1000 /* of each */
#define ACCOUNTS 8

struct request {
    int account, amount;
};

struct bank {
    struct brood_queue *requests;
    long accounts[ACCOUNTS]; /* the owner's alone */
    long served;
};

/* The owner: does what is asked for, in order, until no more can come. */
static int serve(void *context)
{
    struct bank *bank = context;
    struct request request;

    while (brood_queue_get(bank->requests, &(struct brood_space){&request, sizeof(request)}, BROOD_FOREVER) == 0) {
        bank->accounts[request.account] += request.amount;
        bank->served++;
    }
    return 0;
}

/* The others only ask. */
static int ask(void *context)
{
    const struct bank *bank = context;
    int r = 0;

    for (int i = 0; r == 0 && i < REQUESTS; i++) {
        struct request request = {.account = i % ACCOUNTS, .amount = i % 2 ? 5 : -3};

        r = brood_queue_put(bank->requests, (struct brood_bytes){&request, sizeof(request)}, BROOD_FOREVER);
    }
    return r;
}

static int let_them_ask(struct bank *bank)
{
    struct brood_thread *clerks[CLERKS] = {NULL};
    int r = 0;

    for (int i = 0; r == 0 && i < CLERKS; i++)
        r = brood_thread_start(&clerks[i], BROOD_THREAD(.run = ask, .context = bank));
    for (int i = 0; i < CLERKS; i++)
        brood_thread_closep(&clerks[i]); /* waits for it */
    return r;
}

int main(void)
{
    brood_auto(queue) *requests = NULL;
    brood_auto(thread) *owner = NULL;
    struct bank bank = {.served = 0};
    long sum = 0;

    int r = brood_queue_open(&requests, BROOD_QUEUE(.bound = 64));
    bank.requests = requests;
    if (r == 0)
        r = brood_thread_start(&owner, BROOD_THREAD(.run = serve, .context = &bank, .name = "owner"));
    if (r == 0)
        r = let_them_ask(&bank);
    if (r == 0)
        r = brood_queue_shutdown(requests, false); /* what is there is served */
    if (r == 0)
        r = brood_thread_join(owner, BROOD_FOREVER);
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }
    for (int i = 0; i < ACCOUNTS; i++)
        sum += bank.accounts[i];
    printf("%ld requests served, and the accounts add up to %ld\n", bank.served, sum);
    return bank.served == CLERKS * REQUESTS && sum == CLERKS * REQUESTS ? 0 : 1;
}
