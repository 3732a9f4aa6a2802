/* fault_run.c - threads, processes, timers and schedulers when an allocation fails: each of them, one at a time. */
#include <errno.h>
#include <stdlib.h>

#include "child.h"
#include "support.h"

/* The allocation that fails, counted from 1; 0: none does.  And how many there were. */
static _Atomic long failing, allocations;

static bool strikes(void)
{
    long n = atomic_fetch_add(&allocations, 1) + 1;

    if (n != atomic_load(&failing))
        return false;
    errno = ENOMEM;
    return true;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    return strikes() ? NULL : __real_malloc(size);
}

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
    return strikes() ? NULL : __real_calloc(n, size);
}

void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size)
{
    return strikes() ? NULL : __real_realloc(memory, size);
}

static int nothing(void *context)
{
    (void)context;
    return 0;
}

/* ---- lives: 0, or the first error ---- */

/* What did not hold, to be told later: check allocates, too. */
static const char *violation;

#define expect(holds) (violation = (holds) || violation ? violation : #holds)

static int live_thread(void)
{
    struct brood_thread *thread = NULL;
    int r = brood_thread_start(&thread, BROOD_THREAD(.run = nothing, .context = "copied", .context_bytes = 7));

    if (r < 0)
        return r;
    r = brood_thread_set_name(thread, "another");
    expect(brood_thread_join(thread, BROOD_FOREVER) == 0);
    brood_thread_free(thread);
    return r;
}

static int live_process(void)
{
    struct brood_process *process = NULL;
    int status = 77, r = brood_process_start(&process, BROOD_PROCESS(.run = nothing, .daemon = 1));

    if (r < 0)
        return r;
    r = brood_process_set_name(process, "another");
    expect(brood_process_join(process, BROOD_FOREVER) == 0);
    expect(brood_process_status(process, &status) == 0);
    expect(brood_process_close(process) == 0);
    expect(status == 0);
    return r;
}

static int live_program(void)
{
    struct brood_process *process = NULL;
    int r = brood_process_start(&process, BROOD_PROCESS(.program = "true"));

    if (r < 0)
        return r;
    expect(brood_process_join(process, BROOD_FOREVER) == 0);
    return brood_process_close(process);
}

static int live_timer(void)
{
    struct brood_timer *timer = NULL;
    int r = brood_timer_start(&timer, BROOD_TIMER(.run = nothing, .context = "copied", .context_bytes = 7));

    if (r < 0)
        return r;
    expect(brood_timer_join(timer, BROOD_FOREVER) == 0);
    expect(brood_timer_count(timer) == 1);
    brood_timer_free(timer);
    return 0;
}

/* Whatever could not be entered, what could be is run. */
static int live_sched(void)
{
    struct brood_sched_entry entries[40];
    struct brood_sched *sched = NULL;
    int64_t entered = 0, listed;
    int r = brood_sched_open(&sched, NULL), error = 0;

    if (r < 0)
        return r;
    for (int i = 0; i < 40; i++) {
        r = brood_sched_enter(sched, 0, i, nothing, NULL, NULL);
        entered += r == 0;
        error = r < 0 ? r : error;
    }
    listed = brood_sched_queue(sched, entries, 40);
    error = listed < 0 ? (int)listed : error;
    expect(listed < 0 || listed == entered);
    expect(brood_sched_count(sched) == (size_t)entered);
    expect(brood_sched_run(sched, NULL, BROOD_FOREVER) == 0);
    brood_sched_close(sched);
    return error;
}

static int (*const lives[])(void) = {live_thread, live_process, live_program, live_timer, live_sched};

#define LIVES (int)(sizeof(lives) / sizeof(lives[0]))

/* ---- the walk ---- */

static int live_with(int (*live)(void), long nth)
{
    int r;

    atomic_store(&allocations, 0);
    atomic_store(&failing, nth);
    r = live();
    atomic_store(&failing, 0);
    ck_assert_msg(!violation, "allocation %ld: this did not hold: %s", nth, violation);
    return r;
}

/* An allocation of the child, or one that can be done without, is no error here. */
START_TEST(an_allocation_that_fails_is_an_error_and_nothing_else)
{
    char words[256];
    int errors = 0;

    ck_assert_int_eq(live_with(lives[_i], 0), 0); /* what is made once is there */
    for (long nth = 1; nth <= 1000; nth++) {
        int r = live_with(lives[_i], nth);

        ck_assert_msg(r == 0 || r == -ENOMEM || r == -EAGAIN, "allocation %ld: %d, %s", nth, r, brood_error());
        ck_assert_msg(is_clean(words, sizeof(words)), "allocation %ld: %s", nth, words);
        ck_assert_int_eq(brood_thread_count(), 1);
        ck_assert_int_eq(brood_process_children(NULL, 0), 0);
        errors += r < 0;
        if (atomic_load(&allocations) < nth)
            break;
    }
    ck_assert_int_ge(errors, 1); /* the handle of a process is all that its start allocates */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("faults of lib/run");

    add_loop_tests(suite, "lives", 0, LIVES, an_allocation_that_fails_is_an_error_and_nothing_else, NULL);
    return run_suite(suite);
}
