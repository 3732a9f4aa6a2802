#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <brood/worker.h>

#include "os/fence.h"
#include "os/goodbye.h"
#include "os/options.h"
#include "os/process.h"
#include "pool/serve.h"
#include "pool/task.h"
#include "pool/worker.h"

/* Its own lane is touched all the time, and each first touch of a page would cost a fault. */
static void prefault(const struct shared *shared, unsigned worker)
{
    const struct lane *lane = &shared->lanes[worker];
    const char *base = shared->segment.base;

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

/* In its certificate, since whoever was never ready will not die of a task. */
void brood__worker_give_up(struct shared *shared, unsigned worker, int error, const char *words)
{
    struct station *station = shared->lanes[worker].station;
    struct certificate *certificate = brood__certificate(shared, atomic_load(&station->certificate));

    if (certificate)
        (void)snprintf(certificate->backtrace, sizeof(certificate->backtrace), "%s", words);
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
    brood__spill_close(&shared->spill); /* with it, it could take more memory than it may have */
    return brood__sandbox_enter(sandbox);
}

/* What is the same for every number.  To do it twice does no harm. */
static int prepare(struct shared *shared)
{
    brood__segment_prefault(&shared->segment, 0, sizeof(struct board));
    (void)brood__server_outlives_nobody(shared); /* an executable, or its main(), may have changed the user */
    /* A child that a task forks gets none of this: it can not answer in the worker's place. */
    (void)madvise(shared->segment.base, shared->segment.reserved, MADV_DONTFORK);
    brood__depth_set(shared->board);
    return join_fence(shared->board);
}

/* What the program's initializer has made, or why it has not. */
struct outfit {
    void *state;
    int result;
    char words[256];
};

/* The program's initializer, with brood's memory out of reach of what it may fork, and before the walls are up. */
static void equip(struct server *server, const struct hooks *hooks, struct outfit *ret_outfit)
{
    ret_outfit->result = brood__server_begin(server, hooks);
    ret_outfit->state = server->state;
    (void)snprintf(ret_outfit->words, sizeof(ret_outfit->words), "%s", brood_error());
    (void)brood__server_outlives_nobody(server->shared); /* it may have given up the rights of its user */
}

/* UINT_MAX: it will have none. */
static unsigned receive_number(const struct shared *shared, int orders)
{
    uint32_t number = UINT32_MAX;
    ssize_t length;

    do
        length = recv(orders, &number, sizeof(number), 0);
    while (length < 0 &&
           (errno == EINTR || errno == ECONNRESET)); /* reset: it was closed with our word unread; its may be here */
    (void)close(orders);
    return length == sizeof(number) && number < shared->workers ? number : UINT_MAX;
}

/* A spare does all that a worker does before it serves, and waits to be told which worker it shall be.  If the initializer
 * has failed it says so as that worker.  Who is not needed ends in good order. */
static unsigned stand_by(struct shared *shared, int orders, const struct hooks *hooks, struct outfit *ret_outfit)
{
    struct server nobody = {.shared = shared, .worker = UINT_MAX};
    unsigned worker;
    char suffix[16];

    if (prepare(shared) < 0)
        _exit(1);
    equip(&nobody, hooks, ret_outfit);
    (void)send(orders, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT); /* it has begun: what kills it now is somebody else */
    worker = receive_number(shared, orders);
    if (worker == UINT_MAX) {
        if (ret_outfit->result == 0)
            brood__server_end(&nobody, hooks);
        (void)fflush(stdout);
        brood__goodbye();
        _exit(0);
    }
    (void)snprintf(suffix, sizeof(suffix), "%u", worker);
    brood__process_set_name(shared->board->name, suffix);
    return worker;
}

static int begin(struct server *server, struct sandbox *sandbox, const struct outfit *outfit)
{
    prefault(server->shared, server->worker);
    server->state = outfit->state;
    atomic_store(&server->lane->station->is_refused, outfit->result < 0);
    return outfit->result < 0 ? brood_fail(outfit->result, "%s", outfit->words) : confine(server->shared, sandbox);
}

/* What comes meanwhile is somebody else's: the finalizer may take its time. */
static void end(struct server *server, const struct hooks *hooks)
{
    if (hooks->finalizer) {
        brood__away_enter(server->shared->board, server->worker);
        (void)brood__idle_wake_any(server->shared);
    }
    brood__server_end(server, hooks);
    brood__server_close(server);
    (void)fflush(stdout); /* if that fails, there is nobody to tell */
    (void)fflush(stderr);
}

int brood__worker_run(struct shared *shared, unsigned worker, int orders, struct sandbox *sandbox,
                      const struct hooks *hooks)
{
    struct server server;
    struct outfit outfit;
    int r;

    if (orders >= 0)
        worker = stand_by(shared, orders, hooks, &outfit);
    r = prepare(shared);

    if (r == 0)
        r = brood__server_open(&server, shared, worker, true);
    if (r == 0 && orders < 0)
        equip(&server, hooks, &outfit);
    if (r == 0)
        r = begin(&server, sandbox, &outfit);
    if (r < 0) {
        brood__worker_give_up(shared, worker, -r, brood_error());
        return r;
    }
    brood__station_set_state(shared->lanes[worker].station, STATION_READY);
    brood__parker_wake(&shared->board->parkers[0]);
    brood__serve(&server);
    end(&server, hooks);
    return 0;
}

/* ---- exec'ed workers ---- */

static int complain(const char *program, int status)
{
    (void)fprintf(stderr, "%s: %s\n", program, brood_error());
    return status;
}

struct instruction {
    int fd, spill, orders; /* of the segment, and see shm/spill.h; -1 for who has a number already */
    unsigned worker;
    struct sandbox sandbox;
};

/* -1 is none, and fine. */
static bool ends_at_exec(int fd)
{
    return fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

static bool parse_environment(struct instruction *ret)
{
    const char *text = getenv(WORKER_ENVIRONMENT);
    int end = 0;

    *ret = (struct instruction){.orders = -1, .sandbox = SANDBOX_NONE};
    if (!text || (sscanf(text, "%d:%d:%u%n", &ret->fd, &ret->spill, &ret->worker, &end) != 3 &&
                  sscanf(text, "%d:%d:s%d%n", &ret->fd, &ret->spill, &ret->orders, &end) != 3))
        return false;
    if (text[end] != '\0' && (text[end] != ':' || !brood__sandbox_read(&ret->sandbox, text + end + 1)))
        return false;
    return ends_at_exec(ret->fd) && ends_at_exec(ret->spill) && ends_at_exec(ret->orders);
}

static int take_hooks(struct hooks *ret_hooks, const struct brood_worker_options *given)
{
    struct brood_worker_options options = {.size = sizeof(options)};
    int r = brood__options(&options, sizeof(options), given, "BROOD_WORKER");

    *ret_hooks = (struct hooks){options.initializer, options.finalizer, options.context};
    return r;
}

int brood_worker_main(int argc, char **argv)
{
    return brood_worker_main_with(argc, argv, NULL);
}

int brood_worker_main_with(int argc, char **argv, const struct brood_worker_options *options)
{
    struct hooks hooks;
    const char *program = argc > 0 && argv[0] ? argv[0] : "worker";
    struct shared shared;
    struct instruction told;

    if (!parse_environment(&told)) {
        (void)fprintf(stderr,
                      "%s: this is a worker of a brood pool, which starts it: "
                      "brood_pool_open(&pool, BROOD_POOL(.worker = \"%s\"))\n",
                      program, program);
        return 2;
    }
    (void)unsetenv(WORKER_ENVIRONMENT); /* not for what a task may start */
    if (brood__tasks_check() < 0 || take_hooks(&hooks, options) < 0)
        return complain(program, 1);
    int r = brood__shared_attach(&shared, told.fd);

    if (r < 0)
        return complain(program, r == -EPROTO ? WORKER_EXIT_PROTOCOL : 1);
    if (told.orders < 0 && told.worker >= shared.workers)
        return 2;
    brood__spill_attach(&shared.spill, told.spill);
    r = brood__worker_run(&shared, told.worker, told.orders, &told.sandbox, &hooks);
    brood__shared_close(&shared);
    return r < 0 ? complain(program, 1) : 0;
}
