/* queue_priority.c - three named workers serve one priority queue: the most urgent job is always next. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <brood.h>

struct job {
    int level;
    char words[40];
};

static void serve(struct brood_queue *queue, const char *name)
{
    struct job job;

    for (;;) {
        struct brood_space space = {&job, sizeof(job)};

        if (brood_queue_get(queue, &space, BROOD_FOREVER) == -ESHUTDOWN)
            break;
        printf("%s: level %d, %s\n", name, job.level, job.words);
        brood_queue_task_done(queue);
    }
    brood_queue_close(queue);
}

static int put_job(struct brood_queue *queue, int level, const char *words)
{
    struct job job = {.level = level};

    strncpy(job.words, words, sizeof(job.words) - 1);
    return brood_queue_put_priority(queue, (struct brood_bytes){&job, sizeof(job)}, level, BROOD_FOREVER);
}

int main(void)
{
    static const char *const names[] = {"Anna", "Bert", "Cleo"};
    brood_auto(queue) *queue = NULL;

    if (brood_queue_open(&queue, BROOD_QUEUE(.kind = BROOD_PRIORITY, .joinable = true)) < 0)
        return 1;
    put_job(queue, 5, "tidy up");
    put_job(queue, 1, "put out the fire");
    put_job(queue, 3, "answer the letter");

    for (int i = 0; i < 3; i++) {
        if (fork() == 0) {
            serve(queue, names[i]);
            fflush(stdout);
            _exit(0);
        }
    }
    int r = brood_queue_join(queue, BROOD_FOREVER); /* -EOWNERDEAD: a worker died with a job */
    brood_queue_shutdown(queue, false);
    while (wait(NULL) > 0)
        ;
    return r == 0 ? 0 : 1;
}
