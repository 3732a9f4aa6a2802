/* fault_queue.c - queues where memory is refused: for one more queue that a thread uses, for a new queue, for growth.  (The
 * linker puts the functions of this file before those that it wraps.) */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "child.h"
#include "support.h"

static bool is_refused; /* memory, to the library */

void *__real_calloc(size_t n, size_t m);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_calloc(size_t n, size_t m)
{
    return is_refused ? NULL : __real_calloc(n, m);
}

void *__real_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    errno = ENOMEM;
    return is_refused ? MAP_FAILED : __real_mmap(at, n, protection, flags, fd, offset);
}

int __real_madvise(void *at, size_t n, int advice);
int __wrap_madvise(void *at, size_t n, int advice);
int __wrap_madvise(void *at, size_t n, int advice)
{
    errno = EFAULT;
    return is_refused ? -1 : __real_madvise(at, n, advice);
}

/* Check allocates, too: so it is asked afterwards. */
static int put_refused(struct brood_queue *queue, size_t bytes)
{
    static char message[100000];
    int r;

    is_refused = true;
    r = brood_queue_put(queue, (struct brood_bytes){message, bytes}, BROOD_NOW);
    is_refused = false;
    return r;
}

static int put(struct brood_queue *queue)
{
    return brood_queue_put(queue, (struct brood_bytes){"", 1}, BROOD_NOW);
}

static int get(struct brood_queue *queue)
{
    char byte;
    struct brood_space space = {&byte, 1};

    return brood_queue_get(queue, &space, BROOD_NOW);
}

static struct brood_queue *open_queue(void)
{
    struct brood_queue *queue = NULL;

    ck_assert_msg(brood_queue_open(&queue, BROOD_QUEUE(.joinable = true)) == 0, "%s", brood_error());
    return queue;
}

START_TEST(a_queue_for_which_there_is_no_memory_is_not_opened)
{
    struct brood_queue *queue = NULL;
    int r;

    is_refused = true;
    r = brood_queue_open(&queue, NULL);
    is_refused = false;
    ck_assert_int_eq(r, -ENOMEM);
    ck_assert_ptr_null(queue);
    ck_assert_ptr_nonnull(strstr(brood_error(), "address space"));
}
END_TEST

START_TEST(a_queue_that_cannot_grow_says_so_and_goes_on)
{
    brood_auto(queue) *queue = open_queue();

    ck_assert_int_eq(put(queue), 0);
    ck_assert_int_eq(put_refused(queue, 100000), -ENOSPC);
    ck_assert_ptr_nonnull(strstr(brood_error(), "no memory"));
    ck_assert_uint_eq(brood_queue_unfinished(queue), 1);
    ck_assert_int_eq(put(queue), 0);
    ck_assert_uint_eq(brood_queue_size(queue), 2);
}
END_TEST

enum { QUEUES = 8 }; /* that a thread notes without memory of its own */

/* It has messages of each of them in hand, so that none makes room for one more. */
START_TEST(a_thread_that_cannot_note_one_more_queue_is_told_and_takes_no_number)
{
    struct brood_queue *queues[QUEUES];
    brood_auto(queue) *one_more = open_queue();

    for (int i = 0; i < QUEUES; i++) {
        queues[i] = open_queue();
        ck_assert_int_eq(put(queues[i]), 0);
        ck_assert_int_eq(get(queues[i]), 0);
    }
    for (int i = 0; i < 2 * BROOD_QUEUE_USERS_MAX; i++)
        ck_assert_int_eq(put_refused(one_more, 1), -ENOMEM);
    ck_assert_ptr_nonnull(strstr(brood_error(), "one more queue"));
    ck_assert_uint_eq(brood_queue_size(one_more), 0);
    ck_assert_int_eq(put(one_more), 0);
    for (int i = 0; i < QUEUES; i++) {
        ck_assert_int_eq(brood_queue_task_done(queues[i]), 0);
        ck_assert_int_eq(brood_queue_close(queues[i]), 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queues without memory");

    add_tests(suite, "refused", a_queue_for_which_there_is_no_memory_is_not_opened,
              a_queue_that_cannot_grow_says_so_and_goes_on,
              a_thread_that_cannot_note_one_more_queue_is_told_and_takes_no_number, NULL);
    return run_suite(suite);
}
