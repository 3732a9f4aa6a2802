/* conform_openmp.c - OpenMP in the host and in its workers. */
#include <omp.h>
#include <string.h>

#include "support.h"

#define TERMS 100000

BROOD_TASK(sum_up, int, double)
{
    double sum = 0;

#pragma omp parallel for reduction(+ : sum) num_threads(2)
    for (int i = 0; i < *arg; i++)
        sum += i;
    *result = sum;
    return 0;
}

static void sum_in_host(void)
{
    double sum = 0;

#pragma omp parallel for reduction(+ : sum) num_threads(2)
    for (int i = 0; i < TERMS; i++)
        sum += i;
    ck_assert_double_eq(sum, TERMS * (TERMS - 1.0) / 2);
}

static void sum_in_workers(struct brood_pool *pool)
{
    double sums[8];
    int terms[8];

    for (int i = 0; i < 8; i++)
        terms[i] = TERMS;
    ck_assert_msg(brood_map(pool, sum_up, sums, terms, 8) == 0, "%s", brood_error());
    for (int i = 0; i < 8; i++)
        ck_assert_double_eq(sums[i], TERMS * (TERMS - 1.0) / 2);
}

/* semantics: K12 */
START_TEST(workers_of_their_own_program_use_openmp_although_the_host_has)
{
    static const char *const arguments[] = {"worker", NULL};
    brood_auto(pool) *pool = NULL;
    struct brood_pool_options *options = BROOD_POOL(.workers = 2, .worker = "/proc/self/exe", .worker_args = arguments);

    sum_in_host();
    ck_assert_msg(brood_pool_open(&pool, options) == 0, "%s", brood_error());
    sum_in_workers(pool);
    sum_in_host();
    ck_assert_int_eq(omp_pause_resource_all(omp_pause_hard), 0); /* its threads are not ours to count */
}
END_TEST

/* semantics: K12 */
START_TEST(forked_workers_use_openmp_when_the_host_has_not_before)
{
    brood_auto(pool) *pool = NULL;

    ck_assert_msg(brood_pool_open(&pool, BROOD_POOL(.workers = 2)) == 0, "%s", brood_error());
    sum_in_host();
    sum_in_workers(pool);
    ck_assert_int_eq(omp_pause_resource_all(omp_pause_hard), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("openmp");

    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return brood_worker_main(argc, argv);
    add_tests(suite, "openmp", workers_of_their_own_program_use_openmp_although_the_host_has,
              forked_workers_use_openmp_when_the_host_has_not_before, NULL);
    return run_suite(suite);
}
