/* check_poller.c - the poller: each test runs over every body that this kernel lets us have. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "child.h"
#include "os/clock.h"
#include "os/pidfd.h"
#include "os/poller.h"
#include "support.h"

#define LATE_NS_MAX 5000000

/* ---- what is tested ---- */

static const struct variant {
    const char *name;
    bool old_kernel;
} variants[] = {
    {"poll", false},
    {"epoll", false},
    {"uring", false},
    {"uring", true},
};

static void choose(const struct variant *variant)
{
    ck_assert_int_eq(setenv("BROOD_POLLER", variant->name, 1), 0);
#ifdef BROOD_HAVE_URING
    static unsigned flags;

    if (flags == 0)
        flags = brood__poller_uring_flags;
    brood__poller_uring_flags = variant->old_kernel ? 1U << 31 : flags; /* which no kernel knows */
#endif
}

static struct brood__poller *open_poller(int i)
{
    struct brood__poller *poller;

    choose(&variants[i]);
    ck_assert_msg(brood__poller_open(&poller) == 0, "%s", brood_error());
    ck_assert_str_eq(brood__poller_name(poller), variants[i].name);
    return poller;
}

/* io_uring comes last, so those that can be had are the first. */
static int variants_here(void)
{
    struct brood__poller *poller;
    int all = (int)(sizeof(variants) / sizeof(variants[0]));

    setenv("BROOD_POLLER", "uring", 1);
    if (brood__poller_open(&poller) == 0) {
        brood__poller_close(poller);
        return all;
    }
    (void)fprintf(stderr, "check_poller: io_uring is not tested: %s\n", brood_error());
    return all - 2;
}

/* ---- helpers ---- */

struct channel {
    int out, in; /* what is written to `in` comes out of `out` */
};

static struct channel open_channel(void)
{
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    return (struct channel){.out = ends[0], .in = ends[1]};
}

static void close_channel(struct channel *channel)
{
    close(channel->out);
    close(channel->in);
}

static void fill(const struct channel *channel)
{
    ck_assert_int_eq(write(channel->in, "x", 1), 1);
}

static void drain(const struct channel *channel)
{
    char byte;

    ck_assert_int_eq(read(channel->out, &byte, 1), 1);
}

static void add(struct brood__poller *poller, int fd, uint64_t tag)
{
    ck_assert_msg(brood__poller_add(poller, fd, tag) == 0, "%s", brood_error());
}

static void expect_nothing(struct brood__poller *poller)
{
    struct brood__poller_event events[8];

    ck_assert_int_eq(brood__poller_wait(poller, events, 8, BROOD_NOW), 0);
}

static void expect_one(struct brood__poller *poller, uint64_t tag, uint32_t revents)
{
    struct brood__poller_event events[8];

    ck_assert_int_eq(brood__poller_wait(poller, events, 8, brood_after_ms(AT_ONCE_MS)), 1);
    ck_assert_uint_eq(events[0].tag, tag);
    ck_assert_uint_eq(events[0].revents & revents, revents);
}

/* ---- readiness ---- */

START_TEST(a_readable_descriptor_is_reported_with_its_tag)
{
    struct brood__poller *poller = open_poller(_i);
    struct channel quiet = open_channel(), ready = open_channel();

    add(poller, quiet.out, 1);
    add(poller, ready.out, UINT64_MAX - 1);
    expect_nothing(poller);
    fill(&ready);
    expect_one(poller, UINT64_MAX - 1, POLLIN);

    brood__poller_close(poller);
    close_channel(&quiet);
    close_channel(&ready);
}
END_TEST

START_TEST(what_is_still_readable_is_reported_again)
{
    struct brood__poller *poller = open_poller(_i);
    struct channel channel = open_channel();

    add(poller, channel.out, 7);
    fill(&channel);
    for (int i = 0; i < 5; i++)
        expect_one(poller, 7, POLLIN);
    drain(&channel);
    expect_nothing(poller);
    fill(&channel);
    expect_one(poller, 7, POLLIN);

    brood__poller_close(poller);
    close_channel(&channel);
}
END_TEST

/* A pipe that is full, and is read from; beside a thread that reads. */
START_TEST(a_descriptor_is_reported_when_it_can_be_written_to)
{
    struct brood__poller *poller = open_poller(_i);
    struct channel full = open_channel(), other = open_channel();
    static char page[4096];

    ck_assert_int_eq(fcntl(full.in, F_SETFL, O_NONBLOCK), 0);
    while (write(full.in, page, sizeof(page)) > 0)
        ;
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(brood__poller_add_writable(poller, full.in, 3), 0);
    add(poller, other.out, 4);
    expect_nothing(poller);
    for (int i = 0; i < 16; i++)
        ck_assert_int_eq(read(full.out, page, sizeof(page)), sizeof(page));
    for (int i = 0; i < 3; i++)
        expect_one(poller, 3, POLLOUT);
    while (write(full.in, page, sizeof(page)) > 0)
        ;
    expect_nothing(poller);
    fill(&other);
    expect_one(poller, 4, POLLIN);
    ck_assert_int_eq(brood__poller_remove(poller, full.in), 0);

    brood__poller_close(poller);
    close_channel(&full);
    close_channel(&other);
}
END_TEST

/* Both become ready after they are armed, and one wait takes one of them; the other's news is old when the next one comes.
 */
START_TEST(what_has_been_read_since_is_not_reported)
{
    struct brood__poller *poller = open_poller(_i);
    struct channel channels[2] = {open_channel(), open_channel()};
    struct brood__poller_event event;

    add(poller, channels[0].out, 0);
    add(poller, channels[1].out, 1);
    expect_nothing(poller);
    fill(&channels[0]);
    fill(&channels[1]);
    ck_assert_int_eq(brood__poller_wait(poller, &event, 1, BROOD_NOW), 1);
    drain(&channels[0]);
    drain(&channels[1]);
    expect_nothing(poller);
    fill(&channels[1 - event.tag]);
    expect_one(poller, 1 - event.tag, POLLIN);

    brood__poller_close(poller);
    close_channel(&channels[0]);
    close_channel(&channels[1]);
}
END_TEST

START_TEST(a_pipe_without_a_writer_is_hung_up)
{
    struct brood__poller *poller = open_poller(_i);
    struct channel channel = open_channel();

    add(poller, channel.out, 3);
    expect_nothing(poller);
    close(channel.in);
    expect_one(poller, 3, POLLHUP);
    expect_one(poller, 3, POLLHUP);

    brood__poller_close(poller);
    close(channel.out);
}
END_TEST

static void wait_for_death(void *unused)
{
    (void)unused;
    for (;;)
        pause();
}

/* Its descriptor, or -1 where there are none: valgrind 3.19 does not know the call. */
static int pidfd_of(pid_t pid)
{
    int pidfd = brood__pidfd_open(pid);

    if (pidfd != -ENOSYS)
        return pidfd;
    (void)fprintf(stderr, "check_poller: pidfds are not tested: the kernel has none\n");
    return -1;
}

START_TEST(the_pidfd_of_a_killed_child_becomes_readable)
{
    struct brood__poller *poller = open_poller(_i);
    struct brood__poller_event event;
    pid_t pid = spawn(wait_for_death, NULL);
    int pidfd = pidfd_of(pid);

    if (pidfd >= 0) {
        add(poller, pidfd, 99);
        expect_nothing(poller);
    }
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    if (pidfd >= 0) {
        ck_assert_int_eq(brood__poller_wait(poller, &event, 1, BROOD_FOREVER), 1);
        ck_assert_uint_eq(event.tag, 99);
        ck_assert(event.revents & POLLIN);
        ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), pid);
        close(pidfd);
    }
    brood__poller_close(poller);
}
END_TEST

#define MANY 300

/* The number of waits until every tag has been seen, when no thread reads. */
static int waits_until_all_are_seen(struct brood__poller *poller, size_t max)
{
    struct brood__poller_event events[MANY];
    bool seen[MANY] = {false};
    int missing = MANY, waits = 0;

    for (; missing > 0; waits++) {
        bool now[MANY] = {false};
        int n = brood__poller_wait(poller, events, max, brood_after_ms(AT_ONCE_MS));

        ck_assert_int_ge(n, 1);
        ck_assert_int_le(n, (int)max);
        for (int i = 0; i < n; i++) {
            ck_assert_uint_lt(events[i].tag, MANY);
            ck_assert_msg(!now[events[i].tag], "reported twice in one wait");
            now[events[i].tag] = true;
            missing -= !seen[events[i].tag];
            seen[events[i].tag] = true;
        }
    }
    return waits;
}

START_TEST(none_of_three_hundred_starves)
{
    struct brood__poller *poller = open_poller(_i);
    struct channel *channels = calloc(MANY, sizeof(*channels));

    for (int i = 0; i < MANY; i++) {
        channels[i] = open_channel();
        add(poller, channels[i].out, (uint64_t)i);
    }
    expect_nothing(poller);
    for (int i = 0; i < MANY; i++)
        fill(&channels[i]);
    ck_assert_int_le(waits_until_all_are_seen(poller, 10), MANY / 5);
    ck_assert_int_le(waits_until_all_are_seen(poller, MANY), 10);

    for (int i = 0; i < MANY; i += 2)
        ck_assert_int_eq(brood__poller_remove(poller, channels[i].out), 0);
    for (int i = 1; i < MANY; i += 2)
        if (i != 151)
            drain(&channels[i]);
    expect_one(poller, 151, POLLIN);

    brood__poller_close(poller);
    for (int i = 0; i < MANY; i++)
        close_channel(&channels[i]);
    free(channels);
}
END_TEST

/* ---- time ---- */

/* How late a wait of 20 ms returns, in nanoseconds. */
static int64_t lateness(struct brood__poller *poller)
{
    brood_deadline deadline = brood_after_ms(20);
    struct brood__poller_event event;

    ck_assert_int_eq(brood__poller_wait(poller, &event, 1, deadline), 0);
    return brood__now_ns() - deadline.ns;
}

START_TEST(a_quiet_wait_ends_at_its_deadline_and_not_before)
{
    struct brood__poller *poller = open_poller(_i);
    struct channel channel = open_channel();
    int64_t least = INT64_MAX;

    add(poller, channel.out, 1);
    for (int i = 0; i < 200 && least > LATE_NS_MAX; i++) { /* a busy machine may be late now and then */
        int64_t late = lateness(poller);

        ck_assert_int_ge(late, 0);
        if (late < least)
            least = late;
    }
    ck_assert_int_le(least, LATE_NS_MAX);

    brood__poller_close(poller);
    close_channel(&channel);
}
END_TEST

START_TEST(a_poller_without_descriptors_is_a_clock)
{
    struct brood__poller *poller = open_poller(_i);

    ck_assert_int_ge(lateness(poller), 0);
    expect_nothing(poller);
    brood__poller_close(poller);
}
END_TEST

START_TEST(a_deadline_long_past_still_looks)
{
    struct brood__poller *poller = open_poller(_i);
    struct channel channel = open_channel();
    struct brood__poller_event event;

    add(poller, channel.out, 1);
    ck_assert_int_eq(brood__poller_wait(poller, &event, 1, (brood_deadline){1}), 0);
    fill(&channel);
    ck_assert_int_eq(brood__poller_wait(poller, &event, 1, (brood_deadline){1}), 1);
    ck_assert_int_eq(brood__poller_wait(poller, &event, 1, (brood_deadline){-5}), 1);

    brood__poller_close(poller);
    close_channel(&channel);
}
END_TEST

static volatile sig_atomic_t alarms;

static void count_alarm(int signal)
{
    (void)signal;
    alarms++;
}

START_TEST(a_signal_does_not_end_a_wait)
{
    struct brood__poller *poller = open_poller(_i);
    struct sigaction action = {.sa_handler = count_alarm}; /* without SA_RESTART */
    struct itimerval every_ms = {.it_interval.tv_usec = 1000, .it_value.tv_usec = 1000}, never = {0};
    struct channel channel = open_channel();

    add(poller, channel.out, 1);
    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &every_ms, NULL), 0);
    ck_assert_int_ge(lateness(poller), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
    ck_assert_int_gt(alarms, 0);

    brood__poller_close(poller);
    close_channel(&channel);
}
END_TEST

/* ---- removal ---- */

START_TEST(a_removed_descriptor_is_not_reported)
{
    struct brood__poller *poller = open_poller(_i);
    struct channel channel = open_channel();

    add(poller, channel.out, 1);
    ck_assert_int_eq(brood__poller_remove(poller, channel.out), 0); /* before any wait */
    fill(&channel);
    expect_nothing(poller);

    add(poller, channel.out, 2);
    expect_one(poller, 2, POLLIN);
    ck_assert_int_eq(brood__poller_remove(poller, channel.out), 0); /* after an event */
    expect_nothing(poller);

    drain(&channel);
    add(poller, channel.out, 3);
    expect_nothing(poller);
    fill(&channel);
    ck_assert_int_eq(brood__poller_remove(poller, channel.out), 0); /* with an event under way */
    expect_nothing(poller);

    brood__poller_close(poller);
    close_channel(&channel);
}
END_TEST

START_TEST(a_number_that_is_used_again_has_nothing_of_the_old)
{
    struct brood__poller *poller = open_poller(_i);
    struct channel old = open_channel(), new = open_channel();

    add(poller, old.out, 1);
    expect_nothing(poller);
    fill(&old); /* an event is under way */
    ck_assert_int_eq(brood__poller_remove(poller, old.out), 0);
    ck_assert_int_eq(dup3(new.out, old.out, O_CLOEXEC), old.out);
    add(poller, old.out, 2);
    expect_nothing(poller);
    fill(&new);
    expect_one(poller, 2, POLLIN);

    brood__poller_close(poller);
    close_channel(&old);
    close_channel(&new);
}
END_TEST

/* The ends of a connection: what becomes of the first can be seen at the second. */
struct connection {
    int ends[2];
};

static struct connection open_connection(void)
{
    struct connection connection;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, connection.ends), 0);
    return connection;
}

static void expect_hang_up(const struct connection *connection, int ms)
{
    struct pollfd peer = {.fd = connection->ends[1], .events = POLLIN};

    ck_assert_int_eq(poll(&peer, 1, ms), 1);
    ck_assert(peer.revents & POLLHUP);
    close(peer.fd);
}

START_TEST(a_removed_descriptor_can_be_closed_for_good)
{
    struct brood__poller *poller = open_poller(_i);
    struct connection waited_for = open_connection(), not_yet = open_connection();

    add(poller, waited_for.ends[0], 1);
    expect_nothing(poller);
    ck_assert_int_eq(brood__poller_remove(poller, waited_for.ends[0]), 0);
    close(waited_for.ends[0]);
    expect_hang_up(&waited_for, 0);

    add(poller, not_yet.ends[0], 2);
    ck_assert_int_eq(brood__poller_remove(poller, not_yet.ends[0]), 0);
    expect_nothing(poller);
    close(not_yet.ends[0]);
    expect_hang_up(&not_yet, 0);

    brood__poller_close(poller);
}
END_TEST

START_TEST(a_closed_poller_holds_no_descriptor_open)
{
    for (int i = 0; i < 100; i++) { /* it is a race that would be lost now and then */
        struct brood__poller *poller = open_poller(_i);
        struct connection connections[2] = {open_connection(), open_connection()};

        add(poller, connections[0].ends[0], 1);
        add(poller, connections[1].ends[0], 2);
        expect_nothing(poller);
        brood__poller_close(poller);
        close(connections[0].ends[0]);
        close(connections[1].ends[0]);
        expect_hang_up(&connections[0], 0);
        expect_hang_up(&connections[1], 0);
    }
    brood__poller_close(NULL);
}
END_TEST

START_TEST(what_cannot_be_watched_or_removed_is_refused_in_words)
{
    struct brood__poller *poller = open_poller(_i);
    struct channel channel = open_channel();

    add(poller, channel.out, 1);
    ck_assert_int_eq(brood__poller_add(poller, channel.out, 2), -EEXIST);
    ck_assert_ptr_nonnull(strstr(brood_error(), "cannot watch"));
    ck_assert_int_eq(brood__poller_add(poller, -1, 2), -EBADF);
    ck_assert_int_eq(brood__poller_add(poller, 1000000, 2), -EBADF);
    ck_assert_int_eq(brood__poller_remove(poller, channel.in), -ENOENT);
    ck_assert_ptr_nonnull(strstr(brood_error(), "cannot stop watching"));
    fill(&channel);
    expect_one(poller, 1, POLLIN);

    brood__poller_close(poller);
    close_channel(&channel);
}
END_TEST

/* ---- descriptors of its own, forks, failure ---- */

START_TEST(a_thousand_pollers_leave_no_descriptor)
{
    for (int i = 0; i < 1000; i++)
        brood__poller_close(open_poller(_i));
}
END_TEST

static int lowest_free_descriptor(void)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    close(fd);
    return fd;
}

START_TEST(a_broken_poller_says_so_each_time)
{
    int own = lowest_free_descriptor(); /* which the poller takes */
    struct brood__poller *poller = open_poller(_i);
    struct brood__poller_event event;

    if (fcntl(own, F_GETFD) < 0) {
        ck_assert_str_eq(brood__poller_name(poller), "poll"); /* has nothing that could break */
    } else {
        ck_assert(fcntl(own, F_GETFD) & FD_CLOEXEC);
        close(own);
        for (int i = 0; i < 3; i++) {
            ck_assert_int_eq(brood__poller_wait(poller, &event, 1, brood_after_ms(AT_ONCE_MS)), -EBADF);
            ck_assert_ptr_nonnull(strstr(brood_error(), brood__poller_name(poller)));
        }
    }
    brood__poller_close(poller);
}
END_TEST

START_TEST(a_child_that_closes_its_copy_leaves_the_parents_alone)
{
    int own = lowest_free_descriptor();
    struct brood__poller *poller = open_poller(_i);
    struct channel channel = open_channel();
    pid_t pid;

    add(poller, channel.out, 5);
    expect_nothing(poller);
    pid = fork();
    if (pid == 0) {
        brood__poller_close(poller);
        _exit(fcntl(own, F_GETFD) < 0 || own == channel.out ? 0 : 1);
    }
    join(pid);
    expect_nothing(poller);
    fill(&channel);
    expect_one(poller, 5, POLLIN);

    brood__poller_close(poller);
    close_channel(&channel);
}
END_TEST

/* Lives as long as the test holds `life` open, as a worker may outlive its supervisor, with nothing of the owner's. */
static void outlive(struct brood__poller *poller, int fd, const struct channel *life)
{
    char byte;

    brood__poller_close(poller);
    close(fd);
    close(life->in);
    _exit((int)read(life->out, &byte, 1));
}

/* Watches `fd`, has a child, says so through `armed`, and waits until it is killed. */
static void watch_for_ever(int i, int fd, const struct channel *armed, const struct channel *life)
{
    struct brood__poller *poller = open_poller(i);
    struct brood__poller_event event;

    add(poller, fd, 1);
    expect_nothing(poller);
    if (fork() == 0)
        outlive(poller, fd, life);
    fill(armed);
    (void)brood__poller_wait(poller, &event, 1, BROOD_FOREVER);
    _exit(1);
}

START_TEST(a_killed_owner_holds_no_descriptor_open)
{
    struct channel armed = open_channel(), life = open_channel();
    struct connection connection = open_connection();
    pid_t pid = fork();

    if (pid == 0) {
        close(connection.ends[1]);
        watch_for_ever(_i, connection.ends[0], &armed, &life);
    }
    close(connection.ends[0]);
    drain(&armed);
    put_to_death(pid);
    expect_hang_up(&connection, 3000);

    close_channel(&life);
    close_channel(&armed);
}
END_TEST

/* ---- the choice ---- */

static void expect_to_open(const char *name)
{
    struct brood__poller *poller;

    ck_assert_msg(brood__poller_open(&poller) == 0, "%s", brood_error());
    ck_assert_str_eq(brood__poller_name(poller), name);
    brood__poller_close(poller);
}

static void expect_refusal(int error, const char *words)
{
    struct brood__poller *poller = NULL;

    ck_assert_int_eq(brood__poller_open(&poller), error);
    ck_assert_ptr_null(poller);
    ck_assert_msg(strstr(brood_error(), words) != NULL, "%s", brood_error());
}

START_TEST(an_unknown_poller_is_refused_in_words)
{
    setenv("BROOD_POLLER", "kqueue", 1);
    expect_refusal(-EINVAL, "BROOD_POLLER=kqueue");
    expect_refusal(-EINVAL, "uring, epoll or poll");
}
END_TEST

static void open_with_an_empty_choice(void *unused)
{
    (void)unused;
    setenv("BROOD_POLLER", "", 1);
    deny(SYS_io_uring_setup, EPERM);
    expect_to_open("epoll");
}

START_TEST(an_empty_choice_is_none)
{
    in_child(open_with_an_empty_choice, NULL);
}
END_TEST

/* The argument is the system call without which there is no io_uring. */
static void open_without_io_uring(void *number)
{
    unsetenv("BROOD_POLLER");
    deny(*(long *)number, EPERM);
    expect_to_open("epoll");
}

static void open_without_epoll_either(void *number)
{
    open_without_io_uring(number);
    deny(SYS_epoll_create1, EPERM);
    expect_to_open("poll");
}

START_TEST(where_io_uring_is_denied_it_is_epoll)
{
    in_child(open_without_io_uring, &(long){SYS_io_uring_setup});
    in_child(open_without_io_uring, &(long){SYS_io_uring_enter}); /* some sandboxes let a ring be made */
}
END_TEST

START_TEST(where_epoll_is_denied_too_it_is_poll)
{
    in_child(open_without_epoll_either, &(long){SYS_io_uring_setup});
}
END_TEST

static void force_what_is_denied(void *unused)
{
    (void)unused;
    deny(SYS_io_uring_setup, EPERM);
    deny(SYS_epoll_create1, EPERM);
    setenv("BROOD_POLLER", "epoll", 1);
    expect_refusal(-EPERM, "BROOD_POLLER=epoll");
    setenv("BROOD_POLLER", "uring", 1);
#ifdef BROOD_HAVE_URING
    expect_refusal(-EPERM, "BROOD_POLLER=uring");
#else
    expect_refusal(-ENOTSUP, "built without io_uring");
#endif
}

START_TEST(a_forced_poller_that_is_denied_is_an_error)
{
    in_child(force_what_is_denied, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("poller");
    int end = variants_here();

    add_loop_tests(suite, "readiness", 0, end, a_readable_descriptor_is_reported_with_its_tag,
                   what_is_still_readable_is_reported_again, a_descriptor_is_reported_when_it_can_be_written_to,
                   what_has_been_read_since_is_not_reported, a_pipe_without_a_writer_is_hung_up,
                   the_pidfd_of_a_killed_child_becomes_readable, none_of_three_hundred_starves, NULL);
    add_loop_tests(suite, "time", 0, end, a_quiet_wait_ends_at_its_deadline_and_not_before,
                   a_poller_without_descriptors_is_a_clock, a_deadline_long_past_still_looks, a_signal_does_not_end_a_wait,
                   NULL);
    add_loop_tests(suite, "removal", 0, end, a_removed_descriptor_is_not_reported,
                   a_number_that_is_used_again_has_nothing_of_the_old, a_removed_descriptor_can_be_closed_for_good,
                   a_closed_poller_holds_no_descriptor_open, what_cannot_be_watched_or_removed_is_refused_in_words, NULL);
    add_loop_tests(suite, "life", 0, end, a_thousand_pollers_leave_no_descriptor, a_broken_poller_says_so_each_time,
                   a_child_that_closes_its_copy_leaves_the_parents_alone, a_killed_owner_holds_no_descriptor_open, NULL);
    add_tests(suite, "choice", an_unknown_poller_is_refused_in_words, an_empty_choice_is_none,
              where_io_uring_is_denied_it_is_epoll, where_epoll_is_denied_too_it_is_poll,
              a_forced_poller_that_is_denied_is_an_error, NULL);
    return run_suite(suite);
}
