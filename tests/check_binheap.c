/* check_binheap.c - what is first in a heap, and what it costs to leave it. */
#include <stdlib.h>

#include "pool/core/binheap.h"
#include "support.h"

#define MANY 32000

static struct binheap heap;
static struct binheap_node nodes[MANY];

static void add(int i, int64_t key)
{
    ck_assert(brood__binheap_reserve(&heap, heap.count + 1));
    brood__binheap_add(&heap, &nodes[i], key);
}

static int take_first(void)
{
    struct binheap_node *node = brood__binheap_first(&heap);

    if (!node)
        return -1;
    brood__binheap_remove(node);
    ck_assert_ptr_null(node->heap);
    return (int)(node - nodes);
}

START_TEST(an_empty_heap_has_no_first)
{
    ck_assert_ptr_null(brood__binheap_first(&heap));
    add(0, 1);
    ck_assert_int_eq(take_first(), 0);
    ck_assert_ptr_null(brood__binheap_first(&heap));
    brood__binheap_close(&heap);
}
END_TEST

START_TEST(the_lowest_key_is_first_and_of_equals_the_first_added)
{
    static const int64_t keys[] = {3, -1, 3, INT64_MAX, -1, INT64_MIN, 0};
    static const int order[] = {5, 1, 4, 6, 0, 2, 3, -1};

    for (int i = 0; i < 7; i++)
        add(i, keys[i]);
    ck_assert_int_eq(brood__binheap_key(&nodes[2]), 3);
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(take_first(), order[i]);
    brood__binheap_close(&heap);
}
END_TEST

/* Against a plain array, in which the first is searched for. */
START_TEST(whatever_leaves_the_others_keep_their_order)
{
    enum { SOME = 200 };
    int64_t keys[SOME], added[SOME], number = 0;
    unsigned seed = 1;

    for (int step = 0; step < 100000; step++) {
        int i = rand_r(&seed) % SOME, first = -1;

        if (nodes[i].heap)
            brood__binheap_remove(&nodes[i]);
        else {
            keys[i] = rand_r(&seed) % 20;
            added[i] = number++;
            add(i, keys[i]);
        }
        for (int k = 0; k < SOME; k++)
            if (nodes[k].heap &&
                (first < 0 || keys[k] < keys[first] || (keys[k] == keys[first] && added[k] < added[first])))
                first = k;
        ck_assert_ptr_eq(brood__binheap_first(&heap), first < 0 ? NULL : &nodes[first]);
        ck_assert(!nodes[i].heap || brood__binheap_key(&nodes[i]) == keys[i]);
    }
    brood__binheap_close(&heap);
}
END_TEST

/* In ps: n come with falling keys, so that each becomes the first, and leave from the middle. */
static int64_t cost_of(int n)
{
    int64_t began = thread_cpu_ns();

    for (int i = 0; i < n; i++)
        add(i, -i);
    for (int i = 0; i < n; i++)
        brood__binheap_remove(&nodes[(i + n / 2) % n]);
    return (thread_cpu_ns() - began) * 1000 / n;
}

START_TEST(to_come_and_to_leave_costs_about_the_same_among_few_and_many)
{
    int64_t few = 0, many = 1;

    for (int i = 0; i < 6 && many > 4 * few; i++) {
        few = cost_of(MANY / 32);
        many = cost_of(MANY);
    }
    ck_assert_msg(many <= 4 * few, "%lld ps of %d, %lld ps of %d", (long long)few, MANY / 32, (long long)many, MANY);
    brood__binheap_close(&heap);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("binheap");

    add_tests(suite, "order", an_empty_heap_has_no_first, the_lowest_key_is_first_and_of_equals_the_first_added,
              whatever_leaves_the_others_keep_their_order, NULL);
    add_tests(suite, "cost", to_come_and_to_leave_costs_about_the_same_among_few_and_many, NULL);
    return run_suite(suite);
}
