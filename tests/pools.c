#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pools.h"
#include "support.h"

const char *worker_path(void)
{
    const char *path = getenv("BROOD_TEST_WORKER");

    ck_assert_msg(path != NULL, "BROOD_TEST_WORKER names the tests' worker executable");
    return path;
}

const struct worker_kind worker_kinds[WORKER_KINDS] = {
    [BY_CALLER] = {"inline", BROOD_INLINE, false},
    [BY_THREADS] = {"threads", BROOD_THREADS, false},
    [BY_FORKS] = {"processes", BROOD_PROCESSES, false},
    [BY_EXECS] = {"exec", BROOD_PROCESSES, true},
};

struct brood_pool *open_kind(int kind, struct brood_pool_options *options)
{
    struct brood_pool *pool = NULL;
    int r;

    options->kind = worker_kinds[kind].kind;
    options->worker = worker_kinds[kind].is_exec ? worker_path() : NULL;
    r = brood_pool_open(&pool, options);
    ck_assert_msg(r == 0, "%s: open: %s", worker_kinds[kind].name, brood_error());
    return pool;
}

struct brood_pool *open_processes(int kind, struct brood_pool_options *options)
{
    struct brood_pool *pool = NULL;
    int r;

    options->worker = kind == EXECED ? worker_path() : NULL;
    r = brood_pool_open(&pool, options);
    ck_assert_msg(r == 0, "open: %d %s", r, brood_error());
    return pool;
}

void expect_working(struct brood_pool *pool)
{
    double in[100], out[100];
    int r;

    for (int i = 0; i < 100; i++)
        in[i] = i;
    r = brood_map(pool, square, out, in, 100);
    ck_assert_msg(r == 0, "map: %d %s", r, brood_error());
    for (int i = 0; i < 100; i++)
        ck_assert_double_eq(out[i], in[i] * in[i]);
    ck_assert_int_eq(brood_apply(pool, square, &out[0], &(double){3}), 0);
    ck_assert_double_eq(out[0], 9);
}

int outcome_of(struct brood_future *future)
{
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    return brood_future_item(future, 0);
}

/* The parent of a worker: fields of /proc/PID/stat behind the name, which ends in the last parenthesis. */
pid_t supervisor_of(const struct brood_pool *pool)
{
    char path[64], text[512] = "";
    pid_t parent = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", brood_pool_worker_pid(pool, 0));
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
    fclose(file);
    ck_assert_int_eq(sscanf(strrchr(text, ')') + 1, " %*c %d", &parent), 1);
    return parent;
}

int children_of(pid_t parent, pid_t *ret_children, int max)
{
    char path[64];
    int count = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", parent, parent);
    file = fopen(path, "re");
    while (file && count < max && fscanf(file, "%d", &ret_children[count]) == 1)
        count++;
    if (file)
        fclose(file);
    return count;
}

/* ---- gates ---- */

struct brood_future *hold_worker(struct brood_pool *pool, const struct gate *gate)
{
    struct brood_future *future = NULL;

    ck_assert_int_eq(brood_apply_async(pool, wait_at, &future, gate), 0);
    while (!brood_future_running(future))
        rest();
    return future;
}

static const char *mark_of(const struct gate *gate, char mark[sizeof(gate->path) + 8])
{
    (void)snprintf(mark, sizeof(gate->path) + 8, "%.*s.here", (int)sizeof(gate->path), gate->path);
    return mark;
}

bool is_at_gate(const struct gate *gate)
{
    char mark[sizeof(gate->path) + 8];

    return access(mark_of(gate, mark), F_OK) == 0;
}

void open_gate(const struct gate *gate)
{
    int fd = open(gate->path, O_WRONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    close(fd);
}

void remove_gate(const struct gate *gate)
{
    char mark[sizeof(gate->path) + 8];

    ck_assert_int_eq(unlink(mark_of(gate, mark)), 0);
    ck_assert_int_eq(unlink(gate->path), 0);
}

void let_through(const struct gate *gate)
{
    open_gate(gate);
    remove_gate(gate);
}

struct gate new_gate(void)
{
    static int number;
    struct gate gate;

    (void)snprintf(gate.path, sizeof(gate.path), "/tmp/brood-door-%d-%d-%lld", getpid(), number++, (long long)now_ms());
    ck_assert_int_eq(mkfifo(gate.path, 0600), 0);
    return gate;
}

pid_t start_host(void (*be_host)(int kind, int ready), int kind)
{
    int ready[2];
    char byte;
    pid_t host;

    ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
    host = fork();
    if (host == 0)
        be_host(kind, ready[1]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return host;
}
