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

#include "os/exit_hook.h"
#include "os/fence.h"
#include "os/memory_group.h"
#include "os/options.h"
#include "os/process_attributes.h"
#include "os/role.h"
#include "proto/depth.h"
#include "proto/task.h"
#include "worker/certificate_writer.h"
#include "worker/server.h"
#include "worker/worker.h"

/* The worker uses its own lane all the time, and the first access to each page would cost a fault. */
static void lane_prefault(const struct shared *shared, unsigned worker)
{
    const struct lane *lane = &shared->lanes[worker];
    const char *base = shared->segment.base;

    brood__segment_prefault(&shared->segment, (size_t)((char *)lane->slots - base),
                            lane_depth_at_first(lane) * sizeof(struct slot));
    brood__segment_prefault(&shared->segment, (size_t)((char *)lane->worker_state - base), sizeof(struct worker_state));
}

static int fence_join(const struct header *header)
{
    if (header->fence_symmetric) {
        brood__fence_make_symmetric();
        return 0;
    }
    return brood__fence_open() ? 0 : brood_fail(-EPERM, "membarrier(2) works in the host and is denied to the worker");
}

/* The message goes into the certificate: a worker that was never ready does not need that for a task. */
void brood__worker_give_up(struct shared *shared, unsigned worker, int error, const char *message)
{
    struct worker_state *worker_state = shared->lanes[worker].worker_state;
    struct certificate *certificate =
        brood__certificate(shared, atomic_load_explicit(&worker_state->certificate, memory_order_relaxed));

    brood__assert_worker();
    brood__assert(worker < shared->workers);
    if (certificate)
        (void)snprintf(certificate->backtrace, sizeof(certificate->backtrace), "%s", message);
    atomic_store_explicit(&worker_state->error, error, memory_order_relaxed);
    brood__worker_set_phase(worker_state, PHASE_FAILED);
}

/* Enters the sandbox; a second call does nothing.  The worker keeps the memory mapped and closes its descriptor, by
 * which it could truncate the memory under the host. */
static int worker_confine(struct shared *shared, struct sandbox *sandbox)
{
    if (!sandbox->flags)
        return 0;
    if (shared->segment.fd >= 0)
        (void)close(shared->segment.fd);
    shared->segment.fd = -1;
    brood__large_close(&shared->large); /* with this descriptor the worker could take more memory than its limit */
    int r = sandbox->memory_bytes > 0 ? brood__memory_group_enter(sandbox->memory_bytes) : 0;

    return r < 0 ? r : brood__sandbox_enter(sandbox);
}

/* The part of the preparation that does not depend on the worker's number.  Calling it twice is harmless. */
static int worker_prepare(struct shared *shared)
{
    brood__limit_listen();
    brood__segment_prefault(&shared->segment, 0, sizeof(struct header));
    (void)brood__server_dies_with_supervisor(shared); /* an executable, or its main(), may have changed the user */
    /* A child that a task forks must not answer in the worker's place. */
    (void)madvise(shared->segment.base, shared->segment.reserved, MADV_DONTFORK);
    brood__hold_keep(shared->hold);
    brood__depth_set_process(shared->header);
    return fence_join(shared->header);
}

/* The result of the program's initializer. */
struct init_result {
    void *state;
    int result;
    char message[256];
};

/* Runs the program's initializer.  Processes that it forks do not inherit brood's memory.  The sandbox is entered before
 * it or after it, as the options say. */
static void initializer_run(struct server *server, struct sandbox *sandbox, const struct hooks *hooks,
                            struct init_result *ret_result)
{
    int r = brood__sandbox_is_early(sandbox) ? worker_confine(server->shared, sandbox) : 0;

    brood__sandbox_count_threads(sandbox);
    ret_result->result = r == 0 ? brood__server_begin(server, hooks) : r;
    ret_result->state = server->state;
    (void)snprintf(ret_result->message, sizeof(ret_result->message), "%s", brood_error());
    (void)brood__server_dies_with_supervisor(server->shared); /* it may have given up the rights of its user */
}

/* Receives the worker number; UINT_MAX: this standby is not needed. */
static unsigned assignment_receive(const struct shared *shared, int assignment)
{
    uint32_t number = UINT32_MAX;
    ssize_t length;

    do
        length = recv(assignment, &number, sizeof(number), 0);
    while (length < 0 &&
           /* reset: the supervisor has closed the socket with our message unread; its own message may still be there */
           (errno == EINTR || errno == ECONNRESET));
    (void)close(assignment);
    return length == sizeof(number) && number < shared->workers ? number : UINT_MAX;
}

/* A standby prepares as far as it can without a number, then waits for its assignment.  If the initializer has failed,
 * it reports that as the assigned worker.  A standby that is not needed ends in good order. */
static unsigned assignment_await(struct shared *shared, int assignment, struct sandbox *sandbox, const struct hooks *hooks,
                                 struct init_result *ret_result)
{
    struct server unassigned = {.shared = shared, .worker = UINT_MAX};
    unsigned worker;
    char suffix[16];

    if (worker_prepare(shared) < 0)
        _exit(1);
    brood__certificate_writer_prepare(); /* a sandbox may forbid it later */
    initializer_run(&unassigned, sandbox, hooks, ret_result);
    /* tells the supervisor that the standby has begun, so that a later death is not its own fault */
    (void)send(assignment, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    worker = assignment_receive(shared, assignment);
    if (worker == UINT_MAX) {
        if (ret_result->result == 0)
            brood__server_end(&unassigned, hooks);
        (void)fflush(stdout);
        brood__exit_hook();
        _exit(0);
    }
    (void)snprintf(suffix, sizeof(suffix), "%u", worker);
    brood__process_set_name(shared->header->name, suffix);
    return worker;
}

static int worker_begin(struct server *server, struct sandbox *sandbox, const struct init_result *init_result)
{
    lane_prefault(server->shared, server->worker);
    server->state = init_result->state;
    atomic_store_explicit(&server->lane->worker_state->is_refused, init_result->result < 0, memory_order_relaxed);
    return init_result->result < 0 ? brood_fail(init_result->result, "%s", init_result->message)
                                   : worker_confine(server->shared, sandbox);
}

/* Tasks that arrive now are left to other workers: the finalizer may take long. */
static void worker_end(struct server *server, const struct hooks *hooks)
{
    if (hooks->finalizer) {
        brood__unavailable_enter(server->shared->header, server->worker);
        (void)brood__idle_wake_any(server->shared, server->lane->worker_state);
    }
    brood__server_end(server, hooks);
    brood__server_close(server);
    (void)fflush(stdout); /* no process is left to which the worker could report a failure */
    (void)fflush(stderr);
}

int brood__worker_run(struct shared *shared, unsigned worker, int assignment, struct sandbox *sandbox,
                      const struct hooks *hooks)
{
    struct server server;
    struct init_result init_result;
    int r;

    brood__assert_worker();
    if (assignment >= 0)
        worker = assignment_await(shared, assignment, sandbox, hooks, &init_result);
    brood__assert(worker < shared->workers);
    r = worker_prepare(shared);

    if (r == 0)
        r = brood__server_open(&server, shared, worker, true);
    if (r == 0 && assignment < 0)
        initializer_run(&server, sandbox, hooks, &init_result);
    if (r == 0)
        r = worker_begin(&server, sandbox, &init_result);
    if (r < 0) {
        brood__worker_give_up(shared, worker, -r, brood_error());
        return r;
    }
    /* the worker's age does not include the initializer */
    brood__recycling_open(&server.recycling, shared->header, worker);
    brood__worker_set_phase(shared->lanes[worker].worker_state, PHASE_READY);
    brood__parker_wake(&shared->header->parkers[0]);
    brood__serve(&server);
    if (!server.scales_down)
        brood__worker_set_phase(server.lane->worker_state, PHASE_LEFT);
    worker_end(&server, hooks);
    return 0;
}

/* ---- exec'ed workers ---- */

static int error_print(const char *program, int status)
{
    (void)fprintf(stderr, "%s: %s\n", program, brood_error());
    return status;
}

struct environment {
    int fd, large, hold,
        /* of the segment, of large results (proto/large_result.h), of the hold page (proto/hold.h), and the standby's
         * socket, or -1 */
        assignment;
    unsigned worker;
    struct sandbox sandbox;
};

/* -1 means no descriptor, and is valid. */
static bool fd_close_at_exec(int fd)
{
    return fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

static bool environment_parse(struct environment *ret)
{
    const char *text = getenv(WORKER_ENVIRONMENT);
    int end = 0;

    *ret = (struct environment){.assignment = -1, .sandbox = SANDBOX_NONE};
    if (!text || (sscanf(text, "%d:%d:%d:%u%n", &ret->fd, &ret->large, &ret->hold, &ret->worker, &end) != 4 &&
                  sscanf(text, "%d:%d:%d:s%d%n", &ret->fd, &ret->large, &ret->hold, &ret->assignment, &end) != 4))
        return false;
    if (text[end] != '\0' && (text[end] != ':' || !brood__sandbox_read(&ret->sandbox, text + end + 1)))
        return false;
    return fd_close_at_exec(ret->fd) && fd_close_at_exec(ret->large) && fd_close_at_exec(ret->hold) &&
           fd_close_at_exec(ret->assignment);
}

static int hooks_read(struct hooks *ret_hooks, const struct brood_worker_options *given)
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
    struct environment environment;

    if (!environment_parse(&environment)) {
        (void)fprintf(stderr,
                      "%s: this is a worker of a brood pool, which starts it: "
                      "brood_pool_open(&pool, BROOD_POOL(.worker = \"%s\"))\n",
                      program, program);
        return 2;
    }
    brood__role = ROLE_WORKER;
    (void)unsetenv(WORKER_ENVIRONMENT); /* processes that a task starts must not see it */
    if (brood__tasks_check() < 0 || hooks_read(&hooks, options) < 0)
        return error_print(program, 1);
    int r = brood__shared_attach(&shared, environment.fd);

    if (r < 0)
        return error_print(program, r == -EPROTO ? WORKER_EXIT_PROTOCOL : 1);
    if (environment.assignment < 0 && environment.worker >= shared.workers)
        return 2;
    brood__large_attach(&shared.large, environment.large);
    if (brood__hold_attach(&shared.hold, environment.hold) < 0)
        return error_print(program, 1);
    r = brood__worker_run(&shared, environment.worker, environment.assignment, &environment.sandbox, &hooks);
    brood__shared_close(&shared);
    return r < 0 ? error_print(program, 1) : 0;
}
