/* fault_pipe.c - pipes and shared memory when something is refused: each allocation and each system call that may fail,
 * one at a time.  (The linker puts the functions of this file before those that it wraps.) */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "child.h"
#include "support.h"

#define LARGE ((size_t)4 << 20)

/* The call that fails, counted from 1; 0: none does.  And how many there were. */
static long failing, calls;

static bool strikes(int error)
{
    calls++;
    if (calls != failing)
        return false;
    errno = error;
    return true;
}

/* X(type, name, parameters, arguments, what it returns when it fails, its errno) */
#define CALLS(X)                                                                                                  \
    X(void *, malloc, (size_t n), (n), NULL, ENOMEM)                                                              \
    X(void *, calloc, (size_t n, size_t m), (n, m), NULL, ENOMEM)                                                 \
    X(void *, reallocarray, (void *p, size_t n, size_t m), (p, n, m), NULL, ENOMEM)                               \
    X(int, socketpair, (int domain, int type, int protocol, int *fds), (domain, type, protocol, fds), -1, EMFILE) \
    X(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1, ENFILE)                           \
    X(int, ftruncate, (int fd, off_t size), (fd, size), -1, EPERM)                                                \
    X(int, posix_fallocate, (int fd, off_t at, off_t size), (fd, at, size), ENOSPC, 0)                            \
    X(int, linkat, (int a, const char *b, int c, const char *d, int e), (a, b, c, d, e), -1, ENOENT)              \
    X(int, fstat, (int fd, struct stat *status), (fd, status), -1, EIO)                                           \
    X(int, flock, (int fd, int how), (fd, how), -1, EINTR)                                                        \
    X(void *, mmap, (void *at, size_t n, int a, int b, int c, off_t d), (at, n, a, b, c, d), MAP_FAILED, ENOMEM)

#define WRAP(type, name, parameters, arguments, failure, error)      \
    type __real_##name parameters;                                   \
    type __wrap_##name parameters;                                   \
    type __wrap_##name parameters                                    \
    {                                                                \
        return strikes(error) ? (failure) : __real_##name arguments; \
    }

CALLS(WRAP)

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    unsigned mode;

    va_start(arguments, flags);
    mode = va_arg(arguments, unsigned);
    va_end(arguments);
    return strikes(EMFILE) ? -1 : __real_open(path, flags, mode);
}

/* ---- lives: 0, or the first error ---- */

/* What did not hold, to be told later: check makes such calls, too. */
static const char *violation;

#define expect(holds) (violation = (holds) || violation ? violation : #holds)

static char message[LARGE], place[LARGE];

/* A message that both sides keep a part of, because their deadlines come in its middle. */
static int pass_in_parts(struct brood_pipe *here, struct brood_pipe *there)
{
    struct brood_space space = {place, LARGE};
    int sent = brood_pipe_send(there, (struct brood_bytes){message, LARGE}, BROOD_NOW), r;

    expect(sent == -EINPROGRESS || sent == -ENOTRECOVERABLE);
    if (sent == -ENOTRECOVERABLE) { /* the rest could not be kept: its receiver learns of it */
        expect(brood_pipe_send(there, (struct brood_bytes){"x", 1}, BROOD_FOREVER) == -ENOTRECOVERABLE);
        expect(brood_pipe_close(there) == 0);
        r = brood_pipe_recv(here, &space, BROOD_FOREVER);
        expect(r == -EBADMSG);
        return sent;
    }
    while ((r = brood_pipe_recv(here, &space, BROOD_NOW)) == -EAGAIN)
        (void)brood_pipe_flush(there, BROOD_NOW);
    if (r < 0) { /* the part could not be kept: nothing more can come */
        expect(r == -ENOTRECOVERABLE);
        expect(brood_pipe_recv(here, &space, BROOD_FOREVER) == -ENOTRECOVERABLE);
        return r;
    }
    expect(space.len == LARGE && memcmp(place, message, LARGE) == 0);
    return 0;
}

static int live_pipe(void)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    int r = brood_pipe_open(&here, &there, BROOD_PIPE_DUPLEX);

    expect((r == 0) == (here && there));
    return r < 0 ? r : pass_in_parts(here, there);
}

static int live_wait(void)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    struct brood_waited things[100];
    bool ready[100];
    int r = brood_pipe_open(&here, &there, BROOD_PIPE_DUPLEX);

    if (r < 0)
        return r;
    for (int i = 0; i < 100; i++)
        things[i] = BROOD_WAIT_PIPE(here);
    r = brood_wait(things, 100, ready, BROOD_NOW);
    return r == -EAGAIN ? 0 : r;
}

static int live_memory(void)
{
    brood_auto(memory) *memory = NULL, *again = NULL;
    char name[32];
    int r, s;

    (void)snprintf(name, sizeof(name), "fault-%d", getpid());
    r = brood_memory_create(&memory, name, 100000);
    expect((r == 0) == (memory != NULL));
    if (r == 0) {
        r = brood_memory_attach(&again, name);
        expect((r == 0) == (again != NULL));
        s = brood_memory_unlink(name);
        expect(s == 0);
    } else {
        expect(brood_memory_unlink(name) == -ENOENT); /* no name without memory */
    }
    return r;
}

static int live_anonymous(void)
{
    brood_auto(memory) *memory = NULL, *again = NULL;
    int r = brood_memory_create(&memory, NULL, 100000), copy;

    if (r < 0)
        return r;
    copy = fcntl(brood_memory_fd(memory), F_DUPFD_CLOEXEC, 3);
    r = brood_memory_from_fd(&again, copy);
    if (r < 0)
        expect(close(copy) == 0); /* it is still the caller's */
    return r;
}

static int (*const lives[])(void) = {live_pipe, live_wait, live_memory, live_anonymous};

#define LIVES (int)(sizeof(lives) / sizeof(lives[0]))

/* ---- the walk ---- */

static int live_with(int (*live)(void), long nth)
{
    int r;

    calls = 0;
    failing = nth;
    r = live();
    failing = 0;
    ck_assert_msg(!violation, "call %ld: this did not hold: %s", nth, violation);
    return r;
}

START_TEST(a_call_that_fails_is_an_error_and_nothing_else)
{
    char words[256];
    int errors = 0;

    for (size_t i = 0; i < LARGE; i++)
        message[i] = (char)(i * 31 + i / 4093);
    ck_assert_int_eq(live_with(lives[_i], 0), 0); /* what is made once is there */
    for (long nth = 1; nth <= 1000; nth++) {
        int r = live_with(lives[_i], nth);

        ck_assert_msg(r <= 0, "call %ld: %d, %s", nth, r, brood_error());
        ck_assert_msg(r == 0 || *brood_error(), "call %ld: %d without words", nth, r);
        ck_assert_msg(is_clean(words, sizeof(words)), "call %ld: %s", nth, words);
        errors += r < 0;
        if (calls < nth)
            break;
    }
    ck_assert_int_ge(errors, 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("faults of pipes and memory");

    add_loop_tests(suite, "lives", 0, LIVES, a_call_that_fails_is_an_error_and_nothing_else, NULL);
    return run_suite(suite);
}
