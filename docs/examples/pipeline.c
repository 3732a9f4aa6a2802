/* pipeline.c - a producer and a consumer with room for one message between them, guarded by two locks: each releases the
 * lock that the other one waits for. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <brood.h>

#define MESSAGES 10
#define SENTINEL (-1) /* tells the consumer that this was all */

struct pipeline {
    int message;
    struct brood_lock empty, full; /* free when the place is empty, and when it is full; zeroed: free */
    long sent, received;
};

static void set_message(struct pipeline *pipeline, int message)
{
    if (brood_lock_acquire(&pipeline->empty, BROOD_FOREVER) < 0)
        return;
    pipeline->message = message;
    brood_lock_release(&pipeline->full);
}

static int get_message(struct pipeline *pipeline)
{
    int message;

    if (brood_lock_acquire(&pipeline->full, BROOD_FOREVER) < 0)
        return SENTINEL;
    message = pipeline->message;
    brood_lock_release(&pipeline->empty);
    return message;
}

static int produce(void *context)
{
    struct pipeline *pipeline = context;

    for (int i = 0; i < MESSAGES; i++) {
        int message = 1 + rand() % 100;

        brood_log(BROOD_LOG_INFO, "got message %d", message);
        pipeline->sent += message;
        set_message(pipeline, message);
    }
    set_message(pipeline, SENTINEL);
    return 0;
}

static int consume(void *context)
{
    struct pipeline *pipeline = context;

    for (int message; (message = get_message(pipeline)) != SENTINEL;) {
        brood_log(BROOD_LOG_INFO, "storing message %d", message);
        pipeline->received += message;
    }
    return 0;
}

int main(void)
{
    static struct pipeline pipeline;
    brood_auto(thread) *producer = NULL, *consumer = NULL;
    int r;

    brood_log_to(STDOUT_FILENO, BROOD_LOG_INFO);
    r = brood_lock_acquire(&pipeline.full, BROOD_NOW); /* there is no message yet */
    if (r == 0)
        r = brood_thread_start(&consumer, BROOD_THREAD(.run = consume, .context = &pipeline, .name = "Consumer"));
    if (r == 0)
        r = brood_thread_start(&producer, BROOD_THREAD(.run = produce, .context = &pipeline, .name = "Producer"));
    if (r == 0)
        r = brood_thread_join(consumer, BROOD_FOREVER);
    if (r < 0)
        fprintf(stderr, "%s\n", brood_error());
    return r == 0 && pipeline.sent == pipeline.received ? 0 : 1;
}
