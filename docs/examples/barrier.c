/* barrier.c - four processes average their neighbours' numbers, step by step, and none is ahead of the others. */
#include <stdio.h>
#include <sys/mman.h>

#include <brood.h>

#define PARTIES 4
#define STEPS 200

struct ring {
    struct brood_barrier barrier;
    int now; /* which of the two rows is read */
    double rows[2][PARTIES];
};

struct party {
    struct ring *ring;
    int me;
};

/* Called by the last one to come, before any of them goes on. */
static int turn_over(void *context)
{
    struct ring *ring = context;

    ring->now = 1 - ring->now;
    return 0;
}

static int relax(void *context)
{
    const struct party *party = context;
    struct ring *ring = party->ring;
    int me = party->me;

    for (int step = 0; step < STEPS; step++) {
        const double *old = ring->rows[ring->now];
        int r;

        ring->rows[1 - ring->now][me] = (old[(me + PARTIES - 1) % PARTIES] + old[me] + old[(me + 1) % PARTIES]) / 3;
        r = brood_barrier_wait_with(&ring->barrier, turn_over, ring, brood_after_ms(5000));
        if (r < 0)
            return r; /* a party does not come: it is broken for all */
    }
    return 0;
}

int main(void)
{
    struct ring *ring = mmap(NULL, sizeof(*ring), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct brood_process *processes[PARTIES] = {NULL};
    int r = 0;

    if (ring == MAP_FAILED || brood_barrier_init(&ring->barrier, PARTIES) < 0)
        return 1;
    ring->rows[0][0] = 100;
    for (int me = 0; r == 0 && me < PARTIES; me++)
        r = brood_process_start(&processes[me],
                                BROOD_PROCESS(.run = relax, .context = &(struct party){.ring = ring, .me = me}));
    if (r < 0)
        brood_barrier_abort(&ring->barrier); /* no thread shall wait for those that could not start */
    for (int me = 0; me < PARTIES; me++)
        brood_process_closep(&processes[me]); /* waits for it */
    for (int i = 0; i < PARTIES; i++)
        printf("%.3f ", ring->rows[ring->now][i]);
    printf("\n");
    return !brood_barrier_is_broken(&ring->barrier) && ring->rows[ring->now][2] > 24.9 ? 0 : 1;
}
