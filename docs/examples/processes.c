/* processes.c - what a program can ask about its child processes, and do to them.  One is terminated, one ends when an
 * event says so, and a wait for both tells which was first. */
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <brood.h>

struct shared {
    struct brood_event started, end; /* zeroed: not set */
};

static int work(void *context)
{
    struct shared *shared = context;

    brood_event_set(&shared->started);
    int r = brood_event_wait(&shared->end, BROOD_FOREVER);
    return r < 0 ? r : 7;
}

/* Starts a child, and waits until its function runs. */
static int start(struct brood_process **ret_process, struct shared *shared, const char *name)
{
    brood_event_clear(&shared->started);
    int r = brood_process_start(ret_process, BROOD_PROCESS(.run = work, .context = shared, .name = name, .daemon = 1));
    return r < 0 ? r : brood_event_wait(&shared->started, brood_after_ms(5000));
}

/* Waits for the first of two to end, and says how it did. */
static int first_end(struct brood_process **two)
{
    struct brood_waited ends[] = {BROOD_WAIT_FD(brood_process_sentinel(two[0])),
                                  BROOD_WAIT_FD(brood_process_sentinel(two[1]))};
    bool ended[2];
    int status = 0;

    int r = brood_wait(ends, 2, ended, brood_after_ms(5000));
    if (r < 0)
        return r;
    struct brood_process *first = ended[0] ? two[0] : two[1];
    r = brood_process_status(first, &status); /* 0 … 255, or minus the signal that killed it */
    printf("%s has ended first: %d\n", brood_process_name(first), status);
    return r < 0 ? r : status;
}

int main(void)
{
    struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct brood_process *two[2] = {NULL, NULL};
    int status = 0;

    if (shared == MAP_FAILED || start(&two[0], shared, "patient") < 0 || start(&two[1], shared, "restless") < 0)
        return 1;
    printf("%s is process %d, alive: %d\n", brood_process_name(two[0]), (int)brood_process_pid(two[0]),
           brood_process_is_alive(two[0]));

    brood_process_terminate(two[1]);
    bool first = first_end(two) == -SIGTERM && brood_process_is_alive(two[0]) == 1;
    brood_event_set(&shared->end);
    int r = brood_process_join(two[0], brood_after_ms(5000));
    if (r == 0)
        r = brood_process_status(two[0], &status);
    printf("%s has ended then: %d, alive: %d\n", brood_process_name(two[0]), status, brood_process_is_alive(two[0]));
    for (int i = 0; i < 2; i++)
        brood_process_closep(&two[i]);
    return r == 0 && first && status == 7 ? 0 : 1;
}
