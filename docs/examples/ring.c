/* ring.c - a producer and a consumer, two processes, and a queue between them that survives the death of either. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <brood.h>

#define SLOTS 64
#define MESSAGES 1000

enum { PARENT = 1, CHILD = 2 }; /* owner numbers: one for each process that uses the ring */

static void produce(struct brood_ring *ring)
{
    for (long i = 1; i <= MESSAGES; i++)
        while (brood_ring_put(ring, CHILD, &i) == -EAGAIN) /* full */
            sched_yield();
}

static long consume(struct brood_ring *ring)
{
    long message, sum = 0;

    for (int got = 0; got < MESSAGES;) {
        if (brood_ring_get(ring, PARENT, &message) == 0) {
            sum += message;
            got++;
        } else { /* empty */
            sched_yield();
        }
    }
    brood_ring_done(ring, PARENT);
    return sum;
}

int main(void)
{
    size_t bytes = brood_ring_bytes(SLOTS, sizeof(long));
    struct brood_ring *ring = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (ring == MAP_FAILED || brood_ring_init(ring, SLOTS, sizeof(long)) < 0)
        return 1;
    pid_t child = fork();
    if (child == 0) {
        produce(ring);
        _exit(0);
    }
    long sum = consume(ring);
    waitpid(child, NULL, 0);
    printf("sum %ld\n", sum);
    return sum == MESSAGES * (MESSAGES + 1L) / 2 ? 0 : 1;
}
