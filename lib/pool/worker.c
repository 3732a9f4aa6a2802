#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <brood/worker.h>

#include "os/fence.h"
#include "os/process.h"
#include "pool/serve.h"
#include "pool/task.h"
#include "pool/worker.h"

/* Its own lane is touched all the time, and each first touch of a page would cost a fault. */
static void prefault(const struct shared *shared, unsigned worker)
{
    const struct lane *lane = &shared->lanes[worker];
    const char *base = shared->segment.base;

    brood__segment_prefault(&shared->segment, 0, sizeof(struct board));
    brood__segment_prefault(&shared->segment, (size_t)((char *)lane->slots - base), (lane->mask + 2) * sizeof(struct slot));
    brood__segment_prefault(&shared->segment, (size_t)((char *)lane->station - base), sizeof(struct station));
}

static int join_fence(const struct board *board)
{
    if (board->fence_symmetric) {
        brood__fence_make_symmetric();
        return 0;
    }
    return brood__fence_open() ? 0 : brood_fail(-EPERM, "membarrier(2) works in the host and is denied to the worker");
}

void brood__worker_give_up(struct station *station, int error)
{
    atomic_store(&station->error, error);
    brood__station_set_state(station, STATION_FAILED);
}

/* It keeps the memory, and loses the descriptor, by which it could take the memory away from the host. */
static int confine(struct shared *shared, struct sandbox *sandbox)
{
    if (!sandbox->flags)
        return 0;
    if (shared->segment.fd >= 0)
        (void)close(shared->segment.fd);
    shared->segment.fd = -1;
    return brood__sandbox_enter(sandbox);
}

int brood__worker_run(struct shared *shared, unsigned worker, struct sandbox *sandbox)
{
    struct station *station = shared->lanes[worker].station;
    struct server server;
    int r = join_fence(shared->board);

    if (r == 0)
        r = brood__server_open(&server, shared, worker, true);
    if (r == 0) {
        prefault(shared, worker);
        /* A child that a task forks gets none of this: it can not answer in the worker's place. */
        (void)madvise(shared->segment.base, shared->segment.reserved, MADV_DONTFORK);
        r = confine(shared, sandbox);
    }
    if (r < 0) {
        brood__worker_give_up(station, -r);
        return r;
    }
    brood__station_set_state(station, STATION_READY);
    brood__parker_wake(&shared->board->parkers[0]);
    brood__serve(&server);
    brood__server_close(&server);
    (void)fflush(stdout);
    return 0;
}

/* ---- exec'ed workers ---- */

static int complain(const char *program, int status)
{
    (void)fprintf(stderr, "%s: %s\n", program, brood_error());
    return status;
}

static bool parse_environment(int *ret_fd, unsigned *ret_worker, struct sandbox *ret_sandbox)
{
    const char *text = getenv(WORKER_ENVIRONMENT);
    int end = 0;

    *ret_sandbox = SANDBOX_NONE;
    if (!text || sscanf(text, "%d:%u%n", ret_fd, ret_worker, &end) != 2)
        return false;
    if (text[end] != '\0' && (text[end] != ':' || !brood__sandbox_read(ret_sandbox, text + end + 1)))
        return false;
    return fcntl(*ret_fd, F_SETFD, FD_CLOEXEC) == 0;
}

int brood_worker_main(int argc, char **argv)
{
    const char *program = argc > 0 && argv[0] ? argv[0] : "worker";
    struct shared shared;
    struct sandbox sandbox;
    unsigned worker;
    int fd;

    if (!parse_environment(&fd, &worker, &sandbox)) {
        (void)fprintf(stderr,
                      "%s: this is a worker of a brood pool, which starts it: "
                      "brood_pool_open(&pool, BROOD_POOL(.worker = \"%s\"))\n",
                      program, program);
        return 2;
    }
    (void)unsetenv(WORKER_ENVIRONMENT); /* not for what a task may start */
    if (brood__tasks_check() < 0)
        return complain(program, 1);
    int r = brood__shared_attach(&shared, fd);

    if (r < 0)
        return complain(program, r == -EPROTO ? WORKER_EXIT_PROTOCOL : 1);
    if (worker >= shared.workers)
        return 2;
    r = brood__worker_run(&shared, worker, &sandbox);
    brood__shared_close(&shared);
    return r < 0 ? complain(program, 1) : 0;
}
