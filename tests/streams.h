/* streams.h - what the tests of loops and streams run, in workers of every kind. */
#ifndef BROOD_TESTS_STREAMS_H
#define BROOD_TESTS_STREAMS_H

#include <brood.h>

struct turns {
    unsigned char *hits; /* in brood_alloc() memory, or NULL: how often each index has run */
    int64_t refuse;      /* indices that this divides are -EDOM, with words; 0: none */
    int64_t die;         /* indices that this divides kill their worker; 0: none */
    int64_t hang;        /* this index never ends; 0: none */
};

struct steps {
    double width;
};

struct extremes {
    int64_t least, most;
};

struct stop {
    char path[64]; /* of a FIFO, or "" */
    int number;
};

BROOD_TASK_DECLARE(stop_at, struct stop, int); /* its number, once somebody has opened the FIFO for writing and closed it */
BROOD_TASK_DECLARE(hang_at, int, int);         /* if 50 divides the argument: for ever */

enum large_end {
    LARGE_FINE,
    LARGE_FAILS,
    LARGE_DIES,
    LARGE_SHRINKS,
    LARGE_DIES_FIRST,
    LARGE_FAILS_LATER,
    LARGE_FAILS_BARE
};

struct large {
    uint64_t bytes;
    uint32_t seed;
    uint32_t end;  /* enum large_end */
    char path[64]; /* LARGE_DIES_FIRST, LARGE_FAILS_LATER: of a file that is there if it has died */
};

BROOD_TASK_BYTES_DECLARE(make_large); /* that many bytes, byte_of() each; then as `end` says: SHRINKS to 5 bytes */

BROOD_TASK_BYTES_DECLARE(close_and_reply);            /* closes every descriptor, and then replies with a MiB */
BROOD_TASK_DECLARE(close_and_open, struct stop, int); /* every descriptor but three; that file, so often; the last one */

static inline unsigned char byte_of(uint32_t seed, uint64_t i)
{
    return (unsigned char)(seed + i * 31 + i / 256);
}

BROOD_LOOP_DECLARE(take_turns, struct turns);
BROOD_REDUCE_DECLARE(circle, struct steps, double);            /* a part of pi */
BROOD_REDUCE_DECLARE(count_up, struct turns, uint64_t);        /* the sum of the indices; else as take_turns */
BROOD_REDUCE_DECLARE(find_extremes, int64_t, struct extremes); /* of (index * context) % 1009 */

#endif
