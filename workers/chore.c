/* chore.c - a task for a storm. */
#include "chore.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <brood/pool.h>
#include <brood/worker.h>

#define EXIT_CODE 23
#define STACK_BYTES (256 * 1024)

/* ---- which worker began ---- */

static _Atomic int32_t *begun_by; /* by worker; written by workers, in memory of its own that they inherit */

int chores_open(void)
{
    void *memory =
        mmap(NULL, BROOD_WORKERS_MAX * sizeof(*begun_by), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    begun_by = memory == MAP_FAILED ? NULL : memory;
    return begun_by ? 0 : -ENOMEM;
}

void chores_close(void)
{
    if (begun_by)
        munmap(begun_by, BROOD_WORKERS_MAX * sizeof(*begun_by));
    begun_by = NULL;
}

pid_t chores_begun_by(int worker)
{
    return begun_by[worker];
}

/* Stores only what is new: the workers share these cache lines. */
static void note_begin(struct cell *cell)
{
    _Atomic int32_t *mine = &begun_by[brood_worker_id()];
    pid_t pid = getpid();

    atomic_store(&cell->pid, pid);
    atomic_fetch_add(&cell->begun, 1);
    if (*mine != pid)
        *mine = pid;
}

/* ---- what it does ---- */

uint64_t chore_value(uint32_t number)
{
    uint64_t x = number + 1;

    for (unsigned i = 0; i < 200 + number % 400; i++)
        x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9;
    return x;
}

/* ---- ways to die ---- */

static int step_on_nothing(void)
{
    volatile char *page = mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    *page = 1;
    return -EFAULT;
}

/* Reads after the call, or a compiler would make a loop of it. */
__attribute__((noinline)) static int dig(unsigned depth)
{
    volatile char hole[4096];
    int below;

    hole[0] = (char)depth;
    if (depth == 0)
        return 0;
    below = dig(depth - 1);
    return below + hole[0];
}

/* The limit may be none, and the machine's memory the end. */
static int dig_too_deep(void)
{
    setrlimit(RLIMIT_STACK, &(struct rlimit){STACK_BYTES, STACK_BYTES});
    return dig(UINT32_MAX);
}

/* Returns if the chore is not to die. */
static int end(const struct chore *chore)
{
    if (chore->way >= BY_SEGV) {
        atomic_store(&chore->cell->dying, 1);
        prctl(PR_SET_DUMPABLE, 0); /* thousands of core files are no part of the test */
    }
    switch ((enum way)chore->way) {
    case REFUSE:
        return brood_fail(-EDOM, "chore %u refuses", chore->number);
    case BY_SEGV:
        return step_on_nothing();
    case BY_ABORT:
        abort();
    case BY_EXIT:
        _exit(EXIT_CODE);
    case BY_OVERFLOW:
        return dig_too_deep();
    case BY_KILL:
        return raise(SIGKILL);
    default:
        return 0;
    }
}

bool way_explains(enum way way, const struct brood_death *death)
{
    static const struct {
        int signal, exit_code;
    } endings[WAYS] = {
        [BY_SEGV] = {SIGSEGV, 0},     [BY_ABORT] = {SIGABRT, 0}, [BY_EXIT] = {0, EXIT_CODE},
        [BY_OVERFLOW] = {SIGSEGV, 0}, [BY_KILL] = {SIGKILL, 0},
    };

    return way >= BY_SEGV && death->signal == endings[way].signal && death->exit_code == endings[way].exit_code;
}

/* ---- the tasks ---- */

static int do_chore(const struct chore *chore, uint64_t *ret_value)
{
    struct cell *cell = chore->cell;
    int r;

    note_begin(cell);
    *ret_value = chore_salted(chore_value(chore->number), chore->salt);
    if (chore->pause_us > 0)
        nanosleep(&(struct timespec){.tv_nsec = chore->pause_us * 1000L}, NULL);
    r = end(chore);
    atomic_fetch_add(&cell->ended, 1);
    return r;
}

BROOD_TASK_DEFINE(chaos_chore, struct chore, uint64_t)
{
    return do_chore(arg, result);
}

BROOD_TASK_DEFINE(chaos_letter, struct letter, struct reply)
{
    for (size_t i = 0; i < LETTER_BYTES; i++)
        result->text[i] = letter_changed(arg->text[i], arg->chore.salt);
    return do_chore(&arg->chore, &result->value);
}
