/* permits.c - six processes start together, and no more than two of them are in the workshop at a time. */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <brood.h>

#define PROCESSES 6
#define PERMITS 2

struct workshop {
    struct brood_event open; /* zeroed: not set */
    struct brood_semaphore permits;
    struct brood_rlock lock; /* zeroed: free */
    int inside, most, visits;
};

static void note(struct workshop *shop, int change)
{
    BROOD_WITH_RLOCK (&shop->lock, NULL) {
        shop->inside += change;
        if (shop->inside > shop->most)
            shop->most = shop->inside;
    }
}

/* The lock is acquired once more in note(). */
static void enter(struct workshop *shop)
{
    BROOD_WITH_RLOCK (&shop->lock, NULL) {
        note(shop, 1);
        shop->visits++;
    }
}

static int visit(struct workshop *shop)
{
    int r = brood_event_wait(&shop->open, brood_after_ms(5000));

    if (r == 0)
        r = brood_semaphore_acquire(&shop->permits, BROOD_FOREVER);
    if (r < 0)
        return r;
    enter(shop);
    note(shop, -1);
    return brood_semaphore_release(&shop->permits, 1);
}

int main(void)
{
    struct workshop *shop = mmap(NULL, sizeof(*shop), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status, failed = 0;

    if (shop == MAP_FAILED || brood_semaphore_init(&shop->permits, PERMITS, PERMITS) < 0)
        return 1;
    for (int i = 0; i < PROCESSES; i++)
        if (fork() == 0)
            _exit(visit(shop) == 0 ? 0 : 1);
    brood_event_set(&shop->open);
    while (wait(&status) > 0)
        failed += status != 0;
    printf("%d visits, at most %d at a time\n", shop->visits, shop->most);
    return failed == 0 && shop->visits == PROCESSES && shop->most <= PERMITS ? 0 : 1;
}
