#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/sandbox.h"
#include "support.h"

/* ---- as text ---- */

START_TEST(what_is_written_is_read_back)
{
    struct sandbox sandbox = {.memory_bytes = UINT64_MAX,
                              .file_bytes = 7,
                              .cpu_seconds = 3,
                              .open_files = 20,
                              .flags = 5,
                              .rules = -1,
                              .host = 7};
    struct sandbox other;
    char text[SANDBOX_TEXT];

    ck_assert_int_eq(brood__sandbox_write(&sandbox, text), 0);
    ck_assert(brood__sandbox_read(&other, text));
    ck_assert_uint_eq(other.memory_bytes, sandbox.memory_bytes);
    ck_assert_uint_eq(other.file_bytes, sandbox.file_bytes);
    ck_assert_int_eq(other.cpu_seconds, sandbox.cpu_seconds);
    ck_assert_int_eq(other.open_files, sandbox.open_files);
    ck_assert_uint_eq(other.flags, sandbox.flags);
    ck_assert_int_eq(other.rules, sandbox.rules);
    ck_assert_int_eq(other.host, sandbox.host);
}
END_TEST

START_TEST(text_that_is_no_sandbox_is_not_read)
{
    static const char *const texts[] = {
        "", "0", "1,2,3,4,5,-1", "1,2,3,4,5,-1,7,", "1,2,3,4,5,-1,7 ", "1,2,3,4,0,-1,7", "a,2,3,4,5,-1,7"};
    struct sandbox sandbox;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        ck_assert_msg(!brood__sandbox_read(&sandbox, texts[i]), "'%s'", texts[i]);
}
END_TEST

START_TEST(nothing_wanted_is_no_sandbox)
{
    struct sandbox sandbox;

    ck_assert_int_eq(brood__sandbox_prepare(&sandbox, NULL, getpid()), 0);
    ck_assert_uint_eq(sandbox.flags, 0);
    ck_assert_int_eq(sandbox.rules, -1);
}
END_TEST

/* ---- inside ---- */

/* The status with which a child ends that is in the sandbox when it calls `act`. */
static int status_in(const struct brood_sandbox *wanted, int (*act)(void))
{
    struct sandbox sandbox;
    int status, r = brood__sandbox_prepare(&sandbox, wanted, getpid());
    pid_t child;

    ck_assert_msg(r == 0, "%s", brood_error());
    child = fork();
    if (child == 0)
        _exit(brood__sandbox_enter(&sandbox) < 0 ? 99 : act());
    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    brood__sandbox_drop(&sandbox);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int map_much(void)
{
    return mmap(NULL, (size_t)64 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0;
}

static int map_little(void)
{
    return mmap(NULL, (size_t)8 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0;
}

START_TEST(memory_counts_on_top_of_what_is_mapped)
{
    const struct brood_sandbox *wanted = BROOD_SANDBOX(.memory_bytes = (size_t)32 << 20);
    void *large = mmap(NULL, (size_t)1 << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    ck_assert_ptr_ne(large, MAP_FAILED);
    ck_assert_int_eq(status_in(wanted, map_much), ENOMEM);
    ck_assert_int_eq(status_in(wanted, map_little), 0);
    ck_assert_int_eq(status_in(BROOD_SANDBOX(.memory_bytes = SIZE_MAX), map_much), 0);
    munmap(large, (size_t)1 << 30);
}
END_TEST

static int make_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? errno : 0;
}

static int make_pair(void)
{
    int ends[2];

    return socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0 || write(ends[0], "", 1) != 1 ? errno : 0;
}

/* As a pool in a worker of a pool would be: what one refuses, the other cannot allow. */
static int enter_another_one(void)
{
    struct sandbox sandbox;

    if (brood__sandbox_prepare(&sandbox, BROOD_SANDBOX(.no_processes = true), getppid()) < 0 ||
        brood__sandbox_enter(&sandbox) < 0)
        return 98;
    return make_socket();
}

START_TEST(sandboxes_add_up)
{
    const struct brood_sandbox *wanted = BROOD_SANDBOX(.no_network = true);

    ck_assert_int_eq(status_in(wanted, make_socket), EACCES);
    ck_assert_int_eq(status_in(wanted, make_pair), 0);
    ck_assert_int_eq(status_in(wanted, enter_another_one), EACCES);
    ck_assert_int_eq(status_in(BROOD_SANDBOX(.read_only = true), make_socket), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sandbox");

    add_tests(suite, "text", what_is_written_is_read_back, text_that_is_no_sandbox_is_not_read,
              nothing_wanted_is_no_sandbox, NULL);
    add_tests(suite, "inside", memory_counts_on_top_of_what_is_mapped, sandboxes_add_up, NULL);
    return run_suite(suite);
}
