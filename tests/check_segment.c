/* check_segment.c - shared memory: what it is made of, and that a lack of it is an error in words and never a signal.
 *
 * The tests with a /dev/shm of their own need a mount namespace: of root, or of a user namespace.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "child.h"
#include "shm/segment.h"

#define PAGE ((size_t)4096)
#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

static struct segment open_kind(enum segment_kind kind, size_t reserve, size_t commit)
{
    struct segment segment;
    int r = brood__segment_open(&segment, kind, reserve, commit);

    ck_assert_msg(r == 0, "open: %d: %s", r, brood_error());
    ck_assert_ptr_nonnull(segment.base);
    ck_assert_uint_ge(segment.committed, commit);
    ck_assert_uint_ge(segment.reserved, segment.committed);
    return segment;
}

static struct segment open_segment(bool shared, size_t reserve, size_t commit)
{
    return open_kind(shared ? SEGMENT_SHARED : SEGMENT_PRIVATE, reserve, commit);
}

static void expect_words(const char *words)
{
    ck_assert_msg(strstr(brood_error(), words) != NULL, "'%s' is not in: %s", words, brood_error());
}

/* -1 where there is none. */
static int lowest_free_descriptor(void)
{
    int fd = dup(STDERR_FILENO);

    if (fd >= 0)
        close(fd);
    return fd;
}

static void expect_no_segment(int error, const char *words, bool shared, size_t reserve, size_t commit)
{
    struct segment segment = {.base = NULL, .reserved = 1, .committed = 2, .fd = 3};
    int free_before = lowest_free_descriptor();

    ck_assert_int_eq(brood__segment_open(&segment, shared, reserve, commit), error);
    ck_assert(!segment.base && segment.reserved == 1 && segment.committed == 2 && segment.fd == 3); /* untouched */
    ck_assert_int_eq(lowest_free_descriptor(), free_before);
    expect_words(words);
}

/* Reads, then writes one byte of every committed page from `from` on: zero before, `value` after.  What is not there is
 * SIGBUS.  (A check writes a line to a file even when it holds: too dear for a loop.) */
static void touch(const struct segment *segment, size_t from, char value)
{
    for (size_t at = from; at < segment->committed; at += PAGE) {
        if (segment->base[at] != 0)
            ck_abort_msg("byte %zu is not zero", at);
        segment->base[at] = value;
    }
}

static void expect_bytes(const struct segment *segment, size_t until, char value)
{
    for (size_t at = 0; at < until; at += PAGE)
        if (segment->base[at] != value)
            ck_abort_msg("byte %zu has changed", at);
}

static struct stat look_at(const struct segment *segment)
{
    struct stat st;

    ck_assert_int_eq(fstat(segment->fd, &st), 0);
    return st;
}

/* Of which kind is the file?  The kernel tells by the name that it had. */
static bool was_named(const struct segment *segment, const char *prefix)
{
    char path[64], target[128];
    ssize_t length;

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", segment->fd);
    length = readlink(path, target, sizeof(target) - 1);
    ck_assert_int_gt(length, 0);
    target[length] = '\0';
    return strncmp(target, prefix, strlen(prefix)) == 0;
}

static bool is_shm(const struct segment *segment)
{
    return was_named(segment, "/dev/shm/"); /* of a file that never had a name: "#" and its inode */
}

static bool is_memfd(const struct segment *segment)
{
    return was_named(segment, "/memfd:brood");
}

static int names_in_shm(void)
{
    DIR *directory = opendir("/dev/shm");
    int count = 0;

    for (struct dirent *entry; directory && (entry = readdir(directory)) != NULL;)
        count += entry->d_name[0] != '.';
    if (directory)
        closedir(directory);
    return count;
}

/* ---- what it is ---- */

static const bool kinds[] = {false, true};
#define KINDS (int)(sizeof(kinds) / sizeof(kinds[0]))

START_TEST(a_segment_is_zeroed_and_can_be_written)
{
    struct segment segment = open_segment(kinds[_i], 16 * MIB, 3 * MIB);

    ck_assert_uint_eq(segment.committed, 3 * MIB);
    ck_assert_uint_eq(segment.reserved, 16 * MIB);
    ck_assert((segment.fd >= 0) == kinds[_i]);
    touch(&segment, 0, 'x');
    expect_bytes(&segment, segment.committed, 'x');
    brood__segment_close(&segment);
}
END_TEST

START_TEST(sizes_are_rounded_up_to_whole_pages)
{
    struct segment segment = open_segment(kinds[_i], 5 * PAGE + 1, PAGE + 1);

    ck_assert_uint_eq(segment.committed, 2 * PAGE);
    ck_assert_uint_eq(segment.reserved, 6 * PAGE);
    brood__segment_close(&segment);
}
END_TEST

START_TEST(what_is_committed_at_once_is_reserved)
{
    struct segment segment = open_segment(kinds[_i], PAGE, 8 * PAGE);

    ck_assert_uint_eq(segment.reserved, 8 * PAGE);
    touch(&segment, 0, 'x');
    brood__segment_close(&segment);
}
END_TEST

START_TEST(a_closed_segment_is_gone_and_can_be_closed_again)
{
    struct segment segment = open_segment(kinds[_i], MIB, 64 * KIB), never = SEGMENT_CLOSED;
    int fd = segment.fd;

    brood__segment_close(&segment);
    ck_assert_ptr_null(segment.base);
    ck_assert_int_eq(segment.fd, -1);
    if (fd >= 0)
        ck_assert_int_lt(fcntl(fd, F_GETFD), 0);
    brood__segment_close(&segment);
    brood__segment_close(&never);
}
END_TEST

/* Is the page there, for this process?  msync(2) tells. */
START_TEST(the_mapping_of_a_closed_segment_is_gone)
{
    struct segment segment = open_segment(kinds[_i], MIB, 64 * KIB);
    char *base = segment.base;

    ck_assert_int_eq(msync(base, MIB, MS_ASYNC), 0);
    brood__segment_close(&segment);
    ck_assert_int_lt(msync(base, PAGE, MS_ASYNC), 0);
    ck_assert_int_eq(errno, ENOMEM);
}
END_TEST

/* ---- the file of a shared one ---- */

START_TEST(a_shared_segment_has_no_name)
{
    struct segment segment = open_segment(true, MIB, 64 * KIB);

    ck_assert_uint_eq(look_at(&segment).st_nlink, 0);
    brood__segment_close(&segment);
}
END_TEST

static void look_at_the_mode(void *argument)
{
    struct segment segment;

    (void)argument;
    (void)umask(0);
    segment = open_segment(true, MIB, 64 * KIB);
    if (is_shm(&segment))
        ck_assert_uint_eq(look_at(&segment).st_mode & 07777, 0600);
}

START_TEST(a_shared_segment_is_its_owners_alone_whatever_the_umask)
{
    in_child(look_at_the_mode, NULL);
}
END_TEST

START_TEST(a_shared_segment_is_closed_on_exec)
{
    struct segment segment = open_segment(true, MIB, 64 * KIB);

    ck_assert_int_eq(fcntl(segment.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    brood__segment_close(&segment);
}
END_TEST

static void open_without_stdin(void *argument)
{
    struct segment segment;

    (void)argument;
    close(STDIN_FILENO);
    segment = open_segment(true, MIB, 64 * KIB);
    ck_assert_int_gt(segment.fd, STDERR_FILENO);
    ck_assert_int_eq(fcntl(segment.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_lt(fcntl(STDIN_FILENO, F_GETFD), 0);
}

START_TEST(a_shared_segment_is_never_standard_input)
{
    in_child(open_without_stdin, NULL);
}
END_TEST

START_TEST(a_shared_segment_is_a_memfd_whatever_dev_shm_has)
{
    struct segment segment = open_segment(true, MIB, 64 * KIB);

    ck_assert(is_memfd(&segment));
    brood__segment_close(&segment);
}
END_TEST

static const enum segment_kind files[] = {SEGMENT_SHARED, SEGMENT_JOINED};
#define FILES (int)(sizeof(files) / sizeof(files[0]))

START_TEST(no_process_can_shrink_a_segment_by_its_descriptor)
{
    struct segment segment = open_kind(files[_i], MIB, 64 * KIB);

    ck_assert_int_lt(ftruncate(segment.fd, 0), 0);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_lt(ftruncate(segment.fd, 64 * KIB - 1), 0);
    ck_assert_int_lt(fcntl(segment.fd, F_ADD_SEALS, F_SEAL_GROW), 0); /* so that the host can commit more */
    touch(&segment, 0, 'x');
    brood__segment_close(&segment);
}
END_TEST

static bool seals_writing(void)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    bool seals = fcntl(fd, F_ADD_SEALS, 0x0010) == 0; /* F_SEAL_FUTURE_WRITE, since Linux 5.1 */

    close(fd);
    return seals;
}

/* Its pages would be zeros, and where no memory is left to touch them SIGBUS. */
START_TEST(a_process_that_inherits_a_segment_cannot_free_its_pages)
{
    struct segment segment = open_segment(true, MIB, 64 * KIB);

    touch(&segment, 0, 'x');
    if (seals_writing()) {
        ck_assert_int_lt(madvise(segment.base, 64 * KIB, MADV_REMOVE), 0);
        ck_assert_int_lt(fallocate(segment.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 64 * KIB), 0);
        ck_assert_int_lt(pwrite(segment.fd, "y", 1, 0), 0);
    } else
        (void)fprintf(stderr, "this kernel cannot seal against writing\n");
    expect_bytes(&segment, segment.committed, 'x');
    brood__segment_close(&segment);
}
END_TEST

START_TEST(memory_is_taken_as_it_is_committed_and_not_as_it_is_reserved)
{
    struct segment segment = open_segment(true, 4 * GIB, 64 * KIB);

    ck_assert_uint_eq(segment.reserved, 4 * GIB);
    ck_assert_int_eq(look_at(&segment).st_size, 64 * KIB);
    ck_assert_int_eq(look_at(&segment).st_blocks * 512, 64 * KIB);
    ck_assert_int_eq(brood__segment_commit(&segment, MIB), 0);
    ck_assert_int_eq(look_at(&segment).st_size, MIB);
    ck_assert_int_eq(look_at(&segment).st_blocks * 512, MIB);
    brood__segment_close(&segment);
}
END_TEST

/* The line of /proc/self/smaps that begins with `field`, of the mapping that begins there. */
static void find_in_smaps(const void *base, const char *field, char *ret_line, size_t size)
{
    FILE *file = fopen("/proc/self/smaps", "re");
    char address[32];
    bool is_here = false;

    ck_assert_ptr_nonnull(file);
    (void)snprintf(address, sizeof(address), "%lx-", (unsigned long)(uintptr_t)base);
    while (fgets(ret_line, (int)size, file)) {
        is_here = is_here || strncmp(ret_line, address, strlen(address)) == 0;
        if (is_here && strncmp(ret_line, field, strlen(field)) == 0)
            break;
    }
    fclose(file);
    ck_assert(is_here);
}

START_TEST(a_segment_is_left_out_of_core_dumps)
{
    struct segment segment = open_segment(kinds[_i], MIB, 64 * KIB);
    char line[512];

    find_in_smaps(segment.base, "VmFlags:", line, sizeof(line));
    ck_assert_msg(strstr(line, " dd") != NULL, "%s", line);
    brood__segment_close(&segment);
}
END_TEST

/* ---- which processes see it ---- */

static void write_into(void *argument)
{
    struct segment *segment = argument;

    ck_assert_int_eq(segment->base[PAGE], 'h');
    segment->base[0] = 'c';
}

START_TEST(what_a_child_writes_is_seen_in_a_shared_segment_and_not_in_a_private_one)
{
    struct segment segment = open_segment(kinds[_i], MIB, 64 * KIB);

    segment.base[PAGE] = 'h';
    in_child(write_into, &segment);
    ck_assert_int_eq(segment.base[0], kinds[_i] ? 'c' : 0);
    brood__segment_close(&segment);
}
END_TEST

START_TEST(an_attached_segment_is_the_same_memory)
{
    struct segment segment = open_kind(SEGMENT_JOINED, MIB, 64 * KIB), other = SEGMENT_CLOSED;
    int fd = dup(segment.fd);

    ck_assert_int_eq(brood__segment_attach(&other, fd, MIB), 0);
    ck_assert_int_eq(other.fd, fd);
    ck_assert_uint_eq(other.reserved, MIB);
    ck_assert_ptr_ne(other.base, segment.base);
    segment.base[PAGE] = 'x';
    ck_assert_int_eq(other.base[PAGE], 'x');
    other.base[0] = 'y';
    ck_assert_int_eq(segment.base[0], 'y');
    brood__segment_close(&other);
    ck_assert_int_eq(segment.base[0], 'y');
    brood__segment_close(&segment);
}
END_TEST

START_TEST(what_is_committed_after_another_attached_is_there_for_both)
{
    struct segment segment = open_kind(SEGMENT_JOINED, MIB, 64 * KIB), other = SEGMENT_CLOSED;

    ck_assert_int_eq(brood__segment_attach(&other, dup(segment.fd), MIB), 0);
    ck_assert_int_eq(brood__segment_commit(&segment, MIB), 0);
    other.base[MIB - 1] = 'z';
    ck_assert_int_eq(segment.base[MIB - 1], 'z');
    brood__segment_close(&other);
    brood__segment_close(&segment);
}
END_TEST

START_TEST(what_is_no_file_with_content_cannot_be_attached)
{
    struct segment segment = SEGMENT_CLOSED;
    int ends[2], empty = memfd_create("empty", MFD_CLOEXEC);

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_lt(brood__segment_attach(&segment, ends[0], MIB), 0);
    ck_assert_int_lt(brood__segment_attach(&segment, empty, MIB), 0);
    ck_assert_int_lt(brood__segment_attach(&segment, -1, MIB), 0);
    ck_assert_ptr_null(segment.base);
    close(ends[0]);
    close(ends[1]);
    close(empty);
}
END_TEST

/* ---- commitment ---- */

START_TEST(a_segment_grows_and_keeps_what_is_in_it)
{
    struct segment segment = open_segment(kinds[_i], 64 * MIB, PAGE);
    char *base = segment.base;

    touch(&segment, 0, 'x');
    for (size_t bytes = PAGE; bytes <= 16 * MIB; bytes = bytes * 3 + 5) {
        size_t before = segment.committed;

        ck_assert_int_eq(brood__segment_commit(&segment, bytes), 0);
        ck_assert_uint_ge(segment.committed, bytes);
        ck_assert_uint_lt(segment.committed, bytes + PAGE);
        touch(&segment, before, 'x');
    }
    ck_assert_ptr_eq(segment.base, base);
    expect_bytes(&segment, segment.committed, 'x');
    brood__segment_close(&segment);
}
END_TEST

START_TEST(a_segment_does_not_shrink)
{
    struct segment segment = open_segment(kinds[_i], MIB, 64 * KIB);

    ck_assert_int_eq(brood__segment_commit(&segment, PAGE), 0);
    ck_assert_int_eq(brood__segment_commit(&segment, 0), 0);
    ck_assert_uint_eq(segment.committed, 64 * KIB);
    brood__segment_close(&segment);
}
END_TEST

START_TEST(beyond_what_is_reserved_there_is_no_more)
{
    struct segment segment = open_segment(kinds[_i], 2 * MIB, 64 * KIB);

    ck_assert_int_eq(brood__segment_commit(&segment, 2 * MIB + 1), -ENOMEM);
    expect_words("2 MiB");
    expect_words(".memory_bytes");
    ck_assert_int_eq(brood__segment_commit(&segment, SIZE_MAX), -ENOMEM);
    ck_assert_uint_eq(segment.committed, 64 * KIB);
    ck_assert_int_eq(brood__segment_commit(&segment, 2 * MIB), 0); /* to the last byte */
    touch(&segment, 0, 'x');
    segment.base[segment.committed - 1] = 'x';
    brood__segment_close(&segment);
}
END_TEST

struct place {
    struct segment *segment;
    size_t at;
};

static void touch_place(void *argument)
{
    const struct place *place = argument;

    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    place->segment->base[place->at] = 'y';
}

static void expect_bus_error(struct segment *segment, size_t at)
{
    struct place place = {segment, at};
    pid_t pid = spawn(touch_place, &place);
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS, "byte %zu: status %#x", at, (unsigned)status);
}

/* A process that means harm would else take memory that it was not given, and that stayed when it is gone. */
START_TEST(uncommitted_memory_is_there_for_no_process)
{
    struct segment segment = open_kind(files[_i], GIB, 64 * KIB);

    expect_bus_error(&segment, 64 * KIB);
    expect_bus_error(&segment, GIB - 1);
    ck_assert_int_eq(look_at(&segment).st_blocks * 512, 64 * KIB);
    ck_assert_int_eq(brood__segment_commit(&segment, MIB), 0);
    touch(&segment, 0, 'x'); /* zeroed */
    in_child(touch_place, &(struct place){&segment, MIB - 1});
    expect_bus_error(&segment, MIB);
    ck_assert_int_eq(look_at(&segment).st_blocks * 512, MIB);
    brood__segment_close(&segment);
}
END_TEST

static long page_faults(void)
{
    struct rusage usage;

    ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_minflt + usage.ru_majflt;
}

static long faults_of_touching(const struct segment *segment)
{
    long before = page_faults();

    touch(segment, 0, 'x');
    return page_faults() - before;
}

static bool can_populate(void)
{
    void *page = shared_memory(PAGE);
    bool can = madvise(page, PAGE, 23) == 0; /* MADV_POPULATE_WRITE, since Linux 5.14 */

    (void)munmap(page, PAGE);
    return can;
}

START_TEST(what_was_prefaulted_costs_no_faults)
{
    struct segment cold = open_segment(kinds[_i], 4 * MIB, MIB), warm = open_segment(kinds[_i], 4 * MIB, MIB);
    long faults = faults_of_touching(&cold);

    brood__segment_prefault(&warm, 100, MIB - 200); /* any bytes, not only whole pages */
    if (can_populate())
        ck_assert_int_lt(faults_of_touching(&warm), faults / 2);
    else
        (void)fprintf(stderr, "this kernel cannot prefault\n");
    brood__segment_close(&cold);
    brood__segment_close(&warm);
}
END_TEST

/* ---- limits of the process ---- */

static void set_limit(__rlimit_resource_t which, size_t bytes)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(which, &limit), 0);
    limit.rlim_cur = bytes;
    ck_assert_int_eq(setrlimit(which, &limit), 0);
}

static size_t address_space_in_use(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    size_t pages = 0;

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%zu", &pages), 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void open_in_little_address_space(void *argument)
{
    const bool *shared = argument;
    struct segment segment;

    set_limit(RLIMIT_AS, address_space_in_use() + 40 * MIB);
    segment = open_segment(*shared, 1024 * GIB, MIB);
    ck_assert_uint_lt(segment.reserved, 40 * MIB);
    ck_assert_uint_gt(segment.reserved, 10 * MIB); /* about as much as there is */
    ck_assert_int_eq(brood__segment_commit(&segment, segment.reserved + 1), -ENOMEM);
    ck_assert_int_eq(brood__segment_commit(&segment, segment.reserved), 0);
    touch(&segment, 0, 'x');
    brood__segment_close(&segment);
}

START_TEST(where_address_space_is_limited_less_is_reserved)
{
    in_child(open_in_little_address_space, (void *)(uintptr_t)&kinds[_i]);
}
END_TEST

static void open_in_no_address_space(void *argument)
{
    const bool *shared = argument;

    set_limit(RLIMIT_AS, address_space_in_use() + 8 * MIB);
    expect_no_segment(-ENOMEM, "ulimit -v", *shared, 1024 * GIB, 16 * MIB);
    expect_words("16384 KiB");
}

START_TEST(where_there_is_no_address_space_it_says_how_much_it_needs)
{
    in_child(open_in_no_address_space, (void *)(uintptr_t)&kinds[_i]);
}
END_TEST

static void attach_in_little_address_space(void *argument)
{
    struct segment segment, other = SEGMENT_CLOSED;

    (void)argument;
    set_limit(RLIMIT_AS, address_space_in_use() + 100 * MIB);
    segment = open_kind(SEGMENT_JOINED, 1024 * GIB, MIB);
    in_child(write_into, (segment.base[PAGE] = 'h', &segment));
    ck_assert_int_eq(munmap(segment.base, segment.reserved), 0); /* another process has its own address space */
    ck_assert_msg(brood__segment_attach(&other, segment.fd, segment.reserved) == 0, "%s", brood_error());
    ck_assert_uint_eq(other.reserved, segment.reserved);
    ck_assert_int_eq(other.base[0], 'c');
}

/* An executable that is started as a worker has the same limits. */
START_TEST(attaching_needs_no_more_address_space_than_opening)
{
    in_child(attach_in_little_address_space, NULL);
}
END_TEST

static void open_with_small_files(void *argument)
{
    struct segment segment;

    (void)argument;
    set_limit(RLIMIT_FSIZE, MIB + 123);
    segment = open_segment(true, GIB, 64 * KIB);
    ck_assert_uint_eq(segment.reserved, MIB);
    ck_assert_int_eq(brood__segment_commit(&segment, MIB + 1), -ENOMEM);
    ck_assert_int_eq(brood__segment_commit(&segment, MIB), 0);
    touch(&segment, 0, 'x');
    brood__segment_close(&segment);
}

START_TEST(where_files_are_limited_less_is_reserved)
{
    in_child(open_with_small_files, NULL);
}
END_TEST

static void open_with_tiny_files(void *argument)
{
    struct segment segment;

    (void)argument;
    set_limit(RLIMIT_FSIZE, 60 * KIB);
    expect_no_segment(-EFBIG, "ulimit -f", true, GIB, 64 * KIB);
    expect_words("64 KiB");
    segment = open_segment(false, GIB, 64 * KIB); /* needs no file */
    brood__segment_close(&segment);
}

/* SIGXFSZ would kill the child. */
START_TEST(files_that_are_too_small_are_an_error_and_no_signal)
{
    in_child(open_with_tiny_files, NULL);
}
END_TEST

static void open_without_descriptors(void *argument)
{
    (void)argument;
    set_limit(RLIMIT_NOFILE, 0);
    expect_no_segment(-EMFILE, "no shared memory", true, GIB, 64 * KIB);
}

START_TEST(without_a_descriptor_there_is_no_shared_segment)
{
    in_child(open_without_descriptors, NULL);
}
END_TEST

/* ---- a /dev/shm of one's own ---- */

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (write(fd, text, strlen(text)) < 0)
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
    close(fd);
}

/* An unmapped user can make no files: in a user namespace it has to be mapped. */
static bool become_root_of_a_namespace(void)
{
    char map[64];
    unsigned uid = getuid(), gid = getgid();

    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return false;
    write_file("/proc/self/setgroups", "deny");
    (void)snprintf(map, sizeof(map), "0 %u 1", uid);
    write_file("/proc/self/uid_map", map);
    (void)snprintf(map, sizeof(map), "0 %u 1", gid);
    write_file("/proc/self/gid_map", map);
    return true;
}

static bool mount_tmpfs(const char *where, unsigned long flags, const char *options)
{
    return mount("brood-test", where, "tmpfs", flags, options) == 0;
}

static bool has_own_mounts(void)
{
    return (unshare(CLONE_NEWNS) == 0 || become_root_of_a_namespace()) &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static void replace_shm(const char *options)
{
    ck_assert_msg(has_own_mounts() && mount_tmpfs("/dev/shm", 0, options), "no mounts of one's own: %s", strerror(errno));
}

static void resize_shm(const char *options)
{
    ck_assert_msg(mount_tmpfs("/dev/shm", MS_REMOUNT, options), "remount: %s", strerror(errno));
}

/* As on an old kernel, or where a filter denies it. */
static void deny_memfds(void)
{
    deny(SYS_memfd_create, ENOSYS);
}

/* Usable as far as it says, whatever /dev/shm has. */
static void expect_memfd(size_t bytes)
{
    struct segment segment = open_segment(true, GIB, 64 * KIB);

    ck_assert(is_memfd(&segment));
    ck_assert_int_eq(fcntl(segment.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(brood__segment_commit(&segment, bytes), 0);
    touch(&segment, 0, 'x');
    segment.base[PAGE] = 'h';
    in_child(write_into, &segment);
    ck_assert_int_eq(segment.base[0], 'c');
    brood__segment_close(&segment);
}

static void live_with_a_small_shm(void *argument)
{
    replace_shm(argument);
    expect_memfd(72 * MIB);
    ck_assert_int_eq(names_in_shm(), 0);
}

static const char *const small[] = {"size=64m", "size=255m", "size=4k"};
#define SMALL (int)(sizeof(small) / sizeof(small[0]))

START_TEST(where_dev_shm_is_small_a_memfd_is_used)
{
    in_child(live_with_a_small_shm, (void *)(uintptr_t)small[_i]);
}
END_TEST

static void live_with_a_large_shm(void *argument)
{
    struct segment segment;

    (void)argument;
    replace_shm("size=300m");
    deny_memfds();
    segment = open_segment(true, GIB, 64 * KIB);
    ck_assert(is_shm(&segment));
    ck_assert_int_eq(names_in_shm(), 0);
    expect_bus_error(&segment, 64 * KIB);
    brood__segment_close(&segment);
    expect_no_segment(-ENOSPC, "/dev/shm", true, GIB, 301 * MIB); /* more than there is */
}

START_TEST(where_there_are_no_memfds_dev_shm_is_used)
{
    in_child(live_with_a_large_shm, NULL);
}
END_TEST

/* An old kernel, or an odd file system. */
static void refuse_nameless_files(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])), /* the low half, little-endian */
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_TMPFILE & ~O_DIRECTORY, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };

    load_filter(code, sizeof(code) / sizeof(code[0]));
    ck_assert_int_lt(open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), 0);
}

static void live_with_names(void *argument)
{
    struct segment segment;

    (void)argument;
    replace_shm("size=300m");
    deny_memfds();
    refuse_nameless_files();
    (void)umask(0);
    segment = open_segment(true, GIB, 64 * KIB);
    ck_assert(is_shm(&segment));
    ck_assert_int_eq(names_in_shm(), 0);
    ck_assert_uint_eq(look_at(&segment).st_nlink, 0);
    ck_assert_uint_eq(look_at(&segment).st_mode & 07777, 0600);
    ck_assert_int_eq(fcntl(segment.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    brood__segment_close(&segment);
}

START_TEST(where_files_must_have_a_name_it_is_gone_at_once)
{
    in_child(live_with_names, NULL);
}
END_TEST

static void open_until_killed(void *argument)
{
    die_after_us(*(int *)argument);
    for (;;) {
        struct segment segment;

        if (brood__segment_open(&segment, true, MIB, 64 * KIB) < 0)
            _exit(1);
        brood__segment_close(&segment);
    }
}

static void kill_those_who_open(void *argument)
{
    (void)argument;
    replace_shm("size=300m");
    deny_memfds();
    for (int life_us = 100; life_us < 2000; life_us += 19)
        reap(spawn(open_until_killed, &life_us));
    ck_assert_int_eq(names_in_shm(), 0);
}

START_TEST(a_process_killed_while_it_opens_a_segment_leaves_no_name)
{
    in_child(kill_those_who_open, NULL);
}
END_TEST

static void live_without_shm(void *argument)
{
    (void)argument;
    ck_assert_msg(has_own_mounts() && mount_tmpfs("/dev", 0, "size=4k"), "no mounts of one's own: %s", strerror(errno));
    ck_assert_int_lt(access("/dev/shm", F_OK), 0);
    expect_memfd(2 * MIB);
}

START_TEST(where_dev_shm_is_absent_a_memfd_is_used)
{
    in_child(live_without_shm, NULL);
}
END_TEST

static void live_with_a_locked_shm(void *argument)
{
    (void)argument;
    replace_shm("size=300m");
    ck_assert(mount_tmpfs("/dev/shm", MS_REMOUNT | MS_RDONLY, NULL));
    expect_memfd(2 * MIB);
}

START_TEST(where_dev_shm_is_read_only_a_memfd_is_used)
{
    in_child(live_with_a_locked_shm, NULL);
}
END_TEST

static void live_without_any(void *argument)
{
    (void)argument;
    ck_assert_msg(has_own_mounts() && mount_tmpfs("/dev", 0, "size=4k"), "no mounts of one's own: %s", strerror(errno));
    deny_memfds();
    expect_no_segment(-ENOENT, "no shared memory", true, GIB, 64 * KIB);
}

START_TEST(without_any_shared_memory_there_is_an_error_in_words)
{
    in_child(live_without_any, NULL);
}
END_TEST

static void expect_shortage(struct segment *segment, size_t bytes, const char *missing)
{
    size_t before = segment->committed;

    ck_assert_int_eq(brood__segment_commit(segment, bytes), -ENOSPC);
    expect_words(missing);
    expect_words("/dev/shm");
    ck_assert_uint_eq(segment->committed, before);
    ck_assert_int_eq(look_at(segment).st_blocks * 512, (intmax_t)before); /* it took nothing of what there was */
}

/* A mount that shrinks to what is in use is as full as one that others have filled, and takes no memory. */
static void fill_shm(void *argument)
{
    struct segment segment;

    (void)argument;
    replace_shm("size=300m");
    deny_memfds();
    segment = open_segment(true, GIB, MIB);
    ck_assert(is_shm(&segment));
    touch(&segment, 0, 'x');
    resize_shm("size=1536k");
    expect_shortage(&segment, 4 * MIB, "3072 KiB more");
    expect_words("512 KiB free");
    ck_assert_int_eq(brood__segment_commit(&segment, MIB + 512 * KIB), 0); /* the rest of what there is */
    touch(&segment, MIB, 'x');
    expect_shortage(&segment, segment.committed + 1, "4 KiB more");
    expect_words(" 0 KiB free");
    expect_bytes(&segment, segment.committed, 'x');

    resize_shm("size=5m"); /* as it advises */
    ck_assert_int_eq(brood__segment_commit(&segment, 4 * MIB), 0);
    touch(&segment, MIB + 512 * KIB, 'x');
    expect_bytes(&segment, segment.committed, 'x');
    brood__segment_close(&segment);
}

/* SIGBUS would kill the child. */
START_TEST(a_full_dev_shm_is_an_error_that_says_how_much_is_missing_and_no_signal)
{
    in_child(fill_shm, NULL);
}
END_TEST

static bool may_mount(void)
{
    return has_own_mounts() && mount_tmpfs("/dev/shm", 0, "size=4k");
}

/* A run of its own, so that it is seen to be skipped where nothing may be mounted. */
static int run_with_mounts(void)
{
    Suite *suite = suite_create("segments and mounts");

    if (!may_child(may_mount)) {
        printf("skipped: no mounts of one's own may be made here\n");
        return 77;
    }
    add_loop_tests(suite, "small", 0, SMALL, where_dev_shm_is_small_a_memfd_is_used, NULL);
    add_tests(suite, "shm", where_there_are_no_memfds_dev_shm_is_used, where_files_must_have_a_name_it_is_gone_at_once,
              a_process_killed_while_it_opens_a_segment_leaves_no_name, where_dev_shm_is_absent_a_memfd_is_used,
              where_dev_shm_is_read_only_a_memfd_is_used, without_any_shared_memory_there_is_an_error_in_words,
              a_full_dev_shm_is_an_error_that_says_how_much_is_missing_and_no_signal, NULL);
    return run_suite(suite);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--mounts") == 0)
        return run_with_mounts();
    Suite *suite = suite_create("segment");

    add_loop_tests(suite, "memory", 0, KINDS, a_segment_is_zeroed_and_can_be_written, sizes_are_rounded_up_to_whole_pages,
                   what_is_committed_at_once_is_reserved, a_closed_segment_is_gone_and_can_be_closed_again,
                   the_mapping_of_a_closed_segment_is_gone, a_segment_is_left_out_of_core_dumps,
                   what_a_child_writes_is_seen_in_a_shared_segment_and_not_in_a_private_one, NULL);
    add_tests(suite, "file", a_shared_segment_has_no_name, a_shared_segment_is_its_owners_alone_whatever_the_umask,
              a_shared_segment_is_closed_on_exec, a_shared_segment_is_never_standard_input,
              a_shared_segment_is_a_memfd_whatever_dev_shm_has, a_process_that_inherits_a_segment_cannot_free_its_pages,
              memory_is_taken_as_it_is_committed_and_not_as_it_is_reserved, NULL);
    add_loop_tests(suite, "harm", 0, FILES, no_process_can_shrink_a_segment_by_its_descriptor,
                   uncommitted_memory_is_there_for_no_process, NULL);
    add_tests(suite, "attach", an_attached_segment_is_the_same_memory,
              what_is_committed_after_another_attached_is_there_for_both, what_is_no_file_with_content_cannot_be_attached,
              NULL);
    add_loop_tests(suite, "commit", 0, KINDS, a_segment_grows_and_keeps_what_is_in_it, a_segment_does_not_shrink,
                   beyond_what_is_reserved_there_is_no_more, what_was_prefaulted_costs_no_faults, NULL);
    add_loop_tests(suite, "address space", 0, KINDS, where_address_space_is_limited_less_is_reserved,
                   where_there_is_no_address_space_it_says_how_much_it_needs, NULL);
    add_tests(suite, "limits", attaching_needs_no_more_address_space_than_opening, where_files_are_limited_less_is_reserved,
              files_that_are_too_small_are_an_error_and_no_signal, without_a_descriptor_there_is_no_shared_segment, NULL);
    return run_suite(suite);
}
