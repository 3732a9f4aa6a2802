/* queue.c - a producer and two consumers, three processes; an empty message for each consumer says that there is no more.
 */
#include <stdio.h>

#include <brood.h>

#define CONSUMERS 2
#define MESSAGES 1000

struct queues {
    struct brood_queue *messages, *sums;
};

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

static int tell_sum(void *context)
{
    const struct queues *queues = context;
    long sum = consume(queues->messages);

    return brood_queue_put(queues->sums, (struct brood_bytes){&sum, sizeof(sum)}, BROOD_FOREVER);
}

int main(void)
{
    brood_auto(queue) *queue = NULL, *sums = NULL;
    brood_auto(process) *first = NULL, *second = NULL;
    struct queues queues;
    long total = 0, sum;

    if (brood_queue_open(&queue, BROOD_QUEUE(.bound = 64)) < 0 || brood_queue_open(&sums, NULL) < 0)
        return 1;
    queues = (struct queues){queue, sums};
    int r = brood_process_start(&first, BROOD_PROCESS(.run = tell_sum, .context = &queues));
    if (r == 0)
        r = brood_process_start(&second, BROOD_PROCESS(.run = tell_sum, .context = &queues));
    if (r == 0)
        produce(queue);
    else
        brood_queue_shutdown(queue, true);
    for (int i = 0; r == 0 && i < CONSUMERS; i++) {
        r = brood_queue_get(sums, &(struct brood_space){&sum, sizeof(sum)}, BROOD_FOREVER);
        total += sum;
    }
    printf("sum %ld\n", total);
    return total == MESSAGES * (MESSAGES + 1L) / 2 ? 0 : 1;
}
