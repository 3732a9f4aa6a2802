/* threads_or_processes.c - the same program over workers of each kind: only `.kind` differs. */
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#include <brood.h>

struct place {
    pid_t pid;
    int worker;
};

BROOD_TASK(where, int, struct place)
{
    (void)arg;
    *result = (struct place){getpid(), brood_worker_id()};
    return 0;
}

static int ask(const char *name, enum brood_kind kind, struct place *ret_place)
{
    struct brood_pool *pool = NULL;

    int r = brood_pool_open(&pool, BROOD_POOL(.kind = kind, .workers = 3));
    if (r == 0)
        r = brood_apply(pool, where, ret_place, &(int){0});
    if (r < 0)
        fprintf(stderr, "%s: %s\n", name, brood_error());
    else
        printf("%s: worker %d, in %s process\n", name, ret_place->worker, ret_place->pid == getpid() ? "this" : "another");

    int closed = brood_pool_close(pool, brood_after_ms(5000)); /* 0: everything had finished */
    return r < 0 ? r : closed;
}

int main(void)
{
    struct place processes, threads, caller;

    if (ask("processes", BROOD_PROCESSES, &processes) < 0 || ask("threads", BROOD_THREADS, &threads) < 0 ||
        ask("inline", BROOD_INLINE, &caller) < 0)
        return 1;
    return processes.pid != getpid() && threads.pid == getpid() && caller.pid == getpid() ? 0 : 1;
}
