/* output.h - the worker's side of the output that its tasks print.
 *
 * Standard output and error of the worker are pipes that the supervisor reads (capture.h).  To tell it which task has
 * printed a text, the worker writes a mark between the output of two tasks.  It writes none between tasks that print
 * nothing: it compares the number of bytes ever written to the pipe, which is what the supervisor has read and what is
 * in the pipe, with the number after the last mark.
 */
#ifndef BROOD_WORKER_OUTPUT_H
#define BROOD_WORKER_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/lane.h"

#define OUTPUT_PIPES 2 /* at most: one for both streams, or one each */

#define OUTPUT_NO_TASK UINT16_MAX

/* Begins with a zero byte, which text rarely has.  A task that writes a mark itself falsifies only its own worker's
 * output. */
#define MARK_MAGIC "\0\036brood\036"
#define MARK_MAGIC_BYTES 8

struct mark {
    char magic[MARK_MAGIC_BYTES];
    uint16_t task; /* the pool header's index of the task that begins, or OUTPUT_NO_TASK */
    uint16_t reserved;
    uint32_t number; /* of the mark, from 1 */
};
_Static_assert(sizeof(struct mark) == 16, "what is written at once is read at once");

struct output {
    const struct worker_state *worker_state;
    int fds[OUTPUT_PIPES];
    unsigned pipes; /* 0: output is not captured */
    unsigned task;  /* the task of the last mark */
    uint32_t number;
    uint64_t after_mark[OUTPUT_PIPES]; /* bytes written to the pipe up to the last mark; UINT64_MAX: unknown */
};

/* For a worker process whose standard output, and error, are `pipes` pipes.  It keeps them open whatever a task closes. */
void brood__output_open(struct output *ret_output, const struct worker_state *worker_state, unsigned pipes);

/* Output belongs to that task, or to none, from now on.  Writes out first what the last task has left in stdio's
 * buffers. */
void brood__output_begin(struct output *output, unsigned task);

/* The task has ended: writes out what it has left in stdio's buffers. */
void brood__output_end(void);

#endif
