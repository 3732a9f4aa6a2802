/* queue_priority.c - three named threads serve one priority queue: the most urgent word is always next. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <brood.h>

#define THREADS 3
#define WORDS 5

struct job {
    int level;
    char word[16];
};

/* Returns how many words there were; they were all in the queue before, so that to each thread they come in order. */
static int process_data(void *context)
{
    const char *name = brood_thread_name(brood_thread_current());
    int processed = 0, last = 0;
    struct job job;

    while (brood_queue_get(context, &(struct brood_space){&job, sizeof(job)}, BROOD_FOREVER) == 0) {
        printf("%s processing %s, level %d\n", name, job.word, job.level);
        if (job.level <= last)
            return brood_fail(-EBADMSG, "%s came after level %d", job.word, last);
        last = job.level;
        processed++;
        brood_queue_task_done(context);
    }
    printf("Exiting %s\n", name);
    return processed;
}

static int put_job(struct brood_queue *queue, const char *word, int level)
{
    struct job job = {.level = level};

    strncpy(job.word, word, sizeof(job.word) - 1);
    return brood_queue_put_priority(queue, (struct brood_bytes){&job, sizeof(job)}, level, BROOD_FOREVER);
}

static int join(struct brood_thread *thread)
{
    int result = 0, r = brood_thread_join(thread, BROOD_FOREVER);

    if (r == 0)
        r = brood_thread_result(thread, &result);
    brood_thread_free(thread);
    return r < 0 ? r : result;
}

int main(void)
{
    static const char *const names[THREADS] = {"Thread-1", "Thread-2", "Thread-3"};
    static const char *const words[WORDS] = {"One", "Two", "Three", "Four", "Five"};
    struct brood_thread *threads[THREADS];
    brood_auto(queue) *queue = NULL;
    int processed = 0;

    if (brood_queue_open(&queue, BROOD_QUEUE(.kind = BROOD_PRIORITY, .bound = 10, .joinable = true)) < 0)
        return 1;
    for (int i = WORDS; i-- > 0;) /* the least urgent first */
        put_job(queue, words[i], i + 1);
    for (int i = 0; i < THREADS; i++)
        if (brood_thread_start(&threads[i], BROOD_THREAD(.run = process_data, .context = queue, .name = names[i])) < 0)
            return 1;
    int r = brood_queue_join(queue, brood_after_ms(5000)); /* until all words are done */
    brood_queue_shutdown(queue, false);                    /* a consumer that waits for another one returns */
    for (int i = 0; i < THREADS; i++)
        processed += join(threads[i]);
    return r == 0 && processed == WORDS ? 0 : 1;
}
