/* check_shared_heap.c - the heap that any process may use, and be killed in: behind each store, if ptrace is permitted.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ptrace.h>

#include "child.h"
#include "support.h"

#define KIB ((size_t)1 << 10)
#define PAGE (4 * KIB)

static struct brood_heap *heap_of(size_t bytes)
{
    struct brood_heap *heap = shared_memory(bytes);

    ck_assert_int_eq(brood_heap_init(heap, bytes), 0);
    return heap;
}

static uint64_t alloc(struct brood_heap *heap, size_t bytes)
{
    uint64_t offset = 0;
    int r = brood_heap_alloc(heap, bytes, &offset, BROOD_FOREVER);

    ck_assert_msg(r == 0, "%s", brood_error());
    return offset;
}

static void release(struct brood_heap *heap, uint64_t offset)
{
    int r = brood_heap_free(heap, offset, BROOD_FOREVER);

    ck_assert_msg(r == 0, "%s", brood_error());
}

static size_t used(struct brood_heap *heap)
{
    size_t bytes = SIZE_MAX;

    ck_assert_int_eq(brood_heap_used(heap, &bytes, BROOD_FOREVER), 0);
    return bytes;
}

/* ---- blocks ---- */

static const struct {
    size_t wanted, gets;
} sizes[] = {{0, 64},
             {1, 64},
             {64, 64},
             {65, 128},
             {1000, KIB},
             {2 * KIB, 2 * KIB},
             {2 * KIB + 1, PAGE},
             {PAGE, PAGE},
             {PAGE + 1, 2 * PAGE},
             {9 * PAGE + 5, 10 * PAGE}};
#define SIZES (int)(sizeof(sizes) / sizeof(sizes[0]))

START_TEST(blocks_are_zeroed_aligned_and_apart)
{
    struct brood_heap *heap = heap_of(300 * KIB);
    uint64_t offsets[5];

    for (int round = 0; round < 2; round++) { /* the second gets what the first has written to */
        for (int i = 0; i < 5; i++) {
            char *block = brood_heap_at(heap, offsets[i] = alloc(heap, sizes[_i].wanted));

            ck_assert_uint_eq((uintptr_t)block % 64, 0);
            ck_assert_uint_eq(brood_heap_offset(heap, block), offsets[i]);
            for (size_t j = 0; j < sizes[_i].wanted; j++)
                if (block[j] != 0)
                    ck_abort_msg("byte %zu of block %d is %d", j, i, block[j]);
            memset(block, i + 1, sizes[_i].gets);
        }
        ck_assert_uint_eq(used(heap), 5 * sizes[_i].gets);
        for (int i = 0; i < 5; i++) {
            ck_assert_int_eq(*(char *)brood_heap_at(heap, offsets[i]), i + 1);
            release(heap, offsets[i]);
        }
        ck_assert_uint_eq(used(heap), 0);
    }
}
END_TEST

/* How many blocks of that size it gives, all of which it takes back. */
static size_t capacity(struct brood_heap *heap, size_t bytes)
{
    uint64_t *offsets = calloc(heap->pages * 64 + 1, sizeof(*offsets));
    size_t count = 0;
    int r;

    while ((r = brood_heap_alloc(heap, bytes, &offsets[count], BROOD_FOREVER)) == 0)
        count++;
    ck_assert_int_eq(r, -ENOMEM);
    for (size_t i = count; i-- > 0;)
        release(heap, offsets[i]);
    free(offsets);
    return count;
}

START_TEST(all_of_the_memory_can_be_used_again_and_again)
{
    struct brood_heap *heap = heap_of(200 * KIB);

    ck_assert_uint_gt(heap->pages * PAGE, 196 * KIB - 4 * KIB);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(capacity(heap, 64), heap->pages * 64);
        ck_assert_uint_eq(capacity(heap, 2 * KIB), heap->pages * 2);
        ck_assert_uint_eq(capacity(heap, PAGE), heap->pages);
        ck_assert_uint_eq(capacity(heap, 3 * PAGE), heap->pages / 3);
        ck_assert_uint_eq(capacity(heap, heap->pages * PAGE), 1);
    }
    ck_assert_int_eq(brood_heap_alloc(heap, heap->pages * PAGE + 1, &(uint64_t){0}, BROOD_FOREVER), -ENOMEM);
    ck_assert_int_eq(brood_heap_alloc(heap, SIZE_MAX, &(uint64_t){0}, BROOD_FOREVER), -ENOMEM);
    ck_assert_uint_eq(used(heap), 0);
}
END_TEST

START_TEST(a_page_with_a_hole_is_found_before_a_new_one_is_begun)
{
    struct brood_heap *heap = heap_of(100 * KIB);
    uint64_t first = alloc(heap, 64), second;

    for (int i = 0; i < 63; i++)
        (void)alloc(heap, 64);
    second = alloc(heap, 64);
    ck_assert_uint_ge(second - first, PAGE);
    release(heap, first + 64);
    ck_assert_uint_eq(alloc(heap, 64), first + 64);
}
END_TEST

START_TEST(what_is_no_block_is_not_freed)
{
    struct brood_heap *heap = heap_of(100 * KIB);
    uint64_t small = alloc(heap, 100), large = alloc(heap, 3 * PAGE);
    const uint64_t none[] = {1,          64,           small + 1,        small + 64, small + 128,
                             large + 64, large + PAGE, large + 3 * PAGE, 1 << 20,    UINT64_MAX};

    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        ck_assert_int_eq(brood_heap_free(heap, none[i], BROOD_NOW), -EINVAL);
    ck_assert_uint_eq(used(heap), 128 + 3 * PAGE);
    release(heap, small);
    release(heap, large);
    ck_assert_int_eq(brood_heap_free(heap, small, BROOD_NOW), -EINVAL);
    ck_assert_int_eq(brood_heap_free(heap, large, BROOD_NOW), -EINVAL);
    ck_assert_int_eq(brood_heap_free(heap, 0, BROOD_NOW), 0);
    ck_assert_ptr_null(brood_heap_at(heap, 0));
    ck_assert_uint_eq(brood_heap_offset(heap, NULL), 0);
}
END_TEST

START_TEST(what_is_no_heap_is_refused)
{
    size_t bytes = 100 * KIB;
    struct brood_heap *heap = heap_of(bytes);

    ck_assert_int_eq(brood_heap_init(NULL, bytes), -EINVAL);
    ck_assert_int_eq(brood_heap_init((struct brood_heap *)(void *)((char *)heap + 8), bytes - 8), -EINVAL);
    ck_assert_int_eq(brood_heap_init(heap, BROOD_HEAP_BYTES_MIN - 1), -EINVAL);
    ck_assert_int_eq(brood_heap_check(heap, bytes), 0);
    ck_assert_int_eq(brood_heap_check(heap, bytes / 2), -EINVAL);
    (void)alloc(heap, 2 * PAGE);
    ck_assert_int_eq(brood_heap_check(heap, bytes), 0);
    memset((char *)(heap + 1) + 4, 0xff, 4); /* the length of that run */
    ck_assert_int_eq(brood_heap_check(heap, bytes), -EINVAL);
    heap->magic++;
    ck_assert_int_eq(brood_heap_check(heap, bytes), -EINVAL);
}
END_TEST

/* ---- many at once ---- */

#define HELD 20
#define ROUNDS 3000

struct user {
    struct brood_heap *heap;
    unsigned seed;
};

/* Holds some blocks, each full of its own mark, and exchanges them all the time. */
static void *exchange(void *argument)
{
    const struct user *user = argument;
    uint64_t offsets[HELD] = {0};
    size_t lengths[HELD] = {0};
    unsigned seed = user->seed;

    for (int i = 0; i < ROUNDS; i++) {
        int which = rand_r(&seed) % HELD;
        unsigned char *block = brood_heap_at(user->heap, offsets[which]);

        for (size_t j = 0; j < lengths[which]; j++)
            if (block[j] != user->seed)
                ck_abort_msg("byte %zu of a block of %u is %d", j, user->seed, block[j]);
        release(user->heap, offsets[which]);
        lengths[which] = (size_t)(rand_r(&seed) % 10 == 0 ? rand_r(&seed) % (3 * (int)PAGE) : rand_r(&seed) % 600);
        offsets[which] = alloc(user->heap, lengths[which]);
        memset(brood_heap_at(user->heap, offsets[which]), (int)user->seed, lengths[which]);
    }
    for (int i = 0; i < HELD; i++)
        release(user->heap, offsets[i]);
    return NULL;
}

static void exchange_in_a_process(void *user)
{
    (void)exchange(user);
}

START_TEST(threads_and_processes_share_it)
{
    struct brood_heap *heap = heap_of(2048 * KIB);
    struct user users[3];
    pthread_t threads[3];
    pid_t pids[3];

    for (unsigned i = 0; i < 3; i++) {
        users[i] = (struct user){heap, i + 1};
        if (_i == 0)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, exchange, &users[i]), 0);
        else
            pids[i] = spawn(exchange_in_a_process, &users[i]);
    }
    for (int i = 0; i < 3; i++)
        if (_i == 0)
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        else
            join(pids[i]);
    ck_assert_uint_eq(used(heap), 0);
}
END_TEST

static void stand_at_the_books(void *argument)
{
    struct brood_heap *heap = argument;

    ck_assert_int_eq(brood_lock_acquire(&heap->lock, BROOD_NOW), 0);
    for (;;)
        pause();
}

/* semantics: K19 */
START_TEST(a_deadline_is_kept_while_another_is_at_the_books)
{
    struct brood_heap *heap = heap_of(100 * KIB);
    uint64_t offset = alloc(heap, 1);
    pid_t pid = spawn(stand_at_the_books, heap);
    int64_t from;

    await(brood_lock_held(&heap->lock));
    from = now_ms();
    ck_assert_int_eq(brood_heap_alloc(heap, 1, &offset, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_heap_free(heap, offset, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_heap_alloc(heap, 1, &offset, brood_after_ms(40)), -ETIMEDOUT);
    ck_assert_int_eq(brood_heap_used(heap, &(size_t){0}, brood_after_ms(40)), -ETIMEDOUT);
    ck_assert_int_ge(now_ms() - from, 79);
    put_to_death(pid);
    release(heap, offset); /* and no process has to be notified */
}
END_TEST

/* ---- a death behind each store ---- */

/* What the victim does; before it there are two blocks, and what is used after its death is one of a few numbers. */
struct act {
    const char *name;
    void (*play)(struct brood_heap *heap, const uint64_t *blocks);
    size_t used[4]; /* up to 0 */
};

#define BEFORE (64 + 3 * PAGE)

static void alloc_first_small(struct brood_heap *heap, const uint64_t *blocks)
{
    (void)blocks;
    (void)!brood_heap_alloc(heap, 300, &(uint64_t){0}, BROOD_FOREVER);
}

static void alloc_second_small(struct brood_heap *heap, const uint64_t *blocks)
{
    (void)blocks;
    (void)!brood_heap_alloc(heap, 64, &(uint64_t){0}, BROOD_FOREVER);
}

static void alloc_three_pages(struct brood_heap *heap, const uint64_t *blocks)
{
    (void)blocks;
    (void)!brood_heap_alloc(heap, 3 * PAGE, &(uint64_t){0}, BROOD_FOREVER);
}

static void free_small(struct brood_heap *heap, const uint64_t *blocks)
{
    (void)brood_heap_free(heap, blocks[0], BROOD_FOREVER);
}

static void free_three_pages(struct brood_heap *heap, const uint64_t *blocks)
{
    (void)brood_heap_free(heap, blocks[1], BROOD_FOREVER);
}

static const struct act acts[] = {
    {"alloc, the first of its size", alloc_first_small, {BEFORE, BEFORE + 512}},
    {"alloc, the second of its size", alloc_second_small, {BEFORE, BEFORE + 64}},
    {"alloc of pages", alloc_three_pages, {BEFORE, BEFORE + 3 * PAGE}},
    {"free of a small one", free_small, {BEFORE, BEFORE - 64}},
    {"free of pages", free_three_pages, {BEFORE, BEFORE - 3 * PAGE}},
};
#define ACTS (int)(sizeof(acts) / sizeof(acts[0]))

struct stage {
    _Atomic int phase;
    struct brood_heap *heap;
    uint64_t blocks[2];
};

static void perform(const struct act *act, struct stage *stage)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        _exit(77);
    (void)!brood_heap_used(stage->heap, &(size_t){0}, BROOD_FOREVER); /* its identity, which it finds out once */
    (void)raise(SIGSTOP);
    atomic_store(&stage->phase, 1);
    act->play(stage->heap, stage->blocks);
    atomic_store(&stage->phase, 2);
    for (;;)
        (void)pause();
}

static void step(pid_t pid)
{
    int status;

    ck_assert_int_eq((int)ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP, "a step ended with status %#x", (unsigned)status);
}

/* A victim at its first instruction.  0: no process may trace here. */
static pid_t victim(const struct act *act, struct stage *stage)
{
    pid_t pid = fork();
    int status;

    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        perform(act, stage);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status))
        return 0;
    while (atomic_load(&stage->phase) == 0)
        step(pid);
    return pid;
}

static void expect_right(const struct act *act, struct stage *stage, size_t bytes, int stores)
{
    size_t now = used(stage->heap), i = 0;
    uint64_t again;

    while (act->used[i] != 0 && act->used[i] != now)
        i++;
    ck_assert_msg(act->used[i] == now, "%s, killed after %d stores: %zu bytes are used", act->name, stores, now);
    ck_assert_int_eq(brood_heap_check(stage->heap, bytes), 0);
    (void)brood_heap_free(stage->heap, stage->blocks[0], BROOD_NOW);
    (void)brood_heap_free(stage->heap, stage->blocks[1], BROOD_NOW);
    again = alloc(stage->heap, 64);
    ck_assert_uint_eq(again, stage->blocks[0]); /* the first block of the first page: nothing went astray */
    release(stage->heap, again);
    if (used(stage->heap) == 0) /* the dead one has no block: then all pages are there */
        ck_assert_uint_eq(capacity(stage->heap, stage->heap->pages * PAGE), 1);
}

/* Lets the victim make the steps up to its next store to the books.  False: it is done. */
static bool step_to_store(pid_t pid, struct stage *stage)
{
    char books[1024];
    size_t bytes = (size_t)stage->heap->first_page;

    ck_assert_uint_le(bytes, sizeof(books));
    memcpy(books, stage->heap, bytes);
    while (atomic_load(&stage->phase) == 1) {
        step(pid);
        if (memcmp(books, stage->heap, bytes) != 0)
            return true;
    }
    return false;
}

/* The victim is killed after so many stores to the books.  0: it was done before; -1: no process may trace here. */
static int kill_after(const struct act *act, struct stage *stage, int stores)
{
    size_t bytes = 64 * KIB;
    int made = 0;
    pid_t pid;

    ck_assert_int_eq(brood_heap_init(stage->heap, bytes), 0);
    atomic_store(&stage->phase, 0);
    stage->blocks[0] = alloc(stage->heap, 64);
    stage->blocks[1] = alloc(stage->heap, 3 * PAGE);
    pid = victim(act, stage);
    if (pid == 0)
        return -1;
    while (made < stores && step_to_store(pid, stage))
        made++;
    put_to_death(pid);
    expect_right(act, stage, bytes, made);
    return made == stores;
}

/* A death at another instruction looks like one of these. */
START_TEST(the_books_are_right_after_a_death_behind_any_store)
{
    struct stage *stage = shared_memory(sizeof(*stage));
    int stores = 0, r;

    stage->heap = shared_memory(64 * KIB);
    while ((r = kill_after(&acts[_i], stage, stores)) == 1)
        stores++;
    ck_assert(r < 0 || stores > 3); /* the lock, the hint, the block, the lock */
    if (r < 0)
        (void)fprintf(stderr, "ptrace is not permitted here: no death behind each store\n");
}
END_TEST

int main(int argc, char **argv)
{
    bool threads_only = argc > 1 && strcmp(argv[1], "--threads") == 0;
    Suite *suite = suite_create("shared heap");

    add_loop_tests(suite, "sizes", 0, SIZES, blocks_are_zeroed_aligned_and_apart, NULL);
    add_tests(suite, "blocks", all_of_the_memory_can_be_used_again_and_again,
              a_page_with_a_hole_is_found_before_a_new_one_is_begun, what_is_no_block_is_not_freed,
              what_is_no_heap_is_refused, NULL);
    add_loop_tests(suite, "both kinds", 0, threads_only ? 1 : 2, threads_and_processes_share_it, NULL);
    if (!threads_only) {
        add_tests(suite, "deadlines", a_deadline_is_kept_while_another_is_at_the_books, NULL);
        add_loop_tests(suite, "deaths", 0, ACTS, the_books_are_right_after_a_death_behind_any_store, NULL);
    }
    return run_suite(suite);
}
