/* owner.c - one owner of a resource, fed by messages: no other thread touches it, so nothing has to be locked.
 *
 * The resource is a little bank.  Each of four tellers is a process with a pipe to the owner; the owner waits for all of
 * them at once, and is done when all have gone, whether they ended well or not.
 */
#include <errno.h>
#include <stdio.h>

#include <brood.h>

#define TELLERS 4
#define ACCOUNTS 8

struct transfer {
    int from, to, amount;
};

struct teller {
    struct brood_pipe *pipe;
    int number;
};

/* A teller moves money about. */
static int move_money(void *context)
{
    const struct teller *teller = context;
    int r = 0;

    for (int i = 0; r == 0 && i < 1000; i++) {
        struct transfer transfer = {(i + teller->number) % ACCOUNTS, (i * 3 + 1) % ACCOUNTS, i % 10};

        r = brood_pipe_send(teller->pipe, (struct brood_bytes){&transfer, sizeof(transfer)}, BROOD_FOREVER);
    }
    return r;
}

/* The owner: carries out what comes, from whomever, until all have gone. */
static long keep_accounts(struct brood_pipe **pipes, long *accounts)
{
    struct brood_waited tellers[TELLERS];
    bool ready[TELLERS];
    long done = 0;
    size_t left = TELLERS;

    for (int i = 0; i < TELLERS; i++)
        tellers[i] = BROOD_WAIT_PIPE(pipes[i]);
    while (left > 0 && brood_wait(tellers, left, ready, BROOD_FOREVER) > 0) {
        for (size_t i = left; i-- > 0;) {
            struct transfer transfer;
            struct brood_space space = {&transfer, sizeof(transfer)};

            if (!ready[i])
                continue;
            if (brood_pipe_recv(tellers[i].pipe, &space, BROOD_FOREVER) == 0) {
                accounts[transfer.from] -= transfer.amount;
                accounts[transfer.to] += transfer.amount;
                done++;
            } else { /* gone: -EPIPE, or killed in the middle of a message, -EBADMSG */
                tellers[i] = tellers[--left];
            }
        }
    }
    return done;
}

/* A teller keeps nothing but its own end: every other descriptor is closed in it. */
static int start(struct brood_process **ret_process, struct teller *teller)
{
    int fd = brood_pipe_fd(teller->pipe);

    return brood_process_start(ret_process, BROOD_PROCESS(.run = move_money, .context = teller, .close_fds = true,
                                                          .pass_fds = &fd, .pass_fds_count = 1));
}

int main(void)
{
    struct brood_process *processes[TELLERS] = {NULL};
    struct brood_pipe *owners[TELLERS];
    long accounts[ACCOUNTS] = {0}, done, sum = 0;

    for (int i = 0; i < TELLERS; i++) {
        struct teller teller = {.number = i};

        if (brood_pipe_open(&owners[i], &teller.pipe, BROOD_PIPE_ONE_WAY) < 0 || start(&processes[i], &teller) < 0)
            return 1;
        brood_pipe_free(teller.pipe); /* or its end would not be the end of the pipe */
    }
    done = keep_accounts(owners, accounts);
    for (int i = 0; i < TELLERS; i++) {
        brood_process_closep(&processes[i]);
        brood_pipe_free(owners[i]);
    }
    for (int i = 0; i < ACCOUNTS; i++)
        sum += accounts[i];
    printf("%ld transfers, and the accounts add up to %ld\n", done, sum);
    return done == 1000L * TELLERS && sum == 0 ? 0 : 1;
}
