/* condition.c - a shelf with four places between a producer and two consumers: by threads, and once more by processes. */
#include <stdio.h>
#include <sys/mman.h>

#include <brood.h>

#define PLACES 4
#define ITEMS 1000

struct shelf {
    struct brood_lock lock;
    struct brood_condition filled, emptied; /* two conditions of one lock */
    int count, left;
    long sum;
    int items[PLACES];
};

static int has_place(void *context)
{
    const struct shelf *shelf = context;

    return shelf->count < PLACES;
}

static int has_news(void *context)
{
    const struct shelf *shelf = context;

    return shelf->count > 0 || shelf->left == 0;
}

static int put(struct shelf *shelf, int item)
{
    int r = -1;

    BROOD_WITH_LOCK (&shelf->lock, NULL) {
        r = brood_condition_wait_for(&shelf->emptied, has_place, shelf, brood_after_ms(5000));
        if (r < 0)
            break;
        shelf->items[shelf->count++] = item;
        shelf->left--;
        if (shelf->left > 0)
            r = brood_condition_notify(&shelf->filled, 1);
        else
            r = brood_condition_notify_all(&shelf->filled); /* the last one: let the waiters go on */
    }
    return r;
}

/* 1: there was one; 0: there will be none any more. */
static int take(struct shelf *shelf)
{
    int r = -1;

    BROOD_WITH_LOCK (&shelf->lock, NULL) {
        r = brood_condition_wait_for(&shelf->filled, has_news, shelf, brood_after_ms(5000));
        if (r < 0 || shelf->count == 0)
            break;
        shelf->sum += shelf->items[--shelf->count];
        r = brood_condition_notify(&shelf->emptied, 1);
        if (r == 0)
            r = 1;
    }
    return r;
}

static int produce(struct shelf *shelf)
{
    int r = 0;

    for (int item = 1; item <= ITEMS && r == 0; item++)
        r = put(shelf, item);
    return r;
}

static int consume(void *context)
{
    int r;

    do
        r = take(context);
    while (r == 1);
    return r;
}

static int by_threads(struct shelf *shelf)
{
    brood_auto(thread) *first = NULL, *second = NULL;
    int r = brood_thread_start(&first, BROOD_THREAD(.run = consume, .context = shelf));

    if (r == 0)
        r = brood_thread_start(&second, BROOD_THREAD(.run = consume, .context = shelf));
    return r < 0 ? r : produce(shelf); /* leaving the scope waits for both */
}

static int by_processes(struct shelf *shelf)
{
    brood_auto(process) *first = NULL, *second = NULL;
    int r = brood_process_start(&first, BROOD_PROCESS(.run = consume, .context = shelf));

    if (r == 0)
        r = brood_process_start(&second, BROOD_PROCESS(.run = consume, .context = shelf));
    return r < 0 ? r : produce(shelf);
}

static bool works(const char *kind, struct shelf *shelf, int (*run)(struct shelf *shelf))
{
    int r = 0;

    *shelf = (struct shelf){.left = ITEMS};
    r |= brood_condition_init(&shelf->filled, &shelf->lock);
    r |= brood_condition_init(&shelf->emptied, &shelf->lock);
    if (r == 0)
        r = run(shelf);
    if (r < 0)
        fprintf(stderr, "%s\n", brood_error());
    printf("sum %ld, by %s\n", shelf->sum, kind);
    return r == 0 && shelf->sum == ITEMS * (ITEMS + 1L) / 2;
}

int main(void)
{
    struct shelf *shelf = mmap(NULL, sizeof(*shelf), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (shelf == MAP_FAILED)
        return 1;
    bool threads = works("threads", shelf, by_threads);
    bool processes = works("processes", shelf, by_processes);
    return threads && processes ? 0 : 1;
}
