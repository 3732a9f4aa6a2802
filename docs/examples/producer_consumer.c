/* producer_consumer.c - a producer fills a queue until an event tells it to stop, and puts an empty message as the last
 * one; a consumer empties the queue up to that, the sentinel.  Both are processes, and would be the same as threads. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <brood.h>

struct plant {
    struct brood_queue *queue;
    struct brood_event *stop; /* in memory that both have */
};

/* Messages from a network that never ends. */
static int produce(void *context)
{
    const struct plant *plant = context;
    int message, r = 0;

    while (r == 0 && !brood_event_is_set(plant->stop)) {
        message = 1 + rand() % 100;
        r = brood_queue_put(plant->queue, (struct brood_bytes){&message, sizeof(message)}, BROOD_FOREVER);
    }
    brood_log(BROOD_LOG_INFO, "received the event, exiting");
    return r < 0 ? r : brood_queue_put(plant->queue, (struct brood_bytes){NULL, 0}, BROOD_FOREVER);
}

static int consume(void *context)
{
    const struct plant *plant = context;
    int message, messages = 0;

    for (;;) {
        struct brood_space space = {&message, sizeof(message)};

        if (brood_queue_get(plant->queue, &space, BROOD_FOREVER) < 0 || space.len == 0)
            break; /* the sentinel: no more will come */
        messages++;
    }
    brood_log(BROOD_LOG_INFO, "stored %d messages, %zu are left, exiting", messages, brood_queue_size(plant->queue));
    return messages > 0 ? 0 : 1;
}

int main(void)
{
    brood_auto(queue) *queue = NULL;
    struct plant plant = {.stop =
                              mmap(NULL, sizeof(*plant.stop), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)};
    brood_auto(process) *producer = NULL, *consumer = NULL;
    int status = -1;

    if (plant.stop == MAP_FAILED || brood_queue_open(&queue, BROOD_QUEUE(.bound = 10)) < 0)
        return 1;
    plant.queue = queue;
    brood_log_to(STDOUT_FILENO, BROOD_LOG_INFO);
    int r = brood_process_start(&producer, BROOD_PROCESS(.run = produce, .context = &plant, .name = "Producer"));
    if (r == 0)
        r = brood_process_start(&consumer, BROOD_PROCESS(.run = consume, .context = &plant, .name = "Consumer"));

    usleep(100000); /* the main program's own work */
    brood_log(BROOD_LOG_INFO, "about to set the event");
    brood_event_set(plant.stop);
    if (r == 0)
        r = brood_process_join(consumer, BROOD_FOREVER);
    if (r == 0)
        r = brood_process_status(consumer, &status);
    if (r < 0)
        fprintf(stderr, "%s\n", brood_error());
    return r == 0 && status == 0 ? 0 : 1;
}
