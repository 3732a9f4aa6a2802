/* check_spill.c - the file that large results go through: regions, memory that comes and goes, and who is not believed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/spill.h"
#include "support.h"

#define KIB 1024

static struct spill open_spill(void)
{
    struct spill spill;

    brood__spill_open(&spill);
    ck_assert_int_ge(spill.fd, 3);
    return spill;
}

static long held_kib(const struct spill *spill)
{
    struct stat st;

    ck_assert_int_eq(fstat(spill->fd, &st), 0);
    return (long)st.st_blocks / 2;
}

/* A worker's part, as if the task had left `fill` in all of it. */
static void write_result(const struct spill *spill, uint32_t region, size_t bytes, int fill)
{
    struct brood__spilled spilled = {.spill = spill, .region = region};

    ck_assert_int_eq(brood__spill_map(&spilled, bytes), 0);
    memset(spilled.memory, fill, bytes);
    brood__spill_unmap(&spilled, true);
}

START_TEST(a_result_is_read_where_it_was_written_and_its_memory_goes_back)
{
    struct spill spill = open_spill();
    char one[100 * KIB], other[100 * KIB];

    write_result(&spill, 1, sizeof(one), 'a');
    write_result(&spill, SPILL_REGIONS, sizeof(other), 'z');
    ck_assert_int_ge(held_kib(&spill), 200);
    ck_assert_int_eq(brood__spill_read(&spill, 1, one, sizeof(one)), 0);
    ck_assert_int_eq(brood__spill_read(&spill, SPILL_REGIONS, other, sizeof(other)), 0);
    ck_assert(one[0] == 'a' && one[sizeof(one) - 1] == 'a' && other[0] == 'z' && other[sizeof(other) - 1] == 'z');
    brood__spill_clear(&spill, 1);
    ck_assert_int_lt(held_kib(&spill), 200);
    brood__spill_clear(&spill, SPILL_REGIONS);
    ck_assert_int_eq(held_kib(&spill), 0);
    brood__spill_close(&spill);
}
END_TEST

START_TEST(regions_are_given_once_and_again_when_they_are_back)
{
    struct spill spill = open_spill();
    struct spill_regions regions = {0};
    uint32_t taken[100];

    for (uint32_t i = 0; i < 100; i++)
        ck_assert_uint_eq(taken[i] = brood__spill_take(&spill, &regions), i + 1);
    for (uint32_t i = 0; i < 100; i++)
        brood__spill_give(&regions, taken[i]);
    brood__spill_give(&regions, SPILL_NONE);
    ck_assert_uint_eq(brood__spill_take(&spill, &regions), 100);
    ck_assert_uint_eq(brood__spill_take(&spill, &regions), 99);
    spill.regions = 100;
    for (uint32_t i = 0; i < 98; i++)
        ck_assert_uint_ne(brood__spill_take(&spill, &regions), SPILL_NONE);
    ck_assert_uint_eq(brood__spill_take(&spill, &regions), SPILL_NONE);
    free(regions.free);
    brood__spill_close(&spill);
}
END_TEST

START_TEST(the_last_room_that_was_asked_for_counts)
{
    struct spill spill = open_spill();
    struct brood__spilled spilled = {.spill = &spill, .region = 7};

    ck_assert_int_eq(brood__spill_map(&spilled, 10 * KIB), 0);
    ck_assert_int_eq(brood__spill_map(&spilled, 50 * KIB), 0);
    ck_assert_uint_eq(spilled.bytes, 50 * KIB);
    brood__spill_unmap(&spilled, false); /* and it was no result */
    brood__spill_unmap(&spilled, false);
    ck_assert_int_eq(held_kib(&spill), 0);
    brood__spill_close(&spill);
}
END_TEST

START_TEST(what_no_region_holds_is_refused_with_words)
{
    struct spill spill = open_spill(), none = SPILL_CLOSED;
    struct brood__spilled nowhere = {.spill = &none, .region = 1}, huge = {.spill = &spill, .region = 1};

    ck_assert_int_eq(brood__spill_map(&nowhere, 10), -ENOSPC);
    ck_assert_ptr_nonnull(strstr(brood_error(), "no place for more"));
    ck_assert_int_eq(brood__spill_map(&huge, SPILL_REGION), -EMSGSIZE);
    ck_assert_ptr_nonnull(strstr(brood_error(), "less than 4 GiB"));
    ck_assert_uint_eq(brood__spill_take(&none, &(struct spill_regions){0}), SPILL_NONE);
    brood__spill_close(&none);
    brood__spill_close(&spill);
}
END_TEST

/* Else a worker that writes over its slot could make its host read gigabytes of zeros. */
START_TEST(a_length_that_was_not_written_is_not_believed)
{
    struct spill spill = open_spill();
    char bytes[64 * KIB];

    write_result(&spill, 3, 16 * KIB, 1);
    ck_assert_int_eq(brood__spill_read(&spill, 3, bytes, sizeof(bytes)), -EPROTO);
    ck_assert_int_eq(brood__spill_read(&spill, 3, bytes, 16 * KIB), 0);
    brood__spill_close(&spill);
}
END_TEST

/* In the host, in a forked worker, and in one that was given the descriptor. */
START_TEST(another_file_with_the_descriptors_number_is_left_alone)
{
    struct spill spill = open_spill(), given;
    struct brood__spilled forked = {.spill = &spill, .region = 1}, execed = {.spill = &given, .region = 1};
    int other = memfd_create("other", MFD_CLOEXEC), number = spill.fd;
    char byte = 'x';

    brood__spill_attach(&given, number);
    ck_assert_int_eq(brood__spill_map(&execed, 10 * KIB), 0);
    ck_assert_int_eq(write(other, &byte, 1), 1);
    ck_assert_int_eq(dup2(other, number), number);
    brood__spill_unmap(&execed, false); /* which would have made a hole */
    ck_assert_int_eq(brood__spill_read(&spill, 1, &byte, 1), -EIO);
    ck_assert_int_eq(brood__spill_map(&forked, 10), -EIO);
    ck_assert_ptr_nonnull(strstr(brood_error(), "has been closed"));
    ck_assert_int_eq(brood__spill_map(&execed, 10), -EIO);
    brood__spill_clear(&spill, 1);
    ck_assert_int_eq(pread(other, &byte, 1, 0), 1);
    ck_assert_int_eq(byte, 'x');
    brood__spill_close(&spill);
    brood__spill_close(&given);
    ck_assert_int_eq(close(number), 0); /* it was there still */
    close(other);
}
END_TEST

START_TEST(the_file_cannot_be_cut)
{
    struct spill spill = open_spill();

    ck_assert_int_eq(ftruncate(spill.fd, 4096), -1);
    ck_assert_int_eq(errno, EPERM);
    brood__spill_close(&spill);
}
END_TEST

/* To ask for a larger one would be SIGXFSZ. */
START_TEST(a_process_that_may_make_small_files_only_has_none)
{
    struct rlimit before, low;
    struct spill spill;

    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    low = (struct rlimit){.rlim_cur = 3 * SPILL_REGION + 5, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
    brood__spill_open(&spill);
    ck_assert_int_ge(spill.fd, 0);
    ck_assert_uint_eq(spill.regions, 3);
    brood__spill_close(&spill);
    low.rlim_cur = SPILL_REGION - 1;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
    brood__spill_open(&spill);
    ck_assert_int_eq(spill.fd, -1);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spill");

    add_tests(suite, "spill", a_result_is_read_where_it_was_written_and_its_memory_goes_back,
              regions_are_given_once_and_again_when_they_are_back, the_last_room_that_was_asked_for_counts,
              what_no_region_holds_is_refused_with_words, a_length_that_was_not_written_is_not_believed,
              another_file_with_the_descriptors_number_is_left_alone, the_file_cannot_be_cut,
              a_process_that_may_make_small_files_only_has_none, NULL);
    return run_suite(suite);
}
