/* check_output_buffer.c - a sink writes to what others have too, and never waits. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child.h"
#include "os/output_buffer.h"
#include "support.h"

struct pair {
    int in, out; /* what is written to `in` comes out of `out` */
};

enum { PIPE, SOCKET, TERMINAL, CHANNELS };

static struct pair open_terminal(void)
{
    struct pair pair = {.out = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};

    ck_assert_int_ge(pair.out, 0);
    ck_assert_int_eq(grantpt(pair.out), 0);
    ck_assert_int_eq(unlockpt(pair.out), 0);
    pair.in = open(ptsname(pair.out), O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_int_ge(pair.in, 0);
    return pair;
}

static struct pair open_pair(int channel)
{
    int ends[2];

    if (channel == TERMINAL)
        return open_terminal();
    if (channel == PIPE)
        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    else
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    return (struct pair){.in = ends[1], .out = ends[0]};
}

static void close_pair(struct pair *pair)
{
    close(pair->in);
    close(pair->out);
}

static struct output_buffer open_sink(int fd)
{
    struct output_buffer output_buffer;

    ck_assert_int_eq(brood__output_buffer_open(&output_buffer, fd), 0);
    return output_buffer;
}

/* Reads all that is there; terminals make "\r\n" of an end of line, so there is none in these texts. */
static size_t read_all(int fd, char *to, size_t room)
{
    size_t used = 0;
    ssize_t length;

    ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    while ((length = read(fd, to + used, room - used)) > 0)
        used += (size_t)length;
    return used;
}

START_TEST(what_is_put_comes_out)
{
    struct pair pair = open_pair(_i);
    struct output_buffer output_buffer = open_sink(pair.in);
    char text[16] = "";

    brood__output_buffer_put(&output_buffer, "one ", 4);
    brood__output_buffer_put(&output_buffer, "two", 3);
    ck_assert(brood__output_buffer_flush(&output_buffer));
    ck_assert_uint_eq(read_all(pair.out, text, sizeof(text)), 7);
    ck_assert_str_eq(text, "one two");
    brood__output_buffer_close(&output_buffer);
    close_pair(&pair);
}
END_TEST

/* The whole buffer more than the channel holds; and then in order, without a gap. */
START_TEST(a_full_channel_is_not_waited_for)
{
    struct pair pair = open_pair(_i);
    struct output_buffer output_buffer = open_sink(pair.in);
    static char text[1 << 20];
    size_t put = 0, got = 0;

    for (int round = 0; round < 3; round++) {
        while (brood__output_buffer_room(&output_buffer) >= 8) {
            char word[24];

            snprintf(word, sizeof(word), "%08zu", put++);
            brood__output_buffer_put(&output_buffer, word, 8);
        }
        ck_assert(!brood__output_buffer_flush(&output_buffer));
        ck_assert_int_eq(fcntl(pair.in, F_GETFL) & O_NONBLOCK, 0); /* that is the others' business */
        got += read_all(pair.out, text + got, sizeof(text) - got);
    }
    while (!brood__output_buffer_flush(&output_buffer))
        got += read_all(pair.out, text + got, sizeof(text) - got);
    got += read_all(pair.out, text + got, sizeof(text) - got);
    ck_assert_uint_eq(got, put * 8);
    for (size_t i = 0; i < put; i++) {
        char word[24];

        snprintf(word, sizeof(word), "%08zu", i);
        ck_assert_msg(memcmp(text + i * 8, word, 8) == 0, "word %zu", i);
    }
    brood__output_buffer_close(&output_buffer);
    close_pair(&pair);
}
END_TEST

START_TEST(without_a_reader_it_is_dropped)
{
    struct pair pair = open_pair(_i);
    struct output_buffer output_buffer = open_sink(pair.in);

    ck_assert(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    close(pair.out);
    brood__output_buffer_put(&output_buffer, "to no one", 9);
    ck_assert(brood__output_buffer_flush(&output_buffer));
    ck_assert_uint_eq(brood__output_buffer_room(&output_buffer), OUTPUT_BUFFER_BYTES);
    brood__output_buffer_close(&output_buffer);
    close(pair.in);
}
END_TEST

/* What the others write stays: there is one offset for all. */
START_TEST(a_file_is_written_where_the_others_are)
{
    char path[] = "/tmp/brood-sink-XXXXXX", text[32] = "";
    int fd = mkstemp(path);
    struct output_buffer output_buffer = open_sink(fd);

    unlink(path);
    ck_assert_int_eq(write(fd, "before, ", 8), 8);
    brood__output_buffer_put(&output_buffer, "within, ", 8);
    ck_assert(brood__output_buffer_flush(&output_buffer));
    ck_assert_int_eq(write(fd, "behind", 6), 6);
    ck_assert_int_eq(pread(fd, text, sizeof(text), 0), 22);
    ck_assert_str_eq(text, "before, within, behind");
    brood__output_buffer_close(&output_buffer);
    close(fd);
}
END_TEST

static void write_without_opening(void *argument)
{
    struct pair pair = open_pair(PIPE);
    struct output_buffer output_buffer;

    (void)argument;
    deny(SYS_openat, EACCES);
    output_buffer = open_sink(pair.in);
    ck_assert_int_eq(output_buffer.kind, OUTPUT_BUFFER_SHARED);
    while (brood__output_buffer_room(&output_buffer) >= 64)
        brood__output_buffer_put(&output_buffer, "................................................................", 64);
    ck_assert(!brood__output_buffer_flush(&output_buffer));
}

START_TEST(what_cannot_be_opened_once_more_is_not_waited_for_either)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        write_without_opening(NULL);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(what_is_closed_takes_everything)
{
    struct output_buffer output_buffer;

    ck_assert_int_eq(brood__output_buffer_open(&output_buffer, 999), 0);
    brood__output_buffer_put(&output_buffer, "to nowhere", 10);
    ck_assert(brood__output_buffer_flush(&output_buffer));
    brood__output_buffer_close(&output_buffer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sink");

    add_loop_tests(suite, "channels", 0, CHANNELS, what_is_put_comes_out, a_full_channel_is_not_waited_for, NULL);
    add_loop_tests(suite, "readers", 0, TERMINAL, without_a_reader_it_is_dropped, NULL);
    add_tests(suite, "others", a_file_is_written_where_the_others_are,
              what_cannot_be_opened_once_more_is_not_waited_for_either, what_is_closed_takes_everything, NULL);
    return run_suite(suite);
}
