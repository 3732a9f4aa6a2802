/* fuzz_pipe.c - the receiving end of a pipe, at whose other end a process sends anything, in any pieces, with descriptors
 * where none belong.  What comes is compared with what a simple parser makes of the same bytes. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <brood.h>

#include "fuzz.h"

#define ROOM 512

static void need(bool what)
{
    if (!what)
        abort();
}

struct wire {
    struct brood_pipe *end;
    int fd;               /* of the other end, or -1: closed */
    bool has_descriptors; /* some were attached, and the parser knows nothing of them */
    bool is_broken;       /* the receiver has heard -EBADMSG, and will hear nothing else */
    uint8_t sent[FUZZ_BYTES_MAX * 2];
    size_t bytes, taken;
};

/* ---- the parser ---- */

/* 0 and a message; what is wrong; or -EAGAIN. */
static int parse(const struct wire *wire, size_t *ret_header, uint64_t *ret_size)
{
    const uint8_t *at = wire->sent + wire->taken;
    size_t left = wire->bytes - wire->taken, header = 4;
    int cut = wire->fd >= 0 ? -EAGAIN : left > 0 ? -EBADMSG : -EPIPE;
    uint64_t size = 0;

    if (wire->is_broken)
        return -EBADMSG;
    if (left < 4)
        return cut;
    if (memcmp(at, "\377\377\377\377", 4) == 0)
        header = 12;
    if (left < header)
        return cut;
    for (size_t i = header == 12 ? 4 : 0; i < header; i++)
        size = size << 8 | at[i];
    if (size > (header == 12 ? INT64_MAX : INT32_MAX))
        return -EBADMSG;
    *ret_header = header;
    *ret_size = size;
    return 0;
}

static int expected(const struct wire *wire, size_t room, size_t *ret_header, uint64_t *ret_size)
{
    int r = parse(wire, ret_header, ret_size);

    if (r < 0)
        return r;
    if (*ret_size > room)
        return -EMSGSIZE;
    if (wire->bytes - wire->taken - *ret_header < *ret_size)
        return wire->fd >= 0 ? -EAGAIN : -EBADMSG;
    return 0;
}

/* ---- what the receiver does ---- */

static void receive(struct wire *wire, size_t room)
{
    char place[ROOM];
    struct brood_space space = {place, room};
    size_t header = 0;
    uint64_t size = 0;
    int r = brood_pipe_recv(wire->end, &space, BROOD_NOW);

    need(r <= 0 && (r != 0 || space.len <= room));
    if (wire->has_descriptors)
        return;
    need(r == expected(wire, room, &header, &size));
    wire->is_broken = r == -EBADMSG;
    if (r == -EMSGSIZE)
        need(space.len == size);
    if (r < 0)
        return;
    need(space.len == size && memcmp(place, wire->sent + wire->taken + header, size) == 0);
    wire->taken += header + size;
}

static void look(struct wire *wire)
{
    struct brood_waited thing = {.pipe = wire->end};
    size_t size = 0, header;
    uint64_t parsed;
    bool ready;
    int waited = brood_wait(&thing, 1, &ready, BROOD_NOW), polled = brood_pipe_poll(wire->end, BROOD_NOW);
    int r = brood_pipe_next_size(wire->end, &size, BROOD_NOW);

    need((waited == 1) == (polled != -EAGAIN));
    if (wire->has_descriptors)
        return;
    need(r == parse(wire, &header, &parsed) && (r < 0 || size == parsed));
    if (expected(wire, SIZE_MAX, &header, &parsed) != -EAGAIN)
        need(waited == 1);
}

static void receive_fd(struct wire *wire)
{
    int fd = -1, r = brood_pipe_recv_fd(wire->end, &fd, BROOD_NOW);

    need(r <= 0 && (r == 0) == (fd >= 0));
    need(r < 0 || wire->has_descriptors);
    if (fd >= 0)
        close(fd);
}

/* ---- what the stranger does ---- */

static void send_bytes(struct wire *wire, struct fuzz_input *input, size_t count, int descriptors)
{
    union {
        char room[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr aligned;
    } control = {.aligned = {CMSG_LEN((size_t)descriptors * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    uint8_t *at = wire->sent + wire->bytes;
    struct iovec part = {at, count};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t n;

    if (wire->fd < 0 || count == 0 || wire->bytes + count > sizeof(wire->sent))
        return;
    for (size_t i = 0; i < count; i++)
        at[i] = fuzz_byte(input);
    if (descriptors > 0) {
        memcpy(CMSG_DATA(&control.aligned), (int[]){wire->fd, wire->fd}, (size_t)descriptors * sizeof(int));
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE((size_t)descriptors * sizeof(int));
    }
    n = sendmsg(wire->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    need(n == (ssize_t)count || (n < 0 && errno == EAGAIN)); /* many little pieces fill it soon */
    if (n < 0)
        return;
    wire->bytes += count;
    wire->has_descriptors |= descriptors > 0;
}

/* What a friend would send, so that some messages are whole. */
static void send_message(struct wire *wire, struct fuzz_input *input)
{
    uint8_t length = fuzz_byte(input), header[12] = {0, 0, 0, length};
    size_t bytes = 4;
    struct fuzz_input front = {header, sizeof(header)};

    if (length % 4 == 0) {
        memcpy(header, (uint8_t[]){255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, length}, 12);
        bytes = 12;
    }
    if (wire->bytes + bytes + length > sizeof(wire->sent))
        return;
    send_bytes(wire, &front, bytes, 0);
    send_bytes(wire, input, fuzz_byte(input) % 8 == 0 ? length / 2 : length, 0);
}

static void hang_up(struct wire *wire)
{
    if (wire->fd >= 0)
        close(wire->fd);
    wire->fd = -1;
}

static void step(struct wire *wire, struct fuzz_input *input)
{
    unsigned what = fuzz_byte(input);

    switch (what % 16) {
    case 0:
    case 1:
        send_bytes(wire, input, fuzz_byte(input) % 16, 0);
        break;
    case 2:
        send_bytes(wire, input, fuzz_byte(input) % 5, fuzz_byte(input) % 4 == 0 ? 1 + what / 16 % 2 : 0);
        break;
    case 3:
    case 4:
    case 5:
        send_message(wire, input);
        break;
    case 6:
        receive_fd(wire);
        break;
    case 7:
        look(wire);
        break;
    case 8:
        if (what > 240)
            hang_up(wire);
        break;
    default:
        receive(wire, fuzz_number(input, what % 2 + 1) % ROOM);
    }
}

static int first_free_number(void)
{
    int fd = dup(0);

    if (fd >= 0)
        close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wire wire;
    struct fuzz_input input = {data, size};
    int ends[2], before = first_free_number();

    need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    wire = (struct wire){.fd = ends[0]};
    need(brood_pipe_from_fd(&wire.end, ends[1], BROOD_PIPE_DUPLEX) == 0);
    while (input.size > 0)
        step(&wire, &input);
    hang_up(&wire);
    for (int i = 0; i < 3; i++)
        receive(&wire, ROOM);
    brood_pipe_free(wire.end);
    need(first_free_number() == before);
    return 0;
}
