/* check_large_result.c - the file that large results go through: regions, memory that comes and goes, and which numbers are not believed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/large_result.h"
#include "support.h"

#define KIB 1024

static struct large_results open_results(void)
{
    struct large_results large;

    brood__large_open(&large);
    ck_assert_int_ge(large.fd, 3);
    return large;
}

static long held_kib(const struct large_results *large)
{
    struct stat st;

    ck_assert_int_eq(fstat(large->fd, &st), 0);
    return (long)st.st_blocks / 2;
}

/* A worker's part, as if the task had left `fill` in all of it. */
static void write_result(const struct large_results *large, uint32_t region, size_t bytes, int fill)
{
    struct brood__large_result large_result = {.large = large, .region = region};

    ck_assert_int_eq(brood__large_map(&large_result, bytes), 0);
    memset(large_result.memory, fill, bytes);
    brood__large_unmap(&large_result, true);
}

START_TEST(a_result_is_read_where_it_was_written_and_its_memory_goes_back)
{
    struct large_results large = open_results();
    char one[100 * KIB], other[100 * KIB];

    write_result(&large, 1, sizeof(one), 'a');
    write_result(&large, LARGE_REGIONS, sizeof(other), 'z');
    ck_assert_int_ge(held_kib(&large), 200);
    ck_assert_int_eq(brood__large_read(&large, 1, one, sizeof(one)), 0);
    ck_assert_int_eq(brood__large_read(&large, LARGE_REGIONS, other, sizeof(other)), 0);
    ck_assert(one[0] == 'a' && one[sizeof(one) - 1] == 'a' && other[0] == 'z' && other[sizeof(other) - 1] == 'z');
    brood__large_clear(&large, 1);
    ck_assert_int_lt(held_kib(&large), 200);
    brood__large_clear(&large, LARGE_REGIONS);
    ck_assert_int_eq(held_kib(&large), 0);
    brood__large_close(&large);
}
END_TEST

START_TEST(regions_are_given_once_and_again_when_they_are_back)
{
    struct large_results large = open_results();
    struct large_regions regions = {0};
    uint32_t taken[100];

    for (uint32_t i = 0; i < 100; i++)
        ck_assert_uint_eq(taken[i] = brood__large_take(&large, &regions), i + 1);
    for (uint32_t i = 0; i < 100; i++)
        brood__large_give(&regions, taken[i]);
    brood__large_give(&regions, LARGE_NONE);
    ck_assert_uint_eq(brood__large_take(&large, &regions), 100);
    ck_assert_uint_eq(brood__large_take(&large, &regions), 99);
    large.regions = 100;
    for (uint32_t i = 0; i < 98; i++)
        ck_assert_uint_ne(brood__large_take(&large, &regions), LARGE_NONE);
    ck_assert_uint_eq(brood__large_take(&large, &regions), LARGE_NONE);
    free(regions.free);
    brood__large_close(&large);
}
END_TEST

START_TEST(the_last_room_that_was_asked_for_counts)
{
    struct large_results large = open_results();
    struct brood__large_result large_result = {.large = &large, .region = 7};

    ck_assert_int_eq(brood__large_map(&large_result, 10 * KIB), 0);
    ck_assert_int_eq(brood__large_map(&large_result, 50 * KIB), 0);
    ck_assert_uint_eq(large_result.bytes, 50 * KIB);
    brood__large_unmap(&large_result, false); /* and it was no result */
    brood__large_unmap(&large_result, false);
    ck_assert_int_eq(held_kib(&large), 0);
    brood__large_close(&large);
}
END_TEST

START_TEST(what_no_region_holds_is_refused_with_words)
{
    struct large_results large = open_results(), none = LARGE_CLOSED;
    struct brood__large_result nowhere = {.large = &none, .region = 1}, huge = {.large = &large, .region = 1};

    ck_assert_int_eq(brood__large_map(&nowhere, 10), -ENOSPC);
    ck_assert_ptr_nonnull(strstr(brood_error(), "no place for more"));
    ck_assert_int_eq(brood__large_map(&huge, LARGE_REGION), -EMSGSIZE);
    ck_assert_ptr_nonnull(strstr(brood_error(), "less than 4 GiB"));
    ck_assert_uint_eq(brood__large_take(&none, &(struct large_regions){0}), LARGE_NONE);
    brood__large_close(&none);
    brood__large_close(&large);
}
END_TEST

/* Else a worker that writes over its slot could make its host read gigabytes of zeros. */
START_TEST(a_length_that_was_not_written_is_not_believed)
{
    struct large_results large = open_results();
    char bytes[64 * KIB];

    write_result(&large, 3, 16 * KIB, 1);
    ck_assert_int_eq(brood__large_read(&large, 3, bytes, sizeof(bytes)), -EPROTO);
    ck_assert_int_eq(brood__large_read(&large, 3, bytes, 16 * KIB), 0);
    brood__large_close(&large);
}
END_TEST

/* In the host, in a forked worker, and in one that was given the descriptor. */
START_TEST(another_file_with_the_descriptors_number_is_left_alone)
{
    struct large_results large = open_results(), given;
    struct brood__large_result forked = {.large = &large, .region = 1}, execed = {.large = &given, .region = 1};
    int other = memfd_create("other", MFD_CLOEXEC), number = large.fd;
    char byte = 'x';

    brood__large_attach(&given, number);
    ck_assert_int_eq(brood__large_map(&execed, 10 * KIB), 0);
    ck_assert_int_eq(write(other, &byte, 1), 1);
    ck_assert_int_eq(dup2(other, number), number);
    brood__large_unmap(&execed, false); /* which would have made a hole */
    ck_assert_int_eq(brood__large_read(&large, 1, &byte, 1), -EIO);
    ck_assert_int_eq(brood__large_map(&forked, 10), -EIO);
    ck_assert_ptr_nonnull(strstr(brood_error(), "has been closed"));
    ck_assert_int_eq(brood__large_map(&execed, 10), -EIO);
    brood__large_clear(&large, 1);
    ck_assert_int_eq(pread(other, &byte, 1, 0), 1);
    ck_assert_int_eq(byte, 'x');
    brood__large_close(&large);
    brood__large_close(&given);
    ck_assert_int_eq(close(number), 0); /* it was there still */
    close(other);
}
END_TEST

START_TEST(the_file_cannot_be_cut)
{
    struct large_results large = open_results();

    ck_assert_int_eq(ftruncate(large.fd, 4096), -1);
    ck_assert_int_eq(errno, EPERM);
    brood__large_close(&large);
}
END_TEST

/* To ask for a larger one would be SIGXFSZ. */
START_TEST(a_process_that_may_make_small_files_only_has_none)
{
    struct rlimit before, low;
    struct large_results large;

    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    low = (struct rlimit){.rlim_cur = 3 * LARGE_REGION + 5, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
    brood__large_open(&large);
    ck_assert_int_ge(large.fd, 0);
    ck_assert_uint_eq(large.regions, 3);
    brood__large_close(&large);
    low.rlim_cur = LARGE_REGION - 1;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
    brood__large_open(&large);
    ck_assert_int_eq(large.fd, -1);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("large results");

    add_tests(suite, "large results", a_result_is_read_where_it_was_written_and_its_memory_goes_back,
              regions_are_given_once_and_again_when_they_are_back, the_last_room_that_was_asked_for_counts,
              what_no_region_holds_is_refused_with_words, a_length_that_was_not_written_is_not_believed,
              another_file_with_the_descriptors_number_is_left_alone, the_file_cannot_be_cut,
              a_process_that_may_make_small_files_only_has_none, NULL);
    return run_suite(suite);
}
