/* threads.c - what a program can ask about its threads: their names, which are alive, which are daemons. */
#include <stdio.h>
#include <string.h>

#include <brood.h>

#define ROOM 8

static struct brood_event end; /* zeroed: not set */

static int wait_for_end(void *nothing)
{
    (void)nothing;
    int r = brood_event_wait(&end, brood_after_ms(5000));
    printf("%s: is over\n", brood_thread_name(brood_thread_current()));
    return r < 0 ? r : 7;
}

/* Returns how many are alive: the main thread is one of them. */
static int list(void)
{
    struct brood_thread *threads[ROOM];
    int n = brood_thread_enumerate(threads, ROOM);

    for (int i = 0; i < n && i < ROOM; i++) {
        printf("%s: thread %d%s%s\n", brood_thread_name(threads[i]), (int)brood_thread_native_id(threads[i]),
               brood_thread_is_daemon(threads[i]) ? ", a daemon" : "",
               threads[i] == brood_thread_current() ? ", which says this" : "");
        brood_thread_free(threads[i]);
    }
    return n;
}

int main(void)
{
    brood_auto(thread) *first = NULL, *second = NULL, *daemon = NULL;
    int result = 0;

    int r = brood_thread_start(&first, BROOD_THREAD(.run = wait_for_end)); /* "Thread-1" */
    if (r == 0)
        r = brood_thread_start(&second, BROOD_THREAD(.run = wait_for_end, .name = "my_service"));
    if (r == 0)
        r = brood_thread_start(&daemon, BROOD_THREAD(.run = wait_for_end, .name = "background", .daemon = 1));
    if (r == 0)
        r = brood_thread_set_name(first, "worker");
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }
    int listed = list(), alive = brood_thread_is_alive(first);
    bool named = strcmp(brood_thread_name(first), "worker") == 0 && brood_thread_is_daemon(daemon);

    brood_event_set(&end);
    brood_thread_join(first, BROOD_FOREVER);
    brood_thread_join(second, BROOD_FOREVER);
    brood_thread_join(daemon, BROOD_FOREVER); /* at its end the program would not have waited for this one */
    r = brood_thread_result(first, &result);
    printf("%s: alive before %d and now %d, result %d; %d is left\n", brood_thread_name(first), alive,
           brood_thread_is_alive(first), result, brood_thread_count());
    return r == 0 && named && listed == 4 && alive == 1 && brood_thread_is_alive(first) == 0 && result == 7 &&
                   brood_thread_count() == 1
               ? 0
               : 1;
}
