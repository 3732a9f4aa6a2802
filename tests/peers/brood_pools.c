/* brood_pools.c - the experiments of python_pools.py with brood: what happens when something dies, and how soon it is
 * known.
 *
 *     brood_pools [--resident-mib N] [EXPERIMENT...]
 *
 * Prints a line (of a Markdown table) for each, with the median and the slowest of some rounds; exits with 1 if an outcome
 * is not what docs/reliability.md promises.  Times are for reading: no time makes it fail.  With --resident-mib the program
 * has so much memory in use meanwhile, in pages of 4 KiB; the experiment `replace` is made only then.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tasks.h"

enum { ROUNDS = 21, OTHERS = 20, ITEMS = 1000, MANY = 10000 };

#define PATIENCE brood_after_ms(10000) /* never, for an experiment: so long on any machine */

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- tasks: `died` is in memory of brood_alloc(), and tells the host when ---- */

struct victim {
    _Atomic int64_t *died;
    int dies_at, item; /* dies if these are equal */
};

BROOD_TASK(note_and_die, struct victim, int)
{
    *result = arg->item + 1;
    if (arg->item == arg->dies_at) {
        *arg->died = now_ns();
        raise(SIGKILL);
    }
    return 0;
}

BROOD_TASK(doze, int, int)
{
    *result = *arg;
    usleep(10000);
    return 0;
}

/* ---- what is observed ---- */

static bool failed;

/* Says what is not as promised; the experiments go on. */
static void expect(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "brood_pools: not so: %s (%s)\n", what, brood_error());
    failed = true;
}

static struct brood_pool *open_pool(struct brood_pool_options *options)
{
    struct brood_pool *pool = NULL;

    if (brood_pool_open(&pool, options) < 0) {
        fprintf(stderr, "brood_pools: open: %s\n", brood_error());
        exit(1);
    }
    return pool;
}

static int outcome_of(struct brood_future *future)
{
    expect(brood_future_wait(future, PATIENCE) == 0, "every wait ends");
    return brood_future_item(future, 0);
}

static bool works(struct brood_pool *pool)
{
    double y = 0;

    return brood_apply(pool, square, &y, &(double){3}) == 0 && y == 9;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* "12 ms": three digits at most, and the unit that fits. */
static const char *words(int64_t ns, char text[static 16])
{
    if (ns >= 1000000000)
        (void)snprintf(text, 16, "%.3g s", (double)ns / 1e9);
    else if (ns >= 1000000)
        (void)snprintf(text, 16, "%.3g ms", (double)ns / 1e6);
    else
        (void)snprintf(text, 16, "%.0f µs", (double)ns / 1e3);
    return text;
}

static void print_row(const char *about, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void print_row(const char *about, const char *format, ...)
{
    va_list arguments;

    printf("| %s | ", about);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf(" |\n");
    (void)fflush(stdout);
}

/* "12 ms (slowest 15 ms)", of what each round took. */
static const char *summary(int64_t *rounds, size_t count, char text[static 64])
{
    char median[16], slowest[16];

    qsort(rounds, count, sizeof(*rounds), by_size);
    (void)snprintf(text, 64, "%s (slowest of %zu: %s)", words(rounds[count / 2], median), count,
                   words(rounds[count - 1], slowest));
    return text;
}

/* ---- a worker dies ---- */

static int64_t kill_a_call(struct brood_pool *pool, _Atomic int64_t *died)
{
    struct brood_future *victim = NULL, *others[OTHERS];
    struct brood_death death;

    expect(brood_apply_async(pool, note_and_die, &victim, &(struct victim){.died = died}) == 0, "a call is taken");
    for (int i = 0; i < OTHERS; i++)
        expect(brood_apply_async(pool, doze, &others[i], &i) == 0, "a call is taken");
    expect(outcome_of(victim) == -EOWNERDEAD, "the call that killed its worker fails");
    int64_t took = now_ns() - *died;

    expect(brood_future_death(victim, &death) == 0 && death.signal == SIGKILL, "it is known what of");
    brood_future_free(victim);
    for (int i = 0; i < OTHERS; i++) {
        expect(outcome_of(others[i]) == 0, "all other calls are answered");
        brood_future_free(others[i]);
    }
    expect(works(pool), "the next call is answered");
    return took;
}

static void call_killed(const char *about)
{
    brood_auto(pool) *pool = open_pool(BROOD_POOL(.workers = 2));
    _Atomic int64_t *died = brood_alloc(pool, sizeof(*died));
    int64_t rounds[ROUNDS];
    char text[64];

    for (int i = 0; i < ROUNDS; i++)
        rounds[i] = kill_a_call(pool, died);
    print_row(about, "EOWNERDEAD, with pid and signal, after %s; %d of %d others answered; next call answered",
              summary(rounds, ROUNDS, text), OTHERS, OTHERS);
}

static int64_t kill_an_item(struct brood_pool *pool, _Atomic int64_t *died)
{
    static struct victim in[ITEMS];
    static int out[ITEMS];
    struct brood_future *map = NULL;
    int results = 0;

    for (int i = 0; i < ITEMS; i++)
        in[i] = (struct victim){.died = died, .item = i, .dies_at = 500};
    expect(brood_map_async(pool, note_and_die, &map, out, in, ITEMS) == 0, "a map is taken");
    expect(brood_future_wait(map, PATIENCE) == 0, "every wait ends");
    int64_t took = now_ns() - *died;

    for (size_t i = 0; i < ITEMS; i++)
        results += brood_future_item(map, i) == 0 && out[i] == (int)i + 1;
    expect(results == ITEMS - 1, "all other items have results");
    expect(brood_future_item(map, 500) == -EOWNERDEAD, "the item that killed its worker fails");
    expect(works(pool), "the next call is answered");
    brood_future_free(map);
    return took;
}

static void map_killed(const char *about)
{
    brood_auto(pool) *pool = open_pool(BROOD_POOL(.workers = 2));
    _Atomic int64_t *died = brood_alloc(pool, sizeof(*died));
    int64_t rounds[ROUNDS];
    char text[64];

    for (int i = 0; i < ROUNDS; i++)
        rounds[i] = kill_an_item(pool, died);
    print_row(about, "EOWNERDEAD for that item, the map done after %s; %d of %d results; next call answered",
              summary(rounds, ROUNDS, text), ITEMS - 1, ITEMS);
}

/* Both workers are there, and now they are not. */
static void kill_workers(struct brood_pool *pool)
{
    for (int i = 0; i < 2; i++) {
        pid_t pid = 0;

        for (int64_t began = now_ns(); pid == 0 && now_ns() - began < 10000000000; usleep(100))
            pid = brood_pool_worker_pid(pool, i);
        expect(pid != 0, "a worker that died is replaced");
        if (pid != 0)
            kill(pid, SIGKILL);
    }
}

static void idle_killed(const char *about)
{
    brood_auto(pool) *pool = open_pool(BROOD_POOL(.workers = 2));
    int64_t rounds[ROUNDS];
    char text[64];

    for (int i = 0; i < ROUNDS; i++) {
        kill_workers(pool);
        int64_t began = now_ns();

        expect(works(pool), "the next call is answered");
        rounds[i] = now_ns() - began;
    }
    print_row(about, "next call answered after %s", summary(rounds, ROUNDS, text));
}

/* ---- a worker of a large program dies ---- */

static size_t resident_mib;

static void become_large(void)
{
    size_t bytes = resident_mib << 20;
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    expect(memory != MAP_FAILED, "memory for --resident-mib");
    if (memory == MAP_FAILED)
        return;
    (void)madvise(memory, bytes, MADV_NOHUGEPAGE);
    memset(memory, 1, bytes);
}

/* Between the kill and the death the kernel takes the worker's memory down, and nobody can know of it. */
static int64_t kill_and_await_death(pid_t victim)
{
    struct pollfd death = {.fd = (int)syscall(SYS_pidfd_open, victim, 0), .events = POLLIN};
    int64_t now;

    expect(death.fd >= 0 && kill(victim, SIGKILL) == 0, "the worker can be killed");
    while (poll(&death, 1, -1) != 1)
        ;
    now = now_ns();
    (void)close(death.fd);
    return now;
}

static void await_replacement(const struct brood_pool *pool, pid_t victim)
{
    pid_t next;

    do
        next = brood_pool_worker_pid(pool, 0);
    while (next == 0 || next == victim);
}

static void replace(const char *about, int spares)
{
    brood_auto(pool) *pool = open_pool(BROOD_POOL(.workers = 1, .spares = spares));
    int64_t died[ROUNDS], told[ROUNDS], ready[ROUNDS];
    char texts[3][64];

    for (int i = 0; i < ROUNDS; i++) {
        brood_auto(future) *future = NULL;
        pid_t victim = brood_pool_worker_pid(pool, 0);
        int64_t killed, death;

        expect(brood_apply_async(pool, hang, &future, &(int){0}) == 0, "a call is submitted");
        while (!brood_future_running(future))
            usleep(100);
        usleep(100000); /* for the next spare to be there: what is measured is not a storm */
        killed = now_ns();
        death = kill_and_await_death(victim);
        expect(brood_future_wait(future, PATIENCE) == 0 && brood_future_item(future, 0) == -EOWNERDEAD, "the call fails");
        told[i] = now_ns() - death;
        await_replacement(pool, victim);
        ready[i] = now_ns() - death;
        died[i] = death - killed;
    }
    print_row(about, "dead after %s; from then on: the call has failed after %s, the next worker is ready after %s",
              summary(died, ROUNDS, texts[0]), summary(told, ROUNDS, texts[1]), summary(ready, ROUNDS, texts[2]));
}

static void replaced(const char *about)
{
    char words[128];

    if (resident_mib == 0)
        return;
    (void)snprintf(words, sizeof(words), "%s of %zu MiB is killed, no spare", about, resident_mib);
    replace(words, -1);
    (void)snprintf(words, sizeof(words), "%s of %zu MiB is killed, a spare", about, resident_mib);
    replace(words, 1);
}

/* ---- the program dies ---- */

/* A program with one worker busy for 3 s and one idle; says by a byte that it is so. */
static void be_host(int ready)
{
    struct brood_pool *pool = open_pool(BROOD_POOL(.workers = 2));
    struct brood_future *map = NULL;
    int out[1];

    if (brood_map_async(pool, hang, &map, out, &(int){0}, 1) < 0)
        _exit(1);
    while (!brood_future_running(map))
        usleep(100);
    if (write(ready, "", 1) == 1)
        pause();
    _exit(1);
}

/* Returns when nothing of the host is left: its orphans are this process's children. */
static int64_t kill_a_host(void)
{
    int ready[2], status, others = 0;
    char byte;
    pid_t host;

    expect(pipe2(ready, O_CLOEXEC) == 0, "a pipe");
    host = fork();
    if (host == 0)
        be_host(ready[1]);
    expect(read(ready[0], &byte, 1) == 1, "the host has a worker that is busy");
    close(ready[0]);
    close(ready[1]);
    int64_t began = now_ns();

    kill(host, SIGKILL);
    for (pid_t pid; (pid = waitpid(-1, &status, 0)) > 0;)
        others += pid != host;
    expect(errno == ECHILD && others > 0, "what the host had started is gone");
    return now_ns() - began;
}

static void host_killed(const char *about)
{
    int64_t rounds[ROUNDS];
    char text[64];

    prctl(PR_SET_CHILD_SUBREAPER, 1L);
    for (int i = 0; i < ROUNDS; i++)
        rounds[i] = kill_a_host();
    print_row(about, "nothing is left after %s", summary(rounds, ROUNDS, text));
}

static pid_t supervisor_of(const struct brood_pool *pool)
{
    char path[64];
    int parent = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", brood_pool_worker_pid(pool, 0));
    file = fopen(path, "re");
    expect(file && fscanf(file, "%*d (%*[^)]) %*c %d", &parent) == 1, "the supervisor is the parent of the workers");
    if (file)
        (void)fclose(file);
    return parent;
}

static int64_t kill_a_supervisor(void)
{
    struct brood_pool *pool = open_pool(BROOD_POOL(.workers = 2));
    struct brood_future *stuck = NULL;
    pid_t supervisor = supervisor_of(pool);

    expect(brood_apply_async(pool, hang, &stuck, &(int){0}) == 0, "a call is taken");
    int64_t began = now_ns();

    if (supervisor > 1)
        kill(supervisor, SIGKILL);
    expect(outcome_of(stuck) == -ESHUTDOWN, "everything unfinished fails");
    int64_t took = now_ns() - began;

    (void)brood_pool_close(pool, BROOD_NOW);
    brood_future_free(stuck);
    return took;
}

static void supervisor_killed(const char *about)
{
    int64_t rounds[ROUNDS];
    char text[64];

    for (int i = 0; i < ROUNDS; i++)
        rounds[i] = kill_a_supervisor();
    print_row(about, "ESHUTDOWN after %s", summary(rounds, ROUNDS, text));
}

/* ---- a call hangs ---- */

/* What the limit took too long, and what a kill took. */
static void stop_a_hang(struct brood_pool *pool, int64_t *ret_late, int64_t *ret_kill)
{
    struct brood_future *limited = NULL, *killed = NULL;
    int64_t began = now_ns();

    expect(brood_submit(pool, hang, &limited, BROOD_CALL(.limit_ms = 100), &(int){0}) == 0, "a call is taken");
    expect(outcome_of(limited) == -ETIMEDOUT, "a call that overruns its limit fails");
    *ret_late = now_ns() - began - 100000000;
    expect(brood_apply_async(pool, hang, &killed, &(int){0}) == 0, "a call is taken");
    while (!brood_future_running(killed))
        usleep(100);
    began = now_ns();
    expect(brood_future_kill(killed) == 0 && outcome_of(killed) == -ECANCELED, "a call that is killed fails");
    *ret_kill = now_ns() - began;
    expect(works(pool), "the next call is answered");
    brood_future_free(limited);
    brood_future_free(killed);
}

static void hang_stopped(const char *about)
{
    brood_auto(pool) *pool = open_pool(BROOD_POOL(.workers = 2));
    int64_t late[ROUNDS], kills[ROUNDS];
    char text[2][64];

    for (int i = 0; i < ROUNDS; i++)
        stop_a_hang(pool, &late[i], &kills[i]);
    print_row(about, "a limit of 100 ms: ETIMEDOUT, late by %s; brood_future_kill(): ECANCELED after %s; it alone",
              summary(late, ROUNDS, text[0]), summary(kills, ROUNDS, text[1]));
}

/* A program that ends with its pool open, and says when. */
static void be_leaving(int said)
{
    static struct brood_pool *pool; /* static: no leak, for a sanitizer */
    static struct brood_future *stuck;

    pool = open_pool(BROOD_POOL(.workers = 2));
    if (brood_apply_async(pool, hang, &stuck, &(int){0}) < 0)
        _exit(1);
    int64_t began = now_ns();

    exit(write(said, &began, sizeof(began)) != sizeof(began));
}

/* Returns when nothing of it is left. */
static int64_t let_leave(void)
{
    int64_t began = 0;
    int status, said[2];
    pid_t child;

    expect(pipe2(said, O_CLOEXEC) == 0, "a pipe");
    child = fork();
    if (child == 0)
        be_leaving(said[1]);
    expect(read(said[0], &began, sizeof(began)) == sizeof(began), "the program says when it leaves");
    close(said[0]);
    close(said[1]);
    expect(waitpid(child, &status, 0) == child && status == 0, "the program ends");
    while (waitpid(-1, &status, 0) > 0) /* supervisor and workers, as they go */
        ;
    return now_ns() - began;
}

static void program_left(const char *about)
{
    int64_t rounds[ROUNDS];
    char text[64];

    prctl(PR_SET_CHILD_SUBREAPER, 1L);
    for (int i = 0; i < ROUNDS; i++)
        rounds[i] = let_leave();
    print_row(about, "it ends, and nothing is left after %s", summary(rounds, ROUNDS, text));
}

static void sleepers_ended(const char *about)
{
    static struct brood_future *futures[MANY];
    struct brood_pool *pool = open_pool(BROOD_POOL(.workers = 2, .queue = MANY));
    char text[16];

    for (int i = 0; i < MANY; i++)
        expect(brood_apply_async(pool, hang, &futures[i], &(int){0}) == 0, "a call is taken");
    int64_t began = now_ns();

    expect(brood_pool_close(pool, BROOD_NOW) == -ETIMEDOUT, "a pool closes at once");
    int64_t took = now_ns() - began;

    for (int i = 0; i < MANY; i++) {
        expect(brood_future_item(futures[i], 0) == -ESHUTDOWN, "all calls have an outcome");
        brood_future_free(futures[i]);
    }
    print_row(about, "brood_pool_close(): %s, and all calls have an outcome", words(took, text));
}

/* ---- what is known ---- */

static int lines_in(const char *text)
{
    int lines = 0;

    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static void fault_known(const char *about)
{
    brood_auto(pool) *pool = open_pool(BROOD_POOL(.workers = 2));
    brood_auto(future) *future = NULL;
    struct brood_death death = {.backtrace = ""};
    int64_t began = now_ns();
    char text[16];

    expect(brood_apply_async(pool, touch_nothing, &future, &(int){0}) == 0, "a call is taken");
    expect(outcome_of(future) == -EOWNERDEAD, "the call that faulted fails");
    int64_t took = now_ns() - began;

    expect(brood_future_death(future, &death) == 0, "there is a certificate");
    expect(death.signal == SIGSEGV && death.fault_address == 64 && death.backtrace[0], "it has all that is known");
    print_row(about, "EOWNERDEAD after %s; signal %d, address %#llx, backtrace of %d frames, peak memory, CPU time",
              words(took, text), death.signal, (unsigned long long)death.fault_address, lines_in(death.backtrace));
}

/* Crashes, if that file is there, which gets a byte for each. */
static int crash_if_told(void *path, void **ret_state)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

    (void)ret_state;
    if (fd >= 0 && write(fd, "", 1) == 1)
        raise(SIGKILL);
    return fd < 0 ? 0 : -EIO;
}

static int bytes_in(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int bytes = fd < 0 ? -1 : (int)lseek(fd, 0, SEEK_END);

    if (fd >= 0)
        close(fd);
    return bytes;
}

static void make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    expect(fd >= 0, "a file");
    close(fd);
}

/* Workers that never start, and workers that once did. */
static void crash_at_start(const char *about, char *path)
{
    struct brood_pool_options *crashing = BROOD_POOL(.workers = 2, .initializer = crash_if_told, .context = path);
    struct brood_pool *pool = NULL;
    char open_words[16], call_words[16];
    double y;

    make_file(path);
    int64_t began = now_ns();

    expect(brood_pool_open(&pool, crashing) == -ECHILD, "the pool is not opened");
    int64_t open_took = now_ns() - began;

    unlink(path);
    pool = open_pool(crashing);
    make_file(path);
    kill_workers(pool);
    began = now_ns();
    expect(brood_apply(pool, square, &y, &(double){3}) == -ESHUTDOWN, "the pool breaks");
    int64_t call_took = now_ns() - began;

    (void)brood_pool_close(pool, BROOD_NOW);
    print_row(about,
              "at open: ECHILD after %s; later: the pool breaks after %d crashes, and the next call is ESHUTDOWN after %s",
              words(open_took, open_words), bytes_in(path), words(call_took, call_words));
    unlink(path);
}

static void start_crashed(const char *about)
{
    char folder[] = "/tmp/brood-pools-XXXXXX", path[sizeof(folder) + 8];

    expect(mkdtemp(folder), "a folder");
    (void)snprintf(path, sizeof(path), "%s/crash", folder);
    crash_at_start(about, path);
    rmdir(folder);
}

static const struct experiment {
    const char *name, *about;
    void (*run)(const char *about);
} experiments[] = {
    {"call", "a worker is killed by its call", call_killed},
    {"map", "a worker is killed by one item of a map of 1000", map_killed},
    {"idle", "both workers are killed while idle", idle_killed},
    {"replace", "a worker of a program", replaced},
    {"host", "the program is SIGKILLed in a map, one worker busy", host_killed},
    {"supervisor", "the supervisor is killed, a call is waited for", supervisor_killed},
    {"hang", "a call hangs", hang_stopped},
    {"leave", "the program ends while a call hangs", program_left},
    {"fault", "a call writes to address 0x40", fault_known},
    {"start", "workers crash when they start", start_crashed},
    {"sleepers", "a pool with 10000 sleeping calls is ended", sleepers_ended},
};

static bool is_wanted(const char *name, int argc, char **argv)
{
    bool wanted = argc < 1;

    for (int i = 0; i < argc; i++)
        wanted |= strcmp(argv[i], name) == 0;
    return wanted;
}

int main(int argc, char **argv)
{
    argc--;
    argv++;
    if (argc >= 2 && strcmp(argv[0], "--resident-mib") == 0) {
        resident_mib = strtoul(argv[1], NULL, 10);
        become_large();
        argc -= 2;
        argv += 2;
    }
    printf("brood %s, forked workers\n\n| experiment | brood |\n|---|---|\n", brood_version());
    (void)fflush(stdout);
    for (size_t i = 0; i < sizeof(experiments) / sizeof(experiments[0]); i++)
        if (is_wanted(experiments[i].name, argc, argv))
            experiments[i].run(experiments[i].about);
    return failed;
}
