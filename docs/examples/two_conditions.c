/* two_conditions.c - a ferry and the cars that it takes across: one recursive lock, and two conditions of it.  The cars
 * wait for a place, the ferry waits until it is full, and neither is woken by what concerns the other. */
#include <stdio.h>

#include <brood.h>

#define CARS 12
#define PLACES 4

static struct {
    struct brood_rlock lock;
    struct brood_condition place, full;
    int aboard, across;
} ferry;

static int has_place(void *nothing)
{
    (void)nothing;
    return ferry.aboard < PLACES;
}

static int is_full(void *nothing)
{
    (void)nothing;
    return ferry.aboard == PLACES;
}

/* The wait gives the lock back however often the caller has acquired it, and has it as often again at the end. */
static int wait_for_place(void)
{
    int r = -1;

    BROOD_WITH_RLOCK (&ferry.lock, NULL)
        r = brood_condition_wait_for(&ferry.place, has_place, NULL, brood_after_ms(5000));
    return r;
}

static int drive(void *nothing)
{
    int r = -1;

    (void)nothing;
    BROOD_WITH_RLOCK (&ferry.lock, NULL) {
        r = wait_for_place();
        if (r < 0)
            break;
        ferry.aboard++;
        if (ferry.aboard == PLACES)
            r = brood_condition_notify(&ferry.full, 1);
    }
    return r;
}

static int cross(void)
{
    int r = -1;

    BROOD_WITH_RLOCK (&ferry.lock, NULL) {
        r = brood_condition_wait_for(&ferry.full, is_full, NULL, brood_after_ms(5000));
        if (r < 0)
            break;
        ferry.across += ferry.aboard;
        ferry.aboard = 0;
        r = brood_condition_notify_all(&ferry.place);
    }
    return r;
}

int main(void)
{
    struct brood_thread *cars[CARS] = {NULL};
    int r = brood_condition_init_rlock(&ferry.place, &ferry.lock);

    if (r == 0)
        r = brood_condition_init_rlock(&ferry.full, &ferry.lock);
    for (int i = 0; r == 0 && i < CARS; i++)
        r = brood_thread_start(&cars[i], BROOD_THREAD(.run = drive));
    for (int trip = 0; r == 0 && trip < CARS / PLACES; trip++)
        r = cross();
    if (r < 0)
        fprintf(stderr, "%s\n", brood_error());
    for (int i = 0; i < CARS; i++)
        brood_thread_closep(&cars[i]); /* waits for it */
    printf("%d cars are across\n", ferry.across);
    return r == 0 && ferry.across == CARS && ferry.aboard == 0 ? 0 : 1;
}
