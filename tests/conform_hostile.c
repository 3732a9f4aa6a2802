/* conform_hostile.c - a worker writes over the whole memory of its pool, or over parts of it, while the host uses the pool.
 * It may break the pool.  It can not crash the host, nor keep it waiting.
 *
 * BROOD_HOSTILE_SEEDS: how many stories of each kind are told (3).  A failure names its seed; BROOD_HOSTILE_SEED begins
 * there.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/owned.h"
#include "os/pidfd.h"
#include "pools.h"
#include "proto/header.h"
#include "support.h"
#include "tasks.h"

#define STORY_MS 60000 /* far more than a story takes, on a busy machine under a sanitizer, too */

static struct brood_pool *open_pool(int kind, int workers)
{
    return open_processes(kind, BROOD_POOL(.workers = workers, .queue = 64));
}

/* ---- it fails closed, with a reason ---- */

static const enum harm_kind whole[] = {HARM_ZEROS, HARM_ONES, HARM_NOISE};
#define WHOLE (int)(sizeof(whole) / sizeof(whole[0]))

#define CONTROL_BYTES (256u << 10) /* about the board, the stations and the lanes of a pool with a queue of 64 */

static struct harm harm_to_all(enum harm_kind how)
{
    return (struct harm){.how = (uint8_t)how, .rounds = 1, .bytes = CONTROL_BYTES, .seed = 1};
}

START_TEST(a_pool_that_was_written_over_is_broken_and_says_why)
{
    brood_auto(pool) *pool = open_pool(_i / WHOLE, 2);
    struct harm harm = harm_to_all(whole[_i % WHOLE]);
    double y;
    int done, r;

    r = brood_apply(pool, do_harm, &done, &harm);
    if (r == 0)
        r = brood_apply(pool, square, &y, &(double){3});
    ck_assert_msg(r < 0, "the pool works as if nothing had happened");
    ck_assert_int_eq(brood_apply(pool, square, &y, &(double){3}), -ESHUTDOWN);
    ck_assert_msg(strstr(brood_error(), "written over") != NULL, "%s", brood_error());
}
END_TEST

static void *wait_for_ever(void *future)
{
    return (void *)(intptr_t)brood_future_wait(future, BROOD_FOREVER);
}

START_TEST(a_thread_that_slept_when_all_was_cleared_wakes_up)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    struct brood_future *hanging, *harmed;
    struct harm harm = harm_to_all(HARM_ZEROS);
    pthread_t sleeper;
    void *woken;

    ck_assert_int_eq(brood_apply_async(pool, hang, &hanging, &(int){0}), 0);
    await(brood_future_running(hanging));
    ck_assert_int_eq(pthread_create(&sleeper, NULL, wait_for_ever, hanging), 0);
    ck_assert_int_eq(brood_apply_async(pool, do_harm, &harmed, &harm), 0);
    ck_assert_int_eq(pthread_join(sleeper, &woken), 0);
    ck_assert_int_eq((intptr_t)woken, 0);
    ck_assert_int_eq(brood_future_result(hanging, &(int){0}, sizeof(int)), -ESHUTDOWN);
    brood_future_free(hanging);
    brood_future_free(harmed);
}
END_TEST

START_TEST(a_process_id_comes_from_the_process_that_started_it)
{
    brood_auto(pool) *pool = open_pool(_i / WHOLE, 2);
    struct harm harm = harm_to_all(whole[_i % WHOLE]);

    (void)!brood_apply(pool, do_harm, &(int){0}, &harm);
    for (int i = 0; i < 2; i++) {
        pid_t pid = brood_pool_worker_pid(pool, i);

        /* -1 would be every process, and noise a number that the kernel never gives. */
        ck_assert_msg(pid >= 0 && pid <= 1 << 22, "worker %d is process %d", i, pid);
    }
}
END_TEST

/* ---- it cannot take the memory away ---- */

static int cuts(struct brood_pool *pool, pid_t process)
{
    int cut = -1;

    ck_assert_msg(brood_apply(pool, cut_segment, &cut, &process) == 0, "%s", brood_error());
    return cut;
}

START_TEST(a_worker_has_no_descriptor_to_cut_the_segment_with)
{
    brood_auto(pool) *pool = open_pool(_i, 1);

    ck_assert_int_eq(cuts(pool, 0), 0);
    expect_working(pool);
}
END_TEST

START_TEST(a_segment_cannot_be_cut_by_the_hosts_descriptor_either)
{
    brood_auto(pool) *pool = open_pool(_i, 1);

    ck_assert_int_eq(cuts(pool, getpid()), 0); /* as root it may open what the host has open */
    expect_working(pool);
}
END_TEST

/* ---- it cannot take memory that it was not given ---- */

/* Of the pool's segment and of its large results: what the kernel says that it takes. */
static uint64_t bytes_of_memfds(void)
{
    uint64_t bytes = 0;

    for (int fd = 3; fd < 1024; fd++) {
        char path[64], target[64];
        struct stat st;
        ssize_t length;

        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        length = readlink(path, target, sizeof(target) - 1);
        target[length > 0 ? length : 0] = '\0';
        if (strncmp(target, "/memfd:brood", 12) == 0 && fstat(fd, &st) == 0)
            bytes += (uint64_t)st.st_blocks * 512;
    }
    return bytes;
}

START_TEST(a_worker_that_touches_what_is_not_committed_dies_and_takes_nothing)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    brood_auto(future) *future = NULL;
    uint64_t before = bytes_of_memfds();
    struct brood_death death;

    ck_assert_uint_gt(before, 0);
    ck_assert_int_eq(brood_apply_async(pool, touch_beyond, &future, &before), 0);
    ck_assert_int_eq(brood_future_wait(future, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.signal, SIGBUS);
    ck_assert_uint_eq(bytes_of_memfds(), before);
    expect_working(pool);
}
END_TEST

/* ---- it cannot evade a kill, nor turn it on others ---- */

static bool is_busy(struct brood_pool *pool, int worker)
{
    struct brood_worker_stats stats = {.size = sizeof(stats)};

    ck_assert_int_eq(brood_pool_worker_stats(pool, worker, &stats), 0);
    return stats.busy;
}

/* One worker runs a task that never ends, and then the other one lies about its own.  Which one that is. */
static int tell_lie(struct brood_pool *pool, enum lie_kind how, struct brood_future **ret_honest,
                    struct brood_future **ret_lying)
{
    struct lie told = {.how = how};

    (void)snprintf(told.mark, sizeof(told.mark), "/tmp/b%x", (unsigned)getpid());
    ck_assert_int_eq(brood_apply_async(pool, hang, ret_honest, &(int){0}), 0);
    await(is_busy(pool, 0) || is_busy(pool, 1));
    told.other = is_busy(pool, 1);
    ck_assert_int_eq(brood_apply_async(pool, lie, ret_lying, &told), 0);
    await(access(told.mark, F_OK) == 0);
    ck_assert_int_eq(unlink(told.mark), 0);
    return 1 - (int)told.other;
}

static const enum lie_kind lies[] = {LIE_OTHER_WORKER, LIE_WAITS};
#define LIES (int)(sizeof(lies) / sizeof(lies[0]))

START_TEST(a_kill_reaches_the_worker_that_has_the_task_and_no_other_whatever_its_slot_says)
{
    brood_auto(pool) *pool = open_pool(_i / LIES, 2);
    brood_auto(future) *honest = NULL;
    brood_auto(future) *lying = NULL;
    int liar = tell_lie(pool, lies[_i % LIES], &honest, &lying);
    pid_t of_liar = brood_pool_worker_pid(pool, liar), of_other = brood_pool_worker_pid(pool, 1 - liar);

    ck_assert_msg(brood_future_kill(lying) == 0, "%s", brood_error());
    ck_assert_int_eq(brood_future_wait(lying, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_future_result(lying, &(int){0}, sizeof(int)), -ECANCELED);
    await(kill(of_liar, 0) < 0 && errno == ESRCH);
    expect_working(pool); /* its successor does, the other one being busy */
    ck_assert_int_eq(brood_pool_worker_pid(pool, 1 - liar), of_other);
    ck_assert(!brood_future_done(honest) && is_busy(pool, 1 - liar));
}
END_TEST

START_TEST(where_every_worker_denies_a_task_that_runs_the_pool_ends_with_all)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    brood_auto(future) *honest = NULL;
    brood_auto(future) *lying = NULL;
    int liar = tell_lie(pool, LIE_NOBODY, &honest, &lying);
    pid_t of_liar = brood_pool_worker_pid(pool, liar);

    ck_assert_msg(brood_future_kill(lying) == 0, "%s", brood_error());
    ck_assert_int_eq(brood_future_wait(lying, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_future_result(lying, &(int){0}, sizeof(int)), -ESHUTDOWN);
    ck_assert_ptr_nonnull(strstr(brood_error(), "written over"));
    await(kill(of_liar, 0) < 0 && errno == ESRCH);
}
END_TEST

/* ---- it has nothing of other pools ---- */

#define DESCRIPTORS 256

static bool has(struct brood_pool *pool, int fd)
{
    int has = -1;

    ck_assert_int_eq(brood_apply(pool, has_descriptor, &has, &fd), 0);
    return has != 0;
}

START_TEST(a_worker_that_inherits_the_programs_descriptors_has_none_of_another_pool)
{
    brood_auto(pool) *other = open_pool(_i / PROCESS_KINDS, 2), *pool = NULL;
    brood_auto(future) *future = NULL;
    bool is_owned[DESCRIPTORS];
    int ends[2], owned = 0;

    ck_assert_int_eq(brood_apply_async(other, square, &future, &(double){3}), 0);
    ck_assert_int_ge(brood_future_fd(future), 0);
    ck_assert_int_ge(brood_pool_fd(other), 0);
    ck_assert_int_eq(pipe(ends), 0);
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        owned += is_owned[fd] = brood__is_owned(fd);
    ck_assert_int_eq(owned, 6); /* segment, results, socket, supervisor, bell, future */
    pool = open_processes(_i % PROCESS_KINDS, BROOD_POOL(.workers = 1, .inherit_fds = true));
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        ck_assert_msg(!is_owned[fd] || !has(pool, fd), "descriptor %d is another pool's", fd);
    ck_assert(has(pool, ends[0]) && has(pool, ends[1]));
    expect_working(other);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* ---- stories: everything that a host does, while it happens ---- */

/* What is written over. */
static const struct {
    enum harm_kind how;
    uint32_t offset, bytes;
} parts[] = {
    {HARM_ZEROS, 0, CONTROL_BYTES},
    {HARM_ONES, 0, CONTROL_BYTES},
    {HARM_NOISE, 0, CONTROL_BYTES},
    {HARM_ONES, 64, sizeof(struct header) - 64},
    {HARM_NOISE, 128, sizeof(struct header) - 128},
    {HARM_FLIPS, 128, sizeof(struct header) - 128},
    {HARM_FLIPS, 0, CONTROL_BYTES},
    {HARM_FLIPS, sizeof(struct header), CONTROL_BYTES - sizeof(struct header)}, /* stations, slots, notes, maps */
    {HARM_NOISE, sizeof(struct header), CONTROL_BYTES - sizeof(struct header)},
    {HARM_ONES, sizeof(struct header), CONTROL_BYTES - sizeof(struct header)},
    {HARM_WORDS, 40960, CONTROL_BYTES - 40960},
};
#define PARTS (int)(sizeof(parts) / sizeof(parts[0]))

#define FUTURES 40
#define ITEMS 500

struct story {
    struct brood_pool *pool;
    struct brood_future *futures[FUTURES];
    struct brood_imap *imap;
    int count;
    double in[ITEMS], out[ITEMS];
    unsigned char bytes[3000];
};

static void need(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "not so: %s\n", what);
    _exit(1);
}

static void submit(struct story *story)
{
    struct brood_future **future = &story->futures[story->count];
    brood_deadline deadline = brood_after_ms(20);
    int r;

    if (story->count == FUTURES)
        return;
    if (random() % 4 == 0)
        r = brood_pool_map_async(story->pool, &square.task, future, story->out, story->in, ITEMS,
                                 BROOD_MAP(.chunk = (size_t)random() % 3));
    else if (random() % 3 == 0)
        r = brood_pool_apply_bytes_async(story->pool, &reverse.task, future,
                                         (struct brood_bytes){story->bytes, (size_t)random() % sizeof(story->bytes)},
                                         deadline);
    else if (random() % 8 == 0)
        r = brood_apply_async_until(story->pool, die_by, future, deadline, &(int){SIGSEGV});
    else
        r = brood_apply_async_until(story->pool, square, future, deadline, &(double){3});
    need(r <= 0, "a submission succeeds, or says why not");
    story->count += r == 0;
}

static void ask(struct story *story, struct brood_future *future)
{
    struct brood_death death;
    char result[4096];
    int r;

    (void)brood_future_running(future);
    r = brood_future_wait(future, brood_after_ms(random() % 3));
    need(r == 0 || r == -ETIMEDOUT || r == -EAGAIN, "a wait ends with its deadline");
    if (random() % 8 == 0)
        (void)brood_future_cancel(future);
    if (!brood_future_done(future))
        return;
    need(brood_future_result(future, result, sizeof(result)) <= 0, "an outcome is 0 or an error");
    need(brood_future_item(future, (size_t)random() % ITEMS) <= 0, "an item's outcome is 0 or an error");
    need(strlen(brood_future_error(future)) < 1024, "the words for it end");
    need(brood_future_size(future) <= 1 << 20, "a result is not larger than promised");
    if (brood_future_death(future, &death) == 0)
        need(death.worker >= 0 && death.worker < 3, "a dead worker has a number");
    (void)story;
}

/* What is not asked for the answer. */
static void meddle(struct story *story, struct brood_future *future)
{
    struct brood_pool_stats stats;

    switch (random() % 6) {
    case 0:
        (void)brood_future_kill(future);
        break;
    case 1:
        (void)!brood_pool_resize(story->pool, 1 + (int)(random() % 3));
        break;
    case 2:
        need(brood_future_fd(future) != 0, "a descriptor of a future is none of the standard ones");
        break;
    case 3:
        (void)!brood_pool_run(story->pool, brood_after_ms(1));
        break;
    case 4:
        (void)!brood_pool_stats(story->pool, &stats);
        break;
    default:
        break;
    }
}

/* Some items of it.  It is closed behind the pool: what it runs is waited for, and a slot may say for ever that it runs. */
static void follow(struct story *story)
{
    struct brood_item item;
    int r = story->imap ? 0 : brood_imap(story->pool, square, &story->imap, story->in, ITEMS, NULL);

    need(r <= 0, "a stream opens, or says why not");
    for (int i = 0; r == 0 && i < ITEMS / 2; i++) {
        r = brood_imap_next(story->imap, &item, brood_after_ms(3));
        need(r <= 0, "there is an item, or not");
        need(r < 0 || item.outcome <= 0, "its outcome is 0 or an error");
        need(r < 0 || item.outcome < 0 || item.result != NULL, "if it is 0 there is a result");
    }
}

static void do_it_harm(struct story *story, int part, uint64_t seed)
{
    struct brood_future *future;
    struct harm harm = {.how = (uint8_t)parts[part].how,
                        .rounds = (uint16_t)(1 + seed % 50),
                        .offset = parts[part].offset,
                        .bytes = parts[part].bytes,
                        .seed = seed};

    if (story->count < FUTURES && brood_apply_async_until(story->pool, do_harm, &future, brood_after_ms(20), &harm) == 0)
        story->futures[story->count++] = future;
}

static void tell(int kind, int part, uint64_t seed)
{
    struct story story = {.pool =
                              open_processes(kind, BROOD_POOL(.workers = 2, .workers_max = 3, .queue = 64, .limit_ms = 500,
                                                              .output = seed % 2 ? BROOD_OUTPUT_CAPTURE : 0,
                                                              .spares = seed % 3 == 0, .retries = seed % 5 == 0))};

    srandom((unsigned)seed);
    for (int i = 0; i < FUTURES / 2; i++) {
        submit(&story);
        if (i == 3 || i == 10)
            do_it_harm(&story, part, seed * 2 + (uint64_t)i);
        if (story.count > 0)
            ask(&story, story.futures[random() % story.count]);
        if (story.count > 0)
            meddle(&story, story.futures[random() % story.count]);
        if (i == 5 || i == 12)
            follow(&story);
    }
    (void)brood_pool_close(story.pool, random() % 2 ? BROOD_NOW : brood_after_ms(50));
    brood_imap_close(story.imap);
    for (int i = 0; i < story.count; i++) {
        need(brood_future_done(story.futures[i]), "after the close there is an outcome");
        ask(&story, story.futures[i]);
        brood_future_free(story.futures[i]);
    }
}

static void tell_and_leave(int kind, int part, uint64_t seed)
{
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    tell(kind, part, seed);
    brood_auto(pool) *pool = open_pool(kind, 1);

    expect_working(pool);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    pool = NULL;
    _exit(0);
}

static void expect_end(pid_t host, int part, uint64_t seed)
{
    int pidfd = brood__pidfd_open(host), status;
    bool late = brood__pidfd_wait(pidfd, brood_after_ms(STORY_MS)) < 0;

    if (late)
        (void)kill(host, SIGKILL);
    ck_assert_int_eq(waitpid(host, &status, 0), host);
    close(pidfd);
    ck_assert_msg(!late, "seed %llu, part %d: the host hangs", (unsigned long long)seed, part);
    ck_assert_msg(!WIFSIGNALED(status), "seed %llu, part %d: signal %d", (unsigned long long)seed, part, WTERMSIG(status));
    ck_assert_msg(WEXITSTATUS(status) == 0, "seed %llu, part %d: status %d", (unsigned long long)seed, part,
                  WEXITSTATUS(status));
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : otherwise;
}

START_TEST(a_host_outlives_what_its_workers_write)
{
    uint64_t first = number("BROOD_HOSTILE_SEED", 1), seeds = number("BROOD_HOSTILE_SEEDS", 3);

    for (uint64_t seed = first; seed < first + seeds; seed++) {
        pid_t host = fork();

        if (host == 0)
            tell_and_leave(_i / PARTS, _i % PARTS, seed);
        expect_end(host, _i % PARTS, seed);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hostile");

    add_loop_tests(suite, "broken", 0, PROCESS_KINDS * WHOLE, a_pool_that_was_written_over_is_broken_and_says_why, NULL);
    add_loop_tests(suite, "pids", 0, PROCESS_KINDS * WHOLE, a_process_id_comes_from_the_process_that_started_it, NULL);
    add_loop_tests(suite, "asleep", 0, PROCESS_KINDS, a_thread_that_slept_when_all_was_cleared_wakes_up, NULL);
    add_loop_tests(suite, "cut", 0, PROCESS_KINDS, a_worker_has_no_descriptor_to_cut_the_segment_with, NULL);
    add_loop_tests(suite, "sealed", 0, PROCESS_KINDS, a_segment_cannot_be_cut_by_the_hosts_descriptor_either, NULL);
    add_loop_tests(suite, "beyond", 0, PROCESS_KINDS, a_worker_that_touches_what_is_not_committed_dies_and_takes_nothing,
                   NULL);
    add_loop_tests(suite, "kill", 0, PROCESS_KINDS * LIES,
                   a_kill_reaches_the_worker_that_has_the_task_and_no_other_whatever_its_slot_says, NULL);
    add_loop_tests(suite, "denial", 0, PROCESS_KINDS, where_every_worker_denies_a_task_that_runs_the_pool_ends_with_all,
                   NULL);
    add_loop_tests(suite, "others", 0, PROCESS_KINDS * PROCESS_KINDS,
                   a_worker_that_inherits_the_programs_descriptors_has_none_of_another_pool, NULL);
    add_loop_tests(suite, "stories", 0, PROCESS_KINDS * PARTS, a_host_outlives_what_its_workers_write, NULL);
    return run_suite(suite);
}
