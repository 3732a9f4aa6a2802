/* thread_process.c - one function, run by a thread and by a process: the verbs are the same. */
#include <stdio.h>
#include <unistd.h>

#include <brood.h>

struct greeting {
    const char *to;
    int times;
};

static int greet(void *context)
{
    const struct greeting *greeting = context;

    for (int i = 0; i < greeting->times; i++)
        printf("hello %s from %s of %s\n", greeting->to, brood_thread_name(brood_thread_current()),
               brood_process_name(brood_process_current()));
    return greeting->times;
}

static int in_a_thread(struct greeting *greeting)
{
    brood_auto(thread) *thread = NULL;
    int result = 0;

    int r = brood_thread_start(&thread, BROOD_THREAD(.run = greet, .context = greeting));
    if (r == 0)
        r = brood_thread_join(thread, BROOD_FOREVER);
    if (r == 0)
        r = brood_thread_result(thread, &result);
    return r < 0 ? r : result;
}

static int in_a_process(struct greeting *greeting)
{
    brood_auto(process) *process = NULL;
    int status = 0;

    int r = brood_process_start(&process, BROOD_PROCESS(.run = greet, .context = greeting));
    if (r == 0)
        r = brood_process_join(process, brood_after_ms(10000));
    if (r == 0)
        r = brood_process_status(process, &status);
    return r < 0 ? r : status;
}

int main(void)
{
    struct greeting greeting = {.to = "world", .times = 2};
    int first = in_a_thread(&greeting), second = in_a_process(&greeting);

    if (first < 0 || second < 0)
        fprintf(stderr, "%s\n", brood_error());
    return first == 2 && second == 2 ? 0 : 1;
}
