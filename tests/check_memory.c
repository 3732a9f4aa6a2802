/* check_memory.c - shared memory with names and without: what each process sees and may overwrite, and what is left behind. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "child.h"
#include "support.h"

#define KIB ((size_t)1 << 10)
#define PAGE (4 * KIB)

/* A name that no other test program uses at the same time. */
static const char *name_of(const char *what)
{
    static char names[4][64];
    static int next;
    char *name = names[next++ % 4];

    (void)snprintf(name, sizeof(names[0]), "test-%d-%s", getppid(), what);
    return name;
}

static const char *path_of(const char *name)
{
    static char path[300];

    (void)snprintf(path, sizeof(path), "/dev/shm/brood.%s", name);
    return path;
}

static struct brood_memory *create(const char *name, size_t bytes)
{
    struct brood_memory *memory = NULL;
    int r = brood_memory_create(&memory, name, bytes);

    ck_assert_msg(r == 0, "%s", brood_error());
    return memory;
}

static struct brood_memory *attach(const char *name)
{
    struct brood_memory *memory = NULL;
    int r = brood_memory_attach(&memory, name);

    ck_assert_msg(r == 0, "%s", brood_error());
    return memory;
}

static int try_attach(const char *name)
{
    brood_auto(memory) *memory = NULL;

    return brood_memory_attach(&memory, name);
}

/* ---- what it is ---- */

static const size_t sizes[] = {1, 100, PAGE - 1, PAGE, PAGE + 1, 1000 * KIB};
#define SIZES (int)(sizeof(sizes) / sizeof(sizes[0]))

static void fill_from_elsewhere(void *name)
{
    brood_auto(memory) *memory = attach(name);

    memset(brood_memory_address(memory), 'x', brood_memory_size(memory));
}

/* semantics: H1 */
START_TEST(two_programs_see_the_same_bytes)
{
    const char *name = name_of("seen");
    brood_auto(memory) *memory = create(name, sizes[_i]);
    const char *bytes = brood_memory_address(memory);

    ck_assert_uint_eq(brood_memory_size(memory), sizes[_i]);
    ck_assert_str_eq(brood_memory_name(memory), name);
    ck_assert_uint_eq((uintptr_t)bytes % PAGE, 0);
    for (size_t i = 0; i < sizes[_i]; i++)
        if (bytes[i] != 0)
            ck_abort_msg("byte %zu of new memory is %d", i, bytes[i]);
    in_child(fill_from_elsewhere, (void *)(uintptr_t)name);
    for (size_t i = 0; i < sizes[_i]; i++)
        if (bytes[i] != 'x')
            ck_abort_msg("byte %zu is %d", i, bytes[i]);
    ck_assert_int_eq(brood_memory_unlink(name), 0);
}
END_TEST

/* semantics: H1 H6 */
START_TEST(names_that_cannot_be_are_refused)
{
    char longest[BROOD_MEMORY_NAME_MAX + 2] = "";
    brood_auto(memory) *memory = NULL;

    ck_assert_int_eq(brood_memory_create(&memory, "", 1), -EINVAL);
    ck_assert_int_eq(brood_memory_create(&memory, "a/b", 1), -EINVAL);
    ck_assert_int_eq(brood_memory_create(&memory, "../x", 1), -EINVAL);
    ck_assert_int_eq(brood_memory_attach(&memory, NULL), -EINVAL);
    ck_assert_int_eq(brood_memory_unlink(""), -EINVAL);
    memset(longest, 'n', BROOD_MEMORY_NAME_MAX + 1);
    ck_assert_int_eq(brood_memory_create(&memory, longest, 1), -ENAMETOOLONG);
    ck_assert_int_eq(brood_memory_attach(&memory, longest), -ENAMETOOLONG);
    ck_assert_int_eq(brood_memory_unlink(longest), -ENAMETOOLONG);
    ck_assert_ptr_null(memory);
    longest[BROOD_MEMORY_NAME_MAX] = '\0';
    memory = create(longest, 1);
    ck_assert_int_eq(brood_memory_unlink(longest), 0);
}
END_TEST

/* If it were not refused, the kernel should kill this process, and no other. */
static void ask_for_more_than_there_is(void *name)
{
    brood_auto(memory) *memory = NULL;
    FILE *file = fopen("/proc/self/oom_score_adj", "we");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs("1000", file), 0);
    ck_assert_int_eq(fclose(file), 0);
    for (int shift = 45; shift >= 43; shift--) {
        ck_assert_int_eq(brood_memory_create(&memory, name, (size_t)1 << shift), -ENOMEM);
        ck_assert_ptr_nonnull(strstr(brood_error(), "no memory for"));
    }
    ck_assert_ptr_null(memory);
}

/* semantics: H1 */
START_TEST(more_than_the_machine_has_is_refused_and_kills_no_process)
{
    const char *name = name_of("giant");

    in_child(ask_for_more_than_there_is, _i == 0 ? NULL : (void *)(uintptr_t)name);
    ck_assert_int_eq(try_attach(name), -ENOENT);
}
END_TEST

/* semantics: H1 */
START_TEST(sizes_that_cannot_be_are_refused)
{
    brood_auto(memory) *memory = NULL;
    const char *name = name_of("sizes");
    struct rlimit before, little;

    ck_assert_int_eq(brood_memory_create(&memory, name, 0), -EINVAL);
    ck_assert_int_eq(brood_memory_create(&memory, name, SIZE_MAX), -EINVAL);
    ck_assert_int_eq(brood_memory_create(&memory, NULL, 0), -EINVAL);
    ck_assert_ptr_null(brood_memory_address(NULL));
    ck_assert_uint_eq(brood_memory_size(NULL), 0);
    ck_assert_str_eq(brood_memory_name(NULL), "");
    ck_assert_int_eq(brood_memory_fd(NULL), -EBADF);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    little = (struct rlimit){100 * KIB, before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
    ck_assert_int_eq(brood_memory_create(&memory, name, 200 * KIB), -EFBIG);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    ck_assert_ptr_null(memory);
    ck_assert_int_eq(try_attach(name), -ENOENT);
}
END_TEST

/* semantics: H1 H2 */
START_TEST(a_name_is_made_once_and_taken_away_once)
{
    const char *name = name_of("once");
    brood_auto(memory) *first = create(name, 100), *reader = NULL, *second = NULL;

    ck_assert_int_eq(brood_memory_create(&second, name, 100), -EEXIST);
    strcpy(brood_memory_address(first), "the first");
    reader = attach(name);
    ck_assert_int_eq(brood_memory_unlink(name), 0);
    ck_assert_int_eq(brood_memory_unlink(name), -ENOENT);
    ck_assert_int_eq(try_attach(name), -ENOENT);
    second = create(name, 200);
    ck_assert_str_eq(brood_memory_address(second), "");
    ck_assert_str_eq(brood_memory_address(reader), "the first");
    ck_assert_int_eq(brood_memory_unlink(name), 0);
}
END_TEST

/* ---- without a name ---- */

static void write_by_descriptor(void *pipe)
{
    brood_auto(memory) *memory = NULL;
    int fd;

    ck_assert_int_eq(brood_pipe_recv_fd(pipe, &fd, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_memory_from_fd(&memory, fd), 0);
    ck_assert_int_eq(fcntl(brood_memory_fd(memory), F_GETFD), FD_CLOEXEC);
    ck_assert_uint_eq(brood_memory_size(memory), 12345);
    strcpy((char *)brood_memory_address(memory) + 12000, "by descriptor");
}

START_TEST(memory_without_a_name_travels_as_a_descriptor)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    brood_auto(memory) *memory = create(NULL, 12345);
    pid_t pid;

    ck_assert_str_eq(brood_memory_name(memory), "");
    ck_assert_int_eq(brood_pipe_open(&here, &there, BROOD_PIPE_DUPLEX), 0);
    pid = spawn(write_by_descriptor, there);
    ck_assert_int_eq(brood_pipe_send_fd(here, brood_memory_fd(memory), BROOD_FOREVER), 0);
    join(pid);
    ck_assert_str_eq((char *)brood_memory_address(memory) + 12000, "by descriptor");
}
END_TEST

START_TEST(memory_without_a_name_cannot_be_cut)
{
    brood_auto(memory) *memory = create(NULL, 100 * KIB);

    ck_assert_int_eq(ftruncate(brood_memory_fd(memory), 0), -1);
    ck_assert_int_eq(errno, EPERM);
}
END_TEST

static void write_and_close(void *memory)
{
    strcpy(brood_memory_address(memory), "from the child");
    brood_memory_close(memory);
}

/* semantics: K18 */
START_TEST(children_have_it_at_the_same_address_and_do_not_end_it)
{
    brood_auto(memory) *memory = create(_i == 0 ? NULL : name_of("forked"), 100);
    brood_auto(memory) *again = NULL;

    in_child(write_and_close, memory);
    ck_assert_str_eq(brood_memory_address(memory), "from the child");
    if (_i == 0)
        return;
    again = attach(brood_memory_name(memory));
    ck_assert_str_eq(brood_memory_address(again), "from the child");
    ck_assert_int_eq(brood_memory_unlink(brood_memory_name(memory)), 0);
}
END_TEST

/* ---- strangers ---- */

static void store(const char *name, const void *bytes, size_t count, off_t size)
{
    int fd = open(path_of(name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, count), (ssize_t)count);
    ck_assert_int_eq(ftruncate(fd, size), 0);
    close(fd);
}

START_TEST(what_brood_did_not_make_is_not_attached)
{
    brood_auto(memory) *memory = NULL, *good = NULL;
    const char *name = name_of("stranger");
    char front[PAGE];
    int fd;

    store(name, "hello", 5, 5);
    ck_assert_int_eq(brood_memory_attach(&memory, name), -EINVAL);
    store(name, "hello", 5, 3 * PAGE);
    ck_assert_int_eq(brood_memory_attach(&memory, name), -EINVAL);
    store(name, "", 0, 0);
    ck_assert_int_eq(brood_memory_attach(&memory, name), -EINVAL);
    ck_assert_int_eq(brood_memory_unlink(name), 0);

    good = create(name, 10 * PAGE);
    ck_assert_int_eq(pread(brood_memory_fd(good), front, PAGE, 0), (ssize_t)PAGE);
    ck_assert_int_eq(brood_memory_unlink(name), 0);
    store(name, front, PAGE, 10 * PAGE); /* right but for its last page */
    ck_assert_int_eq(brood_memory_attach(&memory, name), -EINVAL);
    store(name, front, PAGE, 11 * PAGE); /* right, but holes: touching them could fail */
    ck_assert_int_eq(brood_memory_attach(&memory, name), -EINVAL);
    fd = open(path_of(name), O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(posix_fallocate(fd, 0, 11 * PAGE), 0);
    close(fd);
    ck_assert_int_eq(brood_memory_attach(&memory, name), 0);
    memset(brood_memory_address(memory), 1, brood_memory_size(memory));
    ck_assert_int_eq(brood_memory_unlink(name), 0);
}
END_TEST

START_TEST(what_can_only_be_read_is_not_attached)
{
    brood_auto(memory) *memory = NULL, *good = NULL;
    const char *name = name_of("readable");
    int fd;

    good = create(name, PAGE);
    fd = open(path_of(name), O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(brood_memory_unlink(name), 0);
    ck_assert_int_eq(brood_memory_from_fd(&memory, fd), -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), "only be read"));
    ck_assert_int_eq(close(fd), 0); /* it stayed the caller's */
    fd = open("/", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(brood_memory_from_fd(&memory, fd), -EINVAL);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_ptr_null(memory);
}
END_TEST

START_TEST(what_is_no_file_is_not_attached)
{
    brood_auto(memory) *memory = NULL, *good = create(name_of("good"), 1);
    const char *name = name_of("odd"), *path = path_of(name);

    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(brood_memory_attach(&memory, name), -EINVAL);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(brood_memory_attach(&memory, name), -EISDIR);
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(symlink("brood.anything", path), 0);
    ck_assert_int_eq(brood_memory_attach(&memory, name), -ELOOP);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(brood_memory_from_fd(&memory, -1), -EBADF);
    ck_assert_int_eq(brood_memory_from_fd(&memory, 0), -EINVAL);
    ck_assert_int_ge(fcntl(0, F_GETFD), 0); /* it is still the caller's */
    ck_assert_int_eq(brood_memory_unlink(brood_memory_name(good)), 0);
}
END_TEST

/* ---- deaths ---- */

static void create_and_wait(void *name)
{
    brood_auto(memory) *memory = create(name, 100 * KIB);

    strcpy(brood_memory_address(memory), "left behind");
    for (;;)
        pause();
}

static pid_t leave_behind(const char *name)
{
    pid_t pid = spawn(create_and_wait, (void *)(uintptr_t)name);

    await(access(path_of(name), F_OK) == 0);
    return pid;
}

struct finding {
    const char *name;
    struct brood_memory_stale stale;
    int count;
};

static void record_stale(void *context, const struct brood_memory_stale *stale)
{
    struct finding *finding = context;

    if (strcmp(stale->name, finding->name) != 0)
        return;
    finding->stale = *stale;
    finding->count++;
}

static struct finding sweep(const char *name, bool remove)
{
    struct finding finding = {.name = name};

    ck_assert_int_ge(brood_memory_sweep(remove, record_stale, &finding), finding.count);
    return finding;
}

/* semantics: H3 */
START_TEST(what_a_killed_creator_left_is_found_and_removed)
{
    const char *name = name_of("killed");
    pid_t pid = leave_behind(name);
    struct finding finding;

    ck_assert_int_eq(sweep(name, true).count, 0); /* it lives */
    put_to_death(pid);
    finding = sweep(name, false);
    ck_assert_int_eq(finding.count, 1);
    ck_assert_int_eq(finding.stale.creator, pid);
    ck_assert_uint_ge(finding.stale.bytes, 100 * KIB);
    ck_assert(!finding.stale.is_removed);
    finding = sweep(name, true);
    ck_assert_int_eq(finding.count, 1);
    ck_assert(finding.stale.is_removed);
    ck_assert_int_eq(try_attach(name), -ENOENT);
    ck_assert_int_eq(sweep(name, true).count, 0);
    ck_assert_int_ge(brood_memory_sweep(false, NULL, NULL), 0);
}
END_TEST

START_TEST(memory_that_a_process_still_has_is_not_stale)
{
    const char *name = name_of("inherited");
    pid_t pid = leave_behind(name);
    struct brood_memory *memory = attach(name);

    put_to_death(pid);
    ck_assert_int_eq(sweep(name, true).count, 0);
    ck_assert_str_eq(brood_memory_address(memory), "left behind");
    brood_memory_close(memory);
    ck_assert_int_eq(sweep(name, true).count, 1);
}
END_TEST

static void attach_and_exit(void *name)
{
    (void)attach(name);
}

static void attach_and_wait(void *name)
{
    brood_auto(memory) *memory = attach(name);

    strcpy(brood_memory_address(memory), "attached");
    for (;;)
        pause();
}

/* semantics: H4 */
START_TEST(a_process_that_attaches_and_leaves_takes_nothing_away)
{
    const char *name = name_of("visited");
    brood_auto(memory) *memory = create(name, 100), *again = NULL;
    pid_t pid;

    in_child(attach_and_exit, (void *)(uintptr_t)name);
    pid = spawn(attach_and_wait, (void *)(uintptr_t)name);
    await(*(volatile char *)brood_memory_address(memory) != 0);
    put_to_death(pid);
    again = attach(name);
    ck_assert_str_eq(brood_memory_address(again), "attached");
    ck_assert_int_eq(brood_memory_unlink(name), 0);
}
END_TEST

static void create_and_unlink_for_ever(void *name)
{
    die_after_us(500 + rand() % 3000);
    for (;;) {
        struct brood_memory *memory = create(name, 3 * PAGE);

        (void)brood_memory_unlink(name);
        brood_memory_close(memory);
    }
}

static bool has_ended(pid_t pid)
{
    siginfo_t info = {.si_pid = 0};

    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | WNOHANG), 0);
    return info.si_pid == pid;
}

/* At whatever instruction its creator is killed: what has the name is whole. */
START_TEST(a_name_never_stands_for_half_made_memory)
{
    const char *name = name_of("storm");
    int left = 0;

    for (int i = 0; i < 150; i++) {
        pid_t pid;

        srand((unsigned)i);
        pid = spawn(create_and_unlink_for_ever, (void *)(uintptr_t)name);
        while (!has_ended(pid)) { /* what there is while it lives; and then what it left */
            int r = try_attach(name);

            ck_assert_msg(r == 0 || r == -ENOENT, "%s", brood_error());
        }
        reap(pid);
        if (access(path_of(name), F_OK) < 0)
            continue;
        brood_memory_close(attach(name));
        ck_assert_int_eq(sweep(name, true).count, 1);
        left++;
    }
    ck_assert_int_gt(left, 0); /* or this was no storm */
}
END_TEST

static void age(const char *path)
{
    ck_assert_int_eq(utimensat(AT_FDCWD, path, (struct timespec[]){{.tv_sec = 1000000000}, {.tv_sec = 1000000000}}, 0), 0);
}

START_TEST(only_what_is_broods_is_swept)
{
    const char *name = name_of("not-broods");

    store(name, "hello", 5, 5);
    age(path_of(name));
    ck_assert_int_eq(sweep(name, true).count, 0);
    store(name, "", 0, 0); /* as a pool would leave it that was killed in the instant when its memory had a name */
    ck_assert_int_eq(sweep(name, true).count, 0);
    age(path_of(name));
    ck_assert_int_eq(sweep(name, true).count, 1);
    ck_assert_int_eq(access(path_of(name), F_OK), -1);
}
END_TEST

/* ---- attaching while another process removes it ---- */

struct attacher {
    const char *name;
    pthread_t thread;
    struct brood_memory *memory;
    int r;
    char words[200];
};

static void *attach_in_a_thread(void *argument)
{
    struct attacher *attacher = argument;

    attacher->r = brood_memory_attach(&attacher->memory, attacher->name);
    (void)snprintf(attacher->words, sizeof(attacher->words), "%s", attacher->r < 0 ? brood_error() : "");
    return NULL;
}

/* How many descriptors of this process are of the file? */
static int descriptors_of(const char *name)
{
    struct stat file, one;
    int count = 0;

    ck_assert_int_eq(stat(path_of(name), &file), 0);
    for (int fd = 0; fd < 256; fd++)
        count += fstat(fd, &one) == 0 && one.st_dev == file.st_dev && one.st_ino == file.st_ino;
    return count;
}

/* As a sweeper does; then a thread has the file open, and waits for the lock. */
static int begin_removal(struct attacher *attacher)
{
    int fd = open(path_of(attacher->name), O_RDWR | O_CLOEXEC);

    ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
    ck_assert_int_eq(pthread_create(&attacher->thread, NULL, attach_in_a_thread, attacher), 0);
    await(descriptors_of(attacher->name) == 2);
    return fd;
}

static void end_removal(struct attacher *attacher, int fd)
{
    close(fd);
    ck_assert_int_eq(pthread_join(attacher->thread, NULL), 0);
}

START_TEST(an_attach_during_a_removal_finds_nothing)
{
    struct attacher attacher = {.name = name_of("removed")};
    int fd;

    brood_memory_close(create(attacher.name, PAGE));
    fd = begin_removal(&attacher);
    ck_assert_int_eq(brood_memory_unlink(attacher.name), 0);
    end_removal(&attacher, fd);
    ck_assert_int_eq(attacher.r, -ENOENT);
    ck_assert_ptr_nonnull(strstr(attacher.words, "has just been removed"));
    ck_assert_ptr_null(attacher.memory);
}
END_TEST

START_TEST(an_attach_during_a_removal_that_is_given_up_succeeds)
{
    struct attacher attacher = {.name = name_of("kept")};
    int fd;

    brood_memory_close(create(attacher.name, PAGE));
    fd = begin_removal(&attacher);
    end_removal(&attacher, fd);
    ck_assert_msg(attacher.r == 0, "%s", attacher.words);
    brood_memory_close(attacher.memory);
    ck_assert_int_eq(brood_memory_unlink(attacher.name), 0);
}
END_TEST

/* Its remover is stopped, say. */
START_TEST(an_attach_waits_for_a_removal_for_a_second_at_most)
{
    struct attacher attacher = {.name = name_of("being-removed")};
    int64_t began = now_ms();
    int fd;

    brood_memory_close(create(attacher.name, PAGE));
    fd = begin_removal(&attacher);
    ck_assert_int_eq(pthread_join(attacher.thread, NULL), 0);
    ck_assert_int_eq(attacher.r, -EBUSY);
    ck_assert_ptr_nonnull(strstr(attacher.words, "is being removed"));
    ck_assert_int_ge(now_ms() - began, 990);
    close(fd);
    ck_assert_int_eq(brood_memory_unlink(attacher.name), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory");

    add_loop_tests(suite, "sizes", 0, SIZES, two_programs_see_the_same_bytes, NULL);
    add_loop_tests(suite, "too large", 0, 2, more_than_the_machine_has_is_refused_and_kills_no_process, NULL);
    add_tests(suite, "names", names_that_cannot_be_are_refused, sizes_that_cannot_be_are_refused,
              a_name_is_made_once_and_taken_away_once, NULL);
    add_tests(suite, "without a name", memory_without_a_name_travels_as_a_descriptor, memory_without_a_name_cannot_be_cut,
              NULL);
    add_loop_tests(suite, "forks", 0, 2, children_have_it_at_the_same_address_and_do_not_end_it, NULL);
    add_tests(suite, "strangers", what_brood_did_not_make_is_not_attached, what_can_only_be_read_is_not_attached,
              what_is_no_file_is_not_attached, NULL);
    add_tests(suite, "deaths", what_a_killed_creator_left_is_found_and_removed,
              memory_that_a_process_still_has_is_not_stale, a_process_that_attaches_and_leaves_takes_nothing_away,
              a_name_never_stands_for_half_made_memory, only_what_is_broods_is_swept, NULL);
    add_tests(suite, "removals", an_attach_during_a_removal_finds_nothing,
              an_attach_during_a_removal_that_is_given_up_succeeds, an_attach_waits_for_a_removal_for_a_second_at_most,
              NULL);
    return run_suite(suite);
}
