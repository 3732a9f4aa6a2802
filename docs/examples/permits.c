/* permits.c - a bounded semaphore around what is scarce: six threads, and once more six processes, start together, and no
 * more than two of them are in the workshop at a time. */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include <brood.h>

#define VISITORS 6
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

static int visit(void *context)
{
    struct workshop *shop = context;
    int r = brood_event_wait(&shop->open, brood_after_ms(5000));

    if (r == 0)
        r = brood_semaphore_acquire(&shop->permits, BROOD_FOREVER);
    if (r < 0)
        return r;
    enter(shop);
    note(shop, -1);
    return brood_semaphore_release(&shop->permits, 1);
}

static int by_threads(struct workshop *shop)
{
    struct brood_thread *visitors[VISITORS] = {NULL};
    int r = 0;

    for (int i = 0; r == 0 && i < VISITORS; i++)
        r = brood_thread_start(&visitors[i], BROOD_THREAD(.run = visit, .context = shop));
    brood_event_set(&shop->open);
    for (int i = 0; i < VISITORS; i++)
        brood_thread_closep(&visitors[i]); /* waits for it */
    return r;
}

static int by_processes(struct workshop *shop)
{
    struct brood_process *visitors[VISITORS] = {NULL};
    int r = 0;

    for (int i = 0; r == 0 && i < VISITORS; i++)
        r = brood_process_start(&visitors[i], BROOD_PROCESS(.run = visit, .context = shop));
    brood_event_set(&shop->open);
    for (int i = 0; i < VISITORS; i++)
        brood_process_closep(&visitors[i]);
    return r;
}

static bool works(const char *kind, struct workshop *shop, int (*run)(struct workshop *shop))
{
    int r;

    *shop = (struct workshop){0};
    r = brood_semaphore_init(&shop->permits, PERMITS, PERMITS);
    if (r == 0)
        r = run(shop);
    if (r < 0)
        fprintf(stderr, "%s\n", brood_error());
    printf("%d visits by %s, at most %d at a time\n", shop->visits, kind, shop->most);
    return r == 0 && shop->visits == VISITORS && shop->most <= PERMITS &&
           brood_semaphore_release(&shop->permits, 1) == -EOVERFLOW; /* all permits are back, and one more is an error */
}

int main(void)
{
    struct workshop *shop = mmap(NULL, sizeof(*shop), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (shop == MAP_FAILED)
        return 1;
    bool threads = works("threads", shop, by_threads);
    bool processes = works("processes", shop, by_processes);
    return threads && processes ? 0 : 1;
}
