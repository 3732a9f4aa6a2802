/* condition.c - a shelf with four places between a producer and two consumers, all of them processes. */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

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
            r = brood_condition_notify_all(&shelf->filled); /* the last one: who waits shall go */
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

int main(void)
{
    struct shelf *shelf = mmap(NULL, sizeof(*shelf), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int r = 0, status, failed = 0;

    if (shelf == MAP_FAILED || brood_condition_init(&shelf->filled, &shelf->lock) < 0 ||
        brood_condition_init(&shelf->emptied, &shelf->lock) < 0)
        return 1;
    shelf->left = ITEMS;
    for (int i = 0; i < 2; i++) {
        if (fork() == 0) {
            do
                r = take(shelf);
            while (r == 1);
            _exit(r == 0 ? 0 : 1);
        }
    }
    for (int item = 1; item <= ITEMS && r == 0; item++)
        r = put(shelf, item);
    while (wait(&status) > 0)
        failed += status != 0;
    printf("sum %ld\n", shelf->sum);
    return r == 0 && failed == 0 && shelf->sum == ITEMS * (ITEMS + 1L) / 2 ? 0 : 1;
}
