/* check_pipe.c - pipes: boundaries, ends, deadlines, descriptors, the wire; threads, forks, deaths and signals.
 *
 *     check_pipe --threads     only what keeps to one process: for ThreadSanitizer
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "child.h"
#include "support.h"

#define MIB ((size_t)1 << 20)
#define LARGE (16 * MIB)

static struct brood_bytes text(const char *words)
{
    return (struct brood_bytes){words, strlen(words)};
}

static void open_pipe(struct brood_pipe **first, struct brood_pipe **second, enum brood_pipe_way way)
{
    ck_assert_int_eq(brood_pipe_open(first, second, way), 0);
}

static void put(struct brood_pipe *pipe, const char *words)
{
    int r = brood_pipe_send(pipe, text(words), brood_after_ms(AT_ONCE_MS));

    ck_assert_msg(r == 0, "sending \"%s\": %s", words, brood_error());
}

static void expect(struct brood_pipe *pipe, const char *words)
{
    char place[256];
    struct brood_space space = {place, sizeof(place)};
    int r = brood_pipe_recv(pipe, &space, brood_after_ms(AT_ONCE_MS));

    ck_assert_msg(r == 0, "receiving \"%s\": %s", words, brood_error());
    ck_assert_uint_eq(space.len, strlen(words));
    ck_assert(memcmp(place, words, space.len) == 0);
}

static int try_recv(struct brood_pipe *pipe)
{
    char place[256];

    return brood_pipe_recv(pipe, &(struct brood_space){place, sizeof(place)}, BROOD_NOW);
}

static void raw(const struct brood_pipe *pipe, const void *bytes, size_t count)
{
    ck_assert_int_eq(send(brood_pipe_fd(pipe), bytes, count, 0), (ssize_t)count);
}

/* Bytes that tell where they were. */
static char *pattern(size_t bytes)
{
    char *place = malloc(bytes);

    ck_assert_ptr_nonnull(place);
    for (size_t i = 0; i < bytes; i++)
        place[i] = (char)(i * 31 + i / 4093);
    return place;
}

/* ---- the other end: a thread, or a process ---- */

enum { THREAD, PROCESS, KINDS };

struct peer {
    void (*body)(void *argument);
    void *argument;
    pthread_t thread;
    pid_t pid;
};

static void *run_peer(void *argument)
{
    const struct peer *peer = argument;

    peer->body(peer->argument);
    return NULL;
}

static void start(struct peer *peer, int kind)
{
    if (kind == PROCESS)
        peer->pid = spawn(peer->body, peer->argument);
    else
        ck_assert_int_eq(pthread_create(&peer->thread, NULL, run_peer, peer), 0);
}

static void finish(struct peer *peer, int kind)
{
    if (kind == PROCESS)
        join(peer->pid);
    else
        ck_assert_int_eq(pthread_join(peer->thread, NULL), 0);
}

static void say_three(void *pipe)
{
    put(pipe, "one");
    put(pipe, "");
    put(pipe, "three");
}

/* semantics: C1 K18 */
START_TEST(messages_keep_their_boundaries)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    struct peer peer = {.body = say_three};

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    peer.argument = there;
    start(&peer, _i);
    finish(&peer, _i);
    expect(here, "one");
    expect(here, "");
    expect(here, "three");
    ck_assert_int_eq(try_recv(here), -EAGAIN);
}
END_TEST

static void echo_large(void *pipe)
{
    char *place = malloc(LARGE);
    struct brood_space space = {place, LARGE};

    ck_assert_int_eq(brood_pipe_recv(pipe, &space, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_pipe_send(pipe, (struct brood_bytes){place, space.len}, brood_after_ms(60000)), 0);
    free(place);
}

/* semantics: C2 */
START_TEST(a_message_of_16_mib_comes_back_as_it_went)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    struct peer peer = {.body = echo_large};
    char *message = pattern(LARGE), *place = malloc(LARGE);
    struct brood_space space = {place, LARGE};

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    peer.argument = there;
    start(&peer, _i);
    ck_assert_int_eq(brood_pipe_send(here, (struct brood_bytes){message, LARGE}, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_pipe_recv(here, &space, BROOD_FOREVER), 0);
    ck_assert_uint_eq(space.len, LARGE);
    ck_assert(memcmp(place, message, LARGE) == 0);
    finish(&peer, _i);
    free(message);
    free(place);
}
END_TEST

/* semantics: C3 */
START_TEST(an_empty_message_is_a_message)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    size_t size = 77;

    open_pipe(&here, &there, BROOD_PIPE_ONE_WAY);
    ck_assert_int_eq(brood_pipe_send(there, (struct brood_bytes){NULL, 0}, BROOD_NOW), 0);
    for (int i = 0; i < 3; i++) /* asking does not take it, nor does looking at its size, which takes its header */
        ck_assert_int_eq(brood_pipe_poll(here, BROOD_NOW), 0);
    ck_assert_int_eq(brood_pipe_next_size(here, &size, BROOD_NOW), 0);
    ck_assert_uint_eq(size, 0);
    ck_assert_int_eq(brood_pipe_poll(here, BROOD_NOW), 0);
    ck_assert_int_eq(brood_pipe_recv(here, &(struct brood_space){NULL, 0}, BROOD_NOW), 0);
    ck_assert_int_eq(brood_pipe_poll(here, BROOD_NOW), -EAGAIN);
}
END_TEST

/* ---- deadlines ---- */

static void expect_after(int64_t from, int64_t ms)
{
    int64_t took = now_ms() - from;

    ck_assert_msg(took >= ms - 1 && took < ms + AT_ONCE_MS, "%lld ms instead of %lld", (long long)took, (long long)ms);
}

/* semantics: C4 K19 */
START_TEST(deadlines_are_kept_and_none_overflows)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    char place[8];
    int64_t from;
    size_t size;

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    ck_assert_int_eq(brood_pipe_poll(here, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_pipe_poll(here, brood_after_ms(-1)), -EAGAIN);
    ck_assert_int_eq(brood_pipe_poll(here, (brood_deadline){INT64_MIN}), -EAGAIN);
    ck_assert_int_eq(brood_pipe_poll(here, (brood_deadline){1}), -ETIMEDOUT);
    from = now_ms();
    ck_assert_int_eq(brood_pipe_poll(here, brood_after_ms(60)), -ETIMEDOUT);
    expect_after(from, 60);
    ck_assert_int_eq(brood_pipe_recv(here, &(struct brood_space){place, 8}, brood_after_ms(60)), -ETIMEDOUT);
    expect_after(from, 120);
    ck_assert_int_eq(brood_pipe_next_size(here, &size, brood_after_ms(60)), -ETIMEDOUT);
    expect_after(from, 180);
    put(there, "x");
    ck_assert_int_eq(brood_pipe_poll(here, (brood_deadline){INT64_MAX - 1}), 0);
    ck_assert_int_eq(brood_pipe_recv(here, &(struct brood_space){place, 8}, (brood_deadline){INT64_MAX - 1}), 0);
}
END_TEST

/* Fills the pipe until not a byte more goes in. */
static void fill(struct brood_pipe *pipe)
{
    static const char zeros[1000];
    int r;

    do
        r = brood_pipe_send(pipe, (struct brood_bytes){zeros, sizeof(zeros)}, BROOD_NOW);
    while (r == 0);
    ck_assert_msg(r == -EAGAIN || r == -EINPROGRESS, "%s", brood_error());
    ck_assert_int_eq(brood_pipe_flush(pipe, BROOD_NOW), r == -EAGAIN ? 0 : -EAGAIN);
}

/* semantics: K19 */
START_TEST(a_send_into_a_full_pipe_keeps_its_deadline_and_sends_nothing)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    char place[1000];
    struct brood_space space;
    int64_t from = now_ms();
    size_t got = 0;
    int r;

    open_pipe(&here, &there, BROOD_PIPE_ONE_WAY);
    fill(there);
    ck_assert_int_eq(brood_pipe_send(there, text("late"), BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_pipe_send(there, text("late"), brood_after_ms(60)), -ETIMEDOUT);
    expect_after(from, 60);
    while (space = (struct brood_space){place, sizeof(place)}, (r = brood_pipe_recv(here, &space, BROOD_NOW)) == 0) {
        ck_assert_uint_eq(space.len, 1000);
        got++;
        (void)brood_pipe_flush(there, BROOD_NOW);
    }
    ck_assert_int_eq(r, -EAGAIN);
    ck_assert_uint_gt(got, 10);
    put(there, "in time");
    expect(here, "in time");
}
END_TEST

/* semantics: K2 */
START_TEST(a_send_whose_deadline_comes_in_its_middle_is_finished_by_the_next)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    char *message = pattern(LARGE), *place = malloc(LARGE);
    struct brood_space space = {place, LARGE};
    int64_t from = now_ms();
    int r;

    open_pipe(&here, &there, BROOD_PIPE_ONE_WAY);
    ck_assert_int_eq(brood_pipe_send(there, (struct brood_bytes){message, LARGE}, brood_after_ms(60)), -EINPROGRESS);
    expect_after(from, 60);
    ck_assert_int_eq(brood_pipe_send(there, text("next"), BROOD_NOW), -EAGAIN);
    memset(message, 0, LARGE); /* it is the sender's again */
    while ((r = brood_pipe_recv(here, &space, BROOD_NOW)) == -EAGAIN)
        (void)brood_pipe_flush(there, BROOD_NOW);
    ck_assert_int_eq(r, 0);
    ck_assert_uint_eq(space.len, LARGE);
    free(message);
    message = pattern(LARGE);
    ck_assert(memcmp(place, message, LARGE) == 0);
    put(there, "next");
    expect(here, "next");
    free(message);
    free(place);
}
END_TEST

START_TEST(a_receive_whose_deadline_comes_in_its_middle_goes_on_in_the_next)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    char place[4] = "", other[8] = "";
    struct brood_space space = {place, sizeof(place)};
    struct brood_waited thing = {.fd = -1};
    int64_t from = now_ms();
    size_t size = 0;
    bool ready;

    open_pipe(&here, &there, BROOD_PIPE_ONE_WAY);
    thing.pipe = here;
    raw(there, "\0\0", 2);
    ck_assert_int_eq(try_recv(here), -EAGAIN);
    raw(there, "\0\4", 2);
    ck_assert_int_eq(brood_pipe_recv(here, &space, brood_after_ms(30)), -ETIMEDOUT);
    expect_after(from, 30);
    raw(there, "ab", 2);
    ck_assert_int_eq(brood_pipe_recv(here, &space, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_wait(&thing, 1, &ready, BROOD_NOW), -EAGAIN); /* a half is not ready, or a loop would spin */
    ck_assert_int_eq(brood_pipe_poll(here, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_pipe_next_size(here, &size, BROOD_NOW), 0);
    ck_assert_uint_eq(size, 4);
    ck_assert_int_eq(brood_pipe_detach(here), -EBUSY);
    raw(there, "c", 1);
    ck_assert_int_eq(brood_pipe_recv(here, &space, BROOD_NOW), -EAGAIN);
    raw(there, "d", 1);
    ck_assert_int_eq(brood_wait(&thing, 1, &ready, BROOD_NOW), 1);
    space = (struct brood_space){other, 3}; /* another place, too short for it, and one that is not */
    ck_assert_int_eq(brood_pipe_recv(here, &space, BROOD_NOW), -EMSGSIZE);
    space.len = sizeof(other);
    ck_assert_int_eq(brood_pipe_recv(here, &space, BROOD_NOW), 0);
    ck_assert_uint_eq(space.len, 4);
    ck_assert(memcmp(other, "abcd", 4) == 0);
}
END_TEST

/* ---- room ---- */

/* semantics: C5 */
START_TEST(a_message_that_does_not_fit_stays)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    char place[16];
    struct brood_space space = {place, 3};
    size_t size = 0;

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    put(there, "four, and more");
    put(there, "next");
    ck_assert_int_eq(brood_pipe_recv(here, &space, BROOD_NOW), -EMSGSIZE);
    ck_assert_uint_eq(space.len, 14);
    ck_assert_ptr_nonnull(strstr(brood_error(), "14 bytes"));
    ck_assert_int_eq(brood_pipe_poll(here, BROOD_NOW), 0);
    space.len = 13;
    ck_assert_int_eq(brood_pipe_recv(here, &space, BROOD_NOW), -EMSGSIZE);
    ck_assert_int_eq(brood_pipe_next_size(here, &size, BROOD_NOW), 0);
    ck_assert_uint_eq(size, 14);
    expect(here, "four, and more");
    expect(here, "next");
}
END_TEST

/* semantics: C8 */
START_TEST(bytes_that_are_nowhere_are_no_message)
{
    brood_auto(pipe) *here = NULL, *there = NULL;

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    ck_assert_int_eq(brood_pipe_send(there, (struct brood_bytes){NULL, 1}, BROOD_NOW), -EINVAL);
    ck_assert_int_eq(brood_pipe_send(there, (struct brood_bytes){"", (size_t)-1}, BROOD_NOW), -EINVAL);
    ck_assert_int_eq(brood_pipe_recv(here, &(struct brood_space){NULL, 1}, BROOD_NOW), -EINVAL);
    ck_assert_int_eq(brood_pipe_recv(here, NULL, BROOD_NOW), -EINVAL);
    ck_assert_int_eq(brood_pipe_send(NULL, text("x"), BROOD_NOW), -EINVAL);
    ck_assert_int_eq(brood_pipe_send(there, (struct brood_bytes){&"past"[4], 0}, BROOD_NOW), 0);
    expect(here, "");
}
END_TEST

/* ---- ends ---- */

/* semantics: C6 K19 */
START_TEST(what_was_sent_comes_before_the_end)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    size_t size;

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    put(here, "never read"); /* which makes the kernel say ECONNRESET for once */
    put(there, "last words");
    ck_assert_int_eq(brood_pipe_close(there), 0);
    expect(here, "last words");
    ck_assert_int_eq(brood_pipe_poll(here, BROOD_NOW), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(try_recv(here), -EPIPE);
        ck_assert_int_eq(brood_pipe_next_size(here, &size, BROOD_FOREVER), -EPIPE);
        ck_assert_int_eq(brood_pipe_recv_fd(here, &(int){0}, BROOD_FOREVER), -EPIPE);
    }
}
END_TEST

/* semantics: C6 */
START_TEST(the_end_inside_a_message_is_another_error)
{
    static const struct {
        const char *bytes;
        size_t count;
    } cuts[] = {{"\0", 1},
                {"\0\0\0\4", 4},
                {"\0\0\0\4abc", 7},
                {"\377\377\377\377\0\0\0\0", 8},
                {"\377\377\377\376", 4},
                {"\200\0\0\0", 4},
                {"\377\377\377\377\377\0\0\0\0\0\0\0", 12}};
    brood_auto(pipe) *here = NULL, *there = NULL;

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    put(there, "whole");
    raw(there, cuts[_i].bytes, cuts[_i].count);
    ck_assert_int_eq(brood_pipe_close(there), 0);
    expect(here, "whole");
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(brood_pipe_poll(here, BROOD_NOW), 0);
        ck_assert_int_eq(brood_wait(&BROOD_WAIT_PIPE(here), 1, NULL, BROOD_NOW), 1);
        ck_assert_int_eq(try_recv(here), -EBADMSG);
    }
}
END_TEST

/* semantics: C6 */
START_TEST(the_end_stays_something_to_receive)
{
    brood_auto(pipe) *here = NULL, *there = NULL;

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    put(there, "last");
    ck_assert_int_eq(brood_pipe_close(there), 0);
    expect(here, "last");
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(brood_pipe_poll(here, i == 1 ? BROOD_FOREVER : BROOD_NOW), 0);
        ck_assert_int_eq(brood_wait(&BROOD_WAIT_PIPE(here), 1, NULL, BROOD_NOW), 1);
        ck_assert_int_eq(try_recv(here), -EPIPE);
    }
}
END_TEST

static void send_large(void *pipe)
{
    char *message = pattern(LARGE);

    (void)!brood_pipe_send(pipe, (struct brood_bytes){message, LARGE}, BROOD_FOREVER);
    ck_abort_msg("it was sent, but not received");
}

/* semantics: K2 C6 */
START_TEST(a_sender_that_is_killed_in_the_middle_is_the_end_inside_a_message)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    char *place = malloc(LARGE);
    struct brood_space space = {place, LARGE};
    pid_t pid;

    open_pipe(&here, &there, BROOD_PIPE_ONE_WAY);
    pid = spawn(send_large, there);
    ck_assert_int_eq(brood_pipe_close(there), 0);
    ck_assert_int_eq(brood_pipe_poll(here, BROOD_FOREVER), 0);
    await(is_asleep(pid));
    put_to_death(pid);
    ck_assert_int_eq(brood_pipe_recv(here, &space, BROOD_FOREVER), -EBADMSG);
    free(place);
}
END_TEST

/* Without a warning: -EPIPE it shall be, and no signal, which would kill the test. */
static void send_to_nobody(struct brood_pipe *pipe)
{
    char *message = pattern(LARGE);

    ck_assert_int_eq(brood_pipe_send(pipe, text("x"), BROOD_FOREVER), -EPIPE);
    ck_assert_int_eq(brood_pipe_send(pipe, text("x"), BROOD_NOW), -EPIPE);
    ck_assert_int_eq(brood_pipe_send(pipe, (struct brood_bytes){message, LARGE}, brood_after_ms(AT_ONCE_MS)), -EPIPE);
    free(message);
}

static struct brood_pipe *end_of(int fd, enum brood_pipe_way way)
{
    struct brood_pipe *pipe = NULL;
    int r = brood_pipe_from_fd(&pipe, fd, way);

    ck_assert_msg(r == 0, "%s", brood_error());
    return pipe;
}

START_TEST(a_missing_reader_is_an_error_and_not_a_signal)
{
    brood_auto(pipe) *here = NULL, *there = NULL, *end = NULL;
    sigset_t pending;
    int fds[2];

    ck_assert(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    ck_assert_int_eq(brood_pipe_close(here), 0);
    send_to_nobody(there);

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    ck_assert_int_eq(close(fds[0]), 0);
    end = end_of(fds[1], BROOD_PIPE_SEND);
    send_to_nobody(end);
    ck_assert_int_eq(sigpending(&pending), 0);
    ck_assert(!sigismember(&pending, SIGPIPE));
}
END_TEST

START_TEST(a_sigpipe_of_the_program_itself_stays_pending)
{
    brood_auto(pipe) *end = NULL;
    sigset_t pipe_only, pending;
    int fds[2];

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &pipe_only, NULL), 0);
    ck_assert_int_eq(pthread_kill(pthread_self(), SIGPIPE), 0);
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    ck_assert_int_eq(close(fds[0]), 0);
    end = end_of(fds[1], BROOD_PIPE_SEND);
    ck_assert_int_eq(brood_pipe_send(end, text("x"), BROOD_FOREVER), -EPIPE);
    ck_assert_int_eq(sigpending(&pending), 0);
    ck_assert(sigismember(&pending, SIGPIPE));
}
END_TEST

/* semantics: C7 */
START_TEST(a_one_way_pipe_goes_one_way)
{
    brood_auto(pipe) *receiver = NULL, *sender = NULL, *other = NULL;

    open_pipe(&receiver, &sender, BROOD_PIPE_ONE_WAY);
    ck_assert_int_eq(brood_pipe_send(receiver, text("x"), BROOD_NOW), -EPERM);
    ck_assert_int_eq(brood_pipe_flush(receiver, BROOD_NOW), -EPERM);
    ck_assert_int_eq(brood_pipe_send_fd(receiver, 2, BROOD_NOW), -EPERM);
    ck_assert_int_eq(try_recv(sender), -EPERM);
    ck_assert_int_eq(brood_pipe_poll(sender, BROOD_NOW), -EPERM);
    ck_assert_int_eq(brood_pipe_next_size(sender, &(size_t){0}, BROOD_NOW), -EPERM);
    ck_assert_int_eq(brood_pipe_recv_fd(sender, &(int){0}, BROOD_NOW), -EPERM);
    put(sender, "this way");
    expect(receiver, "this way");
    brood_pipe_free(receiver);
    brood_pipe_free(sender);
    open_pipe(&sender, &receiver, BROOD_PIPE_SEND);
    put(sender, "that way");
    expect(receiver, "that way");
    ck_assert_int_eq(brood_pipe_open(&other, &other, (enum brood_pipe_way)0), -EINVAL);
    ck_assert_int_eq(brood_pipe_open(&other, &other, (enum brood_pipe_way)4), -EINVAL);
}
END_TEST

static void expect_closed(struct brood_pipe *pipe)
{
    bool ready;

    ck_assert_int_eq(brood_pipe_fd(pipe), -EBADF);
    ck_assert_int_eq(brood_pipe_send(pipe, text("x"), BROOD_NOW), -EBADF);
    ck_assert_int_eq(brood_pipe_flush(pipe, BROOD_NOW), -EBADF);
    ck_assert_int_eq(brood_pipe_send_fd(pipe, 2, BROOD_NOW), -EBADF);
    ck_assert_int_eq(try_recv(pipe), -EBADF);
    ck_assert_int_eq(brood_pipe_poll(pipe, BROOD_NOW), -EBADF);
    ck_assert_int_eq(brood_pipe_next_size(pipe, &(size_t){0}, BROOD_NOW), -EBADF);
    ck_assert_int_eq(brood_pipe_recv_fd(pipe, &(int){0}, BROOD_NOW), -EBADF);
    ck_assert_int_eq(brood_pipe_detach(pipe), -EBADF);
    ck_assert_int_eq(brood_wait(&BROOD_WAIT_PIPE(pipe), 1, &ready, BROOD_NOW), -EBADF);
}

/* semantics: C9 K19 */
START_TEST(a_closed_end_says_so_and_may_be_closed_again)
{
    brood_auto(pipe) *here = NULL, *there = NULL;

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    ck_assert_int_eq(brood_pipe_close(here), 0);
    ck_assert_int_eq(brood_pipe_close(here), 0);
    expect_closed(here);
    ck_assert_int_eq(brood_pipe_close(NULL), 0);
    brood_pipe_free(NULL);
}
END_TEST

/* semantics: C9 */
START_TEST(leaving_the_scope_closes_also_what_is_half_done)
{
    for (int i = 0; i < 3; i++) {
        brood_auto(pipe) *here = NULL, *there = NULL;
        char *message = pattern(LARGE), *place = malloc(LARGE);

        open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
        if (i == 0)
            ck_assert_int_eq(brood_pipe_send(there, (struct brood_bytes){message, LARGE}, BROOD_NOW), -EINPROGRESS);
        else
            ck_assert_int_eq(brood_pipe_send_fd(there, 2, BROOD_NOW), 0);
        if (i == 0)
            ck_assert_int_eq(brood_pipe_recv(here, &(struct brood_space){place, LARGE}, BROOD_NOW), -EAGAIN);
        else if (i == 1)
            ck_assert_int_eq(try_recv(here), -ENOMSG); /* the descriptor has come, and was not taken */
        free(message);
        free(place);
    }
}
END_TEST

/* ---- descriptors ---- */

static bool is_same_file(int a, int b)
{
    struct stat one, two;

    ck_assert_int_eq(fstat(a, &one), 0);
    ck_assert_int_eq(fstat(b, &two), 0);
    return one.st_dev == two.st_dev && one.st_ino == two.st_ino;
}

static void send_a_memfd(void *pipe)
{
    int fd = memfd_create("passed", MFD_CLOEXEC);

    ck_assert_int_eq(write(fd, "inside", 6), 6);
    put(pipe, "before");
    ck_assert_int_eq(brood_pipe_send_fd(pipe, fd, BROOD_FOREVER), 0);
    put(pipe, "after");
    close(fd);
}

/* semantics: C10 */
START_TEST(a_descriptor_travels_between_messages)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    struct peer peer = {.body = send_a_memfd};
    char words[8] = "";
    int fd = -1;

    open_pipe(&here, &there, BROOD_PIPE_ONE_WAY);
    peer.argument = there;
    start(&peer, _i);
    finish(&peer, _i);
    ck_assert_int_eq(brood_pipe_recv_fd(here, &fd, BROOD_NOW), -ENOMSG); /* no descriptor where one was expected */
    ck_assert_ptr_nonnull(strstr(brood_error(), "without a descriptor"));
    expect(here, "before");
    ck_assert_int_eq(try_recv(here), -ENOMSG);
    ck_assert_int_eq(brood_pipe_next_size(here, &(size_t){0}, BROOD_NOW), -ENOMSG);
    ck_assert_int_eq(brood_pipe_poll(here, BROOD_NOW), 0);
    ck_assert_int_eq(brood_pipe_recv_fd(here, &fd, BROOD_NOW), 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(pread(fd, words, 8, 0), 6);
    ck_assert_str_eq(words, "inside");
    close(fd);
    expect(here, "after");
}
END_TEST

/* semantics: C10 */
START_TEST(descriptors_above_256_travel_too)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    int fds[300], got, large;

    for (int i = 0; i < 300; i++)
        ck_assert_int_ge(fds[i] = fcntl(2, F_DUPFD_CLOEXEC, 3), 0);
    large = memfd_create("large", MFD_CLOEXEC);
    ck_assert_int_gt(large, 256);
    open_pipe(&here, &there, BROOD_PIPE_ONE_WAY);
    ck_assert_int_eq(brood_pipe_send_fd(there, large, BROOD_NOW), 0);
    ck_assert_int_eq(brood_pipe_recv_fd(here, &got, BROOD_NOW), 0);
    ck_assert_int_gt(got, 256);
    ck_assert(is_same_file(got, large));
    close(got);
    close(large);
    for (int i = 0; i < 300; i++)
        close(fds[i]);
}
END_TEST

START_TEST(a_descriptor_for_which_there_is_no_number_is_lost_and_this_is_told)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    struct rlimit before, none;
    int got, r;

    open_pipe(&here, &there, BROOD_PIPE_ONE_WAY);
    ck_assert_int_eq(brood_pipe_send_fd(there, 2, BROOD_NOW), 0);
    put(there, "after");
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){0, before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    r = brood_pipe_recv_fd(here, &got, BROOD_NOW);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(r, -EMFILE);
    expect(here, "after");
}
END_TEST

START_TEST(what_cannot_be_passed_is_an_error)
{
    brood_auto(pipe) *here = NULL, *there = NULL, *end = NULL;
    int fds[2];

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    ck_assert_int_eq(brood_pipe_send_fd(there, -1, BROOD_NOW), -EBADF);
    ck_assert_int_eq(brood_pipe_send_fd(there, 9999, BROOD_NOW), -EBADF);
    ck_assert_int_eq(brood_pipe_poll(here, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    end = end_of(fds[1], BROOD_PIPE_SEND);
    ck_assert_int_eq(brood_pipe_send_fd(end, 2, BROOD_NOW), -ENOTSUP);
    close(fds[0]);
}
END_TEST

/* A stranger attaches descriptors where none belong: none of them may stay (the fixture looks). */
START_TEST(descriptors_that_a_stranger_attaches_anywhere_are_closed)
{
    union {
        char room[CMSG_SPACE(3 * sizeof(int))];
        struct cmsghdr aligned;
    } control;
    static const char *const pieces[] = {"\0", "\0", "\0", "\2", "h", "i"};
    brood_auto(pipe) *here = NULL, *there = NULL;

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    for (int i = 0; i < 6; i++) {
        struct iovec part = {(void *)(uintptr_t)pieces[i], 1};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};

        memset(&control, 0, sizeof(control));
        control.aligned = (struct cmsghdr){CMSG_LEN(3 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.aligned), (int[]){0, 1, 2}, 3 * sizeof(int));
        ck_assert_int_eq(sendmsg(brood_pipe_fd(there), &message, 0), 1);
    }
    expect(here, "hi");
}
END_TEST

/* ---- the wire ---- */

static void expect_raw(const struct brood_pipe *pipe, const char *bytes, size_t count)
{
    char place[64];

    ck_assert_int_eq(recv(brood_pipe_fd(pipe), place, count, MSG_WAITALL), (ssize_t)count);
    ck_assert(memcmp(place, bytes, count) == 0);
}

static void send_more_than_2_gib(void *pipe)
{
    size_t bytes = ((size_t)1 << 31) + 5;
    void *zeros = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    ck_assert_ptr_ne(zeros, MAP_FAILED);
    (void)!brood_pipe_send(pipe, (struct brood_bytes){zeros, bytes}, BROOD_FOREVER);
}

/* semantics: C14 */
START_TEST(the_wire_is_what_others_speak_too)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    char place[16];
    struct brood_space space = {place, sizeof(place)};
    size_t size = 0;
    pid_t pid;

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    put(there, "abc");
    expect_raw(here, "\0\0\0\3abc", 7);
    raw(there, "\377\377\377\377\0\0\0\0\0\0\0\2ok", 14); /* longer than need be, but right */
    expect(here, "ok");
    pid = spawn(send_more_than_2_gib, there);
    expect_raw(here, "\377\377\377\377\0\0\0\0\200\0\0\5\0", 13);
    put_to_death(pid);
    brood_pipe_free(here);
    brood_pipe_free(there);

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    raw(there, "\377\377\377\377\0\0\0\0\200\0\0\5\0", 13);
    ck_assert_int_eq(brood_pipe_next_size(here, &size, BROOD_NOW), 0);
    ck_assert_uint_eq(size, ((size_t)1 << 31) + 5);
    ck_assert_int_eq(brood_pipe_recv(here, &space, BROOD_NOW), -EMSGSIZE);
    ck_assert_uint_eq(space.len, ((size_t)1 << 31) + 5);
}
END_TEST

/* semantics: C14 */
START_TEST(length_and_message_go_out_in_one_write)
{
    brood_auto(pipe) *end = NULL;
    char place[4096];
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC | O_DIRECT), 0); /* a pipe of packets: each write is one read */
    end = end_of(fds[1], BROOD_PIPE_SEND);
    put(end, "abc");
    put(end, "defg");
    ck_assert_int_eq(read(fds[0], place, sizeof(place)), 7);
    ck_assert_int_eq(read(fds[0], place, sizeof(place)), 8);
    close(fds[0]);
}
END_TEST

/* ---- descriptors that the user brings ---- */

/* semantics: C13 */
START_TEST(what_is_no_stream_becomes_no_end)
{
    brood_auto(pipe) *end = NULL;
    int file = memfd_create("file", MFD_CLOEXEC), packets = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), fds[2];

    ck_assert_int_eq(brood_pipe_from_fd(&end, -1, BROOD_PIPE_DUPLEX), -EBADF);
    ck_assert_int_eq(brood_pipe_from_fd(&end, 9999, BROOD_PIPE_DUPLEX), -EBADF);
    ck_assert_int_eq(brood_pipe_from_fd(&end, file, BROOD_PIPE_DUPLEX), -EINVAL);
    ck_assert_int_eq(brood_pipe_from_fd(&end, packets, BROOD_PIPE_DUPLEX), -EINVAL);
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    ck_assert_int_eq(brood_pipe_from_fd(&end, fds[0], BROOD_PIPE_DUPLEX), -EBADF);
    ck_assert_int_eq(brood_pipe_from_fd(&end, fds[0], BROOD_PIPE_SEND), -EBADF);
    ck_assert_int_eq(brood_pipe_from_fd(&end, fds[1], BROOD_PIPE_RECEIVE), -EBADF);
    ck_assert_int_eq(brood_pipe_from_fd(&end, fds[1], (enum brood_pipe_way)9), -EINVAL);
    ck_assert_ptr_null(end);
    close(file);
    close(packets);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(ends_can_be_made_of_what_others_opened_and_taken_apart)
{
    int fds[2], flags, r;

    for (int i = 0; i < 3; i++) { /* a socket, a pipe, and one that is O_NONBLOCK */
        brood_auto(pipe) *reader = NULL, *writer = NULL;
        int64_t from = now_ms();

        ck_assert_int_eq(i == 0 ? socketpair(AF_UNIX, SOCK_STREAM, 0, fds) : pipe2(fds, i == 2 ? O_NONBLOCK : 0), 0);
        reader = end_of(fds[0], BROOD_PIPE_RECEIVE);
        writer = end_of(fds[1], BROOD_PIPE_SEND);
        flags = fcntl(fds[0], F_GETFL);
        ck_assert_int_eq(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
        ck_assert_int_eq(try_recv(reader), -EAGAIN);
        ck_assert_int_eq(brood_pipe_poll(reader, brood_after_ms(20)), -ETIMEDOUT);
        expect_after(from, 20);
        put(writer, "hello");
        expect(reader, "hello");
        fill(writer);
        while ((r = brood_pipe_send(writer, text("x"), brood_after_ms(20))) == 0) /* a few may still have found room */
            ;
        ck_assert(r == -ETIMEDOUT || r == -EINPROGRESS);
        ck_assert_int_eq(fcntl(fds[0], F_GETFL), flags); /* the flag is of all processes, and stays */
        ck_assert_int_eq(brood_pipe_detach(reader), fds[0]);
        ck_assert_int_eq(close(fds[0]), 0);
        ck_assert_int_eq(brood_pipe_send(writer, text("x"), BROOD_FOREVER), -EPIPE);
        expect_closed(reader);
    }
}
END_TEST

struct plumbing {
    struct brood_pipe *reader, *writer;
    const char *message;
};

static void drain_large(void *argument)
{
    const struct plumbing *plumbing = argument;
    char *place = malloc(LARGE);
    struct brood_space space = {place, LARGE};

    ck_assert_int_eq(brood_pipe_recv(plumbing->reader, &space, brood_after_ms(60000)), 0);
    ck_assert_uint_eq(space.len, LARGE);
    ck_assert(memcmp(place, plumbing->message, LARGE) == 0);
    free(place);
}

START_TEST(large_messages_pass_through_a_plain_pipe)
{
    char *message = pattern(LARGE);
    struct plumbing plumbing = {.message = message};
    struct peer peer = {.body = drain_large, .argument = &plumbing};
    int fds[2];

    for (int forever = 0; forever < 2; forever++) {
        ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
        plumbing.reader = end_of(fds[0], BROOD_PIPE_RECEIVE);
        plumbing.writer = end_of(fds[1], BROOD_PIPE_SEND);
        start(&peer, _i);
        ck_assert_int_eq(brood_pipe_send(plumbing.writer, (struct brood_bytes){message, LARGE},
                                         forever ? BROOD_FOREVER : brood_after_ms(60000)),
                         0);
        finish(&peer, _i);
        brood_pipe_free(plumbing.reader);
        brood_pipe_free(plumbing.writer);
    }
    free(message);
}
END_TEST

/* ---- signals ---- */

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
    (void)number;
    signals++;
}

static void drain_and_answer(void *pipe)
{
    char *place = malloc(LARGE), *message = pattern(LARGE);
    struct brood_space space = {place, LARGE};

    ck_assert_int_eq(brood_pipe_recv(pipe, &space, BROOD_FOREVER), 0);
    ck_assert_uint_eq(space.len, LARGE);
    ck_assert(memcmp(place, message, LARGE) == 0);
    ck_assert_int_eq(brood_pipe_send(pipe, (struct brood_bytes){message, LARGE}, BROOD_FOREVER), 0);
    free(place);
    free(message);
}

/* semantics: C12 */
START_TEST(signals_in_a_blocking_send_or_receive_lose_nothing)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    char *place = malloc(LARGE), *message = pattern(LARGE);
    struct brood_space space = {place, LARGE};
    brood_deadline deadline = _i == 0 ? BROOD_FOREVER : brood_after_ms(50000);
    pid_t pid;

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    pid = spawn(drain_and_answer, there);
    interrupt_often(count_signal);
    ck_assert_int_eq(brood_pipe_send(here, (struct brood_bytes){message, LARGE}, deadline), 0);
    ck_assert_int_eq(brood_pipe_recv(here, &space, deadline), 0);
    interrupt_no_more();
    ck_assert_int_gt(signals, 10);
    ck_assert_uint_eq(space.len, LARGE);
    ck_assert(memcmp(place, message, LARGE) == 0);
    join(pid);
    free(place);
    free(message);
}
END_TEST

START_TEST(signals_do_not_prolong_a_wait)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    int64_t from = now_ms();

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    interrupt_often(count_signal);
    ck_assert_int_eq(brood_pipe_recv(here, &(struct brood_space){NULL, 0}, brood_after_ms(50)), -ETIMEDOUT);
    expect_after(from, 50);
    interrupt_no_more();
    ck_assert_int_gt(signals, 10);
}
END_TEST

/* ---- many threads at one end ---- */

#define THREADS 4
#define MESSAGES 200
#define LONG_BYTES 30000 /* longer than the kernel takes in one piece */

struct talker {
    struct brood_pipe *pipe;
    int number;
    uint32_t seen[THREADS];
};

static size_t length_of(uint32_t number, uint32_t turn)
{
    return sizeof(uint32_t) * (2 + (turn % 7 == 0 ? LONG_BYTES / 4 : (turn * 5 + number) % 40));
}

static void *talk(void *argument)
{
    const struct talker *talker = argument;
    uint32_t *words = malloc(LONG_BYTES + 64);

    for (uint32_t turn = 0; turn < MESSAGES; turn++) {
        size_t length = length_of((uint32_t)talker->number, turn);

        words[0] = (uint32_t)talker->number;
        for (size_t i = 1; i < length / 4; i++)
            words[i] = turn;
        ck_assert_int_eq(brood_pipe_send(talker->pipe, (struct brood_bytes){words, length},
                                         turn % 2 ? BROOD_FOREVER : brood_after_ms(50000)),
                         0);
    }
    free(words);
    return NULL;
}

static bool are_all(const uint32_t *words, size_t count, uint32_t word)
{
    size_t i = 0;

    while (i < count && words[i] == word)
        i++;
    return i == count;
}

static void *listen_to_all(void *argument)
{
    struct talker *talker = argument;
    uint32_t *words = malloc(LONG_BYTES + 64);
    int r;

    for (;;) {
        struct brood_space space = {words, LONG_BYTES + 64};

        r = brood_pipe_recv(talker->pipe, &space, brood_after_ms(50000));
        if (r < 0)
            break;
        ck_assert_uint_lt(words[0], THREADS);
        ck_assert_uint_eq(space.len, length_of(words[0], words[1]));
        ck_assert(are_all(words + 2, space.len / 4 - 2, words[1]));
        talker->seen[words[0]]++;
    }
    ck_assert_int_eq(r, -EPIPE);
    free(words);
    return NULL;
}

START_TEST(threads_share_an_end_and_each_message_is_whole)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    struct talker senders[THREADS], receivers[2];
    pthread_t sending[THREADS], receiving[2];

    open_pipe(&here, &there, BROOD_PIPE_ONE_WAY);
    for (int i = 0; i < 2; i++) {
        receivers[i] = (struct talker){.pipe = here};
        ck_assert_int_eq(pthread_create(&receiving[i], NULL, listen_to_all, &receivers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        senders[i] = (struct talker){.pipe = there, .number = i};
        ck_assert_int_eq(pthread_create(&sending[i], NULL, talk, &senders[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(sending[i], NULL), 0);
    ck_assert_int_eq(brood_pipe_close(there), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(receiving[i], NULL), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_uint_eq(receivers[0].seen[i] + receivers[1].seen[i], MESSAGES);
}
END_TEST

struct waiter {
    struct brood_pipe *pipe;
    _Atomic pid_t tid;
    int outcome;
};

static void *await_message(void *argument)
{
    struct waiter *waiter = argument;
    char place[8];

    atomic_store(&waiter->tid, gettid());
    waiter->outcome = brood_pipe_recv(waiter->pipe, &(struct brood_space){place, 8}, BROOD_FOREVER);
    return NULL;
}

static pthread_t start_waiter(struct waiter *waiter)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, await_message, waiter), 0);
    await(atomic_load(&waiter->tid) != 0 && is_asleep(waiter->tid));
    return thread;
}

START_TEST(an_end_that_another_thread_waits_at_is_busy)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    struct waiter waiter = {0};
    int64_t from;
    pthread_t thread;

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    waiter.pipe = here;
    thread = start_waiter(&waiter);
    ck_assert_int_eq(brood_pipe_close(here), -EBUSY);
    ck_assert_int_eq(brood_pipe_detach(here), -EBUSY);
    ck_assert_int_eq(try_recv(here), -EAGAIN); /* not its turn */
    from = now_ms();
    ck_assert_int_eq(brood_pipe_poll(here, brood_after_ms(30)), -ETIMEDOUT);
    expect_after(from, 30);
    put(here, "the other way is free");
    expect(there, "the other way is free");
    put(there, "x");
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(waiter.outcome, 0);
    ck_assert_int_eq(brood_pipe_close(here), 0);
}
END_TEST

/* ---- forks ---- */

static void use_while_a_thread_of_the_parent_waits(void *argument)
{
    struct waiter *waiter = argument;

    put(waiter->pipe, "from the child");
    ck_assert_int_eq(brood_pipe_poll(waiter->pipe, BROOD_NOW), -EAGAIN); /* its turn: that thread is not here */
    ck_assert_int_eq(brood_pipe_close(waiter->pipe), 0);
}

/* semantics: K18 */
START_TEST(a_child_is_not_hindered_by_a_thread_that_waited_when_it_was_forked)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    struct waiter waiter = {0};
    pthread_t thread;

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    waiter.pipe = here;
    thread = start_waiter(&waiter);
    in_child(use_while_a_thread_of_the_parent_waits, &waiter);
    expect(there, "from the child");
    put(there, "x"); /* the child's close was the child's */
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(waiter.outcome, 0);
}
END_TEST

static void *send_in_a_thread(void *argument)
{
    struct waiter *waiter = argument;
    char *message = pattern(LARGE);

    atomic_store(&waiter->tid, gettid());
    waiter->outcome = brood_pipe_send(waiter->pipe, (struct brood_bytes){message, LARGE}, BROOD_FOREVER);
    free(message);
    return NULL;
}

static void expect_torn(void *pipe)
{
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(brood_pipe_send(pipe, text("in the middle of it"), BROOD_NOW), -EPERM);
    ck_assert_int_eq(brood_pipe_close(pipe), 0);
}

START_TEST(a_child_does_not_send_into_the_middle_of_its_parents_message)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    struct waiter waiter = {0};
    char *place = malloc(LARGE);
    struct brood_space space = {place, LARGE};
    pthread_t thread;

    open_pipe(&here, &there, BROOD_PIPE_ONE_WAY);
    waiter.pipe = there;
    ck_assert_int_eq(pthread_create(&thread, NULL, send_in_a_thread, &waiter), 0);
    ck_assert_int_eq(brood_pipe_poll(here, BROOD_FOREVER), 0);
    await(is_asleep(waiter.tid));
    in_child(expect_torn, there);
    ck_assert_int_eq(brood_pipe_recv(here, &space, BROOD_FOREVER), 0);
    ck_assert_uint_eq(space.len, LARGE);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(waiter.outcome, 0);
    free(place);
}
END_TEST

static void *receive_in_a_thread(void *argument)
{
    struct waiter *waiter = argument;
    char place[4];

    atomic_store(&waiter->tid, gettid());
    waiter->outcome = brood_pipe_recv(waiter->pipe, &(struct brood_space){place, sizeof(place)}, BROOD_FOREVER);
    ck_assert(memcmp(place, "abcd", 4) == 0);
    return NULL;
}

static int bytes_unread(const struct brood_pipe *pipe)
{
    int bytes = -1;

    ck_assert_int_eq(ioctl(brood_pipe_fd(pipe), FIONREAD, &bytes), 0);
    return bytes;
}

/* What it asks first is a wait or a poll: both know that the next receive has something to say. */
static void expect_nothing_more_to_receive(void *pipe)
{
    ck_assert_int_eq(brood_wait(&BROOD_WAIT_PIPE(pipe), 1, NULL, BROOD_NOW), 1);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(brood_pipe_poll(pipe, BROOD_NOW), 0);
        ck_assert_int_eq(try_recv(pipe), -EPERM);
        ck_assert_ptr_nonnull(strstr(brood_error(), "forked"));
    }
    ck_assert_int_eq(brood_pipe_close(pipe), 0);
}

START_TEST(a_child_does_not_receive_the_rest_of_its_parents_message)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    struct waiter waiter = {0};
    pthread_t thread;

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    waiter.pipe = here;
    raw(there, "\0\0\0\4ab", 6);
    ck_assert_int_eq(pthread_create(&thread, NULL, receive_in_a_thread, &waiter), 0);
    await(bytes_unread(here) == 0 && is_asleep(waiter.tid));
    in_child(expect_nothing_more_to_receive, here);
    raw(there, "cd", 2);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(waiter.outcome, 0);
}
END_TEST

static void say_one(void *pipe)
{
    put(pipe, "one more child");
}

/* semantics: K18 */
START_TEST(children_that_exit_or_close_do_not_end_it_for_others)
{
    brood_auto(pipe) *here = NULL, *there = NULL;

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    for (int i = 0; i < 3; i++)
        in_child(say_one, there);
    ck_assert_int_eq(brood_pipe_close(there), 0);
    for (int i = 0; i < 3; i++)
        expect(here, "one more child");
    ck_assert_int_eq(try_recv(here), -EPIPE);
}
END_TEST

/* ---- waiting for many ---- */

static void write_and_close(void *pipe)
{
    put(pipe, "mine");
}

/* semantics: C11 */
START_TEST(wait_tells_all_that_are_ready)
{
    struct brood_pipe *here[4], *there[4];
    struct brood_waited things[4];
    bool ready[4], ended[4] = {false};
    int messages = 0, ends = 0, n;

    for (int i = 0; i < 4; i++) {
        open_pipe(&here[i], &there[i], BROOD_PIPE_ONE_WAY);
        things[i] = BROOD_WAIT_PIPE(here[i]);
    }
    ck_assert_int_eq(brood_wait(things, 4, ready, BROOD_NOW), -EAGAIN);
    for (int i = 0; i < 4; i++)
        in_child(write_and_close, there[i]);
    for (int i = 0; i < 4; i++)
        brood_pipe_free(there[i]);
    ck_assert_int_eq(brood_wait(things, 4, ready, BROOD_FOREVER), 4);
    ck_assert_int_eq(brood_wait(things, 4, NULL, BROOD_FOREVER), 4);
    ck_assert_int_eq(brood_wait(NULL, 4, ready, BROOD_NOW), -EINVAL);
    while (ends < 4) {
        n = brood_wait(things, 4, ready, brood_after_ms(AT_ONCE_MS));
        ck_assert_int_eq(n, 4); /* what has ended stays ready */
        for (int i = 0; i < 4; i++) {
            int r = try_recv(here[i]);

            messages += r == 0;
            ends += r == -EPIPE && !ended[i];
            ended[i] = r == -EPIPE;
        }
    }
    ck_assert_int_eq(messages, 4);
    for (int i = 0; i < 4; i++)
        brood_pipe_free(here[i]);
}
END_TEST

static void wait_for_a_byte(void *fd)
{
    char byte;

    (void)!read(*(int *)fd, &byte, 1);
}

/* semantics: C11 */
START_TEST(wait_takes_pipes_sockets_and_processes_together)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    bool ready[5];
    int sockets[2], pipes[2], pidfd;
    pid_t pid;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    pid = spawn(wait_for_a_byte, &pipes[0]);
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    ck_assert_int_ge(pidfd, 0);

    struct brood_waited things[] = {BROOD_WAIT_FD(sockets[0]), BROOD_WAIT_PIPE(here), BROOD_WAIT_FD(pidfd),
                                    BROOD_WAIT_PIPE(there), BROOD_WAIT_FD(sockets[0])};

    ck_assert_int_eq(brood_wait(things, 5, ready, brood_after_ms(10)), -ETIMEDOUT);
    ck_assert_int_eq(write(pipes[1], "x", 1), 1);
    ck_assert_int_eq(brood_wait(things, 5, ready, BROOD_FOREVER), 1);
    ck_assert(ready[2] && !ready[0] && !ready[1] && !ready[3] && !ready[4]);
    ck_assert_int_eq(write(sockets[1], "x", 1), 1);
    put(there, "x");
    ck_assert_int_eq(brood_wait(things, 5, ready, BROOD_NOW), 4);
    ck_assert(ready[0] && ready[1] && ready[2] && !ready[3] && ready[4]);
    join(pid);
    close(pidfd);
    for (int i = 0; i < 2; i++) {
        close(sockets[i]);
        close(pipes[i]);
    }
}
END_TEST

static int read_a_byte(void *fd)
{
    char byte = 0;

    return read(*(int *)fd, &byte, 1) == 1 ? byte : -errno;
}

/* semantics: C11 */
START_TEST(wait_takes_futures_and_processes_of_brood)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    struct brood_future *answer = NULL;
    struct brood_process *process = NULL;
    int pipes[2];
    bool ready[3];

    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    ck_assert_int_eq(brood_promise_open(&answer), 0);
    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.run = read_a_byte, .context = &pipes[0])), 0);

    struct brood_waited things[] = {BROOD_WAIT_FD(brood_future_fd(answer)), BROOD_WAIT_PIPE(here),
                                    BROOD_WAIT_FD(brood_process_sentinel(process))};

    ck_assert_int_eq(brood_wait(things, 3, ready, brood_after_ms(10)), -ETIMEDOUT);
    ck_assert_int_eq(brood_promise_set_result(answer, "", 1), 0);
    ck_assert_int_eq(brood_wait(things, 3, ready, BROOD_FOREVER), 1);
    ck_assert(ready[0]);
    ck_assert_int_eq(write(pipes[1], "", 1), 1);
    ck_assert_int_eq(brood_process_join(process, brood_after_ms(AT_ONCE_MS)), 0);
    ck_assert_int_eq(brood_wait(things, 3, ready, BROOD_FOREVER), 2);
    ck_assert(ready[0] && !ready[1] && ready[2]);
    brood_future_free(answer);
    ck_assert_int_eq(brood_process_close(process), 0);
    close(pipes[0]);
    close(pipes[1]);
}
END_TEST

/* semantics: C11 K19 */
START_TEST(wait_keeps_its_deadline_and_refuses_what_it_cannot_wait_for)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    struct brood_waited things[] = {{.fd = 9999}, {.fd = -1}};
    int64_t from = now_ms();
    bool ready;

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    ck_assert_int_eq(brood_wait(&BROOD_WAIT_PIPE(here), 1, &ready, brood_after_ms(-5)), -EAGAIN);
    ck_assert_int_eq(brood_wait(&BROOD_WAIT_PIPE(here), 1, &ready, brood_after_ms(40)), -ETIMEDOUT);
    expect_after(from, 40);
    ck_assert_int_eq(brood_wait(NULL, 0, NULL, brood_after_ms(40)), -ETIMEDOUT);
    expect_after(from, 80);
    ck_assert_int_eq(brood_wait(NULL, 0, NULL, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_wait(NULL, 0, NULL, BROOD_FOREVER), -EINVAL);
    ck_assert_int_eq(brood_wait(&things[0], 1, &ready, BROOD_FOREVER), -EBADF);
    ck_assert_int_eq(brood_wait(&things[1], 1, &ready, BROOD_FOREVER), -EBADF);
}
END_TEST

START_TEST(wait_knows_what_a_pipe_keeps_in_memory)
{
    brood_auto(pipe) *here = NULL, *there = NULL;
    struct brood_waited thing = {.fd = -1};
    size_t size;
    bool ready = false;

    open_pipe(&here, &there, BROOD_PIPE_DUPLEX);
    thing.pipe = here;
    put(there, "");
    ck_assert_int_eq(brood_pipe_next_size(here, &size, BROOD_NOW), 0);
    ck_assert_int_eq(brood_wait(&thing, 1, &ready, BROOD_FOREVER), 1);
    ck_assert(ready);
    expect(here, "");
    ck_assert_int_eq(brood_wait(&thing, 1, &ready, BROOD_NOW), -EAGAIN);
    raw(there, "\377\377\377\377\377\377\377\377\377\377\377\377", 12);
    ck_assert_int_eq(try_recv(here), -EBADMSG);
    ck_assert_int_eq(brood_wait(&thing, 1, &ready, BROOD_FOREVER), 1); /* not a silence that lasts for ever */
}
END_TEST

START_TEST(wait_takes_many_things)
{
    enum { MANY = 200 };
    struct brood_pipe *here[MANY], *there[MANY];
    struct brood_waited things[MANY];
    bool ready[MANY];

    for (int i = 0; i < MANY; i++) {
        open_pipe(&here[i], &there[i], BROOD_PIPE_ONE_WAY);
        things[i] = BROOD_WAIT_PIPE(here[i]);
    }
    put(there[3], "x");
    put(there[199], "x");
    ck_assert_int_eq(brood_wait(things, MANY, ready, BROOD_FOREVER), 2);
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(ready[i], i == 3 || i == 199);
        brood_pipe_free(here[i]);
        brood_pipe_free(there[i]);
    }
}
END_TEST

int main(int argc, char **argv)
{
    bool threads_only = argc > 1 && strcmp(argv[1], "--threads") == 0;
    int kinds = threads_only ? THREAD + 1 : KINDS;
    Suite *suite = suite_create("pipe");

    add_loop_tests(suite, "both kinds", 0, kinds, messages_keep_their_boundaries, a_message_of_16_mib_comes_back_as_it_went,
                   a_descriptor_travels_between_messages, large_messages_pass_through_a_plain_pipe, NULL);
    add_tests(suite, "deadlines", deadlines_are_kept_and_none_overflows,
              a_send_into_a_full_pipe_keeps_its_deadline_and_sends_nothing,
              a_send_whose_deadline_comes_in_its_middle_is_finished_by_the_next,
              a_receive_whose_deadline_comes_in_its_middle_goes_on_in_the_next, NULL);
    add_tests(suite, "threads", threads_share_an_end_and_each_message_is_whole, an_end_that_another_thread_waits_at_is_busy,
              NULL);
    if (threads_only)
        return run_suite(suite);
    add_tests(suite, "room", an_empty_message_is_a_message, a_message_that_does_not_fit_stays,
              bytes_that_are_nowhere_are_no_message, NULL);
    add_tests(suite, "ends", what_was_sent_comes_before_the_end,
              a_sender_that_is_killed_in_the_middle_is_the_end_inside_a_message, the_end_stays_something_to_receive,
              a_missing_reader_is_an_error_and_not_a_signal, a_sigpipe_of_the_program_itself_stays_pending,
              a_one_way_pipe_goes_one_way, a_closed_end_says_so_and_may_be_closed_again,
              leaving_the_scope_closes_also_what_is_half_done, NULL);
    add_loop_tests(suite, "cuts", 0, 7, the_end_inside_a_message_is_another_error, NULL);
    add_tests(suite, "descriptors", descriptors_above_256_travel_too,
              a_descriptor_for_which_there_is_no_number_is_lost_and_this_is_told, what_cannot_be_passed_is_an_error,
              descriptors_that_a_stranger_attaches_anywhere_are_closed, NULL);
    add_tests(suite, "the wire", the_wire_is_what_others_speak_too, length_and_message_go_out_in_one_write,
              what_is_no_stream_becomes_no_end, ends_can_be_made_of_what_others_opened_and_taken_apart, NULL);
    add_loop_tests(suite, "signals", 0, 2, signals_in_a_blocking_send_or_receive_lose_nothing, NULL);
    add_tests(suite, "forks", signals_do_not_prolong_a_wait,
              a_child_is_not_hindered_by_a_thread_that_waited_when_it_was_forked,
              a_child_does_not_send_into_the_middle_of_its_parents_message,
              a_child_does_not_receive_the_rest_of_its_parents_message,
              children_that_exit_or_close_do_not_end_it_for_others, NULL);
    add_tests(suite, "wait", wait_tells_all_that_are_ready, wait_takes_pipes_sockets_and_processes_together,
              wait_takes_futures_and_processes_of_brood, wait_keeps_its_deadline_and_refuses_what_it_cannot_wait_for,
              wait_knows_what_a_pipe_keeps_in_memory, wait_takes_many_things, NULL);
    return run_suite(suite);
}
