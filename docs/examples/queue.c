/* queue.c - a producer and two consumers, three processes; an empty message for each consumer says that there is no more.
 */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <brood.h>

#define CONSUMERS 2
#define MESSAGES 1000

static void produce(struct brood_queue *queue)
{
    for (long i = 1; i <= MESSAGES; i++)
        brood_queue_put(queue, (struct brood_bytes){&i, sizeof(i)}, BROOD_FOREVER);
    for (int i = 0; i < CONSUMERS; i++)
        brood_queue_put(queue, (struct brood_bytes){NULL, 0}, BROOD_FOREVER);
}

static long consume(struct brood_queue *queue)
{
    long message, sum = 0;

    for (;;) {
        struct brood_space space = {&message, sizeof(message)};

        if (brood_queue_get(queue, &space, BROOD_FOREVER) < 0 || space.len == 0)
            return sum;
        sum += message;
    }
}

int main(void)
{
    brood_auto(queue) *queue = NULL;
    brood_auto(queue) *sums = NULL;
    long total = 0, sum;

    if (brood_queue_open(&queue, BROOD_QUEUE(.bound = 64)) < 0 || brood_queue_open(&sums, NULL) < 0)
        return 1;
    for (int i = 0; i < CONSUMERS; i++) {
        if (fork() == 0) {
            sum = consume(queue);
            brood_queue_put(sums, (struct brood_bytes){&sum, sizeof(sum)}, BROOD_FOREVER);
            brood_queue_close(queue);
            _exit(0);
        }
    }
    produce(queue);
    for (int i = 0; i < CONSUMERS; i++) {
        struct brood_space space = {&sum, sizeof(sum)};

        brood_queue_get(sums, &space, BROOD_FOREVER);
        total += sum;
    }
    while (wait(NULL) > 0)
        ;
    printf("sum %ld\n", total);
    return total == MESSAGES * (MESSAGES + 1L) / 2 ? 0 : 1;
}
